//! The stage `predict`: what a model says about a split of tokens. Which task it is follows from the layout of the tokens.

use anyhow::{Result, bail};
use engine::{Context, Draft, Inputs, Kind, Port, Site, Stage};
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
    /// Longest completion in tokens, for prompts.
    #[serde(default = "default_max_new_tokens")]
    pub max_new_tokens: u64,
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

impl Stage for Predict {
    const NAME: &'static str = "predict";
    const ABOUT: &'static str =
        "Lets a model predict a split of tokens: likelihoods of packed text, classes of examples, completions of prompts.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("model", Kind::Model), Port::one("tokens", Kind::Tokens)];
    const OUTPUT: Kind = Kind::Predictions;
    const SEEDED: bool = true;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        if self.batch_size == 0 || self.max_new_tokens == 0 || self.limit == Some(0) {
            bail!("batch_size, max_new_tokens and limit must be at least 1");
        }
        if !(self.masked_probability > 0.0 && self.masked_probability <= 1.0) {
            bail!("masked_probability is {}, it must be above 0 and at most 1", self.masked_probability);
        }
        crate::sources::readable_tokens(site)
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        launch::launch(Task::Predict(self.clone()), ctx, inputs, draft)
    }
}
