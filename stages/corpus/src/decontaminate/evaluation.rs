//! Reads evaluation sets: items of JSON Lines and Parquet files, and documents of other steps.
//!
//! An evaluation set is no corpus: what cannot be read in it is an error that names the place, for an item left out would go unsearched.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use engine::{Artifact, Context, InputFile, list, suggest};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use text::plain_words;

use crate::documents::id_at;

const BATCH_ROWS: usize = 1024;
/// Bytes that a word of an evaluation set takes in memory, about, with its n-grams.
const WORD_BYTES: u64 = 64;
/// Characters of an item that the table `items` shows.
const EXCERPT_CHARS: usize = 200;

/// One text of an item: the value of one field.
pub struct Piece {
    pub item: u32,
    /// Number of the field among the set's.
    pub field: u16,
    /// Where its words stand in [`Items::words`].
    pub start: u32,
    pub words: u32,
}

/// One record of an evaluation set.
pub struct Item {
    pub set: u16,
    /// Number within the set, from 0.
    pub number: i64,
    pub path: String,
    /// Line of a JSON Lines file; row, from 1, of a Parquet file; line of the document.
    pub line: Option<i64>,
    /// Of the row of a file, or of a document of another step.
    pub id: [u8; 16],
    pub words: i64,
    pub excerpt: String,
}

/// All evaluation sets.
#[derive(Default)]
pub struct Items {
    pub sets: Vec<String>,
    /// Names of the fields of each set.
    pub fields: Vec<Vec<String>>,
    pub items: Vec<Item>,
    pub pieces: Vec<Piece>,
    pub words: Vec<u64>,
    words_max: usize,
}

impl Items {
    pub fn new(ctx: &Context) -> Items {
        Items { words_max: (ctx.memory / 4 / WORD_BYTES).min(u64::from(u32::MAX)) as usize, ..Items::default() }
    }

    pub fn words_of(&self, piece: &Piece) -> &[u64] {
        &self.words[piece.start as usize..(piece.start + piece.words) as usize]
    }

    /// Begins a set; [`Items::add`] goes to the last one.
    fn begin(&mut self, name: &str, fields: &[String]) -> usize {
        self.sets.push(name.to_string());
        self.fields.push(fields.to_vec());
        self.items.len()
    }

    /// Adds an item with the text of each of its fields.
    fn add(&mut self, item: Item, texts: &[Option<String>]) -> Result<()> {
        let (number, before) = (u32::try_from(self.items.len()).context("too many items")?, self.words.len());
        let mut excerpt = String::new();
        for (field, text) in texts.iter().enumerate().filter_map(|(field, text)| Some((field, text.as_ref()?))) {
            let start = self.words.len();
            plain_words(text, |hash, _, _| self.words.push(hash));
            if self.words.len() > self.words_max {
                let set = &self.sets[self.sets.len() - 1];
                bail!("the evaluation sets up to `{set}` have over {} words, more than fit in memory: raise --memory", self.words_max);
            }
            let words = (self.words.len() - start) as u32;
            self.pieces.push(Piece { item: number, field: field as u16, start: start as u32, words });
            if excerpt.len() < EXCERPT_CHARS {
                excerpt.push_str(if excerpt.is_empty() { "" } else { "\n" });
                excerpt.push_str(text);
            }
        }
        let cut = excerpt.char_indices().nth(EXCERPT_CHARS).map_or(excerpt.len(), |(at, _)| at);
        excerpt.truncate(cut);
        self.items.push(Item { words: (self.words.len() - before) as i64, excerpt, ..item });
        Ok(())
    }

    /// Reads the files of a set.
    pub fn read_files(&mut self, ctx: &Context, name: &str, fields: &[String], files: &[&InputFile]) -> Result<()> {
        let first = self.begin(name, fields);
        let mut seen = vec![false; fields.len()];
        for file in files {
            let read = if is_parquet(&file.path) { Items::read_parquet } else { Items::read_jsonl };
            read(self, ctx, first, file, &mut seen).with_context(|| format!("evaluation set `{name}`, `{}`", file.relative))?;
        }
        match fields.iter().zip(&seen).find(|(_, seen)| !**seen) {
            Some((field, _)) if self.items.len() > first => bail!("evaluation set `{name}`: no item has the field `{field}`"),
            _ => Ok(()),
        }
    }

    fn read_jsonl(&mut self, ctx: &Context, first: usize, file: &InputFile, seen: &mut [bool]) -> Result<()> {
        let mut reader = BufReader::with_capacity(1 << 17, file.open()?);
        let mut line = Vec::new();
        let before = self.items.len();
        for number in 1.. {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            ctx.check_stop()?;
            let record: Value = serde_json::from_slice(&line).with_context(|| format!("line {number} is no JSON"))?;
            let wanted = &self.fields[self.fields.len() - 1];
            let values: Vec<Option<&Value>> = wanted.iter().map(|field| value_at(&record, field)).collect();
            if values.iter().all(Option::is_none) {
                let names = || record.as_object().into_iter().flat_map(|object| object.keys().map(String::as_str));
                let near = suggest(&wanted[0], names());
                bail!("line {number} has no field {}{near}; fields: {}", list(wanted.iter().map(String::as_str)), list(names()));
            }
            seen.iter_mut().zip(&values).for_each(|(seen, value)| *seen |= value.is_some());
            let texts: Vec<Option<String>> = values.into_iter().map(|value| text_of(value?)).collect();
            let id = file.row_id((self.items.len() - before) as u64);
            self.add(self.item(first, &file.relative, Some(number), id), &texts)?;
        }
        Ok(())
    }

