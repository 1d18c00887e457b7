//! Encoder–decoder networks (family `seq2seq`): their settings and their `config.json`, as MarianMTModel and T5ForConditionalGeneration, or
//! T5 with one of the other heads of [`architectures`], have it.

use anyhow::{Context as _, Result, anyhow, bail};
use engine::StepView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::fitting::{check_ends, no_head};
use crate::huggingface::{demand, integer, special};
use crate::train::is_default;
use crate::{Family, Head, ModelSettings, NetworkConfig, Train, architectures};

/// T5 has no table of positions, so nothing ends its inputs.
pub(crate) const T5_POSITIONS: i64 = 1 << 20;
/// What stands for the first span that is cut out.
const SENTINEL: &str = "<extra_id_0>";

/// Settings of the objective `denoise` (Raffel et al. 2020, section 3.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Denoise {
    /// Share of a row's tokens that are cut out.
    #[serde(default = "default_probability")]
    pub probability: f64,
    /// Mean length of a span in tokens.
    #[serde(default = "default_mean_length")]
    pub mean_length: f64,
}

fn default_probability() -> f64 {
    0.15
}

fn default_mean_length() -> f64 {
    3.0
}

impl Default for Denoise {
    fn default() -> Denoise {
        Denoise { probability: default_probability(), mean_length: default_mean_length() }
    }
}

/// Refuses settings of a training that do not go with encoder and decoder, and tokens that the style, where it is known, has no head for.
pub(crate) fn check(
    train: &Train,
    family: Option<Family>,
    style: Option<Style>,
    tokens: &[&StepView],
    tokenizer: Option<&StepView>,
) -> Result<()> {
    let Denoise { probability, mean_length } = train.denoise;
    if !(probability > 0.0 && probability < 1.0 && mean_length >= 1.0) {
        bail!("denoise: probability = {probability} must be between 0 and 1, and mean_length = {mean_length} at least 1");
    }
    if family != Some(Family::Seq2seq) {
        return Ok(());
    }
    if train.document_mask {
        bail!("document_mask is not for the family seq2seq: its packed rows are read as one text");
    }
    tokens.iter().try_for_each(|step| match step.settings["layout"].as_str() {
        Some("packed") => tokenizer.map_or(Ok(()), |step| check_sentinels(&step.name, &step.settings["special_tokens"])),
        Some("translate") | None => Ok(()),
        Some(layout @ ("classify" | "tag" | "answer")) => {
            if style == Some(Style::Marian) {
                bail!("step `{}`: {}", step.name, no_head(layout));
            }
            let model = step.settings["model"].as_str().unwrap_or("causal");
            check_ends(layout, model).with_context(|| format!("step `{}`", step.name))
        }
        Some(other) => bail!(
            "step `{}` makes tokens of the layout {other}; a model of the family seq2seq learns from translate, from packed (denoise), and, \
             of the style t5, from classify, tag and answer",
            step.name
        ),
    })
}

/// The error about a tokenizer that has nothing to stand for what the objective `denoise` cuts out.
pub fn no_sentinels() -> anyhow::Error {
    anyhow!(
        "the tokenizer has no token `{SENTINEL}` to stand for what is cut out; give learn-tokenizer \
         special_tokens = [\"<pad>\", \"</s>\", \"<unk>\", \"<extra_id_0>\", \"<extra_id_1>\", …], about one for every 20 tokens of a row"
    )
}

/// Refuses a tokenizer that will be learned without them; others tell in their files.
fn check_sentinels(step: &str, special: &Value) -> Result<()> {
    match special.as_array() {
        Some(tokens) if !tokens.iter().any(|token| token == SENTINEL) => Err(no_sentinels()).with_context(|| format!("step `{step}`")),
        _ => Ok(()),
    }
}

/// Whose layout the network has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// The Transformer (Vaswani et al. 2017): sinusoidal positions, norms after each half of a block; saved as Marian.
    #[default]
    Marian,
    /// T5 (Raffel et al. 2020): relative positions, norms before each half of a block.
    T5,
}

/// What the inner layer of a block applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// max(0, x).
    #[default]
    Relu,
    /// x · sigmoid(x), as Marian's published models have it; of the style marian alone.
    Swish,
    /// The tanh form of GELU times a second product, as T5 v1.1 has it; of the style t5 alone.
    GatedGelu,
}

