//! The stage `predict`: what a model says about a split of tokens. Which task it is follows from the layout of the tokens.
//!
//! Answers are cut out of their contexts, which tokens do not hold: for them the documents are an input too.

use anyhow::{Result, bail};
use engine::{Context, Draft, Inputs, Kind, Port, Site, Stage, StepView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Task, launch};

/// Settings of `predict`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Predict {
    /// The split to predict.
    #[serde(default = "default_split")]
    pub split: String,
    /// Only the first so many rows; all unless given.
    #[serde(default)]
    pub limit: Option<u64>,
    /// Rows at once; rows of similar length go together.
    #[serde(default = "default_batch_size")]
    pub batch_size: u64,
    /// Share of the tokens that is masked and predicted, for masked models.
    #[serde(default = "default_masked_probability")]
    pub masked_probability: f64,
    /// Longest completion or target in tokens, for prompts and sources.
    #[serde(default = "default_max_new_tokens")]
    pub max_new_tokens: u64,
    /// Longest answer in tokens, for questions.
    #[serde(default = "default_max_answer_tokens", skip_serializing_if = "is_default_max_answer_tokens")]
    pub max_answer_tokens: u64,
    /// How many answers the column `candidates` holds, for questions.
    #[serde(default = "default_candidates", skip_serializing_if = "is_default_candidates")]
    pub candidates: u64,
    /// For questions that may have no answer: says so where the score of having none is higher than the best answer's by more than this. Unless
    /// given, every question is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_threshold: Option<f64>,
    /// Beginnings that are kept while a target is searched, for tokens of the layout translate; 1 takes the likeliest token each time.
    #[serde(default = "default_beams", skip_serializing_if = "is_one")]
    pub beams: u64,
    /// With several beams: log-likelihoods are divided by length^this before they are compared; above 1 longer targets win more often.
    #[serde(default = "default_length_penalty", skip_serializing_if = "is_default_length_penalty")]
    pub length_penalty: f64,
    /// Columns of the documents that hold contexts and answers; noted while planning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub answer: Option<AnswerColumns>,
}

/// Columns of documents with questions, as the tokens were made from them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerColumns {
    pub question: String,
    pub context: String,
    pub answer: String,
    pub answer_start: String,
}

fn default_beams() -> u64 {
    1
}

fn is_one(beams: &u64) -> bool {
    *beams == 1
}

fn default_length_penalty() -> f64 {
    1.0
}

fn is_default_length_penalty(penalty: &f64) -> bool {
    *penalty == default_length_penalty()
}

fn default_split() -> String {
    "test".into()
}

fn default_batch_size() -> u64 {
    32
}

fn default_masked_probability() -> f64 {
    0.15
}

fn default_max_new_tokens() -> u64 {
    64
}

fn default_max_answer_tokens() -> u64 {
    30
}

fn is_default_max_answer_tokens(value: &u64) -> bool {
    *value == default_max_answer_tokens()
}

fn default_candidates() -> u64 {
    20
}

fn is_default_candidates(value: &u64) -> bool {
    *value == default_candidates()
}

/// The columns of questions with answers; refuses documents that are not those of the tokens.
fn answer_columns(site: &Site) -> Result<Option<AnswerColumns>> {
    let Some(tokens) = site.upstream("tokens") else { return Ok(None) };
    let documents = site.connected("documents").first();
    if tokens.settings["layout"] != "answer" {
        if let Some(name) = documents {
            bail!("the input `documents` is for tokens with layout = \"answer\" alone; leave out documents = \"{name}\"");
        }
        return Ok(None);
    }
    let used = tokens.inputs.iter().filter(|(port, _)| port == "documents").find_map(|(_, steps)| steps.first());
    if documents != used {
        let used = used.map(String::as_str).unwrap_or_default();
        bail!("answers are cut out of the documents that step `{}` read; add inputs = {{ documents = \"{used}\" }}", tokens.name);
    }
    let column = |name: &str| tokens.settings[name].as_str().unwrap_or_default().to_string();
    Ok(Some(AnswerColumns {
        question: column("question"),
        context: column("context"),
        answer: column("answer"),
        answer_start: column("answer_start"),
    }))
}

impl Stage for Predict {
    const NAME: &'static str = "predict";
    const ABOUT: &'static str = "Lets a model predict a split of tokens: likelihoods of packed text, classes or numbers of texts, tags of words, answers to questions, completions of prompts.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] =
        &[Port::one("model", Kind::Model), Port::one("tokens", Kind::Tokens), Port::optional("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Predictions;
    const SEEDED: bool = true;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        if [self.batch_size, self.max_new_tokens, self.max_answer_tokens, self.candidates, self.limit.unwrap_or(1)].contains(&0) {
            bail!("batch_size, max_new_tokens, max_answer_tokens, candidates and limit must be at least 1");
        }
        if !(self.masked_probability > 0.0 && self.masked_probability <= 1.0) {
            bail!("masked_probability is {}, it must be above 0 and at most 1", self.masked_probability);
        }
        if self.beams == 0 || !self.length_penalty.is_finite() {
            bail!("beams must be at least 1, and length_penalty a number");
        }
        let other = |step: &StepView| step.settings["layout"].as_str().is_some_and(|layout| layout != "translate");
        if let Some(step) = site.upstream("tokens").filter(|step| self.beams > 1 && other(step)) {
            bail!("beams = {} is for tokens of the layout translate, those of step `{}` are not", self.beams, step.name);
        }
        crate::sources::readable_tokens(site)?;
        crate::sources::trained_tokens(site)?;
        self.answer = answer_columns(site)?;
        Ok(())
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        launch::launch(Task::Predict(self.clone()), ctx, inputs, draft)
    }
}
