//! The documents of earlier steps, `against` which a corpus is deduplicated: their hashes from a stored table `index`, or from their texts; and
//! the shingles of those few that pairs are checked with, which no artifact stores because they take more room than the texts.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanBuilder, FixedSizeBinaryBuilder, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::{Artifact, Context, Part, Table};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use super::features::Features;
use super::index::{Index, SegmentHashes};
use super::index_writer::{Entry, IndexWriter};
use super::settings::{Dedup, Method};
use crate::bins::read_u64s;
use crate::documents::id_at;

pub const TABLE: &str = "index";
/// Raised when hashes or the table's form change.
const FORMAT: u32 = 1;
const BATCH_ROWS: usize = 2048;

/// The kept documents of earlier steps, one part per file.
pub struct Against {
    parts: Vec<OldPart>,
}

struct OldPart {
    documents: Arc<Table>,
    /// The table `index` when its hashes are those that are needed.
    index: Option<Arc<Table>>,
    file: usize,
}

impl Against {
    pub fn of(artifacts: &[&Artifact], dedup: &Dedup) -> Result<Against> {
        let mut parts = Vec::new();
        for artifact in artifacts {
            let documents = Arc::new(artifact.table("documents")?);
            if dedup.has(Method::Url) {
                documents.column(&dedup.url)?;
            }
            let stored: Option<Value> = artifact.fact(TABLE).ok();
            let index = if stored == Some(identity(dedup)) { stored_index(artifact, &documents)? } else { None };
            let files = 0..documents.files.len();
            parts.extend(files.map(|file| OldPart { documents: documents.clone(), index: index.clone(), file }));
        }
        Ok(Against { parts })
    }

    pub fn plan(&self) -> Vec<Part> {
        self.parts.iter().map(|part| Part { bytes: part.documents.files[part.file].bytes }).collect()
    }

    /// Writes the index of one part, without shingles and order keys.
    pub fn write_index(&self, ctx: &Context, dedup: &Dedup, part: usize, mut writer: IndexWriter) -> Result<()> {
        match &self.parts[part].index {
            Some(table) => self.parts[part].copy_index(ctx, table, &mut writer)?,
            None => self.parts[part].compute_index(ctx, dedup, &mut writer)?,
        }
        writer.finish()
    }

    /// Writes the shingles of the wanted rows of one part, which are sorted.
    pub fn fetch(&self, ctx: &Context, dedup: &Dedup, part: usize, wanted: &[u32], path: &Path) -> Result<()> {
        let OldPart { documents, file, .. } = &self.parts[part];
        let mut features = Features::new(dedup);
        let mut left = wanted.iter().copied().peekable();
        let mut writer = FetchedWriter::create(path)?;
        let mut first = 0;
        let batches = if wanted.is_empty() { None } else { Some(documents.read(*file, Some(&["text"]), BATCH_ROWS)?) };
        for batch in batches.into_iter().flatten() {
            ctx.check_stop()?;
            let batch = batch?;
            let texts = cast(batch.column(0), &DataType::Utf8)?;
            let next = first + batch.num_rows() as u32;
            while let Some(row) = left.next_if(|row| *row < next) {
                features.read_shingles(texts.as_string::<i32>().value((row - first) as usize));
                writer.push(row, &features.shingles)?;
            }
            first = next;
        }
        writer.finish()
    }
}

/// The stored hashes, if they lie file by file beside the documents.
fn stored_index(artifact: &Artifact, documents: &Table) -> Result<Option<Arc<Table>>> {
    let index = artifact.table(TABLE)?;
    let rows = |table: &Table| table.files.iter().map(|file| file.rows).collect::<Vec<_>>();
    Ok((rows(&index) == rows(documents)).then(|| Arc::new(index)))
}

