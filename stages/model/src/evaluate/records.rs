//! The rows of an evaluation set, one after another as JSON objects: of JSON Lines, JSON, CSV, TSV and Parquet files, of the published files of
//! CrowS-Pairs and StereoSet, and of the documents of another step.
//!
//! What cannot be read is an error that names the place: a score over the rest would be a score of something else.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context as _, Result, anyhow, bail};
use arrow::array::RecordBatch;
use arrow::json::WriterBuilder;
use arrow::json::writer::JsonArray;
use engine::{Artifact, InputFile};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemars::JsonSchema;
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::stereoset;

/// Rows of columnar files that are read at once.
const BATCH_ROWS: usize = 1024;

/// How a file holds its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// An object a line.
    Jsonl,
    /// One list of objects.
    Json,
    /// Comma-separated, with a line of names; every value is text.
    Csv,
    /// As CSV, but separated by tabs.
    Tsv,
    Parquet,
    /// The CSV file of CrowS-Pairs.
    CrowsPairs,
    /// The JSON file of StereoSet.
    Stereoset,
}

impl Format {
    /// As the name of the file tells.
    pub fn of(path: &Path) -> Result<Format> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
        Ok(match name.rsplit('.').next().unwrap_or_default() {
            "jsonl" | "ndjson" => Format::Jsonl,
            "json" => Format::Json,
            "csv" => Format::Csv,
            "tsv" => Format::Tsv,
            "parquet" => Format::Parquet,
            _ => bail!(
                "`{}` does not tell its format; set format to jsonl, json, csv, tsv, parquet, crows-pairs or stereoset",
                path.display()
            ),
        })
    }
}

/// A row and where it is from.
pub struct Record {
    pub value: Value,
    pub id: [u8; 16],
    source: Arc<str>,
    /// `line`, `row` or `item`, with its number.
    unit: &'static str,
    number: u64,
}

impl Record {
    /// For messages.
    pub fn place(&self) -> String {
        format!("{}, {} {}", self.source, self.unit, self.number)
    }
}

pub type Records = Box<dyn Iterator<Item = Result<Record>>>;

/// Objects with their numbers in the file.
type Numbered = Box<dyn Iterator<Item = Result<(u64, Value)>>>;

/// The rows of files, one file after another; of StereoSet's file all, or those of a split.
pub fn of_files(files: &[InputFile], format: Option<Format>, split: Option<String>) -> Records {
    let files = files.to_vec();
    Box::new(files.into_iter().flat_map(move |file| match of_file(&file, format, split.as_deref()) {
        Ok(records) => records,
        Err(error) => Box::new(std::iter::once(Err(error.context(format!("reading `{}`", file.path.display()))))),
    }))
}

/// Rows of text files, a line each: of every column the lines of its file, of several files of a column a list.
pub fn of_lines(columns: Vec<(String, InputFile)>) -> Result<Records> {
    let mut open = Vec::new();
    for (_, file) in &columns {
        let read = file.open().with_context(|| format!("reading `{}`", file.path.display()))?;
        open.push(BufReader::with_capacity(1 << 17, read).split(b'\n'));
    }
    let name = |file: &InputFile| format!("`{}`", file.path.file_name().unwrap_or_default().to_string_lossy());
    let mut row = 0;
    Ok(Box::new(std::iter::from_fn(move || {
        let lines: Vec<Option<_>> = open.iter_mut().map(Iterator::next).collect();
        let ended = lines.iter().position(Option::is_none);
        let goes_on = lines.iter().position(Option::is_some)?;
        row += 1;
        if let Some(ended) = ended {
            let [ended, goes_on] = [ended, goes_on].map(|file| name(&columns[file].1));
            return Some(Err(anyhow!("{ended} has {} lines, {goes_on} has more; they must be of the same rows", row - 1)));
        }
        let mut value = Map::new();
        for ((column, file), line) in columns.iter().zip(lines.into_iter().flatten()) {
            let text = line.map_err(anyhow::Error::from).and_then(|line| Ok(String::from_utf8(line)?));
            let text = match text.with_context(|| format!("{}, line {row} is no UTF-8", name(file))) {
                Ok(text) => Value::from(text.strip_suffix('\r').unwrap_or(&text)),
                Err(error) => return Some(Err(error)),
            };
            match value.get_mut(column) {
                Some(Value::Array(texts)) => texts.push(text),
                Some(first) => *first = Value::Array(vec![first.take(), text]),
                None => drop(value.insert(column.clone(), text)),
            }
        }
        let (_, file) = columns.first()?;
        let source = name(file).into();
        Some(Ok(Record { value: value.into(), id: file.row_id(row - 1), source, unit: "line", number: row }))
    })))
}

