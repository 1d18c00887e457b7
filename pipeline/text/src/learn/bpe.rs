//! Learning merges from word counts: the algorithm of byte-pair encoding, for byte-level BPE and for WordPiece.
//!
//! It stands in for the trainers of the crate `tokenizers`, whose merges depend on the order of a hash map seeded anew in every process: among
//! pairs of equal count for WordPiece always, for BPE where a pair lies in the queue twice. There, counts also wrap at 2^31. Here the result is a
//! function of the counts alone: the most frequent pair is merged first, among equals the one with the smallest ids.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::{HashMap, HashSet};

use super::file::Vocabulary;

/// Two neighbouring symbols.
type Pair = (u32, u32);

/// A word in symbols, and how often it occurs.
pub(super) struct Word {
    pub(super) symbols: Vec<u32>,
    pub(super) count: u64,
}

/// Merges the most frequent pairs of `words` until there are `vocabulary_size` symbols or no pair occurs `min_frequency` times.
/// `symbols` are the symbols to begin with; `prefix` marks symbols that continue a word (`##`, or nothing) and is left out inside merged ones.
/// No merge makes a symbol of `reserved`.
pub(super) fn learn_merges(
    mut words: Vec<Word>,
    mut symbols: Vec<String>,
    prefix: &str,
    vocabulary_size: usize,
    min_frequency: u64,
    reserved: &HashSet<String>,
) -> Vocabulary {
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
    let mut scratch = Scratch::default();
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
        let merged = merged_text(&symbols, pair, prefix);
        if reserved.contains(&merged) {
            continue;
        }
        let Some(occurrences) = pairs.remove(&pair) else { continue };
        // Two ways to the same text give one symbol.
        let id = *ids.entry(merged.clone()).or_insert_with(|| {
            symbols.push(merged);
            symbols.len() as u32 - 1
        });
        merges.push(pair);
        for index in occurrences.words {
            merge_word(&mut words[index as usize], index, pair, id, &mut pairs, &mut scratch);
        }
        scratch.changed.sort_unstable();
        scratch.changed.dedup();
        queue.extend(scratch.changed.drain(..).map(|pair| (pairs[&pair].count, Reverse(pair))));
    }
    Vocabulary { symbols, merges, scores: Vec::new() }
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

/// What one merge notes on its way.
#[derive(Default)]
struct Scratch {
    /// Pairs with more occurrences than before.
    changed: Vec<Pair>,
    /// Where new symbols stand in the word at hand.
    places: Vec<usize>,
}

fn merged_text(symbols: &[String], (left, right): Pair, prefix: &str) -> String {
    let right = &symbols[right as usize];
    format!("{}{}", symbols[left as usize], right.strip_prefix(prefix).unwrap_or(right))
}

