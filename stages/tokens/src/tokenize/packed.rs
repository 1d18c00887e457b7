//! The packed layout: documents are encoded file by file in parallel into scratch files, then packed in order, one stream for each split.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::{Context, Draft, Part, PartWriter, Table, schema};
use shards::{Packer, Row, packed};

use super::summary::{self, Shard};
use super::{Encoder, Tokenize};
use crate::documents::{self, id};

const ENCODE: &str = "encode";
/// A shard is closed at about this many tokens: 64 MiB at two bytes each.
const SHARD_TOKENS: usize = 32 << 20;
/// Rows of the table `spans` that are written at once.
const SPANS_BATCH: usize = 1 << 14;

pub(super) fn run(settings: &Tokenize, ctx: &Context, table: &Table, encoder: &Encoder, draft: &Draft) -> Result<()> {
    for column in ["id", settings.text.as_str()] {
        table.column(column)?;
    }
    run_encoded(settings, ctx, &table.plan(), encoder, draft, |file, path| encode(settings, ctx, table, file, encoder, path))
}

/// Packs what `encode` writes for each part, by [`write_encoded`] and [`write_empty`].
pub(crate) fn run_encoded(
    settings: &Tokenize,
    ctx: &Context,
    plan: &[Part],
    encoder: &Encoder,
    draft: &Draft,
    encode: impl Fn(usize, &Path) -> Result<()> + Sync,
) -> Result<()> {
    draft.declare("rejects", schema::rejects())?;
    draft.declare("spans", spans_schema())?;
    draft.declare("unigrams", unigrams_schema())?;
    draft.declare(summary::STATISTICS, summary::statistics_schema())?;
    draft.task(ctx, ENCODE, plan, encode)?;
    // Packing is one stream for each split, whose rows hang on all documents before, so it is one part; it is fast.
    let whole = [Part { bytes: plan.iter().map(|part| part.bytes).sum() }];
    draft.parts(ctx, &whole, |index, part| {
        let mut streams = Streams { settings, encoder, draft, splits: BTreeMap::new(), spans: Spans::default() };
        let documents = pack(ctx, plan.len(), &mut streams, part)?;
        let shards = streams.finish(part)?;
        let tokens = shards.iter().map(|shard| shard.tokens as i64).sum();
        for (unit, n) in [("documents", documents), ("tokens", tokens)] {
            part.count(&format!("{unit}_in"), n);
            part.count(&format!("{unit}_stored"), n);
        }
        summary::note(draft, index, part, &shards)
    })?;
    summary::finish(draft, 1, |path| {
        packed::Writer::create(&path, settings.row_tokens(), encoder.width)?.finish()?;
        Ok(())
    })
}

/// One row for each piece of a document.
fn spans_schema() -> SchemaRef {
    let number = |name| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        Field::new("split", DataType::Utf8, false),
        number("row"),
        Field::new("document", schema::ID, false),
        number("start"),
        number("length"),
    ]))
}

/// How often each token occurs in the spans of a split.
fn unigrams_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("split", DataType::Utf8, false),
        Field::new("token", DataType::Int32, false),
        Field::new("count", DataType::Int64, false),
    ]))
}

/// Writes the tokens of one file of documents: id, split, number of tokens, tokens.
fn encode(settings: &Tokenize, ctx: &Context, table: &Table, file: usize, encoder: &Encoder, path: &Path) -> Result<()> {
    let failed = || format!("writing `{}`", path.display());
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).with_context(failed)?);
    for batch in documents::read(table, file, &["id", &settings.text])? {
        ctx.check_stop()?;
        let batch = batch?;
        let (ids, texts) = (batch.ids("id")?, batch.strings(&settings.text)?);
        // A null text is an empty one; `import` lets none through.
        let all: Vec<&str> = texts.iter().map(Option::unwrap_or_default).collect();
        for (row, mut tokens) in encoder.tokenizer.encode_batch(&all)?.into_iter().enumerate() {
            tokens.push(encoder.end);
            write_encoded(&mut out, &id(&ids, row), batch.split(row), &tokens).with_context(failed)?;
        }
    }
    out.flush().with_context(failed)
}

