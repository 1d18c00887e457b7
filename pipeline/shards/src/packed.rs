//! The packed layout: `tokens` FixedSizeList[n] and `spans` List<{document, start, length}>, with a `weight` f32 where documents have weights.
//!
//! Token 0 of a row is context, the spans tile the row from index 1, what follows is padding; which documents share a row, the module `packing`
//! says. For a causal model and sequence length n a row has n + 1 tokens: inputs are 0..n, targets 1..=n.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, Int32Array, Int64Array, ListArray, RecordBatch, StructArray,
};
use arrow::buffer::{Buffer, MutableBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Float32Type, Int32Type, Int64Type, Schema, SchemaRef};

use crate::packing::Span;
use crate::shard::{ShardFile, ShardSet, ShardWriter};
use crate::tokens::{Width, append, tokens_type};

/// Rows of one batch inside a shard hold about this many tokens.
const BATCH_TOKENS: usize = 1 << 18;

/// A whole row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub tokens: Vec<u32>,
    /// They tile the row from index 1; what follows them is padding.
    pub spans: Vec<Span>,
}

fn span_fields(weights: bool) -> Fields {
    let mut fields = vec![
        Field::new("document", DataType::FixedSizeBinary(16), false),
        Field::new("start", DataType::Int64, false),
        Field::new("length", DataType::Int32, false),
    ];
    fields.extend(weights.then(|| Field::new("weight", DataType::Float32, false)));
    Fields::from(fields)
}

fn spans_type(weights: bool) -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Struct(span_fields(weights)), false))
}

/// The schema of packed shards with `row_tokens` tokens a row.
pub fn schema(row_tokens: usize, width: Width, weights: bool) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("tokens", DataType::FixedSizeList(tokens_type(width), row_tokens as i32), false),
        Field::new("spans", DataType::List(spans_type(weights)), false),
    ]))
}

/// Writes one packed shard.
pub struct Writer {
    schema: SchemaRef,
    shard: ShardWriter,
    row_tokens: usize,
    width: Width,
    weights: bool,
    pending: Pending,
    /// To be used again for each row.
    bytes: Vec<u8>,
    rows: u64,
}

/// Rows that are not written yet, column by column.
struct Pending {
    tokens: MutableBuffer,
    /// Spans of each row.
    counts: Vec<usize>,
    documents: Vec<u8>,
    starts: Vec<i64>,
    lengths: Vec<i32>,
    weights: Vec<f32>,
}

impl Pending {
    /// Room for a batch, so that nothing is moved while it grows.
    fn new(row_tokens: usize, width: Width) -> Pending {
        let tokens = MutableBuffer::with_capacity((BATCH_TOKENS + row_tokens) * width.bytes());
        let (counts, documents, starts, lengths, weights) = Default::default();
        Pending { tokens, counts, documents, starts, lengths, weights }
    }

    fn push_span(&mut self, span: &Span) {
        self.documents.extend_from_slice(&span.document);
        self.starts.push(span.start);
        self.lengths.push(span.length);
        self.weights.push(span.weight);
    }
}

impl Writer {
    /// Creates the file; every row must have `row_tokens` tokens. A name that ends in `.parquet` makes a Parquet file, which tools read, but no
    /// [`Reader`].
    pub fn create(path: &Path, row_tokens: usize, width: Width) -> Result<Writer> {
        Writer::with(path, row_tokens, width, false)
    }

    /// As [`Writer::create`], of a shard that holds the weights of documents, or not.
    pub fn with(path: &Path, row_tokens: usize, width: Width, weights: bool) -> Result<Writer> {
        let schema = schema(row_tokens, width, weights);
        let shard = ShardWriter::create(path, &schema)?;
        Ok(Writer { schema, shard, row_tokens, width, weights, pending: Pending::new(row_tokens, width), bytes: Vec::new(), rows: 0 })
    }

    pub fn push(&mut self, row: Row) -> Result<()> {
        assert_eq!(row.tokens.len(), self.row_tokens, "rows of one shard are of one length");
        self.push_ids(&row.tokens);
        row.spans.iter().for_each(|span| self.pending.push_span(span));
        self.close_row(row.spans.len())
    }

