//! The rows that follow from one batch of documents: the documents with their new texts, edits, spans and rejects.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Int64Builder, RecordBatch, StringBuilder,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::schema::ID;
use engine::{PartWriter, schema};

use super::cut::Span;
use crate::content_hash;
use crate::documents::Provenance;
use crate::rejects::{Reject, Rejects};

/// Characters of a span that the table `spans` shows.
const SPAN_CHARS: usize = 300;

pub fn spans_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", ID, false),
        Field::new("start", DataType::Int64, false),
        Field::new("bytes", DataType::Int64, false),
        Field::new("first_id", ID, false),
        Field::new("first_start", DataType::Int64, false),
        Field::new("text", DataType::Utf8, false),
    ]))
}

/// Rows that wait for the end of their batch.
pub struct Output<'a> {
    provenance: Provenance<'a>,
    old_hashes: &'a FixedSizeBinaryArray,
    texts: StringBuilder,
    hashes: FixedSizeBinaryBuilder,
    kept: Vec<bool>,
    changed: bool,
    edits: (FixedSizeBinaryBuilder, StringBuilder, Int64Builder, Int64Builder),
    spans: (FixedSizeBinaryBuilder, Int64Builder, Int64Builder, FixedSizeBinaryBuilder, Int64Builder, StringBuilder),
    rejects: Rejects,
}

impl<'a> Output<'a> {
    pub fn new(batch: &'a RecordBatch) -> Result<Output<'a>> {
        let ids = || FixedSizeBinaryBuilder::new(16);
        let numbers = Int64Builder::new;
        Ok(Output {
            provenance: Provenance::of(batch)?,
            old_hashes: batch.column(batch.schema().index_of("content_hash")?).as_fixed_size_binary(),
            texts: StringBuilder::new(),
            hashes: ids(),
            kept: Vec::with_capacity(batch.num_rows()),
            changed: false,
            edits: (ids(), StringBuilder::new(), numbers(), numbers()),
            spans: (ids(), numbers(), numbers(), ids(), numbers(), StringBuilder::new()),
            rejects: Rejects::new("dedup-substrings"),
        })
    }

    /// The next document as it is.
    pub fn keep(&mut self, text: &str) -> Result<()> {
        self.hashes.append_value(self.old_hashes.value(self.kept.len()))?;
        self.texts.append_value(text);
        self.kept.push(true);
        Ok(())
    }

    /// The next document with what is left of its text.
    pub fn replace(&mut self, text: &str, spans: usize, bytes_removed: i64) -> Result<()> {
        self.edit(spans, bytes_removed)?;
        self.hashes.append_value(content_hash(text))?;
        self.texts.append_value(text);
        self.kept.push(true);
        self.changed = true;
        Ok(())
    }

    /// The next document, of which nothing is left.
    pub fn reject(&mut self, text: &str, spans: &[Span], bytes_min: usize) -> Result<()> {
        self.edit(spans.len(), text.len() as i64)?;
        let detail = format!("all of it stands earlier, in {} spans", spans.len());
        self.rejects.push(&Reject {
            rule: "repeated_text",
            value: Some(text.len() as f64),
            threshold: Some(bytes_min as f64),
            matched_id: spans.first().map(|span| span.first_id),
            detail: Some(&detail),
            ..self.provenance.reject(self.kept.len())
        })?;
        self.hashes.append_value([0; 16])?;
        self.texts.append_value("");
        self.kept.push(false);
        Ok(())
    }

    fn edit(&mut self, spans: usize, bytes_removed: i64) -> Result<()> {
        self.edits.0.append_value(self.provenance.id(self.kept.len()))?;
        self.edits.1.append_value("substring");
        self.edits.2.append_value(spans as i64);
        self.edits.3.append_value(bytes_removed);
        Ok(())
    }

    /// Notes the spans of the next document.
    pub fn note(&mut self, text: &str, spans: &[Span]) -> Result<()> {
        for span in spans {
            let shown = &text[span.start..span.end];
            let end = shown.char_indices().nth(SPAN_CHARS).map_or(shown.len(), |(end, _)| end);
            self.spans.0.append_value(self.provenance.id(self.kept.len()))?;
            self.spans.1.append_value(span.start as i64);
            self.spans.2.append_value(shown.len() as i64);
            self.spans.3.append_value(span.first_id)?;
            self.spans.4.append_value(span.first_start as i64);
            self.spans.5.append_value(&shown[..end]);
        }
        Ok(())
    }

    pub fn write(mut self, batch: &RecordBatch, writer: &mut PartWriter) -> Result<()> {
        self.rejects.write(writer)?;
        let mut edits = self.edits;
        let columns: Vec<ArrayRef> =
            vec![Arc::new(edits.0.finish()), Arc::new(edits.1.finish()), Arc::new(edits.2.finish()), Arc::new(edits.3.finish())];
        writer.write("edits", &RecordBatch::try_new(schema::edits(), columns)?)?;
        let mut spans = self.spans;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(spans.0.finish()),
            Arc::new(spans.1.finish()),
            Arc::new(spans.2.finish()),
            Arc::new(spans.3.finish()),
            Arc::new(spans.4.finish()),
            Arc::new(spans.5.finish()),
        ];
        writer.write("spans", &RecordBatch::try_new(spans_schema(), columns)?)?;
        let mut columns = batch.columns().to_vec();
        if self.changed {
            columns[batch.schema().index_of("text")?] = Arc::new(self.texts.finish());
            columns[batch.schema().index_of("content_hash")?] = Arc::new(self.hashes.finish());
        }
        let documents = RecordBatch::try_new(batch.schema(), columns)?;
        let all = self.kept.iter().all(|kept| *kept);
        writer.write("documents", &if all { documents } else { filter_record_batch(&documents, &BooleanArray::from(self.kept))? })
    }
}