/// A document on its way to the packing: id, split, number of tokens, tokens.
pub(crate) fn write_encoded(out: &mut impl Write, id: &[u8; 16], split: &str, tokens: &[u32]) -> std::io::Result<()> {
    out.write_all(id)?;
    for length in [split.len(), tokens.len()] {
        out.write_all(&(length as u32).to_le_bytes())?;
    }
    out.write_all(split.as_bytes())?;
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    out.write_all(&bytes)
}

/// A document without tokens, which no row can hold: in place of the split, where it lies. It becomes a reject.
pub(crate) fn write_empty(out: &mut impl Write, id: &[u8; 16], path: &str, position: u64) -> std::io::Result<()> {
    write_encoded(out, id, &format!("{position} {path}"), &[])
}

fn reject_empty(id: [u8; 16], place: &str, part: &mut PartWriter) -> Result<()> {
    let (position, path) = place.split_once(' ').context("an empty document has no place")?;
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let schema = schema::rejects();
    let mut columns: Vec<ArrayRef> = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    columns[0] = Arc::new(FixedSizeBinaryArray::try_from_iter([id].into_iter())?);
    columns[1] = text("import-tokens");
    columns[2] = text(path);
    columns[3] = Arc::new(Int64Array::from(vec![position.parse::<i64>()?]));
    columns[5] = text("import-tokens");
    columns[6] = text("empty");
    part.count("documents_in", 1);
    part.count("documents_rejected", 1);
    part.write("rejects", &RecordBatch::try_new(schema, columns)?)
}

/// Reads all scratch files in order; returns the number of documents.
fn pack(ctx: &Context, files: usize, streams: &mut Streams, part: &mut PartWriter) -> Result<i64> {
    let mut documents = 0;
    for file in 0..files {
        ctx.check_stop()?;
        let path = streams.draft.scratch_path(ENCODE, file);
        let failed = || format!("reading `{}`", path.display());
        let mut reader = BufReader::with_capacity(1 << 20, File::open(&path).with_context(failed)?);
        let mut header = [0; 24];
        while read_or_end(&mut reader, &mut header).with_context(failed)? {
            let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes")) as usize;
            let mut split = vec![0; number(16)];
            let mut bytes = vec![0; number(20) * 4];
            reader.read_exact(&mut split).and_then(|()| reader.read_exact(&mut bytes)).with_context(failed)?;
            let tokens: Vec<u32> = bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().expect("four bytes"))).collect();
            let document = header[..16].try_into().expect("sixteen bytes");
            let split = std::str::from_utf8(&split).with_context(failed)?;
            if tokens.is_empty() {
                reject_empty(document, split, part)?;
                continue;
            }
            streams.push(split, document, &tokens, part)?;
            documents += 1;
        }
    }
    Ok(documents)
}

/// Fills the buffer; false at the end of the file.
fn read_or_end(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    let read = reader.read(&mut buffer[..1])?;
    if read == 0 {
        return Ok(false);
    }
    reader.read_exact(&mut buffer[1..]).map(|()| true)
}

/// All splits while they are packed.
struct Streams<'a> {
    settings: &'a Tokenize,
    encoder: &'a Encoder,
    draft: &'a Draft,
    splits: BTreeMap<String, Stream>,
    spans: Spans,
}

struct Stream {
    packer: Packer,
    writer: Option<packed::Writer>,
    shards: Vec<Shard>,
    rows: u64,
    unigrams: Vec<i64>,
}

