//! The stage `train`: settings, checks while planning. The loop itself is in the crate `torch`.

use std::collections::BTreeMap;

use anyhow::Result;
use engine::{Context, Draft, Inputs, Kind, Port, Site, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::optimizer::{Adversarial, BestMetric, Group, OnSpike, Optimizer, Schedule};
use crate::{Curriculum, Family, Lora, Masking, ModelSettings, Objective, Shuffle, Style, Task, launch, start};

/// Kind of the large products; weights, sums and the optimizer stay f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 on a GPU, and for networks of 1 million parameters or more on a CPU with bf16 instructions; else f32, as recurrent networks on
    /// a GPU and LSTMs on a CPU always are.
    Auto,
    F32,
    Bf16,
}

/// Settings of `train`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// The network to train from scratch; leave it out when `from` or the input `model` gives an earlier one as the start.
    #[serde(default)]
    pub model: Option<ModelSettings>,
    /// A folder in the layout of transformers to start from: config.json, model.safetensors (or its parts with their index) and a tokenizer,
    /// which must be the run's: `import-tokenizer` takes it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Trains low-rank adapters (and heads) alone, for networks that start from others; saved as part of the weights that they adapt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
    /// `causal`, `masked`, `classify`, `complete`, `translate`, `denoise`, `tag`, `answer` or `pairs`; follows from the tokens and the family
    /// unless given.
    #[serde(default)]
    pub objective: Option<Objective>,
    /// Whether each step on the input `tokens` is a task with a head of its own on one body (families bert and gpt; Liu et al. 2019). Every
    /// optimizer step is of one task, in proportion to the rows of each or to `weights`. Saved are `models/STEP/` for each step on `tokens`, and
    /// `model/`, which is that of the first; the table `metrics` has a column `task`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub multi_task: bool,
    /// The split to learn from.
    #[serde(default = "default_split")]
    pub split: String,
    /// The split that the model is tried on while it trains. Without a split `valid` there are no tries, unless `best_metric` or files of words
    /// (`word_similarity`, `word_analogies`) need them; one of another name must be there.
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
    /// Processes on this machine that train the model together, each with its share of the rows of every batch and of the threads (or, with CUDA,
    /// with a GPU of its own). The losses are those of one to within 1e-5; only dropout draws others. It is not part of the key, and a training
    /// may go on with another number (of ranks; the number of threads it keeps, because its losses hang on it).
    #[serde(default = "default_ranks", skip_serializing)]
    pub ranks: u64,
    /// Steps over which these batches grow from 1 to `accumulate`; 0 has all of them from the start.
    #[serde(default, skip_serializing_if = "is_default")]
    pub batch_ramp_steps: u64,
    /// Highest learning rate.
    #[serde(default = "default_learning_rate")]
    pub learning_rate: f64,
    /// Steps over which the learning rate rises from 0.
    #[serde(default)]
    pub warmup_steps: u64,
    /// Course of the learning rate after the warm-up: `cosine`, `linear`, `constant`, `inverse-sqrt`, `exponential`, `step`, `wsd` or `one-cycle`.
    #[serde(default = "default_schedule")]
    pub schedule: Schedule,
    /// Learning rate at the last step; a tenth of learning_rate unless given.
    #[serde(default)]
    pub min_learning_rate: Option<f64>,
    /// Of wsd: the last steps, over which the rate falls; a fifth of all unless given. Of step: steps between two drops; a third of all unless given.
    #[serde(default, skip_serializing_if = "is_default")]
    pub decay_steps: Option<u64>,
    /// Of step: what a drop leaves of the rate; a tenth unless given.
    #[serde(default, skip_serializing_if = "is_default")]
    pub decay_factor: Option<f64>,
    /// `adamw`, `adam`, `sgd`, `adagrad`, `lion` or `muon`, which changes the matrices of blocks and recurrent layers and leaves embeddings,
    /// heads and vectors to adamw.
    #[serde(default, skip_serializing_if = "is_default")]
    pub optimizer: Optimizer,
    /// Decay of the weights, on matrices alone. Unless given, 0.1 for adamw, lion and muon, and 0 for adam, sgd and adagrad, where it is an
    /// L2 penalty, a part of the gradient.
    #[serde(default)]
    pub weight_decay: Option<f64>,
    /// Decay rates of the two averages of adamw, adam and lion, and of what muon leaves to adamw; the paper of lion has [0.9, 0.99].
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    /// Epsilon of adamw, adam and adagrad, and of what muon leaves to adamw.
    #[serde(default = "default_epsilon")]
    pub epsilon: f64,
    /// Decay of the average of gradients in sgd (0.9 unless given) and muon (0.95).
    #[serde(default, skip_serializing_if = "is_default")]
    pub momentum: Option<f64>,
    /// Whether sgd (off unless given) and muon (on) look one step ahead.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nesterov: Option<bool>,
    /// L1 penalty: this times the sign of each weight is added to its gradient, of matrices alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub l1: f64,
    /// Largest global norm of the gradients; 0 clips nothing.
    #[serde(default = "default_grad_clip")]
    pub grad_clip: f64,
    /// Largest absolute value of a gradient, after grad_clip; 0 clips nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub clip_value: f64,
    /// Settings of parameters by their names, `[{ pattern = "bert.embeddings.*", freeze = true }]`; the first pattern that fits counts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub groups: Vec<Group>,
    /// Whether only the inputs of blocks are kept and their insides computed again for the gradients: less memory, about a third more time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub activation_checkpointing: bool,
    /// Decay of a moving average of the weights, such as 0.999, with which the model is tried and saved; 0 keeps none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ema: f64,
    /// Dropout after the embeddings and after each half of a block.
    #[serde(default)]
    pub dropout: f64,
    /// Share of the target's probability that is spread over all tokens or classes (Szegedy et al. 2016). The loss in `metrics` is without it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub label_smoothing: f64,
    /// Share of the input tokens that are shown as the unknown or mask token; what is to be predicted stays.
    #[serde(default, skip_serializing_if = "is_default")]
    pub word_dropout: f64,
    /// Share of the input tokens that are shown as a random token; what is to be predicted stays.
    #[serde(default, skip_serializing_if = "is_default")]
    pub token_noise: f64,
    /// `{ method = "fgm", epsilon = 1.0 }` or `{ method = "pgd", epsilon = 1.0, steps = 3, step_size = 0.3 }`: learns from disturbed embeddings too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub adversarial: Option<Adversarial>,
    /// `stop` or `skip`: what becomes of a step whose loss or gradients are not finite, or whose loss is above spike_factor times the usual.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_spike: OnSpike,
    /// Losses above this many times the mean of the last hundred or so are spikes; 0 lets all finite ones pass.
    #[serde(default, skip_serializing_if = "is_default")]
    pub spike_factor: f64,
    /// `auto`, `f32` or `bf16`: kind of the large products. A processor without instructions for bf16 is ten times slower in it; `auto` knows.
    #[serde(default = "default_precision")]
    pub precision: Precision,
    /// On a GPU: products in f32 are made in TF32, with 10 bits of mantissa.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tf32: bool,
    /// On a GPU: only kernels that give the same sums each time; slower, and an error where there is none. On a processor it is always so.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deterministic: bool,
    /// Share of the tokens to predict, for masked models.
    #[serde(default = "default_masked_probability")]
    pub masked_probability: f64,
    /// Steps between two tries on the valid split; 0 tries only at the end.
    #[serde(default = "default_eval_interval_steps")]
    pub eval_interval_steps: u64,
    /// Batches of each try, always the same ones.
    #[serde(default = "default_eval_batches")]
    pub eval_batches: u64,
    /// A metric of the valid split: the saved model is the one that was best by it; the last one unless given. `loss` of all objectives,
    /// `accuracy` of all but numbers, `perplexity` of tokens, `bits_per_byte` of next tokens with a byte-level tokenizer, `f1` of several classes
    /// and of tags, `pearson` of numbers, `pair_loss` and `pair_accuracy` of pairs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub best_metric: Option<BestMetric>,
    /// Tries without a better best_metric after which the training ends; 0 goes on to the last step.
    #[serde(default, skip_serializing_if = "is_default")]
    pub patience: u64,
    /// By how much a best_metric must be better to count.
    #[serde(default, skip_serializing_if = "is_default")]
    pub min_improvement: f64,
    /// Beginnings of texts, which a model of the family gpt or rnn continues at every try; table `generations`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prompts: Vec<String>,
    /// Tokens of such a continuation, at least 1; 64 unless given.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prompt_tokens: Option<u64>,
    /// Files of word pairs with a similarity that people gave, as `score-vectors` reads them: at every try `word_similarity` in `metrics` is the
    /// rank correlation with the cosines of the network's token embeddings, a word of several tokens having their mean.
    #[serde(default, skip_serializing_if = "is_default")]
    pub word_similarity: Vec<String>,
    /// Files of analogies, as `score-vectors` reads them: at every try `analogy_accuracy` is the share of right answers among the words of the files.
    #[serde(default, skip_serializing_if = "is_default")]
    pub word_analogies: Vec<String>,
    /// Steps between two checkpoints; 0 saves only at the end and when stopped.
    #[serde(default = "default_checkpoint_interval_steps")]
    pub checkpoint_interval_steps: u64,
    /// Models of so many of the last checkpoints are kept as folders `checkpoints/step-N/`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keep_last: u64,
    /// Besides them the models of every so many steps are kept, a multiple of checkpoint_interval_steps; 0 keeps none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keep_every_steps: u64,
    /// Weights of the sources, `{ web = 0.7, books = 0.3 }`, in any scale, by the names of the steps on the input `tokens`. Sources are gone
    /// through again when they are at their end. Without weights all rows of all sources are shuffled together. What a document counts in the loss
    /// is a matter of `weight` and `group_weights` of `tokenize`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, f64>,
    /// Weights that change on the way: `[{ from_share = 0.9, weights = { books = 1 } }]`, in order; `from_step = 900` counts in steps.
    /// `weights` hold until the first of them, or a first one with `from_step = 0` stands for them.
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
    /// Whether a recurrent network goes on with the state that the row before left (truncated backpropagation through time). Each of the
    /// `batch_size` lanes of a batch then reads the split in its order, from a place of its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub carry_state: bool,
    /// Share of the tokens that are cut out, and mean length of the spans, for the objective `denoise`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub denoise: crate::Denoise,
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
    /// The published network that it is, as far as that is known.
    #[serde(skip)]
    pub style: Option<Style>,
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
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

