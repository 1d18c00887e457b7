//! `config.json` and `generation_config.json` as transformers 4 and 5 read and write them; one file per layout.
//!
//! Settings of transformers that change the mathematics and that we do not build are refused with their name, never ignored.
//! To add a layout: its file with `to_json` and `from_json`, and its lines in [`NetworkConfig::to_json`] and [`NetworkConfig::from_json`].

mod bert;
mod gpt2;
mod llama;
mod modernbert;
mod own;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::{Family, Head, NetworkConfig, SpecialTokens, Style, architectures, recurrent, seq2seq};

impl NetworkConfig {
    /// The content of `config.json`. Keys that transformers 4 and 5 name differently are written both ways.
    pub fn to_json(&self) -> Value {
        let layout = match (self.family, self.style()) {
            (Family::Rnn, _) => recurrent::to_json(self),
            (Family::Seq2seq, _) => seq2seq::to_json(self),
            (_, Some(Style::Gpt2)) => gpt2::to_json(self),
            (_, Some(Style::Llama | Style::Qwen3)) => llama::to_json(self),
            (_, Some(Style::Bert)) => bert::to_json(self),
            (_, Some(Style::Modernbert)) => modernbert::to_json(self),
            (_, None) => own::to_json(self),
        };
        let mut config = json!({
            "vocab_size": self.vocab_size,
            "pad_token_id": self.special.pad,
            "bos_token_id": self.special.bos,
            "eos_token_id": self.special.eos,
            "initializer_range": 0.02,
            "tie_word_embeddings": self.design.tied,
            "torch_dtype": "float32",
            "dtype": "float32",
        });
        // What a layout says itself counts.
        extend(&mut config, layout);
        extend(&mut config, architectures::to_json(&self.head));
        config
    }

    /// The content of `generation_config.json`, for networks that generate.
    pub fn generation_json(&self) -> Option<Value> {
        let special = &self.special;
        let mut generation = json!({"do_sample": false, "bos_token_id": special.bos, "eos_token_id": special.eos, "pad_token_id": special.pad.or(special.eos)});
        if self.family == Family::Seq2seq {
            generation["decoder_start_token_id"] = special.pad.into();
        }
        (self.head == Head::Causal).then_some(generation)
    }

    /// Reads a `config.json`, ours or one that transformers wrote.
    pub fn from_json(config: &Value) -> Result<NetworkConfig> {
        match config["model_type"].as_str() {
            Some("gpt2") => gpt2::from_json(config),
            Some("llama") => llama::from_json(config, Style::Llama),
            Some("qwen3") => llama::from_json(config, Style::Qwen3),
            Some("bert") => bert::from_json(config),
            Some("modernbert") => modernbert::from_json(config),
            Some("marian" | "t5") => seq2seq::from_json(config),
            Some(own::MODEL_TYPE) => own::from_json(config),
            Some(recurrent::MODEL_TYPE) => recurrent::from_json(config),
            other => {
                let known = ["gpt2", "llama", "qwen3", "bert", "modernbert", "marian", "t5"].join(", ");
                let own = [own::MODEL_TYPE, recurrent::MODEL_TYPE].join(" and ");
                bail!("model_type is `{}`, this program reads {known} and its own {own}", other.unwrap_or("missing"))
            }
        }
    }
}

fn extend(config: &mut Value, more: Value) {
    if let (Value::Object(config), Value::Object(more)) = (config, more) {
        config.extend(more);
    }
}

/// A setting that must have this value, or be absent where it is the default.
pub(crate) fn demand(config: &Value, key: &str, value: Value) -> Result<()> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(()),
        Some(found) if *found == value => Ok(()),
        Some(found) => bail!("config.json has {key} = {found}, this program supports {value} alone"),
    }
}

/// Refuses masked tokens whose matrix is not that of the token embedding; other heads have none.
fn tied(config: &Value, head: &Head) -> Result<()> {
    if matches!(head, Head::Masked | Head::Pairs { .. }) { demand(config, "tie_word_embeddings", json!(true)) } else { Ok(()) }
}