fn of_file(file: &InputFile, format: Option<Format>, split: Option<&str>) -> Result<Records> {
    let (unit, values): (&'static str, Numbered) = match format.map_or_else(|| Format::of(&file.path), Ok)? {
        Format::Jsonl => ("line", Box::new(lines(file.open()?))),
        Format::Json => ("item", numbered(elements(file.open()?))),
        Format::Csv | Format::CrowsPairs => ("line", delimited(file.open()?, b',')?),
        Format::Tsv => ("line", delimited(file.open()?, b'\t')?),
        Format::Parquet => {
            let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path)?).context("it is no readable Parquet file")?;
            let batches = builder.with_batch_size(BATCH_ROWS).build()?;
            ("row", of_batches(batches.map(|batch| Ok(batch?))))
        }
        Format::Stereoset => {
            let file = serde_json::from_reader(file.open()?).context("it is no JSON")?;
            ("item", numbered(stereoset::rows(&file, split)?.into_iter().map(Ok)))
        }
    };
    let (source, file): (Arc<str>, InputFile) = (format!("`{}`", file.relative).into(), file.clone());
    Ok(Box::new(values.zip(0u64..).map(move |(read, row)| {
        let (number, value) = read.with_context(|| source.to_string())?;
        let record = Record { value, id: file.row_id(row), source: source.clone(), unit, number };
        if !record.value.is_object() {
            bail!("{} is no JSON object", record.place());
        }
        Ok(record)
    })))
}

/// The documents of a step, all or those of a split. The JSON in `extra` is read.
pub fn of_documents(artifact: &Artifact, split: Option<String>) -> Result<Records> {
    let table = artifact.table(artifact.main())?;
    if split.is_some() {
        table.column("split").context("`split`")?;
    }
    let source: Arc<str> = format!("documents of step `{}`", artifact.manifest.step).into();
    let files = 0..table.files.len();
    let batches = files.flat_map(move |file| -> Box<dyn Iterator<Item = Result<RecordBatch>>> {
        match table.read(file, None, BATCH_ROWS) {
            Ok(batches) => Box::new(batches),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    });
    let of_split = move |value: &Value| split.as_ref().is_none_or(|split| value["split"] == split.as_str());
    let values = of_batches(batches).filter(move |read| read.as_ref().map_or(true, |(_, value)| of_split(value)));
    Ok(Box::new(values.map(move |read| {
        let (number, mut value) = read?;
        let id = value["id"].as_str().and_then(from_hex).context("a document has no id")?;
        if let Some(extra) = value["extra"].as_str().and_then(|extra| serde_json::from_str(extra).ok()) {
            value["extra"] = extra;
        }
        Ok(Record { value, id, source: source.clone(), unit: "row", number })
    })))
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32).map(u128::to_be_bytes)
}

/// Lines that are not blank, by their numbers from 1.
fn lines(read: Box<dyn Read>) -> impl Iterator<Item = Result<(u64, Value)>> {
    let lines = BufReader::with_capacity(1 << 17, read).split(b'\n').zip(1..);
    lines.filter(|(line, _)| line.as_ref().map_or(true, |line| !line.trim_ascii().is_empty())).map(|(line, number)| {
        let value = serde_json::from_slice(&line?).with_context(|| format!("line {number} is no JSON"))?;
        Ok((number, value))
    })
}

fn numbered(values: impl IntoIterator<Item = Result<Value>> + 'static) -> Numbered {
    Box::new((1..).zip(values).map(|(number, value)| Ok((number, value?))))
}

/// The elements of a list, which is read while they are taken.
fn elements(read: Box<dyn Read + Send>) -> Receiver<Result<Value>> {
    let (sender, elements) = sync_channel(BATCH_ROWS);
    // A visitor hands elements on and cannot be asked for the next, so it has a thread of its own. Who takes no more lets it end.
    std::thread::spawn(move || {
        let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 17, read));
        let read = json.deserialize_seq(Elements(&sender)).and_then(|()| json.end());
        read.or_else(|error| sender.send(Err(error).context("it is no list of JSON objects")))
    });
    elements
}

struct Elements<'a>(&'a SyncSender<Result<Value>>);

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(element) = list.next_element()? {
            self.0.send(Ok(element)).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// Every value as text; columns without a name, such as numbers of rows, are left out.
fn delimited(read: Box<dyn Read>, delimiter: u8) -> Result<Numbered> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(read);
    let names: Vec<String> = reader.headers()?.iter().map(|name| name.trim_start_matches('\u{feff}').to_string()).collect();
    Ok(Box::new(reader.into_records().map(move |record| {
        let record = record?;
        let fields = names.iter().zip(&record).filter(|(name, _)| !name.is_empty());
        let value = Value::Object(fields.map(|(name, text)| (name.clone(), text.into())).collect());
        Ok((record.position().map_or(0, csv::Position::line), value))
    })))
}

