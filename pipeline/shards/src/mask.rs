//! Masked language modelling: which tokens are hidden, as BERT does it (Devlin et al. 2019), token by token, by whole words, or by spans as
//! SpanBERT does (Joshi et al. 2020).

use crate::mixing::{START, absorb, below, random, unit};

/// The label of a position that has no part in the loss.
pub const IGNORE: i64 = -100;
/// SpanBERT's spans: lengths are geometric with this chance to end, and no longer than this.
const SPAN_END: f64 = 0.2;
const SPAN_MAX: usize = 10;

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
    pub choose: Choose<'a>,
}

/// What is chosen together.
#[derive(Clone, Copy, Debug)]
pub enum Choose<'a> {
    /// Each token alone.
    Tokens,
    /// All tokens of a word: a token goes on with the word before it when its entry is true (`##ing`). Each is then hidden by itself, as in
    /// BERT's whole word masking.
    Words(&'a [bool]),
    /// Spans of words with lengths from a geometric distribution (0.2, at most 10), until the share of tokens is reached; a span is hidden as a
    /// whole. Without entries every token is a word.
    Spans(&'a [bool]),
}

/// A token that is to be predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden {
    pub position: usize,
    /// The token that stood there.
    pub label: i64,
}

/// Chooses tokens of one row: of those chosen, 80 % become the mask, 10 % a random token, 10 % stay. Returns the input and the labels: the
/// original token where one was chosen, [`IGNORE`] elsewhere.
///
/// A function of (seed, step, sample, position) and the tokens; `sample` is the row's place in the global batch. A row with no token chosen has
/// no label.
pub fn mask_tokens(seed: u64, step: u64, sample: u64, tokens: &[i64], settings: &MaskSettings) -> (Vec<i64>, Vec<i64>) {
    let mut input = tokens.to_vec();
    let mut labels = vec![IGNORE; tokens.len()];
    let mut hidden = Vec::new();
    hide(seed, step, sample, &mut input, settings, &mut hidden);
    for Hidden { position, label } in hidden {
        labels[position] = label;
    }
    (input, labels)
}

/// Like [`mask_tokens`], in place; `hidden` gets what was chosen, in order of positions.
pub fn hide(seed: u64, step: u64, sample: u64, tokens: &mut [i64], settings: &MaskSettings, hidden: &mut Vec<Hidden>) {
    let row = RowKey([seed, step, sample].into_iter().fold(START, absorb));
    match settings.choose {
        Choose::Tokens => hide_tokens(row, tokens, settings, hidden),
        Choose::Words(continues) => hide_words(row, tokens, settings, continues, hidden),
        Choose::Spans(continues) => hide_spans(row, tokens, settings, continues, hidden),
    }
}

/// The random numbers of a row.
#[derive(Clone, Copy)]
struct RowKey(u64);

/// The random numbers of a position.
#[derive(Clone, Copy)]
struct PlaceKey(u64);

impl RowKey {
    fn place(self, position: usize) -> PlaceKey {
        PlaceKey(absorb(self.0, position as u64))
    }
}

impl PlaceKey {
    fn draw(self, what: u64) -> u64 {
        absorb(self.0, what)
    }
}

/// `unit(draw) < probability` is `draw >> 11 < threshold(probability)`: both sides times 2^53 are exact.
fn threshold(probability: f64) -> u64 {
    (probability * (1u64 << 53) as f64).ceil() as u64
}

fn hide_tokens(row: RowKey, tokens: &mut [i64], settings: &MaskSettings, hidden: &mut Vec<Hidden>) {
    let threshold = threshold(settings.probability);
    for (position, token) in tokens.iter_mut().enumerate() {
        let place = row.place(position);
        if place.draw(0) >> 11 >= threshold || settings.is_special(*token) {
            continue;
        }
        hidden.push(Hidden { position, label: *token });
        settings.replace(place, unit(place.draw(1)), token);
    }
}

fn hide_words(row: RowKey, tokens: &mut [i64], settings: &MaskSettings, continues: &[bool], hidden: &mut Vec<Hidden>) {
    let threshold = threshold(settings.probability);
    // Whether the word that the last token belongs to was chosen; none after a special token.
    let mut chosen = None;
    for (position, token) in tokens.iter_mut().enumerate() {
        if settings.is_special(*token) {
            chosen = None;
            continue;
        }
        let place = row.place(position);
        let chosen = match chosen {
            Some(word) if goes_on(continues, *token) => word,
            _ => *chosen.insert(place.draw(0) >> 11 < threshold),
        };
        if chosen {
            hidden.push(Hidden { position, label: *token });
            settings.replace(place, unit(place.draw(1)), token);
        }
    }
}

