//! Llama, and Qwen 3, which is Llama with normalized queries and keys: `LlamaForCausalLM`, `Qwen3ForCausalLM`.

use anyhow::Result;
use serde_json::{Value, json};

use super::{demand, extend, integer, rope_theta, special};
use crate::{Design, Family, Head, NetworkConfig, Style, architectures};

pub fn to_json(network: &NetworkConfig) -> Value {
    let design = &network.design;
    let qwen = network.style() == Some(Style::Qwen3);
    let mut config = json!({
        "architectures": [format!("{}{}", if qwen { "Qwen3" } else { "Llama" }, architectures::ending(&network.head).unwrap_or("ForCausalLM"))],
        "model_type": if qwen { "qwen3" } else { "llama" },
        "max_position_embeddings": network.positions,
        "hidden_size": network.width,
        "num_hidden_layers": network.layers,
        "num_attention_heads": network.heads,
        "num_key_value_heads": design.kv_heads,
        "head_dim": design.head_width,
        "intermediate_size": network.feed_forward,
        "hidden_act": "silu",
        "rms_norm_eps": design.epsilon,
        "rope_theta": design.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": design.rope_theta},
        "attention_bias": false,
        "attention_dropout": 0.0,
        // transformers has no dropout here; it is what the network was trained with.
        "dropout": network.dropout,
        "use_cache": true,
    });
    let more = if qwen {
        json!({"use_sliding_window": false, "sliding_window": null, "layer_types": vec!["full_attention"; network.layers as usize]})
    } else {
        json!({"mlp_bias": false, "pretraining_tp": 1})
    };
    extend(&mut config, more);
    config
}

pub fn from_json(config: &Value, style: Style) -> Result<NetworkConfig> {
    for (key, value) in [
        ("hidden_act", json!("silu")),
        ("attention_bias", json!(false)),
        ("mlp_bias", json!(false)),
        ("use_sliding_window", json!(false)),
        ("pretraining_tp", json!(1)),
    ] {
        demand(config, key, value)?;
    }
    let (width, heads) = (integer(config, "hidden_size")?, integer(config, "num_attention_heads")?);
    let head_width = config["head_dim"].as_i64().unwrap_or(if style == Style::Qwen3 { 128 } else { width / heads.max(1) });
    Ok(NetworkConfig {
        family: Family::Gpt,
        vocab_size: integer(config, "vocab_size")?,
        positions: integer(config, "max_position_embeddings")?,
        layers: integer(config, "num_hidden_layers")?,
        width,
        heads,
        feed_forward: integer(config, "intermediate_size")?,
        dropout: config["dropout"].as_f64().unwrap_or(0.0),
        head: architectures::from_json(config, Head::Causal)?,
        special: special(config),
        design: Design {
            kv_heads: config["num_key_value_heads"].as_i64().unwrap_or(heads),
            epsilon: config["rms_norm_eps"].as_f64().unwrap_or(1e-6),
            tied: config["tie_word_embeddings"].as_bool().unwrap_or(false),
            rope_theta: rope_theta(config, None, "rope_theta", 10_000.0)?,
            ..Design::of(style, heads, head_width)
        },
        recurrent: Default::default(),
        seq2seq: Default::default(),
    })
}
