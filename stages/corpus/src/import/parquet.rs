//! Parquet files, by row groups. The position of a document is its row number in the file.

use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};
use engine::InputFile;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::Shape;
use super::columns::{BATCH_ROWS, check_columns, guarded, read_batch};
use super::plan::{Content, Format, PartPlan, Piece};
use super::rows::{Fault, Place, Rows};
use super::stream::Stream;

const RULE: &str = "corrupt_parquet";

/// Parts of whole row groups, each of about `part_bytes` compressed.
pub fn cut(file: &InputFile, whole: Piece, part_bytes: u64) -> Result<Vec<PartPlan>> {
    let opened = File::open(&file.path).with_context(|| format!("reading `{}`", file.path.display()))?;
    // What cannot be cut is read whole, and becomes a reject there.
    let Ok(builder) = ParquetRecordBatchReaderBuilder::try_new(opened) else {
        return Ok(vec![PartPlan { pieces: vec![whole], bytes: file.bytes }]);
    };
    let groups: Vec<u64> = builder.metadata().row_groups().iter().map(|group| group.compressed_size().max(0) as u64).collect();
    let mut parts = Vec::new();
    let mut piece = Piece { end: 0, ..whole };
    let mut bytes = 0;
    for (index, size) in groups.iter().enumerate() {
        bytes += size;
        piece.end = index as u64 + 1;
        if bytes >= part_bytes || piece.end == groups.len() as u64 {
            parts.push(PartPlan { pieces: vec![piece], bytes });
            piece = Piece { start: piece.end, ..piece };
            bytes = 0;
        }
    }
    Ok(parts)
}

/// Reads the row groups of a piece.
pub fn read(piece: &Piece, path: &Path, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let file = File::open(path).with_context(|| format!("reading `{}`", path.display()))?;
    read_groups(file, piece, &path.display().to_string(), shape, rows)
}

/// Reads a whole file that comes as a stream: a Parquet file is read from its end, so it is unpacked first.
pub fn read_stream(mut stream: Stream, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let file = match stream.unpack(&shape.scratch)? {
        Ok(file) => file,
        Err(fault) => return rows.reject(Place { position: 0, line: None }, fault),
    };
    let whole = Piece::whole(0, Content::Records(Format::Parquet));
    read_groups(file, &whole, &stream.name, shape, rows)
}

fn read_groups(file: File, piece: &Piece, name: &str, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let at = |row: u64| Place { position: row, line: None };
    let builder = match guarded(RULE, || ParquetRecordBatchReaderBuilder::try_new(file)) {
        Ok(Ok(builder)) => builder,
        Ok(Err(error)) => return rows.reject(at(0), broken(name, error)?),
        Err(fault) => return rows.reject(at(0), fault),
    };
    let groups = builder.metadata().row_groups();
    let (start, end) = (piece.start as usize, groups.len().min(piece.end as usize));
    let mut row: u64 = groups[..start].iter().map(|group| group.num_rows().max(0) as u64).sum();
    check_columns(builder.schema(), shape).with_context(|| format!("`{name}`"))?;
    let mut reader = match guarded(RULE, || builder.with_row_groups((start..end).collect()).with_batch_size(BATCH_ROWS).build()) {
        Ok(Ok(reader)) => reader,
        Ok(Err(error)) => return rows.reject(at(row), broken(name, error)?),
        Err(fault) => return rows.reject(at(row), fault),
    };
    loop {
        match guarded(RULE, || reader.next().transpose()) {
            Ok(Ok(Some(batch))) => {
                read_batch(&batch, row, name, shape, rows)?;
                row += batch.num_rows() as u64;
            }
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return rows.reject(at(row), broken(name, ParquetError::from(error))?),
            Err(fault) => return rows.reject(at(row), fault),
        }
    }
}

/// The reject for a file, or the rest of its row groups, that cannot be read; the error itself when the operating system could not.
fn broken(name: &str, error: ParquetError) -> Result<Fault> {
    if let ParquetError::External(inner) = &error
        && inner.downcast_ref::<io::Error>().is_some_and(|error| error.raw_os_error().is_some())
    {
        return Err(error).with_context(|| format!("reading `{name}`"));
    }
    Ok(Fault::new(RULE, format!("nothing after this row can be read: {error}")))
}
