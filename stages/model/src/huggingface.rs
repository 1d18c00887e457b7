//! `config.json` and `generation_config.json` as transformers 4 and 5 read and write them.
//!
//! Settings of transformers that change the mathematics and that we do not build are refused with their name, never ignored.

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use crate::{Family, Head, NetworkConfig, SpecialTokens};

impl NetworkConfig {
    /// The content of `config.json`. Keys that transformers 4 and 5 name differently are written both ways.
    pub fn to_json(&self) -> Value {
        let mut config = match self.family {
            Family::Gpt => gpt_to_json(self),
            Family::Bert => bert_to_json(self),
        };
        let common = json!({
            "vocab_size": self.vocab_size,
            "pad_token_id": self.special.pad,
            "bos_token_id": self.special.bos,
            "eos_token_id": self.special.eos,
            "initializer_range": 0.02,
            "tie_word_embeddings": true,
            "torch_dtype": "float32",
            "dtype": "float32",
        });
        extend(&mut config, common);
        if let Head::Classify { classes } = &self.head {
            let by_id: Map<String, Value> = classes.iter().enumerate().map(|(id, class)| (id.to_string(), json!(class))).collect();
            let by_label: Map<String, Value> = classes.iter().enumerate().map(|(id, class)| (class.clone(), json!(id))).collect();
            let classes = json!({"id2label": by_id, "label2id": by_label, "problem_type": "single_label_classification"});
            extend(&mut config, classes);
        }
        config
    }

    /// The content of `generation_config.json`, for networks that generate.
    pub fn generation_json(&self) -> Option<Value> {
        let special = &self.special;
        (self.head == Head::Causal).then(|| {
            json!({"do_sample": false, "bos_token_id": special.bos, "eos_token_id": special.eos, "pad_token_id": special.pad.or(special.eos)})
        })
    }

    /// Reads a `config.json`, ours or one that transformers wrote.
    pub fn from_json(config: &Value) -> Result<NetworkConfig> {
        match config["model_type"].as_str() {
            Some("gpt2") => gpt_from_json(config),
            Some("bert") => bert_from_json(config),
            other => bail!("model_type is `{}`, this program reads gpt2 and bert", other.unwrap_or("missing")),
        }
    }
}

fn extend(config: &mut Value, more: Value) {
    if let (Value::Object(config), Value::Object(more)) = (config, more) {
        config.extend(more);
    }
}

fn gpt_to_json(network: &NetworkConfig) -> Value {
    json!({
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_positions": network.positions,
        "n_ctx": network.positions,
        "n_embd": network.width,
        "n_layer": network.layers,
        "n_head": network.heads,
        "n_inner": network.feed_forward,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "embd_pdrop": network.dropout,
        "resid_pdrop": network.dropout,
        "attn_pdrop": 0.0,
        "scale_attn_weights": true,
        "scale_attn_by_inverse_layer_idx": false,
        "reorder_and_upcast_attn": false,
        "use_cache": true,
    })
}

fn bert_to_json(network: &NetworkConfig) -> Value {
    let architecture = if matches!(network.head, Head::Classify { .. }) { "BertForSequenceClassification" } else { "BertForMaskedLM" };
    json!({
        "architectures": [architecture],
        "model_type": "bert",
        "max_position_embeddings": network.positions,
        "hidden_size": network.width,
        "num_hidden_layers": network.layers,
        "num_attention_heads": network.heads,
        "intermediate_size": network.feed_forward,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": network.dropout,
        "attention_probs_dropout_prob": 0.0,
        "classifier_dropout": Value::Null,
        "type_vocab_size": 2,
        "position_embedding_type": "absolute",
        "use_cache": true,
    })
}

