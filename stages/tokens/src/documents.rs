//! Reading documents: which columns, and which split a row belongs to.

use std::fs::File;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use engine::Table;
use parquet::file::reader::{FileReader, SerializedFileReader};

/// The split of documents that were not split.
pub(crate) const TRAIN: &str = "train";
/// Documents are read so many at a time: some megabytes of usual web pages.
const BATCH_ROWS: usize = 256;

/// Batches of one file of documents with the wanted columns and, where there is one, the column `split`.
pub(crate) fn read(table: &Table, file: usize, columns: &[&str]) -> Result<impl Iterator<Item = Result<Documents>> + use<>> {
    let mut columns = columns.to_vec();
    if table.has_column("split") && !columns.contains(&"split") {
        columns.push("split");
    }
    let split: Arc<str> = table.files[file].split.as_deref().unwrap_or(TRAIN).into();
    let batches = table.read(file, Some(&columns), BATCH_ROWS)?;
    Ok(batches.map(move |batch| Documents::new(batch?, split.clone())))
}

/// Some documents.
pub(crate) struct Documents {
    batch: RecordBatch,
    splits: Option<StringArray>,
    file_split: Arc<str>,
}

impl Documents {
    fn new(batch: RecordBatch, file_split: Arc<str>) -> Result<Documents> {
        let splits = batch.column_by_name("split").map(strings).transpose()?;
        Ok(Documents { batch, splits, file_split })
    }

    pub(crate) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// The split of a row; documents that were not split are all for training.
    pub(crate) fn split(&self, row: usize) -> &str {
        match &self.splits {
            Some(splits) if splits.is_valid(row) => splits.value(row),
            _ => &self.file_split,
        }
    }

    /// A column as text, numbers and truth values in their usual spelling.
    pub(crate) fn strings(&self, name: &str) -> Result<StringArray> {
        strings(self.column(name)?).with_context(|| format!("column `{name}` cannot be read as text"))
    }

    /// A column of 16-byte ids or hashes.
    pub(crate) fn ids(&self, name: &str) -> Result<FixedSizeBinaryArray> {
        self.column(name)?.as_fixed_size_binary_opt().cloned().with_context(|| format!("column `{name}` holds no 16-byte ids"))
    }

    /// A column in another type.
    pub(crate) fn cast(&self, name: &str, to: &DataType) -> Result<ArrayRef> {
        cast(self.column(name)?, to).with_context(|| format!("column `{name}`"))
    }

    /// A column as it is.
    pub(crate) fn column(&self, name: &str) -> Result<&ArrayRef> {
        self.batch.column_by_name(name).with_context(|| format!("the documents have no column `{name}`"))
    }
}

fn strings(column: &ArrayRef) -> Result<StringArray> {
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}

/// The 16 bytes of an id.
pub(crate) fn id(ids: &FixedSizeBinaryArray, row: usize) -> [u8; 16] {
    ids.value(row).try_into().expect("the column is 16 bytes wide")
}

/// The files that can hold documents of a split.
pub(crate) fn files_of_split(table: &Table, split: &str) -> Vec<usize> {
    (0..table.files.len()).filter(|file| table.files[*file].split.as_deref().is_none_or(|other| other == split)).collect()
}

/// Some of the documents, chosen by the hash of their content alone.
pub(crate) struct Sample {
    limit: u64,
}

impl Sample {
    /// About `max_bytes` of a column's bytes in the given files.
    pub(crate) fn new(table: &Table, files: &[usize], column: &str, max_bytes: u64) -> Result<Sample> {
        table.column(column)?;
        let total: u64 = files.iter().map(|file| bytes_of_column(table, *file, column)).sum::<Result<u64>>()?;
        // A document is taken when its hash lies below this share of all hashes.
        let share = (max_bytes as f64 / total.max(1) as f64).min(1.0);
        Ok(Sample { limit: (share * u64::MAX as f64) as u64 })
    }

    pub(crate) fn takes(&self, content_hash: &[u8]) -> bool {
        head(content_hash) <= self.limit
    }
}

/// A number from a hash, by which documents are chosen.
pub(crate) fn head(content_hash: &[u8]) -> u64 {
    u64::from_le_bytes(content_hash[..8].try_into().expect("hashes have 16 bytes"))
}

/// The bytes of a column before compression, from the file's footer.
fn bytes_of_column(table: &Table, file: usize, column: &str) -> Result<u64> {
    let path = table.files[file].data();
    let reader = File::open(path).map_err(anyhow::Error::from).and_then(|file| Ok(SerializedFileReader::new(file)?));
    let reader = reader.with_context(|| format!("opening `{}`", path.display()))?;
    let groups = reader.metadata().row_groups().iter();
    let columns = groups.flat_map(|group| group.columns()).filter(|chunk| chunk.column_path().string() == column);
    Ok(columns.map(|chunk| chunk.uncompressed_size() as u64).sum())
}
