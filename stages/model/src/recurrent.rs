//! Recurrent networks (family `rnn`): their settings and their `config.json`, which is ours because transformers has none.
//!
//! A folder holds `config.json` with `"model_type": "corpusmill-rnn"`, and variables named as in PyTorch: `embedding.weight` (vocabulary, width),
//! `rnn.weight_ih_l0` … as `torch.nn.LSTM(width, width, layers)` (or `GRU`, `RNN`) names them, `output.bias` (vocabulary), and, where the output is
//! not tied to the embedding, `output.weight` (vocabulary, width).

use anyhow::{Result, bail};
use engine::StepView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::huggingface::{integer, special};
use crate::{Family, Head, NetworkConfig, Precision, Train};

/// What `config.json` calls these networks.
pub const MODEL_TYPE: &str = "corpusmill-rnn";
/// These networks read texts of any length.
pub(crate) const POSITIONS: i64 = 1 << 20;

/// What passes on from token to token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    /// Long short-term memory (Hochreiter and Schmidhuber 1997).
    #[default]
    Lstm,
    /// Gated recurrent unit (Cho et al. 2014).
    Gru,
    /// h' = tanh(W x + U h + b) (Elman 1990).
    Rnn,
}

/// Settings of the family `rnn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recurrent {
    /// `lstm`, `gru` or `rnn`.
    #[serde(default)]
    pub cell: Cell,
    /// Whether the last matrix is that of the token embedding (Press and Wolf 2017).
    #[serde(default = "default_tied")]
    pub tied: bool,
}

fn default_tied() -> bool {
    true
}

impl Default for Recurrent {
    fn default() -> Recurrent {
        Recurrent { cell: Cell::default(), tied: true }
    }
}

/// Refuses what a recurrent network cannot do, and `carry_state` where there is no state or no order to carry it along.
pub(crate) fn check(train: &Train, family: Option<Family>, tokens: &[&StepView]) -> Result<()> {
    let recurrent = family == Some(Family::Rnn);
    if recurrent && train.document_mask {
        bail!("document_mask is for attention: a model of the family rnn carries its state through a row; use packing = \"one-per-row\"");
    }
    if recurrent && train.lora.is_some() {
        bail!("lora: a model of the family rnn has no projections that adapters could stand beside; leave it out");
    }
    let lstm = train.model.as_ref().is_some_and(|model| model.family == Family::Rnn && model.rnn.cell == Cell::Lstm);
    if lstm && train.precision == Precision::Bf16 {
        bail!("precision = \"bf16\": an LSTM is trained in f32 everywhere; take \"auto\" or \"f32\"");
    }
    if !train.carry_state {
        return Ok(());
    }
    if family.is_some() && !recurrent {
        bail!("carry_state needs a model of the family rnn: others have no state");
    }
    if !train.weights.is_empty() || !train.curriculum.is_empty() || train.shuffle != crate::Shuffle::Rows {
        bail!("carry_state reads rows in their order: leave out `weights`, `curriculum` and `shuffle`");
    }
    if train.adversarial.is_some() {
        bail!("carry_state goes through each row once, `adversarial` twice: leave one out");
    }
    tokens.iter().try_for_each(|step| check_carried(&step.name, step.settings["layout"].as_str(), step.settings["packing"].as_str()))
}

/// Refuses tokens whose rows do not follow one another.
fn check_carried(step: &str, layout: Option<&str>, packing: Option<&str>) -> Result<()> {
    match (layout, packing) {
        (Some("packed") | None, Some("pack") | None) => Ok(()),
        (Some(layout), _) if layout != "packed" => {
            bail!("carry_state needs rows that follow one another; step `{step}` makes tokens of the layout {layout}, not packed")
        }
        (_, packing) => bail!(
            "carry_state needs rows that follow one another; tokenize step `{step}` with packing = \"pack\", not \"{}\"",
            packing.unwrap_or_default()
        ),
    }
}

pub(crate) fn to_json(network: &NetworkConfig) -> Value {
    json!({
        "architectures": ["RecurrentLanguageModel"],
        "model_type": MODEL_TYPE,
        "cell": network.recurrent.cell,
        "num_layers": network.layers,
        "hidden_size": network.width,
        "max_position_embeddings": network.positions,
        "dropout": network.dropout,
        "tie_word_embeddings": network.recurrent.tied,
    })
}

pub(crate) fn from_json(config: &Value) -> Result<NetworkConfig> {
    let width = integer(config, "hidden_size")?;
    let recurrent =
        Recurrent { cell: serde_json::from_value(config["cell"].clone())?, tied: config["tie_word_embeddings"].as_bool().unwrap_or(true) };
    Ok(NetworkConfig {
        family: Family::Rnn,
        vocab_size: integer(config, "vocab_size")?,
        positions: integer(config, "max_position_embeddings")?,
        layers: integer(config, "num_layers")?,
        width,
        heads: 1,
        feed_forward: width,
        dropout: config["dropout"].as_f64().unwrap_or(0.0),
        head: Head::Causal,
        special: special(config),
        design: Default::default(),
        recurrent,
        seq2seq: Default::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_carried_only_where_rows_follow_one_another() {
        let check = |json: &str, family: Family| {
            let train: Train = serde_json::from_str(json).unwrap();
            check(&train, Some(family), &[]).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(check(r#"{"carry_state": true}"#, Family::Rnn), "");
        assert_eq!(check("{}", Family::Gpt), "");
        assert!(check(r#"{"carry_state": true}"#, Family::Gpt).starts_with("carry_state needs a model of the family rnn"));
        assert!(check(r#"{"carry_state": true, "weights": {"a": 1}}"#, Family::Rnn).starts_with("carry_state reads rows in their order"));
        assert!(check(r#"{"document_mask": true}"#, Family::Rnn).starts_with("document_mask is for attention"));
        assert!(check(r#"{"lora": {}}"#, Family::Rnn).starts_with("lora: a model of the family rnn has no projections"));
        assert_eq!(check(r#"{"lora": {}}"#, Family::Gpt), "");
        assert_eq!(check(r#"{"precision": "bf16", "model": {"family": "rnn", "rnn": {"cell": "gru"}}}"#, Family::Rnn), "");
        let lstm = check(r#"{"precision": "bf16", "model": {"family": "rnn"}}"#, Family::Rnn);
        assert!(lstm.starts_with("precision = \"bf16\": an LSTM is trained in f32 everywhere"), "{lstm}");
        let refused = |layout, packing| check_carried("x", Some(layout), packing).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(refused("packed", Some("pack")), "");
        assert!(refused("packed", Some("best-fit")).ends_with("with packing = \"pack\", not \"best-fit\""));
        assert!(refused("complete", Some("pack")).ends_with("tokens of the layout complete, not packed"));
    }
}
