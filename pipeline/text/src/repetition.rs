//! Repetition within one text: which words, word n-grams, lines and paragraphs occur more than once, and how many characters they hold.
//!
//! Programs agree on the idea and differ in the counting, so this gives sums, and a definition divides them: all copies of a duplicate or only
//! the extra ones; overlapping n-grams counted once, each for itself, or skipped over.
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

/// What repeats among the lines or paragraphs of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// Segments in all.
    pub count: u64,
    /// Characters of all segments.
    pub characters: u64,
    /// Segments that occur more than once, all copies.
    pub duplicates: u64,
    /// Characters of those.
    pub duplicate_characters: u64,
    /// Copies of an earlier segment: the first of its kind is not counted.
    pub extra: u64,
    /// Characters of those.
    pub extra_characters: u64,
}

impl Segments {
    /// Counts segments, which are compared as they are.
    pub fn new<'a>(segments: impl Iterator<Item = &'a str>) -> Segments {
        let (mut keys, mut lengths) = (Vec::new(), Vec::new());
        for segment in segments {
            keys.push(xxh3_64(segment.as_bytes()));
            lengths.push(characters(segment) as u64);
        }
        let classes = Classes::new(keys.iter().map(|key| Some(*key)));
        let mut sums = Segments { count: keys.len() as u64, characters: lengths.iter().sum(), ..Segments::default() };
        let mut seen = vec![false; classes.counts.len()];
        for (class, length) in classes.of.iter().zip(lengths).filter(|(class, _)| **class != UNIQUE) {
            sums.duplicates += 1;
            sums.duplicate_characters += length;
            if std::mem::replace(&mut seen[*class as usize], true) {
                sums.extra += 1;
                sums.extra_characters += length;
            }
        }
        sums
    }
}

/// The n-grams of a text's words for one n at a time, rising from 1.
pub struct Ngrams {
    n: usize,
    classes: Classes,
    /// Characters of all words before each word; one longer than the words.
    offsets: Vec<u64>,
}

impl Ngrams {
    /// Makes room for the words of a text of this many bytes; they come by [`NgramsBuilder::push`].
    pub fn builder(bytes: usize) -> NgramsBuilder {
        let mut offsets = Vec::with_capacity(bytes / 5 + 1);
        offsets.push(0);
        NgramsBuilder { keys: Vec::with_capacity(bytes / 5), offsets }
    }

    /// The words themselves: n = 1.
    pub fn new<'a>(words: impl Iterator<Item = &'a str>, bytes: usize) -> Ngrams {
        let mut builder = Ngrams::builder(bytes);
        words.for_each(|word| builder.push(word, characters(word) as u64));
        builder.finish()
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

    /// How often the most frequent n-gram occurs, and its characters; of several such n-grams the longest. `None` when none occurs twice.
    pub fn top(&self) -> Option<(u64, u64)> {
        let most = self.most()?;
        let longest = self.repeated().filter(|(_, class)| self.count(*class) == most).map(|(start, _)| self.length(start)).max();
        Some((most, longest.unwrap_or(0)))
    }

    /// The same with the n-gram that comes first in the text among several; when none occurs twice it is the first of all. `None` without n-grams.
    pub fn first_top(&self) -> Option<(u64, u64)> {
        match self.most() {
            Some(most) => self.repeated().find(|(_, class)| self.count(*class) == most).map(|(start, _)| (most, self.length(start))),
            None => (!self.classes.of.is_empty()).then(|| (1, self.length(0))),
        }
    }

    /// Characters of words within an n-gram that occurs more than once, each word counted once.
    pub fn covered_characters(&self) -> u64 {
        let (mut covered, mut end) = (0, 0);
        for (start, _) in self.repeated() {
            covered += self.offsets[start + self.n] - self.offsets[start.max(end)];
            end = start + self.n;
        }
        covered
    }

    /// Characters of n-grams that occur more than once and of all n-grams, each n-gram counted for itself.
    pub fn overlapping_characters(&self) -> (u64, u64) {
        let all = (0..self.classes.of.len()).map(|start| self.length(start)).sum();
        (self.repeated().map(|(start, _)| self.length(start)).sum(), all)
    }

    /// Characters of n-grams seen before, going on behind each of them; n-grams that begin within one count neither now nor as seen.
    pub fn skipping_characters(&self) -> u64 {
        let mut seen = vec![false; self.classes.counts.len()];
        let (mut characters, mut next) = (0, 0);
        for (start, class) in self.repeated() {
            if start >= next && std::mem::replace(&mut seen[class as usize], true) {
                characters += self.length(start);
                next = start + self.n;
            }
        }
        characters
    }

    /// Characters of all words.
    pub fn characters(&self) -> u64 {
        *self.offsets.last().expect("offsets begin with 0")
    }

    /// How often each different word occurs, in the order of their first places. Only of use before [`Ngrams::advance`].
    pub fn counts(&self) -> &[u32] {
        &self.classes.counts
    }

    /// Words in all.
    pub fn words(&self) -> u64 {
        self.offsets.len() as u64 - 1
    }

    fn repeated(&self) -> impl Iterator<Item = (usize, u32)> {
        self.classes.of.iter().copied().enumerate().filter(|(_, class)| *class != UNIQUE)
    }

    fn most(&self) -> Option<u64> {
        self.repeated().map(|(_, class)| self.count(class)).max()
    }

    fn count(&self, class: u32) -> u64 {
        self.classes.counts[class as usize] as u64
    }

    /// Characters of the n-gram that begins at word `start`.
    fn length(&self, start: usize) -> u64 {
        self.offsets[start + self.n] - self.offsets[start]
    }
}

