//! The stage `train`: settings, checks while planning. The loop itself is in the crate `torch`.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use engine::{Context, Draft, Inputs, Kind, Port, Site, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Curriculum, Family, Masking, ModelSettings, Shuffle, Task, launch};

/// What is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// The next token of packed rows (gpt).
    Causal,
    /// Masked tokens of packed rows: 80 % shown as the mask, 10 % as a random token, 10 % unchanged (bert).
    Masked,
    /// The class of an example (bert).
    Classify,
    /// The target after a prompt; the loss is on the target alone (gpt).
    Complete,
}

impl Objective {
    pub fn name(self) -> &'static str {
        match self {
            Objective::Causal => "causal",
            Objective::Masked => "masked",
            Objective::Classify => "classify",
            Objective::Complete => "complete",
        }
    }
}

/// Kind of the large products; weights, sums and the optimizer stay f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 on a GPU, and for networks of 1 million parameters or more on a CPU with bf16 instructions; else f32.
    Auto,
    F32,
    Bf16,
}

/// The learning rate after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Half a cosine down to min_learning_rate.
    Cosine,
    /// A straight line down to min_learning_rate.
    Linear,
    /// Stays at learning_rate.
    Constant,
}

/// Settings of `train`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// The network to train from scratch; leave it out when the input `model` gives an earlier one as the start.
    #[serde(default)]
    pub model: Option<ModelSettings>,
    /// `causal`, `masked`, `classify` or `complete`; follows from the tokens and the family unless given.
    #[serde(default)]
    pub objective: Option<Objective>,
    /// The split to learn from.
    #[serde(default = "default_split")]
    pub split: String,
    /// The split that the model is tried on while it trains; skipped when the tokens do not have it.
    #[serde(default = "default_valid_split")]
    pub valid_split: String,
    /// Optimizer steps; give either steps or epochs.
    #[serde(default)]
    pub steps: Option<u64>,
    /// Times that every row is seen; give either steps or epochs.
    #[serde(default)]
    pub epochs: Option<f64>,
    /// Rows that go through the network at once.
    #[serde(default = "default_batch_size")]
    pub batch_size: u64,
    /// Batches whose gradients are summed for one step.
    #[serde(default = "default_accumulate")]
    pub accumulate: u64,
    /// Highest learning rate.
    #[serde(default = "default_learning_rate")]
    pub learning_rate: f64,
    /// Steps over which the learning rate rises from 0.
    #[serde(default)]
    pub warmup_steps: u64,
    /// Course of the learning rate after the warm-up: `cosine`, `linear` or `constant`.
    #[serde(default = "default_schedule")]
    pub schedule: Schedule,
    /// Learning rate at the last step; a tenth of learning_rate unless given.
    #[serde(default)]
    pub min_learning_rate: Option<f64>,
    /// AdamW's decay, on matrices alone.
    #[serde(default = "default_weight_decay")]
    pub weight_decay: f64,
    /// AdamW's decay rates of the two averages.
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    /// AdamW's epsilon.
    #[serde(default = "default_epsilon")]
    pub epsilon: f64,
    /// Largest global norm of the gradients; 0 clips nothing.
    #[serde(default = "default_grad_clip")]
    pub grad_clip: f64,
    /// Dropout after the embeddings and after each half of a block.
    #[serde(default)]
    pub dropout: f64,
    /// `auto`, `f32` or `bf16`: kind of the large products.
    #[serde(default = "default_precision")]
    pub precision: Precision,
    /// Share of the tokens to predict, for masked models.
    #[serde(default = "default_masked_probability")]
    pub masked_probability: f64,
    /// Steps between two tries on the valid split; 0 tries only at the end.
    #[serde(default = "default_eval_interval_steps")]
    pub eval_interval_steps: u64,
    /// Batches of each try, always the same ones.
    #[serde(default = "default_eval_batches")]
    pub eval_batches: u64,
    /// Steps between two checkpoints; 0 saves only at the end and when stopped.
    #[serde(default = "default_checkpoint_interval_steps")]
    pub checkpoint_interval_steps: u64,
    /// Weights of the sources, `{ web = 0.7, books = 0.3 }`, in any scale, by the names of the steps on the input `tokens`. Sources are gone
    /// through again when they are at their end. Without weights all rows of all sources are shuffled together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, f64>,
    /// Weights that change on the way: `[{ from_share = 0.9, weights = { books = 1 } }]`, in order. `weights` hold until the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curriculum: Vec<Curriculum>,
    /// `rows`: any row may follow any other. `blocks`: for disks slower than NVMe, rows are shuffled within some 64 MiB of neighbours.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shuffle: Shuffle,
    /// What is hidden together, for masked models: `tokens`, whole `words`, or `spans` of words as SpanBERT has them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub masking: Masking,
    /// Whether tokens of packed rows see their own document alone, its positions beginning at 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub document_mask: bool,
    /// Names of the steps on the input `tokens`, when weights speak of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(skip)]
    pub sources: Vec<String>,
    /// Of the network, whether built here or by an earlier step; noted while planning.
    #[serde(default)]
    #[schemars(skip)]
    pub network: Option<NetworkLimits>,
}

