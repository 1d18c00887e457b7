//! `mix`: takes documents of several sources in given shares, some of them more than once, and shuffles all of them.
//!
//! Three passes: what every document counts; rows scattered to bins on disk; every bin sorted by a keyed hash of document and copy. What is
//! taken and where it stands follows from the seed and the documents alone, not from the order of the input.

mod shares;
mod shuffle;
mod taken;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use engine::{Context, Disk, Draft, Inputs, Kind, Part, PartWriter, Port, Site, Stage, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use text::Tokenizer;

use crate::documents::{Corpus, Provenance};
use crate::draw::Draw;
use crate::keep::PROVENANCE;
use crate::rejects::Rejects;
use crate::sample::reject;
use crate::weigh::{Amount, Stratum, Weigher, hash_of_copy, seed_of, text_or_number};
use shares::parse_size;
use shuffle::{Bins, ScatterWriter};
use taken::{Taken, sources_schema};

const BATCH_ROWS: usize = 512;
/// Text of an output part, about.
const PART_BYTES: u64 = if cfg!(test) { 32 << 10 } else { 32 << 20 };
/// Rows that are decoded at once, in bytes.
const STRETCH_BYTES: usize = 4 << 20;
/// How much smaller text is as Parquet than in scratch files, about.
const COMPRESSION: u64 = 2;

/// Takes documents of several sources in given shares and shuffles them.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// What tells the source of a document: an SQL expression over the documents, or `step`, the input step it comes from.
    #[serde(default = "default_by")]
    pub by: String,
    /// Weights of the sources, `{ web = 0.6, books = 0.4 }`, in any scale; 0 leaves a source out.
    #[serde(default)]
    pub weights: BTreeMap<String, f64>,
    /// How often sources are taken, `{ books = 2.5 }`: half of the documents of `books` come three times, the others twice. Sources that are
    /// not named are taken once.
    #[serde(default)]
    pub epochs: BTreeMap<String, f64>,
    /// In place of weights: each source weighs its size to the power of 1 / temperature. 1 leaves the sources as they are, more raises the
    /// small ones.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// What weights, sizes and epochs count: `documents`, `bytes` (of text) or `tokens`.
    #[serde(default)]
    pub unit: Unit,
    /// Size of the mix in the unit: `2GB`, `500000` documents, `1.5B` tokens. Default: what the weights allow without taking a document twice.
    #[serde(default, deserialize_with = "text_or_number")]
    pub size: Option<String>,
    /// Most epochs of a source that `weights` or `temperature` and `size` may ask for; up to 4 do a model nearly as much good as new text.
    #[serde(default = "default_epochs_max")]
    pub epochs_max: f64,
    /// SQL expression for the tokens of a document, such as a column of `clean`, when the unit is `tokens` and no tokenizer is connected.
    #[serde(default)]
    pub tokens: Option<String>,
    /// Names of the input steps, when they are the sources.
    #[serde(default)]
    #[schemars(skip)]
    pub steps: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Documents,
    #[default]
    Bytes,
    Tokens,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Documents => "documents",
            Unit::Bytes => "bytes",
            Unit::Tokens => "tokens",
        }
    }
}

fn default_by() -> String {
    "source".to_string()
}

fn default_epochs_max() -> f64 {
    4.0
}

impl Default for Mix {
    fn default() -> Mix {
        let (weights, epochs) = (BTreeMap::new(), BTreeMap::new());
        let (by, epochs_max) = (default_by(), default_epochs_max());
        Mix { by, weights, epochs, temperature: None, unit: Unit::Bytes, size: None, epochs_max, tokens: None, steps: Vec::new() }
    }
}

