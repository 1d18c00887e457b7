//! The packed layout: documents are encoded file by file into scratch files; then it is planned which of them go into which shard, and shards are
//! written, each by itself. Files of documents and shards are the parts, so both steps use all threads and go on where they stopped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::{Context, Draft, Part, PartWriter, Stage, Table, schema};
use rayon::prelude::*;
use shards::Extent;

use super::encoded::{EncodedWriter, Entries, Entry, Reject};
use super::fill::{self, spans_schema};
use super::packing::{Frame, Packing, shard_rows};
use super::plan::{self, Plan, Window};
use super::summary::{self, Shard, Summary};
use super::{Encoder, Tokenize};
use crate::documents::{self, id};

const ENCODE: &str = "encode";
const COUNT: &str = "count";
/// Documents that one thread encodes at a time, where one file is spread over several.
const CHUNK: usize = 16;
/// So many files for each thread keep all threads busy without that, until the last files.
const FILES_PER_THREAD: usize = 4;
/// Rejects that are written at once.
const REJECTS_BATCH: usize = 1 << 12;
/// Columns that a reject tells of its document.
const PLACE: [&str; 4] = ["source", "path", "position", "line"];

/// Documents that are to be encoded.
struct Source<'a> {
    settings: &'a Tokenize,
    ctx: &'a Context,
    table: &'a Table,
    encoder: &'a Encoder,
}

/// What all parts need.
pub(super) struct Job<'a> {
    pub(super) settings: &'a Tokenize,
    pub(super) encoder: &'a Encoder,
    pub(super) draft: &'a Draft,
    pub(super) frame: Frame,
    /// Tokens of each file of documents.
    pub(super) paths: Vec<PathBuf>,
}

impl Job<'_> {
    /// The number of all tokens.
    fn tokens(&self) -> Result<u64> {
        let size = |path: &PathBuf| Ok(std::fs::metadata(path).with_context(|| format!("reading `{}`", path.display()))?.len());
        let bytes: Result<u64> = self.paths.iter().map(size).sum();
        Ok(bytes? / self.encoder.width.bytes() as u64)
    }
}

pub(super) fn run(settings: &Tokenize, ctx: &Context, table: &Table, encoder: &Encoder, draft: &Draft) -> Result<()> {
    for column in ["id", settings.text.as_str()].into_iter().chain(settings.weight_columns()) {
        table.column(column)?;
    }
    settings.check_groups(ctx, table)?;
    let parts = table.plan();
    let source = Source { settings, ctx, table, encoder };
    let spread = |file| parts.len() < FILES_PER_THREAD * ctx.threads || file + ctx.threads >= parts.len();
    run_encoded(settings, ctx, &parts, encoder, draft, |file, out| encode(&source, file, spread(file), out))
}

/// Packs the documents that `encode` hands over for each part.
pub(crate) fn run_encoded(
    settings: &Tokenize,
    ctx: &Context,
    parts: &[Part],
    encoder: &Encoder,
    draft: &Draft,
    encode: impl Fn(usize, &mut EncodedWriter) -> Result<()> + Sync,
) -> Result<()> {
    draft.declare("rejects", schema::rejects())?;
    draft.declare("spans", spans_schema(settings.has_weights()))?;
    draft.declare("unigrams", unigrams_schema())?;
    draft.declare(summary::STATISTICS, summary::statistics_schema())?;
    let paths = (0..parts.len()).map(|index| draft.scratch_path(ENCODE, index)).collect();
    let job = Job { settings, encoder, draft, frame: Frame::new(settings, encoder)?, paths };
    draft.task(ctx, ENCODE, parts, |index, path| {
        let mut out = EncodedWriter::create(path, encoder, &job.frame)?;
        encode(index, &mut out)?;
        out.finish()
    })?;
    let plan = plan::plan(ctx, &job.paths, settings.packing, &job.frame, shard_rows(settings, job.tokens()?))?;
    let rows = first_rows(ctx, &job, &plan.windows)?;
    let mut shards: Vec<Part> = plan.windows.iter().map(|window| Part { bytes: window.tokens * encoder.width.bytes() as u64 }).collect();
    // What is known of whole splits and what is in no shard is one more part.
    shards.push(Part { bytes: 1 });
    draft.parts(ctx, &shards, |index, part| match plan.windows.get(index) {
        Some(window) => {
            let shard = fill::write_shard(ctx, &job, window, rows[index], part)?;
            count(&shard, part);
            part.wrote(&shard.relative(), shard.rows)?;
            summary::note(draft, index, part, &Summary { shards: vec![shard], ..Summary::default() })
        }
        None => {
            write_unigrams(&plan, part)?;
            let rejects = write_rejects(ctx, &job, &plan, part)?;
            summary::note(draft, index, part, &Summary { rejects, ..Summary::default() })
        }
    })?;
    summary::finish(draft, shards.len())
}