/// What a plan must know of a network to see that tokens fit it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkLimits {
    pub family: Family,
    /// Longest input in tokens.
    pub positions: i64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn default_split() -> String {
    "train".into()
}

fn default_valid_split() -> String {
    "valid".into()
}

fn default_batch_size() -> u64 {
    16
}

fn default_accumulate() -> u64 {
    1
}

fn default_learning_rate() -> f64 {
    1e-3
}

fn default_schedule() -> Schedule {
    Schedule::Cosine
}

fn default_weight_decay() -> f64 {
    0.1
}

fn default_betas() -> [f64; 2] {
    [0.9, 0.95]
}

fn default_epsilon() -> f64 {
    1e-8
}

fn default_grad_clip() -> f64 {
    1.0
}

fn default_precision() -> Precision {
    Precision::Auto
}

fn default_masked_probability() -> f64 {
    0.15
}

fn default_eval_interval_steps() -> u64 {
    100
}

fn default_eval_batches() -> u64 {
    10
}

fn default_checkpoint_interval_steps() -> u64 {
    100
}

impl Train {
    /// Checks all that can be checked without the inputs.
    pub fn check(&self, starts_from_model: bool) -> Result<()> {
        match (&self.model, starts_from_model) {
            (Some(_), true) => bail!("both the setting `model` and the input `model` are given; leave one out"),
            (None, false) => bail!(
                "no model: give `model = {{ family = \"gpt\" | \"bert\", … }}`, or an earlier model by `inputs = {{ model = \"STEP\" }}`"
            ),
            (Some(model), false) => model.check()?,
            (None, true) => {}
        }
        match (self.steps, self.epochs) {
            (Some(1..), None) => {}
            (None, Some(epochs)) if epochs > 0.0 && epochs.is_finite() => {}
            _ => bail!("give either `steps` (at least 1) or `epochs` (above 0)"),
        }
        if self.batch_size == 0 || self.accumulate == 0 || self.eval_batches == 0 {
            bail!("batch_size, accumulate and eval_batches must be at least 1");
        }
        let lowest = self.lowest_learning_rate();
        if !(self.learning_rate > 0.0 && (0.0..=self.learning_rate).contains(&lowest)) {
            bail!("learning_rate = {} must be above 0 and min_learning_rate = {lowest} between 0 and it", self.learning_rate);
        }
        for (name, value) in [("dropout", self.dropout), ("betas[0]", self.betas[0]), ("betas[1]", self.betas[1])] {
            if !(0.0..1.0).contains(&value) {
                bail!("{name} is {value}, it must be at least 0 and below 1");
            }
        }
        for (name, value) in [("weight_decay", self.weight_decay), ("grad_clip", self.grad_clip), ("epsilon", self.epsilon)] {
            if !(value >= 0.0 && value.is_finite()) {
                bail!("{name} is {value}, it must not be negative");
            }
        }
        if !(self.masked_probability > 0.0 && self.masked_probability <= 1.0) {
            bail!("masked_probability is {}, it must be above 0 and at most 1", self.masked_probability);
        }
        Ok(())
    }

