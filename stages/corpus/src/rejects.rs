//! Rows of the table `rejects`, built the same way by every stage of this crate.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, FixedSizeBinaryBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder};
use engine::{PartWriter, schema};

/// One rejected record. What does not apply is `None`.
#[derive(Default)]
pub struct Reject<'a> {
    pub id: Option<[u8; 16]>,
    pub source: &'a str,
    pub path: &'a str,
    pub position: i64,
    pub line: Option<i64>,
    pub rule: &'a str,
    pub value: Option<f64>,
    pub threshold: Option<f64>,
    pub matched_id: Option<[u8; 16]>,
    pub similarity: Option<f64>,
    pub detail: Option<&'a str>,
}

/// Rejects of one part that are not written yet.
pub struct Rejects {
    stage: &'static str,
    rows: usize,
    ids: FixedSizeBinaryBuilder,
    sources: StringBuilder,
    paths: StringBuilder,
    positions: Int64Builder,
    lines: Int64Builder,
    stages: StringBuilder,
    rules: StringBuilder,
    values: Float64Builder,
    thresholds: Float64Builder,
    matched: FixedSizeBinaryBuilder,
    similarities: Float64Builder,
    details: StringBuilder,
}

impl Rejects {
    pub fn new(stage: &'static str) -> Rejects {
        Rejects {
            stage,
            rows: 0,
            ids: FixedSizeBinaryBuilder::new(16),
            sources: StringBuilder::new(),
            paths: StringBuilder::new(),
            positions: Int64Builder::new(),
            lines: Int64Builder::new(),
            stages: StringBuilder::new(),
            rules: StringBuilder::new(),
            values: Float64Builder::new(),
            thresholds: Float64Builder::new(),
            matched: FixedSizeBinaryBuilder::new(16),
            similarities: Float64Builder::new(),
            details: StringBuilder::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn push(&mut self, reject: &Reject) -> Result<()> {
        append_id(&mut self.ids, reject.id)?;
        self.sources.append_value(reject.source);
        self.paths.append_value(reject.path);
        self.positions.append_value(reject.position);
        self.lines.append_option(reject.line);
        self.stages.append_value(self.stage);
        self.rules.append_value(reject.rule);
        self.values.append_option(reject.value);
        self.thresholds.append_option(reject.threshold);
        append_id(&mut self.matched, reject.matched_id)?;
        self.similarities.append_option(reject.similarity);
        self.details.append_option(reject.detail);
        self.rows += 1;
        Ok(())
    }

    /// Hands the rows to the part and starts anew.
    pub fn write(&mut self, part: &mut PartWriter) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        self.rows = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.ids.finish()),
            Arc::new(self.sources.finish()),
            Arc::new(self.paths.finish()),
            Arc::new(self.positions.finish()),
            Arc::new(self.lines.finish()),
            Arc::new(self.stages.finish()),
            Arc::new(self.rules.finish()),
            Arc::new(self.values.finish()),
            Arc::new(self.thresholds.finish()),
            Arc::new(self.matched.finish()),
            Arc::new(self.similarities.finish()),
            Arc::new(self.details.finish()),
        ];
        part.write("rejects", &RecordBatch::try_new(schema::rejects(), columns)?)
    }
}

fn append_id(builder: &mut FixedSizeBinaryBuilder, id: Option<[u8; 16]>) -> Result<()> {
    match id {
        Some(id) => Ok(builder.append_value(id)?),
        None => {
            builder.append_null();
            Ok(())
        }
    }
}