impl OldPart {
    fn compute_index(&self, ctx: &Context, dedup: &Dedup, writer: &mut IndexWriter) -> Result<()> {
        let mut features = Features::new(dedup);
        let url = dedup.has(Method::Url).then_some(dedup.url.as_str());
        let names: Vec<&str> = ["id", "text"].into_iter().chain(url).collect();
        for batch in self.documents.read(self.file, Some(&names), BATCH_ROWS)? {
            ctx.check_stop()?;
            let batch = batch?;
            let column = |name: &str| batch.column_by_name(name).with_context(|| format!("the documents have no column `{name}`"));
            let ids = column("id")?.as_fixed_size_binary();
            let texts = cast(column("text")?, &DataType::Utf8)?;
            let urls = url.map(|url| Urls::of(column(url)?)).transpose()?;
            for row in 0..batch.num_rows() {
                features.read(texts.as_string::<i32>().value(row));
                writer.push(&Entry {
                    id: id_at(ids, row),
                    exact: features.exact,
                    url: urls.as_ref().and_then(|urls| urls.hash(row)),
                    short: features.short,
                    set: features.set,
                    bands: &features.bands,
                    ..Entry::default()
                })?;
            }
        }
        Ok(())
    }

    fn copy_index(&self, ctx: &Context, table: &Table, writer: &mut IndexWriter) -> Result<()> {
        for batch in table.read(self.file, None, BATCH_ROWS)? {
            ctx.check_stop()?;
            let batch = batch?;
            let ids = batch.column(0).as_fixed_size_binary();
            let wide = |column: usize, row: usize| {
                let hashes = batch.column(column).as_fixed_size_binary();
                hashes.is_valid(row).then(|| u128::from_le_bytes(id_at(hashes, row)))
            };
            let shorts = batch.column(3).as_boolean();
            let bands = batch.column(5).as_fixed_size_binary();
            let mut buffer = Vec::new();
            for row in 0..batch.num_rows() {
                buffer.clear();
                let set = wide(4, row);
                if set.is_some() {
                    buffer.extend(bands.value(row).chunks_exact(8).map(|hash| u64::from_le_bytes(hash.try_into().expect("chunks of 8"))));
                }
                writer.push(&Entry {
                    id: id_at(ids, row),
                    exact: wide(1, row).unwrap_or(0),
                    url: wide(2, row),
                    short: shorts.value(row),
                    set,
                    bands: &buffer,
                    ..Entry::default()
                })?;
            }
        }
        Ok(())
    }
}

/// What stored hashes depend on: only an index with the same is used.
pub fn identity(dedup: &Dedup) -> Value {
    let url = dedup.has(Method::Url).then_some(&dedup.url);
    let fuzzy = json!([dedup.shingle, dedup.ngram, dedup.normal, dedup.bands, dedup.rows, dedup.short_words, dedup.short_characters]);
    json!({ "format": FORMAT, "url": url, "minhash": dedup.has(Method::Minhash), "settings": fuzzy })
}

/// `bands`: 8 bytes each, little-endian.
pub fn schema(bands: usize) -> SchemaRef {
    let field = |name: &str, width: usize, nullable: bool| Field::new(name, DataType::FixedSizeBinary(width as i32), nullable);
    Arc::new(Schema::new(vec![
        field("id", 16, false),
        field("exact_hash", 16, false),
        field("url_hash", 16, true),
        Field::new("short", DataType::Boolean, false),
        field("set_hash", 16, true),
        field("bands", 8 * bands.max(1), true),
    ]))
}

/// Rows of the table `index`.
pub struct IndexRows {
    schema: SchemaRef,
    ids: FixedSizeBinaryBuilder,
    exact: FixedSizeBinaryBuilder,
    urls: FixedSizeBinaryBuilder,
    short: BooleanBuilder,
    sets: FixedSizeBinaryBuilder,
    bands: FixedSizeBinaryBuilder,
}

impl IndexRows {
    pub fn new(bands: usize) -> IndexRows {
        let builder = || FixedSizeBinaryBuilder::new(16);
        let (ids, exact, urls, sets) = (builder(), builder(), builder(), builder());
        let bands_builder = FixedSizeBinaryBuilder::new(8 * bands.max(1) as i32);
        IndexRows { schema: schema(bands), ids, exact, urls, short: BooleanBuilder::new(), sets, bands: bands_builder }
    }

