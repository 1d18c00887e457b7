//! Repetition within one text: which words, word n-grams, lines and paragraphs occur more than once, and how many characters they hold.
//!
//! Definitions (those of dclm, which the paper of Gopher leaves open): all copies of a duplicate count, not only the extra ones; n-gram
//! shares are divided by the characters of all words; of overlapping duplicate n-grams each word counts once.
//! Nothing is allocated per n-gram and no n-gram is ever spelled out: an (n+1)-gram is a pair of neighbouring n-grams, and it can only
//! occur twice if both of them do, so after the first length nearly all places have dropped out.

use xxhash_rust::xxh3::xxh3_64;

/// The class of an item that occurs once.
const UNIQUE: u32 = u32::MAX;

/// Items sorted into classes of equal ones.
struct Classes {
    /// Per item: its class, or [`UNIQUE`].
    of: Vec<u32>,
    /// Per class: how often it occurs. Once-only classes have a number too, but no item refers to it.
    counts: Vec<u32>,
}

impl Classes {
    /// Sorts items by their keys; `None` is unique.
    fn new(keys: impl ExactSizeIterator<Item = Option<u64>>) -> Classes {
        let slots = (keys.len() * 2).next_power_of_two().max(4);
        let mut table: Vec<(u64, u32)> = vec![(0, UNIQUE); slots];
        let mut counts: Vec<u32> = Vec::new();
        let mut of = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(key) = key else {
                of.push(UNIQUE);
                continue;
            };
            // Open addressing with a multiplicative hash (Knuth, 6.4): the high bits of the product are well mixed.
            let mut slot = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & (slots - 1);
            let class = loop {
                match table[slot] {
                    (_, UNIQUE) => {
                        let class = counts.len() as u32;
                        table[slot] = (key, class);
                        counts.push(0);
                        break class;
                    }
                    (found, class) if found == key => break class,
                    _ => slot = (slot + 1) & (slots - 1),
                }
            };
            counts[class as usize] += 1;
            of.push(class);
        }
        for class in of.iter_mut().filter(|class| **class != UNIQUE) {
            if counts[*class as usize] < 2 {
                *class = UNIQUE;
            }
        }
        Classes { of, counts }
    }

    fn none_twice(&self) -> bool {
        self.of.iter().all(|class| *class == UNIQUE)
    }
}

/// Shares of duplicate segments (lines or paragraphs) of a text.
pub(super) struct Segments {
    /// Segments with a copy, divided by all segments.
    pub duplicate_ratio: f64,
    /// Characters of segments with a copy, divided by the characters of all segments.
    pub duplicate_char_ratio: f64,
}

/// Segments are the pieces between `separator`, trimmed, without empty ones. `None` when there is none.
pub(super) fn segments(text: &str, separator: &str) -> Option<Segments> {
    let (mut keys, mut lengths) = (Vec::new(), Vec::new());
    for segment in text.split(separator).map(str::trim).filter(|segment| !segment.is_empty()) {
        keys.push(xxh3_64(segment.as_bytes()));
        lengths.push(characters(segment) as u64);
    }
    if keys.is_empty() {
        return None;
    }
    let classes = Classes::new(keys.iter().map(|key| Some(*key)));
    let duplicates = || classes.of.iter().zip(&lengths).filter(|(class, _)| **class != UNIQUE).map(|(_, length)| length);
    Some(Segments {
        duplicate_ratio: duplicates().count() as f64 / keys.len() as f64,
        duplicate_char_ratio: duplicates().sum::<u64>() as f64 / lengths.iter().sum::<u64>() as f64,
    })
}

/// The n-grams of a text's words that occur more than once, for one n at a time, rising from 1.
pub(super) struct Ngrams {
    n: usize,
    classes: Classes,
    /// Characters of all words before each word; one longer than the words.
    offsets: Vec<u64>,
}

impl Ngrams {
    /// The words themselves: n = 1.
    pub fn new(text: &str) -> Ngrams {
        let (mut keys, mut offsets) = (Vec::with_capacity(text.len() / 5), Vec::with_capacity(text.len() / 5));
        let mut total = 0;
        offsets.push(total);
        for word in text::words(text) {
            keys.push(xxh3_64(word.as_bytes()));
            total += characters(word) as u64;
            offsets.push(total);
        }
        Ngrams { n: 1, classes: Classes::new(keys.into_iter().map(Some)), offsets }
    }