fn gpt_from_json(config: &Value) -> Result<NetworkConfig> {
    demand(config, "activation_function", json!("gelu_new"))?;
    demand(config, "layer_norm_epsilon", json!(1e-5))?;
    demand(config, "scale_attn_weights", json!(true))?;
    demand(config, "scale_attn_by_inverse_layer_idx", json!(false))?;
    demand(config, "add_cross_attention", json!(false))?;
    let width = integer(config, "n_embd")?;
    Ok(NetworkConfig {
        family: Family::Gpt,
        vocab_size: integer(config, "vocab_size")?,
        positions: integer(config, "n_positions")?,
        layers: integer(config, "n_layer")?,
        width,
        heads: integer(config, "n_head")?,
        feed_forward: config["n_inner"].as_i64().unwrap_or(4 * width),
        dropout: config["resid_pdrop"].as_f64().unwrap_or(0.1),
        head: Head::Causal,
        special: special(config),
    })
}

fn bert_from_json(config: &Value) -> Result<NetworkConfig> {
    demand(config, "hidden_act", json!("gelu"))?;
    demand(config, "layer_norm_eps", json!(1e-12))?;
    demand(config, "type_vocab_size", json!(2))?;
    demand(config, "position_embedding_type", json!("absolute"))?;
    demand(config, "is_decoder", json!(false))?;
    let classifies = config["architectures"][0].as_str() == Some("BertForSequenceClassification");
    Ok(NetworkConfig {
        family: Family::Bert,
        vocab_size: integer(config, "vocab_size")?,
        positions: integer(config, "max_position_embeddings")?,
        layers: integer(config, "num_hidden_layers")?,
        width: integer(config, "hidden_size")?,
        heads: integer(config, "num_attention_heads")?,
        feed_forward: integer(config, "intermediate_size")?,
        dropout: config["hidden_dropout_prob"].as_f64().unwrap_or(0.1),
        head: if classifies { Head::Classify { classes: classes(config)? } } else { Head::Masked },
        special: special(config),
    })
}

fn classes(config: &Value) -> Result<Vec<String>> {
    let labels = config["id2label"].as_object().context("config.json has no id2label")?;
    (0..labels.len())
        .map(|id| {
            labels.get(&id.to_string()).and_then(Value::as_str).map(str::to_string).with_context(|| format!("id2label has no class {id}"))
        })
        .collect()
}

/// A setting that must have this value, or be absent where it is the default.
fn demand(config: &Value, key: &str, value: Value) -> Result<()> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(()),
        Some(found) if *found == value => Ok(()),
        Some(found) => bail!("config.json has {key} = {found}, this program supports {value} alone"),
    }
}

fn integer(config: &Value, key: &str) -> Result<i64> {
    config[key].as_i64().with_context(|| format!("config.json lacks the whole number `{key}`"))
}

fn special(config: &Value) -> SpecialTokens {
    SpecialTokens { pad: config["pad_token_id"].as_i64(), bos: config["bos_token_id"].as_i64(), eos: config["eos_token_id"].as_i64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(family: Family, head: Head) -> NetworkConfig {
        let special = SpecialTokens { pad: Some(0), bos: Some(1), eos: Some(2) };
        NetworkConfig {
            family,
            vocab_size: 100,
            positions: 32,
            layers: 2,
            width: 12,
            heads: 3,
            feed_forward: 40,
            dropout: 0.1,
            head,
            special,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let classes = Head::Classify { classes: vec!["ham".into(), "spam".into()] };
        for (family, head) in [(Family::Gpt, Head::Causal), (Family::Bert, Head::Masked), (Family::Bert, classes)] {
            let network = network(family, head);
            assert_eq!(NetworkConfig::from_json(&network.to_json()).unwrap(), network);
        }
    }

    #[test]
    fn another_activation_is_refused() {
        let mut config = network(Family::Gpt, Head::Causal).to_json();
        config["activation_function"] = json!("relu");
        let error = NetworkConfig::from_json(&config).unwrap_err().to_string();
        assert_eq!(error, "config.json has activation_function = \"relu\", this program supports \"gelu_new\" alone");
    }
}