    /// The family and length of the network, from the settings or from the step it starts from.
    fn limits(&self, site: &Site) -> Option<NetworkLimits> {
        let Some(model) = &self.model else {
            return serde_json::from_value(site.upstream("model")?.settings["network"].clone()).ok();
        };
        let rows = site.upstream("tokens")?.settings["sequence_length"].as_i64();
        Some(NetworkLimits { family: model.family, positions: model.positions.or(rows)? })
    }

    /// The learning rate at the last step.
    pub fn lowest_learning_rate(&self) -> f64 {
        self.min_learning_rate.unwrap_or(self.learning_rate / 10.0)
    }

    /// Optimizer steps when the split has `rows` rows.
    pub fn total_steps(&self, rows: u64) -> u64 {
        let per_step = (self.batch_size * self.accumulate) as f64;
        self.steps.unwrap_or_else(|| (rows as f64 * self.epochs.unwrap_or(1.0) / per_step).ceil().max(1.0) as u64)
    }
}

impl Stage for Train {
    const NAME: &'static str = "train";
    const ABOUT: &'static str =
        "Trains a model on tokens, from scratch or on from an earlier model, and saves it as transformers reads it.";
    const VERSION: u32 = 3;
    const INPUTS: &'static [Port] =
        &[Port::many("tokens", Kind::Tokens), Port::one("tokenizer", Kind::Tokenizer), Port::optional("model", Kind::Model)];
    const OUTPUT: Kind = Kind::Model;
    const SEEDED: bool = true;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        self.check(site.upstream("model").is_some())?;
        self.network = self.limits(site);
        self.name_sources(site.connected("tokens"))?;
        crate::sources::fitting_tokens(site, self.network.as_ref())
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        launch::launch(Task::Train(Box::new(self.clone())), ctx, inputs, draft)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, starts_from_model: bool, expected: &str) {
        let settings: Train = serde_json::from_str(json).unwrap();
        let found = settings.check(starts_from_model).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{json}: {found}");
    }

    #[test]
    fn wrong_settings_are_refused_while_planning() {
        check(r#"{"model": {"family": "gpt"}, "steps": 10}"#, false, "");
        check(r#"{"epochs": 2.5}"#, true, "");
        check(r#"{"model": {"family": "gpt"}, "steps": 10}"#, true, "both the setting `model` and the input `model`");
        check(r#"{"steps": 10}"#, false, "no model");
        check(r#"{"model": {"family": "bert"}}"#, false, "give either `steps`");
        check(r#"{"model": {"family": "bert"}, "steps": 1, "epochs": 1}"#, false, "give either `steps`");
        check(r#"{"model": {"family": "bert"}, "steps": 1, "batch_size": 0}"#, false, "batch_size");
        check(r#"{"model": {"family": "bert"}, "steps": 1, "min_learning_rate": 1}"#, false, "learning_rate = 0.001 must be above 0");
        check(r#"{"model": {"family": "bert"}, "steps": 1, "dropout": 1}"#, false, "dropout is 1");
        check(r#"{"model": {"family": "bert"}, "steps": 1, "masked_probability": 0}"#, false, "masked_probability is 0");
    }

    #[test]
    fn epochs_become_steps_rounded_up() {
        let settings: Train = serde_json::from_str(r#"{"epochs": 2, "batch_size": 4, "accumulate": 2}"#).unwrap();
        assert_eq!([settings.total_steps(8), settings.total_steps(9), settings.total_steps(1)], [2, 3, 1]);
    }
}