/// Settings of the family `seq2seq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Seq2seq {
    /// `marian` (the Transformer of 2017) or `t5`.
    #[serde(default)]
    pub style: Style,
    /// `relu`; `swish` for marian; `gated-gelu` for t5.
    #[serde(default)]
    pub activation: Activation,
    /// Blocks of the decoder; as many as of the encoder unless given.
    #[serde(default, skip_serializing_if = "is_default")]
    pub decoder_layers: Option<i64>,
    /// Width of an attention head of t5; width / heads unless given.
    #[serde(default, skip_serializing_if = "is_default")]
    pub head_width: Option<i64>,
    /// Whether the last matrix is that of the token embedding; T5 v1.1 has its own.
    #[serde(default = "default_tied")]
    pub tied: bool,
    /// Whether token embeddings are multiplied by √width; of marian.
    #[serde(default = "default_tied", skip)]
    #[schemars(skip)]
    pub scale_embedding: bool,
    /// Distances that t5 tells apart.
    #[serde(default = "default_buckets")]
    pub buckets: i64,
    /// From this distance on all are one to t5.
    #[serde(default = "default_max_distance")]
    pub max_distance: i64,
}

fn default_tied() -> bool {
    true
}

fn default_buckets() -> i64 {
    32
}

fn default_max_distance() -> i64 {
    128
}

impl Default for Seq2seq {
    fn default() -> Seq2seq {
        Seq2seq {
            style: Style::default(),
            activation: Activation::default(),
            decoder_layers: None,
            head_width: None,
            tied: true,
            scale_embedding: true,
            buckets: default_buckets(),
            max_distance: default_max_distance(),
        }
    }
}

impl Seq2seq {
    /// With everything filled in that follows from the other settings.
    pub fn resolved(&self, model: &ModelSettings) -> Seq2seq {
        Seq2seq {
            decoder_layers: Some(self.decoder_layers.unwrap_or(model.layers)),
            head_width: Some(self.head_width.unwrap_or(model.width / model.heads.max(1))),
            ..self.clone()
        }
    }

    pub(crate) fn check(&self, model: &ModelSettings) -> Result<()> {
        match (self.style, self.activation) {
            (Style::Marian, Activation::GatedGelu) => {
                bail!("model.seq2seq.activation = \"gated-gelu\" is of the style t5; marian has relu and swish")
            }
            (Style::T5, Activation::Swish) => {
                bail!("model.seq2seq.activation = \"swish\" is of the style marian; t5 has relu and gated-gelu")
            }
            _ => {}
        }
        if self.style == Style::Marian {
            if self.head_width.is_some_and(|width| width * model.heads != model.width) || !self.tied {
                bail!("model.seq2seq.head_width and tied = false are of the style t5");
            }
            let Seq2seq { buckets, max_distance, .. } = Seq2seq::default();
            if (self.buckets, self.max_distance) != (buckets, max_distance) {
                bail!("model.seq2seq.buckets and max_distance are of the style t5; leave them out");
            }
            if model.width % 2 != 0 {
                bail!("model.width = {} must be even for sinusoidal positions", model.width);
            }
        }
        // A bucket for each of the smaller distances, and for larger ones on a logarithmic scale, in either direction.
        if self.buckets < 4 || self.buckets % 4 != 0 || self.max_distance <= self.buckets / 2 {
            bail!(
                "model.seq2seq.buckets = {} must be a multiple of 4 and max_distance = {} above half of it",
                self.buckets,
                self.max_distance
            );
        }
        for (name, value) in [("decoder_layers", self.decoder_layers), ("head_width", self.head_width)] {
            if value.is_some_and(|value| value < 1) {
                bail!("model.seq2seq.{name} must be at least 1");
            }
        }
        Ok(())
    }
}

pub(crate) fn to_json(network: &NetworkConfig) -> Value {
    match network.seq2seq.style {
        Style::Marian => marian_to_json(network),
        Style::T5 => t5_to_json(network),
    }
}

