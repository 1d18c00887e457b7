//! Predictions in parts: contiguous rows, cut by their number and the batch size alone. Each is written when it is done, so that a killed run goes
//! on at the next one; within a part, rows of similar length go together.

use std::cmp::Reverse;
use std::ops::Range;

use anyhow::{Context as _, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use model::{Facts, Rows, Sample};

use super::Work;
use super::documents::Documents;
use crate::carry;
use crate::tables::{self, Column};
use crate::worker::Worker;

const TABLE: &str = "predictions";
/// A part is about this share of all rows …
const PARTS: u64 = 32;
/// … but at least and at most so many batches: what a kill may cost, and how small files may be.
const BATCHES: (u64, u64) = (8, 256);
/// A carried state begins anew at rows whose numbers are multiples of this, whatever the size of batches.
pub const CARRIED_ROWS: u64 = 128;

/// The end of a question's windows, of which `end` may be one.
pub fn whole(data: &Rows, facts: &Facts, mut end: u64) -> Result<u64> {
    while facts.layout == "answer" && end < data.count() && data.window(end)?.start > 0 {
        end += 1;
    }
    Ok(end)
}

/// A part while it is predicted.
pub struct Part<'a> {
    work: &'a Work<'a>,
    worker: &'a mut Worker,
    unit: &'static str,
    documents: Option<&'a mut Documents>,
    found: Option<RecordBatch>,
    pub rows: Range<u64>,
}

impl Work<'_> {
    /// Writes the parts that are not there yet; `say` gives the columns of one, the first of which is `id`. `None` when stopped.
    pub(super) fn parts(
        &self,
        worker: &mut Worker,
        unit: &'static str,
        mut say: impl FnMut(&mut Part) -> Result<Option<Vec<Column>>>,
    ) -> Result<Option<()>> {
        let mut documents = Documents::open(self)?;
        for (index, rows) in self.cut()?.into_iter().enumerate() {
            if tables::is_written(&self.job.draft, TABLE, index) {
                continue;
            }
            let mut part = Part { work: self, worker: &mut *worker, unit, documents: documents.as_mut(), found: None, rows };
            let Some(mut columns) = say(&mut part)? else { return Ok(None) };
            let ids = columns.first().and_then(|Column(_, ids)| ids.as_fixed_size_binary_opt()).context("predictions begin with ids")?;
            let ids: Vec<[u8; 16]> = (0..ids.len()).map(|row| Ok(ids.value(row).try_into()?)).collect::<Result<_>>()?;
            part.documents(&ids)?;
            if let (Some(documents), Some(found)) = (&part.documents, &part.found) {
                documents.append(found, &mut columns)?;
            }
            tables::write_part(self.job, TABLE, index, &tables::batch(columns)?)?;
        }
        Ok(Some(()))
    }

    /// The rows of each part.
    fn cut(&self) -> Result<Vec<Range<u64>>> {
        let length = if self.carries() { CARRIED_ROWS * self.settings.batch_size } else { length(self.rows, self.settings.batch_size) };
        let (mut parts, mut start) = (Vec::new(), 0);
        while start < self.rows {
            let end = whole(self.data, self.facts, (start + length).min(self.rows))?;
            parts.push(start..end);
            start = end;
        }
        Ok(parts)
    }

    /// Rows in batches of similar length; each is the sample of its own number. In lanes where the model carries its state on.
    fn batches(&self, rows: Range<u64>) -> Result<Vec<Vec<Sample>>> {
        if self.carries() {
            return Ok(carry::in_lanes(rows, CARRIED_ROWS).collect());
        }
        let mut rows = rows.map(|row| Ok((Reverse(self.data.length(row)?), row))).collect::<Result<Vec<_>>>()?;
        rows.sort_unstable();
        let batch = |rows: &[(Reverse<usize>, u64)]| rows.iter().map(|(_, row)| Sample { sample: *row, row: *row }).collect();
        Ok(rows.chunks(self.settings.batch_size as usize).map(batch).collect())
    }
}

/// Rows of a part.
pub fn length(rows: u64, batch_size: u64) -> u64 {
    rows.div_ceil(PARTS).div_ceil(batch_size).clamp(BATCHES.0, BATCHES.1) * batch_size
}

impl Part<'_> {
    /// How many rows it has.
    pub fn len(&self) -> usize {
        (self.rows.end - self.rows.start) as usize
    }

    /// Gives each batch to `take`; `None` when stopped.
    pub fn batches(&mut self, mut take: impl FnMut(&[Sample]) -> Result<()>) -> Result<Option<()>> {
        let mut done = self.rows.start;
        for samples in self.work.batches(self.rows.clone())? {
            if self.worker.stopped() {
                return Ok(None);
            }
            take(&samples)?;
            done += samples.len() as u64;
            self.worker.progress(done, self.work.rows, self.unit);
        }
        Ok(Some(()))
    }

    /// The documents of these ids, a row for each; `None` where none are connected.
    pub fn documents(&mut self, ids: &[[u8; 16]]) -> Result<Option<&RecordBatch>> {
        if let (Some(documents), None) = (&mut self.documents, &self.found) {
            self.found = Some(documents.find(ids)?);
        }
        Ok(self.found.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_a_share_of_the_rows_within_bounds() {
        let found = [(1, 32), (10_000, 32), (10_000, 1), (1_000_000, 32), (5, 100)].map(|(rows, batch_size)| length(rows, batch_size));
        assert_eq!(found, [256, 320, 256, 8192, 800]);
    }
}
