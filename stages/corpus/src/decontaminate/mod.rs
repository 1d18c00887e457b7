//! `decontaminate`: finds documents that hold items of evaluation sets, so that a model is not tested on what it was trained on.
//!
//! The items are held in memory, the documents pass by once. Either the documents go, or they are marked, or only the tables `matches` and
//! `items` say what was found. To find documents that resemble each other is `dedup`'s work.
//!
//! ```toml
//! [[step]]
//! stage = "decontaminate"
//! against = [{ name = "spam-test", paths = ["eval/*.jsonl"], fields = ["question", "answer"] }]
//! ```

mod evaluation;
mod fuzzy;
mod index;
mod ngram;
mod rows;
mod search;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::{Context, Draft, InputFile, Inputs, Kind, Part, PartWriter, Port, Site, Stage, Table, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::documents::Provenance;
use crate::rejects::{Reject, Rejects};
use evaluation::Items;
use ngram::Finding;
use rows::Matches;
use search::Search;

const BATCH_ROWS: usize = 2048;

/// Finds documents that hold items of evaluation sets, and drops or marks them.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decontaminate {
    /// Evaluation sets in files: `[{ name = "…", paths = ["eval/*.jsonl"], fields = ["question", "answer"] }]`. Documents of steps above are
    /// given by `inputs = { against = "…" }`; a document is never compared with itself.
    #[serde(default)]
    pub against: Vec<EvaluationSet>,
    /// Takes only the documents of this split from the steps in `inputs.against`.
    #[serde(default)]
    pub against_split: Option<String>,
    /// `ngram`: an item is found where a document shares an n-gram of words with it. `fuzzy`: where most of the n-grams of the first field
    /// (the question) stand near each other, rare ones counting more, and those of the second (answer) and third (passage) near them.
    #[serde(default = "default_method")]
    pub method: Method,
    /// Words of an n-gram; default 13 for `ngram`, 5 for `fuzzy`. Words are compared in lower case without punctuation and accents; each Han
    /// character is a word. With `ngram`, a field of fewer words is found as a whole.
    #[serde(default)]
    pub ngram: Option<usize>,
    /// Least overlap that makes a document contaminated. For `ngram` the share of the item's n-grams that the document has (default 0: one
    /// is enough, as GPT-3; 0.7 with `ngram = 8` as PaLM). For `fuzzy` the score (default 0.8; items of up to 20 words need 1, up to 50 less).
    #[serde(default)]
    pub overlap_min: Option<f64>,
    /// `fuzzy`: every how many n-grams of a document one is looked up. Questions too short to be met for sure are found as a whole.
    #[serde(default = "default_sample")]
    pub sample: usize,
    /// Fields of fewer words are not searched for, because a bare `yes` is everywhere (8 is the shortest n-gram of GPT-3); the table `items`
    /// tells which items have none longer. `fuzzy` still looks for such an answer beside its question.
    #[serde(default = "default_field_words_min")]
    pub field_words_min: usize,
    /// `drop`: contaminated documents are rejected. `mark`: they stay, and columns `contaminated` and `overlap` tell. `mark-test`: documents
    /// pass as they are; the table `items` tells which items of the evaluation sets are found in them.
    #[serde(default = "default_action")]
    pub action: Action,
    /// Searches only the documents of this split; the others are kept as they are.
    #[serde(default)]
    pub split: Option<String>,
    /// The files of each evaluation set: path below its patterns and content hash.
    #[serde(default)]
    #[schemars(skip)]
    pub files: Vec<Vec<[String; 2]>>,
}

/// An evaluation set in files.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSet {
    /// The name in tables and messages.
    pub name: String,
    /// Files or globs below the root: Parquet, or JSON Lines (also .gz and .zst).
    pub paths: Vec<String>,
    /// Fields or columns with the text of an item. In JSON, dots go into objects, and all strings of a list count as one text.
    pub fields: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    Ngram,
    Fuzzy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Drop,
    Mark,
    MarkTest,
}

fn default_method() -> Method {
    Method::Ngram
}

fn default_sample() -> usize {
    10
}

fn default_field_words_min() -> usize {
    8
}

fn default_action() -> Action {
    Action::Drop
}