    /// Goes on to n-grams of this length, which must not be shorter than the present ones.
    pub fn advance(&mut self, n: usize) {
        while self.n < n && !self.classes.of.is_empty() {
            let pairs = self.classes.of.windows(2);
            let key = |pair: &[u32]| (pair[0] != UNIQUE && pair[1] != UNIQUE).then(|| (pair[0] as u64) << 32 | pair[1] as u64);
            self.classes = if self.classes.none_twice() {
                Classes { of: vec![UNIQUE; pairs.len()], counts: Vec::new() }
            } else {
                Classes::new(pairs.map(key))
            };
            self.n += 1;
        }
        self.n = n;
    }

    /// Characters in the copies of the n-gram that occurs most, divided by the characters of all words; of several such n-grams the
    /// longest counts. 0 when no n-gram occurs twice.
    pub fn top_char_ratio(&self) -> f64 {
        let repeated = || self.classes.of.iter().enumerate().filter(|(_, class)| **class != UNIQUE);
        let count = |class: &u32| self.classes.counts[*class as usize];
        let Some(most) = repeated().map(|(_, class)| count(class)).max() else { return 0.0 };
        let longest = repeated().filter(|(_, class)| count(class) == most).map(|(start, _)| self.length(start)).max().unwrap_or(0);
        most as f64 * longest as f64 / self.total() as f64
    }

    /// Characters of words within an n-gram that occurs more than once, divided by the characters of all words. 0 when there is none.
    pub fn duplicate_char_ratio(&self) -> f64 {
        let (mut covered, mut end) = (0, 0);
        for (start, _) in self.classes.of.iter().enumerate().filter(|(_, class)| **class != UNIQUE) {
            covered += self.offsets[start + self.n] - self.offsets[start.max(end)];
            end = start + self.n;
        }
        if covered == 0 { 0.0 } else { covered as f64 / self.total() as f64 }
    }

    /// Characters of the n-gram that begins at word `start`.
    fn length(&self, start: usize) -> u64 {
        self.offsets[start + self.n] - self.offsets[start]
    }

    fn total(&self) -> u64 {
        *self.offsets.last().expect("offsets begin with 0")
    }
}

/// Characters of a piece of text; ASCII is counted without decoding.
pub(super) fn characters(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// The definitions, spelled out word by word.
    fn reference(text: &str, n: usize) -> (f64, f64) {
        let words: Vec<&str> = text::words(text).collect();
        let characters = |words: &[&str]| words.iter().map(|word| word.chars().count()).sum::<usize>();
        let mut counts: HashMap<&[&str], usize> = HashMap::new();
        words.windows(n).for_each(|ngram| *counts.entry(ngram).or_default() += 1);
        let most = counts.values().copied().max().unwrap_or(0);
        if most < 2 {
            return (0.0, 0.0);
        }
        let top = counts.iter().filter(|(_, count)| **count == most).map(|(ngram, _)| characters(ngram)).max().unwrap() * most;
        let mut covered = vec![false; words.len()];
        for (start, ngram) in words.windows(n).enumerate().filter(|(_, ngram)| counts[ngram] > 1) {
            covered[start..start + ngram.len()].fill(true);
        }
        let duplicate: usize = words.iter().zip(covered).filter(|(_, covered)| *covered).map(|(word, _)| word.chars().count()).sum();
        (top as f64 / characters(&words) as f64, duplicate as f64 / characters(&words) as f64)
    }

    proptest! {
        #[test]
        fn agrees_with_the_definitions(text in "([ab]{1,2}|中| |c d e f g h i j k l m){0,40}", n in 1usize..12) {
            let mut ngrams = Ngrams::new(&text);
            ngrams.advance(n);
            prop_assert_eq!((ngrams.top_char_ratio(), ngrams.duplicate_char_ratio()), reference(&text, n));
        }

        #[test]
        fn any_text_gives_shares(text in any::<String>(), n in 1usize..5) {
            let mut ngrams = Ngrams::new(&text);
            ngrams.advance(n);
            prop_assert!((0.0..=1.0).contains(&ngrams.duplicate_char_ratio()));
            // Overlapping copies count each time here, so only the sign is bounded.
            prop_assert!(ngrams.top_char_ratio() >= 0.0);
        }
    }
}
