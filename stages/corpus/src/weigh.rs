//! What `sample` and `mix` must know of every document before they draw: its stratum, its place in the order and how much it counts.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use engine::{Context, Table};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use text::Tokenizer;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::documents::texts;
use crate::draw::EntryWriter;

/// How the documents of a part are weighed.
pub struct Weigher<'a> {
    pub seed: u64,
    pub stratum: Stratum<'a>,
    /// SQL expression whose equal values are drawn together; where it is null, equal texts are.
    pub group: Option<&'a str>,
    pub amount: Amount<'a>,
    /// Whether the bytes of the texts are wanted although they are not the amount.
    pub bytes: bool,
}

/// What tells the stratum of a document.
pub enum Stratum<'a> {
    /// One for all documents of the part.
    Named(&'a str),
    /// SQL expression; null is the empty name.
    Sql(&'a str),
}

/// What a document counts.
pub enum Amount<'a> {
    One,
    Bytes,
    /// SQL expression.
    Sql(&'a str),
    Tokens(&'a Tokenizer),
}

/// The seed of one use of hashes, so that stages that hash the same contents do not choose the same documents.
pub fn seed_of(ctx: &Context, stage: &str) -> u64 {
    xxh3_64_with_seed(stage.as_bytes(), ctx.seed)
}

impl Weigher<'_> {
    /// Writes an entry for every document of a file, in order.
    pub fn write(&self, ctx: &Context, table: &Table, file: usize, path: &Path) -> Result<()> {
        let mut expressions = vec![("id".to_string(), "id".to_string()), ("content".to_string(), "content_hash".to_string())];
        let mut add = |name: &str, sql: &str| expressions.push((name.to_string(), sql.to_string()));
        if table.has_column("copy") {
            add("copy", "cast(copy as bigint)");
        }
        if let Stratum::Sql(sql) = self.stratum {
            add("stratum", sql);
        }
        if let Some(sql) = self.group {
            add("group", sql);
        }
        if let Amount::Sql(sql) = self.amount {
            add("amount", sql);
        }
        if let Amount::Tokens(_) = self.amount {
            add("text", "text");
        }
        if self.bytes || matches!(self.amount, Amount::Bytes) {
            add("bytes", "octet_length(text)");
        }
        let mut writer = EntryWriter::create(path)?;
        ctx.sql().select(table, file, &expressions, None, &mut |batch| {
            ctx.check_stop()?;
            self.weigh(&batch, &mut writer)
        })?;
        writer.finish()
    }

    fn weigh(&self, batch: &RecordBatch, writer: &mut EntryWriter) -> Result<()> {
        let ids = batch.column(0).as_fixed_size_binary();
        let contents = batch.column(1).as_fixed_size_binary();
        let copies = numbers(batch, "copy")?;
        let bytes = numbers(batch, "bytes")?;
        let strata = column(batch, "stratum")?;
        let groups = column(batch, "group")?;
        let amounts = self.amounts(batch, bytes.as_deref())?;
        for row in 0..batch.num_rows() {
            let stratum = match (&self.stratum, &strata) {
                (Stratum::Named(name), _) => name,
                (_, Some(strata)) if strata.is_valid(row) => strata.value(row),
                _ => "",
            };
            let high = match &groups {
                Some(groups) if groups.is_valid(row) => xxh3_64_with_seed(groups.value(row).as_bytes(), self.seed),
                _ => xxh3_64_with_seed(contents.value(row), self.seed),
            };
            let copy = copies.as_ref().map_or(0, |copies| copies[row]);
            let low = hash_of_copy(self.seed, ids.value(row), copy);
            let bytes = bytes.as_ref().map_or(0, |bytes| bytes[row]);
            writer.push(stratum, u128::from(high) << 64 | u128::from(low), amounts[row], bytes)?;
        }
        Ok(())
    }

    fn amounts(&self, batch: &RecordBatch, bytes: Option<&[u64]>) -> Result<Vec<u64>> {
        match self.amount {
            Amount::One => Ok(vec![1; batch.num_rows()]),
            Amount::Bytes => Ok(bytes.map(<[u64]>::to_vec).unwrap_or_default()),
            Amount::Sql(sql) => Ok(numbers(batch, "amount").with_context(|| format!("`{sql}`"))?.unwrap_or_default()),
            Amount::Tokens(tokenizer) => {
                let texts = column(batch, "text")?.context("the documents have no text")?;
                texts.iter().map(|text| Ok(tokenizer.encode(text.unwrap_or_default())?.len() as u64)).collect()
            }
        }
    }
}

/// Tells a document and its copies apart; the same for any order of the input.
pub fn hash_of_copy(seed: u64, id: &[u8], copy: u64) -> u64 {
    let mut hasher = Xxh3::with_seed(seed);
    hasher.update(id);
    hasher.update(&copy.to_le_bytes());
    hasher.digest()
}

fn column(batch: &RecordBatch, name: &str) -> Result<Option<StringArray>> {
    batch.column_by_name(name).map(texts).transpose()
}

/// A column of whole numbers from 0 on.
fn numbers(batch: &RecordBatch, name: &str) -> Result<Option<Vec<u64>>> {
    let Some(column) = batch.column_by_name(name) else { return Ok(None) };
    let numbers = cast(column, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    if let Some(row) = (0..numbers.len()).find(|row| numbers.is_null(*row) || numbers.value(*row) < 0) {
        let found = if numbers.is_null(row) { "null".to_string() } else { numbers.value(row).to_string() };
        bail!("gives {found} for a document, where a whole number from 0 on is needed; coalesce(…, 0) stands in for what is missing");
    }
    Ok(Some(numbers.values().iter().map(|number| *number as u64).collect()))
}

/// A size may be written as a number too.
pub fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        other => Err(D::Error::custom(format!("`{other}` is no size"))),
    }
}