    pub fn push(&mut self, document: u32, index: &Index, hashes: &SegmentHashes) -> Result<()> {
        self.ids.append_value(index.id(document)?)?;
        self.exact.append_value(index.exact(document)?.to_le_bytes())?;
        self.short.append_value(index.is_short(document)?);
        match index.url(document)? {
            0 => self.urls.append_null(),
            url => self.urls.append_value(url.to_le_bytes())?,
        }
        let Some((set, bands)) = hashes.get(document) else {
            self.sets.append_null();
            self.bands.append_null();
            return Ok(());
        };
        self.sets.append_value(set.to_le_bytes())?;
        let bands: Vec<u8> = bands.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        Ok(self.bands.append_value(bands)?)
    }

    pub fn finish(mut self) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.ids.finish()),
            Arc::new(self.exact.finish()),
            Arc::new(self.urls.finish()),
            Arc::new(self.short.finish()),
            Arc::new(self.sets.finish()),
            Arc::new(self.bands.finish()),
        ];
        Ok(RecordBatch::try_new(self.schema, columns)?)
    }
}

/// A column of addresses.
pub struct Urls(ArrayRef);

impl Urls {
    pub fn of(column: &ArrayRef) -> Result<Urls> {
        Ok(Urls(cast(column, &DataType::Utf8).context("the column of addresses is no text")?))
    }

    /// The hash of the address in normal form; `None` without an address.
    pub fn hash(&self, row: usize) -> Option<u128> {
        let urls = self.0.as_string::<i32>();
        let normal = if urls.is_valid(row) { text::url_normal(urls.value(row)) } else { String::new() };
        // 0 stands for no address where hashes lie in columns.
        (!normal.is_empty()).then(|| xxh3_128(normal.as_bytes()).max(1))
    }
}

/// Writes the shingles of some rows of a part: all shingles, then the rows, the ends of their shingles, and how many rows there are.
struct FetchedWriter {
    file: BufWriter<File>,
    rows: Vec<u64>,
    ends: Vec<u64>,
}

impl FetchedWriter {
    fn create(path: &Path) -> Result<FetchedWriter> {
        let file = BufWriter::new(File::create(path).with_context(|| format!("creating `{}`", path.display()))?);
        Ok(FetchedWriter { file, rows: Vec::new(), ends: Vec::new() })
    }

    fn push(&mut self, row: u32, shingles: &[u64]) -> Result<()> {
        for shingle in shingles {
            self.file.write_all(&shingle.to_le_bytes())?;
        }
        self.rows.push(u64::from(row));
        self.ends.push(self.ends.last().unwrap_or(&0) + shingles.len() as u64);
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        let count = self.rows.len() as u64;
        for number in self.rows.into_iter().chain(self.ends).chain([count]) {
            self.file.write_all(&number.to_le_bytes())?;
        }
        Ok(self.file.flush()?)
    }
}

/// The shingles of some rows of a part.
pub struct Fetched {
    file: File,
    rows: u64,
    /// First byte of the rows.
    offset: u64,
    first: u32,
}

impl Fetched {
    /// `first` is the number of the part's first document.
    pub fn open(path: &Path, first: u32) -> Result<Fetched> {
        let open = || -> Result<Fetched> {
            let file = File::open(path)?;
            let tail = file.metadata()?.len().checked_sub(8).context("is too short")?;
            let rows = read_u64s(&file, tail, 1)?[0];
            Ok(Fetched { file, rows, offset: tail.checked_sub(16 * rows).context("is too short")?, first })
        };
        open().with_context(|| format!("scratch file `{}`", path.display()))
    }

    /// The file, first byte and number of a document's shingles; none when they were not fetched.
    pub fn stretch(&self, document: u32) -> Result<(&File, u64, usize)> {
        let number = |at: u64| -> Result<u64> { Ok(read_u64s(&self.file, self.offset + 8 * at, 1)?[0]) };
        let row = u64::from(document - self.first);
        let (mut low, mut high) = (0, self.rows);
        while low < high {
            let middle = low + (high - low) / 2;
            if number(middle)? < row { low = middle + 1 } else { high = middle }
        }
        if low == self.rows || number(low)? != row {
            return Ok((&self.file, 0, 0));
        }
        let from = if low == 0 { 0 } else { number(self.rows + low - 1)? };
        let to = number(self.rows + low)?;
        Ok((&self.file, 8 * from, (to - from) as usize))
    }
}
