//! What a model says to the rows of an evaluation set, part by part: `mill` has rendered them (`model::evaluate`), here they become tokens.
//!
//! Texts are cut into tokens, windows and requests as lm-evaluation-harness cuts them; every row is, before the first one goes through the
//! model, so that what cannot be asked is an error at once.

mod blank;
mod choices;
mod contrasts;
mod items;
mod requests;
pub mod rolling;
mod shared;
mod texts;

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use model::evaluate::Output;
use model::{Evaluate, Family, Head, Job, Report};
use serde_json::json;

use crate::ask::Model;
use crate::device::{device, switch};
use crate::folder;
use crate::predict::length;
use crate::tables::{self, Column};
use crate::worker::Worker;

use items::{Items, Part};
pub use requests::{Row, Sum, Target, sums};
pub use shared::shared;

const TABLE: &str = "predictions";

/// Asks all rows; `None` when stopped.
pub fn evaluate(job: &Job, settings: &Evaluate, worker: &mut Worker) -> Result<Option<Report>> {
    let folder = match &settings.from {
        Some(from) => PathBuf::from(from),
        None => job.artifact("model")?.dir.join(folder::MODEL),
    };
    let device = device(&job.device, 0, |text| worker.note(text))?;
    switch(device, false, false)?;
    let model = Model::open(&folder, device)?;
    let items = Items::open(&job.scratch(model::evaluate::items::FILE))?;
    let work = Work { job, settings, model: &model, items: &items };
    let (family, head) = (model.loaded.config.family, &model.loaded.config.head);
    match (settings.output, head) {
        (Some(Output::MultipleChoice), Head::Causal) if family != Family::Seq2seq => work.choices(worker),
        (Some(Output::Rolling), Head::Causal) if family != Family::Seq2seq => work.rolling(worker),
        (Some(Output::Generate), Head::Causal) => work.texts(worker),
        (Some(Output::Contrast), Head::Masked | Head::Pairs { .. }) => work.contrasts(worker),
        (Some(Output::Contrast), Head::Causal) if family != Family::Seq2seq => work.contrasts(worker),
        (output, head) => bail!(
            "the model in `{}` predicts {}, which output = \"{}\" cannot be asked of",
            folder.display(),
            head.name(),
            output.map_or("", Output::name)
        ),
    }
}

struct Work<'a> {
    job: &'a Job,
    settings: &'a Evaluate,
    model: &'a Model,
    items: &'a Items,
}

/// What was cut off prompts.
#[derive(Debug, Default)]
struct Cut {
    rows: i64,
    tokens: i64,
}

impl Cut {
    fn add(&mut self, tokens: i64) {
        self.rows += i64::from(tokens > 0);
        self.tokens += tokens;
    }
}

impl Work<'_> {
    /// Tokens that the model takes.
    fn positions(&self) -> usize {
        self.model.loaded.config.positions as usize
    }

    fn batch_size(&self) -> usize {
        self.settings.batch_size as usize
    }

    /// Looks at every row, before any goes through the model.
    fn check(&self, worker: &Worker, mut look: impl FnMut(&Part) -> Result<()>) -> Result<Option<()>> {
        for rows in self.cut() {
            if worker.stopped() {
                return Ok(None);
            }
            look(&self.items.part(rows)?)?;
        }
        Ok(Some(()))
    }

    /// Writes the parts that are not there yet; `say` gives the columns that a part's rows get, by name before the user's. `None` when stopped.
    fn parts(&self, worker: &mut Worker, mut say: impl FnMut(&Part, &mut Worker) -> Result<Option<Vec<Column>>>) -> Result<Option<()>> {
        for (index, rows) in self.cut().into_iter().enumerate() {
            if tables::is_written(&self.job.draft, TABLE, index) {
                continue;
            }
            let part = self.items.part(rows)?;
            let Some(columns) = say(&part, worker)? else { return Ok(None) };
            tables::write_part(self.job, TABLE, index, &tables::batch(part.with(columns))?)?;
        }
        Ok(Some(()))
    }

    /// The rows of each part.
    fn cut(&self) -> Vec<std::ops::Range<usize>> {
        let (rows, length) = (self.items.rows, length(self.items.rows as u64, self.settings.batch_size) as usize);
        (0..rows).step_by(length).map(|start| start..(start + length).min(rows)).collect()
    }

    /// What rows say of requests. `None` when stopped.
    fn ask(&self, part: &Part, rows: Vec<Row>, requests: usize, worker: &mut Worker) -> Result<Option<Vec<Sum>>> {
        let (first, here, all) = (part.rows.start, part.rows.len(), rows.len().max(1));
        let mut done = 0;
        sums(&self.model.loaded, rows, requests, self.batch_size(), |more| {
            done += more;
            worker.progress((first + here * done / all) as u64, self.items.rows as u64, "rows");
            !worker.stopped()
        })
    }

    fn report(&self, task: &str, requests: i64, cut: &Cut) -> Report {
        let facts = [("task", json!(task)), ("batch_size", json!(self.settings.batch_size)), ("precision", json!("f32"))];
        let counts =
            [("rows", self.items.rows as i64), ("requests", requests), ("rows_truncated", cut.rows), ("tokens_truncated", cut.tokens)];
        Report {
            facts: facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
            counts: counts.into_iter().map(|(name, n)| (name.to_string(), n)).collect(),
            ..Report::default()
        }
    }

    /// What stands before the first token of a text that nothing precedes.
    fn prefix(&self) -> Result<i64> {
        let (special, own) = (self.model.tokenizer.special(), &self.model.loaded.config.special);
        let (bos, eos) = (special.bos.map(i64::from), special.eos.map(i64::from));
        // A network that names no beginning of its own never saw that of its tokenizer.
        let found = if own.bos.is_some() { bos.or(eos).or(own.bos) } else { eos.or(own.eos).or(bos) };
        ensure!(
            found.is_some(),
            "the tokenizer has neither a beginning-of-text nor an end-of-text token, one of which stands before a text that nothing precedes"
        );
        Ok(found.unwrap_or_default())
    }

    /// A text with what the tokenizer's own template puts before it.
    fn encode(&self, text: &str) -> Result<Vec<i64>> {
        Ok([self.model.frame()?.0, self.model.encode(text)?].concat())
    }
}