impl Stage for Mix {
    const NAME: &'static str = "mix";
    const ABOUT: &'static str = "Takes documents of several sources in given shares, repeating some if need be, and shuffles them.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::many("documents", Kind::Documents), Port::optional("tokenizer", Kind::Tokenizer)];
    const OUTPUT: Kind = Kind::Documents;
    const SEEDED: bool = true;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        self.check(site.upstream("tokenizer").is_some())?;
        if let Some(size) = self.size()? {
            self.size = Some(size.to_string());
        }
        if let Some(tokens) = &mut self.tokens {
            *tokens = site.sql().canonical(tokens).context("`tokens`")?;
        }
        if self.by == "step" {
            self.steps = site.connected("documents").to_vec();
        } else {
            self.by = site.sql().canonical(&self.by).context("`by`")?;
        }
        Ok(())
    }

    fn disk(&self, input_bytes: u64) -> Disk {
        let kept = match (self.unit, self.size()) {
            (Unit::Bytes, Ok(Some(size))) => size / COMPRESSION,
            _ => (input_bytes as f64 * self.epochs.values().copied().fold(1.0, f64::max)) as u64,
        };
        Disk { kept, scratch: COMPRESSION * kept, selected: 0 }
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let corpus = Corpus::of(&inputs.artifacts("documents"))?;
        if corpus.schema.index_of("copy").is_ok() {
            bail!("the documents have a column `copy` already, so they are mixed; mix the sources once, from the steps before");
        }
        let tokenizer = inputs.artifact_opt("tokenizer").map(|artifact| Tokenizer::load(&artifact.dir)).transpose()?;
        let plan = corpus.plan();
        draft.declare("documents", documents(&corpus.schema))?;
        draft.declare("rejects", schema::rejects())?;
        draft.declare("sources", sources_schema())?;
        let amount = || match (self.unit, &tokenizer, &self.tokens) {
            (Unit::Tokens, Some(tokenizer), _) => Amount::Tokens(tokenizer),
            (Unit::Tokens, None, Some(sql)) => Amount::Sql(sql),
            (Unit::Documents, ..) => Amount::One,
            _ => Amount::Bytes,
        };
        draft.task(ctx, "weigh", &plan, |part, path| {
            let stratum = match self.steps.get(corpus.input(part)) {
                Some(step) => Stratum::Named(step),
                None => Stratum::Sql(&self.by),
            };
            let weigher = Weigher { seed: seed_of(ctx, "mix"), stratum, group: None, amount: amount(), bytes: true };
            let (table, file) = corpus.file(part);
            weigher.write(ctx, table, file, path)
        })?;
        let draw = Draw::open((0..plan.len()).map(|part| draft.scratch_path("weigh", part)).collect())?;
        let taken = Taken::new(self, &draw)?;
        draft.count("copies", taken.rows.iter().map(|row| row.copies as i64).sum());
        draft.fact("sources", taken.facts(&draw))?;
        let bins = taken.bytes().div_ceil(PART_BYTES).max(1);
        draft.task(ctx, "scatter", &plan, |part, path| scatter(ctx, &corpus, part, &draw, &taken, bins, path))?;
        let rows = Bins::open((0..plan.len()).map(|part| draft.scratch_path("scatter", part)).collect())?;
        // The parts of the mix, then those of the input with what is left of it.
        let left: Vec<usize> = if taken.rows.iter().any(|row| row.rejected > 0) { (0..plan.len()).collect() } else { Vec::new() };
        let output = vec![Part { bytes: PART_BYTES }; bins as usize].into_iter().chain(left.iter().map(|_| Part { bytes: 0 }));
        draft.parts(ctx, &output.collect::<Vec<_>>(), |index, part| {
            if index == 0 {
                part.write("sources", &taken.table(self.unit, &draw)?)?;
            }
            match index.checked_sub(bins as usize) {
                None => gather(ctx, &corpus.schema, &rows, index as u64, part),
                Some(input) => write_rejects(ctx, &corpus, input, &draw, &taken, part),
            }
        })
    }
}

impl Mix {
    fn check(&self, tokenizer: bool) -> Result<()> {
        let ways = [!self.weights.is_empty(), !self.epochs.is_empty(), self.temperature.is_some()];
        if ways.into_iter().filter(|given| *given).count() > 1 {
            bail!("`weights`, `epochs` and `temperature` are three ways to say the same: give one of them");
        }
        if !self.epochs.is_empty() && self.size.is_some() {
            bail!("the size follows from `epochs`: leave `size` out, or give `weights`");
        }
        for (name, number) in self.weights.iter().chain(&self.epochs) {
            if !number.is_finite() || *number < 0.0 {
                bail!("`{name}` is {number}: weights and epochs are numbers from 0 on");
            }
        }
        if !self.weights.is_empty() && self.weights.values().all(|weight| *weight == 0.0) {
            bail!("`weights` are all 0: nothing would be left");
        }
        if self.temperature.is_some_and(|temperature| !temperature.is_finite() || temperature <= 0.0) {
            bail!("`temperature` must be above 0");
        }
        if self.epochs_max.is_nan() || self.epochs_max <= 0.0 {
            bail!("`epochs_max` must be above 0");
        }
        match (self.unit == Unit::Tokens, tokenizer, self.tokens.is_some()) {
            (true, true, true) => bail!("a tokenizer is connected: `tokens` has no meaning beside it"),
            (true, false, false) => {
                bail!("the unit `tokens` needs `inputs = {{ tokenizer = \"…\" }}` or `tokens`, an SQL expression for their number")
            }
            (false, true, _) | (false, _, true) => bail!("a tokenizer or `tokens` is for `unit = \"tokens\"` alone"),
            _ => Ok(()),
        }
    }

