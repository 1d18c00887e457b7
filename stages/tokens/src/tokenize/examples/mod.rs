//! The examples layouts: each document becomes the rows of one layout (one file each), or a reject. Each file of documents is a part.

mod answer;
mod classify;
mod complete;
mod pairs;
mod tag;
mod translate;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{ArrayRef, FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::DataType;
use engine::{Context, Draft, PartWriter, Table, schema};
use origins::excerpt;
use shards::examples::{Column, Example, Kind, Value, WEIGHT, Writer};

pub use classify::LabelType;
pub use origins::Scheme;
pub use pairs::Objective;
pub use translate::TooLong;

use super::summary::{self, Shard, Summary};
use super::weights::WrongWeight;
use super::{Encoder, Layout, Model, Tokenize};
use crate::documents::{self, Documents};

/// What every layout needs.
pub(super) struct Job<'a> {
    pub(super) settings: &'a Tokenize,
    pub(super) ctx: &'a Context,
    pub(super) table: &'a Table,
    pub(super) encoder: &'a Encoder,
    pub(super) draft: &'a Draft,
}

/// Refuses settings that do not go together, and keeps the run's seed where it is used.
pub(crate) fn prepare(settings: &mut Tokenize, seed: u64) -> Result<()> {
    let (wanted, why) = match settings.layout {
        Layout::Packed | Layout::Classify | Layout::Tag | Layout::Answer => (None, ""),
        Layout::Complete => (Some(Model::Causal), "a masked model writes no text"),
        Layout::Pairs => (Some(Model::Masked), "the task is one of BERT's"),
        Layout::Translate => (Some(Model::EncoderDecoder), "source and target are apart"),
    };
    let name = settings.layout.name();
    if let Some(wanted) = wanted.filter(|wanted| *wanted != settings.model) {
        bail!("layout = \"{name}\" needs model = \"{}\": {why}", wanted.name());
    }
    if settings.model == Model::EncoderDecoder && settings.layout == Layout::Packed {
        bail!("layout = \"packed\" needs model = \"causal\" or \"masked\", either of which T5 is pre-trained on");
    }
    match settings.layout {
        Layout::Packed => Ok(()),
        Layout::Classify => classify::prepare(settings),
        Layout::Complete => needed(settings, "target", &settings.target, "the target").map(drop),
        Layout::Tag => tag::prepare(settings),
        Layout::Answer => answer::prepare(settings),
        Layout::Translate => translate::prepare(settings),
        Layout::Pairs => pairs::prepare(settings, seed),
    }
}

/// Writes the shards of the layout of the settings.
pub(super) fn run(job: &Job) -> Result<()> {
    match job.settings.layout {
        Layout::Packed => bail!("packed rows are no examples"),
        Layout::Classify => classify::run(job),
        Layout::Complete => complete::run(job),
        Layout::Tag => tag::run(job),
        Layout::Answer => answer::run(job),
        Layout::Translate => translate::run(job),
        Layout::Pairs => pairs::run(job),
    }
}

/// A setting that names a column which the layout cannot do without.
fn needed<'a>(settings: &Tokenize, name: &str, column: &'a Option<String>, what: &str) -> Result<&'a str> {
    column.as_deref().with_context(|| format!("layout = \"{}\" needs `{name}`, the column that holds {what}", settings.layout.name()))
}

/// A document's fate, and its numbers of tokens.
enum Outcome {
    Stored(Stored),
    Rejected(Rejected),
}

/// A document that is stored.
#[derive(Default)]
struct Stored {
    rows: Vec<Example>,
    /// Its tokens in the rows with what frames them, each once.
    tokens: usize,
    /// Its tokens that no row has.
    cut: usize,
    /// Tokens of the rows that stand in another row already.
    repeated: usize,
    /// What else is to be counted.
    counts: Vec<(&'static str, i64)>,
}

/// A document that is not stored.
struct Rejected {
    rule: &'static str,
    /// 0 where it was not encoded.
    tokens: usize,
    detail: Option<String>,
    /// Value and threshold of the rule.
    value: Option<(f64, f64)>,
}

impl Outcome {
    fn rejected(rule: &'static str, tokens: usize) -> Outcome {
        Outcome::because(rule, tokens, None)
    }