impl Streams<'_> {
    fn push(&mut self, split: &str, document: [u8; 16], tokens: &[u32], part: &mut PartWriter) -> Result<()> {
        if !self.splits.contains_key(split) {
            self.splits.insert(split.to_string(), self.start());
        }
        let stream = self.splits.get_mut(split).expect("inserted above");
        for token in tokens {
            stream.unigrams[*token as usize] += 1;
        }
        let mut rows = Vec::new();
        let Ok(()) = stream.packer.push(document, tokens, |row| -> Result<(), std::convert::Infallible> {
            rows.push(row);
            Ok(())
        });
        for row in rows {
            write_row(self.settings, self.encoder, self.draft, &mut self.spans, split, stream, row, part)?;
        }
        Ok(())
    }

    fn start(&self) -> Stream {
        let (first, overlap) = match self.encoder.begin {
            Some(begin) => (begin, false),
            None => (self.encoder.end, true),
        };
        Stream {
            packer: Packer::new(self.settings.row_tokens(), first, overlap, self.encoder.padding),
            writer: None,
            shards: Vec::new(),
            rows: 0,
            unigrams: vec![0; self.encoder.tokenizer.vocabulary_size()],
        }
    }

    fn finish(mut self, part: &mut PartWriter) -> Result<Vec<Shard>> {
        let mut shards = Vec::new();
        for (split, mut stream) in std::mem::take(&mut self.splits) {
            let packer = std::mem::replace(&mut stream.packer, Packer::new(2, 0, false, 0));
            if let Some(row) = packer.finish() {
                write_row(self.settings, self.encoder, self.draft, &mut self.spans, &split, &mut stream, row, part)?;
            }
            if let Some(writer) = stream.writer.take() {
                writer.finish()?;
            }
            write_unigrams(&split, &stream.unigrams, part)?;
            shards.append(&mut stream.shards);
        }
        self.spans.flush(part)?;
        Ok(shards)
    }
}

#[expect(clippy::too_many_arguments, reason = "the stream is borrowed out of the streams whose other fields it needs")]
fn write_row(
    settings: &Tokenize,
    encoder: &Encoder,
    draft: &Draft,
    spans: &mut Spans,
    split: &str,
    stream: &mut Stream,
    row: Row,
    part: &mut PartWriter,
) -> Result<()> {
    let full = |writer: &packed::Writer| writer.rows() as usize * settings.row_tokens() >= SHARD_TOKENS;
    if stream.writer.as_ref().is_some_and(full) {
        stream.writer.take().map(packed::Writer::finish).transpose()?;
    }
    let writer = match &mut stream.writer {
        Some(writer) => writer,
        none => {
            let shard = Shard::new(split, stream.shards.len());
            let path = draft.file(&shard.relative())?;
            stream.shards.push(shard);
            none.insert(packed::Writer::create(&path, settings.row_tokens(), encoder.width)?)
        }
    };
    let shard = stream.shards.last_mut().expect("a writer has a shard");
    let tokens: u64 = row.spans.iter().map(|span| span.length as u64).sum();
    shard.rows += 1;
    shard.tokens += tokens;
    shard.padding += row.tokens.len() as u64 - 1 - tokens;
    shard.documents += row.spans.iter().filter(|span| span.start == 0).count() as u64;
    for span in &row.spans {
        spans.push(split, stream.rows, span);
    }
    stream.rows += 1;
    if spans.splits.len() >= SPANS_BATCH {
        spans.flush(part)?;
    }
    writer.push(row)
}

fn write_unigrams(split: &str, counts: &[i64], part: &mut PartWriter) -> Result<()> {
    let seen: Vec<(usize, i64)> = counts.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(seen.iter().map(|_| split))),
        Arc::new(arrow::array::Int32Array::from_iter_values(seen.iter().map(|(token, _)| *token as i32))),
        Arc::new(Int64Array::from_iter_values(seen.iter().map(|(_, count)| *count))),
    ];
    part.write("unigrams", &RecordBatch::try_new(unigrams_schema(), columns)?)
}

/// Rows of the table `spans` that are not written yet.
#[derive(Default)]
struct Spans {
    splits: Vec<String>,
    rows: Vec<i64>,
    documents: Vec<[u8; 16]>,
    starts: Vec<i64>,
    lengths: Vec<i64>,
}

impl Spans {
    fn push(&mut self, split: &str, row: u64, span: &shards::Span) {
        self.splits.push(split.to_string());
        self.rows.push(row as i64);
        self.documents.push(span.document);
        self.starts.push(span.start);
        self.lengths.push(i64::from(span.length));
    }

    fn flush(&mut self, part: &mut PartWriter) -> Result<()> {
        if self.splits.is_empty() {
            return Ok(());
        }
        let spans = std::mem::take(self);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(spans.splits)),
            Arc::new(Int64Array::from(spans.rows)),
            Arc::new(FixedSizeBinaryArray::try_from_iter(spans.documents.into_iter())?),
            Arc::new(Int64Array::from(spans.starts)),
            Arc::new(Int64Array::from(spans.lengths)),
        ];
        part.write("spans", &RecordBatch::try_new(spans_schema(), columns)?)
    }
}
