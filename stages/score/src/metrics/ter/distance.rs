//! The edit distance of TER: Levenshtein's, within a beam around the diagonal, with the operations it took. Where the beam cuts no shortest
//! path off, which is nearly everywhere, rows are computed as [`super::bits`].

use super::bits::{Bits, Reference};

/// Half the width of the beam, at least.
const BEAM: usize = 25;
const INFINITE: u32 = u32::MAX / 2;

/// What a cell of the table came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Same,
    Substitute,
    /// A word of the reference that the hypothesis lacks.
    Insert,
    /// A word of the hypothesis too many.
    Delete,
    Undefined,
}

type Cell = (u32, Operation);

/// Rows for prefixes of the hypothesis, columns for prefixes of the reference.
pub struct Table<'a> {
    pub hypothesis: &'a [u32],
    pub reference: &'a [u32],
    /// Distances without a beam, at most those within it.
    bits: Option<Bits<'a>>,
    /// Empty where the beam cuts nothing off that matters.
    rows: Vec<Vec<Cell>>,
}

impl<'a> Table<'a> {
    pub fn new(hypothesis: &'a [u32], reference: &'a Reference) -> Table<'a> {
        let bits = Bits::new(hypothesis, reference);
        let mut table = Table { hypothesis, reference: reference.words, bits, rows: Vec::new() };
        if !table.bits.as_ref().is_some_and(|bits| table.is_within_beam(bits.distance())) {
            table.fill();
        }
        table
    }

    fn fill(&mut self) {
        self.rows.push((0..=self.reference.len()).map(|column| (column as u32, Operation::Insert)).collect());
        for row in 1..=self.hypothesis.len() {
            let next = self.row(self.hypothesis, row, &self.rows[row - 1]);
            self.rows.push(next);
        }
    }

    /// Whether no path of this distance leaves the beam. One that does is so many words from the diagonal, and on one of its two
    /// sides needs about as many edits to get there as to come back. The diagonal is rounded down, so it may be two words off.
    fn is_within_beam(&self, distance: u32) -> bool {
        let (rows, columns) = (self.hypothesis.len(), self.reference.len());
        columns < BEAM || distance as usize + rows.abs_diff(columns) < 2 * (BEAM - 2)
    }

    pub fn distance(&self) -> u32 {
        match (self.rows.last(), &self.bits) {
            (Some(row), _) => row.last().map_or(0, |cell| cell.0),
            (None, Some(bits)) => bits.distance(),
            (None, None) => 0,
        }
    }

    /// The distance of the same words in another order, if it is below that of the table; rows of the beginning that both share are
    /// taken over.
    pub fn distance_of(&self, shifted: &[u32]) -> Option<u32> {
        let shared = self.hypothesis.iter().zip(shifted).take_while(|(a, b)| a == b).count();
        if shared == shifted.len() {
            return None;
        }
        let below = |distance: u32| Some(distance).filter(|distance| *distance < self.distance());
        let least = self.bits.as_ref().map(|bits| bits.distance_of(shifted, shared));
        // Within the beam it is no lower.
        if self.rows.is_empty() || least.is_some_and(|least| below(least).is_none()) {
            return least.and_then(below);
        }
        let mut last = self.row(shifted, shared + 1, &self.rows[shared]);
        for row in shared + 2..=shifted.len() {
            last = self.row(shifted, row, &last);
        }
        last.last().and_then(|cell| below(cell.0))
    }

    /// The row for the first `row` words of a hypothesis.
    fn row(&self, hypothesis: &[u32], row: usize, above: &[Cell]) -> Vec<Cell> {
        let columns = self.reference.len();
        let ratio = columns as f64 / hypothesis.len() as f64;
        let beam = if (BEAM as f64) < ratio / 2.0 { (ratio / 2.0 + BEAM as f64).ceil() as usize } else { BEAM };
        let diagonal = (row as f64 * ratio).floor() as usize;
        // The last row is whole, or its last cell might be out of the beam.
        let end = if row == hypothesis.len() { columns + 1 } else { (columns + 1).min(diagonal + beam) };
        let mut cells = vec![(INFINITE, Operation::Undefined); columns + 1];
        for column in diagonal.saturating_sub(beam)..end {
            let delete = (above[column].0 + 1, Operation::Delete);
            let Some(before) = column.checked_sub(1) else {
                cells[column] = delete;
                continue;
            };
            let diagonal = match hypothesis[row - 1] == self.reference[before] {
                true => (above[before].0, Operation::Same),
                false => (above[before].0 + 1, Operation::Substitute),
            };
            // The first of equally cheap ones.
            for candidate in [diagonal, delete, (cells[before].0 + 1, Operation::Insert)] {
                if candidate.0 < cells[column].0 {
                    cells[column] = candidate;
                }
            }
        }
        cells
    }

    /// The operation that leads to a cell, of equally cheap ones the first of the list.
    fn operation(&self, row: usize, column: usize) -> Operation {
        let Some(bits) = self.bits.as_ref().filter(|_| self.rows.is_empty()) else { return self.rows[row][column].1 };
        let comes_from = |row: usize, column: usize, distance: u32| bits.at(row, column) + 1 == distance;
        match (row.checked_sub(1), column.checked_sub(1)) {
            (None, _) => Operation::Insert,
            (_, None) => Operation::Delete,
            (Some(above), Some(before)) if self.hypothesis[above] == self.reference[before] => Operation::Same,
            (Some(above), Some(before)) => match bits.at(row, column) {
                distance if comes_from(above, before, distance) => Operation::Substitute,
                distance if comes_from(above, column, distance) => Operation::Delete,
                _ => Operation::Insert,
            },
        }
    }

    /// The operations from the beginning to the end.
    pub fn operations(&self) -> Vec<Operation> {
        let (mut row, mut column, mut operations) = (self.hypothesis.len(), self.reference.len(), Vec::new());
        while row > 0 || column > 0 {
            let operation = self.operation(row, column);
            let (up, left) = match operation {
                Operation::Same | Operation::Substitute => (1, 1),
                Operation::Insert => (0, 1),
                Operation::Delete => (1, 0),
                Operation::Undefined => unreachable!("a path leads through the beam"),
            };
            (row, column) = (row - up, column - left);
            operations.push(operation);
        }
        operations.reverse();
        operations
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Both ways to the same distances and operations.
    fn check(hypothesis: &[u32], reference: &[u32], shifted: &[u32]) {
        let reference = Reference::new(reference);
        let table = Table::new(hypothesis, &reference);
        let mut beam = Table { hypothesis, reference: reference.words, bits: None, rows: Vec::new() };
        beam.fill();
        assert_eq!((table.distance(), table.operations()), (beam.distance(), beam.operations()), "{hypothesis:?} {:?}", reference.words);
        assert_eq!(table.distance_of(shifted), beam.distance_of(shifted), "{hypothesis:?} {:?} {shifted:?}", reference.words);
    }

    fn words(most: u32, length: usize) -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(0..most, 0..length)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn bits_are_the_beam((hypothesis, shifted) in words(6, 70).prop_flat_map(|words| (Just(words.clone()), Just(words).prop_shuffle())), reference in words(7, 70)) {
            check(&hypothesis, &reference, &shifted);
        }

        #[test]
        fn bits_are_the_beam_of_near_texts(reference in words(40, 140), changes in prop::collection::vec((0..200usize, 0..45u32, 0..3), 0..50)) {
            let mut hypothesis = reference.clone();
            for (place, word, what) in changes {
                match what {
                    0 if place < hypothesis.len() => hypothesis[place] = word,
                    1 if place < hypothesis.len() => drop(hypothesis.remove(place)),
                    _ => hypothesis.insert(place.min(hypothesis.len()), word),
                }
            }
            let mut shifted = hypothesis.clone();
            shifted.rotate_left(hypothesis.len() / 3);
            check(&hypothesis, &reference, &shifted);
        }
    }
}
