//! The stage `import-predictions`: what other programs predicted, beside what is right, from files into the table that `score` reads.
//!
//! Files are read twice: for classes, ids and the types of the user's columns, then for the rows. What cannot be read is an error with its
//! place: a score of the rest would be a score of something else.

mod columns;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::ReaderBuilder;
use arrow::json::reader::infer_json_schema_from_iterator;
use engine::{Context, Draft, InputFile, Inputs, Kind, Part, PartWriter, Port, Site, Stage, list, suggest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::evaluate::items::ordered;
use crate::evaluate::records::{self, Format, Record, Records};
use columns::{Column, Predicted, text};

const TABLE: &str = "predictions";
const BATCH_ROWS: usize = 4096;

/// Settings of `import-predictions`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportPredictions {
    /// `classify` (columns `gold`, `prediction` and, if you have them, `probabilities`), `multi-label`, `number`, `tag` and `answer` (`gold`,
    /// `prediction`), `complete` (`prediction`, `reference`, which may be a list, and `source`), `choose` (`gold` from 0, `choices`,
    /// `log_likelihoods`, `unconditional`), `contrast` (`stereotype`, `anti_stereotype`, `unrelated`, `direction`, `target`) or
    /// `language-modelling` (`nll`, `tokens`, `bytes`, `words`, `correct`).
    pub task: Predicted,
    /// Files with a row for each prediction; other columns stand beside them, for slices. Lists in CSV and TSV files are JSON lists, or words between
    /// spaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// `jsonl`, `json`, `csv`, `tsv` or `parquet`; as names of files end unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// In place of `paths`, text files with a row a line: `{ prediction = ["system.txt"], reference = ["a.txt", "b.txt"] }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lines: BTreeMap<String, Vec<String>>,
    /// Field that a column is read from where it has another name: `{ gold = "label" }`. The column `id`, if there is one, tells rows apart: those
    /// that are compared must have the same ones, and ids of documents, as SQL shows them, find `documents` and `contamination` of `score`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// The classes or tags, in the order of `probabilities`; those that occur unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// What the scores' column `system` calls the predictions: `model` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
}

impl Stage for ImportPredictions {
    const NAME: &'static str = "import-predictions";
    const ABOUT: &'static str = "Reads predictions of other programs, beside what is right, for `score`.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Predictions;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        self.check()?;
        let mut files = Vec::new();
        if !self.paths.is_empty() {
            files = site.files(&self.paths).context("`paths`")?;
            files.iter().try_for_each(|file| self.format_of(file).map(|_| ()))?;
        }
        for (column, paths) in &self.lines {
            for (number, path) in paths.iter().enumerate() {
                let file = site.file(site.root().join(path), &format!("{column}/{number:05}"));
                files.push(file.context("`lines`: relative paths start at the config's `root`")?);
            }
        }
        self.check_fields(&crate::evaluate::columns(self.records(&files)?)?)
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let found = self.look(ctx, self.records(inputs.files())?)?;
        draft.fact("task", self.task)?;
        if self.task.has_classes() {
            draft.fact("classes", self.classes.clone().unwrap_or_else(|| found.classes.iter().cloned().collect()))?;
        }
        if let Some(system) = &self.system {
            draft.fact("system", system)?;
        }
        draft.declare(TABLE, found.schema.clone())?;
        let bytes = inputs.files().iter().map(|file| file.bytes).sum();
        draft.parts(ctx, &[Part { bytes }], |_, part| self.write(ctx, self.records(inputs.files())?, &found, part))
    }
}

/// What all rows together tell.
struct Found {
    /// Whether some reference is a list.
    lists: bool,
    given: Vec<&'static Column>,
    /// The user's columns by their names in the files and in the table.
    kept: Vec<(String, String)>,
    classes: BTreeSet<String>,
    schema: Arc<Schema>,
}

impl ImportPredictions {
    fn check(&self) -> Result<()> {
        ensure!(
            self.paths.is_empty() != self.lines.is_empty(),
            "give either `paths`, files with a row for each prediction, or `lines`, text files with a row a line"
        );
        ensure!(self.lines.is_empty() || self.format.is_none(), "`format` is for `paths`");
        ensure!(
            !matches!(self.format, Some(Format::CrowsPairs | Format::Stereoset)),
            "a file of CrowS-Pairs or StereoSet holds no predictions; the stage `evaluate` asks a model of it"
        );
        ensure!(self.classes.is_none() || self.task.has_classes(), "`classes` are for the tasks `classify`, `multi-label` and `tag`");
        let names = || self.task.columns().iter().map(|column| column.name).chain(["id"]);
        for (key, name) in self.fields.keys().map(|name| ("fields", name)).chain(self.lines.keys().map(|name| ("lines", name))) {
            let known = names().any(|known| known == name);
            ensure!(known, "`{key}`: the task has no column `{name}`{}; columns: {}", suggest(name, names()), list(names()));
        }
        ensure!(self.lines.is_empty() || self.fields.is_empty(), "`fields` are for `paths`; `lines` names its columns itself");
        if let Some((name, _)) = self.lines.iter().find(|(name, paths)| paths.len() != 1 && (*name != "reference" || paths.is_empty())) {
            bail!("`lines`: `{name}` needs one file; `reference` alone may have several");
        }
        Ok(())
    }

