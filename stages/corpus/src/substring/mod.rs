//! `dedup-substrings`: takes out what documents repeat of others or of themselves, so that every stretch of some length stands once.
//!
//! No method of `dedup`, which keeps or drops whole documents and asks who survives: here documents stay and their texts change, and what
//! stays is what comes first. Nothing is read at random: repeats are narrowed down in bins on disk (`anchors`, `repeated`), then their
//! bytes are brought together in bins and compared (`contexts`, `marks`), and the corpus is read once more to cut them.
//!
//! ```toml
//! [[step]]
//! stage = "dedup-substrings"
//! bytes_min = 100
//! ```

mod anchors;
mod bins;
mod cut;
mod output;
mod repeats;

use std::path::PathBuf;

use anyhow::{Result, bail};
use arrow::array::{AsArray, FixedSizeBinaryArray, StringArray};
use engine::{Context, Disk, Draft, Inputs, Kind, Part, PartWriter, Port, Site, Stage, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::documents::{Corpus, id_at};
use anchors::{AnchorWriter, Winnower, read_repeated, write_repeated};
use bins::record_bytes;
use cut::{cut, is_covered, spans};
use output::{Output, spans_schema};
use repeats::{ContextWriter, Mark, read_marks, write_marks};

const BATCH_ROWS: usize = 2048;
/// Compressed bytes of the corpus for one bin of anchors: about two million of them.
const ANCHOR_BIN_BYTES: u64 = 8 << 20;
/// Bytes of repeated contexts in one bin.
const CONTEXT_BIN_BYTES: u64 = 8 << 20;
const BINS_MAX: u64 = 4096;

/// Takes out every stretch of text that stands earlier in the corpus.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DedupSubstrings {
    /// Least length of a repeated stretch, in bytes of UTF-8. All repeats of this length and more are found, also within one document; of
    /// each, the first in the order of the corpus stays. What is cut is drawn in to word boundaries.
    #[serde(default = "default_bytes_min")]
    pub bytes_min: usize,
    /// Text that takes the place of each repeated stretch, such as `[…]`; by default nothing does.
    #[serde(default)]
    pub mask: Option<String>,
}

fn default_bytes_min() -> usize {
    100
}

impl Stage for DedupSubstrings {
    const NAME: &'static str = "dedup-substrings";
    const ABOUT: &'static str = "Takes out every stretch of text that stands earlier in the corpus.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::many("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Documents;

    fn prepare(&mut self, _site: &mut Site) -> Result<()> {
        if !(16..=1 << 16).contains(&self.bytes_min) {
            bail!("`bytes_min` is {}: it must be between 16 and 65536", self.bytes_min);
        }
        Ok(())
    }

    fn disk(&self, input_bytes: u64) -> Disk {
        // Seen on 100 MB of English text: 9.0 of the input's files, mostly the bytes of candidates.
        Disk { kept: input_bytes, scratch: 10 * input_bytes, selected: 0 }
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let corpus = Corpus::of(&inputs.artifacts("documents"))?;
        draft.declare("documents", corpus.schema.clone())?;
        draft.declare("rejects", schema::rejects())?;
        draft.declare("edits", schema::edits())?;
        draft.declare("spans", spans_schema())?;
        let plan = corpus.plan();
        let paths = |phase: &str, parts: usize| (0..parts).map(|part| draft.scratch_path(phase, part)).collect::<Vec<PathBuf>>();

        let bins = bins(plan.iter().map(|part| part.bytes).sum(), ANCHOR_BIN_BYTES);
        draft.task(ctx, "anchors", &plan, |part, path| {
            self.write_anchors(ctx, &corpus, part, AnchorWriter::create(path, bins, self.bytes_min)?)
        })?;
        let anchors = paths("anchors", plan.len());
        draft.task(ctx, "repeated", &equal_parts(&anchors, bins)?, |bin, path| write_repeated(ctx, &anchors, bins, bin, path))?;
        let repeated = paths("repeated", bins);

        // A run has some 30 windows more or less, and its context these and one whole window.
        let runs: u64 = repeated.iter().map(|path| record_bytes(path)).sum::<Result<u64>>()? / 4;
        let bins = self::bins(runs * (self.bytes_min as u64 * 3 / 2 + 28), CONTEXT_BIN_BYTES);
        draft.task(ctx, "contexts", &plan, |part, path| {
            let runs = read_repeated(&repeated, plan.len(), part)?;
            self.write_contexts(ctx, &corpus, part, &runs, ContextWriter::create(path, bins, self.bytes_min)?)
        })?;
        let contexts = paths("contexts", plan.len());
        draft
            .task(ctx, "marks", &equal_parts(&contexts, bins)?, |bin, path| write_marks(ctx, &contexts, bins, bin, self.bytes_min, path))?;
        let marks = paths("marks", bins);

        draft.parts(ctx, &plan, |part, writer| self.write_part(ctx, &corpus, part, &read_marks(&marks, plan.len(), part)?, writer))
    }
}

