//! BERT: `BertForMaskedLM`, and the other heads of [`architectures`].

use anyhow::Result;
use serde_json::{Value, json};

use super::{demand, integer, special, tied};
use crate::{Design, Family, Head, NetworkConfig, Style, architectures};

pub fn to_json(network: &NetworkConfig) -> Value {
    json!({
        "architectures": [format!("Bert{}", architectures::ending(&network.head).unwrap_or("ForMaskedLM"))],
        "model_type": "bert",
        "max_position_embeddings": network.positions,
        "hidden_size": network.width,
        "num_hidden_layers": network.layers,
        "num_attention_heads": network.heads,
        "intermediate_size": network.feed_forward,
        "hidden_act": "gelu",
        "layer_norm_eps": network.design.epsilon,
        "hidden_dropout_prob": network.dropout,
        "attention_probs_dropout_prob": 0.0,
        "classifier_dropout": Value::Null,
        "type_vocab_size": 2,
        "position_embedding_type": "absolute",
        "use_cache": true,
    })
}

pub fn from_json(config: &Value) -> Result<NetworkConfig> {
    demand(config, "hidden_act", json!("gelu"))?;
    demand(config, "type_vocab_size", json!(2))?;
    demand(config, "position_embedding_type", json!("absolute"))?;
    demand(config, "is_decoder", json!(false))?;
    let head = architectures::from_json(config, Head::Masked)?;
    tied(config, &head)?;
    let (width, heads) = (integer(config, "hidden_size")?, integer(config, "num_attention_heads")?);
    Ok(NetworkConfig {
        family: Family::Bert,
        vocab_size: integer(config, "vocab_size")?,
        positions: integer(config, "max_position_embeddings")?,
        layers: integer(config, "num_hidden_layers")?,
        width,
        heads,
        feed_forward: integer(config, "intermediate_size")?,
        dropout: config["hidden_dropout_prob"].as_f64().unwrap_or(0.1),
        head,
        special: special(config),
        design: Design {
            epsilon: config["layer_norm_eps"].as_f64().unwrap_or(1e-12),
            ..Design::of(Style::Bert, heads, width / heads.max(1))
        },
        recurrent: Default::default(),
        seq2seq: Default::default(),
    })
}
