//! The table `samples`: which row every step learned from, so that SQL joins steps to documents.
//!
//! It follows from the settings alone, so it is written once, at the end: some four bytes a sample.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use model::Courses;

use crate::tables::Writer;

/// Rows that are written at once.
const BATCH_ROWS: usize = 64 << 10;

/// Writes the samples of all steps in order: step, sample, the step that made the tokens, and the row in its split, as in its table `spans`.
pub fn write(draft: &Path, courses: &Courses, steps: u64) -> Result<()> {
    let number = |name| Field::new(name, DataType::Int64, false);
    let schema = Arc::new(Schema::new(vec![number("step"), number("sample"), Field::new("source", DataType::Utf8, false), number("row")]));
    let mut writer = Writer::create(draft, "samples", schema.clone())?;
    let mut waiting = Waiting::default();
    for step in 1..=steps {
        for batch in courses.batches_of(step) {
            for sample in courses.batch(batch)? {
                let place = courses.rows(batch).place(sample.row)?;
                waiting.steps.push(step as i64);
                waiting.samples.push(sample.sample as i64);
                waiting.sources.push(place.step);
                waiting.rows.push(place.row as i64);
            }
        }
        if waiting.steps.len() >= BATCH_ROWS || step == steps {
            writer.write(&RecordBatch::try_new(schema.clone(), std::mem::take(&mut waiting).columns())?)?;
        }
    }
    writer.finish()
}

/// Rows that are not written yet.
#[derive(Default)]
struct Waiting<'a> {
    steps: Vec<i64>,
    samples: Vec<i64>,
    sources: Vec<&'a str>,
    rows: Vec<i64>,
}

impl Waiting<'_> {
    fn columns(self) -> Vec<ArrayRef> {
        let numbers = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
        vec![numbers(self.steps), numbers(self.samples), Arc::new(StringArray::from(self.sources)), numbers(self.rows)]
    }
}