/// Replaces the pair in one word, left to right, and carries the change over to the counts of the pairs around it.
fn merge_word(word: &mut Word, index: u32, pair: Pair, id: u32, pairs: &mut HashMap<Pair, Occurrences>, scratch: &mut Scratch) {
    let Word { symbols, count } = word;
    let (length, count) = (symbols.len(), *count as i64);
    // Pairs are named by where they begin. Those up to here have lost their count.
    let mut counted = 0;
    let (mut read, mut write) = (0, 0);
    scratch.places.clear();
    while read < length {
        if read + 1 == length || (symbols[read], symbols[read + 1]) != pair {
            symbols[write] = symbols[read];
            (read, write) = (read + 1, write + 1);
            continue;
        }
        // What was written so far never reaches as far as the symbol before.
        for old in counted.max(read.saturating_sub(1))..(read + 2).min(length - 1) {
            if let Some(entry) = pairs.get_mut(&(symbols[old], symbols[old + 1])) {
                entry.count -= count;
            }
        }
        counted = read + 2;
        scratch.places.push(write);
        symbols[write] = id;
        (read, write) = (read + 2, write + 1);
    }
    symbols.truncate(write);
    let mut counted = 0;
    for place in &scratch.places {
        for new in counted.max(place.saturating_sub(1))..(place + 1).min(write - 1) {
            let new = (symbols[new], symbols[new + 1]);
            let entry = pairs.entry(new).or_default();
            entry.count += count;
            entry.note(index);
            scratch.changed.push(new);
        }
        counted = place + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn learn(words: &[(&str, u64)], size: usize, least: u64) -> Vec<String> {
        let mut symbols: Vec<String> = words.iter().flat_map(|(word, _)| word.chars()).map(String::from).collect();
        symbols.sort();
        symbols.dedup();
        let id = |c: char| symbols.binary_search(&c.to_string()).unwrap() as u32;
        let words = words.iter().map(|(word, count)| Word { symbols: word.chars().map(id).collect(), count: *count }).collect();
        let alphabet = symbols.len();
        learn_merges(words, symbols.clone(), "", size, least, &HashSet::from(["abba".to_string()])).symbols.split_off(alphabet)
    }

    #[test]
    fn the_most_frequent_pair_comes_first_and_ties_go_to_the_smallest_ids() {
        // The example of Sennrich et al. (2016), without the end-of-word symbol.
        assert_eq!(learn(&[("low", 5), ("lower", 2), ("newest", 6), ("widest", 3)], 14, 1), ["es", "est", "lo", "low"]);
        assert_eq!(learn(&[("ab", 1), ("cd", 1)], 99, 1), ["ab", "cd"]);
        assert_eq!(learn(&[("ab", 1), ("cd", 2)], 99, 2), ["cd"]);
        assert_eq!(learn(&[("aaaaa", 1)], 99, 1), ["aa", "aaa", "aaaaa"]);
        // What is reserved is not made, and nothing beyond it.
        assert_eq!(learn(&[("abba", 9), ("ab", 9)], 99, 1), ["ab", "ba"]);
    }

    /// The same, counting all pairs anew for every merge.
    fn learn_slowly(words: &[(String, u64)], merges: usize) -> Vec<String> {
        let mut words: Vec<(Vec<String>, u64)> =
            words.iter().map(|(word, count)| (word.chars().map(String::from).collect(), *count)).collect();
        let mut order: Vec<String> = words.iter().flat_map(|(word, _)| word.clone()).collect();
        order.sort();
        order.dedup();
        let (alphabet, mut done) = (order.len(), 0);
        while done < merges {
            let mut counts: HashMap<(usize, usize), u64> = HashMap::new();
            let id = |symbol: &String| order.iter().position(|other| other == symbol).unwrap();
            for (word, count) in &words {
                word.windows(2).for_each(|pair| *counts.entry((id(&pair[0]), id(&pair[1]))).or_default() += count);
            }
            let Some(((left, right), _)) = counts.into_iter().max_by_key(|(pair, count)| (*count, Reverse(*pair))) else { break };
            let (left, right) = (order[left].clone(), order[right].clone());
            let merged = format!("{left}{right}");
            for (word, _) in &mut words {
                let mut at = 0;
                while at + 1 < word.len() {
                    if word[at] == left && word[at + 1] == right {
                        word.splice(at..at + 2, [merged.clone()]);
                    }
                    at += 1;
                }
            }
            if !order.contains(&merged) {
                order.push(merged);
                done += 1;
            }
        }
        order.split_off(alphabet)
    }

    proptest! {
        #[test]
        fn merges_equal_those_of_counting_anew(words in proptest::collection::btree_map("[ab]{1,12}|[a-d]{1,6}", 1u64..6, 1..12)) {
            let words: Vec<(String, u64)> = words.into_iter().filter(|(word, _)| !word.contains("abba")).collect();
            let borrowed: Vec<(&str, u64)> = words.iter().map(|(word, count)| (word.as_str(), *count)).collect();
            let mut alphabet: Vec<char> = words.iter().flat_map(|(word, _)| word.chars()).collect();
            alphabet.sort_unstable();
            alphabet.dedup();
            prop_assert_eq!(learn(&borrowed, alphabet.len() + 20, 1), learn_slowly(&words, 20));
        }
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