fn hide_spans(row: RowKey, tokens: &mut [i64], settings: &MaskSettings, continues: &[bool], hidden: &mut Vec<Hidden>) {
    let first = hidden.len();
    let free = tokens.iter().filter(|token| !settings.is_special(**token)).count();
    let budget = ((free as f64 * settings.probability).round() as usize).min(free);
    // The draws of spans lie behind those of positions.
    for attempt in (tokens.len()..).take(16 * budget) {
        let missing = (first + budget).saturating_sub(hidden.len());
        if missing == 0 {
            break;
        }
        let place = row.place(attempt);
        let mut at = below(place.draw(2), tokens.len() as u64) as usize;
        while at > 0 && goes_on(continues, tokens[at]) && !settings.is_special(tokens[at - 1]) {
            at -= 1;
        }
        // Labels are what stood there before: a token that was hidden is known by its entry.
        let taken = |position: usize, hidden: &[Hidden]| hidden[first..].iter().any(|hidden| hidden.position == position);
        let mut words = span_length(unit(place.draw(0)));
        let share = unit(place.draw(1));
        for position in (at..tokens.len()).take(missing) {
            if settings.is_special(tokens[position]) || taken(position, hidden) {
                break;
            }
            if position > at && !goes_on(continues, tokens[position]) {
                words -= 1;
            }
            if words == 0 {
                break;
            }
            hidden.push(Hidden { position, label: tokens[position] });
            settings.replace(row.place(position), share, &mut tokens[position]);
        }
    }
    hidden[first..].sort_unstable_by_key(|hidden| hidden.position);
}

fn goes_on(continues: &[bool], token: i64) -> bool {
    usize::try_from(token).ok().and_then(|token| continues.get(token)).copied().unwrap_or(false)
}

/// The length of a span in words from a number in 0..1: geometric, cut at [`SPAN_MAX`], as SpanBERT normalises it.
fn span_length(share: f64) -> usize {
    let weights = (0..SPAN_MAX).scan(SPAN_END, |weight, _| Some(std::mem::replace(weight, *weight * (1.0 - SPAN_END))));
    let sum: f64 = weights.clone().sum();
    let mut reached = 0.0;
    for (length, weight) in (1..).zip(weights) {
        reached += weight / sum;
        if share < reached {
            return length;
        }
    }
    SPAN_MAX
}

impl MaskSettings<'_> {
    fn is_special(&self, token: i64) -> bool {
        self.special_ids.iter().any(|special| i64::from(*special) == token)
    }

    /// Replaces a chosen token by the mask, by a random one or by itself.
    fn replace(&self, place: PlaceKey, share: f64, token: &mut i64) {
        if share < 0.8 {
            *token = i64::from(self.mask_id);
        } else if share < 0.9 {
            // A vocabulary of special tokens alone leaves the token as it is.
            let candidates = (2..18).map(|what| below(place.draw(what), u64::from(self.vocabulary_size)) as i64);
            *token = candidates.into_iter().find(|id| !self.is_special(*id)).unwrap_or(*token);
        }
    }
}

/// T5's span corruption (Raffel et al. 2020): spans of `mean_length` tokens on average, `density` of all tokens, become one sentinel each.
/// Returns the input, with sentinels in place of spans, and the target, each sentinel followed by its span. End tokens are the caller's.
///
/// The row is cut into as many kept as dropped spans, none empty, beginning with a kept one, all partitions being equally likely. A row of
/// fewer than two tokens stays whole. There are never more spans than `sentinels`.
pub fn corrupt(
    seed: u64,
    step: u64,
    sample: u64,
    tokens: &[i64],
    density: f64,
    mean_length: f64,
    sentinels: &[i64],
) -> (Vec<i64>, Vec<i64>) {
    let length = tokens.len();
    if length < 2 || sentinels.is_empty() {
        return (tokens.to_vec(), Vec::new());
    }
    let noise = ((length as f64 * density).round() as usize).clamp(1, length - 1);
    let spans = ((noise as f64 / mean_length).round() as usize).clamp(1, noise.min(length - noise).min(sentinels.len()));
    let key = |what: u64| random([seed, step, sample, what]);
    let kept = partition(key(0), length - noise, spans);
    let dropped = partition(key(1), noise, spans);
    let mut input = Vec::with_capacity(length - noise + spans);
    let mut target = Vec::with_capacity(noise + spans);
    let mut rest = tokens;
    for ((kept, dropped), sentinel) in kept.into_iter().zip(dropped).zip(sentinels) {
        let (shown, after) = rest.split_at(kept);
        let (hidden, after) = after.split_at(dropped);
        input.extend_from_slice(shown);
        input.push(*sentinel);
        target.push(*sentinel);
        target.extend_from_slice(hidden);
        rest = after;
    }
    (input, target)
}