/// Takes the words of a text in order.
pub struct NgramsBuilder {
    keys: Vec<u64>,
    offsets: Vec<u64>,
}

impl NgramsBuilder {
    /// The next word, whose characters are counted already.
    pub fn push(&mut self, word: &str, characters: u64) {
        self.keys.push(xxh3_64(word.as_bytes()));
        self.offsets.push(self.offsets.last().copied().unwrap_or(0) + characters);
    }

    pub fn finish(self) -> Ngrams {
        Ngrams { n: 1, classes: Classes::new(self.keys.into_iter().map(Some)), offsets: self.offsets }
    }
}

/// How often in a row a run of 1 to `max_period` words stands at most: 3 for `a b a b a b`. Only whole runs count.
pub fn longest_loop<'a>(words: impl Iterator<Item = &'a str>, max_period: usize) -> u64 {
    let keys: Vec<u64> = words.map(|word| xxh3_64(word.as_bytes())).collect();
    let mut most = !keys.is_empty() as u64;
    for period in 1..=max_period.min(keys.len() / 2) {
        let mut equal = 0;
        for position in period..keys.len() {
            equal = if keys[position] == keys[position - period] { equal + 1 } else { 0 };
            most = most.max((equal / period) as u64 + 1);
        }
    }
    most
}

/// Characters of a piece of text; ASCII is counted without decoding.
pub fn characters(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    /// All sums of one n, spelled out word by word.
    #[derive(Debug, PartialEq)]
    struct Sums {
        top: Option<(u64, u64)>,
        first_top: Option<(u64, u64)>,
        covered: u64,
        overlapping: (u64, u64),
        skipping: u64,
    }

    fn reference(words: &[&str], n: usize) -> Sums {
        let characters = |words: &[&str]| words.iter().map(|word| word.chars().count() as u64).sum::<u64>();
        let ngrams: Vec<&[&str]> = words.windows(n).collect();
        let mut counts: HashMap<&[&str], u64> = HashMap::new();
        ngrams.iter().for_each(|ngram| *counts.entry(ngram).or_default() += 1);
        let most = counts.values().copied().max().unwrap_or(0);
        let longest = counts.iter().filter(|(_, count)| **count == most).map(|(ngram, _)| characters(ngram)).max();
        let mut covered = vec![false; words.len()];
        for (start, _) in ngrams.iter().enumerate().filter(|(_, ngram)| counts[*ngram] > 1) {
            covered[start..start + n].fill(true);
        }
        let (mut seen, mut skipping, mut start) = (HashSet::new(), 0, 0);
        while start < ngrams.len() {
            if seen.insert(ngrams[start]) {
                start += 1;
            } else {
                skipping += characters(ngrams[start]);
                start += n;
            }
        }
        Sums {
            top: longest.filter(|_| most > 1).map(|longest| (most, longest)),
            first_top: ngrams.iter().find(|ngram| counts[*ngram] == most).map(|ngram| (most, characters(ngram))),
            covered: words.iter().zip(covered).filter(|(_, covered)| *covered).map(|(word, _)| word.chars().count() as u64).sum(),
            overlapping: (
                ngrams.iter().filter(|ngram| counts[*ngram] > 1).map(|ngram| characters(ngram)).sum(),
                ngrams.iter().map(|ngram| characters(ngram)).sum(),
            ),
            skipping,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definitions(text in "([ab]{1,2}|中| |c d e f g h i j k l m){0,40}", n in 1usize..12) {
            let words: Vec<&str> = crate::words(&text).collect();
            let mut ngrams = Ngrams::new(words.iter().copied(), text.len());
            ngrams.advance(n);
            let sums = Sums {
                top: ngrams.top(),
                first_top: ngrams.first_top(),
                covered: ngrams.covered_characters(),
                overlapping: ngrams.overlapping_characters(),
                skipping: ngrams.skipping_characters(),
            };
            prop_assert_eq!(sums, reference(&words, n));
        }

        #[test]
        fn any_text_gives_shares(text in any::<String>(), n in 1usize..5) {
            let mut ngrams = Ngrams::new(crate::words(&text), text.len());
            ngrams.advance(n);
            prop_assert!(ngrams.skipping_characters() <= ngrams.covered_characters());
            prop_assert!(ngrams.covered_characters() <= ngrams.characters());
        }
    }

    #[test]
    fn loops_are_whole_runs_in_a_row() {
        let longest = |text: &str, max_period| longest_loop(text.split(' '), max_period);
        assert_eq!(longest("a", 13), 1);
        assert_eq!(longest("a b c", 13), 1);
        assert_eq!(longest("a b a b a", 13), 2);
        assert_eq!(longest("x a b a b a b y", 13), 3);
        assert_eq!(longest("x a b a b a b y", 1), 1);
        assert_eq!(longest("a b c a b c c c c", 13), 4);
        assert_eq!(longest_loop(std::iter::empty(), 13), 0);
    }

    #[test]
    fn segments_count_all_copies_and_extra_ones() {
        let sums = Segments::new(["a", "bb", "a", "bb", "a", "c"].into_iter());
        assert_eq!((sums.count, sums.characters), (6, 8));
        assert_eq!((sums.duplicates, sums.duplicate_characters), (5, 7));
        assert_eq!((sums.extra, sums.extra_characters), (3, 4));
        assert_eq!(Segments::new(std::iter::empty()), Segments::default());
    }
}