/// Base of the rotary wavelengths: `rope_parameters` of transformers 5 (for one kind of layers where it has several), or a key of transformers 4.
fn rope_theta(config: &Value, kind: Option<&str>, key: &str, default: f64) -> Result<f64> {
    let parameters = match kind {
        Some(kind) if config["rope_parameters"][kind].is_object() => &config["rope_parameters"][kind],
        _ => &config["rope_parameters"],
    };
    for scaled in [parameters, &config["rope_scaling"]] {
        for key in ["rope_type", "type"] {
            demand(scaled, key, json!("default")).context("rotary positions that are scaled to longer texts are not built")?;
        }
    }
    Ok(parameters["rope_theta"].as_f64().or(config[key].as_f64()).unwrap_or(default))
}

pub(crate) fn integer(config: &Value, key: &str) -> Result<i64> {
    config[key].as_i64().with_context(|| format!("config.json lacks the whole number `{key}`"))
}

/// Ids of the tokens that end a text: those of `generation_config.json`, or where it names none, of `config.json`.
pub fn ends_of_texts(generation: &Value, config: &Value) -> Vec<i64> {
    let ids = |config: &Value| match &config["eos_token_id"] {
        Value::Array(all) => all.iter().filter_map(Value::as_i64).collect(),
        one => one.as_i64().into_iter().collect::<Vec<i64>>(),
    };
    let found = ids(generation);
    if found.is_empty() { ids(config) } else { found }
}

