//! Repeats: which windows stand earlier in the corpus, found among the contexts of repeated anchors.
//!
//! Equal windows have equal anchors and so meet in one bin, where each is looked up among those before it and compared byte by byte.

use std::path::{Path, PathBuf};

use anyhow::Result;
use engine::Context;
use hashbrown::HashTable;

use super::anchors::{Rolling, Run, bin_of};
use super::bins::{BinWriter, number, read_bin};

/// Bytes of a context's head: id, row, start, number of bytes.
const HEAD_BYTES: usize = 28;
/// Bytes of a mark: row, start, end, first id, first start.
const MARK_BYTES: usize = 32;

/// Writes the bytes of repeated runs with their places.
pub struct ContextWriter {
    out: BinWriter,
    bins: usize,
    bytes_min: usize,
}

impl ContextWriter {
    pub fn create(path: &Path, bins: usize, bytes_min: usize) -> Result<ContextWriter> {
        Ok(ContextWriter { out: BinWriter::create(path, bins)?, bins, bytes_min })
    }

    /// A run of the document `id` in row `row` of the part.
    pub fn push(&mut self, id: [u8; 16], row: u32, text: &[u8], run: Run) -> Result<()> {
        let context = &text[run.start..run.start + run.windows - 1 + self.bytes_min];
        let [row, start, length] = [row, run.start as u32, context.len() as u32].map(u32::to_le_bytes);
        self.out.push(bin_of(run.anchor, self.bins), &[&id, &row, &start, &length, context])
    }

    pub fn finish(self) -> Result<()> {
        self.out.finish()
    }
}

/// A stretch of a document that stands earlier in the corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub row: u32,
    pub start: u32,
    pub end: u32,
    pub first_id: [u8; 16],
    pub first_start: u32,
}

/// A context with a window that no earlier one has.
struct Known {
    id: [u8; 16],
    start: u32,
    bytes: usize,
}

/// The first occurrence of a window.
struct First {
    hash: u64,
    context: u32,
    offset: u32,
}

/// Writes, part by part, the marks that follow from the contexts of one bin.
pub fn write_marks(ctx: &Context, parts: &[PathBuf], bins: usize, bin: usize, bytes_min: usize, path: &Path) -> Result<()> {
    let mut out = BinWriter::create(path, parts.len())?;
    let mut windows = Windows { bytes_min, firsts: HashTable::new(), contexts: Vec::new(), bytes: Vec::new() };
    for (part, path) in parts.iter().enumerate() {
        ctx.check_stop()?;
        let records = read_bin(path, bins, bin)?;
        let mut rest = &records[..];
        while !rest.is_empty() {
            let (head, behind) = rest.split_at(HEAD_BYTES);
            let (id, numbers) = head.split_at(16);
            let id = id.try_into().expect("16 bytes");
            let (row, start) = (number(&numbers[..4]), number(&numbers[4..8]));
            let (context, behind) = behind.split_at(number(&numbers[8..]) as usize);
            rest = behind;
            windows.pass(id, start, context, |start, end, first_id, first_start| {
                let [row, start, end, first_start] = [row, start, end, first_start].map(u32::to_le_bytes);
                out.push(part, &[&row, &start, &end, &first_id, &first_start])
            })?;
        }
    }
    out.finish()
}

/// The windows of a bin that have passed.
struct Windows {
    bytes_min: usize,
    firsts: HashTable<First>,
    contexts: Vec<Known>,
    /// The bytes of the contexts, one behind the other.
    bytes: Vec<u8>,
}

impl Windows {
    /// Looks up every window of a context, and keeps those that are new. `mark` gets the stretches whose windows stand earlier, and where;
    /// an occurrence that overlaps its first is none.
    fn pass(
        &mut self,
        id: [u8; 16],
        start: u32,
        context: &[u8],
        mut mark: impl FnMut(u32, u32, [u8; 16], u32) -> Result<()>,
    ) -> Result<()> {
        let width = self.bytes_min;
        let (number, base) = (self.contexts.len() as u32, self.bytes.len());
        self.bytes.extend_from_slice(context);
        self.contexts.push(Known { id, start, bytes: base });
        let mut is_new = false;
        let mut rolling = Rolling::new(width);
        context[..width - 1].iter().for_each(|byte| rolling.enter(*byte));
        // The stretch that grows: begin, end, and the first occurrence of its begin.
        let mut open: Option<(u32, u32, [u8; 16], u32)> = None;
        for (offset, (entering, leaving)) in context[width - 1..].iter().zip(context).enumerate() {
            rolling.enter(*entering);
            let hash = rolling.value();
            rolling.leave(*leaving);
            let window = &context[offset..offset + width];
            let at = |first: &First| self.contexts[first.context as usize].bytes + first.offset as usize;
            let Some(first) = self.firsts.find(hash, |first| first.hash == hash && self.bytes[at(first)..][..width] == *window) else {
                is_new = true;
                self.firsts.insert_unique(hash, First { hash, context: number, offset: offset as u32 }, |first| first.hash);
                continue;
            };
            let known = &self.contexts[first.context as usize];
            let (place, first_start) = (start + offset as u32, known.start + first.offset);
            if known.id == id && first_start + width as u32 > place {
                continue;
            }
            let end = place + width as u32;
            match &mut open {
                Some(open) if open.2 == known.id && open.1 + 1 == end && open.3 + (place - open.0) == first_start => open.1 = end,
                _ => {
                    if let Some((start, end, first_id, first_start)) = open.replace((place, end, known.id, first_start)) {
                        mark(start, end, first_id, first_start)?;
                    }
                }
            }
        }
        if let Some((start, end, first_id, first_start)) = open {
            mark(start, end, first_id, first_start)?;
        }
        // A context without a new window is never compared with.
        if !is_new {
            self.bytes.truncate(base);
            self.contexts.pop();
        }
        Ok(())
    }
}

/// The marks of a part, in order.
pub fn read_marks(paths: &[PathBuf], parts: usize, part: usize) -> Result<Vec<Mark>> {
    let mut marks = Vec::new();
    for path in paths {
        marks.extend(read_bin(path, parts, part)?.chunks_exact(MARK_BYTES).map(|record| Mark {
            row: number(&record[..4]),
            start: number(&record[4..8]),
            end: number(&record[8..12]),
            first_id: record[12..28].try_into().expect("16 bytes"),
            first_start: number(&record[28..]),
        }));
    }
    marks.sort_unstable();
    Ok(marks)
}
