//! GPT-2: `GPT2LMHeadModel`, `GPT2ForSequenceClassification`.

use anyhow::Result;
use serde_json::{Value, json};

use super::{demand, integer, special};
use crate::{Design, Family, Head, NetworkConfig, Style, architectures};

pub fn to_json(network: &NetworkConfig) -> Value {
    json!({
        "architectures": [format!("GPT2{}", architectures::ending(&network.head).unwrap_or("LMHeadModel"))],
        "model_type": "gpt2",
        "n_positions": network.positions,
        "n_ctx": network.positions,
        "n_embd": network.width,
        "n_layer": network.layers,
        "n_head": network.heads,
        "n_inner": network.feed_forward,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": network.design.epsilon,
        "embd_pdrop": network.dropout,
        "resid_pdrop": network.dropout,
        "attn_pdrop": 0.0,
        "scale_attn_weights": true,
        "scale_attn_by_inverse_layer_idx": false,
        "reorder_and_upcast_attn": false,
        "use_cache": true,
    })
}

pub fn from_json(config: &Value) -> Result<NetworkConfig> {
    // Other names of the same formula.
    if !matches!(config["activation_function"].as_str(), Some("gelu_pytorch_tanh" | "gelu_fast")) {
        demand(config, "activation_function", json!("gelu_new"))?;
    }
    demand(config, "scale_attn_weights", json!(true))?;
    demand(config, "scale_attn_by_inverse_layer_idx", json!(false))?;
    demand(config, "add_cross_attention", json!(false))?;
    let (width, heads) = (integer(config, "n_embd")?, integer(config, "n_head")?);
    Ok(NetworkConfig {
        family: Family::Gpt,
        vocab_size: integer(config, "vocab_size")?,
        positions: integer(config, "n_positions")?,
        layers: integer(config, "n_layer")?,
        width,
        heads,
        feed_forward: config["n_inner"].as_i64().unwrap_or(4 * width),
        dropout: config["resid_pdrop"].as_f64().unwrap_or(0.1),
        head: architectures::from_json(config, Head::Causal)?,
        special: special(config),
        design: Design {
            epsilon: config["layer_norm_epsilon"].as_f64().unwrap_or(1e-5),
            tied: config["tie_word_embeddings"].as_bool().unwrap_or(true),
            ..Design::of(Style::Gpt2, heads, width / heads.max(1))
        },
        recurrent: Default::default(),
        seq2seq: Default::default(),
    })
}
