//! Hugging Face datasets: a folder for each split as `save_to_disk` writes it, and `dataset_dict.json` above them, so that `load_from_disk` opens
//! one split or all.
//!
//! As `datasets/arrow_dataset.py` has it: `dataset_info.json` names the columns, `state.json` the files, `data-00000-of-000NN.arrow` are Arrow
//! streams. Columns: `id` (hexadecimal), `input_ids`, and `label` or `labels` for examples.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, LargeListArray, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::root_as_message;
use arrow::ipc::writer::StreamWriter;
use engine::error::bare;
use engine::{Draft, list};
use serde_json::{Value, json};

use super::documents::{Document, Totals};
use super::files::{Input, read_json, write_whole};
use super::{Found, Limits, Sink, Written, hex, parse_id};

/// Rows of a batch, as many as `datasets` writes at once; fewer where documents are long.
const BATCH_ROWS: usize = 1000;
const BATCH_TOKENS: usize = 1 << 20;
/// A file is closed at 512 MB of ids, about what `save_to_disk` does.
const FILE_TOKENS: u64 = 1 << 27;
const STATE: &str = "state.json";
/// What begins each message of an Arrow stream.
const CONTINUATION: [u8; 4] = [0xff; 4];

pub(super) struct Writer<'a> {
    draft: &'a Draft,
    split: String,
    folder: String,
    features: Value,
    schema: SchemaRef,
    rows: Vec<Document>,
    tokens: usize,
    open: Option<(PathBuf, StreamWriter<BufWriter<File>>)>,
    /// Totals of each file.
    files: Vec<Totals>,
}

/// `classes` are the names of labels, for examples of `classify`.
pub(super) fn create<'a>(draft: &'a Draft, folder: &str, split: &str, layout: &str, classes: &[String]) -> Writer<'a> {
    let value = |dtype: &str| json!({"dtype": dtype, "_type": "Value"});
    let ids = |dtype: &str| json!({"feature": value(dtype), "_type": "Sequence"});
    let numbers = |name: &str, to: DataType| Field::new(name, DataType::List(item(to)), true);
    let mut features = json!({"id": value("string"), "input_ids": ids("int32")});
    let mut fields = vec![Field::new("id", DataType::Utf8, true), numbers("input_ids", DataType::Int32)];
    match layout {
        "classify" => {
            features["label"] = json!({"names": classes, "_type": "ClassLabel"});
            fields.push(Field::new("label", DataType::Int64, true));
        }
        "complete" => {
            features["labels"] = ids("int64");
            fields.push(numbers("labels", DataType::Int64));
        }
        _ => {}
    }
    let metadata = json!({"info": {"features": features}}).to_string();
    let schema = Schema::new_with_metadata(fields, HashMap::from([("huggingface".to_string(), metadata)]));
    Writer {
        draft,
        split: split.to_string(),
        folder: format!("{folder}/{split}"),
        features,
        schema: Arc::new(schema),
        rows: Vec::new(),
        tokens: 0,
        open: None,
        files: Vec::new(),
    }
}

/// Names the splits, so that the folder opens as a `DatasetDict`.
pub(super) fn write_dict(draft: &Draft, folder: &str, splits: &[&str]) -> Result<()> {
    let path = draft.file(&format!("{folder}/dataset_dict.json"))?;
    write_whole(&path, json!({"splits": splits}).to_string().as_bytes()).map(drop)
}

fn item(to: DataType) -> Arc<Field> {
    Arc::new(Field::new_list_field(to, true))
}

