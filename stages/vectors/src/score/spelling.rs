//! A simple system beside vectors: words are similar if they are spelled alike.

use std::collections::BTreeMap;

use judgements::Pair;

/// Its name among the systems.
pub(crate) const SYSTEM: &str = "spelling";

/// Dice's coefficient of the pairs of letters of the two words (Adamson and Boreham 1974): twice the pairs that they share, by all of theirs.
/// The ends of a word count as letters.
pub(crate) fn compare(pairs: &[Pair]) -> Vec<Option<f64>> {
    pairs.iter().map(|pair| Some(dice(&pair.words[0], &pair.words[1]))).collect()
}

fn dice(a: &str, b: &str) -> f64 {
    let [a, b] = [a, b].map(letters);
    let shared: usize = a.iter().map(|(letters, count)| count.min(b.get(letters).unwrap_or(&0))).sum();
    2.0 * shared as f64 / (a.values().sum::<usize>() + b.values().sum::<usize>()) as f64
}

fn letters(word: &str) -> BTreeMap<[char; 2], usize> {
    let padded: Vec<char> = std::iter::once(' ').chain(word.chars().flat_map(char::to_lowercase)).chain([' ']).collect();
    let mut counts = BTreeMap::new();
    for pair in padded.windows(2) {
        *counts.entry([pair[0], pair[1]]).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_alike_by_their_pairs_of_letters() {
        assert_eq!(dice("night", "Night"), 1.0);
        assert_eq!(dice("cat", "dog"), 0.0);
        // n i g h t: 6 pairs with the ends, n a c h t: 6; shared are _n, ht and t_.
        assert_eq!(dice("night", "nacht"), 0.5);
        // Each pair counts as often as both have it: aaaa has three inner pairs, aa one.
        assert_eq!(dice("aaaa", "aa"), 2.0 * 3.0 / 8.0);
        assert_eq!(dice("电脑", "电话"), 2.0 / 6.0);
    }
}