fn default_ranks() -> u64 {
    1
}

fn default_learning_rate() -> f64 {
    1e-3
}

fn default_schedule() -> Schedule {
    Schedule::Cosine
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
    /// The family and length of the network, from the settings, the folder or the step it starts from.
    fn limits(&self, site: &mut Site) -> Result<Option<NetworkLimits>> {
        match &self.from {
            Some(from) => start::folder(site, from).map(Some),
            None => Ok(self.limits_of_steps(site)),
        }
    }

    fn limits_of_steps(&self, site: &Site) -> Option<NetworkLimits> {
        let Some(model) = &self.model else {
            let settings = &site.upstream("model")?.settings;
            let limits: NetworkLimits = serde_json::from_value(settings["network"].clone()).ok()?;
            return Some(NetworkLimits { style: start::style(site, site.upstream("model")?), ..limits });
        };
        let rows = site.upstreams("tokens").into_iter().filter_map(crate::sources::longest).max()?;
        Some(NetworkLimits { family: model.family, positions: model.longest(rows), style: model.style })
    }

    /// Whether the valid split has another name than by default, so that somebody means it to be there.
    pub fn names_valid_split(&self) -> bool {
        self.valid_split != default_valid_split()
    }

    /// The family of the network, as far as it is known while planning.
    pub(crate) fn family(&self) -> Option<Family> {
        self.network.as_ref().map(|network| network.family).or(self.model.as_ref().map(|model| model.family))
    }
}

