//! What a model says about a split, part by part: which task it is follows from the layout of the tokens. One file a task, in `predict/`.

mod answers;
mod likelihoods;
mod parts;
mod tags;
mod texts;
mod written;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray, Float32Builder, ListBuilder, StringBuilder};
use arrow::datatypes::Field;
use engine::Artifact;
use model::{Facts, Family, Head, Job, Predict, Report, Rows, Sample};
use serde_json::json;
use tch::Tensor;

use crate::batches::{Buffers, Collate, Masking};
use crate::device::{device, switch};
use crate::folder::{self, Loaded};
use crate::heads;
use crate::objective::{Batch, Mode};
use crate::tables::Column;
use crate::tape::Tape;
use crate::tasks;
use crate::worker::Worker;

use parts::Part;

pub use parts::length;

pub use answers::{Question, Span, best_spans, texts as texts_of_spans};
pub use texts::{THRESHOLD, argmax, probabilities};

/// Predicts the split; `None` when stopped.
pub fn predict(job: &Job, settings: &Predict, worker: &mut Worker) -> Result<Option<Report>> {
    let tokens = job.artifact("tokens")?;
    let facts = Facts::read(std::slice::from_ref(&tokens))?;
    let data = Rows::open(std::slice::from_ref(&tokens), &facts, &settings.split)?;
    let model = job.artifact("model")?;
    origins::check_model(&tokens, &model)?;
    let folder = &tasks::for_tokens(&model, &tokens, &facts)?;
    let device = device(&job.device, 0, |text| worker.note(text))?;
    switch(device, false, false)?;
    let loaded = folder::load(folder, device)?;
    folder::check_vocabulary(folder, facts.vocab_size)?;
    facts.check(&loaded.config)?;
    let rows = parts::whole(&data, &facts, settings.limit.unwrap_or(u64::MAX).min(data.count()))?;
    let work = Work { job, settings, tokens: &tokens, model: &model, folder, facts: &facts, data: &data, loaded: &loaded, rows };
    match (facts.layout.as_str(), &loaded.config.head) {
        ("packed", _) if loaded.config.family == Family::Seq2seq => {
            bail!("a model of the family seq2seq gives no likelihood of packed rows; predict tokens of the layout translate")
        }
        ("packed", Head::Causal | Head::Masked | Head::Pairs { .. }) => work.likelihoods(worker),
        ("complete" | "translate", Head::Causal) => work.written(worker),
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
    folder: &'a Path,
    facts: &'a Facts,
    data: &'a Rows,
    loaded: &'a Loaded,
    rows: u64,
}

impl Work<'_> {
    /// Whether the model learned to go on from the row before, and these rows follow one another.
    fn carries(&self) -> bool {
        self.facts.layout == "packed" && self.model.fact("carry_state").unwrap_or(false)
    }

    fn collate(&self, masking: Option<Masking>) -> Collate {
        // As the model learned it.
        let documents = self.facts.layout == "packed" && self.model.fact("document_mask").unwrap_or(false);
        Collate { facts: self.facts.clone(), masking, denoising: None, documents }
    }

    fn report(&self, facts: Vec<(&str, serde_json::Value)>) -> Report {
        let mut facts: std::collections::BTreeMap<_, _> = facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        facts.insert("split".into(), json!(self.settings.split));
        facts.insert("batch_size".into(), json!(self.settings.batch_size));
        facts.insert("precision".into(), json!("f32"));
        Report { facts, ..Report::default() }
    }

    /// Gives what the head says of each batch of a part to `take`; `None` when stopped.
    fn heads(&self, part: &mut Part, mut take: impl FnMut(&[Sample], &Batch, Tensor) -> Result<()>) -> Result<Option<()>> {
        let (collate, mut buffers) = (self.collate(None), Buffers::default());
        part.batches(|samples| {
            buffers.read(self.data, samples, &collate)?;
            let batch = buffers.batch(self.loaded.parameters.device());
            let logits = tch::no_grad(|| heads::logits(self.loaded.network.as_ref(), &batch, Mode::default(), &Tape::off()))?;
            take(samples, &batch, logits)
        })
    }

    /// The classes of the model, which must be those of the tokens.
    fn classes(&self) -> Result<&[String]> {
        let (ours, theirs) = (self.loaded.config.head.classes().unwrap_or_default(), self.facts.classes.as_deref().unwrap_or_default());
        if ours != theirs {
            bail!("the model knows the classes {}, the tokens have {}", ours.join(", "), theirs.join(", "));
        }
        Ok(ours)
    }
}

/// A column of values that are never null.
fn column(name: &str, values: ArrayRef) -> Column {
    Column(Field::new(name, values.data_type().clone(), false), values)
}

/// The column `id` of documents.
fn ids(ids: impl IntoIterator<Item = [u8; 16]>) -> Result<Column> {
    let ids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids.into_iter().map(Some), 16)?;
    Ok(column("id", Arc::new(ids)))
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
