//! MosaicML Streaming: a folder for each split with `index.json` and shards `shard.00000.mds`, columns `id` (hexadecimal) and `tokens`.
//!
//! As `streaming/base/format/mds` has it. A shard: number of samples (u32), their offsets and the end (u32 each), the shard's settings as JSON,
//! the samples. A sample: the sizes of its columns of no fixed size (u32 each), then the columns in order of their names. An array `ndarray:TYPE`
//! begins with a byte (dimensions << 2 | log2 of the bytes of a size) and its sizes.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use engine::{Draft, list};
use serde_json::Value;

use super::documents::{Document, Totals};
use super::files::{Input, Output, read_json, write_whole};
use super::{Dtype, Found, Limits, Sink, Written, hex, parse_id};

/// What MDSWriter closes a shard at when nothing else is asked.
const SIZE_LIMIT: usize = 1 << 26;
const INDEX: &str = "index.json";

pub(super) struct Writer<'a> {
    draft: &'a Draft,
    folder: String,
    dtype: Dtype,
    /// The settings of every shard, spelled as Python's json with sorted keys.
    settings: [String; 2],
    /// Ends of the samples of the open shard.
    ends: Vec<usize>,
    samples: Vec<u8>,
    totals: Totals,
    shards: Vec<String>,
    written: Vec<Written>,
}

pub(super) fn create<'a>(draft: &'a Draft, folder: &str, split: &str, vocabulary_size: usize) -> Writer<'a> {
    let dtype = Dtype::unsigned_for(vocabulary_size);
    let columns = format!(
        "\"column_encodings\": [\"str\", \"ndarray:{}\"], \"column_names\": [\"id\", \"tokens\"], \"column_sizes\": [null, null], \"compression\": null, \"format\": \"mds\", \"hashes\": []",
        dtype.name()
    );
    let settings = [columns, format!("\"size_limit\": {SIZE_LIMIT}, \"version\": 2")];
    Writer {
        draft,
        folder: format!("{folder}/{split}"),
        dtype,
        settings,
        ends: Vec::new(),
        samples: Vec::new(),
        totals: Totals::default(),
        shards: Vec::new(),
        written: Vec::new(),
    }
}

impl Writer<'_> {
    fn config(&self) -> String {
        format!("{{{}, {}}}", self.settings[0], self.settings[1])
    }

    fn flush(&mut self) -> Result<()> {
        if self.ends.is_empty() {
            return Ok(());
        }
        let name = format!("shard.{:05}.mds", self.shards.len());
        let relative = format!("{}/{name}", self.folder);
        let config = self.config();
        let head = 4 + 4 * (self.ends.len() + 1) + config.len();
        let mut output = Output::create(&self.draft.file(&relative)?)?;
        output.write(&(self.ends.len() as u32).to_le_bytes())?;
        for end in std::iter::once(&0).chain(&self.ends) {
            let offset = u32::try_from(head + end).context("a document is larger than a shard of MDS can be, 4 GiB")?;
            output.write(&offset.to_le_bytes())?;
        }
        output.write(config.as_bytes())?;
        output.write(&self.samples)?;
        let bytes = output.finish()?;
        self.shards.push(format!(
            "{{{}, \"raw_data\": {{\"basename\": \"{name}\", \"bytes\": {bytes}, \"hashes\": {{}}}}, \"samples\": {}, {}, \"zip_data\": null}}",
            self.settings[0],
            self.ends.len(),
            self.settings[1]
        ));
        self.written.push(Written::new(relative, std::mem::take(&mut self.totals), bytes));
        self.ends.clear();
        self.samples.clear();
        Ok(())
    }
}

