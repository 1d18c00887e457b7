//! What a network is made of: the settings a user gives, and the complete description that `config.json` holds.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A family of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// GPT-2: reads left to right, predicts the next token, generates.
    Gpt,
    /// BERT: reads both ways, predicts masked tokens, classifies.
    Bert,
}

impl Family {
    pub fn name(self) -> &'static str {
        match self {
            Family::Gpt => "gpt",
            Family::Bert => "bert",
        }
    }
}

/// A network to train from scratch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// `gpt` or `bert`.
    pub family: Family,
    /// Number of blocks.
    #[serde(default = "default_layers")]
    pub layers: i64,
    /// Length of the vector that stands for a token.
    #[serde(default = "default_width")]
    pub width: i64,
    /// Attention heads; divides the width.
    #[serde(default = "default_heads")]
    pub heads: i64,
    /// Width of the inner layer of each block; 4 × width unless given.
    #[serde(default)]
    pub feed_forward: Option<i64>,
    /// Longest input in tokens; the sequence length of the tokens unless given.
    #[serde(default)]
    pub positions: Option<i64>,
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
        if self.width % self.heads != 0 {
            let fitting = (1..=self.width).filter(|heads| self.width % heads == 0).map(|heads| heads.to_string()).collect::<Vec<_>>();
            bail!("model.heads = {} does not divide model.width = {}; divisors are {}", self.heads, self.width, fitting.join(", "));
        }
        for (name, value) in [("feed_forward", self.feed_forward), ("positions", self.positions)] {
            if value.is_some_and(|value| value < 1) {
                bail!("model.{name} must be at least 1");
            }
        }
        Ok(())
    }
}

/// What stands on top of the network.
#[derive(Clone, Debug, PartialEq)]
pub enum Head {
    /// Next tokens, tied to the token embedding.
    Causal,
    /// Masked tokens, tied to the token embedding.
    Masked,
    /// One of these classes per text.
    Classify { classes: Vec<String> },
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
    fn an_unknown_family_lists_the_valid_ones() {
        let error = serde_json::from_str::<ModelSettings>(r#"{"family": "gtp"}"#).unwrap_err().to_string();
        assert!(error.starts_with("unknown variant `gtp`, expected `gpt` or `bert`"), "{error}");
    }
}
