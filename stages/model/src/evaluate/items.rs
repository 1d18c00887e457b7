//! What a model is asked of each row: texts, and what is right. All rows are rendered before the model is loaded, into a Parquet file that
//! `mill-model` reads, so that a wrong row is an error now and not after hours.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::ReaderBuilder;
use arrow::json::reader::{Decoder, infer_json_schema_from_iterator};
use engine::error::bare;
use engine::{Context, list};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value, json};

use super::examples::{Examples, POOL};
use super::records::{Record, Records};
use super::settings::{Evaluate, Output};
use super::template::Template;

/// The file, in the draft's folder for what is needed only until the step is done.
pub const FILE: &str = "items.parquet";
/// Where a row stands in the dataset, for messages. Columns before it are those that are asked, the user's stand behind it.
pub const PLACE: &str = "@place";
/// The text of `rolling`.
pub const TEXT: &str = "@text";
/// The text with a blank of `contrast`.
pub const CONTEXT: &str = "@context";
const BATCH_ROWS: usize = 1024;
/// Rows of a row group: parts of predictions begin anywhere.
const ROW_GROUP_ROWS: usize = 4096;

/// A task whose templates were read.
pub struct Task<'a> {
    settings: &'a Evaluate,
    output: Output,
    templates: Vec<(&'static str, Template)>,
}

