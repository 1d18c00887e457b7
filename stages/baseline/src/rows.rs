//! The rows of a split of tokens, in the order in which `predict` takes them.

use std::ops::Range;

use anyhow::{Context as _, Result, bail};
use engine::{Artifact, Part};
use shards::ShardFile;
use shards::examples::{Reader, Value};

/// Rows that are written at once.
const BATCH_ROWS: u64 = 4096;

/// Some rows, or all, of a split.
pub struct Split {
    pub reader: Reader,
    /// One for each shard.
    parts: Vec<(Range<u64>, Part)>,
    /// Tokens that are no text.
    special: Vec<u32>,
}

impl Split {
    /// The rows of a split, which must have some; the first `limit` of them.
    pub fn open(tokens: &Artifact, split: &str, limit: Option<u64>) -> Result<Split> {
        let table = tokens.table("tokens")?;
        let files: Vec<_> = table.files.iter().filter(|file| file.split.as_deref() == Some(split) && file.rows > 0).collect();
        if files.is_empty() {
            let mut splits: Vec<&str> = table.files.iter().filter(|file| file.rows > 0).filter_map(|file| file.split.as_deref()).collect();
            splits.dedup();
            bail!("step `{}` has no rows in the split `{split}`; splits with rows: {}", tokens.manifest.step, splits.join(", "));
        }
        let shard = |file: &&engine::TableFile| ShardFile { path: file.path.clone(), rows: file.rows, bytes: Some(file.bytes) };
        let reader = Reader::new(&files.iter().map(shard).collect::<Vec<_>>());
        let rows = limit.unwrap_or(u64::MAX).min(reader.rows());
        let mut first = 0;
        let mut parts = Vec::new();
        for file in files {
            let range = first.min(rows)..(first + file.rows).min(rows);
            first += file.rows;
            if !range.is_empty() {
                parts.push((range, Part { bytes: file.bytes }));
            }
        }
        let ids = ["pad_id", "bos_id", "eos_id", "cls_id", "sep_id", "mask_id"];
        let special = ids.iter().filter_map(|name| tokens.fact::<Option<u32>>(name).unwrap_or_default()).collect();
        Ok(Split { reader, parts, special })
    }

    pub fn plan(&self) -> Vec<Part> {
        self.parts.iter().map(|(_, part)| *part).collect()
    }

    /// The share of all rows that stand before a part.
    pub fn share(&self, part: usize) -> f64 {
        self.parts.get(part).map_or(0.0, |(rows, _)| rows.start as f64 / self.reader.rows() as f64)
    }

    /// The rows of a part, some at a time.
    pub fn batches(&self, part: usize) -> impl Iterator<Item = Range<u64>> + use<> {
        let Range { start, end } = self.parts[part].0;
        (start..end).step_by(BATCH_ROWS as usize).map(move |first| first..(first + BATCH_ROWS).min(end))
    }

    /// All rows, some at a time.
    pub fn all_batches(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        (0..self.parts.len()).flat_map(|part| self.batches(part))
    }

    /// All tokens of a row.
    pub fn tokens(&self, row: u64) -> Result<Vec<i64>> {
        let mut tokens = Vec::new();
        self.reader.append_tokens(row, &mut tokens).with_context(|| format!("row {row}"))?;
        Ok(tokens)
    }

    /// The texts of a row, one or two, without the tokens that frame them.
    pub fn texts(&self, row: u64, pairs: bool) -> Result<Vec<Vec<u32>>> {
        let tokens = self.tokens(row)?;
        let segments = if pairs { self.bytes(row, "segments", tokens.len())? } else { vec![0; tokens.len()] };
        let mut texts = vec![Vec::new(); if pairs { 2 } else { 1 }];
        for (token, segment) in tokens.into_iter().map(|token| token as u32).zip(segments) {
            if !self.special.contains(&token) {
                texts[usize::from(segment.min(1))].push(token);
            }
        }
        Ok(texts)
    }

    fn bytes(&self, row: u64, name: &str, length: usize) -> Result<Vec<u8>> {
        match self.reader.value(row, name)? {
            Value::UInt8s(values) if values.len() == length => Ok(values),
            other => bail!("row {row}: the column `{name}` holds {other:?}, which is no number for each token; run `tokenize` again"),
        }
    }

    /// A list of numbers of a row.
    pub fn numbers(&self, row: u64, name: &str) -> Result<Vec<i32>> {
        match self.reader.value(row, name)? {
            Value::Int32s(values) => Ok(values),
            other => bail!("row {row}: the column `{name}` holds {other:?}, no list of numbers; run `tokenize` again"),
        }
    }
}
