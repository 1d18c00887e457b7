//! Writes one shard: packs the documents of its window and puts their tokens into rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{ArrayRef, FixedSizeBinaryArray, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::{Context, PartWriter, schema};
use shards::{Extent, Piece, Span, TokenFile, packed};

use super::encoded::Document;
use super::packed::Job;
use super::plan::{Member, Window};
use super::summary::Shard;

/// Rows of the table `spans` that are written at once.
const SPANS_BATCH: usize = 1 << 14;

/// One row for each piece of a document.
pub(super) fn spans_schema(weights: bool) -> SchemaRef {
    let number = |name| Field::new(name, DataType::Int64, false);
    let mut fields = vec![
        Field::new("split", DataType::Utf8, false),
        number("row"),
        Field::new("document", schema::ID, false),
        number("start"),
        number("length"),
    ];
    fields.extend(weights.then(|| Field::new("weight", DataType::Float32, false)));
    Arc::new(Schema::new(fields))
}

/// Writes the shard and its spans; `first_row` numbers its rows in the split.
pub(super) fn write_shard(ctx: &Context, job: &Job, window: &Window, first_row: u64, part: &mut PartWriter) -> Result<Shard> {
    let (frame, width) = (&job.frame, job.encoder.width);
    let mut shard = Shard { format: job.settings.format, ..Shard::new(&window.split, window.number) };
    let members = window.members(&job.paths)?;
    let extents: Vec<Extent> = members.iter().map(|member| member.extent).collect();
    let rows = job.settings.packing.rows(&extents, frame.room());
    let files = files(job, &members, window)?;
    let mut context = match window.before.filter(|_| frame.overlap) {
        Some((file, token)) => width.last(files[&file].bytes(token..token + 1)?).context("a token has bytes")?,
        None => frame.context,
    };
    let weights = job.settings.has_weights();
    let mut writer = packed::Writer::with(&job.draft.file(&shard.relative())?, frame.row_tokens, width, weights)?;
    let mut spans = Spans::new(&window.split, weights);
    let mut row_pieces = Vec::new();
    for (row, pieces) in (first_row..).zip(rows.iter()) {
        if row.is_multiple_of(1024) {
            ctx.check_stop()?;
        }
        for piece in pieces {
            let member = &members[piece.document as usize];
            let first = member.token + u64::from(piece.start);
            let tokens = files[&member.file].bytes(first..first + u64::from(piece.length))?;
            let span = span(&members, piece);
            spans.push(row, &span, part)?;
            row_pieces.push((span, tokens));
        }
        note(&mut shard, &members, pieces, frame.room());
        let last = row_pieces.last().and_then(|(_, tokens)| width.last(tokens));
        writer.push_pieces(context, frame.padding, row_pieces.drain(..))?;
        if frame.overlap {
            context = last.unwrap_or(context);
        }
    }
    writer.finish()?;
    spans.flush(part)?;
    Ok(shard)
}

fn span(members: &[Member], piece: &Piece) -> Span {
    let Document { id: document, weight, .. } = members[piece.document as usize].document;
    Span { document, start: piece.start.into(), length: piece.length as i32, weight: weight.unwrap_or(1.0) }
}

/// The files that hold tokens of the window, and the token before it.
fn files(job: &Job, members: &[Member], window: &Window) -> Result<BTreeMap<usize, TokenFile>> {
    let files: BTreeSet<usize> = members.iter().map(|member| member.file).chain(window.before.map(|(file, _)| file)).collect();
    files.into_iter().map(|file| Ok((file, TokenFile::open(&job.paths[file], job.encoder.width)?))).collect()
}

/// Adds a row to the totals.
fn note(shard: &mut Shard, members: &[Member], pieces: &[Piece], room: u32) {
    let tokens: u32 = pieces.iter().map(|piece| piece.length).sum();
    shard.rows += 1;
    shard.tokens += u64::from(tokens);
    shard.padding += u64::from(room - tokens);
    // What is told of a document is told where it begins.
    for piece in pieces.iter().filter(|piece| piece.start == 0) {
        let document = &members[piece.document as usize].document;
        shard.documents += 1;
        shard.documents_divided += u64::from(piece.length < document.length);
        shard.documents_truncated += u64::from(document.cut > 0);
        shard.tokens_cut += u64::from(document.cut);
    }
}

/// Rows of the table `spans` that are not written yet.
struct Spans<'a> {
    split: &'a str,
    rows: Vec<i64>,
    documents: Vec<u8>,
    starts: Vec<i64>,
    lengths: Vec<i64>,
    weights: Option<Vec<f32>>,
}

impl<'a> Spans<'a> {
    fn new(split: &'a str, weights: bool) -> Spans<'a> {
        let (rows, documents, starts, lengths) = Default::default();
        Spans { split, rows, documents, starts, lengths, weights: weights.then(Vec::new) }
    }

    fn push(&mut self, row: u64, span: &Span, part: &mut PartWriter) -> Result<()> {
        self.rows.push(row as i64);
        self.documents.extend_from_slice(&span.document);
        self.starts.push(span.start);
        self.lengths.push(span.length.into());
        self.weights.iter_mut().for_each(|weights| weights.push(span.weight));
        if self.rows.len() == SPANS_BATCH { self.flush(part) } else { Ok(()) }
    }

    fn flush(&mut self, part: &mut PartWriter) -> Result<()> {
        let n = self.rows.len();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(self.split, n))),
            Arc::new(Int64Array::from(std::mem::take(&mut self.rows))),
            Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(std::mem::take(&mut self.documents)), None)?),
            Arc::new(Int64Array::from(std::mem::take(&mut self.starts))),
            Arc::new(Int64Array::from(std::mem::take(&mut self.lengths))),
        ];
        let weights = self.weights.as_mut().map(std::mem::take);
        columns.extend(weights.map(|weights| Arc::new(Float32Array::from(weights)) as ArrayRef));
        part.write("spans", &RecordBatch::try_new(spans_schema(self.weights.is_some()), columns)?)
    }
}