fn count(shard: &Shard, part: &mut PartWriter) {
    part.count("documents_in", shard.documents as i64);
    part.count("documents_stored", shard.documents as i64);
    part.count("documents_truncated", shard.documents_truncated as i64);
    part.count("documents_divided", shard.documents_divided as i64);
    part.count("tokens_in", (shard.tokens + shard.tokens_cut) as i64);
    part.count("tokens_stored", shard.tokens as i64);
    part.count("tokens_cut", shard.tokens_cut as i64);
    part.count("padding", shard.padding as i64);
}

/// How often each token occurs in the spans of a split.
fn unigrams_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("split", DataType::Utf8, false),
        Field::new("token", DataType::Int32, false),
        Field::new("count", DataType::Int64, false),
    ]))
}

/// Tokens of documents, one after another, and where each ends.
type Encoded = (Vec<u32>, Vec<usize>);

/// Encodes one file of documents; `spread` over threads where there are too few files for all of them.
fn encode(job: &Source, file: usize, spread: bool, out: &mut EncodedWriter) -> Result<()> {
    let Source { settings, ctx, table, encoder } = job;
    let columns: Vec<&str> = ["id", settings.text.as_str()].into_iter().chain(settings.weight_columns()).collect();
    let frame = out.frame;
    let (mut rejected, mut first_row) = (Vec::new(), 0);
    let encode_texts = |texts: &[&str], (tokens, ends): &mut Encoded| -> Result<()> {
        for text in texts.iter().filter(|text| text.len() <= settings.document_bytes_max) {
            tokens.extend(frame.bos);
            encoder.tokenizer.encode_into(text, tokens)?;
            tokens.extend(frame.eos);
            ends.push(tokens.len());
        }
        Ok(())
    };
    let mut chunks = vec![Encoded::default()];
    for batch in documents::read(table, file, &columns)? {
        ctx.check_stop()?;
        let batch = batch?;
        let (ids, texts, weights) = (batch.ids("id")?, batch.strings(&settings.text)?, settings.weights(&batch)?);
        // A null text is an empty one; `import` lets none through.
        let texts: Vec<&str> = texts.iter().map(Option::unwrap_or_default).collect();
        let size = if spread { CHUNK } else { texts.len().max(1) };
        chunks.resize(texts.len().div_ceil(size), Encoded::default());
        for (tokens, ends) in &mut chunks {
            tokens.clear();
            ends.clear();
        }
        match spread {
            true => chunks.par_iter_mut().zip(texts.par_chunks(size)).try_for_each(|(chunk, texts)| encode_texts(texts, chunk))?,
            false => chunks.iter_mut().zip(texts.chunks(size)).try_for_each(|(chunk, texts)| encode_texts(texts, chunk))?,
        }
        let mut documents = chunks.iter().flat_map(|(tokens, ends)| {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            starts.zip(ends).map(|(start, end)| &tokens[start..*end])
        });
        for (row, text) in texts.iter().enumerate() {
            let id = id(&ids, row);
            let mut reject = |rule, value| rejected.push(Rejected { row: first_row + row, id, rule, value });
            if text.len() > settings.document_bytes_max {
                reject("too_long", Some((text.len() as f64, settings.document_bytes_max as f64)));
                continue;
            }
            let tokens = documents.next().context("a document was not encoded")?;
            match weights.as_ref().map(|weights| weights[row]).transpose() {
                _ if tokens.is_empty() => reject("empty", None),
                Err(fault) => reject(fault.rule, fault.value),
                Ok(weight) => out.push(&id, batch.split(row), weight, tokens)?,
            }
        }
        first_row += texts.len();
    }
    write_rejected(table, file, &rejected, out)
}

/// A document that is in no row, by its row in the file of documents.
struct Rejected {
    row: usize,
    id: [u8; 16],
    rule: &'static str,
    value: Option<(f64, f64)>,
}

/// Rejects are few: where their documents came from is read for them alone.
fn write_rejected(table: &Table, file: usize, rejected: &[Rejected], out: &mut EncodedWriter) -> Result<()> {
    let mut rejected = rejected.iter().peekable();
    let mut first = 0;
    let mut places = documents::read(table, file, &PLACE)?;
    while rejected.peek().is_some() {
        let batch = places.next().context("documents are fewer than they were")??;
        let [source, path, position, line] = PLACE.map(|name| batch.strings(name));
        let (source, path, position, line) = (source?, path?, position?, line?);
        while let Some(Rejected { row, id, rule, value }) = rejected.next_if(|reject| reject.row < first + batch.len()) {
            let row = row - first;
            let line = line.is_valid(row).then(|| line.value(row).parse()).transpose()?;
            out.reject(Reject {
                id: *id,
                source: source.value(row).to_string(),
                path: path.value(row).to_string(),
                position: position.value(row).parse()?,
                line,
                stage: Tokenize::NAME.to_string(),
                rule: rule.to_string(),
                value: *value,
            })?;
        }
        first += batch.len();
    }
    Ok(())
}