impl Task<'_> {
    pub fn new(settings: &Evaluate, output: Output) -> Result<Task<'_>> {
        Ok(Task { settings, output, templates: settings.templates()? })
    }

    /// Refuses templates with columns that none of the first rows has.
    pub fn check(&self, columns: &[&str]) -> Result<()> {
        self.templates.iter().try_for_each(|(key, template)| template.check(columns).with_context(|| format!("`{key}`")))
    }

    /// Reads `records` twice, once for the types of their columns, and writes what is asked to `path`; gives the number of rows.
    pub fn write(&self, ctx: &Context, path: &Path, records: impl Fn() -> Result<Records>, examples: Option<Records>) -> Result<u64> {
        let limit = self.settings.limit.unwrap_or(u64::MAX) as usize;
        let examples = self.examples(examples.map_or_else(&records, Ok)?)?;
        let columns = self.columns(records()?.take(limit))?;
        let mut writer = Writer::create(path, &columns)?;
        for (record, row) in records()?.take(limit).zip(0..) {
            ctx.check_stop()?;
            let record = record?;
            let mut item = self.item(&record.value, examples.before(row), columns.lists).with_context(|| record.place())?;
            item.insert(PLACE.into(), record.place().into());
            for (name, renamed) in &columns.kept {
                item.insert(renamed.clone(), record.value.get(name).cloned().unwrap_or_default());
            }
            writer.push(record.id, item.into()).context("writing what is asked")?;
        }
        ensure!(writer.rows > 0, "the dataset has no rows");
        writer.finish()
    }

    fn examples(&self, records: Records) -> Result<Examples> {
        let settings = self.settings;
        let number = settings.num_fewshot.unwrap_or(0) as usize;
        let mut texts = Vec::new();
        for record in records.take(if number == 0 { 0 } else { POOL }) {
            let record = record?;
            texts.push(self.solved(&record.value).with_context(|| record.place())?);
        }
        let (sampler, seed) = (settings.fewshot_sampler.unwrap_or_default(), settings.fewshot_seed.unwrap_or_default());
        let examples = Examples { texts, of_rows: number > 0 && settings.fewshot_dataset.is_empty(), number, sampler, seed };
        examples.check()?;
        Ok(examples)
    }

    fn template(&self, key: &str) -> Option<&Template> {
        self.templates.iter().find(|(other, _)| *other == key).map(|(_, template)| template)
    }

    /// The text of a template that must be there.
    fn render(&self, key: &str, record: &Value) -> Result<String> {
        let template = self.template(key).with_context(|| format!("`{key}` is missing"))?;
        template.render(record).with_context(|| format!("`{key}`"))
    }

    /// The texts of a list of templates.
    fn render_all(&self, key: &str, record: &Value) -> Result<Vec<String>> {
        let templates = self.templates.iter().filter(|(other, _)| *other == key);
        let lists = templates.map(|(_, template)| template.render_all(record).with_context(|| format!("`{key}`")));
        Ok(lists.collect::<Result<Vec<_>>>()?.concat())
    }

    /// What is asked of a row, by columns; with `lists`, what is right is a list of texts.
    fn item(&self, record: &Value, examples: String, lists: bool) -> Result<Map<String, Value>> {
        let prompt = || -> Result<String> {
            let description = self.settings.description.as_deref().unwrap_or_default();
            Ok(format!("{description}{examples}{}", self.render("doc_to_text", record)?))
        };
        let item = match self.output {
            Output::MultipleChoice => {
                let choices = self.render_all("doc_to_choice", record)?;
                json!({"prompt": prompt()?, "gold": self.gold(record, &choices)?, "choices": choices})
            }
            Output::Generate => {
                let references = self.references(record)?;
                json!({"source": prompt()?, "reference": if lists { json!(references) } else { json!(references[0]) }})
            }
            Output::Rolling => json!({TEXT: self.render("doc_to_target", record)?}),
            Output::Contrast => {
                let keys = ["stereotype", "anti_stereotype", "unrelated"].into_iter().filter(|key| self.template(key).is_some());
                let texts = keys.map(|key| self.render(key, record)).collect::<Result<Vec<_>>>()?;
                let direction = self.fact("direction", record)?;
                ensure!(
                    direction.as_deref().is_none_or(|direction| ["stereo", "antistereo"].contains(&direction)),
                    "`direction` is `{}`; directions: `stereo`, `antistereo`",
                    direction.unwrap_or_default()
                );
                json!({"texts": texts, "direction": direction, "target": self.fact("target", record)?, CONTEXT: self.fact("context", record)?})
            }
        };
        match item {
            Value::Object(item) => Ok(item),
            _ => bail!("an item is an object"),
        }
    }

    /// A text that may be missing.
    fn fact(&self, key: &str, record: &Value) -> Result<Option<String>> {
        match self.template(key) {
            Some(template) if template.value(record).ok().flatten().is_some_and(Value::is_null) => Ok(None),
            Some(_) => self.render(key, record).map(Some),
            None => Ok(None),
        }
    }

    /// The number of the right choice: a whole number, the name of a choice, or a number as text, as lm-eval reads it.
    fn gold(&self, record: &Value, choices: &[String]) -> Result<usize> {
        ensure!(!choices.is_empty(), "there is no choice");
        let labels = self.render_all("choice_labels", record)?;
        let labels = if labels.is_empty() { choices } else { &labels };
        ensure!(labels.len() == choices.len(), "there are {} choice_labels for {} choices", labels.len(), choices.len());
        let target = self.template("doc_to_target").map(|template| template.value(record)).transpose()?.flatten();
        let text = self.render("doc_to_target", record)?;
        let named = if target.is_some_and(Value::is_number) { None } else { labels.iter().position(|label| *label == text) };
        match named.map_or_else(|| text.trim().parse::<usize>(), Ok) {
            Ok(gold) if gold < choices.len() => Ok(gold),
            Ok(gold) => bail!("gold is {gold}, there are {} choices, counted from 0", choices.len()),
            Err(_) => bail!("gold is `{text}`, which is none of {}", list(labels.iter().map(String::as_str))),
        }
    }

    /// The texts that are right, at least one.
    fn references(&self, record: &Value) -> Result<Vec<String>> {
        let template = self.template("doc_to_target").context("`doc_to_target` is missing")?;
        let references = template.render_all(record).context("`doc_to_target`")?;
        ensure!(!references.is_empty(), "`doc_to_target` is a list without texts");
        Ok(references)
    }

    /// A row as an example: its prompt and its answer.
    fn solved(&self, record: &Value) -> Result<String> {
        let answer = match self.output {
            Output::MultipleChoice => {
                let choices = self.render_all("doc_to_choice", record)?;
                choices[self.gold(record, &choices)?].clone()
            }
            _ => self.references(record)?.swap_remove(0),
        };
        let [target, example] =
            [&self.settings.target_delimiter, &self.settings.fewshot_delimiter].map(|text| text.as_deref().unwrap_or_default());
        Ok(format!("{}{target}{answer}{example}", self.render("doc_to_text", record)?))
    }

    /// The columns of the file: ours, and the user's with the types that all their values have.
    fn columns(&self, records: impl Iterator<Item = Result<Record>>) -> Result<Columns> {
        let (mut names, mut lists, mut wrong) = (Vec::<String>::new(), false, None);
        let target = self.template("doc_to_target").filter(|_| self.output == Output::Generate);
        let kept = records.map_while(|record| match record {
            Ok(Record { value: Value::Object(mut value), .. }) => {
                let is_list =
                    |template: &Template| template.value(&Value::Object(value.clone())).ok().flatten().is_some_and(Value::is_array);
                lists |= target.is_some_and(is_list);
                let kept = self.kept(&value);
                value.retain(|name, _| kept.contains(name));
                kept.into_iter().for_each(|name| {
                    if !names.contains(&name) {
                        names.push(name)
                    }
                });
                Some(Ok(Value::Object(value)))
            }
            Ok(_) => None,
            Err(error) => {
                wrong = Some(error);
                None
            }
        });
        let inferred = infer_json_schema_from_iterator(kept);
        if let Some(error) = wrong {
            return Err(error);
        }
        let inferred = inferred.context("a column holds lists and others, or objects and others; name the columns to keep in `columns`")?;
        let mut fields = self.output.fields(lists);
        let mut kept = Vec::new();
        for name in names {
            let Ok(field) = inferred.field_with_name(&name) else { continue };
            let mut renamed = name.clone();
            while self.output.reserved().contains(&renamed.as_str()) || fields.iter().any(|field| *field.name() == renamed) {
                renamed = format!("document_{renamed}");
            }
            fields.push(Field::new(&renamed, ordered(field.data_type()), true));
            kept.push((name, renamed));
        }
        if let Some(missing) = self.settings.columns.iter().flatten().find(|name| !kept.iter().any(|(kept, _)| kept == *name)) {
            bail!("`columns`: no row has the column `{missing}`");
        }
        Ok(Columns { schema: Schema::new(fields), kept, lists })
    }

    /// Names of the user's columns of a row. Of documents, the source and what lies between `text` and `extra`.
    fn kept(&self, row: &Map<String, Value>) -> Vec<String> {
        let names = || row.keys().filter(|name| !name.is_empty()).cloned();
        match &self.settings.columns {
            Some(columns) => names().filter(|name| columns.contains(name)).collect(),
            None if self.settings.dataset.is_empty() => origins::users_columns(&names().collect::<Vec<_>>()),
            None => names().collect(),
        }
    }
}

