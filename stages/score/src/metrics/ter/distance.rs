//! The edit distance of TER: Levenshtein's, within a beam around the diagonal, with the operations it took.

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
    hypothesis: Vec<u32>,
    reference: &'a [u32],
    rows: Vec<Vec<Cell>>,
}

impl<'a> Table<'a> {
    pub fn new(hypothesis: &[u32], reference: &'a [u32]) -> Table<'a> {
        let first = (0..=reference.len()).map(|column| (column as u32, Operation::Insert)).collect();
        let mut table = Table { hypothesis: hypothesis.to_vec(), reference, rows: vec![first] };
        for row in 1..=hypothesis.len() {
            let next = table.row(hypothesis, row, table.rows.last().expect("there is a first row"));
            table.rows.push(next);
        }
        table
    }

    pub fn distance(&self) -> u32 {
        self.rows.last().and_then(|row| row.last()).map_or(0, |cell| cell.0)
    }

    /// The distance of the same words in another order: rows of the beginning that both share are taken over.
    pub fn distance_of(&self, shifted: &[u32]) -> u32 {
        let shared = self.hypothesis.iter().zip(shifted).take_while(|(a, b)| a == b).count();
        if shared == shifted.len() {
            return self.distance();
        }
        let mut last = self.row(shifted, shared + 1, &self.rows[shared]);
        for row in shared + 2..=shifted.len() {
            last = self.row(shifted, row, &last);
        }
        last.last().map_or(0, |cell| cell.0)
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

    /// The operations from the beginning to the end.
    pub fn operations(&self) -> Vec<Operation> {
        let (mut row, mut column, mut operations) = (self.hypothesis.len(), self.reference.len(), Vec::new());
        while row > 0 || column > 0 {
            let operation = self.rows[row][column].1;
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
