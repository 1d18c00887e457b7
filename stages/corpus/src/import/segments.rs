//! Cuts large compressed line files where a decoder can begin, so that several threads read one file.
//!
//! Lines do not end where frames do, and a line's number and place are known only when everything above it is counted. So a first pass
//! unpacks every segment and counts, on all threads; the second pass reads. Setting the numbers right afterwards would mean to write
//! every part twice, which costs more than to unpack twice.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context as _, Result};
use engine::{Context, Draft, InputFile, Part};
use serde::{Deserialize, Serialize};

use super::archive::{self, Compression, Meter, unpack};
use super::plan::{Content, Format, PartPlan, Piece};
use super::{Shape, frames};

/// The stretch of a compressed file between two entries.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    pub file: usize,
    content: Content,
    start: u64,
    end: u64,
}

/// What a segment holds once it is unpacked.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Counts {
    bytes: u64,
    line_ends: u64,
    /// Bytes up to the first line end and with it.
    first: Option<u64>,
    broken: bool,
}

/// The segments of a file, none when it has one entry only.
pub fn of(index: usize, file: &InputFile, content: Content, part_bytes: u64) -> Result<Vec<Segment>> {
    let compression = Compression::of(&file.path);
    if file.bytes <= part_bytes || !matches!(content, Content::Records(Format::Jsonl | Format::Lines)) || compression == Compression::None {
        return Ok(Vec::new());
    }
    let failed = || format!("reading `{}`", file.path.display());
    let opened = File::open(&file.path).with_context(failed)?;
    let mut starts = frames::entries(&opened, file.bytes, compression, part_bytes).with_context(failed)?;
    if starts.len() < 2 {
        return Ok(Vec::new());
    }
    starts.push(file.bytes);
    Ok(starts.windows(2).map(|pair| Segment { file: index, content, start: pair[0], end: pair[1] }).collect())
}

/// Counts what all segments hold and cuts their files: the parts of each file, in order.
pub fn cut(ctx: &Context, draft: &Draft, shape: &Shape, files: &[InputFile], segments: &[Segment]) -> Result<Vec<(usize, Vec<PartPlan>)>> {
    const PHASE: &str = "lines";
    if segments.is_empty() {
        return Ok(Vec::new());
    }
    let plan: Vec<Part> = segments.iter().map(|segment| Part { bytes: segment.end - segment.start }).collect();
    draft.task(ctx, PHASE, &plan, |index, path| {
        let counts = count(ctx, shape, &files[segments[index].file], segments[index])?;
        std::fs::write(path, serde_json::to_vec(&counts)?).with_context(|| format!("writing `{}`", path.display()))
    })?;
    let mut counts = Vec::new();
    for index in 0..segments.len() {
        let path = draft.scratch_path(PHASE, index);
        let bytes = std::fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
        counts.push(serde_json::from_slice(&bytes).with_context(|| format!("reading `{}`", path.display()))?);
    }
    let mut cut = Vec::new();
    let mut from = 0;
    for group in segments.chunk_by(|a, b| a.file == b.file) {
        cut.push((group[0].file, pieces(group, &counts[from..from + group.len()])));
        from += group.len();
    }
    Ok(cut)
}

fn count(ctx: &Context, shape: &Shape, file: &InputFile, segment: Segment) -> Result<Counts> {
    let failed = || format!("reading `{}`", file.path.display());
    let mut opened = File::open(&file.path).with_context(failed)?;
    opened.seek(SeekFrom::Start(segment.start)).with_context(failed)?;
    let packed = opened.take(segment.end - segment.start);
    let mut reader = unpack(Compression::of(&file.path), packed, &Meter::new(shape)).with_context(failed)?;
    let mut counts = Counts { bytes: 0, line_ends: 0, first: None, broken: false };
    let mut buffer = vec![0; 1 << 18];
    loop {
        ctx.check_stop()?;
        let read = match reader.read(&mut buffer) {
            Ok(0) => return Ok(counts),
            Ok(read) => &buffer[..read],
            Err(error) => {
                archive::broken(error).with_context(failed)?;
                return Ok(Counts { broken: true, ..counts });
            }
        };
        if counts.first.is_none() {
            counts.first = memchr::memchr(b'\n', read).map(|at| counts.bytes + at as u64 + 1);
        }
        counts.bytes += read.len() as u64;
        counts.line_ends += memchr::memchr_iter(b'\n', read).count() as u64;
    }
}

/// A piece begins with the first line that begins within its segment's bytes, and ends where the next one begins. The last piece, and one
/// whose segment is broken, goes on to the end or the break; nothing is read after a break.
fn pieces(segments: &[Segment], counts: &[Counts]) -> Vec<PartPlan> {
    let Segment { file, content, .. } = segments[0];
    let first = Piece { file, content, start: 0, end: u64::MAX, line: 1, entry: Some(Entry { offset: 0, skip: 0 }) };
    let mut parts = vec![PartPlan { pieces: vec![first], bytes: 0 }];
    let (mut position, mut line) = (0, 1);
    for (index, (segment, counts)) in segments.iter().zip(counts).enumerate() {
        if let Some(first) = counts.first.filter(|_| index > 0) {
            let start = position + first;
            let entry = Some(Entry { offset: segment.start, skip: first });
            let next = Piece { file, content, start, end: u64::MAX, line: line + 1, entry };
            if let Some(piece) = parts.last_mut().and_then(|part| part.pieces.last_mut()) {
                piece.end = start;
            }
            parts.push(PartPlan { pieces: vec![next], bytes: 0 });
        }
        if let Some(part) = parts.last_mut() {
            part.bytes += segment.end - segment.start;
        }
        if counts.broken {
            break;
        }
        position += counts.bytes;
        line += counts.line_ends;
    }
    parts
}

/// Where a compressed file is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// In the compressed file.
    pub offset: u64,
    /// Unpacked bytes between there and the first line of the piece.
    pub skip: u64,
}
