//! One file of a table: where it is, how its rows are read, and how the manifest describes it.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection};

use crate::manifest::FileManifest;

/// A file of a table.
#[derive(Clone, Debug)]
pub struct TableFile {
    pub path: PathBuf,
    pub rows: u64,
    pub bytes: u64,
    /// From a folder `split=NAME`.
    pub split: Option<String>,
    /// The file whose rows this one selects.
    pub of: Option<PathBuf>,
}

impl TableFile {
    /// The file that holds the rows: itself, or the one whose rows it selects.
    pub fn data(&self) -> &Path {
        self.of.as_deref().unwrap_or(&self.path)
    }
}

/// The rows of a Parquet file, or the selected ones, with some of its columns in its order.
pub fn read_parquet(
    path: &Path,
    columns: Option<&[&str]>,
    batch_rows: usize,
    rows: Option<RowSelection>,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
    let mut builder = open_parquet(path)?;
    if let Some(names) = columns {
        let projection = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
        builder = builder.with_projection(projection);
    }
    if let Some(rows) = rows {
        builder = builder.with_row_selection(rows);
    }
    let path = path.to_path_buf();
    Ok(builder.with_batch_size(batch_rows).build()?.map(move |batch| batch.with_context(|| format!("reading `{}`", path.display()))))
}

pub(crate) fn open_parquet(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).with_context(|| format!("opening `{}`", path.display()))?;
    ParquetRecordBatchReaderBuilder::try_new(file).with_context(|| format!("`{}` is no readable Parquet file", path.display()))
}

pub(crate) fn schema_of(path: &Path) -> Result<SchemaRef> {
    if path.extension().is_some_and(|extension| extension == "arrow") {
        let file = File::open(path).with_context(|| format!("opening `{}`", path.display()))?;
        let reader = arrow::ipc::reader::FileReader::try_new(file, None);
        return Ok(reader.with_context(|| format!("`{}` is no readable Arrow file", path.display()))?.schema());
    }
    Ok(open_parquet(path)?.schema().clone())
}

/// A finished file below `dir` as the manifest has it; `foreign` ones are no tables.
pub(crate) fn describe_file(dir: &Path, relative: &str, rows: Option<u64>, foreign: bool) -> Result<FileManifest> {
    let path = dir.join(relative);
    let (bytes, blake3) = crate::files::hash_file(&path)?;
    let parquet = !foreign && relative.ends_with(".parquet");
    let is_table = parquet || (!foreign && relative.ends_with(".arrow"));
    let table = if is_table { relative.split_once('/').map(|(table, _)| table.to_string()) } else { None };
    let split = relative.split('/').find_map(|folder| folder.strip_prefix("split=")).map(str::to_string);
    let rows = match rows {
        Some(rows) => rows,
        None if parquet => open_parquet(&path)?.metadata().file_metadata().num_rows() as u64,
        None => 0,
    };
    Ok(FileManifest { path: relative.to_string(), table, split, rows, of: None, bytes, blake3, volatile: false })
}
