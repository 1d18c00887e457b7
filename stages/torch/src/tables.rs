//! The Parquet tables that `mill-model` leaves in the draft.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// Rows of one row group.
const ROW_GROUP_ROWS: usize = 64 << 10;

/// A column: its field and its values.
pub struct Column(pub Field, pub ArrayRef);

/// Writes a table of one file; an empty one keeps its columns.
pub fn write(draft: &Path, table: &str, columns: Vec<Column>) -> Result<()> {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().map(|Column(field, array)| (field, array)).unzip();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).with_context(|| format!("table `{table}`"))?;
    let mut writer = Writer::create(draft, table, batch.schema())?;
    writer.write(&batch)?;
    writer.finish()
}

/// A table of one file while it is written.
pub struct Writer {
    path: PathBuf,
    writer: ArrowWriter<File>,
}

impl Writer {
    pub fn create(draft: &Path, table: &str, schema: SchemaRef) -> Result<Writer> {
        let path = draft.join(table).join("part-00000.parquet");
        let failed = || format!("writing `{}`", path.display());
        std::fs::create_dir_all(draft.join(table)).with_context(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(File::create(&path).with_context(failed)?, schema, Some(properties))?;
        Ok(Writer { path, writer })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).with_context(|| format!("writing `{}`", self.path.display()))
    }

    /// Writes the rest and syncs the file.
    pub fn finish(self) -> Result<()> {
        let failed = || format!("writing `{}`", self.path.display());
        self.writer.into_inner().with_context(failed)?.sync_all().with_context(failed)
    }
}