pub(crate) fn special(config: &Value) -> SpecialTokens {
    // A list of ids that end a text begins with the one of the tokenizer.
    let id = |key: &str| config[key].as_i64().or(config[key][0].as_i64());
    SpecialTokens { pad: id("pad_token_id"), bos: id("bos_token_id"), eos: id("eos_token_id") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Design, NormKind};

    fn network(style: Style, head: Head) -> NetworkConfig {
        NetworkConfig {
            family: style.family(),
            vocab_size: 100,
            positions: 32,
            layers: 2,
            width: 12,
            heads: 3,
            feed_forward: 40,
            dropout: 0.1,
            head,
            special: SpecialTokens { pad: Some(0), bos: Some(1), eos: Some(2) },
            design: Design::of(style, 3, 4),
            recurrent: Default::default(),
            seq2seq: Default::default(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let names = || vec!["ham".to_string(), "spam".to_string()];
        let classes = || Head::Classify { classes: names() };
        let networks = [
            ("gpt2", network(Style::Gpt2, Head::Causal)),
            ("llama", network(Style::Llama, Head::Causal)),
            ("qwen3", network(Style::Qwen3, Head::Causal)),
            ("bert", network(Style::Bert, Head::Masked)),
            ("bert", network(Style::Bert, classes())),
            ("bert", network(Style::Bert, Head::Pairs { classes: names() })),
            ("bert", network(Style::Bert, Head::MultiLabel { classes: names() })),
            ("bert", network(Style::Bert, Head::Number)),
            ("bert", network(Style::Bert, Head::Tag { classes: names() })),
            ("bert", network(Style::Bert, Head::Answer)),
            ("gpt2", network(Style::Gpt2, classes())),
            ("gpt2", network(Style::Gpt2, Head::Number)),
            ("modernbert", network(Style::Modernbert, Head::Masked)),
            ("modernbert", network(Style::Modernbert, classes())),
        ];
        for (model_type, mut network) in networks {
            network.design.rope_theta += 5.0;
            network.design.epsilon *= 2.0;
            if network.family == Family::Gpt {
                network.design.tied = !network.design.tied;
            }
            if model_type == "gpt2" || model_type == "bert" {
                network.design.rope_theta -= 5.0;
            }
            let json = network.to_json();
            assert_eq!(json["model_type"], model_type);
            assert_eq!(NetworkConfig::from_json(&json).unwrap(), network);
        }
        let mut own = network(Style::Llama, Head::Causal);
        own.design.norm = NormKind::Layernorm;
        assert_eq!(own.to_json()["model_type"], own::MODEL_TYPE);
        assert_eq!(NetworkConfig::from_json(&own.to_json()).unwrap(), own);
    }

    #[test]
    fn networks_with_settings_of_their_own_are_read_back() {
        use crate::recurrent::{Cell, Recurrent};
        use crate::seq2seq::{Activation, Seq2seq, Style as Whose, T5_POSITIONS};
        let of = |family| NetworkConfig { family, design: Design::default(), ..network(Style::Gpt2, Head::Causal) };
        let check = |network: NetworkConfig, tied: bool| {
            let json = network.to_json();
            assert_eq!(json["tie_word_embeddings"], tied);
            assert_eq!(NetworkConfig::from_json(&json).unwrap(), network);
        };
        for (cell, tied) in [(Cell::Lstm, true), (Cell::Gru, false), (Cell::Rnn, true)] {
            let network = of(Family::Rnn);
            check(NetworkConfig { heads: 1, feed_forward: network.width, recurrent: Recurrent { cell, tied }, ..network }, tied);
        }
        let own = Seq2seq { decoder_layers: Some(3), head_width: Some(4), ..Seq2seq::default() };
        let swish = Seq2seq { activation: Activation::Swish, scale_embedding: false, ..own.clone() };
        for seq2seq in [own.clone(), swish] {
            check(NetworkConfig { seq2seq, ..of(Family::Seq2seq) }, true);
        }
        let t5 = Seq2seq { style: Whose::T5, head_width: Some(7), buckets: 8, max_distance: 20, ..own };
        let gated = Seq2seq { activation: Activation::GatedGelu, tied: false, ..t5.clone() };
        for seq2seq in [t5, gated] {
            let tied = seq2seq.tied;
            let network = NetworkConfig { seq2seq, positions: T5_POSITIONS, ..of(Family::Seq2seq) };
            let classes = || vec!["ham".to_string(), "spam".to_string()];
            for head in [Head::Classify { classes: classes() }, Head::Tag { classes: classes() }, Head::Number, Head::Answer] {
                check(NetworkConfig { head, ..network.clone() }, tied);
            }
            check(network, tied);
        }
    }

    #[test]
    fn every_token_that_ends_a_text_is_read() {
        let check = |generation: Value, config: Value, expected: &[i64]| assert_eq!(ends_of_texts(&generation, &config), expected);
        check(json!({"eos_token_id": [151645, 151643]}), json!({"eos_token_id": 151645}), &[151645, 151643]);
        check(json!({"eos_token_id": null}), json!({"eos_token_id": [1, 2]}), &[1, 2]);
        check(Value::Null, json!({"eos_token_id": 0}), &[0]);
        check(json!({}), json!({"eos_token_id": null}), &[]);
    }

    #[test]
    fn shared_heads_and_either_name_of_theta_are_read() {
        let mut llama = network(Style::Llama, Head::Causal);
        (llama.heads, llama.design.kv_heads) = (4, 2);
        (llama.design.rope_theta, llama.design.head_width) = (5e5, 6);
        let both = llama.to_json();
        for key in ["rope_theta", "rope_parameters"] {
            let mut one = both.clone();
            one.as_object_mut().unwrap().remove(key);
            assert_eq!(NetworkConfig::from_json(&one).unwrap(), llama, "without {key}");
        }
    }

    #[test]
    fn what_changes_the_mathematics_is_refused() {
        let check = |style: Style, key: &str, value: Value, expected: &str| {
            let mut config = network(style, Head::Causal).to_json();
            config[key] = value;
            let error = format!("{:#}", NetworkConfig::from_json(&config).unwrap_err());
            assert!(error.ends_with(expected), "{error}");
        };
        let classes = || vec!["ham".to_string(), "spam".to_string()];
        for head in [Head::Classify { classes: classes() }, Head::MultiLabel { classes: classes() }, Head::Number] {
            let mut config = network(Style::Modernbert, head).to_json();
            config["classifier_pooling"] = json!("mean");
            let error = NetworkConfig::from_json(&config).unwrap_err().to_string();
            assert_eq!(error, "config.json has classifier_pooling = \"mean\", this program supports \"cls\" alone");
        }
        let only = "config.json has tie_word_embeddings = false, this program supports true alone";
        check(Style::Bert, "tie_word_embeddings", json!(false), only);
        check(Style::Modernbert, "tie_word_embeddings", json!(false), only);
        let only = "config.json has activation_function = \"relu\", this program supports \"gelu_new\" alone";
        check(Style::Gpt2, "activation_function", json!("relu"), only);
        let only = "config.json has attention_bias = true, this program supports false alone";
        check(Style::Llama, "attention_bias", json!(true), only);
        let only = "config.json has rope_type = \"llama3\", this program supports \"default\" alone";
        check(Style::Llama, "rope_scaling", json!({"rope_type": "llama3", "factor": 8.0}), only);
        check(
            Style::Gpt2,
            "model_type",
            json!("mamba"),
            "model_type is `mamba`, this program reads gpt2, llama, qwen3, bert, modernbert, marian, t5 and its own corpusmill-gpt and corpusmill-rnn",
        );
    }
}
