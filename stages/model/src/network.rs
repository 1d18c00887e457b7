//! The settings of a network that a user gives, and the complete description that `config.json` holds.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::design::{Activation, Design, NormKind, PositionEmbedding, Style};
use crate::recurrent::{self, Recurrent};
use crate::seq2seq::{self, Seq2seq};
use crate::train::is_default;

/// A family of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// GPT-2: reads left to right, predicts the next token, generates, classifies, tags, finds answers.
    Gpt,
    /// BERT: reads both ways, predicts masked tokens, classifies, tags, finds answers.
    Bert,
    /// Recurrent networks: read left to right, predict the next token, generate.
    Rnn,
    /// Encoder and decoder: read a text, write another; T5 also classifies, tags, finds answers.
    Seq2seq,
}

impl Family {
    pub fn name(self) -> &'static str {
        match self {
            Family::Gpt => "gpt",
            Family::Bert => "bert",
            Family::Rnn => "rnn",
            Family::Seq2seq => "seq2seq",
        }
    }

    /// The setting `model` of the tokens that it reads.
    pub fn reads(self) -> &'static [&'static str] {
        match self {
            Family::Gpt | Family::Rnn => &["causal"],
            Family::Bert => &["masked"],
            // Packed rows of either kind are pre-training.
            Family::Seq2seq => &["encoder-decoder", "causal", "masked"],
        }
    }
}

/// A network to train from scratch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// `gpt`, `bert`, `rnn` or `seq2seq`.
    pub family: Family,
    /// Number of blocks.
    #[serde(default = "default_layers")]
    pub layers: i64,
    /// Length of the vector that stands for a token.
    #[serde(default = "default_width")]
    pub width: i64,
    /// Attention heads; divides the width (all but rnn).
    #[serde(default = "default_heads")]
    pub heads: i64,
    /// Width of the inner layer of each block; 4 × width unless given, with a gate ⅔ of that (all but rnn).
    #[serde(default)]
    pub feed_forward: Option<i64>,
    /// Longest input in tokens; the sequence length of the tokens unless given.
    #[serde(default)]
    pub positions: Option<i64>,
    /// The published network whose choices hold unless single options are given: `gpt2` (default), `llama` or `qwen3` for gpt, `bert` (default)
    /// or `modernbert` for bert. A gpt that is none of them is saved in a form of our own, which transformers does not open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<Style>,
    /// `learned`, `sinusoidal` or `rotary` (gpt).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_embedding: Option<PositionEmbedding>,
    /// `layernorm` or `rmsnorm` (gpt).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm: Option<NormKind>,
    /// `gelu`, `swiglu`, `geglu` or `relu2` (gpt).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
    /// Heads of keys and values; divides the heads. As many as heads unless given (gpt).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_heads: Option<i64>,
    /// Width of a head; width / heads unless given (gpt).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_width: Option<i64>,
    /// Whether queries and keys are normalized (gpt).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qk_norm: Option<bool>,
    /// Whether the last matrix is that of the token embedding (gpt).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tied: Option<bool>,
    /// Whether products and layer norms have biases (gpt).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<bool>,
    /// Base of the wavelengths of rotary positions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// Tokens that a local layer looks at, half of them on each side; 128 unless given (modernbert).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_attention: Option<i64>,
    /// Every n-th layer looks at all tokens; n is 3 unless given (modernbert).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_attention_every: Option<i64>,
    /// More of the family rnn: `rnn = { cell = "lstm", tied = true }`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rnn: Recurrent,
    /// More of the family seq2seq: `seq2seq = { style = "marian" }`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub seq2seq: Seq2seq,
}

fn default_layers() -> i64 {
    6
}

fn default_width() -> i64 {
    384
}

fn default_heads() -> i64 {
    6
}

impl ModelSettings {
    /// Whether such a network can be built.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [("layers", self.layers), ("width", self.width), ("heads", self.heads)] {
            if value < 1 {
                bail!("model.{name} is {value}, it must be at least 1");
            }
        }
        let heads_fit = self.family == Family::Rnn || self.head_width.is_some() || self.seq2seq.head_width.is_some();
        if !heads_fit && self.width % self.heads != 0 {
            let fitting = (1..=self.width).filter(|heads| self.width % heads == 0).map(|heads| heads.to_string()).collect::<Vec<_>>();
            bail!("model.heads = {} does not divide model.width = {}; divisors are {}", self.heads, self.width, fitting.join(", "));
        }
        for (name, value) in [("feed_forward", self.feed_forward), ("positions", self.positions)] {
            if value.is_some_and(|value| value < 1) {
                bail!("model.{name} must be at least 1");
            }
        }
        let idle = [("heads", self.heads != default_heads()), ("feed_forward", self.feed_forward.is_some())];
        if let Some((name, _)) = idle.iter().find(|(_, given)| *given && self.family == Family::Rnn) {
            bail!(
                "model.{name} does nothing for the family rnn, whose options are `layers`, `width` and, in `rnn`, `cell` and `tied`; leave it out"
            );
        }
        if self.family != Family::Rnn && !is_default(&self.rnn) {
            bail!("model.rnn is for the family rnn, this is {}", self.family.name());
        }
        if self.family != Family::Seq2seq && !is_default(&self.seq2seq) {
            bail!("model.seq2seq is for the family seq2seq, this is {}", self.family.name());
        }
        if self.endless().is_some() && self.positions.is_some() {
            bail!("model.positions: leave it out, this network takes inputs of any length");
        }
        self.design()?;
        if self.family == Family::Seq2seq { self.seq2seq.check(self) } else { Ok(()) }
    }

    /// The length that stands for any, of networks without positions.
    fn endless(&self) -> Option<i64> {
        match self.family {
            Family::Rnn => Some(recurrent::POSITIONS),
            Family::Seq2seq if self.seq2seq.style == seq2seq::Style::T5 => Some(seq2seq::T5_POSITIONS),
            _ => None,
        }
    }

    /// Longest input in tokens, where rows have `rows`.
    pub fn longest(&self, rows: i64) -> i64 {
        self.endless().or(self.positions).unwrap_or(rows)
    }
}

