//! Cuts the input files into parts: boundaries follow from the files alone, so any thread count and listing order gives the same parts.
//!
//! Large plain line files are cut at the first newline after each 8 to 32 MiB, compressed ones where a decoder can begin, archives
//! between members; small files share a part up to that size, in path order. Other compressed files, and CSV (whose fields may hold
//! newlines) and CoNLL, are never cut.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use engine::{Context, Draft, InputFile};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::archive::Compression;
use super::segments::{self, Entry};
use super::{Shape, members};

/// Least size of a part: large enough for good Parquet row groups.
pub const PART_BYTES_MIN: u64 = 8 << 20;
/// Greatest size of a part.
const PART_BYTES_MAX: u64 = 32 << 20;

/// A thirty-second of the input, so that a run that is killed loses little, within the limits above.
fn part_bytes(files: &[InputFile]) -> u64 {
    (files.iter().map(|file| file.bytes).sum::<u64>() / 32).clamp(PART_BYTES_MIN, PART_BYTES_MAX)
}

/// What [`Format::from_name`] knows, for messages.
const EXTENSIONS: &str = ".jsonl, .ndjson, .json, .txt, .text, .rst, .md, .markdown, .csv, .tsv, .parquet, .arrow, .arrows, .feather, .ipc, \
    .html, .htm, .xhtml, .warc, .wet, .xml, .conll, .bio, .iob, .iob2";
pub const NAMES: &str = "jsonl, text, markdown, lines, csv, tsv, parquet, arrow, html, warc, mediawiki, squad or conll";

/// How a file holds its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON object per line.
    Jsonl,
    /// The file is one document.
    Text,
    /// The file is one document; a YAML block at its beginning goes to `extra`.
    Markdown,
    /// A line per document.
    Lines,
    /// Comma-separated with a header line; fields may be quoted and hold newlines.
    Csv,
    /// Tab-separated with a header line; quotes mean nothing.
    Tsv,
    /// Columns by name.
    Parquet,
    /// Columns by name; IPC files and streams, Feather version 2.
    Arrow,
    /// The file is one page.
    Html,
    /// Pages as a crawler stored them.
    Warc,
    /// XML dump of a wiki.
    Mediawiki,
    /// JSON of SQuAD 1.1 or 2.0: a document for each question.
    Squad,
    /// A line for each word, with its tag in a column: a document for each sentence.
    Conll,
}

impl Format {
    /// The format that the extension of a name tells, below that of a compression.
    pub fn from_name(name: &str) -> Option<Format> {
        let (_, name) = Compression::split(name);
        let file = name.rsplit('/').next().unwrap_or(&name);
        Some(match file.rsplit_once('.')?.1 {
            "jsonl" | "ndjson" | "json" => Format::Jsonl,
            "txt" | "text" | "rst" => Format::Text,
            "md" | "markdown" => Format::Markdown,
            "csv" => Format::Csv,
            "tsv" => Format::Tsv,
            "parquet" => Format::Parquet,
            "arrow" | "arrows" | "feather" | "ipc" => Format::Arrow,
            "html" | "htm" | "xhtml" => Format::Html,
            "warc" | "wet" => Format::Warc,
            "xml" => Format::Mediawiki,
            "conll" | "bio" | "iob" | "iob2" => Format::Conll,
            _ => return None,
        })
    }
}

/// What a file holds: records, or members that are files themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Records(Format),
    Tar,
    Zip,
}

impl Content {
    /// By the file's extension; records have the given format, if there is one.
    pub fn of(path: &Path, given: Option<Format>) -> Result<Content> {
        let (compression, name) = Compression::split(&path.to_string_lossy());
        if name.ends_with(".tar") {
            return Ok(Content::Tar);
        }
        if name.ends_with(".zip") {
            if compression != Compression::None {
                bail!("`{}`: zip files are read from their end; unpack the outer compression first", path.display());
            }
            return Ok(Content::Zip);
        }
        match given.or_else(|| Format::from_name(&name)) {
            Some(format) => Ok(Content::Records(format)),
            None => bail!(
                "`{}`: the extension names no format ({EXTENSIONS}, each also with .gz, .bz2, .xz or .zst and in .tar or .zip); give \
                 `format`: {NAMES}",
                path.display()
            ),
        }
    }
}

/// A file or a stretch of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Index among the input files.
    pub file: usize,
    pub content: Content,
    /// Bytes `start..end` of an unpacked line file, of a tar or Arrow file, row groups of a Parquet file, bytes of a zip file's list of members;
    /// up to `u64::MAX` where the rest of the file is meant.
    pub start: u64,
    pub end: u64,
    /// Number of the first line, counted from 1.
    pub line: u64,
    /// Where a compressed file is entered; at its beginning unless given.
    pub entry: Option<Entry>,
}

impl Piece {
    /// All of a file, or of a stream that is no input file of its own.
    pub fn whole(file: usize, content: Content) -> Piece {
        Piece { file, content, start: 0, end: u64::MAX, line: 1, entry: None }
    }
}

/// Pieces that are read one after another into one part.
#[derive(Debug, Default)]
pub struct PartPlan {
    pub pieces: Vec<Piece>,
    /// Bytes as they lie on disk.
    pub bytes: u64,
}

/// The parts of all files, in path order.
pub fn pieces(ctx: &Context, draft: &Draft, shape: &Shape, files: &[InputFile]) -> Result<Vec<PartPlan>> {
    let part_bytes = part_bytes(files);
    let contents = files.iter().map(|file| Content::of(&file.path, shape.format)).collect::<Result<Vec<_>>>()?;
    let mut segments = Vec::new();
    for (index, (file, content)) in files.iter().zip(&contents).enumerate() {
        segments.extend(segments::of(index, file, *content, part_bytes)?);
    }
    let mut cut_files = segments::cut(ctx, draft, shape, files, &segments)?.into_iter().peekable();
    let mut parts = Vec::new();
    let mut small = PartPlan::default();
    for (index, (file, content)) in files.iter().zip(contents).enumerate() {
        let whole = Piece::whole(index, content);
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
        if let Some((_, cut)) = cut_files.next_if(|(file, _)| *file == index) {
            parts.extend(cut);
            continue;
        }
        let plain = Compression::of(&file.path) == Compression::None;
        match content {
            Content::Records(Format::Jsonl | Format::Lines) if plain => cut(ctx, file, whole, part_bytes, &mut parts)?,
            Content::Records(Format::Parquet) if plain => parts.extend(super::parquet::cut(file, whole, part_bytes)?),
            Content::Records(Format::Arrow) if plain => parts.extend(super::ipc::cut(&file.path, whole, part_bytes, file.bytes)?),
            Content::Tar if plain => parts.extend(members::cut_tar(&file.path, whole, part_bytes)?),
            Content::Zip => parts.extend(members::cut_zip(&file.path, whole, part_bytes)?),
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
