//! What was written into each shard: the table `statistics`, and the facts and row counts of the artifact.
//!
//! Each part leaves its summary in the draft's scratch folder, so that facts are complete when some parts were finished by an earlier run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::{Draft, PartWriter};
use serde::{Deserialize, Serialize};

use super::FileFormat;

pub(super) const STATISTICS: &str = "statistics";

/// Totals of one shard.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Shard {
    pub(super) split: String,
    /// Number in its split.
    pub(super) number: usize,
    pub(super) rows: u64,
    /// Documents that begin here.
    pub(super) documents: u64,
    /// Tokens of documents, their ends included; context and padding are not counted.
    pub(super) tokens: u64,
    pub(super) padding: u64,
    /// Documents that begin here and lie in more than one row.
    pub(super) documents_divided: u64,
    /// Documents whose end was cut off, and how many tokens.
    pub(super) documents_truncated: u64,
    pub(super) tokens_cut: u64,
    pub(super) format: FileFormat,
}

/// What a part made.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) shards: Vec<Shard>,
    /// Documents that each rule rejected.
    pub(super) rejects: BTreeMap<String, u64>,
    /// What the table `rejects` says of the first, where it says something.
    pub(super) detail: Option<String>,
}

impl Shard {
    pub(super) fn new(split: &str, number: usize) -> Shard {
        Shard { split: split.to_string(), number, ..Shard::default() }
    }

    /// Below the artifact's folder.
    pub(super) fn relative(&self) -> String {
        format!("tokens/split={}/{}", self.split, self.name())
    }

    fn name(&self) -> String {
        format!("shard-{:05}.{}", self.number, self.format.extension())
    }
}

/// One row for each shard.
pub(super) fn statistics_schema() -> SchemaRef {
    let number = |name| Field::new(name, DataType::Int64, false);
    let text = |name| Field::new(name, DataType::Utf8, false);
    let numbers = ["rows", "documents", "tokens", "padding", "documents_divided", "documents_truncated", "tokens_cut"].map(number);
    Arc::new(Schema::new([text("split"), text("shard")].into_iter().chain(numbers).collect::<Vec<_>>()))
}

/// Writes the statistics of a part's shards and leaves its summary.
pub(super) fn note(draft: &Draft, index: usize, part: &mut PartWriter, summary: &Summary) -> Result<()> {
    let shards = &summary.shards;
    let texts = |value: fn(&Shard) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(shards.iter().map(value))) };
    let numbers = |value: fn(&Shard) -> u64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(shards.iter().map(|s| value(s) as i64))) };
    let columns = vec![
        texts(|shard| shard.split.clone()),
        texts(Shard::name),
        numbers(|shard| shard.rows),
        numbers(|shard| shard.documents),
        numbers(|shard| shard.tokens),
        numbers(|shard| shard.padding),
        numbers(|shard| shard.documents_divided),
        numbers(|shard| shard.documents_truncated),
        numbers(|shard| shard.tokens_cut),
    ];
    part.write(STATISTICS, &RecordBatch::try_new(statistics_schema(), columns)?)?;
    let (path, text) = (path(draft, index)?, serde_json::to_string(summary)?);
    // Synced before the part is noted as finished, so that a resumed run finds it whole.
    let written = File::create(&path).and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.with_context(|| format!("writing `{}`", path.display()))
}

/// Tells the engine the rows of all shards, and later stages the totals by split and the shares of what was cut and padded. Tokens without a row
/// are of no use to anybody, so that is an error.
pub(super) fn finish(draft: &Draft, parts: usize) -> Result<()> {
    let Summary { shards, rejects, detail } = all(draft, parts)?;
    let mut rows: BTreeMap<&str, u64> = BTreeMap::new();
    let mut tokens: BTreeMap<&str, u64> = BTreeMap::new();
    for shard in &shards {
        draft.rows(&shard.relative(), shard.rows);
        *rows.entry(&shard.split).or_default() += shard.rows;
        *tokens.entry(&shard.split).or_default() += shard.tokens;
    }
    if rows.is_empty() {
        bail!(nothing_left(&rejects, detail));
    }
    draft.fact("rows", rows)?;
    draft.fact("tokens", tokens)?;
    // The share of padding is that in what follows the rows' contexts.
    let sum = |value: fn(&Shard) -> u64| shards.iter().map(value).sum::<u64>() as f64;
    let (stored, cut, padding) = (sum(|shard| shard.tokens), sum(|shard| shard.tokens_cut), sum(|shard| shard.padding));
    let share = |part: f64| (stored > 0.0).then(|| part / (stored + part));
    draft.fact("share_cut", share(cut))?;
    draft.fact("share_padding", share(padding))
}

/// Why there is no row: how many documents each rule rejected, the most frequent first, and what was wrong with one.
fn nothing_left(rejects: &BTreeMap<String, u64>, detail: Option<String>) -> String {
    if rejects.is_empty() {
        return "no document came in, so there are no tokens; look at the files, or at what the step above rejected (`mill sql CONFIG -c \"select rule, detail from STEP.rejects\"`)".into();
    }
    let mut rules: Vec<(&String, &u64)> = rejects.iter().collect();
    rules.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let rules: Vec<String> = rules.into_iter().map(|(rule, n)| format!("`{rule}` {n}")).collect();
    format!(
        "no document is left, so there are no tokens: of {} documents the rules rejected {}{}; look at what comes in (of a step: `mill sql CONFIG -c \"select * from STEP limit 5\"`) and at the settings of this step (`mill stages`)",
        rejects.values().sum::<u64>(),
        rules.join(", "),
        detail.map_or_else(String::new, |detail| format!(" (the first: {detail})"))
    )
}

fn all(draft: &Draft, parts: usize) -> Result<Summary> {
    let mut all = Summary::default();
    for index in 0..parts {
        let path = path(draft, index)?;
        let text = std::fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
        let mut part: Summary = serde_json::from_slice(&text).with_context(|| format!("`{}`", path.display()))?;
        all.shards.append(&mut part.shards);
        all.detail = all.detail.or(part.detail);
        for (rule, n) in part.rejects {
            *all.rejects.entry(rule).or_default() += n;
        }
    }
    Ok(all)
}

fn path(draft: &Draft, index: usize) -> Result<PathBuf> {
    let path = draft.scratch_path("summary", index);
    let folder = path.parent().context("a scratch file lies in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("creating `{}`", folder.display()))?;
    Ok(path)
}