/// What stands on top of the network.
#[derive(Clone, Debug, PartialEq)]
pub enum Head {
    /// Next tokens.
    Causal,
    /// Masked tokens, tied to the token embedding.
    Masked,
    /// Masked tokens, and which of these two classes the second segment is of (BERT's next sentence, ALBERT's sentence order).
    Pairs { classes: Vec<String> },
    /// One of these classes per text or pair of texts.
    Classify { classes: Vec<String> },
    /// Any of these classes per text or pair of texts.
    MultiLabel { classes: Vec<String> },
    /// A number per text or pair of texts.
    Number,
    /// One of these classes per token.
    Tag { classes: Vec<String> },
    /// First and last token of the answer.
    Answer,
}

impl Head {
    /// The classes that the head tells apart, by their numbers.
    pub fn classes(&self) -> Option<&[String]> {
        match self {
            Head::Pairs { classes } | Head::Classify { classes } | Head::MultiLabel { classes } | Head::Tag { classes } => Some(classes),
            Head::Causal | Head::Masked | Head::Number | Head::Answer => None,
        }
    }

    /// Values that a head gives for a text or a token; `None` for heads over the vocabulary alone.
    pub fn outputs(&self) -> Option<i64> {
        match self {
            Head::Causal | Head::Masked => None,
            Head::Number => Some(1),
            Head::Answer => Some(2),
            _ => self.classes().map(|classes| classes.len() as i64),
        }
    }

    /// Whether the head speaks of a text as a whole.
    pub fn reads_text(&self) -> bool {
        matches!(self, Head::Classify { .. } | Head::MultiLabel { .. } | Head::Number)
    }

    /// What errors call it.
    pub fn name(&self) -> &'static str {
        match self {
            Head::Causal => "the next token",
            Head::Masked => "masked tokens",
            Head::Pairs { .. } => "masked tokens and pairs of segments",
            Head::Classify { .. } => "one class",
            Head::MultiLabel { .. } => "several classes",
            Head::Number => "a number",
            Head::Tag { .. } => "tags",
            Head::Answer => "answers",
        }
    }
}

/// Ids of the special tokens, as far as the tokenizer has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpecialTokens {
    pub pad: Option<i64>,
    pub bos: Option<i64>,
    pub eos: Option<i64>,
}

/// A complete description of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkConfig {
    pub family: Family,
    pub vocab_size: i64,
    pub positions: i64,
    pub layers: i64,
    pub width: i64,
    pub heads: i64,
    pub feed_forward: i64,
    /// Dropout after the embeddings and after each half of a block, as it was trained.
    pub dropout: f64,
    pub head: Head,
    pub special: SpecialTokens,
    pub design: Design,
    /// Of the family rnn.
    pub recurrent: Recurrent,
    /// Of the family seq2seq, with all that follows from other settings.
    pub seq2seq: Seq2seq,
}

impl NetworkConfig {
    /// The published network of the families gpt and bert that this is, if it is one.
    pub fn style(&self) -> Option<Style> {
        self.design.style(self.family, self.width, self.heads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_must_divide_the_width() {
        let settings: ModelSettings = serde_json::from_str(r#"{"family": "gpt", "width": 12, "heads": 5}"#).unwrap();
        let error = settings.check().unwrap_err().to_string();
        assert_eq!(error, "model.heads = 5 does not divide model.width = 12; divisors are 1, 2, 3, 4, 6, 12");
    }

    #[test]
    fn recurrent_networks_have_neither_heads_nor_inner_layers() {
        let error = |json: &str| {
            let settings: ModelSettings = serde_json::from_str(json).unwrap();
            settings.check().err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(error(r#"{"family": "rnn", "layers": 1, "width": 7, "rnn": {"cell": "gru"}}"#), "");
        let expected = "model.heads does nothing for the family rnn, whose options are `layers`, `width` and, in `rnn`, `cell` and `tied`; leave it out";
        assert_eq!(error(r#"{"family": "rnn", "heads": 2}"#), expected);
        assert_eq!(error(r#"{"family": "rnn", "feed_forward": 64}"#), expected.replace("heads", "feed_forward"));
    }

    #[test]
    fn an_unknown_family_lists_the_valid_ones() {
        let error = serde_json::from_str::<ModelSettings>(r#"{"family": "gtp"}"#).unwrap_err().to_string();
        assert!(error.starts_with("unknown variant `gtp`, expected one of `gpt`, `bert`, `rnn`, `seq2seq`"), "{error}");
    }
}