impl Stage for Train {
    const NAME: &'static str = "train";
    const ABOUT: &'static str =
        "Trains a model on tokens, from scratch or on from an earlier model, and saves it as transformers reads it.";
    const VERSION: u32 = 7;
    const INPUTS: &'static [Port] =
        &[Port::many("tokens", Kind::Tokens), Port::one("tokenizer", Kind::Tokenizer), Port::optional("model", Kind::Model)];
    const OUTPUT: Kind = Kind::Model;
    const SEEDED: bool = true;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        self.check(site.upstream("model").is_some())?;
        // What follows from other settings stands in the key as if it were given.
        self.weight_decay = Some(self.weight_decay());
        self.network = self.limits(site)?;
        let family = self.family();
        crate::recurrent::check(self, family, &site.upstreams("tokens"))?;
        let style = start::seq2seq_style(site, self);
        crate::seq2seq::check(self, family, style, &site.upstreams("tokens"), site.upstream("tokenizer"))?;
        judgements::prepare(site, &self.word_similarity, &self.word_analogies)?;
        self.name_sources(site.connected("tokens"))?;
        self.check_tasks(site.connected("tokens"))?;
        crate::sources::fitting_tokens(site, self)
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let mut settings = self.clone();
        if settings.from.is_some() {
            settings.from = Some(start::found(inputs)?);
        }
        for name in settings.word_similarity.iter_mut().chain(&mut settings.word_analogies) {
            *name = start::absolute(judgements::found(inputs, name)?)?;
        }
        launch::launch(Task::Train(Box::new(settings)), ctx, inputs, draft).map(|_| ())
    }
}
