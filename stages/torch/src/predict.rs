//! What a model says about a split: likelihoods of packed text and completions of prompts here; what heads say, and targets of sources, in files
//! of their own.

mod answers;
mod tags;
mod texts;
mod translate;

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::Array;
use arrow::array::{ArrayRef, FixedSizeBinaryArray, Float32Builder, Float64Array, Int64Array, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field};
use engine::Artifact;
use model::seeds::{Purpose, derive};
use model::{Facts, Family, Head, Job, Predict, Report, Row, Rows, Sample};
use serde_json::json;
use tch::{Kind, Tensor};

use crate::batches::{Buffers, Collate, Masking};
use crate::carry;
use crate::device::{device, switch};
use crate::folder::{self, Loaded};
use crate::generate::{self, Completion};
use crate::heads;
use crate::objective::{self, Batch, Mode, Targets};
use crate::tables::{self, Column};
use crate::tape::Tape;
use crate::worker::Worker;

/// Predicts the split; `None` when stopped.
pub fn predict(job: &Job, settings: &Predict, worker: &mut Worker) -> Result<Option<Report>> {
    let tokens = job.artifact("tokens")?;
    let facts = Facts::read(std::slice::from_ref(&tokens))?;
    let data = Rows::open(std::slice::from_ref(&tokens), &facts, &settings.split)?;
    let model = job.artifact("model")?;
    let folder = model.dir.join(folder::MODEL);
    let device = device(&job.device, 0)?;
    switch(device, false, false)?;
    let loaded = folder::load(&folder, device)?;
    folder::check_vocabulary(&folder, facts.vocab_size)?;
    facts.check(&loaded.config)?;
    let mut rows = settings.limit.unwrap_or(u64::MAX).min(data.count());
    while facts.layout == "answer" && rows < data.count() && data.window(rows)?.start > 0 {
        rows += 1; // all windows of the last question
    }
    let work = Work { job, settings, tokens: &tokens, model: &model, facts: &facts, data: &data, loaded: &loaded, rows };
    match (facts.layout.as_str(), &loaded.config.head) {
        ("packed", _) if loaded.config.family == Family::Seq2seq => {
            bail!("a model of the family seq2seq gives no likelihood of packed rows; predict tokens of the layout translate")
        }
        ("packed", Head::Causal | Head::Masked | Head::Pairs { .. }) => work.language_modelling(worker),
        ("complete", Head::Causal) => work.complete(worker),
        ("translate", Head::Causal) => work.translate(worker),
        ("classify", head) if head.reads_text() => work.texts(worker),
        ("pairs", Head::Pairs { .. }) => work.texts(worker),
        ("tag", Head::Tag { .. }) => work.tags(worker),
        ("answer", Head::Answer) => work.answers(worker),
        (layout, head) => {
            let step = &model.manifest.step;
            bail!("step `{step}` was trained to predict {} and cannot predict tokens of the layout {layout}", head.name())
        }
    }
}

struct Work<'a> {
    job: &'a Job,
    settings: &'a Predict,
    tokens: &'a Artifact,
    model: &'a Artifact,
    facts: &'a Facts,
    data: &'a Rows,
    loaded: &'a Loaded,
    rows: u64,
}