impl Output {
    /// The columns that are asked of.
    fn fields(self, lists: bool) -> Vec<Field> {
        let texts = || DataType::new_list(DataType::Utf8, true);
        let field = |name: &str, data_type: DataType, nullable: bool| Field::new(name, data_type, nullable);
        let mut fields = match self {
            Output::MultipleChoice => {
                vec![field("prompt", DataType::Utf8, false), field("gold", DataType::Int64, false), field("choices", texts(), false)]
            }
            Output::Generate => {
                let reference = if lists { texts() } else { DataType::Utf8 };
                vec![field("source", DataType::Utf8, false), field("reference", reference, false)]
            }
            Output::Rolling => vec![field(TEXT, DataType::Utf8, false)],
            Output::Contrast => {
                let facts = ["direction", "target", CONTEXT].map(|name| field(name, DataType::Utf8, true));
                std::iter::once(field("texts", texts(), false)).chain(facts).collect()
            }
        };
        fields.push(field(PLACE, DataType::Utf8, false));
        fields
    }

    /// What else predictions have.
    fn reserved(self) -> &'static [&'static str] {
        match self {
            Output::MultipleChoice => &["id", "log_likelihoods", "unconditional", "prediction", "truncated"],
            Output::Generate => &["id", "prediction", "tokens", "stopped", "log_likelihood", "truncated"],
            Output::Rolling => &["id", "nll", "tokens", "correct", "bytes", "words"],
            Output::Contrast => &["id", "stereotype", "anti_stereotype", "unrelated"],
        }
    }
}

/// The columns of the file without `id`, and the user's by their names in the rows and in the file.
struct Columns {
    schema: Schema,
    kept: Vec<(String, String)>,
    /// Whether what is right is a list of texts in some row.
    lists: bool,
}

/// A type with the fields of objects in the order of their names, as inference has them in none; what is always null is text.
pub(crate) fn ordered(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Null => DataType::Utf8,
        DataType::List(item) => DataType::new_list(ordered(item.data_type()), true),
        DataType::Struct(fields) => {
            let mut fields: Vec<Field> = fields.iter().map(|field| Field::new(field.name(), ordered(field.data_type()), true)).collect();
            fields.sort_by(|a, b| a.name().cmp(b.name()));
            DataType::Struct(fields.into())
        }
        other => other.clone(),
    }
}

/// The file while it is written.
struct Writer {
    path: PathBuf,
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    decoder: Decoder,
    ids: Vec<[u8; 16]>,
    rows: u64,
}

impl Writer {
    fn create(path: &Path, columns: &Columns) -> Result<Writer> {
        let failed = || format!("writing `{}`", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).with_context(failed)?;
        let decoder = ReaderBuilder::new(Arc::new(columns.schema.clone())).with_coerce_primitive(true).build_decoder()?;
        let id = Arc::new(Field::new("id", DataType::FixedSizeBinary(16), false));
        let schema = Arc::new(Schema::new(std::iter::once(id).chain(columns.schema.fields().iter().cloned()).collect::<Vec<_>>()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let file = File::create(path).with_context(failed)?;
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(bare).with_context(failed)?;
        Ok(Writer { path: path.to_path_buf(), writer, schema, decoder, ids: Vec::new(), rows: 0 })
    }

    fn push(&mut self, id: [u8; 16], item: Value) -> Result<()> {
        self.decoder.serialize(&[item])?;
        self.ids.push(id);
        self.rows += 1;
        if self.ids.len() == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let Some(batch) = self.decoder.flush()? else { return Ok(()) };
        let ids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(self.ids.drain(..).map(Some), 16)?;
        let columns = std::iter::once(Arc::new(ids) as ArrayRef).chain(batch.columns().iter().cloned()).collect();
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        self.writer.write(&batch).map_err(bare).with_context(|| format!("writing `{}`", self.path.display()))
    }

    fn finish(mut self) -> Result<u64> {
        self.flush()?;
        self.writer.close().map_err(bare).with_context(|| format!("writing `{}`", self.path.display()))?;
        Ok(self.rows)
    }
}
