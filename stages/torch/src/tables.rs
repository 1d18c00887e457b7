//! The Parquet tables that `mill-model` leaves in the draft.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use engine::error::bare;
use model::Job;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// Rows of one row group.
const ROW_GROUP_ROWS: usize = 64 << 10;

/// A column: its field and its values.
pub struct Column(pub Field, pub ArrayRef);

/// Writes a table of one file; an empty one keeps its columns.
pub fn write(draft: &Path, table: &str, columns: Vec<Column>) -> Result<()> {
    let batch = batch(columns).with_context(|| format!("table `{table}`"))?;
    let mut writer = Writer::create(draft, table, batch.schema())?;
    writer.write(&batch)?;
    writer.finish()
}

/// Whether a part of a table was written whole.
pub fn is_written(draft: &Path, table: &str, part: usize) -> bool {
    path(draft, table, part).exists()
}

/// Writes a part of a table: it is there whole or not at all. Parts without rows keep the columns.
pub fn write_part(job: &Job, table: &str, part: usize, batch: &RecordBatch) -> Result<()> {
    let (unfinished, path) = (job.scratch("part.parquet"), path(&job.draft, table, part));
    let mut writer = Writer::at(unfinished.clone(), batch.schema())?;
    writer.write(batch)?;
    writer.finish()?;
    let folder = path.parent().unwrap_or(&job.draft);
    let moved = std::fs::create_dir_all(folder).and_then(|()| std::fs::rename(&unfinished, &path));
    moved.with_context(|| format!("writing `{}`", path.display()))
}

fn path(draft: &Path, table: &str, part: usize) -> PathBuf {
    draft.join(table).join(format!("part-{part:05}.parquet"))
}

/// The columns side by side.
pub fn batch(columns: Vec<Column>) -> Result<RecordBatch> {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().map(|Column(field, array)| (field, array)).unzip();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

/// A table of one file while it is written.
pub struct Writer {
    path: PathBuf,
    writer: ArrowWriter<File>,
}

impl Writer {
    pub fn create(draft: &Path, table: &str, schema: SchemaRef) -> Result<Writer> {
        Writer::at(path(draft, table, 0), schema)
    }

    fn at(path: PathBuf, schema: SchemaRef) -> Result<Writer> {
        let failed = || format!("writing `{}`", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).with_context(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let file = File::create(&path).with_context(failed)?;
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(bare).with_context(failed)?;
        Ok(Writer { path, writer })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(bare).with_context(|| format!("writing `{}`", self.path.display()))
    }

    /// Writes the rest and syncs the file.
    pub fn finish(mut self) -> Result<()> {
        let failed = || format!("writing `{}`", self.path.display());
        self.writer.finish().map_err(bare).with_context(failed)?;
        self.writer.inner().sync_all().with_context(failed)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn a_full_disk_is_told_once() {
        let draft = tempfile::tempdir().unwrap();
        let path = path(draft.path(), "metrics", 0);
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let column = Column(Field::new("step", DataType::Int64, false), Arc::new(Int64Array::from_iter_values(0..1000)));
        let error = write(draft.path(), "metrics", vec![column]).unwrap_err();
        assert_eq!(format!("{error:#}"), format!("writing `{}`: No space left on device (os error 28)", path.display()));
    }
}
