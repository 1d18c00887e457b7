//! One shard: an uncompressed Arrow IPC file, written batch by batch, mapped into memory for reading, opened at first use.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::root_as_footer;
use arrow::ipc::writer::FileWriter;
use bytes::Bytes;
use memmap2::Mmap;

/// A shard with the number of rows that the manifest tells.
#[derive(Clone, Debug)]
pub struct ShardFile {
    pub path: PathBuf,
    pub rows: u64,
}

/// Writes batches to one file.
pub(crate) struct ShardWriter {
    path: PathBuf,
    writer: FileWriter<BufWriter<File>>,
}

impl ShardWriter {
    pub(crate) fn create(path: &Path, schema: &SchemaRef) -> Result<ShardWriter> {
        let file = File::create(path).with_context(|| format!("creating `{}`", path.display()))?;
        let writer = FileWriter::try_new(BufWriter::with_capacity(1 << 20, file), schema)
            .with_context(|| format!("writing `{}`", path.display()))?;
        Ok(ShardWriter { path: path.to_path_buf(), writer })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).with_context(|| format!("writing `{}`", self.path.display()))
    }

    pub(crate) fn finish(self) -> Result<()> {
        let failed = || format!("writing `{}`", self.path.display());
        let buffer = self.writer.into_inner().with_context(failed)?;
        let file = buffer.into_inner().map_err(|error| error.into_error()).with_context(failed)?;
        file.sync_all().with_context(failed)
    }
}

/// The shards of one split as one sequence of rows.
pub(crate) struct ShardSet {
    shards: Vec<Shard>,
    /// First row of each shard, and the number of all rows at the end.
    starts: Vec<u64>,
}

struct Shard {
    path: PathBuf,
    rows: u64,
    batches: OnceLock<Batches>,
}

struct Batches {
    batches: Vec<RecordBatch>,
    /// First row of each batch.
    starts: Vec<usize>,
}

impl ShardSet {
    pub(crate) fn new(files: &[ShardFile]) -> ShardSet {
        let mut starts = vec![0];
        let mut total = 0;
        let mut shards = Vec::new();
        for file in files {
            total += file.rows;
            starts.push(total);
            shards.push(Shard { path: file.path.clone(), rows: file.rows, batches: OnceLock::new() });
        }
        ShardSet { shards, starts }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.starts[self.shards.len()]
    }

    /// The batch that holds a row, and the row's place in it.
    pub(crate) fn locate(&self, row: u64) -> Result<(&RecordBatch, usize)> {
        if row >= self.rows() {
            bail!("row {row} of {} rows", self.rows());
        }
        let index = self.starts.partition_point(|start| *start <= row) - 1;
        let batches = self.shards[index].open()?;
        let row = (row - self.starts[index]) as usize;
        let batch = batches.starts.partition_point(|start| *start <= row) - 1;
        Ok((&batches.batches[batch], row - batches.starts[batch]))
    }
}

impl Shard {
    fn open(&self) -> Result<&Batches> {
        if let Some(batches) = self.batches.get() {
            return Ok(batches);
        }
        let batches = map(&self.path)
            .with_context(|| format!("shard `{}` is damaged or cut short; run `tokenize` again with --force", self.path.display()))?;
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows as u64 != self.rows {
            bail!("shard `{}` has {rows} rows, the manifest says {}; run `tokenize` again with --force", self.path.display(), self.rows);
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
    let batches = map(path).with_context(|| format!("shard `{}` is damaged or cut short", path.display()))?;
    Ok(batches.iter().map(|batch| batch.num_rows() as u64).sum())
}

/// The batches of an Arrow file, as views into the mapped file.
fn map(path: &Path) -> Result<Vec<RecordBatch>> {
    let file = File::open(path).context("opening the file")?;
    // SAFETY: artifacts are never changed once they are finished, so the mapped bytes stay what they are.
    let mapped = unsafe { Mmap::map(&file) }.context("mapping the file into memory")?;
    let buffer = Buffer::from(Bytes::from_owner(mapped));
    let Some(trailer) = buffer.len().checked_sub(10) else { bail!("has {} bytes only", buffer.len()) };
    let length = read_footer_length(buffer[trailer..].try_into().expect("ten bytes were cut off"))?;
    let Some(start) = trailer.checked_sub(length) else { bail!("its footer is longer than the file") };
    let footer = root_as_footer(&buffer[start..trailer]).map_err(|error| anyhow::anyhow!("unreadable footer: {error}"))?;
    let schema = fb_to_schema(footer.schema().context("has no schema")?);
    let decoder = FileDecoder::new(schema.into(), footer.version());
    let blocks = footer.recordBatches().context("has no list of batches")?;
    let mut batches = Vec::with_capacity(blocks.len());
    for block in blocks {
        let begin = usize::try_from(block.offset())?;
        let length = usize::try_from(block.bodyLength())? + usize::try_from(block.metaDataLength())?;
        if begin.checked_add(length).is_none_or(|end| end > start) {
            bail!("a batch lies beyond the end");
        }
        let data = buffer.slice_with_length(begin, length);
        batches.extend(decoder.read_record_batch(block, &data)?);
    }
    Ok(batches)
}