impl Work<'_> {
    /// Rows in batches of similar length; each is the sample of its own number. In lanes where the model carries its state on.
    fn batches(&self) -> Result<Vec<Vec<Sample>>> {
        if self.carries() {
            return Ok(carry::in_lanes(self.rows, self.settings.batch_size).collect());
        }
        let mut rows: Vec<u64> = (0..self.rows).collect();
        let lengths = rows.iter().map(|row| self.data.length(*row)).collect::<Result<Vec<usize>>>()?;
        rows.sort_by_key(|row| (std::cmp::Reverse(lengths[*row as usize]), *row));
        Ok(rows
            .chunks(self.settings.batch_size as usize)
            .map(|rows| rows.iter().map(|row| Sample { sample: *row, row: *row }).collect())
            .collect())
    }

    /// Whether the model learned to go on from the row before, and these rows follow one another.
    fn carries(&self) -> bool {
        self.facts.layout == "packed" && self.model.fact("carry_state").unwrap_or(false)
    }

    fn collate(&self, masking: Option<Masking>) -> Collate {
        // As the model learned it.
        let documents = self.model.fact("document_mask").unwrap_or(false);
        Collate { facts: self.facts.clone(), masking, denoising: None, documents }
    }

    /// The document ids of the predicted rows.
    fn ids(&self) -> Result<ArrayRef> {
        let ids = self.data.ids(self.rows)?.into_iter().map(Some);
        Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids, 16)?))
    }

    fn report(&self, facts: Vec<(&str, serde_json::Value)>) -> Report {
        let mut facts: std::collections::BTreeMap<_, _> = facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        facts.insert("split".into(), json!(self.settings.split));
        facts.insert("batch_size".into(), json!(self.settings.batch_size));
        facts.insert("precision".into(), json!("f32"));
        Report { facts, ..Report::default() }
    }

    fn language_modelling(&self, worker: &mut Worker) -> Result<Option<Report>> {
        let masked = self.loaded.config.family == Family::Bert;
        let seed = derive(self.job.seed, Purpose::PredictMasks, 0);
        let masking = masked.then_some(Masking::of_tokens(self.settings.masked_probability, seed));
        let collate = self.collate(masking);
        let mut buffers = Buffers::default();
        let unigrams = Unigrams::read(self.tokens, self.facts.vocab_size)?;
        let bytes = if masked { None } else { tokenizer_bytes(self.model)? };
        let mut out = Likelihoods::new(self.rows as usize);
        let carried = carry::first(self.carries(), self.settings.batch_size, &self.loaded.config, self.loaded.parameters.device());
        let mut done = 0;
        for samples in self.batches()? {
            if worker.stopped() {
                return Ok(None);
            }
            buffers.read(self.data, &samples, &collate)?;
            let batch = buffers.batch(tch::Device::Cpu);
            let Targets::Tokens { places, labels } = &batch.targets else { bail!("packed rows have tokens as targets") };
            let time = batch.ids.size()[1] as usize;
            let places: Vec<i64> = match places {
                Some(places) => places.try_into()?,
                None => (0..batch.ids.numel() as i64).collect(),
            };
            let labels: Vec<i64> = labels.try_into()?;
            let ready = carry::with(buffers.batch(self.loaded.parameters.device()), &carried);
            let (nll, correct) = objective::per_token(self.loaded.network.as_ref(), &ready)?;
            let nll: Vec<f64> = nll.to_kind(Kind::Double).try_into()?;
            let correct: Vec<bool> = correct.try_into()?;
            for (i, place) in places.into_iter().enumerate() {
                let row = samples[place as usize / time].row as usize;
                let bytes = bytes.as_ref().map(|bytes| bytes.get(labels[i] as usize).copied().unwrap_or(0));
                out.add(row, nll[i], correct[i], unigrams.nll(labels[i]), bytes);
            }
            done += samples.len() as u64;
            worker.progress(done, self.rows, "rows");
        }
        out.write(self)?;
        let mut facts = vec![("task", json!("language-modelling")), ("unigram_smoothing", json!("add-one over the train split"))];
        if self.carries() {
            facts.push(("carried_lanes", json!(self.settings.batch_size)));
        }
        if masked {
            let metric = "likelihood of seeded masked tokens, 80/10/10, the others visible";
            facts.push(("masks", json!({"metric": metric, "probability": self.settings.masked_probability, "seed": seed})));
        }
        Ok(Some(self.report(facts)))
    }

    /// Gives what the head says of each batch to `take`; `None` when stopped.
    fn heads(&self, worker: &mut Worker, mut take: impl FnMut(&[Sample], &Batch, Tensor) -> Result<()>) -> Result<Option<()>> {
        let (collate, mut buffers) = (self.collate(None), Buffers::default());
        let mut done = 0;
        for samples in self.batches()? {
            if worker.stopped() {
                return Ok(None);
            }
            buffers.read(self.data, &samples, &collate)?;
            let batch = buffers.batch(self.loaded.parameters.device());
            let logits = tch::no_grad(|| heads::logits(self.loaded.network.as_ref(), &batch, Mode::default(), &Tape::off()))?;
            take(&samples, &batch, logits)?;
            done += samples.len() as u64;
            worker.progress(done, self.rows, "rows");
        }
        Ok(Some(()))
    }

    /// The classes of the model, which must be those of the tokens.
    fn classes(&self) -> Result<&[String]> {
        let (ours, theirs) = (self.loaded.config.head.classes().unwrap_or_default(), self.facts.classes.as_deref().unwrap_or_default());
        if ours != theirs {
            bail!("the model knows the classes {}, the tokens have {}", ours.join(", "), theirs.join(", "));
        }
        Ok(ours)
    }

    fn complete(&self, worker: &mut Worker) -> Result<Option<Report>> {
        let eos = self.facts.eos_id.context("the tokenizer has no end-of-text token, so a completion could not end")?;
        let mut completions: Vec<Completion> = vec![Completion::default(); self.rows as usize];
        let mut done = 0;
        for samples in self.batches()? {
            if worker.stopped() {
                return Ok(None);
            }
            let prompts =
                samples.iter().map(|sample| Ok(prompt_and_target(&self.data.row(sample.row, false)?).0)).collect::<Result<Vec<_>>>()?;
            let found = generate::greedy(self.loaded, &prompts, eos, self.settings.max_new_tokens as usize)?;
            for (Sample { row, .. }, found) in samples.iter().zip(found) {
                completions[*row as usize] = found;
            }
            done += samples.len() as u64;
            worker.progress(done, self.rows, "prompts");
        }
        self.write_texts(&completions, prompt_and_target)?;
        Ok(Some(self.report(vec![
            ("task", json!("complete")),
            ("decoding", json!("greedy")),
            ("max_new_tokens", json!(self.settings.max_new_tokens)),
        ])))
    }

    /// Writes what followed each row; `sides` tells what was given and what should have followed.
    fn write_texts(&self, completions: &[Completion], sides: impl Fn(&Row) -> (Vec<i64>, Vec<i64>)) -> Result<()> {
        let tokenizer = text::Tokenizer::load(&self.model.dir.join(folder::MODEL))?;
        let decode = |ids: &[i64]| tokenizer.decode(&ids.iter().map(|id| *id as u32).collect::<Vec<u32>>());
        let predictions = completions.iter().map(|completion| decode(&completion.ids)).collect::<Result<Vec<String>>>()?;
        let ids = self.ids()?;
        let (mut sources, mut targets) = (Vec::new(), Vec::new());
        for row in 0..self.rows {
            let (source, target) = sides(&self.data.row(row, false)?);
            sources.push(decode(&source)?);
            targets.push(decode(&target)?);
        }
        let strings = |values: Vec<String>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        let columns = vec![
            Column(Field::new("id", ids.data_type().clone(), false), ids),
            Column(Field::new("source", DataType::Utf8, false), strings(sources)),
            Column(Field::new("reference", DataType::Utf8, false), strings(targets)),
            Column(Field::new("prediction", DataType::Utf8, false), strings(predictions)),
            Column(
                Field::new("tokens", DataType::Int64, false),
                Arc::new(completions.iter().map(|completion| completion.ids.len() as i64).collect::<Int64Array>()),
            ),
            Column(
                Field::new("stopped", DataType::Utf8, false),
                strings(completions.iter().map(|completion| if completion.ended { "eos" } else { "length" }.into()).collect()),
            ),
        ];
        tables::write(&self.job.draft, "predictions", columns)
    }
}