    fn format_of(&self, file: &InputFile) -> Result<Format> {
        let unknown = || {
            format!(
                "`{}` does not tell its format; set format to jsonl, json, csv, tsv or parquet, or give plain texts by `lines`",
                file.path.display()
            )
        };
        self.format.map_or_else(|| Format::of(&file.path), Ok).map_err(|_| anyhow!(unknown()))
    }

    /// The field that a column is read from.
    fn field<'a>(&'a self, column: &'a str) -> &'a str {
        self.fields.get(column).map_or(column, String::as_str)
    }

    /// Refuses files whose first rows lack a column.
    fn check_fields(&self, names: &[String]) -> Result<()> {
        let names = || names.iter().map(String::as_str);
        let required = self.task.columns().iter().filter(|column| column.required).map(|column| column.name);
        for column in required.chain(self.fields.keys().map(String::as_str)) {
            let field = self.field(column);
            let hint = if self.fields.contains_key(column) || !self.lines.is_empty() {
                String::new()
            } else {
                format!("; where it has another name, set fields = {{ {column} = \"…\" }}")
            };
            ensure!(
                names().any(|name| name == field),
                "there is no column `{field}`{}; columns: {}{hint}",
                suggest(field, names()),
                list(names())
            );
        }
        let probabilities = names().any(|name| name == self.field("probabilities"));
        ensure!(
            self.task != Predicted::Classify || !probabilities || self.classes.is_some(),
            "`probabilities` need `classes`, the names of the classes in their order"
        );
        Ok(())
    }

    /// All rows, from the start each time. Files of `lines` have the names of their columns.
    fn records(&self, files: &[InputFile]) -> Result<Records> {
        if self.lines.is_empty() {
            return Ok(records::of_files(files, self.format, None));
        }
        let column = |file: &InputFile| file.relative.split('/').next().unwrap_or_default().to_string();
        records::of_lines(files.iter().map(|file| (column(file), file.clone())).collect())
    }

    /// Reads all rows for what they tell together.
    fn look(&self, ctx: &Context, records: Records) -> Result<Found> {
        let (mut rows, mut lists, mut has_id, mut all_ids) = (0, false, false, true);
        let (mut given, mut classes, mut names, mut wrong) = (BTreeSet::new(), BTreeSet::new(), Vec::<String>::new(), None);
        let mut see = |record: Record| -> Result<Value> {
            ctx.check_stop()?;
            rows += 1;
            let Value::Object(mut row) = record.value.clone() else { bail!("{} is no JSON object", record.place()) };
            lists |= row.get(self.field("reference")).is_some_and(Value::is_array);
            let there = |column: &&Column| row.get(self.field(column.name)).is_some_and(|value| !value.is_null());
            given.extend(self.task.columns().iter().filter(there).map(|column| column.name));
            if self.task.has_classes() {
                self.classes_of(&record, &mut classes)?;
            }
            if let Some(id) = row.get(self.field("id")) {
                has_id = true;
                all_ids &= is_document(&text(id).unwrap_or_default());
            }
            let taken =
                |name: &str| self.task.columns().iter().map(|column| column.name).chain(["id"]).any(|column| self.field(column) == name);
            row.retain(|name, _| !name.is_empty() && !taken(name));
            names.extend(row.keys().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>());
            Ok(Value::Object(row))
        };
        let kept = records.map_while(|record| match record.and_then(&mut see) {
            Ok(row) => Some(Ok(row)),
            Err(error) => {
                wrong = Some(error);
                None
            }
        });
        let inferred = infer_json_schema_from_iterator(kept);
        if let Some(error) = wrong {
            return Err(error);
        }
        let inferred = inferred.context("a column holds lists and others, or objects and others")?;
        ensure!(rows > 0, "there are no rows");
        let id = has_id.then(|| Field::new("id", if all_ids { DataType::FixedSizeBinary(16) } else { DataType::Utf8 }, false));
        let given = self.task.columns().iter().filter(|column| column.required || given.contains(column.name)).collect::<Vec<_>>();
        let mut fields: Vec<Field> = id.into_iter().collect();
        fields.extend(given.iter().map(|column| Field::new(column.name, column.of.data_type(lists), !column.required)));
        let kept = keep(&mut fields, names, &inferred);
        Ok(Found { lists, given, kept, classes, schema: Arc::new(Schema::new(fields)) })
    }

