//! The shifts of TER: which sequence of words, moved where, brings the hypothesis nearest to the reference.
//! Which shifts are tried and which of equally good ones is taken follows Tercom.

use std::cmp::Reverse;

use super::distance::{Operation, Table};

/// After so many tries no more shifts are looked for.
pub const CANDIDATES_MAX: usize = 1000;
/// Longest sequence that is shifted, in words.
const LENGTH_MAX: usize = 10;
/// Farthest it is shifted, in words.
const DISTANCE_MAX: usize = 50;

/// How hypothesis and reference stand beside each other.
struct Alignment {
    /// For each word of the reference the word of the hypothesis, -1 before the first.
    places: Vec<i64>,
    /// Whether a word of the reference, of the hypothesis is part of an edit.
    reference_wrong: Vec<bool>,
    hypothesis_wrong: Vec<bool>,
}

impl Alignment {
    fn new(operations: &[Operation]) -> Alignment {
        let mut alignment = Alignment { places: Vec::new(), reference_wrong: Vec::new(), hypothesis_wrong: Vec::new() };
        for operation in operations {
            let wrong = *operation != Operation::Same;
            if *operation != Operation::Insert {
                alignment.hypothesis_wrong.push(wrong);
            }
            if *operation != Operation::Delete {
                alignment.places.push(alignment.hypothesis_wrong.len() as i64 - 1);
                alignment.reference_wrong.push(wrong);
            }
        }
        alignment
    }
}

/// The hypothesis after the best shift, if one saves edits beside its own. `checked` counts tries over all shifts of a pair.
pub fn best(table: &Table, checked: &mut usize) -> Option<Vec<u32>> {
    let (hypothesis, reference) = (table.hypothesis, table.reference);
    let alignment = Alignment::new(&table.operations());
    let mut best: Option<Rank> = None;
    let mut shifted = Vec::with_capacity(hypothesis.len());
    for (from, to, length) in equal_sequences(hypothesis, reference) {
        // Where a word is right already on both sides, or moves within itself, nothing is to be gained.
        let misplaced = alignment.hypothesis_wrong[from..from + length].contains(&true);
        let missing = alignment.reference_wrong[to..to + length].contains(&true);
        let within = (from as i64..(from + length) as i64).contains(&alignment.places[to]);
        if !misplaced || !missing || within {
            continue;
        }
        let mut last = None;
        for offset in 0..=length {
            // Before the first word of the reference's sequence, then after each of its words.
            let target = match (to + offset).checked_sub(1) {
                None => 0,
                Some(place) => match alignment.places.get(place) {
                    Some(place) => (place + 1) as usize,
                    None => break,
                },
            };
            if last == Some(target) {
                continue;
            }
            last = Some(target);
            *checked += 1;
            shift(hypothesis, from, length, target, &mut shifted);
            let rank = table.distance_of(&shifted).map(|distance| (Reverse(distance), length, Reverse(from), Reverse(target)));
            best = best.max(rank);
        }
        if *checked >= CANDIDATES_MAX {
            break;
        }
    }
    let (_, length, Reverse(from), Reverse(target)) = best?;
    shift(hypothesis, from, length, target, &mut shifted);
    Some(shifted)
}

/// Higher is better: fewer edits, length, early beginning, early target.
type Rank = (Reverse<u32>, usize, Reverse<usize>, Reverse<usize>);

/// Begins in the hypothesis and the reference, and lengths, of sequences that are equal; a long one also as its beginnings.
fn equal_sequences<'a>(hypothesis: &'a [u32], reference: &'a [u32]) -> impl Iterator<Item = (usize, usize, usize)> + 'a {
    let starts = (0..hypothesis.len()).flat_map(|from| (0..reference.len()).map(move |to| (from, to)));
    starts.filter(|(from, to)| from.abs_diff(*to) <= DISTANCE_MAX).flat_map(|(from, to)| {
        let pairs = hypothesis[from..].iter().zip(&reference[to..]);
        let length = pairs.take(LENGTH_MAX).take_while(|(a, b)| a == b).count();
        (1..=length).map(move |length| (from, to, length))
    })
}

/// Moves words so that they stand before the word at `target`; within themselves, they go as far beyond their end.
fn shift(words: &[u32], from: usize, length: usize, target: usize, shifted: &mut Vec<u32>) {
    let (sequence, end) = (&words[from..from + length], from + length);
    let after = (length + target).min(words.len());
    let parts = if target < from {
        [&words[..target], sequence, &words[target..from], &words[end..]]
    } else if target > end {
        [&words[..from], &words[end..target], sequence, &words[target..]]
    } else {
        [&words[..from], &words[end.min(after)..after], sequence, &words[after..]]
    };
    shifted.clear();
    parts.into_iter().for_each(|part| shifted.extend_from_slice(part));
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_move_to_the_left_to_the_right_and_within() {
        let words = [0, 1, 2, 3, 4, 5];
        let shift = |words: &[u32], from, length, target| {
            let mut shifted = vec![9];
            super::shift(words, from, length, target, &mut shifted);
            shifted
        };
        assert_eq!(shift(&words, 3, 2, 1), [0, 3, 4, 1, 2, 5]);
        assert_eq!(shift(&words, 1, 2, 5), [0, 3, 4, 1, 2, 5]);
        assert_eq!(shift(&words, 1, 2, 2), [0, 3, 1, 2, 4, 5]);
        assert_eq!(shift(&words, 4, 2, 6), words);
    }
}
