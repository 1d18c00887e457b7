//! What measures count: amounts of each row, added up in row order, for all rows and for those of each slice.
//!
//! Threads count chunks of rows, one thread adds: sums are the same to the last bit for any number of threads.

use rayon::prelude::*;

use crate::metrics::{Kind, Measure, Score};

/// Rows that a thread counts at once.
const CHUNK_ROWS: usize = 256;

/// What one measure counted of some rows, row by row.
#[derive(Debug, Default)]
pub struct Counts {
    amounts: Vec<(u32, f64)>,
    kept: Vec<u64>,
    /// Ends of each row in `amounts` and in `kept`.
    ends: Vec<(usize, usize)>,
}

impl Counts {
    /// Adds to a sum. Whole numbers below 2^53 stay exact.
    pub fn add(&mut self, slot: usize, amount: f64) {
        self.amounts.push((slot as u32, amount));
    }

    /// Keeps a value of the row, for what is no sum.
    pub fn keep(&mut self, value: u64) {
        self.kept.push(value);
    }

    /// Counts one row with a measure.
    pub fn count<K: Kind>(&mut self, measure: &dyn Measure<K>, row: &K::Row<'_>) {
        measure.count(row, self);
        self.ends.push((self.amounts.len(), self.kept.len()));
    }

    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    /// What a row added and kept.
    pub fn row(&self, row: usize) -> (&[(u32, f64)], &[u64]) {
        let (from, kept_from) = if row == 0 { (0, 0) } else { self.ends[row - 1] };
        let (to, kept_to) = self.ends[row];
        (&self.amounts[from..to], &self.kept[kept_from..kept_to])
    }

    fn append(&mut self, other: Counts) {
        let (amounts, kept) = (self.amounts.len(), self.kept.len());
        self.amounts.extend(other.amounts);
        self.kept.extend(other.kept);
        self.ends.extend(other.ends.into_iter().map(|(end, kept_end)| (amounts + end, kept + kept_end)));
    }
}

/// What is left of rows when all are counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Total {
    pub rows: u64,
    pub sums: Vec<f64>,
    /// Kept values in the order of rows.
    pub kept: Vec<u64>,
}

impl Total {
    pub fn new(width: usize) -> Total {
        Total { rows: 0, sums: vec![0.0; width], kept: Vec::new() }
    }

    /// Adds a row `times` times.
    pub fn add(&mut self, (amounts, kept): (&[(u32, f64)], &[u64]), times: u64) {
        self.rows += times;
        for (slot, amount) in amounts {
            self.sums[*slot as usize] += amount * times as f64;
        }
        for _ in 0..times {
            self.kept.extend_from_slice(kept);
        }
    }

    /// A sum of whole numbers.
    pub fn whole(&self, slot: usize) -> u64 {
        self.sums[slot] as u64
    }
}

/// The measures of one system, and what they counted.
pub struct Tally<K: Kind> {
    pub measures: Vec<Box<dyn Measure<K>>>,
    /// By group (the first is that of all rows), then by measure.
    totals: Vec<Vec<Total>>,
    /// By measure, where rows are drawn again later.
    pub rows: Option<Vec<Counts>>,
}

impl<K: Kind> Tally<K> {
    /// `groups`: how many groups there are besides that of all rows; `keep_rows`: whether rows are drawn again later.
    pub fn new(measures: Vec<Box<dyn Measure<K>>>, groups: usize, keep_rows: bool) -> Tally<K> {
        let totals: Vec<Total> = measures.iter().map(|measure| Total::new(measure.width())).collect();
        let rows = keep_rows.then(|| measures.iter().map(|_| Counts::default()).collect());
        Tally { totals: vec![totals; 1 + groups], measures, rows }
    }

    /// Counts rows; `groups` tells the groups of each, besides that of all rows.
    pub fn push<'a>(&mut self, rows: &[K::Row<'_>], groups: impl Fn(usize) -> &'a [u32]) {
        let measures = &self.measures;
        let chunks: Vec<Vec<Counts>> = rows
            .par_chunks(CHUNK_ROWS)
            .map(|rows| {
                let counted = |measure: &dyn Measure<K>| {
                    let mut counts = Counts::default();
                    rows.iter().for_each(|row| counts.count(measure, row));
                    counts
                };
                measures.iter().map(|measure| counted(measure.as_ref())).collect()
            })
            .collect();
        let mut first = 0;
        for chunk in chunks {
            let rows = chunk.first().map_or(0, Counts::rows);
            for (measure, counts) in chunk.into_iter().enumerate() {
                for row in 0..counts.rows() {
                    self.totals[0][measure].add(counts.row(row), 1);
                    for group in groups(first + row) {
                        self.totals[1 + *group as usize][measure].add(counts.row(row), 1);
                    }
                }
                if let Some(kept) = &mut self.rows {
                    kept[measure].append(counts);
                }
            }
            first += rows;
        }
    }

    /// Counts a row `times` times in one group; group 0 is that of all rows.
    pub fn push_times(&mut self, group: usize, row: &K::Row<'_>, times: u64) {
        for (measure, total) in self.measures.iter().zip(&mut self.totals[group]) {
            let mut counts = Counts::default();
            counts.count(measure.as_ref(), row);
            total.add(counts.row(0), times);
        }
    }

    /// Drops the measures from a place on, whose counts were wanted and not their scores.
    pub fn forget(&mut self, from: usize) {
        self.measures.truncate(from);
        self.totals.iter_mut().for_each(|totals| totals.truncate(from));
        self.rows.iter_mut().for_each(|rows| rows.truncate(from));
    }

    pub fn total(&self, group: usize, measure: usize) -> &Total {
        &self.totals[group][measure]
    }

    /// The scores of a group, by measure.
    pub fn scores(&self, group: usize) -> Vec<Vec<Score>> {
        self.measures.par_iter().zip(&self.totals[group]).map(|(measure, total)| measure.finish(total)).collect()
    }
}

/// The scores of some rows with one measure: for tests and single calls.
pub fn scores_of<K: Kind>(measure: &dyn Measure<K>, rows: &[K::Row<'_>]) -> Vec<Score> {
    measure.finish(&total_of(measure, rows))
}

/// What one measure counts of some rows.
pub fn total_of<K: Kind>(measure: &dyn Measure<K>, rows: &[K::Row<'_>]) -> Total {
    let mut total = Total::new(measure.width());
    for row in rows {
        let mut counts = Counts::default();
        counts.count(measure, row);
        total.add(counts.row(0), 1);
    }
    total
}
