//! The shifts of TER: which sequence of words, moved where, brings the hypothesis nearest to the reference.
//! Which shifts are tried and which of equally good ones is taken follows Tercom.

use super::distance::{Operation, Table};

/// After so many tries no more shifts are looked for.
pub const CANDIDATES_MAX: usize = 1000;
/// Longest sequence that is shifted, in words.
const LENGTH_MAX: usize = 10;
/// Farthest it is shifted, in words.
const DISTANCE_MAX: usize = 50;

/// The best shift found.
pub struct Shift {
    /// Edits saved, without that of the shift itself.
    pub gain: i64,
    pub shifted: Vec<u32>,
}

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

/// The best shift, even if it saves nothing. `checked` counts tries over all shifts of a pair.
pub fn best(hypothesis: &[u32], reference: &[u32], table: &Table, checked: &mut usize) -> Option<Shift> {
    let before = i64::from(table.distance());
    let alignment = Alignment::new(&table.operations());
    let mut best: Option<(Rank, Vec<u32>)> = None;
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
            let shifted = shift(hypothesis, from, length, target);
            let rank = (before - i64::from(table.distance_of(&shifted)), length, -(from as i64), -(target as i64));
            *checked += 1;
            if best.as_ref().is_none_or(|best| (rank, &shifted) > (best.0, &best.1)) {
                best = Some((rank, shifted));
            }
        }
        if *checked >= CANDIDATES_MAX {
            break;
        }
    }
    best.map(|(rank, shifted)| Shift { gain: rank.0, shifted })
}

/// Higher is better: edits saved, length, early beginning, early target.
type Rank = (i64, usize, i64, i64);

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
fn shift(words: &[u32], from: usize, length: usize, target: usize) -> Vec<u32> {
    let (sequence, end) = (&words[from..from + length], from + length);
    if target < from {
        [&words[..target], sequence, &words[target..from], &words[end..]].concat()
    } else if target > end {
        [&words[..from], &words[end..target], sequence, &words[target..]].concat()
    } else {
        let after = (length + target).min(words.len());
        [&words[..from], &words[end.min(after)..after], sequence, &words[after..]].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_move_to_the_left_to_the_right_and_within() {
        let words = [0, 1, 2, 3, 4, 5];
        assert_eq!(shift(&words, 3, 2, 1), [0, 3, 4, 1, 2, 5]);
        assert_eq!(shift(&words, 1, 2, 5), [0, 3, 4, 1, 2, 5]);
        assert_eq!(shift(&words, 1, 2, 2), [0, 3, 1, 2, 4, 5]);
        assert_eq!(shift(&words, 4, 2, 6), words);
    }
}