    fn because(rule: &'static str, tokens: usize, detail: impl Into<Option<String>>) -> Outcome {
        Outcome::Rejected(Rejected { rule, tokens, detail: detail.into(), value: None })
    }

    /// `tokens` of the document, of which `length` are more than the `limit`.
    fn too_long(rule: &'static str, tokens: usize, length: usize, limit: usize) -> Outcome {
        Outcome::Rejected(Rejected { rule, tokens, detail: None, value: Some((length as f64, limit as f64)) })
    }
}

/// A rule that a document breaks, and how.
type Fault = (&'static str, Option<String>);

/// The tokens of a text with what stands before and after them.
fn framed(encoder: &Encoder, tokens: impl IntoIterator<Item = u32>) -> Vec<u32> {
    encoder.begin.into_iter().chain(tokens).chain([encoder.end]).collect()
}

/// The tokens of two texts, `[CLS] a [SEP] b [SEP]`, and their segments.
fn framed_pair(encoder: &Encoder, first: &[u32], second: &[u32]) -> (Vec<u32>, Vec<u8>) {
    let mut tokens = framed(encoder, first.iter().copied());
    let mut segments = vec![0; tokens.len()];
    tokens.extend(second.iter().copied().chain([encoder.end]));
    segments.resize(tokens.len(), 1);
    (tokens, segments)
}

/// Reads the documents' columns `reads` and writes what `make` makes of each batch; it may keep a state within a file of documents.
fn write<S: Default>(
    job: &Job,
    reads: &[&str],
    columns: &[Column],
    make: impl Fn(&mut S, &Documents) -> Result<Vec<Outcome>> + Sync,
) -> Result<()> {
    let Job { ctx, table, draft, .. } = job;
    draft.declare("rejects", schema::rejects())?;
    draft.declare(summary::STATISTICS, summary::statistics_schema())?;
    let columns: Vec<Column> = columns.iter().copied().chain(job.settings.has_weights().then_some((WEIGHT, Kind::Float64))).collect();
    job.settings.check_groups(ctx, table)?;
    let mut wanted = vec!["id", "source", "path", "position", "line"];
    for column in reads.iter().copied().chain(job.settings.weight_columns()) {
        table.column(column)?;
        if !wanted.contains(&column) {
            wanted.push(column);
        }
    }
    draft.parts(ctx, &table.plan(), |file, part| {
        let mut splits = Splits { job, columns: &columns, file, open: BTreeMap::new() };
        let (mut rejects, mut detail) = (BTreeMap::new(), None);
        let mut state = S::default();
        for batch in documents::read(table, file, &wanted)? {
            ctx.check_stop()?;
            let batch = batch?;
            let mut rejected = Vec::new();
            let weights = job.settings.weights(&batch)?;
            for (row, outcome) in make(&mut state, &batch)?.into_iter().enumerate() {
                part.count("documents_in", 1);
                let outcome = match &weights {
                    Some(weights) => weighed(outcome, weights[row]),
                    None => outcome,
                };
                match outcome {
                    Outcome::Stored(stored) => splits.store(batch.split(row), stored, part)?,
                    Outcome::Rejected(reject) => {
                        *rejects.entry(reject.rule.to_string()).or_default() += 1;
                        detail = detail.or_else(|| reject.detail.clone());
                        part.count("documents_rejected", 1);
                        part.count("tokens_in", reject.tokens as i64);
                        part.count("tokens_rejected", reject.tokens as i64);
                        rejected.push((row, reject));
                    }
                }
            }
            write_rejects(&batch, &rejected, part)?;
        }
        let mut shards = Vec::new();
        for (writer, shard) in splits.open.into_values() {
            writer.finish()?;
            shards.push(shard);
        }
        summary::note(draft, file, part, &Summary { shards, rejects, detail })
    })?;
    summary::finish(draft, table.files.len())
}

/// Writes a document's weight behind the values of its rows, or rejects it.
fn weighed(outcome: Outcome, weight: Result<f32, WrongWeight>) -> Outcome {
    let Outcome::Stored(mut stored) = outcome else { return outcome };
    match weight {
        Ok(weight) => {
            stored.rows.iter_mut().for_each(|row| row.values.push(Value::Float64(weight.into())));
            Outcome::Stored(stored)
        }
        Err(WrongWeight { rule, value }) => Outcome::Rejected(Rejected { rule, tokens: stored.tokens + stored.cut, detail: None, value }),
    }
}

/// The shards that are being written from one file of documents, one for each split.
struct Splits<'a> {
    job: &'a Job<'a>,
    columns: &'a [Column],
    file: usize,
    open: BTreeMap<String, (Writer, Shard)>,
}

impl Splits<'_> {
    fn store(&mut self, split: &str, stored: Stored, part: &mut PartWriter) -> Result<()> {
        part.count("documents_stored", 1);
        let tokens = [
            ("tokens_in", stored.tokens + stored.cut),
            ("tokens_cut", stored.cut),
            ("tokens_stored", stored.tokens),
            ("tokens_repeated", stored.repeated),
        ];
        for (name, n) in tokens.into_iter().map(|(name, n)| (name, n as i64)).chain(stored.counts).filter(|(_, n)| *n != 0) {
            part.count(name, n);
        }
        if !self.open.contains_key(split) {
            let shard = Shard::new(split, self.file);
            let path = self.job.draft.file(&shard.relative())?;
            self.open.insert(split.to_string(), (Writer::create(&path, self.columns, self.job.encoder.width)?, shard));
        }
        let (writer, shard) = self.open.get_mut(split).expect("inserted above");
        let (divided, truncated) = (stored.rows.len() > 1, stored.cut > 0);
        part.count("documents_divided", i64::from(divided));
        part.count("documents_truncated", i64::from(truncated));
        shard.documents += 1;
        shard.documents_divided += u64::from(divided);
        shard.documents_truncated += u64::from(truncated);
        shard.tokens += stored.tokens as u64;
        shard.tokens_cut += stored.cut as u64;
        for row in stored.rows {
            shard.rows += 1;
            writer.push(row)?;
        }
        Ok(())
    }
}

