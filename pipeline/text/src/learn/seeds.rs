//! The substrings that a unigram model begins with: those that branch in the suffix tree of all words, as in SentencePiece, and whole ends of
//! words. Unlike there, a substring's frequency counts every occurrence of its words, not every different word once.

use std::cmp::Ordering;

use rayon::prelude::*;

use super::unigram::{PIECE_SYMBOLS_MAX, WeightedWord};

/// A place in a word, with the first symbols there for quick comparison.
struct Suffix {
    head: u64,
    word: u32,
    start: u32,
}

/// Bits of a symbol in `Suffix::head`: code points have 21.
const SYMBOL_BITS: u32 = 21;

impl Suffix {
    fn new(words: &[WeightedWord], word: usize, start: usize) -> Suffix {
        let symbols = &words[word].symbols[start..];
        let head = (0..3).fold(0, |head, n| (head << SYMBOL_BITS) | symbols.get(n).map_or(0, |symbol| u64::from(*symbol) + 1));
        Suffix { head, word: word as u32, start: start as u32 }
    }

    /// The symbols from here to the end of the word, at most as many as a piece may have.
    fn symbols<'a>(&self, words: &'a [WeightedWord]) -> &'a [u32] {
        let symbols = &words[self.word as usize].symbols[self.start as usize..];
        &symbols[..symbols.len().min(PIECE_SYMBOLS_MAX)]
    }
}

/// Substrings of two symbols or more that occur `min_frequency` times: the `count_max` with the largest product of frequency and length, with it,
/// in the order of their symbols.
pub(super) fn substrings(words: &[WeightedWord], min_frequency: u64, count_max: usize) -> Vec<(Box<[u32]>, u64)> {
    let mut suffixes: Vec<Suffix> = (0..words.len())
        .flat_map(|word| (0..words[word].symbols.len().saturating_sub(1)).map(move |start| Suffix::new(words, word, start)))
        .collect();
    // Suffixes that are equal here may come in any order: only their sum counts.
    suffixes.par_sort_unstable_by(|a, b| a.head.cmp(&b.head).then_with(|| a.symbols(words).cmp(b.symbols(words))));
    let mut found: Vec<Node> = Vec::new();
    let mut keep = |node: Node| {
        if node.depth >= 2 && node.weight >= min_frequency {
            found.push(node);
        }
    };
    // The path from the root of the suffix tree to the suffix at hand, by depth.
    let mut path: Vec<Node> = Vec::new();
    for (index, suffix) in suffixes.iter().enumerate() {
        let symbols = suffix.symbols(words);
        let weight = words[suffix.word as usize].count;
        match path.last_mut() {
            Some(top) if top.depth == symbols.len() => top.weight += weight,
            _ => path.push(Node { depth: symbols.len(), weight, suffix: index }),
        }
        let shared = suffixes.get(index + 1).map_or(0, |next| shared_length(symbols, next.symbols(words)));
        while let Some(node) = path.pop_if(|top| top.depth > shared) {
            match path.last_mut() {
                Some(below) if below.depth >= shared => below.weight += node.weight,
                _ if shared > 0 => path.push(Node { depth: shared, ..node }),
                _ => {}
            }
            keep(node);
        }
    }
    let text = |node: &Node| &suffixes[node.suffix].symbols(words)[..node.depth];
    let score = |node: &Node| node.weight * node.depth as u64;
    let by_score = |a: &Node, b: &Node| -> Ordering { score(b).cmp(&score(a)).then_with(|| text(a).cmp(text(b))) };
    if found.len() > count_max {
        found.select_nth_unstable_by(count_max, by_score);
        found.truncate(count_max);
    }
    let mut pieces: Vec<(Box<[u32]>, u64)> = found.iter().map(|node| (text(node).into(), score(node))).collect();
    pieces.par_sort_unstable();
    pieces
}

/// A substring: the first `depth` symbols of a suffix.
#[derive(Clone, Copy)]
struct Node {
    depth: usize,
    weight: u64,
    suffix: usize,
}

fn shared_length(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn words(texts: &[(&str, u64)]) -> Vec<WeightedWord> {
        texts.iter().map(|(text, count)| WeightedWord { symbols: text.chars().map(|c| c as u32).collect(), count: *count }).collect()
    }

    fn found(texts: &[(&str, u64)], min_frequency: u64) -> BTreeMap<String, u64> {
        let pieces = substrings(&words(texts), min_frequency, 1000);
        pieces.into_iter().map(|(symbols, score)| (symbols.iter().map(|s| char::from_u32(*s).unwrap()).collect(), score)).collect()
    }

    #[test]
    fn substrings_count_with_their_words() {
        let expected = [("low", 21), ("lower", 10), ("ower", 8), ("ow", 14), ("wer", 6), ("er", 4)];
        assert_eq!(found(&[("low", 5), ("lower", 2)], 1), expected.map(|(text, score)| (text.to_string(), score)).into());
        assert_eq!(found(&[("low", 5), ("lower", 2)], 3), [("low".to_string(), 21), ("ow".to_string(), 14)].into());
        // The longest piece has 16 symbols.
        assert!(found(&[("abcdefghijklmnopqrst", 1)], 1).keys().all(|text| text.len() <= 16));
    }

    proptest! {
        #[test]
        fn frequencies_are_those_of_a_search(texts in proptest::collection::btree_map("[ab]{1,9}", 1u64..5, 1..8)) {
            let texts: Vec<(&str, u64)> = texts.iter().map(|(text, count)| (text.as_str(), *count)).collect();
            let occurrences = |piece: &str| -> u64 {
                texts.iter().map(|(text, count)| count * (0..text.len()).filter(|at| text[*at..].starts_with(piece)).count() as u64).sum()
            };
            let found = found(&texts, 1);
            for (piece, score) in &found {
                prop_assert_eq!(*score, occurrences(piece) * piece.len() as u64, "{}", piece);
            }
            // A substring that is left out always goes on in the same way.
            for (text, _) in &texts {
                for (start, end) in (0..text.len()).flat_map(|start| (start + 2..=text.len()).map(move |end| (start, end))) {
                    let piece = &text[start..end];
                    let goes_on = ["a", "b"].iter().any(|c| occurrences(&format!("{piece}{c}")) == occurrences(piece));
                    prop_assert!(found.contains_key(piece) || goes_on, "{}", piece);
                }
            }
        }
    }
}