/// The lengths of `parts` parts of `n` things, none empty, each way being equally likely: cuts are the first places of a permutation.
fn partition(key: u64, n: usize, parts: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = (0..parts as u64 - 1).map(|cut| crate::permute(key, 0, n as u64 - 1, cut) as usize + 1).collect();
    cuts.sort_unstable();
    cuts.push(n);
    let starts = std::iter::once(0).chain(cuts.clone());
    cuts.iter().zip(starts).map(|(end, start)| end - start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: MaskSettings =
        MaskSettings { probability: 0.15, mask_id: 4, vocabulary_size: 1000, special_ids: &[0, 1, 2, 3, 4], choose: Choose::Tokens };

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

    /// χ² of counts of `n` trials each, independent of one another, against chance `p`: as many degrees of freedom as counts.
    fn chi_square(counts: &[usize], n: usize, p: f64) -> f64 {
        let expected = n as f64 * p;
        counts.iter().map(|count| (*count as f64 - expected).powi(2) / (expected * (1.0 - p))).sum()
    }

    #[test]
    fn every_position_is_as_likely_and_by_itself() {
        let (rows, length) = (10_000_usize, 64_usize);
        let tokens: Vec<i64> = (0..length as i64).map(|n| 5 + n).collect();
        let labels = |row: usize| mask_tokens(42, 0, row as u64, &tokens, &SETTINGS).1;
        let chosen: Vec<Vec<bool>> = (0..rows).map(|row| labels(row).iter().map(|label| *label != IGNORE).collect()).collect();
        let count = |hit: &dyn Fn(usize, usize) -> bool, row_step: usize, position_step: usize| -> Vec<usize> {
            let of_position = |position: usize| (0..rows).step_by(row_step).filter(|row| hit(*row, position)).count();
            (0..length).step_by(position_step).map(of_position).collect()
        };
        let p = SETTINGS.probability;
        // 64 and 32 degrees of freedom lie between these in all but two of a thousand cases.
        let (of_64, of_32) = (34.6..104.8, 12.7..62.6);
        let alone = chi_square(&count(&|row, at| chosen[row][at], 1, 1), rows, p);
        assert!(of_64.contains(&alone), "{alone}");
        let neighbours = chi_square(&count(&|row, at| chosen[row][at] && chosen[row][at + 1], 1, 2), rows, p * p);
        assert!(of_32.contains(&neighbours), "{neighbours}");
        let next_rows = chi_square(&count(&|row, at| chosen[row][at] && chosen[row + 1][at], 2, 1), rows / 2, p * p);
        assert!(of_64.contains(&next_rows), "{next_rows}");
    }

    #[test]
    fn masks_are_fixed_for_all_time() {
        // A change here makes resumed and repeated runs learn other tokens.
        let tokens: Vec<i64> = (5..72).collect();
        let (input, labels) = mask_tokens(1, 2, 3, &tokens, &SETTINGS);
        let hidden: Vec<(i64, i64)> = input.into_iter().zip(labels).filter(|(_, label)| *label != IGNORE).collect();
        assert_eq!(hidden, [(9, 9), (4, 11), (16, 16), (4, 23), (4, 24), (4, 39), (4, 41), (4, 43), (4, 47), (56, 56), (4, 65), (987, 67)]);
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

    /// Tokens above 500 go on with a word.
    fn continues() -> Vec<bool> {
        (0..1000).map(|id| id > 500).collect()
    }

    #[test]
    fn words_are_chosen_as_a_whole() {
        let continues = continues();
        let settings = MaskSettings { choose: Choose::Words(&continues), ..SETTINGS };
        let tokens: Vec<i64> = (0..90_000).map(|n| if n % 3 == 0 { 5 + n % 400 } else { 501 + n % 300 }).collect();
        let (_, labels) = mask_tokens(1, 2, 0, &tokens, &settings);
        let chosen: Vec<bool> = labels.iter().map(|label| *label != IGNORE).collect();
        assert!(chosen.chunks(3).all(|word| word.iter().all(|token| *token == word[0])));
        let share = chosen.iter().filter(|chosen| **chosen).count() as f64 / chosen.len() as f64;
        assert!((share - 0.15).abs() < 0.006, "{share}");
        // A special token ends a word.
        let all = MaskSettings { probability: 1.0, ..settings };
        assert_eq!(mask_tokens(1, 2, 3, &[700, 2, 700, 10], &all).1, [700, IGNORE, 700, 10]);
    }

    #[test]
    fn spans_have_the_lengths_of_spanbert() {
        // Means and shares from SpanBERT's normalised distribution: 3.797 words.
        let lengths: Vec<usize> = (0..1000).map(|n| span_length((n as f64 + 0.5) / 1000.0)).collect();
        let mean = lengths.iter().sum::<usize>() as f64 / 1000.0;
        assert!((mean - 3.797).abs() < 0.01, "{mean}");
        assert_eq!((lengths[0], lengths[999]), (1, 10));

        let settings = MaskSettings { choose: Choose::Spans(&[]), ..SETTINGS };
        let tokens: Vec<i64> = (0..400).map(|n| 5 + n).collect();
        let (mut count, mut runs) = (0, 0);
        for sample in 0..200 {
            let (_, labels) = mask_tokens(1, 0, sample, &tokens, &settings);
            let chosen: Vec<bool> = labels.iter().map(|label| *label != IGNORE).collect();
            count += chosen.iter().filter(|chosen| **chosen).count();
            runs += (0..400).filter(|i| chosen[*i] && (*i == 0 || !chosen[i - 1])).count();
        }
        assert_eq!(count, 200 * 60);
        assert!((3.0..5.0).contains(&(count as f64 / runs as f64)), "{count} / {runs}");
    }

    #[test]
    fn t5_corrupts_spans() {
        let tokens: Vec<i64> = (0..20).collect();
        let (input, target) = corrupt(1, 2, 3, &tokens, 0.15, 3.0, &[99, 98, 97]);
        assert_eq!((input.len(), target.len()), (18, 4));
        let tokens: Vec<i64> = (0..500).collect();
        let (input, target) = corrupt(1, 2, 3, &tokens, 0.15, 3.0, &(900..1000).rev().collect::<Vec<i64>>());
        assert_eq!((input.len(), target.len()), (425 + 25, 75 + 25));
    }

    proptest! {
        #[test]
        fn corrupted_spans_fit_their_gaps(
            length in 0usize..200, density in 0.01..0.9f64, mean in 1.0..6.0f64, sentinels in 1usize..20, sample: u64,
        ) {
            let tokens: Vec<i64> = (0..length as i64).collect();
            let sentinels: Vec<i64> = (0..sentinels as i64).map(|n| -1 - n).collect();
            let (input, target) = corrupt(1, 2, sample, &tokens, density, mean, &sentinels);
            let mut spans = target.split(|token| *token < 0).skip(1);
            let mut whole = Vec::new();
            for token in input {
                if token < 0 { whole.extend_from_slice(spans.next().unwrap()) } else { whole.push(token) }
            }
            prop_assert_eq!(whole, tokens);
            prop_assert!(spans.next().is_none());
        }

        #[test]
        fn hidden_words_and_spans_keep_to_the_rules(
            tokens in prop::collection::vec(0i64..1000, 0..100), probability in 0.0..=1.0f64, words: bool, sample: u64,
        ) {
            let continues = continues();
            let choose = if words { Choose::Words(&continues) } else { Choose::Spans(&continues) };
            let (input, labels) = mask_tokens(9, 9, sample, &tokens, &MaskSettings { probability, choose, ..SETTINGS });
            for ((token, input), label) in tokens.iter().zip(&input).zip(&labels) {
                prop_assert!(*label == IGNORE || label == token);
                prop_assert!(*label != IGNORE || input == token);
                prop_assert!(*token > 4 || *label == IGNORE);
            }
            let free = tokens.iter().filter(|token| **token > 4).count();
            let chosen = labels.iter().filter(|label| **label != IGNORE).count();
            prop_assert!(words || chosen <= (free as f64 * probability).round() as usize);
        }

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
