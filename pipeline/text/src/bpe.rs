//! Learning merges from word counts: the algorithm of byte-pair encoding, for byte-level BPE and for WordPiece.
//!
//! It stands in for the trainers of the crate `tokenizers`, whose merges depend on the order of a hash map seeded anew in every process: among
//! pairs of equal count for WordPiece always, for BPE where a pair lies in the queue twice. There, counts also wrap at 2^31. Here the result is a
//! function of the counts alone: the most frequent pair is merged first, among equals the one with the smallest ids.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashMap;

/// Two neighbouring symbols.
type Pair = (u32, u32);

/// A word in symbols, and how often it occurs.
pub(crate) struct Word {
    pub(crate) symbols: Vec<u32>,
    pub(crate) count: u64,
}

/// Symbols in order of their ids, and the merges in order.
pub(crate) struct Learned {
    pub(crate) symbols: Vec<String>,
    pub(crate) merges: Vec<Pair>,
}

/// Merges the most frequent pairs of `words` until there are `vocabulary_size` symbols or no pair occurs `min_frequency` times.
/// `symbols` are the symbols to begin with; `prefix` marks symbols that continue a word (`##`, or nothing) and is left out inside merged ones.
pub(crate) fn learn_merges(
    mut words: Vec<Word>,
    mut symbols: Vec<String>,
    prefix: &str,
    vocabulary_size: usize,
    min_frequency: u64,
) -> Learned {
    let mut ids: HashMap<String, u32> = symbols.iter().cloned().zip(0..).collect();
    let mut pairs: HashMap<Pair, Occurrences> = HashMap::new();
    for (index, word) in words.iter().enumerate() {
        for pair in word.symbols.windows(2) {
            let entry = pairs.entry((pair[0], pair[1])).or_default();
            entry.count += word.count as i64;
            entry.note(index as u32);
        }
    }
    // Entries may be out of date: a count is checked when its entry comes to the top.
    let mut queue: BinaryHeap<(i64, Reverse<Pair>)> = pairs.iter().map(|(pair, entry)| (entry.count, Reverse(*pair))).collect();
    let mut merges = Vec::new();
    let least = min_frequency.max(1) as i64;
    while symbols.len() < vocabulary_size {
        let Some((count, Reverse(pair))) = queue.pop() else { break };
        let current = pairs.get(&pair).map_or(0, |entry| entry.count);
        if current != count {
            if current >= least {
                queue.push((current, Reverse(pair)));
            }
            continue;
        }
        if count < least {
            break;
        }
        let Some(occurrences) = pairs.remove(&pair) else { continue };
        let merged = merged_text(&symbols, pair, prefix);
        // Two ways to the same text give one symbol.
        let id = *ids.entry(merged.clone()).or_insert_with(|| {
            symbols.push(merged);
            symbols.len() as u32 - 1
        });
        merges.push(pair);
        for index in occurrences.words {
            merge_word(&mut words[index as usize], index, pair, id, &mut pairs, &mut queue);
        }
        pairs.remove(&pair);
    }
    Learned { symbols, merges }
}

#[derive(Default)]
struct Occurrences {
    count: i64,
    /// Words that hold the pair or once held it.
    words: Vec<u32>,
}

impl Occurrences {
    fn note(&mut self, word: u32) {
        if self.words.last() != Some(&word) {
            self.words.push(word);
        }
    }
}

fn merged_text(symbols: &[String], (left, right): Pair, prefix: &str) -> String {
    let right = &symbols[right as usize];
    format!("{}{}", symbols[left as usize], right.strip_prefix(prefix).unwrap_or(right))
}

/// Replaces the pair in one word, left to right, and carries the change over to the counts of the pairs around it.
fn merge_word(
    word: &mut Word,
    index: u32,
    pair: Pair,
    id: u32,
    pairs: &mut HashMap<Pair, Occurrences>,
    queue: &mut BinaryHeap<(i64, Reverse<Pair>)>,
) {
    if !word.symbols.windows(2).any(|window| (window[0], window[1]) == pair) {
        return;
    }
    let before = std::mem::take(&mut word.symbols);
    let mut after = Vec::with_capacity(before.len());
    let mut position = 0;
    while position < before.len() {
        if position + 1 < before.len() && (before[position], before[position + 1]) == pair {
            after.push(id);
            position += 2;
        } else {
            after.push(before[position]);
            position += 1;
        }
    }
    // Counting the whole word anew is as fast as looking at the neighbours alone, and cannot miss overlapping pairs such as `aaa`.
    for old in before.windows(2) {
        if let Some(entry) = pairs.get_mut(&(old[0], old[1])) {
            entry.count -= word.count as i64;
        }
    }
    for new in after.windows(2) {
        let new = (new[0], new[1]);
        let entry = pairs.entry(new).or_default();
        entry.count += word.count as i64;
        if new.0 == id || new.1 == id {
            entry.note(index);
            queue.push((entry.count, Reverse(new)));
        }
    }
    word.symbols = after;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(words: &[(&str, u64)], size: usize, least: u64) -> Vec<String> {
        let mut symbols: Vec<String> = words.iter().flat_map(|(word, _)| word.chars()).map(String::from).collect();
        symbols.sort();
        symbols.dedup();
        let id = |c: char| symbols.binary_search(&c.to_string()).unwrap() as u32;
        let words = words.iter().map(|(word, count)| Word { symbols: word.chars().map(id).collect(), count: *count }).collect();
        let alphabet = symbols.len();
        learn_merges(words, symbols.clone(), "", size, least).symbols.split_off(alphabet)
    }

    #[test]
    fn the_most_frequent_pair_comes_first_and_ties_go_to_the_smallest_ids() {
        // The example of Sennrich et al. (2016), without the end-of-word symbol.
        assert_eq!(learn(&[("low", 5), ("lower", 2), ("newest", 6), ("widest", 3)], 14, 1), ["es", "est", "lo", "low"]);
        assert_eq!(learn(&[("ab", 1), ("cd", 1)], 99, 1), ["ab", "cd"]);
        assert_eq!(learn(&[("ab", 1), ("cd", 2)], 99, 2), ["cd"]);
        assert_eq!(learn(&[("aaaaa", 1)], 99, 1), ["aa", "aaa", "aaaaa"]);
    }

    #[test]
    fn word_order_changes_nothing() {
        let mut words = vec![("banana", 3), ("bandana", 3), ("ananas", 2), ("nab", 4), ("aaab", 1), ("cabana", 3)];
        let expected = learn(&words, 30, 1);
        for _ in 0..words.len() {
            words.rotate_left(1);
            assert_eq!(learn(&words, 30, 1), expected);
        }
    }
}
