//! Masked language modelling: which tokens are hidden, as BERT does it (Devlin et al. 2019).

use crate::mixing::{below, random, unit};

/// The label of a position that has no part in the loss.
pub const IGNORE: i64 = -100;

/// What [`mask_tokens`] needs to know besides the tokens.
#[derive(Clone, Copy, Debug)]
pub struct MaskSettings<'a> {
    /// Chance of each token to be chosen; BERT has 0.15.
    pub probability: f64,
    /// What stands for a hidden token.
    pub mask_id: u32,
    /// Ids below this may replace a token.
    pub vocabulary_size: u32,
    /// Ids that are never chosen and never put in: padding, `[CLS]`, `[SEP]`, `[MASK]` …
    pub special_ids: &'a [u32],
}

/// Chooses tokens of one row: of those chosen, 80 % become the mask, 10 % a random token, 10 % stay. Returns the input and the labels: the
/// original token where one was chosen, [`IGNORE`] elsewhere.
///
/// A function of (seed, step, sample, position) and the tokens; `sample` is the row's place in the global batch. A row with no token chosen has
/// no label.
pub fn mask_tokens(seed: u64, step: u64, sample: u64, tokens: &[i64], settings: &MaskSettings) -> (Vec<i64>, Vec<i64>) {
    let special = |id: i64| settings.special_ids.iter().any(|special| i64::from(*special) == id);
    let mut input = tokens.to_vec();
    let mut labels = vec![IGNORE; tokens.len()];
    for (position, token) in tokens.iter().enumerate() {
        let draw = |what: u64| random([seed, step, sample, position as u64, what]);
        if special(*token) || unit(draw(0)) >= settings.probability {
            continue;
        }
        labels[position] = *token;
        match unit(draw(1)) {
            share if share < 0.8 => input[position] = i64::from(settings.mask_id),
            share if share < 0.9 => {
                // A vocabulary of special tokens alone leaves the token as it is.
                let candidates = (2..18).map(|what| below(draw(what), u64::from(settings.vocabulary_size)) as i64);
                input[position] = candidates.into_iter().find(|id| !special(*id)).unwrap_or(*token);
            }
            _ => {}
        }
    }
    (input, labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: MaskSettings = MaskSettings { probability: 0.15, mask_id: 4, vocabulary_size: 1000, special_ids: &[0, 1, 2, 3, 4] };

    #[test]
    fn shares_are_those_of_bert() {
        let tokens: Vec<i64> = (0..200_000).map(|n| 5 + n % 995).collect();
        let (input, labels) = mask_tokens(42, 0, 0, &tokens, &SETTINGS);
        let chosen: Vec<usize> = (0..tokens.len()).filter(|i| labels[*i] != IGNORE).collect();
        let share = |n: usize, of: usize| n as f64 / of as f64;
        assert!((share(chosen.len(), tokens.len()) - 0.15).abs() < 0.003);
        let masked = chosen.iter().filter(|i| input[**i] == 4).count();
        let kept = chosen.iter().filter(|i| input[**i] == tokens[**i]).count();
        assert!((share(masked, chosen.len()) - 0.8).abs() < 0.01);
        assert!((share(kept, chosen.len()) - 0.1).abs() < 0.008);
        // Replacements are spread evenly: chi-square over 10 buckets, 9 degrees of freedom.
        let mut buckets = [0.0; 10];
        let random: Vec<i64> = chosen
            .iter()
            .map(|i| input[*i])
            .zip(chosen.iter().map(|i| tokens[*i]))
            .filter(|(a, b)| a != b && *a != 4)
            .map(|(a, _)| a)
            .collect();
        for id in &random {
            buckets[(*id - 5) as usize * 10 / 995] += 1.0;
        }
        let expected = random.len() as f64 / 10.0;
        let chi: f64 = buckets.iter().map(|count: &f64| (count - expected).powi(2) / expected).sum();
        assert!(chi < 27.9, "{buckets:?}");
    }

    #[test]
    fn steps_and_samples_differ_and_repeat() {
        let tokens: Vec<i64> = (5..505).collect();
        let mask = |seed, step, sample| mask_tokens(seed, step, sample, &tokens, &SETTINGS);
        assert_eq!(mask(1, 2, 3), mask(1, 2, 3));
        assert_ne!(mask(1, 2, 3), mask(1, 2, 4));
        assert_ne!(mask(1, 2, 3), mask(1, 3, 3));
        assert_ne!(mask(1, 2, 3), mask(2, 2, 3));
    }

    proptest! {
        #[test]
        fn only_chosen_positions_change(tokens in prop::collection::vec(0i64..50, 0..200), probability in 0.0..=1.0f64) {
            let settings = MaskSettings { probability, vocabulary_size: 50, ..SETTINGS };
            let (input, labels) = mask_tokens(9, 9, 9, &tokens, &settings);
            for ((token, input), label) in tokens.iter().zip(&input).zip(&labels) {
                prop_assert!(*label == IGNORE || label == token);
                prop_assert!(*label != IGNORE || input == token);
                prop_assert!(*token > 4 || *label == IGNORE);
                prop_assert!(*label == IGNORE || *input >= 4);
            }
        }
    }
}