impl Sink for Writer<'_> {
    fn push(&mut self, document: &Document) -> Result<()> {
        let id = hex(&document.id);
        let size = document.tokens.len() as u64;
        let (log2, sizes) = match size {
            0..0x100 => (0, 1),
            0x100..0x1_0000 => (1, 2),
            0x1_0000..0x1_0000_0000 => (2, 4),
            _ => (3, 8),
        };
        let array = 1 + sizes + document.tokens.len() * self.dtype.size();
        // MDSWriter counts 4 bytes for each sample's offset, and 8 more for each shard.
        let sample = 8 + id.len() + array;
        let filled = 8 + self.config().len() + self.samples.len() + 4 * self.ends.len();
        if filled + sample + 4 > SIZE_LIMIT {
            self.flush()?;
        }
        let array = u32::try_from(array).context("a document is larger than a shard of MDS can be, 4 GiB")?;
        self.samples.extend_from_slice(&(id.len() as u32).to_le_bytes());
        self.samples.extend_from_slice(&array.to_le_bytes());
        self.samples.extend_from_slice(id.as_bytes());
        self.samples.push(1 << 2 | log2);
        self.samples.extend_from_slice(&size.to_le_bytes()[..sizes]);
        self.dtype.encode(&document.tokens, &mut self.samples);
        self.ends.push(self.samples.len());
        self.totals.documents += 1;
        self.totals.tokens += size;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<Written>> {
        self.flush()?;
        let index = format!("{{\"shards\": [{}], \"version\": 2}}", self.shards.join(", "));
        let relative = format!("{}/{INDEX}", self.folder);
        let bytes = write_whole(&self.draft.file(&relative)?, index.as_bytes())?;
        self.written.push(Written::new(relative, Totals::default(), bytes));
        Ok(self.written)
    }
}

/// Columns of a shard, as its entry in the index says.
struct Columns {
    names: Vec<String>,
    encodings: Vec<String>,
    /// `None` where each sample tells its own.
    sizes: Vec<Option<usize>>,
}

/// Reads the shards of a folder in order. `column` holds the ids: an array, or bytes of the type `dtype`.
pub(crate) fn read(
    folder: &Path,
    column: Option<&str>,
    dtype: Dtype,
    limits: &Limits,
    sink: &mut dyn FnMut(Found) -> Result<()>,
) -> Result<()> {
    let index = folder.join(INDEX);
    let name = index.display();
    let json = read_json(&index)?;
    let shards = json["shards"].as_array().filter(|_| json["version"] == 2);
    let mut position = 0;
    for shard in shards.with_context(|| format!("`{name}` is no index of MDS, version 2"))? {
        if shard["format"] != "mds" || !shard["compression"].is_null() {
            bail!("`{name}` lists shards that are compressed or of another format; write them with MDSWriter and compression=None");
        }
        let columns =
            columns(shard).with_context(|| format!("`{name}` is altered: the columns of a shard are incomplete; get it again"))?;
        let basename = shard["raw_data"]["basename"].as_str().filter(|basename| !basename.contains(['/', '\\']));
        let path = folder.join(basename.with_context(|| format!("`{name}` is altered: a shard has no name; get it again"))?);
        read_shard(&path, shard, &columns, column, dtype, limits, &mut position, sink)?;
    }
    Ok(())
}

fn columns(shard: &Value) -> Option<Columns> {
    let texts = |key: &str| -> Option<Vec<String>> { shard[key].as_array()?.iter().map(|text| text.as_str().map(String::from)).collect() };
    let sizes = shard["column_sizes"].as_array()?.iter().map(|size| size.as_u64().map(|size| size as usize)).collect();
    let columns = Columns { names: texts("column_names")?, encodings: texts("column_encodings")?, sizes };
    (columns.names.len() == columns.encodings.len() && columns.names.len() == columns.sizes.len()).then_some(columns)
}

