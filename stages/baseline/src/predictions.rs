//! The table `predictions`: its columns have the names and types that `predict` gives them, and those of the documents stand beside them.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{ArrayRef, FixedSizeBinaryArray, Float32Builder, ListBuilder, RecordBatch, StringBuilder};
use arrow::datatypes::{Field, Schema};
use origins::Documents;
use shards::examples::Value;

use crate::work::Work;

/// A column: its field and its values.
pub type Column = (Field, ArrayRef);

/// A column of values that are never null.
pub fn column(name: &str, values: ArrayRef) -> Column {
    (Field::new(name, values.data_type().clone(), false), values)
}

/// Writes what `of` says of rows and the documents that they are of (a row for each, where any are connected), one part a shard; the column `id`
/// is put before its columns. `of` must also take no rows.
pub fn write(work: &Work, of: impl Fn(&[u64], Option<&RecordBatch>) -> Result<Vec<Column>> + Sync) -> Result<()> {
    let table = |rows: &[u64], documents: &mut Option<Documents>| -> Result<RecordBatch> {
        let ids = rows.iter().map(|row| work.rows.reader.id(*row)).collect::<Result<Vec<_>>>()?;
        let found = documents.as_mut().map(|documents| documents.find(&ids)).transpose()?;
        let ids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids.into_iter().map(Some), 16)?;
        let mut columns = vec![column("id", Arc::new(ids))];
        columns.extend(of(rows, found.as_ref())?);
        if let (Some(documents), Some(found)) = (documents, &found) {
            let taken: Vec<&str> = columns.iter().map(|(field, _)| field.name().as_str()).collect();
            let beside = documents.beside(found, &taken)?;
            columns.extend(beside);
        }
        let (fields, values): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), values)?)
    };
    work.draft.declare("predictions", table(&[], &mut work.documents(0)?)?.schema())?;
    work.draft.parts(work.ctx, &work.rows.plan(), |part, writer| {
        let mut documents = work.documents(part)?;
        for range in work.rows.batches(part) {
            work.ctx.check_stop()?;
            writer.write("predictions", &table(&predicted(work, range)?, &mut documents)?)?;
        }
        Ok(())
    })
}

/// The rows that have a prediction of their own: of the windows of a question, the first.
fn predicted(work: &Work, rows: Range<u64>) -> Result<Vec<u64>> {
    if work.layout != "answer" {
        return Ok(rows.collect());
    }
    let mut first = Vec::new();
    for row in rows {
        match work.rows.reader.value(row, "start")? {
            Value::Int32(0) => first.push(row),
            Value::Int32(_) => {}
            other => bail!("row {row}: the column `start` holds {other:?}; run `tokenize` again"),
        }
    }
    Ok(first)
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