    /// Appends a row: its context, the pieces with their tokens (little endian, as wide as the shard's), then padding.
    pub fn push_pieces<'a>(&mut self, context: u32, padding: u32, pieces: impl IntoIterator<Item = (Span, &'a [u8])>) -> Result<()> {
        let end = (self.pending.counts.len() + 1) * self.row_tokens * self.width.bytes();
        self.push_ids(&[context]);
        let mut spans = 0;
        for (span, tokens) in pieces {
            debug_assert_eq!(tokens.len(), span.length as usize * self.width.bytes());
            self.pending.tokens.extend_from_slice(tokens);
            self.pending.push_span(&span);
            spans += 1;
        }
        let missing = end.checked_sub(self.pending.tokens.len()).expect("the pieces of a row fit into it");
        self.push_ids(&vec![padding; missing / self.width.bytes()]);
        self.close_row(spans)
    }

    fn push_ids(&mut self, ids: &[u32]) {
        self.bytes.clear();
        self.width.append_bytes(ids, &mut self.bytes);
        self.pending.tokens.extend_from_slice(&self.bytes);
    }

    fn close_row(&mut self, spans: usize) -> Result<()> {
        self.pending.counts.push(spans);
        self.rows += 1;
        if self.pending.counts.len() * self.row_tokens >= BATCH_TOKENS {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the rest; returns the number of rows.
    pub fn finish(mut self) -> Result<u64> {
        self.flush()?;
        self.shard.finish()?;
        Ok(self.rows)
    }

    fn flush(&mut self) -> Result<()> {
        if self.pending.counts.is_empty() {
            return Ok(());
        }
        let Pending { tokens, counts, documents, starts, lengths, weights } =
            std::mem::replace(&mut self.pending, Pending::new(self.row_tokens, self.width));
        let tokens =
            FixedSizeListArray::try_new(tokens_type(self.width), self.row_tokens as i32, self.width.array_of_bytes(tokens.into()), None)?;
        let documents = FixedSizeBinaryArray::try_new(16, Buffer::from_vec(documents), None)?;
        let (starts, lengths) = (Int64Array::from(starts), Int32Array::from(lengths));
        let mut inner: Vec<ArrayRef> = vec![Arc::new(documents), Arc::new(starts), Arc::new(lengths)];
        if self.weights {
            inner.push(Arc::new(Float32Array::from(weights)));
        }
        let inner = StructArray::try_new(span_fields(self.weights), inner, None)?;
        let spans = ListArray::try_new(spans_type(self.weights), OffsetBuffer::from_lengths(counts), Arc::new(inner), None)?;
        let batch = RecordBatch::try_new(self.schema.clone(), vec![Arc::new(tokens), Arc::new(spans)])?;
        self.shard.write(&batch)
    }
}

/// The packed shards of one split, mapped into memory at first use. Rows are numbered over all shards.
pub struct Reader {
    set: ShardSet,
}

impl Reader {
    /// Opens nothing yet; the row counts come from the manifest.
    pub fn new(files: &[ShardFile]) -> Reader {
        Reader { set: ShardSet::new(files, is_packed) }
    }

    pub fn rows(&self) -> u64 {
        self.set.rows()
    }

    /// Appends the tokens of a row to `out`, padding included.
    ///
    /// # Errors
    /// If the shard is damaged, cut short or has another number of rows, naming the file.
    pub fn append_tokens(&self, row: u64, out: &mut Vec<i64>) -> Result<()> {
        let (batch, index) = self.set.locate(row)?;
        let list = batch.column(0).as_fixed_size_list();
        let length = list.value_length() as usize;
        append(list.values(), list.value_offset(index) as usize, length, out);
        Ok(())
    }

    /// How many tokens of the row are not padding: 1 for the context, then the spans. The targets of a causal model are tokens 1 to this.
    pub fn used(&self, row: u64) -> Result<usize> {
        let (batch, index) = self.set.locate(row)?;
        self.used_in(batch, index, row)
    }

    /// Appends the tokens of a row to `out` without padding; returns how many there are.
    pub fn append_used(&self, row: u64, out: &mut Vec<i64>) -> Result<usize> {
        let (batch, index) = self.set.locate(row)?;
        let used = self.used_in(batch, index, row)?;
        let list = batch.column(0).as_fixed_size_list();
        append(list.values(), list.value_offset(index) as usize, used, out);
        Ok(used)
    }

    /// Where the documents of a row begin; see [`crate::boundaries`].
    pub fn boundaries(&self, row: u64) -> Result<Vec<usize>> {
        let (batch, index) = self.set.locate(row)?;
        self.used_in(batch, index, row)?;
        Ok(crate::boundaries(span_lengths(batch, index).iter().map(|length| *length as usize)))
    }

    /// The weight of each token's document, padding left out; `None` where the shard has none. The context counts as the document after it.
    pub fn weights(&self, row: u64) -> Result<Option<Vec<f32>>> {
        let (batch, index) = self.set.locate(row)?;
        let used = self.used_in(batch, index, row)?;
        let (inner, range) = spans_of(batch, index);
        let Some(weights) = weights_of(inner) else { return Ok(None) };
        let weights = &weights[range];
        let mut of_tokens = Vec::with_capacity(used);
        of_tokens.push(weights.first().copied().unwrap_or(1.0));
        for (weight, length) in weights.iter().zip(span_lengths(batch, index)) {
            of_tokens.resize(of_tokens.len() + *length as usize, *weight);
        }
        Ok(Some(of_tokens))
    }

    /// The file that holds a row, and the row's place in it.
    pub fn file(&self, row: u64) -> Result<(&Path, u64)> {
        self.set.file(row)
    }

    fn used_in(&self, batch: &RecordBatch, index: usize, row: u64) -> Result<usize> {
        let room = batch.column(0).as_fixed_size_list().value_length() as usize - 1;
        let fits = |sum: usize, length: &i32| usize::try_from(*length).ok()?.checked_add(sum).filter(|sum| *sum <= room);
        match span_lengths(batch, index).iter().try_fold(0, fits) {
            Some(sum) => Ok(1 + sum),
            None => Err(self.set.damaged(row, "its spans do not fit into it")),
        }
    }

    /// The spans of a row, in order.
    pub fn spans(&self, row: u64) -> Result<Vec<Span>> {
        let (batch, index) = self.set.locate(row)?;
        self.used_in(batch, index, row)?;
        let (inner, range) = spans_of(batch, index);
        let documents = inner.column(0).as_fixed_size_binary();
        let starts = inner.column(1).as_primitive::<Int64Type>();
        let lengths = inner.column(2).as_primitive::<Int32Type>();
        let weights = weights_of(inner);
        Ok(range
            .map(|i| Span {
                document: documents.value(i).try_into().expect("the column is 16 bytes wide"),
                start: starts.value(i),
                length: lengths.value(i),
                weight: weights.map_or(1.0, |weights| weights[i]),
            })
            .collect())
    }
}

fn spans_of(batch: &RecordBatch, index: usize) -> (&StructArray, std::ops::Range<usize>) {
    let list = batch.column(1).as_list::<i32>();
    let offsets = list.value_offsets();
    (list.values().as_struct(), offsets[index] as usize..offsets[index + 1] as usize)
}

/// The weights of all spans of a batch, where it has any.
fn weights_of(spans: &StructArray) -> Option<&[f32]> {
    spans.columns().get(3).map(|weights| &weights.as_primitive::<Float32Type>().values()[..])
}

fn span_lengths(batch: &RecordBatch, index: usize) -> &[i32] {
    let (spans, range) = spans_of(batch, index);
    &spans.column(2).as_primitive::<Int32Type>().values()[range]
}

/// Whether these are the columns of [`schema`], for any length of rows, with weights or without.
fn is_packed(found: &Schema) -> bool {
    match found.fields().first().map(|field| field.data_type()) {
        Some(DataType::FixedSizeList(_, row_tokens)) => {
            let is = |width: &Width, weights| found.fields() == schema(*row_tokens as usize, *width, weights).fields();
            Width::ALL.iter().any(|width| is(width, false) || is(width, true))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: u32) -> Row {
        let document = u128::from(n).to_le_bytes();
        let spans = (0..n % 3).map(|i| Span { document, start: i64::from(i), length: 1, weight: 1.0 }).collect();
        Row { tokens: vec![n, n + 1, n + 2], spans }
    }

    fn write(path: &Path, rows: std::ops::Range<u32>, width: Width) -> ShardFile {
        let mut writer = Writer::create(path, 3, width).unwrap();
        for n in rows {
            writer.push(row(n)).unwrap();
        }
        ShardFile { path: path.to_path_buf(), rows: writer.finish().unwrap(), bytes: None }
    }

    #[test]
    fn rows_come_back_from_any_shard_in_any_order() {
        for width in [Width::U16, Width::U32] {
            let folder = tempfile::tempdir().unwrap();
            let path = |n: u32| folder.path().join(format!("shard-{n}.arrow"));
            // More than one batch in the second shard.
            let files = [write(&path(0), 0..5, width), write(&path(1), 5..5, width), write(&path(2), 5..60_000, width)];
            let reader = Reader::new(&files);
            assert_eq!(reader.rows(), 60_000);
            for n in [59_999, 0, 4, 5, 30_000, 6] {
                let mut tokens = Vec::new();
                reader.append_tokens(n, &mut tokens).unwrap();
                let n = n as u32;
                assert_eq!(tokens, row(n).tokens.iter().map(|id| i64::from(*id)).collect::<Vec<_>>());
                assert_eq!(reader.spans(u64::from(n)).unwrap(), row(n).spans);
                assert_eq!(reader.used(u64::from(n)).unwrap(), 1 + n as usize % 3);
                let mut used = Vec::new();
                assert_eq!(reader.append_used(u64::from(n), &mut used).unwrap(), used.len());
                assert_eq!(used, tokens[..1 + n as usize % 3]);
            }
            assert_eq!(reader.spans(60_000).unwrap_err().to_string(), "row 60000 of 60000 rows");
        }
    }

    #[test]
    fn weights_stand_beside_spans_where_they_were_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let span = |n: u8, length, weight| Span { document: [n; 16], start: 0, length, weight };
        let rows = [vec![span(1, 2, 0.5), span(2, 1, 3.0)], vec![span(3, 1, 0.0)], vec![]];
        let mut files = Vec::new();
        for weights in [true, false] {
            let path = folder.path().join(format!("{weights}.arrow"));
            let mut writer = Writer::with(&path, 4, Width::U16, weights).unwrap();
            rows.iter().for_each(|spans| writer.push(Row { tokens: vec![0, 1, 2, 3], spans: spans.clone() }).unwrap());
            files.push(ShardFile { path, rows: writer.finish().unwrap(), bytes: None });
        }
        // Shards with and without may stand in one split.
        let reader = Reader::new(&files);
        let found: Vec<Option<Vec<f32>>> = (0..6).map(|row| reader.weights(row).unwrap()).collect();
        assert_eq!(found, [Some(vec![0.5, 0.5, 0.5, 3.0]), Some(vec![0.0, 0.0]), Some(vec![1.0]), None, None, None]);
        assert_eq!(reader.spans(0).unwrap(), rows[0]);
        assert_eq!(reader.spans(3).unwrap().iter().map(|span| span.weight).collect::<Vec<_>>(), [1.0, 1.0]);
        let plain = folder.path().join("plain.arrow");
        let mut writer = Writer::create(&plain, 4, Width::U16).unwrap();
        rows.iter().for_each(|spans| writer.push(Row { tokens: vec![0, 1, 2, 3], spans: spans.clone() }).unwrap());
        writer.finish().unwrap();
        assert_eq!(std::fs::read(plain).unwrap(), std::fs::read(&files[1].path).unwrap());
    }

    #[test]
    fn a_damaged_shard_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard-00000.arrow");
        let file = write(&path, 0..100, Width::U16);
        let whole = std::fs::read(&path).unwrap();
        let altered = ShardFile { bytes: Some(whole.len() as u64 + 1), ..file.clone() };
        let error = format!("{:#}", Reader::new(&[altered]).used(3).unwrap_err());
        assert!(error.contains(&format!("has {} bytes, the manifest says {}", whole.len(), whole.len() + 1)), "{error}");
        for length in [0, 5, 50, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = Reader::new(std::slice::from_ref(&file)).used(3).unwrap_err().to_string();
            assert!(error.contains("shard-00000.arrow` is damaged or cut short"), "{error}");
        }
        std::fs::write(&path, &whole).unwrap();
        let error = Reader::new(&[ShardFile { path, rows: 99, bytes: None }]).used(3).unwrap_err().to_string();
        assert!(error.contains("has 100 rows, the manifest says 99"), "{error}");
    }

    #[test]
    fn wide_vocabularies_need_wide_tokens() {
        assert_eq!(Width::for_vocabulary(65_536), Width::U16);
        assert_eq!(Width::for_vocabulary(65_537), Width::U32);
    }
}