/// The prompt, which has no labels, and what follows it.
fn prompt_and_target(row: &Row) -> (Vec<i64>, Vec<i64>) {
    let length = row.labels.iter().take_while(|label| **label == shards::IGNORE).count();
    (row.tokens[..length].to_vec(), row.tokens[length..].to_vec())
}

fn argmax(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// A column of values that are never null.
fn column(name: &str, values: ArrayRef) -> Column {
    Column(Field::new(name, values.data_type().clone(), false), values)
}

/// Lists of texts.
fn text_lists<'a>(rows: impl IntoIterator<Item = Vec<&'a str>>) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    rows.into_iter().for_each(|row| lists.append_value(row.into_iter().map(Some)));
    Arc::new(lists.finish())
}

/// Lists of numbers.
fn number_lists(rows: impl IntoIterator<Item = Vec<f32>>) -> ArrayRef {
    let mut lists = ListBuilder::new(Float32Builder::new());
    rows.into_iter().for_each(|row| lists.append_value(row.into_iter().map(Some)));
    Arc::new(lists.finish())
}

fn tokenizer_bytes(model: &Artifact) -> Result<Option<Vec<u32>>> {
    Ok(text::Tokenizer::load(&model.dir.join(folder::MODEL))?.bytes_of_tokens())
}