/// The number of the first row of each shard in its split.
fn first_rows(ctx: &Context, job: &Job, windows: &[Window]) -> Result<Vec<u64>> {
    let room = job.frame.room();
    let rows: Vec<u64> = match job.settings.packing {
        Packing::Pack => windows.iter().map(|window| window.tokens.div_ceil(room.into())).collect(),
        Packing::OnePerRow => windows.iter().map(|window| window.documents).collect(),
        // How many rows they need shows when they are packed; it is done once more when the shard is written.
        Packing::BestFit => {
            let parts: Vec<Part> = windows.iter().map(|window| Part { bytes: window.documents }).collect();
            job.draft.task(ctx, COUNT, &parts, |index, path| {
                let extents: Vec<Extent> = windows[index].members(&job.paths)?.iter().map(|member| member.extent).collect();
                let rows = job.settings.packing.rows(&extents, room).count();
                std::fs::write(path, rows.to_string()).with_context(|| format!("writing `{}`", path.display()))
            })?;
            let count = |index| -> Result<u64> {
                let path = job.draft.scratch_path(COUNT, index);
                let text = std::fs::read_to_string(&path).with_context(|| format!("reading `{}`", path.display()))?;
                text.parse().with_context(|| format!("`{}` is no number", path.display()))
            };
            (0..windows.len()).map(count).collect::<Result<_>>()?
        }
    };
    let mut next = 0;
    Ok(std::iter::zip(windows, rows)
        .map(|(window, rows)| {
            let first = if window.number == 0 { 0 } else { next };
            next = first + rows;
            first
        })
        .collect())
}

fn write_unigrams(plan: &Plan, part: &mut PartWriter) -> Result<()> {
    for (split, counts) in &plan.unigrams {
        let seen: Vec<(usize, u64)> = counts.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(seen.iter().map(|_| split))),
            Arc::new(Int32Array::from_iter_values(seen.iter().map(|(token, _)| *token as i32))),
            Arc::new(Int64Array::from_iter_values(seen.iter().map(|(_, count)| *count as i64))),
        ];
        part.write("unigrams", &RecordBatch::try_new(unigrams_schema(), columns)?)?;
    }
    Ok(())
}

/// Gives the number of rejects of each rule.
fn write_rejects(ctx: &Context, job: &Job, plan: &Plan, part: &mut PartWriter) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    if !plan.rejects {
        return Ok(counts);
    }
    let mut rejects = Vec::new();
    for path in &job.paths {
        ctx.check_stop()?;
        let mut entries = Entries::open(path, 0)?;
        while let Some(entry) = entries.next()? {
            let Entry::Reject(reject) = entry else { continue };
            *counts.entry(reject.rule.clone()).or_default() += 1;
            rejects.push(reject);
            if rejects.len() == REJECTS_BATCH {
                write_some_rejects(&std::mem::take(&mut rejects), part)?;
            }
        }
    }
    write_some_rejects(&rejects, part)?;
    Ok(counts)
}

fn write_some_rejects(rejects: &[Reject], part: &mut PartWriter) -> Result<()> {
    let n = rejects.len();
    let text = |value: fn(&Reject) -> &String| -> ArrayRef { Arc::new(StringArray::from_iter_values(rejects.iter().map(value))) };
    let number = |value: fn(&(f64, f64)) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter(rejects.iter().map(|reject| reject.value.as_ref().map(value))))
    };
    let ids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(rejects.iter().map(|reject| Some(reject.id)), 16)?;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ids),
        text(|reject| &reject.source),
        text(|reject| &reject.path),
        Arc::new(Int64Array::from_iter_values(rejects.iter().map(|reject| reject.position))),
        Arc::new(Int64Array::from_iter(rejects.iter().map(|reject| reject.line))),
        text(|reject| &reject.stage),
        text(|reject| &reject.rule),
        number(|(value, _)| *value),
        number(|(_, threshold)| *threshold),
        new_null_array(&schema::ID, n),
        new_null_array(&DataType::Float64, n),
        new_null_array(&DataType::Utf8, n),
    ];
    part.count("documents_in", n as i64);
    part.count("documents_rejected", n as i64);
    part.write("rejects", &RecordBatch::try_new(schema::rejects(), columns)?)
}
