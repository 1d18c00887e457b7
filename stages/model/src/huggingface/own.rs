//! A gpt that is no published network: Llama's names of sizes and tensors, and our options under `design`. transformers does not open it.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{integer, special};
use crate::{Family, Head, NetworkConfig, architectures};

pub const MODEL_TYPE: &str = "corpusmill-gpt";

pub fn to_json(network: &NetworkConfig) -> Value {
    json!({
        "architectures": [format!("CorpusmillGpt{}", architectures::ending(&network.head).unwrap_or("ForCausalLM"))],
        "model_type": MODEL_TYPE,
        "max_position_embeddings": network.positions,
        "hidden_size": network.width,
        "num_hidden_layers": network.layers,
        "num_attention_heads": network.heads,
        "intermediate_size": network.feed_forward,
        "dropout": network.dropout,
        "design": network.design,
    })
}

pub fn from_json(config: &Value) -> Result<NetworkConfig> {
    Ok(NetworkConfig {
        family: Family::Gpt,
        vocab_size: integer(config, "vocab_size")?,
        positions: integer(config, "max_position_embeddings")?,
        layers: integer(config, "num_hidden_layers")?,
        width: integer(config, "hidden_size")?,
        heads: integer(config, "num_attention_heads")?,
        feed_forward: integer(config, "intermediate_size")?,
        dropout: config["dropout"].as_f64().unwrap_or(0.0),
        head: architectures::from_json(config, Head::Causal)?,
        special: special(config),
        design: serde_json::from_value(config["design"].clone()).context("config.json: `design`")?,
        recurrent: Default::default(),
        seq2seq: Default::default(),
    })
}