/// How many bins of about `bin_bytes` there are.
fn bins(bytes: u64, bin_bytes: u64) -> usize {
    bytes.div_ceil(bin_bytes).clamp(1, BINS_MAX) as usize
}

/// One part of work for each bin of some files.
fn equal_parts(files: &[PathBuf], bins: usize) -> Result<Vec<Part>> {
    let bytes = files.iter().map(|path| record_bytes(path)).sum::<Result<u64>>()?;
    Ok(vec![Part { bytes: bytes / bins as u64 }; bins])
}

impl DedupSubstrings {
    /// Calls `visit` with the number in the part, the id and the text of every document.
    fn texts(&self, ctx: &Context, corpus: &Corpus, part: usize, mut visit: impl FnMut(u32, [u8; 16], &str) -> Result<()>) -> Result<()> {
        let (table, file) = corpus.file(part);
        let mut number = 0;
        for batch in table.read(file, Some(&["id", "text"]), BATCH_ROWS)? {
            ctx.check_stop()?;
            let batch = batch?;
            let ids: &FixedSizeBinaryArray = batch.column(0).as_fixed_size_binary();
            let texts: &StringArray = batch.column(1).as_string();
            for row in 0..batch.num_rows() {
                visit(number, id_at(ids, row), texts.value(row))?;
                number += 1;
            }
        }
        Ok(())
    }

    fn write_anchors(&self, ctx: &Context, corpus: &Corpus, part: usize, mut writer: AnchorWriter) -> Result<()> {
        let mut winnower = Winnower::new(self.bytes_min);
        self.texts(ctx, corpus, part, |_, _, text| winnower.runs(text.as_bytes(), |run| writer.push(run)))?;
        writer.finish()
    }

    /// Writes the contexts of the runs with these numbers.
    fn write_contexts(&self, ctx: &Context, corpus: &Corpus, part: usize, wanted: &[u32], mut writer: ContextWriter) -> Result<()> {
        let mut winnower = Winnower::new(self.bytes_min);
        let (mut number, mut wanted) = (0, wanted.iter().peekable());
        self.texts(ctx, corpus, part, |row, id, text| {
            winnower.runs(text.as_bytes(), |run| {
                number += 1;
                match wanted.next_if(|wanted| **wanted == number - 1) {
                    Some(_) => writer.push(id, row, text.as_bytes(), run),
                    None => Ok(()),
                }
            })
        })?;
        writer.finish()
    }

    /// Writes the documents of a part without what its marks cover.
    fn write_part(&self, ctx: &Context, corpus: &Corpus, part: usize, mut marks: &[Mark], writer: &mut PartWriter) -> Result<()> {
        let mut document = 0;
        for batch in corpus.read(part, BATCH_ROWS)? {
            ctx.check_stop()?;
            let batch = batch?;
            let texts: &StringArray = batch.column(batch.schema().index_of("text")?).as_string();
            let mut out = Output::new(&batch)?;
            for row in 0..batch.num_rows() {
                let (here, behind) = marks.split_at(marks.partition_point(|mark| mark.row <= document));
                (marks, document) = (behind, document + 1);
                self.write_document(texts.value(row), here, &mut out, writer)?;
            }
            out.write(&batch, writer)?;
        }
        Ok(())
    }

    fn write_document(&self, text: &str, marks: &[Mark], out: &mut Output, writer: &mut PartWriter) -> Result<()> {
        let spans = if marks.is_empty() { Vec::new() } else { spans(text, marks) };
        let bytes = text.len() as i64;
        writer.count("bytes_in", bytes);
        if spans.is_empty() {
            writer.count("bytes_out", bytes);
            return out.keep(text);
        }
        writer.count("spans", spans.len() as i64);
        out.note(text, &spans)?;
        if is_covered(text, &spans) {
            writer.count("bytes_removed", bytes);
            return out.reject(text, &spans, self.bytes_min);
        }
        let left = cut(text, &spans, self.mask.as_deref());
        let removed = bytes - left.len() as i64;
        writer.count("bytes_out", left.len() as i64);
        writer.count("bytes_removed", removed);
        out.replace(&left, spans.len(), removed)
    }
}

#[cfg(test)]
mod tests;
