//! Drawing a token: temperature, the k likeliest, and the fewest likely ones that have a probability together (nucleus, Holtzman et al. 2020).
//!
//! Which token is drawn follows from the seed, the number of the text and the place in it alone, so batches and threads change nothing. Tokens
//! stand in the order of their ids while one is drawn: where two are about as likely, their order would hang on the last bit.

use model::Decoding;
use model::seeds::{Purpose, derive};

/// The number from 0 to below 1 that token `place` of text `number` is drawn by.
pub fn uniform(seed: u64, number: u64, place: usize) -> f64 {
    let bits = derive(derive(seed, Purpose::Draws, number), Purpose::Draws, place as u64);
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Draws one of the tokens with these scores, which are used up.
pub fn token(scores: &mut [f32], decoding: &Decoding, uniform: f64) -> usize {
    let probabilities = probabilities(scores, decoding);
    let total: f64 = probabilities.iter().map(|(_, p)| p).sum();
    let mut left = uniform * total;
    for (token, p) in &probabilities {
        left -= p;
        if left < 0.0 {
            return *token;
        }
    }
    probabilities.last().map_or(0, |(token, _)| *token)
}

/// The tokens that may be drawn, by id, with what is proportional to their probabilities.
fn probabilities(scores: &mut [f32], decoding: &Decoding) -> Vec<(usize, f64)> {
    let temperature = decoding.temperature.unwrap_or(1.0);
    let least = match decoding.top_k {
        // Of equal ones all are kept, as transformers does.
        Some(k) if (k as usize) < scores.len() => *scores.to_vec().select_nth_unstable_by(k as usize - 1, |a, b| b.total_cmp(a)).1,
        _ => f32::NEG_INFINITY,
    };
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |score: f32| (f64::from(score - highest) / temperature).exp();
    let mut kept: Vec<(usize, f64)> =
        scores.iter().enumerate().filter(|(_, score)| **score >= least).map(|(token, score)| (token, weight(*score))).collect();
    let Some(p) = decoding.top_p.filter(|p| *p < 1.0) else { return kept };
    let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
    // All below this have less than 1 − p together, so none of them is among the fewest.
    let floor = total * (1.0 - p) / kept.len() as f64;
    kept.retain(|(_, weight)| *weight >= floor);
    kept.sort_unstable_by(|(a, x), (b, y)| y.total_cmp(x).then(a.cmp(b)));
    let mut sum = 0.0;
    let before = |(_, weight): &&(usize, f64)| {
        let is_needed = sum < p * total;
        sum += weight;
        is_needed
    };
    let fewest = kept.iter().take_while(before).count();
    kept.truncate(fewest.max(1));
    kept.sort_unstable_by_key(|(token, _)| *token);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(scores: &[f32], change: impl Fn(&mut Decoding)) -> Vec<usize> {
        let mut decoding = Decoding { temperature: Some(1.0), ..Decoding::default() };
        change(&mut decoding);
        probabilities(&mut scores.to_vec(), &decoding).into_iter().map(|(token, _)| token).collect()
    }

    /// Probabilities 0.1, 0.4, 0.2, 0.3.
    fn scores() -> Vec<f32> {
        [0.1f32, 0.4, 0.2, 0.3].map(f32::ln).to_vec()
    }

    #[test]
    fn the_likeliest_are_kept_by_number_or_probability() {
        assert_eq!(kept(&scores(), |_| {}), [0, 1, 2, 3]);
        assert_eq!(kept(&scores(), |how| how.top_k = Some(2)), [1, 3]);
        assert_eq!(kept(&scores(), |how| how.top_k = Some(9)), [0, 1, 2, 3]);
        for (p, expected) in [(0.05, vec![1]), (0.39, vec![1]), (0.5, vec![1, 3]), (0.75, vec![1, 2, 3]), (1.0, vec![0, 1, 2, 3])] {
            assert_eq!(kept(&scores(), |how| how.top_p = Some(p)), expected, "{p}");
        }
        // Of the two likeliest, which have 4/7 and 3/7, the first is enough.
        assert_eq!(kept(&scores(), |how| (how.top_k, how.top_p) = (Some(2), Some(0.5))), [1]);
        // At a low temperature the likeliest has nearly all.
        assert_eq!(kept(&scores(), |how| (how.temperature, how.top_p) = (Some(0.05), Some(0.9))), [1]);
        assert_eq!(kept(&[1.0, f32::NEG_INFINITY, 1.0], |how| how.top_k = Some(2)), [0, 2]);
    }

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_likely() {
        let decoding = Decoding { temperature: Some(2.0), seed: 5, ..Decoding::default() };
        let mut counts = [0.0; 4];
        const DRAWS: u64 = 40_000;
        for number in 0..DRAWS {
            counts[token(&mut scores(), &decoding, uniform(decoding.seed, number, 3))] += 1.0 / DRAWS as f64;
        }
        // Square roots of the probabilities, as a temperature of 2 makes them.
        let roots = [0.1f64, 0.4, 0.2, 0.3].map(f64::sqrt);
        let total: f64 = roots.iter().sum();
        for (count, root) in counts.iter().zip(roots) {
            assert!((count - root / total).abs() < 0.01, "{counts:?}");
        }
        assert_eq!(token(&mut scores(), &decoding, 0.0), 0);
        assert_eq!(token(&mut scores(), &decoding, 1.0 - f64::EPSILON), 3);
    }

    #[test]
    fn numbers_follow_from_seed_text_and_place() {
        let all: Vec<f64> = [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)].map(|(seed, number, place)| uniform(seed, number, place)).to_vec();
        assert!(all.iter().all(|u| (0.0..1.0).contains(u)));
        assert!((0..4).all(|i| (0..i).all(|j| all[i] != all[j])), "{all:?}");
        assert_eq!(uniform(1, 1, 0), all[2]);
    }
}