/// Rows of batches as objects, by their numbers from 1.
fn of_batches(batches: impl Iterator<Item = Result<RecordBatch>> + 'static) -> Numbered {
    let values = batches.flat_map(|batch| match batch.and_then(|batch| objects(&batch)) {
        Ok(values) => values.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    });
    Box::new(values.zip(1..).map(|(value, number)| Ok((number, value?))))
}

fn objects(batch: &RecordBatch) -> Result<Vec<Value>> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    let text = writer.into_inner();
    if text.is_empty() { Ok(Vec::new()) } else { serde_json::from_slice(&text).context("rows as JSON") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(name: &str, content: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        let file = InputFile { path, relative: name.into(), bytes: 0, hash: String::new() };
        let told = |record: Result<Record>| match record {
            Ok(record) => format!("{}: {}", record.place(), record.value),
            Err(error) => format!("error: {error:#}"),
        };
        of_files(&[file], None, None).map(told).collect()
    }

    #[test]
    fn ids_are_those_of_rows_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, "{\"q\": 1}\n\n{\"q\": 2}\n").unwrap();
        let file = InputFile { path, relative: "a.jsonl".into(), bytes: 0, hash: "hash".into() };
        let ids: Vec<[u8; 16]> = of_files(std::slice::from_ref(&file), None, None).map(|record| record.unwrap().id).collect();
        assert_eq!(ids, [file.row_id(0), file.row_id(1)]);
        assert_ne!(InputFile { hash: "other".into(), ..file.clone() }.row_id(0), file.row_id(0));
    }

    #[test]
    fn rows_are_read_with_their_places() {
        let rows = |name: &str, content: &str, expected: [&str; 2]| assert_eq!(read(name, content), expected);
        rows("a.jsonl", "{\"q\": 1}\n\n{\"q\": [\"x\"]}", ["`a.jsonl`, line 1: {\"q\":1}", "`a.jsonl`, line 3: {\"q\":[\"x\"]}"]);
        rows("a.json", "[{\"q\": 1}, {\"q\": 2}]", ["`a.json`, item 1: {\"q\":1}", "`a.json`, item 2: {\"q\":2}"]);
        let csv = "\u{feff}q,,a\n\"x\ny\",0,007\nz,1,\n";
        rows("a.csv", csv, ["`a.csv`, line 2: {\"q\":\"x\\ny\",\"a\":\"007\"}", "`a.csv`, line 4: {\"q\":\"z\",\"a\":\"\"}"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = |name: &str, content: &str, expected: &str| {
            let found = read(name, content);
            assert!(found.last().unwrap().starts_with(&format!("error: {expected}")), "{found:?}");
        };
        error("a.jsonl", "{\"q\": 1}\n{", "`a.jsonl`: line 2 is no JSON: EOF");
        error("a.jsonl", "[1]\n", "`a.jsonl`, line 1 is no JSON object");
        error("a.json", "{\"q\": 1}", "`a.json`: it is no list of JSON objects: invalid type: map, expected a list of objects");
        error("a.json", "[{\"q\": 1},\n {\"q\" 2}]", "`a.json`: it is no list of JSON objects: expected `:` at line 2 column 7");
        error("a.json", "[{\"q\": 1}", "`a.json`: it is no list of JSON objects: EOF while parsing a list at line 1 column 9");
        error("a.json", "[{\"q\": 1}] x", "`a.json`: it is no list of JSON objects: trailing characters at line 1 column 12");
        error("a.json", "[1]", "`a.json`, item 1 is no JSON object");
        error("a.csv", "q,a\n1\n", "`a.csv`: CSV error: record 1 (line: 2, byte: 4)");
        error("a.md", "", "reading `");
    }

    #[test]
    fn a_list_is_read_while_its_elements_are_taken() {
        struct Endless(std::iter::Cycle<std::slice::Iter<'static, u8>>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                buffer.iter_mut().zip(&mut self.0).for_each(|(to, from)| *to = *from);
                Ok(buffer.len())
            }
        }
        let list = b"[{\"q\": 0}".as_slice().chain(Endless(b",{\"q\":1}".iter().cycle()));
        let taken: Vec<(u64, Value)> = numbered(elements(Box::new(list))).take(3).map(Result::unwrap).collect();
        assert_eq!(taken, [(1, json!({"q": 0})), (2, json!({"q": 1})), (3, json!({"q": 1}))]);
    }

    #[test]
    fn batches_become_objects() {
        let decode = |hex: &str| from_hex(hex).map(|id| id[0]);
        assert_eq!((decode(&"0f".repeat(16)), decode("0f")), (Some(15), None));
        let column = arrow::array::StringArray::from(vec![Some("a"), None]);
        let batch = RecordBatch::try_from_iter_with_nullable([("q", Arc::new(column) as arrow::array::ArrayRef, true)]).unwrap();
        assert_eq!(objects(&batch).unwrap(), [json!({"q": "a"}), json!({"q": null})]);
    }
}