    fn size(&self) -> Result<Option<u64>> {
        let parse = |size: &String| parse_size(size, self.unit).map_err(|message| anyhow::anyhow!("`size`: {message}"));
        self.size.as_ref().map(parse).transpose()
    }
}

/// The input's columns and `copy`, which counts the copies of a document from 0 on.
fn documents(input: &Schema) -> SchemaRef {
    let mut fields: Vec<Field> = input.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new("copy", DataType::Int64, false));
    Arc::new(Schema::new(fields))
}

fn converter(schema: &Schema) -> Result<RowConverter> {
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    RowConverter::new(fields).context("the documents have a column whose type cannot be shuffled")
}

/// Writes the taken rows of a part to their bins, as often as they are taken.
fn scatter(ctx: &Context, corpus: &Corpus, part: usize, draw: &Draw, taken: &Taken, bins: u64, path: &Path) -> Result<()> {
    let seed = seed_of(ctx, "mix order");
    let converter = converter(&corpus.schema)?;
    let mut writer = ScatterWriter::create(path, bins)?;
    let mut entries = draw.entries(part)?.enumerate();
    for batch in corpus.read(part, BATCH_ROWS)? {
        ctx.check_stop()?;
        let batch = batch?;
        let mut times = Vec::with_capacity(batch.num_rows());
        for _ in 0..batch.num_rows() {
            let (row, entry) = entries.next().context("there are fewer keys than documents")?;
            let entry = entry?;
            times.push(taken.times(entry.stratum, entry.key, part, row));
        }
        let batch = filter_record_batch(&batch, &BooleanArray::from_iter(times.iter().map(|times| Some(*times > 0))))?;
        times.retain(|times| *times > 0);
        let rows = converter.convert_columns(batch.columns())?;
        let ids = batch.column_by_name("id").context("the documents have no id")?.as_fixed_size_binary();
        for (row, times) in times.into_iter().enumerate() {
            for copy in 0..times {
                writer.push(hash_of_copy(seed, ids.value(row), copy), copy as u32, rows.row(row).data())?;
            }
        }
    }
    writer.finish()
}

/// Writes the rows of a bin in their order.
fn gather(ctx: &Context, schema: &SchemaRef, bins: &Bins, index: u64, part: &mut PartWriter) -> Result<()> {
    let converter = converter(schema)?;
    let parser = converter.parser();
    let bin = bins.read(index)?;
    for stretch in bin.stretches(STRETCH_BYTES) {
        ctx.check_stop()?;
        let mut columns = converter.convert_rows(stretch.iter().map(|(_, row)| parser.parse(row)))?;
        columns.push(Arc::new(Int64Array::from_iter_values(stretch.iter().map(|(copy, _)| i64::from(*copy)))));
        part.write("documents", &RecordBatch::try_new(documents(schema), columns)?)?;
    }
    Ok(())
}

/// Writes what is not taken of a part of the input.
fn write_rejects(ctx: &Context, corpus: &Corpus, input: usize, draw: &Draw, taken: &Taken, part: &mut PartWriter) -> Result<()> {
    let (table, file) = corpus.file(input);
    let mut entries = draw.entries(input)?.enumerate();
    for batch in table.read(file, Some(&PROVENANCE), BATCH_ROWS)? {
        ctx.check_stop()?;
        let batch = batch?;
        let provenance = Provenance::of(&batch)?;
        let mut rejects = Rejects::new("mix");
        for at in 0..batch.num_rows() {
            let (row, entry) = entries.next().context("there are fewer keys than documents")?;
            let entry = entry?;
            if taken.times(entry.stratum, entry.key, input, row) == 0 {
                rejects.push(&reject("not_taken", draw, &entry, taken.limits[entry.stratum as usize], provenance.reject(at)))?;
            }
        }
        rejects.write(part)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