impl Stage for Decontaminate {
    const NAME: &'static str = "decontaminate";
    const ABOUT: &'static str = "Finds documents that hold items of evaluation sets, and drops or marks them.";
    const VERSION: u32 = 2;
    const INPUTS: &'static [Port] =
        &[Port::one("documents", Kind::Documents), Port { optional: true, ..Port::many("against", Kind::Documents) }];
    const OUTPUT: Kind = Kind::Documents;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        self.check(site.upstream("against").is_some())?;
        let fuzzy = self.method == Method::Fuzzy;
        self.ngram = Some(self.ngram.unwrap_or(if fuzzy { 5 } else { 13 }));
        self.overlap_min = Some(self.overlap_min.unwrap_or(if fuzzy { 0.8 } else { 0.0 }));
        self.files.clear();
        for set in &self.against {
            let files = site.files(&set.paths).with_context(|| format!("evaluation set `{}`", set.name))?;
            self.files.push(files.into_iter().map(|file| [file.relative, file.hash]).collect());
        }
        Ok(())
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let table = inputs.artifact("documents")?.table("documents")?;
        if self.split.is_some() {
            table.column("split").context("`split`")?;
        }
        draft.declare("documents", self.columns(&table)?)?;
        draft.declare("rejects", schema::rejects())?;
        draft.declare("matches", rows::matches_schema())?;
        draft.declare("items", rows::items_schema())?;
        // The documents on the port `against` are read, but are none of the balance.
        draft.count("records", table.rows as i64);
        let search = Search::new(self, self.items(ctx, inputs)?);
        let plan = table.plan();
        draft.file("scratch/found/part")?;
        let found = |part| draft.scratch_path("found", part);
        draft.parts(ctx, &plan, |part, writer| self.write_part(ctx, &table, part, &search, writer, &found(part)))?;
        // One further part holds the items, once all documents have passed.
        let whole: Vec<Part> = plan.iter().copied().chain([Part { bytes: 0 }]).collect();
        draft.parts(ctx, &whole, |part, writer| search.write_items((0..part).map(found), writer))
    }
}

impl Decontaminate {
    fn check(&self, has_steps: bool) -> Result<()> {
        if self.against.is_empty() && !has_steps {
            bail!("nothing to search for: name evaluation sets in `against`, or steps with inputs = {{ against = \"…\" }}");
        }
        if self.against_split.is_some() && !has_steps {
            bail!("`against_split` chooses among the documents of inputs = {{ against = \"…\" }}, and none are given");
        }
        for (at, set) in self.against.iter().enumerate() {
            let name = &set.name;
            if self.against[..at].iter().any(|other| other.name == *name) {
                bail!("two evaluation sets have the name `{name}`");
            }
            if set.paths.is_empty() || set.fields.is_empty() {
                bail!("evaluation set `{name}`: `paths` and `fields` must name at least one each");
            }
            if set.fields.len() > 3 && self.method == Method::Fuzzy {
                bail!(
                    "evaluation set `{name}`: `fuzzy` knows three fields, question, answer and passage, and {} are given",
                    set.fields.len()
                );
            }
        }
        for (name, value) in [("ngram", self.ngram.unwrap_or(1)), ("sample", self.sample), ("field_words_min", self.field_words_min)] {
            if !(1..=1000).contains(&value) {
                bail!("`{name}` is {value}: it must be between 1 and 1000");
            }
        }
        match self.overlap_min {
            Some(overlap) if !(0.0..=1.0).contains(&overlap) => bail!("`overlap_min` is {overlap}: it must be between 0 and 1"),
            _ => Ok(()),
        }
    }