    /// Adds the classes of a row, which must be of those that are given.
    fn classes_of(&self, record: &Record, classes: &mut BTreeSet<String>) -> Result<()> {
        for column in self.task.columns().iter().filter(|column| column.required) {
            let value = self.value(record, column, false)?;
            let labels = value.as_array().map_or_else(|| vec![&value], |labels| labels.iter().collect());
            for label in labels.into_iter().filter_map(Value::as_str) {
                let place = || format!("{}: `{}`", record.place(), self.field(column.name));
                ensure!(!label.is_empty(), "{} is empty, not the name of a class", place());
                let is_tag = label == "O"
                    || label.starts_with(['B', 'I', 'E', 'S', 'L', 'U']) && matches!(label.as_bytes().get(1), None | Some(b'-'));
                ensure!(
                    self.task != Predicted::Tag || is_tag,
                    "{} has the tag `{label}`; tags are `O` or one of B, I, E, S, L, U, a dash and a type, as `B-PER`",
                    place()
                );
                if let Some(known) = self.classes.as_ref().filter(|known| !known.iter().any(|class| class == label)) {
                    let known = || known.iter().map(String::as_str);
                    bail!("{} is `{label}`{}; classes: {}", place(), suggest(label, known()), list(known()));
                }
                if !classes.contains(label) {
                    classes.insert(label.to_string());
                }
            }
        }
        Ok(())
    }

    /// The value of a column; null where one that need not be there is not.
    fn value(&self, record: &Record, column: &Column, lists: bool) -> Result<Value> {
        let value = record.value.get(self.field(column.name)).unwrap_or(&Value::Null);
        if value.is_null() && !column.required {
            return Ok(Value::Null);
        }
        column.of.read(value, lists).map_err(|error| anyhow!("{}: `{}` {error}", record.place(), self.field(column.name)))
    }

    fn write(&self, ctx: &Context, records: Records, found: &Found, part: &mut PartWriter) -> Result<()> {
        let mut decoder =
            ReaderBuilder::new(found.schema.clone()).with_coerce_primitive(true).with_batch_size(BATCH_ROWS).build_decoder()?;
        for (record, row) in records.zip(1..) {
            ctx.check_stop()?;
            let record = record?;
            let mut item = Map::new();
            if found.schema.field(0).name() == "id" {
                let id = text(record.value.get(self.field("id")).unwrap_or(&Value::Null));
                item.insert("id".into(), id.map_err(|error| anyhow!("{}: `{}` {error}", record.place(), self.field("id")))?.into());
            }
            for column in &found.given {
                item.insert(column.name.into(), self.value(&record, column, found.lists)?);
            }
            if self.task == Predicted::Tag {
                let tags = ["gold", "prediction"].map(|name| item[name].as_array().map_or(0, Vec::len));
                ensure!(tags[0] == tags[1], "{}: {} words have gold tags, {} have predicted ones", record.place(), tags[0], tags[1]);
            }
            for (name, renamed) in &found.kept {
                item.insert(renamed.clone(), record.value.get(name).cloned().unwrap_or_default());
            }
            decoder.serialize(&[item])?;
            if row % BATCH_ROWS == 0
                && let Some(batch) = decoder.flush()?
            {
                part.write(TABLE, &batch)?;
            }
        }
        decoder.flush()?.map_or(Ok(()), |batch| part.write(TABLE, &batch))
    }
}

/// Adds the user's columns to the fields; gives their names in the files and in the table.
fn keep(fields: &mut Vec<Field>, names: Vec<String>, inferred: &Schema) -> Vec<(String, String)> {
    let mut kept = Vec::new();
    for name in names {
        let Ok(field) = inferred.field_with_name(&name) else { continue };
        let mut renamed = name.clone();
        while fields.iter().any(|field| *field.name() == renamed) {
            renamed = format!("document_{renamed}");
        }
        fields.push(Field::new(&renamed, ordered(field.data_type()), true));
        kept.push((name, renamed));
    }
    kept
}

/// Whether an id is a document's, as SQL shows it.
fn is_document(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit())
}
