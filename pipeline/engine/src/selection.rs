//! Row selections: files that keep row numbers of another artifact's file, and columns of their own, in place of copied text.
//!
//! A selection always points to a file that holds rows: one of a selection is resolved when it is written, so reading never goes through
//! more than one. The file that it points to belongs to an artifact of the same store and must stand as long as the selection is used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use parquet::arrow::arrow_reader::RowSelection;

use crate::table_file::{TableFile, open_parquet, read_parquet, schema_of as parquet_schema};

/// The column of row numbers.
const ROW: &str = "row";
const BATCH_ROWS: usize = 1 << 16;

/// A selection while it is written: of which file, and how its rows follow from those of the table that the stage reads.
pub(crate) struct Selection {
    /// The file that holds the rows, below the store.
    pub(crate) of: String,
    /// Row numbers, columns of the parent where that is a selection too, added columns.
    pub(crate) schema: SchemaRef,
    /// What the parent selects, when it is a selection.
    parent: Option<RecordBatch>,
}

impl Selection {
    pub(crate) fn new(store: &Path, file: &TableFile, declared: &Schema, added: &RecordBatch) -> Result<Selection> {
        let of = file.data().strip_prefix(store).unwrap_or(file.data());
        let of = of.to_str().with_context(|| format!("path `{}` is not UTF-8", of.display()))?.to_string();
        let added = added.schema();
        let parent = match &file.of {
            Some(_) => {
                let batch = read_selection(file)?;
                let kept: Vec<usize> = batch
                    .schema()
                    .fields()
                    .iter()
                    .enumerate()
                    .filter(|(_, field)| added.index_of(field.name()).is_err())
                    .map(|(index, _)| index)
                    .collect();
                Some(batch.project(&kept)?)
            }
            None => None,
        };
        let mut fields = match &parent {
            Some(parent) => parent.schema().fields().iter().map(|field| field.as_ref().clone()).collect(),
            None => vec![Field::new(ROW, DataType::UInt32, false)],
        };
        for field in added.fields() {
            fields.push(
                declared.field_with_name(field.name()).with_context(|| format!("column `{}` was not declared", field.name()))?.clone(),
            );
        }
        Ok(Selection { of, schema: Arc::new(Schema::new(fields)), parent })
    }

    /// The rows to write for rows of the table that the stage reads.
    pub(crate) fn batch(&self, rows: &[u32], added: &RecordBatch) -> Result<RecordBatch> {
        let rows = UInt32Array::from(rows.to_vec());
        let mut columns: Vec<ArrayRef> = match &self.parent {
            Some(parent) => take_record_batch(parent, &rows)?.columns().to_vec(),
            None => vec![Arc::new(rows)],
        };
        for (column, field) in added.columns().iter().zip(&self.schema.fields()[columns.len()..]) {
            columns.push(arrow::compute::cast(column, field.data_type())?);
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

/// The size of the file that a selection points to, or an error when it is gone.
pub(crate) fn bytes_of(of: &Path) -> Result<u64> {
    match std::fs::metadata(of) {
        Ok(metadata) => Ok(metadata.len()),
        Err(_) => bail!(
            "it selects rows of `{}`, which is gone; run the step that makes it again, or set `materialize = true` where rows are selected",
            of.display()
        ),
    }
}

/// The columns of a selection as its readers see them.
pub(crate) fn schema_of(file: &TableFile) -> Result<SchemaRef> {
    let own = parquet_schema(&file.path)?;
    let rows = parquet_schema(file.data())?;
    let mut fields: Vec<_> =
        rows.fields().iter().filter(|field| own.index_of(field.name()).is_err() || field.name() == ROW).cloned().collect();
    fields.extend(own.fields().iter().skip(1).cloned());
    Ok(Arc::new(Schema::new(fields)))
}

fn read_selection(file: &TableFile) -> Result<RecordBatch> {
    let batches = read_parquet(&file.path, None, BATCH_ROWS, None)?.collect::<Result<Vec<_>>>()?;
    Ok(concat_batches(&parquet_schema(&file.path)?, &batches)?)
}

/// The rows of a selection: its own columns beside those of the file that it points to, in the order of the table's. Holds its own in memory.
pub(crate) fn read(
    table: &Schema,
    file: &TableFile,
    columns: Option<&[&str]>,
    batch_rows: usize,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
    let own = read_selection(file)?;
    let numbers = own.column(0).as_primitive_opt::<UInt32Type>().with_context(|| format!("`{}` selects no rows", file.path.display()))?;
    let total = open_parquet(file.data())?.metadata().file_metadata().num_rows() as usize;
    if numbers.values().last().is_some_and(|last| *last as usize >= total) {
        bail!("`{}` selects rows that `{}` does not have", file.path.display(), file.data().display());
    }
    let selected = RowSelection::from_consecutive_ranges(ranges(numbers.values()).into_iter(), total);
    let own = own.project(&(1..own.num_columns()).collect::<Vec<_>>())?;
    let is_wanted = |name: &str| columns.is_none_or(|columns| columns.contains(&name));
    let fields: Vec<_> = table.fields().iter().filter(|field| is_wanted(field.name())).cloned().collect();
    let schema = Arc::new(Schema::new(fields));
    let of_rows: Vec<&str> =
        schema.fields().iter().map(|field| field.name().as_str()).filter(|name| own.schema().index_of(name).is_err()).collect();
    let batches = read_parquet(file.data(), Some(&of_rows), batch_rows, Some(selected))?;
    let path: PathBuf = file.path.clone();
    let mut at = 0;
    Ok(batches.map(move |batch| {
        let batch = batch?;
        let beside = own.slice(at, batch.num_rows());
        at += batch.num_rows();
        let column = |field: &Arc<Field>| match beside.column_by_name(field.name()).or_else(|| batch.column_by_name(field.name())) {
            Some(column) => Ok(column.clone()),
            None => bail!("`{}` has no column `{}`", path.display(), field.name()),
        };
        let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
    }))
}

/// Ascending numbers as ranges without gaps.
fn ranges(numbers: &[u32]) -> Vec<std::ops::Range<usize>> {
    let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
    for number in numbers.iter().map(|number| *number as usize) {
        match ranges.last_mut() {
            Some(range) if range.end == number => range.end += 1,
            _ => ranges.push(number..number + 1),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), [0..3, 5..6, 7..9]);
        assert!(ranges(&[]).is_empty());
    }
}