    /// The input's columns, and what `mark` adds.
    fn columns(&self, table: &Table) -> Result<SchemaRef> {
        let mut fields: Vec<Field> = table.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        if self.action == Action::Mark {
            for (name, kind) in [("contaminated", DataType::Boolean), ("overlap", DataType::Float64)] {
                if table.has_column(name) {
                    bail!("the documents have a column `{name}` already, which `action = \"mark\"` would add");
                }
                fields.push(Field::new(name, kind, name == "overlap"));
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn items(&self, ctx: &Context, inputs: &Inputs) -> Result<Items> {
        let mut items = Items::new(ctx);
        for (set, keys) in self.against.iter().zip(&self.files) {
            let find = |[relative, hash]: &[String; 2]| {
                let file = inputs.files().iter().find(|file| file.relative == *relative && file.hash == *hash);
                file.with_context(|| format!("evaluation set `{}`: `{relative}` is gone", set.name))
            };
            let files = keys.iter().map(find).collect::<Result<Vec<&InputFile>>>()?;
            items.read_files(ctx, &set.name, &set.fields, &files)?;
        }
        for artifact in inputs.artifacts("against") {
            items.read_documents(ctx, artifact, self.against_split.as_deref())?;
        }
        Ok(items)
    }

    fn overlap(&self) -> f64 {
        self.overlap_min.unwrap_or_default()
    }

    fn write_part(&self, ctx: &Context, table: &Table, part: usize, search: &Search, writer: &mut PartWriter, found: &Path) -> Result<()> {
        let mut words = Vec::new();
        let mut counts = vec![0_u32; search.index.items.items.len()];
        for batch in table.read(part, None, BATCH_ROWS)? {
            ctx.check_stop()?;
            let batch = batch?;
            let provenance = Provenance::of(&batch)?;
            let texts: &StringArray = batch.column(batch.schema().index_of("text")?).as_string();
            let splits =
                self.split.as_ref().map(|_| batch.schema().index_of("split")).transpose()?.map(|at| batch.column(at).as_string::<i32>());
            let (mut rejects, mut matches) = (Rejects::new("decontaminate"), Matches::default());
            let mut overlaps = vec![None; batch.num_rows()];
            for (row, overlap) in overlaps.iter_mut().enumerate() {
                if splits.is_some_and(|splits| Some(splits.value(row)) != self.split.as_deref()) {
                    continue;
                }
                let findings = search.find(texts.value(row), provenance.id(row), &mut words);
                let Some(first) = findings.first() else { continue };
                *overlap = Some(first.score);
                let passages = search.note(texts.value(row), provenance.id(row), &findings, &mut counts, &mut matches);
                if self.action == Action::Drop {
                    rejects.push(&self.reject(search, first, &passages, provenance.reject(row)))?;
                }
            }
            writer.count("contaminated", overlaps.iter().flatten().count() as i64);
            rejects.write(writer)?;
            writer.write("matches", &matches.finish()?)?;
            writer.write("documents", &self.output(batch, overlaps)?)?;
        }
        let bytes: Vec<u8> = counts.iter().flat_map(|count| count.to_le_bytes()).collect();
        let written = File::create(found).and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
        written.with_context(|| format!("writing `{}`", found.display()))
    }

    /// A batch as `action` wants it.
    fn output(&self, batch: RecordBatch, overlaps: Vec<Option<f64>>) -> Result<RecordBatch> {
        let is_contaminated = |overlap: &Option<f64>| overlap.is_some();
        match self.action {
            Action::Drop if overlaps.iter().any(is_contaminated) => {
                let kept: BooleanArray = overlaps.iter().map(|overlap| Some(overlap.is_none())).collect();
                Ok(filter_record_batch(&batch, &kept)?)
            }
            Action::Drop | Action::MarkTest => Ok(batch),
            Action::Mark => {
                let mut columns = batch.columns().to_vec();
                let contaminated: BooleanArray = overlaps.iter().map(|overlap| Some(overlap.is_some())).collect();
                columns.extend([Arc::new(contaminated) as ArrayRef, Arc::new(Float64Array::from(overlaps))]);
                let mut fields = batch.schema().fields().to_vec();
                fields.push(Arc::new(Field::new("contaminated", DataType::Boolean, false)));
                fields.push(Arc::new(Field::new("overlap", DataType::Float64, true)));
                Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
            }
        }
    }

    fn reject<'a>(&self, search: &Search, first: &Finding, detail: &'a str, place: Reject<'a>) -> Reject<'a> {
        let matched_id = Some(search.index.items.items[first.item as usize].id);
        let value = Some(first.score);
        Reject { rule: "contaminated", value, threshold: self.overlap_min, matched_id, similarity: value, detail: Some(detail), ..place }
    }
}

#[cfg(test)]
mod tests;