    fn read_parquet(&mut self, ctx: &Context, first: usize, file: &InputFile, seen: &mut [bool]) -> Result<()> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path)?).context("is no readable Parquet file")?;
        let mut rows = 0;
        for batch in builder.with_batch_size(BATCH_ROWS).build()? {
            ctx.check_stop()?;
            let batch = batch?;
            seen.fill(true);
            let columns = self.fields[self.fields.len() - 1].iter().map(|field| column(&batch, field)).collect::<Result<Vec<_>>>()?;
            for row in 0..batch.num_rows() {
                let id = file.row_id(rows);
                rows += 1;
                let texts: Vec<Option<String>> = columns.iter().map(|column| cell(column, row)).collect();
                self.add(self.item(first, &file.relative, Some(rows as i64), id), &texts)?;
            }
        }
        Ok(())
    }

    /// Takes the documents of another step for items, all or those of one split.
    pub fn read_documents(&mut self, ctx: &Context, artifact: &Artifact, split: Option<&str>) -> Result<()> {
        let table = artifact.table("documents")?;
        let mut columns = vec!["id", "path", "line", "text"];
        if split.is_some() {
            table.column("split").context("`against_split`")?;
            columns.push("split");
        }
        let first = self.begin(&artifact.manifest.step, &["text".to_string()]);
        for file in 0..table.files.len() {
            for batch in table.read(file, Some(&columns), BATCH_ROWS)? {
                ctx.check_stop()?;
                let batch = batch?;
                let strings = |name: &str| -> Result<StringArray> { Ok(batch.column(batch.schema().index_of(name)?).as_string().clone()) };
                let (paths, texts) = (strings("path")?, strings("text")?);
                let splits = split.map(|_| strings("split")).transpose()?;
                let lines = batch.column(batch.schema().index_of("line")?).as_primitive::<Int64Type>().clone();
                let ids = batch.column(batch.schema().index_of("id")?).as_fixed_size_binary().clone();
                for row in 0..batch.num_rows() {
                    if splits.as_ref().is_some_and(|splits| Some(splits.value(row)) != split) {
                        continue;
                    }
                    let line = lines.is_valid(row).then(|| lines.value(row));
                    let item = self.item(first, paths.value(row), line, id_at(&ids, row));
                    self.add(item, &[Some(texts.value(row).to_string())])?;
                }
            }
        }
        if self.items.len() == first {
            bail!("step `{}` has no documents{}", artifact.manifest.step, split.map_or(String::new(), |s| format!(" of the split `{s}`")));
        }
        Ok(())
    }

    fn item(&self, first: usize, path: &str, line: Option<i64>, id: [u8; 16]) -> Item {
        let set = (self.sets.len() - 1) as u16;
        Item { set, number: (self.items.len() - first) as i64, path: path.to_string(), line, id, words: 0, excerpt: String::new() }
    }
}

/// Whether a file of an evaluation set is Parquet; all others are JSON Lines.
pub fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// The value of a field; dots go into objects.
fn value_at<'a>(record: &'a Value, field: &str) -> Option<&'a Value> {
    record.get(field).or_else(|| field.split('.').try_fold(record, |value, name| value.get(name)))
}

/// A string, a number, or all strings within a list or an object, one a line.
fn text_of(value: &Value) -> Option<String> {
    let mut text = String::new();
    collect(value, &mut text);
    (!text.trim().is_empty()).then_some(text)
}

fn collect(value: &Value, text: &mut String) {
    let mut push = |part: &str| {
        text.push_str(if text.is_empty() { "" } else { "\n" });
        text.push_str(part);
    };
    match value {
        Value::String(string) => push(string),
        Value::Number(number) => push(&number.to_string()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, text)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, text)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// A column as text or as lists of texts.
fn column(batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
    let schema = batch.schema();
    let index = schema.index_of(name).map_err(|_| {
        let names = || schema.fields().iter().map(|field| field.name().as_str());
        anyhow::anyhow!("has no column `{name}`{}; columns: {}", suggest(name, names()), list(names()))
    })?;
    let wanted = match schema.field(index).data_type() {
        DataType::List(_) | DataType::LargeList(_) => DataType::new_list(DataType::Utf8, true),
        _ => DataType::Utf8,
    };
    cast(batch.column(index), &wanted).with_context(|| format!("column `{name}` is no text"))
}

fn cell(column: &ArrayRef, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    let text = match column.as_list_opt::<i32>() {
        Some(lists) => lists.value(row).as_string::<i32>().iter().flatten().collect::<Vec<_>>().join("\n"),
        None => column.as_string::<i32>().value(row).to_string(),
    };
    (!text.trim().is_empty()).then_some(text)
}