impl Writer<'_> {
    /// Before all rows are seen nobody knows the number of files, which is part of their names.
    fn unnamed(&self, file: usize) -> String {
        format!("{}/data-{file:05}.arrow", self.folder)
    }

    fn flush(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        self.tokens = 0;
        if self.open.is_none() {
            let path = self.draft.file(&self.unnamed(self.files.len()))?;
            let file = File::create(&path).with_context(|| format!("creating `{}`", path.display()))?;
            let writer = StreamWriter::try_new_buffered(file, &self.schema).map_err(bare);
            let writer = writer.with_context(|| format!("writing `{}`", path.display()))?;
            self.open = Some((path, writer));
            self.files.push(Totals::default());
        }
        let lengths = OffsetBuffer::from_lengths(rows.iter().map(|row| row.tokens.len()));
        let ids = Int32Array::from_iter_values(rows.iter().flat_map(|row| &row.tokens).map(|id| *id as i32));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| hex(&row.id)))),
            Arc::new(ListArray::try_new(item(DataType::Int32), lengths, Arc::new(ids), None)?),
        ];
        if self.schema.index_of("label").is_ok() {
            columns.push(Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.label))));
        }
        if self.schema.index_of("labels").is_ok() {
            let all = || rows.iter().map(|row| row.labels.as_deref().unwrap_or_default());
            let lengths = OffsetBuffer::from_lengths(all().map(<[i64]>::len));
            let values = Int64Array::from_iter_values(all().flatten().copied());
            columns.push(Arc::new(ListArray::try_new(item(DataType::Int64), lengths, Arc::new(values), None)?));
        }
        let totals = self.files.last_mut().expect("an open file has totals");
        totals.documents += rows.len() as u64;
        totals.tokens += rows.iter().map(|row| row.tokens.len() as u64).sum::<u64>();
        let full = totals.tokens >= FILE_TOKENS;
        let (path, writer) = self.open.as_mut().expect("opened above");
        if !rows.is_empty() {
            let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
            writer.write(&batch).map_err(bare).with_context(|| format!("writing `{}`", path.display()))?;
        }
        if full { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<()> {
        let Some((path, mut writer)) = self.open.take() else { return Ok(()) };
        let failed = || format!("writing `{}`", path.display());
        writer.finish().map_err(bare).with_context(failed)?;
        let buffer = writer.into_inner().map_err(bare).with_context(failed)?;
        let file = buffer.into_inner().map_err(|error| error.into_error()).with_context(failed)?;
        file.sync_all().with_context(failed)
    }
}

