//! Cuts the input files into parts: boundaries follow from the files alone, so any thread count and listing order gives the same parts.
//!
//! Large plain line files are cut at the first newline after each 8 to 32 MiB; small files share a part up to that size, in path order;
//! compressed files and CSV (whose fields may hold newlines) are never cut.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use engine::{Context, InputFile};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::archive::Compression;

/// Least size of a part: large enough for good Parquet row groups.
pub const PART_BYTES_MIN: u64 = 8 << 20;
/// Greatest size of a part.
const PART_BYTES_MAX: u64 = 32 << 20;

/// A thirty-second of the input, so that a run that is killed loses little, within the limits above.
fn part_bytes(files: &[InputFile]) -> u64 {
    (files.iter().map(|file| file.bytes).sum::<u64>() / 32).clamp(PART_BYTES_MIN, PART_BYTES_MAX)
}

/// What [`Format::from_name`] knows, for messages.
const EXTENSIONS: &str = ".jsonl, .ndjson, .json, .txt, .text, .md, .rst, .csv, .tsv, .parquet";
const NAMES: &str = "jsonl, text, lines, csv, tsv or parquet";

/// How a file holds its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON object per line.
    Jsonl,
    /// The file is one document.
    Text,
    /// A line per document.
    Lines,
    /// Comma-separated with a header line; fields may be quoted and hold newlines.
    Csv,
    /// Tab-separated with a header line; quotes mean nothing.
    Tsv,
    /// Columns by name.
    Parquet,
}

impl Format {
    /// The given format, or that of the file's extension.
    pub fn of(path: &Path, given: Option<Format>) -> Result<Format> {
        let Some(format) = given.or_else(|| Self::from_name(&path.to_string_lossy())) else {
            bail!(
                "`{}`: the extension names no format ({EXTENSIONS}, each also with .gz, .bz2, .xz or .zst); give `format`: {NAMES}",
                path.display()
            );
        };
        Ok(format)
    }

    /// The format that the extension of a name tells, below that of a compression.
    pub fn from_name(name: &str) -> Option<Format> {
        let (_, name) = Compression::split(name);
        let file = name.rsplit('/').next().unwrap_or(&name);
        Some(match file.rsplit_once('.')?.1 {
            "jsonl" | "ndjson" | "json" => Format::Jsonl,
            "txt" | "text" | "md" | "rst" => Format::Text,
            "csv" => Format::Csv,
            "tsv" => Format::Tsv,
            "parquet" => Format::Parquet,
            _ => return None,
        })
    }
}

/// A file or a stretch of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Index among the input files.
    pub file: usize,
    pub format: Format,
    /// Bytes `start..end` of a plain line file, row groups of a Parquet file; `0..u64::MAX` of a whole file.
    pub start: u64,
    pub end: u64,
    /// Number of the first line, counted from 1.
    pub line: u64,
}

/// Pieces that are read one after another into one part.
#[derive(Debug, Default)]
pub struct PartPlan {
    pub pieces: Vec<Piece>,
    /// Bytes as they lie on disk.
    pub bytes: u64,
}

/// The parts of all files, in path order.
pub fn pieces(ctx: &Context, files: &[InputFile], format: Option<Format>) -> Result<Vec<PartPlan>> {
    let part_bytes = part_bytes(files);
    let mut parts = Vec::new();
    let mut small = PartPlan::default();
    for (index, file) in files.iter().enumerate() {
        let format = Format::of(&file.path, format)?;
        let whole = Piece { file: index, format, start: 0, end: u64::MAX, line: 1 };
        if file.bytes <= part_bytes {
            if small.bytes + file.bytes > part_bytes {
                parts.push(std::mem::take(&mut small));
            }
            small.pieces.push(whole);
            small.bytes += file.bytes;
            continue;
        }
        if !small.pieces.is_empty() {
            parts.push(std::mem::take(&mut small));
        }
        let plain = Compression::of(&file.path) == Compression::None;
        match format {
            Format::Jsonl | Format::Lines if plain => cut(ctx, file, whole, part_bytes, &mut parts)?,
            Format::Parquet if plain => parts.extend(super::parquet::cut(file, whole, part_bytes)?),
            _ => parts.push(PartPlan { pieces: vec![whole], bytes: file.bytes }),
        }
    }
    if !small.pieces.is_empty() {
        parts.push(small);
    }
    Ok(parts)
}

/// Cuts a large line file, counting its lines on the way so that each piece knows its first line.
fn cut(ctx: &Context, file: &InputFile, whole: Piece, part_bytes: u64, parts: &mut Vec<PartPlan>) -> Result<()> {
    let failed = || format!("reading `{}`", file.path.display());
    let mut reader = File::open(&file.path).with_context(failed)?;
    let mut buffer = vec![0; 1 << 20];
    let mut piece = Piece { end: 0, ..whole };
    let mut line = 1;
    reader.seek(SeekFrom::Start(0)).with_context(failed)?;
    let mut offset = 0;
    loop {
        ctx.check_stop()?;
        let count = reader.read(&mut buffer).with_context(failed)?;
        if count == 0 {
            break;
        }
        let mut from = 0;
        // The first newline at or after the nominal end closes the piece.
        while piece.start + part_bytes < offset + count as u64 {
            let search = (piece.start + part_bytes).saturating_sub(offset).max(from as u64) as usize;
            let Some(found) = memchr::memchr(b'\n', &buffer[search..count]) else { break };
            let after = search + found + 1;
            line += memchr::memchr_iter(b'\n', &buffer[from..after]).count() as u64;
            piece.end = offset + after as u64;
            parts.push(PartPlan { pieces: vec![piece], bytes: piece.end - piece.start });
            piece = Piece { start: piece.end, line, ..piece };
            from = after;
        }
        line += memchr::memchr_iter(b'\n', &buffer[from..count]).count() as u64;
        offset += count as u64;
    }
    if offset > piece.start {
        piece.end = offset;
        parts.push(PartPlan { pieces: vec![piece], bytes: offset - piece.start });
    }
    Ok(())
}