/// The add-one unigram model of the train split.
struct Unigrams {
    counts: Vec<u64>,
    total: u64,
}

impl Unigrams {
    fn read(tokens: &Artifact, vocab_size: i64) -> Result<Unigrams> {
        let table = tokens.table("unigrams")?;
        let mut counts = vec![0; vocab_size as usize];
        for file in 0..table.files.len() {
            for batch in table.read(file, Some(&["split", "token", "count"]), 8192)? {
                let batch = batch?;
                let column = |name: &str| batch.column_by_name(name).with_context(|| format!("table `unigrams` has no column {name}"));
                let split = arrow::compute::cast(column("split")?, &DataType::Utf8)?;
                let [token, count] = [cast_integers(column("token")?)?, cast_integers(column("count")?)?];
                let split = split.as_any().downcast_ref::<StringArray>().context("column split is not text")?;
                for i in (0..batch.num_rows()).filter(|i| split.value(*i) == "train") {
                    let slot = counts
                        .get_mut(token.value(i) as usize)
                        .with_context(|| format!("token {} is not below {vocab_size}", token.value(i)))?;
                    *slot += count.value(i) as u64;
                }
            }
        }
        Ok(Unigrams { total: counts.iter().sum::<u64>() + vocab_size as u64, counts })
    }

    fn nll(&self, token: i64) -> f64 {
        let count = self.counts.get(token as usize).copied().unwrap_or(0) + 1;
        (self.total as f64).ln() - (count as f64).ln()
    }
}

fn cast_integers(array: &ArrayRef) -> Result<Int64Array> {
    let array = arrow::compute::cast(array, &DataType::Int64)?;
    Ok(array.as_any().downcast_ref::<Int64Array>().context("a column of whole numbers")?.clone())
}

/// Sums per row.
struct Likelihoods {
    nll: Vec<f64>,
    tokens: Vec<i64>,
    correct: Vec<i64>,
    unigram_nll: Vec<f64>,
    /// Of the text behind the predicted tokens, where the tokenizer is byte-level and every token is predicted.
    bytes: Vec<Option<i64>>,
}

impl Likelihoods {
    fn new(rows: usize) -> Likelihoods {
        Likelihoods {
            nll: vec![0.0; rows],
            tokens: vec![0; rows],
            correct: vec![0; rows],
            unigram_nll: vec![0.0; rows],
            bytes: vec![None; rows],
        }
    }

    fn add(&mut self, row: usize, nll: f64, correct: bool, unigram_nll: f64, bytes: Option<u32>) {
        self.nll[row] += nll;
        self.tokens[row] += 1;
        self.correct[row] += i64::from(correct);
        self.unigram_nll[row] += unigram_nll;
        if let Some(bytes) = bytes {
            *self.bytes[row].get_or_insert(0) += i64::from(bytes);
        }
    }

    fn write(self, work: &Work) -> Result<()> {
        let rows = self.nll.len();
        let integers = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
        let floats = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
        let columns = vec![
            Column(Field::new("row", DataType::Int64, false), integers((0..rows as i64).collect())),
            Column(Field::new("nll", DataType::Float64, false), floats(self.nll)),
            Column(Field::new("tokens", DataType::Int64, false), integers(self.tokens)),
            Column(Field::new("correct", DataType::Int64, false), integers(self.correct)),
            Column(Field::new("bytes", DataType::Int64, true), Arc::new(Int64Array::from(self.bytes))),
            Column(Field::new("unigram_nll", DataType::Float64, false), floats(self.unigram_nll)),
        ];
        tables::write(&work.job.draft, "predictions", columns)
    }
}