#[expect(clippy::too_many_arguments, reason = "what the index says of a shard, and what the step says")]
fn read_shard(
    path: &Path,
    shard: &Value,
    columns: &Columns,
    column: Option<&str>,
    dtype: Dtype,
    limits: &Limits,
    position: &mut u64,
    sink: &mut dyn FnMut(Found) -> Result<()>,
) -> Result<()> {
    let name = path.display();
    let names = || columns.names.iter().map(String::as_str);
    let wanted = |name: &String| column.map_or(name == "tokens" || name == "input_ids", |column| name == column);
    let ids = columns.names.iter().position(wanted).with_context(|| {
        format!("`{name}` has no column `{}`; columns: {}; choose with `column`", column.unwrap_or("tokens"), list(names()))
    })?;
    let key = columns.names.iter().position(|name| name == "id").filter(|at| columns.encodings[*at] == "str");
    let altered = |what: String| anyhow::anyhow!("`{name}` is cut short or altered: {what}; get it again");
    let mut offsets = Input::open(path)?;
    let samples = u32::from_le_bytes(offsets.array()?);
    if Some(offsets.bytes) != shard["raw_data"]["bytes"].as_u64() || Some(u64::from(samples)) != shard["samples"].as_u64() {
        return Err(altered(format!("it has {} bytes and {samples} samples, {INDEX} says otherwise", offsets.bytes)));
    }
    let mut data = Input::open(path)?;
    let mut bytes = Vec::new();
    let mut begin = u32::from_le_bytes(offsets.array()?);
    for sample in 0..samples {
        let end = u32::from_le_bytes(offsets.array()?);
        let length = end.checked_sub(begin).ok_or_else(|| altered(format!("sample {sample} ends before it begins")))? as usize;
        limits.check(path, *position, length / 8)?;
        data.seek(u64::from(begin))?;
        data.take(length, &mut bytes)?;
        let cells = cells(&columns.sizes, &bytes).ok_or_else(|| altered(format!("the columns of sample {sample} do not fill it")))?;
        let mut found = Found { position: *position, ..Found::default() };
        found.id = key.and_then(|key| parse_id(std::str::from_utf8(cells[key]).ok()?));
        decode(&columns.encodings[ids], cells[ids], dtype, &mut found.tokens)
            .with_context(|| format!("`{name}`: sample {sample}, column `{}`", columns.names[ids]))?;
        limits.check(path, *position, found.tokens.len())?;
        sink(found)?;
        *position += 1;
        begin = end;
    }
    Ok(())
}

/// The bytes of each column of a sample.
fn cells<'a>(sizes: &[Option<usize>], sample: &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let (mut head, mut body) = sample.split_at_checked(4 * sizes.iter().filter(|size| size.is_none()).count())?;
    let mut cells = Vec::with_capacity(sizes.len());
    for size in sizes {
        let size = match size {
            Some(size) => *size,
            None => {
                let (first, rest) = head.split_first_chunk::<4>()?;
                head = rest;
                u32::from_le_bytes(*first) as usize
            }
        };
        let (cell, rest) = body.split_at_checked(size)?;
        body = rest;
        cells.push(cell);
    }
    body.is_empty().then_some(cells)
}

/// The ids of a cell: `bytes`, or `ndarray[:TYPE[:SHAPE]]`, whose type and shape stand before the values where the name does not give them.
fn decode(encoding: &str, cell: &[u8], dtype: Dtype, out: &mut Vec<i64>) -> Result<()> {
    let mut parts = encoding.split(':');
    let altered = "the array is altered; get the shard again";
    let (dtype, values) = match (parts.next(), parts.next(), parts.next()) {
        (Some("bytes"), None, None) => (dtype, cell),
        (Some("ndarray"), name, shape) => {
            let (dtype, rest) = match name {
                Some(name) => (Dtype::parse(name), cell),
                // Codes of types: bits, and 1 for a sign.
                None => {
                    let (code, rest) = cell.split_first().context(altered)?;
                    let named = |d: &Dtype| usize::from(*code) == 8 * d.size() + usize::from(d.name().starts_with("int"));
                    (Dtype::ALL.into_iter().find(named), rest)
                }
            };
            let dtype = dtype.context("its values are no integers")?;
            let rest = if shape.is_some() {
                rest
            } else {
                let (byte, rest) = rest.split_first().context(altered)?;
                rest.get((usize::from(*byte) >> 2) << (byte & 3)..).context(altered)?
            };
            (dtype, rest)
        }
        _ => bail!("it is stored as `{encoding}`; ids must be `ndarray` or `bytes`"),
    };
    if !values.len().is_multiple_of(dtype.size()) {
        bail!("{} bytes are no whole number of ids of the type {}; is `dtype` another?", values.len(), dtype.name());
    }
    dtype.decode(values, out);
    Ok(())
}
