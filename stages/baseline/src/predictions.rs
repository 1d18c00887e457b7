//! The table `predictions`: its columns have the names and types that `predict` gives them.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, FixedSizeBinaryArray, Float32Builder, ListBuilder, RecordBatch, StringBuilder};
use arrow::datatypes::{Field, Schema, SchemaRef};

use crate::rows::Split;
use crate::settings::Work;

/// A column; its values are never null.
pub type Column = (&'static str, ArrayRef);

/// Writes what `of` says of rows, one part a shard; the column `id` is put before its columns. `of` must also take no rows.
pub fn write(work: &Work, of: impl Fn(Range<u64>) -> Result<Vec<Column>> + Sync) -> Result<()> {
    let rows = &work.rows;
    let schema = schema(&of(0..0)?);
    work.draft.declare("predictions", schema.clone())?;
    work.draft.parts(work.ctx, &rows.plan(), |part, writer| {
        for range in rows.batches(part) {
            work.ctx.check_stop()?;
            let columns = of(range.clone())?.into_iter().map(|column| column.1);
            let columns = std::iter::once(ids(rows, range)?).chain(columns).collect();
            writer.write("predictions", &RecordBatch::try_new(schema.clone(), columns)?)?;
        }
        Ok(())
    })
}

fn schema(columns: &[Column]) -> SchemaRef {
    let id = Field::new("id", engine::schema::ID, false);
    let more = columns.iter().map(|(name, values)| Field::new(*name, values.data_type().clone(), false));
    Arc::new(Schema::new(std::iter::once(id).chain(more).collect::<Vec<_>>()))
}

fn ids(rows: &Split, range: Range<u64>) -> Result<ArrayRef> {
    let ids = range.map(|row| rows.reader.id(row)).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids.into_iter().map(Some), 16)?))
}

/// Lists of texts.
pub fn text_lists<'a>(rows: impl IntoIterator<Item = Vec<&'a str>>) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    rows.into_iter().for_each(|row| lists.append_value(row.into_iter().map(Some)));
    Arc::new(lists.finish())
}

/// Lists of numbers.
pub fn number_lists(rows: impl IntoIterator<Item = Vec<f32>>) -> ArrayRef {
    let mut lists = ListBuilder::new(Float32Builder::new());
    rows.into_iter().for_each(|row| lists.append_value(row.into_iter().map(Some)));
    Arc::new(lists.finish())
}
