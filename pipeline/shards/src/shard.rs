//! One shard: an uncompressed Arrow IPC file, written batch by batch, mapped into memory for reading, opened at first use. Or a Parquet file, which
//! is written alike, but not read here: its rows cannot be reached one by one.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter};
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::mapped::map;

/// What to do about a damaged shard.
const AGAIN: &str = "run `tokenize` again with --force";

/// What to do about rows that are wanted from a Parquet shard.
const ARROW: &str = "run `tokenize` with format = \"arrow\"";
/// The disk is asked to begin whenever there is so much for it.
const BEGIN_BYTES: usize = 4 << 20;
/// A row group of a Parquet shard is closed once it is this large.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// A shard with what the manifest tells of it.
#[derive(Clone, Debug)]
pub struct ShardFile {
    pub path: PathBuf,
    pub rows: u64,
    /// Its length, looked at when it is opened; not when `None`.
    pub bytes: Option<u64>,
}

/// Writes batches to one file: Parquet where its name says so, else Arrow.
pub(crate) struct ShardWriter {
    path: PathBuf,
    writer: Format,
    /// Bytes since the disk was asked to begin.
    waiting: usize,
}

enum Format {
    Arrow(Box<FileWriter<BufWriter<File>>>),
    Parquet(Box<ArrowWriter<BufWriter<File>>>),
}

impl ShardWriter {
    pub(crate) fn create(path: &Path, schema: &SchemaRef) -> Result<ShardWriter> {
        let file = File::create(path).with_context(|| format!("creating `{}`", path.display()))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        let failed = || format!("writing `{}`", path.display());
        let writer = if is_parquet(path) {
            let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
            Format::Parquet(Box::new(ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(bare).with_context(failed)?))
        } else {
            Format::Arrow(Box::new(FileWriter::try_new(file, schema).map_err(bare).with_context(failed)?))
        };
        Ok(ShardWriter { path: path.to_path_buf(), writer, waiting: 0 })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let failed = || format!("writing `{}`", self.path.display());
        match &mut self.writer {
            Format::Arrow(writer) => {
                writer.write(batch).map_err(bare).with_context(failed)?;
                self.waiting += batch.get_array_memory_size();
                if self.waiting >= BEGIN_BYTES {
                    begin_to_write(writer.get_ref().get_ref());
                    self.waiting = 0;
                }
                Ok(())
            }
            Format::Parquet(writer) => {
                writer.write(batch).map_err(bare).with_context(failed)?;
                if writer.in_progress_size() >= ROW_GROUP_BYTES {
                    writer.flush().map_err(bare).with_context(failed)?;
                }
                Ok(())
            }
        }
    }

    pub(crate) fn finish(self) -> Result<()> {
        let failed = || format!("writing `{}`", self.path.display());
        match self.writer {
            Format::Arrow(writer) => {
                let file = writer.into_inner().map_err(bare).with_context(failed)?;
                begin_to_write(&file.into_inner().map_err(|error| error.into_error()).with_context(failed)?);
            }
            Format::Parquet(mut writer) => {
                // Not `into_inner`, which tells of a full disk in words of its own.
                writer.finish().map_err(bare).with_context(failed)?;
                begin_to_write(writer.inner().get_ref());
            }
        }
        Ok(())
    }
}

/// The operating system's own error, which Arrow's and Parquet's would say twice. As in the engine, which this crate does not know.
fn bare(error: impl Error + Send + Sync + 'static) -> anyhow::Error {
    let error = anyhow::Error::new(error);
    let number = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error());
    number.map_or(error, |number| io::Error::from_raw_os_error(number).into())
}

/// Has the system write what it holds of a file, without waiting for it: whoever syncs the file later then waits less.
fn begin_to_write(file: &File) {
    #[cfg(target_os = "linux")]
    // SAFETY: the call takes numbers alone, and the file is open. That it fails does no harm.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "parquet")
}

/// The shards of one split as one sequence of rows.
pub(crate) struct ShardSet {
    is_ours: fn(&Schema) -> bool,
    shards: Vec<Shard>,
    /// First row of each shard, and the number of all rows at the end.
    starts: Vec<u64>,
}

struct Shard {
    path: PathBuf,
    rows: u64,
    bytes: Option<u64>,
    batches: OnceLock<Batches>,
}

struct Batches {
    batches: Vec<RecordBatch>,
    /// First row of each batch.
    starts: Vec<usize>,
}

