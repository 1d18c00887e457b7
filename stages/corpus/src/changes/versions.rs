//! Documents and their changed versions: which are chosen, what becomes of their columns, and the table that tells it.

use std::borrow::Cow;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, Int64Array, Int64Builder, RecordBatch, StringArray, StringBuilder, UInt32Array,
};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use engine::{PartWriter, Site, Table, list, schema, suggest};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::{Changer, Tally};
use crate::documents::{id_at, texts};

/// The split of documents that were not split.
const TRAIN: &str = "train";

/// Which documents are changed, and where.
pub struct Scope<'a> {
    pub splits: &'a [String],
    pub columns: &'a [String],
}

/// A changed document that is to be made.
pub struct Wanted {
    pub row: usize,
    /// Of its random numbers, see [`Scope::key`].
    pub key: u64,
    pub id: [u8; 16],
    pub copy: i64,
}

/// A document as it is to be written.
pub struct Version {
    /// Its row in the batch.
    pub row: usize,
    pub id: [u8; 16],
    /// The number of the copy; 0 is the document itself.
    pub copy: i64,
    /// The new text of each column that is changed; `None` where it stays.
    pub texts: Vec<Option<String>>,
    pub tally: Tally,
}

impl Version {
    /// A document as it is.
    pub fn unchanged(row: usize, id: [u8; 16]) -> Version {
        Version { row, id, copy: 0, texts: Vec::new(), tally: Tally::default() }
    }

    pub fn is_changed(&self) -> bool {
        self.texts.iter().any(Option::is_some)
    }
}

impl Scope<'_> {
    /// Refuses what is seen to be wrong while planning.
    pub fn check(&self, site: &Site) -> Result<()> {
        let fixed = ["id", "content_hash", "source", "path", "position", "line", "split"];
        if let Some(column) = self.columns.iter().find(|column| fixed.contains(&column.as_str())) {
            bail!("`columns`: `{column}` tells what a document is and is never changed");
        }
        if self.columns.is_empty() || self.splits.is_empty() {
            bail!("`columns` and `splits` name at least one each");
        }
        let Some(split) = site.nearest("split") else { return Ok(()) };
        // Splits that a column names are not known yet.
        let known: Vec<&str> = split.settings["parts"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let named = !split.settings["from"].is_null() || !split.settings["time"].is_null();
        match self.splits.iter().find(|name| !named && !known.contains(&name.as_str())) {
            Some(name) => {
                let names = || known.iter().copied();
                bail!("`splits`: step `{}` makes no split `{name}`{}; splits: {}", split.name, suggest(name, names()), list(names()))
            }
            None => Ok(()),
        }
    }

    /// Refuses columns that hold no text, and splits that documents without any cannot have.
    pub fn check_table(&self, table: &Table) -> Result<()> {
        for name in self.columns {
            table.column(name)?;
            let kind = table.schema.field_with_name(name)?.data_type().clone();
            if kind != DataType::Utf8 {
                bail!("`columns`: `{name}` is {kind}, only text can be changed");
            }
        }
        if !table.has_column("split") && !self.splits.iter().any(|split| split == TRAIN) {
            bail!("the documents have no splits, so all of them are `{TRAIN}`, and `splits` does not name it");
        }
        Ok(())
    }

    /// Whether each document of a batch is to be changed.
    pub fn chosen(&self, batch: &RecordBatch) -> Result<Vec<bool>> {
        let is_named = |name: Option<&str>| self.splits.iter().any(|split| split == name.unwrap_or(TRAIN));
        match batch.column_by_name("split") {
            Some(splits) => Ok(texts(splits)?.iter().map(is_named).collect()),
            None => Ok(vec![is_named(None); batch.num_rows()]),
        }
    }

    /// The number of each document among those with its id, where `mix` has taken some more than once.
    pub fn taken(batch: &RecordBatch) -> Result<Vec<i64>> {
        match batch.column_by_name("copy") {
            Some(copies) => Ok(cast(copies, &DataType::Int64)?.as_primitive::<Int64Type>().values().to_vec()),
            None => Ok(vec![0; batch.num_rows()]),
        }
    }

    /// Changes documents of a batch.
    pub fn change(&self, changer: &Changer, batch: &RecordBatch, wanted: impl Iterator<Item = Wanted>) -> Result<Vec<Version>> {
        let columns = self.columns.iter().map(|name| text_column(batch, name)).collect::<Result<Vec<_>>>()?;
        let version = |Wanted { row, key, id, copy }| {
            let mut tally = Tally::default();
            let texts = columns.iter().zip(self.columns).map(|(column, name)| {
                let text = column.is_valid(row).then(|| column.value(row))?;
                changer.change(text, xxh3_64_with_seed(name.as_bytes(), key), &mut tally)
            });
            let texts = texts.collect();
            Version { row, id, copy, texts, tally }
        };
        Ok(wanted.map(version).collect())
    }

    /// The key of a version's random numbers; `taken` is the document's number where there are several with its id.
    pub fn key(seed: u64, id: &[u8], taken: i64, copy: i64) -> u64 {
        let mut hasher = Xxh3::with_seed(seed);
        [id, &taken.to_le_bytes(), &copy.to_le_bytes()].into_iter().for_each(|bytes| hasher.update(bytes));
        hasher.digest()
    }
}

