//! The rows that a model is asked, from the file that `mill` has written: texts, what is right, and the user's columns.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{Array, ArrayRef, AsArray, Float64Builder, ListBuilder, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::Field;
use model::evaluate::items::{CONTEXT, PLACE, TEXT};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::tables::Column;

/// The file.
pub struct Items {
    path: PathBuf,
    pub rows: usize,
}

/// Some rows of it.
pub struct Part {
    pub rows: Range<usize>,
    batch: RecordBatch,
}

impl Items {
    pub fn open(path: &Path) -> Result<Items> {
        let rows = builder(path)?.metadata().file_metadata().num_rows();
        Ok(Items { path: path.to_path_buf(), rows: rows as usize })
    }

    pub fn part(&self, rows: Range<usize>) -> Result<Part> {
        let builder = builder(&self.path)?;
        let schema = builder.schema().clone();
        let reader = builder.with_offset(rows.start).with_limit(rows.len()).with_batch_size(rows.len()).build()?;
        let batches = reader.collect::<Result<Vec<_>, _>>().with_context(|| format!("reading `{}`", self.path.display()))?;
        Ok(Part { rows, batch: concat_batches(&schema, &batches)? })
    }
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).with_context(|| format!("reading `{}`", path.display()))?;
    Ok(ParquetRecordBatchReaderBuilder::try_new(file)?)
}

impl Part {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    fn column(&self, name: &str) -> Result<&ArrayRef> {
        self.batch.column_by_name(name).with_context(|| format!("what is asked has no column `{name}`"))
    }

    /// A column of texts.
    pub fn texts(&self, name: &str) -> Result<&StringArray> {
        self.column(name)?.as_string_opt().with_context(|| format!("column `{name}` holds no texts"))
    }

    /// A column of lists of texts.
    pub fn lists(&self, name: &str) -> Result<Vec<Vec<String>>> {
        let lists = self.column(name)?.as_list_opt::<i32>().with_context(|| format!("column `{name}` holds no lists"))?;
        let texts = |row: usize| -> Result<Vec<String>> {
            let list = lists.value(row);
            let texts = list.as_string_opt::<i32>().with_context(|| format!("column `{name}` holds no texts"))?;
            Ok(texts.iter().map(|text| text.unwrap_or_default().to_string()).collect())
        };
        (0..self.len()).map(texts).collect()
    }

    /// Where a row stands in the dataset, for messages.
    pub fn place(&self, row: usize) -> String {
        self.texts(PLACE).map_or_else(|_| format!("row {}", self.rows.start + row), |places| places.value(row).to_string())
    }

    /// The columns of a part of predictions: id, what was asked, what the model said, and the user's.
    pub fn with(&self, said: Vec<Column>) -> Vec<Column> {
        let schema = self.batch.schema();
        let column = |index: usize| Column(schema.field(index).clone(), self.batch.column(index).clone());
        let users = schema.index_of(PLACE).unwrap_or(schema.fields().len());
        let asked = (0..users).filter(|index| ![TEXT, CONTEXT].contains(&schema.field(*index).name().as_str()));
        asked.map(column).chain(said).chain((users + 1..schema.fields().len()).map(column)).collect()
    }
}

/// Lists of numbers.
pub fn number_lists(rows: impl IntoIterator<Item = Vec<f64>>) -> ArrayRef {
    let mut lists = ListBuilder::new(Float64Builder::new());
    rows.into_iter().for_each(|row| lists.append_value(row.into_iter().map(Some)));
    Arc::new(lists.finish())
}

/// A column of values that are never null.
pub fn column(name: &str, values: ArrayRef) -> Column {
    Column(Field::new(name, values.data_type().clone(), false), values)
}