impl ShardSet {
    /// `is_ours` tells whether a shard has the reader's columns.
    pub(crate) fn new(files: &[ShardFile], is_ours: fn(&Schema) -> bool) -> ShardSet {
        let mut starts = vec![0];
        let mut total = 0;
        let mut shards = Vec::new();
        for file in files {
            total += file.rows;
            starts.push(total);
            shards.push(Shard { path: file.path.clone(), rows: file.rows, bytes: file.bytes, batches: OnceLock::new() });
        }
        ShardSet { is_ours, shards, starts }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.starts[self.shards.len()]
    }

    /// The file that holds a row, and the row's place in it.
    pub(crate) fn file(&self, row: u64) -> Result<(&Path, u64)> {
        if row >= self.rows() {
            bail!("row {row} of {} rows", self.rows());
        }
        let index = self.starts.partition_point(|start| *start <= row) - 1;
        Ok((&self.shards[index].path, row - self.starts[index]))
    }

    /// An error about a row, naming its file.
    pub(crate) fn damaged(&self, row: u64, what: &str) -> anyhow::Error {
        match self.file(row) {
            Ok((path, row)) => anyhow::anyhow!("shard `{}` is damaged: row {row}: {what}; {AGAIN}", path.display()),
            Err(error) => error,
        }
    }

    /// The batches of all shards in their order.
    pub(crate) fn batches(&self) -> Result<Vec<&RecordBatch>> {
        let mut batches = Vec::new();
        for shard in &self.shards {
            batches.extend(&shard.open(self.is_ours)?.batches);
        }
        Ok(batches)
    }

    /// The batch that holds a row, and the row's place in it.
    pub(crate) fn locate(&self, row: u64) -> Result<(&RecordBatch, usize)> {
        if row >= self.rows() {
            bail!("row {row} of {} rows", self.rows());
        }
        let index = self.starts.partition_point(|start| *start <= row) - 1;
        let batches = self.shards[index].open(self.is_ours)?;
        let row = (row - self.starts[index]) as usize;
        let batch = batches.starts.partition_point(|start| *start <= row) - 1;
        Ok((&batches.batches[batch], row - batches.starts[batch]))
    }
}

impl Shard {
    fn open(&self, is_ours: fn(&Schema) -> bool) -> Result<&Batches> {
        if let Some(batches) = self.batches.get() {
            return Ok(batches);
        }
        if is_parquet(&self.path) {
            bail!("shard `{}` is a Parquet file, which only SQL and other tools read; {ARROW}", self.path.display());
        }
        let batches =
            map(&self.path, self.bytes).with_context(|| format!("shard `{}` is damaged or cut short; {AGAIN}", self.path.display()))?;
        if batches.iter().any(|batch| !is_ours(&batch.schema())) {
            bail!("shard `{}` has other columns than its layout; {AGAIN}", self.path.display());
        }
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows as u64 != self.rows {
            bail!("shard `{}` has {rows} rows, the manifest says {}; {AGAIN}", self.path.display(), self.rows);
        }
        let starts = batches
            .iter()
            .scan(0, |next, batch| {
                let start = *next;
                *next += batch.num_rows();
                Some(start)
            })
            .collect();
        Ok(self.batches.get_or_init(|| Batches { batches, starts }))
    }
}

/// The rows of a shard, from its footer alone.
pub fn rows_of(path: &Path) -> Result<u64> {
    let batches = map(path, None).with_context(|| format!("shard `{}` is damaged or cut short", path.display()))?;
    Ok(batches.iter().map(|batch| batch.num_rows() as u64).sum())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    #[test]
    fn a_full_disk_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        // Less, and more than buffers hold, however it is packed.
        for rows in [1000, 1_000_000] {
            let column: ArrayRef =
                Arc::new(Int64Array::from_iter_values((0..rows).map(|n: i64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64))));
            let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
            for name in ["arrow", "parquet"] {
                let path = folder.path().join(format!("shard-{rows}.{name}"));
                std::os::unix::fs::symlink("/dev/full", &path).unwrap();
                let mut writer = ShardWriter::create(&path, &batch.schema()).unwrap();
                let written = writer.write(&batch);
                let error = written.and_then(|()| writer.finish()).unwrap_err();
                assert_eq!(format!("{error:#}"), format!("writing `{}`: No space left on device (os error 28)", path.display()));
            }
        }
    }
}