fn marian_to_json(network: &NetworkConfig) -> Value {
    let (own, heads, inner) = (&network.seq2seq, network.heads, network.feed_forward);
    json!({
        "architectures": ["MarianMTModel"],
        "model_type": "marian",
        "is_encoder_decoder": true,
        "d_model": network.width,
        "encoder_layers": network.layers,
        "decoder_layers": own.decoder_layers,
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "encoder_ffn_dim": inner,
        "decoder_ffn_dim": inner,
        "max_position_embeddings": network.positions,
        "activation_function": if own.activation == Activation::Swish { "swish" } else { "relu" },
        "dropout": network.dropout,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "scale_embedding": own.scale_embedding,
        "share_encoder_decoder_embeddings": true,
        "decoder_vocab_size": network.vocab_size,
        "decoder_start_token_id": network.special.pad,
        "forced_eos_token_id": Value::Null,
        "use_cache": true,
    })
}

fn t5_to_json(network: &NetworkConfig) -> Value {
    let own = &network.seq2seq;
    let mut config = json!({
        "architectures": [format!("T5{}", architectures::ending(&network.head).unwrap_or("ForConditionalGeneration"))],
        "model_type": "t5",
        "is_encoder_decoder": true,
        "d_model": network.width,
        "d_kv": own.head_width,
        "d_ff": network.feed_forward,
        "num_layers": network.layers,
        "num_decoder_layers": own.decoder_layers,
        "num_heads": network.heads,
        "relative_attention_num_buckets": own.buckets,
        "relative_attention_max_distance": own.max_distance,
        "dropout_rate": network.dropout,
        "layer_norm_epsilon": 1e-6,
        "initializer_factor": 1.0,
        "feed_forward_proj": if own.activation == Activation::GatedGelu { "gated-gelu" } else { "relu" },
        "tie_word_embeddings": own.tied,
        // transformers 5 scales tied outputs by this setting, 4 by tie_word_embeddings.
        "scale_decoder_outputs": own.tied,
        "decoder_start_token_id": network.special.pad,
        "n_positions": network.positions,
        "use_cache": true,
    });
    if network.head != Head::Causal {
        config["classifier_dropout"] = network.dropout.into();
    }
    config
}

/// Reads `config.json` of the model types marian and t5.
pub(crate) fn from_json(config: &Value) -> Result<NetworkConfig> {
    let start = config["decoder_start_token_id"].as_i64();
    if start != config["pad_token_id"].as_i64() {
        bail!(
            "config.json has decoder_start_token_id = {} and pad_token_id = {}, this program begins with the padding token alone",
            config["decoder_start_token_id"],
            config["pad_token_id"]
        );
    }
    if config["model_type"] == "t5" { t5_from_json(config) } else { marian_from_json(config) }
}

fn marian_from_json(config: &Value) -> Result<NetworkConfig> {
    let (heads, inner, vocabulary) =
        (integer(config, "encoder_attention_heads")?, integer(config, "encoder_ffn_dim")?, integer(config, "vocab_size")?);
    for (key, value) in [
        ("decoder_attention_heads", json!(heads)),
        ("decoder_ffn_dim", json!(inner)),
        ("decoder_vocab_size", json!(vocabulary)),
        ("share_encoder_decoder_embeddings", json!(true)),
        ("tie_word_embeddings", json!(true)),
        ("normalize_before", json!(false)),
        ("normalize_embedding", json!(false)),
        ("static_position_embeddings", json!(true)),
    ] {
        demand(config, key, value)?;
    }
    let activation = match config["activation_function"].as_str() {
        Some("relu") => Activation::Relu,
        Some("swish" | "silu") => Activation::Swish,
        _ => bail!("config.json has activation_function = {}, this program supports relu and swish alone", config["activation_function"]),
    };
    let width = integer(config, "d_model")?;
    Ok(NetworkConfig {
        family: Family::Seq2seq,
        vocab_size: vocabulary,
        positions: integer(config, "max_position_embeddings")?,
        layers: integer(config, "encoder_layers")?,
        width,
        heads,
        feed_forward: inner,
        dropout: config["dropout"].as_f64().unwrap_or(0.1),
        head: Head::Causal,
        special: special(config),
        design: Default::default(),
        recurrent: Default::default(),
        seq2seq: Seq2seq {
            activation,
            decoder_layers: Some(integer(config, "decoder_layers")?),
            head_width: Some(width / heads.max(1)),
            scale_embedding: config["scale_embedding"].as_bool().unwrap_or(false),
            ..Seq2seq::default()
        },
    })
}