fn write_rejects(batch: &Documents, rejected: &[(usize, Rejected)], part: &mut PartWriter) -> Result<()> {
    let rows = rejected.len();
    let take = |column: ArrayRef| -> Result<ArrayRef> {
        let indices = Int64Array::from_iter_values(rejected.iter().map(|(row, _)| *row as i64));
        Ok(arrow::compute::take(&column, &indices, None)?)
    };
    let ids: FixedSizeBinaryArray = batch.ids("id")?;
    let columns: Vec<ArrayRef> = vec![
        take(Arc::new(ids))?,
        take(Arc::new(batch.strings("source")?))?,
        take(Arc::new(batch.strings("path")?))?,
        take(batch.cast("position", &DataType::Int64)?)?,
        take(batch.cast("line", &DataType::Int64)?)?,
        Arc::new(StringArray::from(vec!["tokenize"; rows])),
        Arc::new(StringArray::from_iter_values(rejected.iter().map(|(_, reject)| reject.rule))),
        Arc::new(Float64Array::from_iter(rejected.iter().map(|(_, reject)| reject.value.map(|(value, _)| value)))),
        Arc::new(Float64Array::from_iter(rejected.iter().map(|(_, reject)| reject.value.map(|(_, threshold)| threshold)))),
        new_null_array(&schema::ID, rows),
        new_null_array(&DataType::Float64, rows),
        Arc::new(StringArray::from_iter(rejected.iter().map(|(_, reject)| reject.detail.as_deref()))),
    ];
    part.write("rejects", &RecordBatch::try_new(schema::rejects(), columns)?)
}