fn text_column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    batch.column_by_name(name).and_then(|column| column.as_string_opt()).with_context(|| format!("the documents have no text `{name}`"))
}

/// The rows of the versions, with their ids and texts, and the content hashes of these.
pub fn rebuild(batch: &RecordBatch, columns: &[String], versions: &[Version]) -> Result<RecordBatch> {
    let rows = UInt32Array::from_iter_values(versions.iter().map(|version| version.row as u32));
    let mut batch = take_record_batch(batch, &rows)?;
    for (place, name) in columns.iter().enumerate() {
        let old = text_column(&batch, name)?;
        let text = |(row, version): (usize, &Version)| match version.texts.get(place) {
            Some(Some(new)) => Some(Cow::Owned(new.clone())),
            _ => old.is_valid(row).then(|| Cow::Borrowed(old.value(row))),
        };
        let new: StringArray = versions.iter().enumerate().map(text).collect();
        batch = replace(&batch, name, Arc::new(new))?;
    }
    let mut ids = FixedSizeBinaryBuilder::with_capacity(versions.len(), 16);
    versions.iter().try_for_each(|version| ids.append_value(version.id))?;
    batch = replace(&batch, "id", Arc::new(ids.finish()))?;
    let Some(place) = columns.iter().position(|name| name == "text") else { return Ok(batch) };
    let old = batch.column_by_name("content_hash").context("the documents have no content_hash")?.as_fixed_size_binary();
    let mut hashes = FixedSizeBinaryBuilder::with_capacity(versions.len(), 16);
    for (row, version) in versions.iter().enumerate() {
        hashes.append_value(match version.texts.get(place) {
            Some(Some(new)) => crate::content_hash(new),
            _ => id_at(old, row),
        })?;
    }
    replace(&batch, "content_hash", Arc::new(hashes.finish()))
}

fn replace(batch: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch> {
    let mut columns = batch.columns().to_vec();
    columns[batch.schema().index_of(name)?] = column;
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// How often each change was made in each changed document.
pub fn changes_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", schema::ID, false),
        Field::new("change", DataType::Utf8, false),
        Field::new("count", DataType::Int64, false),
    ]))
}

/// Writes what was done to changed documents.
pub fn write_changes<'a>(part: &mut PartWriter, versions: impl Iterator<Item = &'a Version>) -> Result<()> {
    let (mut ids, mut changes, mut counts) = (FixedSizeBinaryBuilder::new(16), StringBuilder::new(), Int64Builder::new());
    for version in versions.filter(|version| version.is_changed()) {
        part.count("documents_changed", 1);
        for (change, count) in version.tally.iter() {
            ids.append_value(version.id)?;
            changes.append_value(change);
            counts.append_value(count);
        }
    }
    let counts: Int64Array = counts.finish();
    let columns: Vec<ArrayRef> = vec![Arc::new(ids.finish()), Arc::new(changes.finish()), Arc::new(counts)];
    part.write("changes", &RecordBatch::try_new(changes_schema(), columns)?)
}