fn t5_from_json(config: &Value) -> Result<NetworkConfig> {
    demand(config, "layer_norm_epsilon", json!(1e-6))?;
    let activation = match config["feed_forward_proj"].as_str().unwrap_or("relu") {
        "relu" => Activation::Relu,
        "gated-gelu" => Activation::GatedGelu,
        other => bail!("config.json has feed_forward_proj = {other:?}, this program supports relu and gated-gelu alone"),
    };
    // transformers 5 writes tie_word_embeddings = true for all, and says by scale_decoder_outputs which of them it is.
    let flag = |key: &str| config[key].as_bool();
    let tied = flag("tie_word_embeddings").unwrap_or(true) && flag("scale_decoder_outputs").unwrap_or(true);
    if !tied {
        demand(config, "scale_decoder_outputs", json!(false))?;
    }
    let layers = integer(config, "num_layers")?;
    let number = |key: &str, default: i64| config[key].as_i64().unwrap_or(default);
    Ok(NetworkConfig {
        family: Family::Seq2seq,
        vocab_size: integer(config, "vocab_size")?,
        positions: T5_POSITIONS,
        layers,
        width: integer(config, "d_model")?,
        heads: integer(config, "num_heads")?,
        feed_forward: integer(config, "d_ff")?,
        dropout: config["dropout_rate"].as_f64().unwrap_or(0.1),
        head: architectures::from_json(config, Head::Causal)?,
        special: special(config),
        design: Default::default(),
        recurrent: Default::default(),
        seq2seq: Seq2seq {
            style: Style::T5,
            activation,
            decoder_layers: Some(number("num_decoder_layers", layers)),
            head_width: Some(integer(config, "d_kv").context("of a head")?),
            tied,
            scale_embedding: true,
            buckets: number("relative_attention_num_buckets", default_buckets()),
            max_distance: number("relative_attention_max_distance", default_max_distance()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_need_tokens_that_stand_for_them() {
        let check = |tokens: Value| check_sentinels("x", &tokens).err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert_eq!(check(json!(["<pad>", "</s>", "<extra_id_0>"])), "");
        assert_eq!(check(Value::Null), "");
        let error = check(json!(["<pad>", "<extra_id_1>"]));
        assert!(error.starts_with("step `x`: the tokenizer has no token `<extra_id_0>` to stand for what is cut out; give"), "{error}");
    }

    #[test]
    fn t5_without_tied_outputs_is_known_by_either_key() {
        let t5 = json!({"model_type": "t5", "vocab_size": 9, "d_model": 4, "d_kv": 2, "d_ff": 8, "num_layers": 1, "num_heads": 2,
            "pad_token_id": 0, "decoder_start_token_id": 0});
        let tied = |tied: Value, scaled: Value| {
            let mut config = t5.clone();
            config["tie_word_embeddings"] = tied;
            config["scale_decoder_outputs"] = scaled;
            from_json(&config).map(|network| network.seq2seq.tied).map_err(|error| error.to_string())
        };
        assert_eq!(tied(Value::Null, Value::Null), Ok(true));
        assert_eq!(tied(json!(true), json!(true)), Ok(true));
        assert_eq!(tied(json!(false), Value::Null), Ok(false));
        assert_eq!(tied(json!(false), json!(false)), Ok(false));
        assert_eq!(tied(json!(true), json!(false)), Ok(false));
        let error = "config.json has scale_decoder_outputs = true, this program supports false alone";
        assert_eq!(tied(json!(false), json!(true)), Err(error.to_string()));
    }

    #[test]
    fn settings_of_the_other_style_are_refused() {
        let check = |seq2seq: &str| {
            let model: ModelSettings = serde_json::from_str(&format!(r#"{{"family": "seq2seq", "seq2seq": {seq2seq}}}"#)).unwrap();
            model.check().err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(check("{}"), "");
        assert_eq!(check(r#"{"style": "t5", "buckets": 16, "max_distance": 64}"#), "");
        let expected = "model.seq2seq.buckets and max_distance are of the style t5; leave them out";
        assert_eq!(check(r#"{"buckets": 16}"#), expected);
        assert_eq!(check(r#"{"max_distance": 64}"#), expected);
        assert_eq!(check(r#"{"tied": false}"#), "model.seq2seq.head_width and tied = false are of the style t5");
    }
}
