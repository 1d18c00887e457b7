//! Reading rows of a documents table: where a document comes from, by row.

use anyhow::{Context as _, Result};
use arrow::array::{Array, AsArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;

use crate::rejects::Reject;

/// The columns of a batch that tell where its documents come from.
pub struct Provenance<'a> {
    pub ids: &'a FixedSizeBinaryArray,
    sources: &'a StringArray,
    paths: &'a StringArray,
    positions: &'a Int64Array,
    lines: &'a Int64Array,
}

impl<'a> Provenance<'a> {
    pub fn of(batch: &'a RecordBatch) -> Result<Provenance<'a>> {
        let column = |name: &str| batch.column_by_name(name).with_context(|| format!("the documents have no column `{name}`"));
        Ok(Provenance {
            ids: column("id")?.as_fixed_size_binary(),
            sources: column("source")?.as_string(),
            paths: column("path")?.as_string(),
            positions: column("position")?.as_primitive::<Int64Type>(),
            lines: column("line")?.as_primitive::<Int64Type>(),
        })
    }

    pub fn id(&self, row: usize) -> [u8; 16] {
        id_at(self.ids, row)
    }

    /// A reject of the document in `row`, its rule still to be named.
    pub fn reject(&self, row: usize) -> Reject<'a> {
        Reject {
            id: Some(self.id(row)),
            source: self.sources.value(row),
            path: self.paths.value(row),
            position: self.positions.value(row),
            line: self.lines.is_valid(row).then(|| self.lines.value(row)),
            ..Reject::default()
        }
    }
}

pub fn id_at(ids: &FixedSizeBinaryArray, row: usize) -> [u8; 16] {
    ids.value(row).try_into().expect("ids have 16 bytes")
}