impl Sink for Writer<'_> {
    fn push(&mut self, document: &Document) -> Result<()> {
        self.tokens += document.tokens.len();
        self.rows.push(document.clone());
        if self.rows.len() == BATCH_ROWS || self.tokens >= BATCH_TOKENS { self.flush() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<Written>> {
        if !self.rows.is_empty() || self.files.is_empty() {
            self.flush()?;
        }
        self.close()?;
        let mut written = Vec::new();
        let mut names = Vec::new();
        for (file, totals) in self.files.iter().enumerate() {
            let name = format!("data-{file:05}-of-{:05}.arrow", self.files.len());
            let relative = format!("{}/{name}", self.folder);
            let (from, to) = (self.draft.file(&self.unnamed(file))?, self.draft.file(&relative)?);
            std::fs::rename(&from, &to).with_context(|| format!("renaming `{}`", from.display()))?;
            let bytes = std::fs::metadata(&to).with_context(|| format!("reading `{}`", to.display()))?.len();
            written.push(Written::new(relative, *totals, bytes));
            names.push(json!({"filename": name}));
        }
        // `datasets` caches by the fingerprint, so splits must differ in it.
        let fingerprint = blake3::hash(format!("{}/{}", self.draft.key(), self.split).as_bytes()).to_hex();
        let state = json!({
            "_data_files": names, "_fingerprint": fingerprint[..16], "_format_columns": null, "_format_kwargs": {}, "_format_type": null,
            "_output_all_columns": false, "_split": self.split,
        });
        let info = json!({"citation": "", "description": "", "features": self.features, "homepage": "", "license": ""});
        for (name, json) in [("dataset_info.json", info), (STATE, state)] {
            let relative = format!("{}/{name}", self.folder);
            let mut text = serde_json::to_vec_pretty(&json)?;
            text.push(b'\n');
            let bytes = write_whole(&self.draft.file(&relative)?, &text)?;
            written.push(Written::new(relative, Totals::default(), bytes));
        }
        Ok(written)
    }
}

/// Reads the files of a folder of `save_to_disk` in order; `column` holds the ids.
pub(crate) fn read(folder: &Path, column: Option<&str>, limits: &Limits, sink: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
    let path = folder.join(STATE);
    let name = path.display();
    if folder.join("dataset_dict.json").is_file() {
        bail!("`{}` holds several splits; name the folder of one", folder.display());
    }
    let state = read_json(&path)?;
    if state["_indices_data_files"].as_array().is_some_and(|files| !files.is_empty()) {
        bail!("`{name}` selects rows by an index; call flatten_indices() and save the dataset again");
    }
    let mut position = 0;
    for file in state["_data_files"].as_array().with_context(|| format!("`{name}` lists no files; was it made by save_to_disk?"))? {
        let filename = file["filename"].as_str().filter(|filename| !filename.contains(['/', '\\']));
        let filename = filename.with_context(|| format!("`{name}` is altered: a file has no name; get it again"))?;
        let path = folder.join(filename);
        read_stream(&path, column, limits, &mut position, sink)?;
    }
    Ok(())
}

fn read_stream(
    path: &Path,
    column: Option<&str>,
    limits: &Limits,
    position: &mut u64,
    sink: &mut dyn FnMut(Found) -> Result<()>,
) -> Result<()> {
    let name = path.display();
    let reading = || format!("reading `{name}`");
    let file = File::open(path).with_context(reading)?;
    check_messages(path)?;
    let damaged = || format!("`{name}` is no readable Arrow stream; get the file again");
    let file = BufReader::with_capacity(1 << 20, file);
    let mut reader = guarded(|| StreamReader::try_new(file, None)).with_context(damaged)?;
    let schema = reader.schema();
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    let wanted = |name: &str| column.map_or(name == "input_ids" || name == "tokens", |column| name == column);
    let ids = names().position(wanted).with_context(|| {
        format!("`{name}` has no column `{}`; columns: {}; choose with `column`", column.unwrap_or("input_ids"), list(names()))
    })?;
    let key = names().position(|name| name == "id");
    while let Some(batch) = guarded(|| reader.next().transpose()).with_context(damaged)? {
        let to = DataType::LargeList(item(DataType::Int64));
        let wrong =
            || format!("`{name}`: column `{}` holds {}, not lists of integers", schema.field(ids).name(), schema.field(ids).data_type());
        if !matches!(list_of(batch.column(ids).data_type()), Some(inner) if inner.is_integer()) {
            bail!(wrong());
        }
        let lists = cast(batch.column(ids), &to).with_context(wrong)?;
        let lists: &LargeListArray = lists.as_list();
        let keys = key.and_then(|key| cast(batch.column(key), &DataType::Utf8).ok());
        for row in 0..batch.num_rows() {
            let mut found = Found { position: *position, ..Found::default() };
            let key = keys.as_ref().map(|keys| keys.as_string::<i32>()).filter(|keys| keys.is_valid(row));
            found.id = key.and_then(|keys| parse_id(keys.value(row)));
            // A null list is an empty document.
            if lists.is_valid(row) {
                let values = lists.value(row);
                if values.null_count() > 0 {
                    bail!("`{name}`: row {row} of the batch from row {} on holds null among its ids", *position - row as u64);
                }
                limits.check(path, *position, values.len())?;
                found.tokens.extend_from_slice(values.as_primitive::<Int64Type>().values());
            }
            sink(found)?;
            *position += 1;
        }
    }
    Ok(())
}

/// Walks over the messages of a stream to its end: Arrow's reader takes as much memory as a message says, and ends without an error where a
/// stream is cut between two.
fn check_messages(path: &Path) -> Result<()> {
    let name = path.display();
    let mut input = Input::open(path)?;
    let mut metadata = Vec::new();
    loop {
        if input.array()? != CONTINUATION {
            bail!("`{name}` is no Arrow stream or altered: no message begins at byte {}; get the file again", input.position() - 4);
        }
        let length = u32::from_le_bytes(input.array()?) as usize;
        if length == 0 {
            return Ok(());
        }
        input.take(length, &mut metadata)?;
        let body = root_as_message(&metadata).ok().and_then(|message| u64::try_from(message.bodyLength()).ok());
        let end = body.and_then(|body| body.checked_add(input.position())).filter(|end| *end <= input.bytes);
        let end = end.with_context(|| format!("`{name}` is cut short or altered before byte {}; get the file again", input.position()))?;
        input.seek(end)?;
    }
}

/// Arrow's reader panics on some damage that it does not look for.
fn guarded<T>(read: impl FnOnce() -> arrow::error::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => Ok(read?),
        Err(_) => bail!("its structure is broken"),
    }
}

fn list_of(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => Some(field.data_type()),
        _ => None,
    }
}
