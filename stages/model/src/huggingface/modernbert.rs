//! ModernBERT: `ModernBertForMaskedLM`, `ModernBertForSequenceClassification`.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{demand, integer, rope_theta, special, tied};
use crate::{Design, Family, Head, LocalAttention, NetworkConfig, Style, architectures};

const GLOBAL: &str = "full_attention";
const LOCAL: &str = "sliding_attention";
const ALONE: LocalAttention = LocalAttention { window: 128, global_every: 3, rope_theta: 10_000.0 };

/// Kinds of the layers, as transformers 5 lists them.
fn layer_types(layers: i64, global_every: i64) -> Vec<&'static str> {
    (0..layers).map(|layer| if layer % global_every == 0 { GLOBAL } else { LOCAL }).collect()
}

pub fn to_json(network: &NetworkConfig) -> Value {
    let design = &network.design;
    let local = design.local.unwrap_or(ALONE);
    json!({
        "architectures": [format!("ModernBert{}", architectures::ending(&network.head).unwrap_or("ForMaskedLM"))],
        "model_type": "modernbert",
        // Left out, they are numbers of the published vocabulary.
        "cls_token_id": Value::Null,
        "sep_token_id": Value::Null,
        "max_position_embeddings": network.positions,
        "hidden_size": network.width,
        "num_hidden_layers": network.layers,
        "num_attention_heads": network.heads,
        "intermediate_size": network.feed_forward,
        "hidden_activation": "gelu",
        "classifier_activation": "gelu",
        "classifier_pooling": "cls",
        "norm_eps": design.epsilon,
        "norm_bias": false,
        "attention_bias": false,
        "mlp_bias": false,
        "decoder_bias": true,
        "classifier_bias": false,
        "embedding_dropout": network.dropout,
        "attention_dropout": 0.0,
        "mlp_dropout": 0.0,
        "classifier_dropout": 0.0,
        "local_attention": local.window,
        "global_attn_every_n_layers": local.global_every,
        "global_rope_theta": design.rope_theta,
        "local_rope_theta": local.rope_theta,
        "layer_types": layer_types(network.layers, local.global_every),
        "rope_parameters": {
            GLOBAL: {"rope_type": "default", "rope_theta": design.rope_theta},
            LOCAL: {"rope_type": "default", "rope_theta": local.rope_theta},
        },
        "sparse_prediction": false,
        "deterministic_flash_attn": false,
    })
}

pub fn from_json(config: &Value) -> Result<NetworkConfig> {
    for (key, value) in [
        ("hidden_activation", json!("gelu")),
        ("classifier_activation", json!("gelu")),
        ("norm_bias", json!(false)),
        ("attention_bias", json!(false)),
        ("mlp_bias", json!(false)),
        ("decoder_bias", json!(true)),
        ("classifier_bias", json!(false)),
    ] {
        demand(config, key, value)?;
    }
    let head = architectures::from_json(config, Head::Masked)?;
    tied(config, &head)?;
    if head.reads_text() {
        demand(config, "classifier_pooling", json!("cls"))?;
    }
    let (width, heads) = (integer(config, "hidden_size")?, integer(config, "num_attention_heads")?);
    let layers = integer(config, "num_hidden_layers")?;
    let types = &config["layer_types"];
    let second = types.as_array().map(|types| (1..types.len()).find(|layer| types[*layer] == GLOBAL).unwrap_or(types.len().max(1)) as i64);
    let global_every = config["global_attn_every_n_layers"].as_i64().or(second).unwrap_or(ALONE.global_every).max(1);
    if types.is_array() && *types != json!(layer_types(layers, global_every)) {
        bail!("config.json has layer_types = {types}; this program builds every n-th layer as {GLOBAL}, the first one among them");
    }
    let local = LocalAttention {
        window: config["local_attention"].as_i64().unwrap_or(ALONE.window),
        global_every,
        rope_theta: rope_theta(config, Some(LOCAL), "local_rope_theta", ALONE.rope_theta)?,
    };
    Ok(NetworkConfig {
        family: Family::Bert,
        vocab_size: integer(config, "vocab_size")?,
        positions: integer(config, "max_position_embeddings")?,
        layers,
        width,
        heads,
        feed_forward: integer(config, "intermediate_size")?,
        dropout: config["embedding_dropout"].as_f64().unwrap_or(0.0),
        head,
        special: special(config),
        design: Design {
            epsilon: config["norm_eps"].as_f64().unwrap_or(1e-5),
            rope_theta: rope_theta(config, Some(GLOBAL), "global_rope_theta", 160_000.0)?,
            local: Some(local),
            ..Design::of(Style::Modernbert, heads, width / heads.max(1))
        },
        recurrent: Default::default(),
        seq2seq: Default::default(),
    })
}
