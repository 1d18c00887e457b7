//! What a network is made of beyond its sizes: positions, norms, attention, activation. Published networks are styles of these options.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Family, ModelSettings};

/// A published network whose choices hold unless single options are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// gpt: learned positions, LayerNorm, GELU, biases, tied head.
    Gpt2,
    /// gpt: rotary positions, RMSNorm, SwiGLU, no biases, a head of its own.
    Llama,
    /// gpt: as llama, with queries and keys normalized and a tied head.
    Qwen3,
    /// bert: learned positions, norms after each half of a block, GELU, biases.
    Bert,
    /// bert: rotary positions, most layers looking at neighbours alone, norms before each half of a block, GeGLU, no biases.
    Modernbert,
}

impl Style {
    pub fn family(self) -> Family {
        match self {
            Style::Gpt2 | Style::Llama | Style::Qwen3 => Family::Gpt,
            Style::Bert | Style::Modernbert => Family::Bert,
        }
    }

    /// The style that holds unless another one is given; `None` of families whose options are of their own.
    fn of(family: Family) -> Option<Style> {
        match family {
            Family::Gpt => Some(Style::Gpt2),
            Family::Bert => Some(Style::Bert),
            Family::Rnn | Family::Seq2seq => None,
        }
    }
}

/// How a token knows its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PositionEmbedding {
    /// A learned vector for each position.
    Learned,
    /// Sines and cosines that are added to tokens times √width (Vaswani et al. 2017).
    Sinusoidal,
    /// Queries and keys turned by their position (RoFormer, Su et al. 2021).
    Rotary,
}

/// How hidden states are normalized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NormKind {
    /// Mean 0 and variance 1 (Ba et al. 2016).
    Layernorm,
    /// Root mean square 1 (Zhang and Sennrich 2019).
    Rmsnorm,
}

/// The inner layer of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// GELU; in its tanh form for the family gpt, as GPT-2 has it.
    Gelu,
    /// SiLU of one product times another (Shazeer 2020).
    Swiglu,
    /// GELU of one product times another (Shazeer 2020).
    Geglu,
    /// The square of ReLU (So et al. 2021).
    Relu2,
}

impl Activation {
    pub fn is_gated(self) -> bool {
        matches!(self, Activation::Swiglu | Activation::Geglu)
    }
}

/// Layers that look at neighbours alone, between those that look at all tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalAttention {
    /// Tokens that a local layer looks at, half of them on each side.
    pub window: i64,
    /// Every n-th layer looks at all tokens, the first one among them.
    pub global_every: i64,
    /// Base of the rotary wavelengths in local layers.
    pub rope_theta: f64,
}

/// A complete set of options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Design {
    pub position_embedding: PositionEmbedding,
    /// Base of the rotary wavelengths.
    pub rope_theta: f64,
    pub norm: NormKind,
    /// Added to the variance before its root.
    pub epsilon: f64,
    pub activation: Activation,
    /// Heads of keys and values, each shared by heads / kv_heads queries.
    pub kv_heads: i64,
    pub head_width: i64,
    /// Whether queries and keys are normalized, each head by itself.
    pub qk_norm: bool,
    /// Whether the head is the token embedding.
    pub tied: bool,
    /// Whether products and layer norms have biases.
    pub bias: bool,
    pub local: Option<LocalAttention>,
}

/// What networks have to whose families these options mean nothing.
impl Default for Design {
    fn default() -> Design {
        Design::of(Style::Gpt2, 1, 1)
    }
}

impl Design {
    /// The options of a published network.
    pub fn of(style: Style, heads: i64, head_width: i64) -> Design {
        let gpt2 = Design {
            position_embedding: PositionEmbedding::Learned,
            rope_theta: 10_000.0,
            norm: NormKind::Layernorm,
            epsilon: 1e-5,
            activation: Activation::Gelu,
            kv_heads: heads,
            head_width,
            qk_norm: false,
            tied: true,
            bias: true,
            local: None,
        };
        let rotary = Design { position_embedding: PositionEmbedding::Rotary, bias: false, ..gpt2.clone() };
        let llama = Design { norm: NormKind::Rmsnorm, activation: Activation::Swiglu, ..rotary.clone() };
        match style {
            Style::Gpt2 => gpt2,
            Style::Llama => Design { tied: false, ..llama },
            Style::Qwen3 => Design { qk_norm: true, epsilon: 1e-6, ..llama },
            Style::Bert => Design { epsilon: 1e-12, ..gpt2 },
            Style::Modernbert => Design {
                activation: Activation::Geglu,
                rope_theta: 160_000.0,
                local: Some(LocalAttention { window: 128, global_every: 3, rope_theta: 10_000.0 }),
                ..rotary
            },
        }
    }

    /// The published network of the family that this is in all that changes the mathematics; `None` when there is none.
    pub fn style(&self, family: Family, width: i64, heads: i64) -> Option<Style> {
        let styles = [Style::Gpt2, Style::Llama, Style::Qwen3, Style::Bert, Style::Modernbert];
        styles.into_iter().filter(|style| style.family() == family).find(|style| {
            let published = Design::of(*style, heads, self.head_width);
            // Numbers may be other ones; GPT-2 and BERT alone have no setting for the heads.
            let fixed = matches!(style, Style::Gpt2 | Style::Bert | Style::Modernbert);
            let heads_fit = !fixed || (self.kv_heads == heads && self.head_width * heads == width);
            let Design { rope_theta, epsilon, kv_heads, tied, ref local, .. } = *self;
            let tied = if family == Family::Gpt { tied } else { published.tied };
            let local = if local.is_some() == published.local.is_some() { *local } else { published.local };
            heads_fit && *self == Design { rope_theta, epsilon, kv_heads, tied, local, ..published }
        })
    }
}

impl ModelSettings {
    /// The options of the style, changed by those that are given; refuses what no network can have.
    pub fn design(&self) -> Result<Design> {
        let Some(style) = self.style.or(Style::of(self.family)) else {
            return self.check_options("").map(|()| Design::default());
        };
        if style.family() != self.family {
            let (style, family) = (format!("{style:?}").to_lowercase(), style.family().name());
            bail!("model.style = \"{style}\" is a network of the family {family}, model.family is {}", self.family.name());
        }
        self.check_options(&format!("{style:?}").to_lowercase())?;
        let published = Design::of(style, self.heads, self.head_width.unwrap_or(self.width / self.heads));
        let local = published.local.map(|local| LocalAttention {
            window: self.local_attention.unwrap_or(local.window),
            global_every: self.global_attention_every.unwrap_or(local.global_every),
            ..local
        });
        let design = Design {
            position_embedding: self.position_embedding.unwrap_or(published.position_embedding),
            rope_theta: self.rope_theta.unwrap_or(published.rope_theta),
            norm: self.norm.unwrap_or(published.norm),
            activation: self.activation.unwrap_or(published.activation),
            kv_heads: self.kv_heads.unwrap_or(published.kv_heads),
            qk_norm: self.qk_norm.unwrap_or(published.qk_norm),
            tied: self.tied.unwrap_or(published.tied),
            bias: self.bias.unwrap_or(published.bias),
            local,
            ..published
        };
        if self.heads % design.kv_heads != 0 {
            bail!("model.kv_heads = {} does not divide model.heads = {}", design.kv_heads, self.heads);
        }
        let rotary = design.position_embedding == PositionEmbedding::Rotary;
        if rotary && design.head_width % 2 != 0 {
            bail!("rotary positions turn pairs of values, so width / heads must be even; it is {}", design.head_width);
        }
        if !rotary && self.rope_theta.is_some() {
            bail!("model.rope_theta is for rotary positions; add position_embedding = \"rotary\" or leave it out");
        }
        Ok(design)
    }

    /// Options that the style does not have, and numbers that nothing can be built of.
    fn check_options(&self, style: &str) -> Result<()> {
        let of_gpt = [
            ("position_embedding", self.position_embedding.is_some()),
            ("norm", self.norm.is_some()),
            ("activation", self.activation.is_some()),
            ("kv_heads", self.kv_heads.is_some()),
            ("head_width", self.head_width.is_some()),
            ("qk_norm", self.qk_norm.is_some()),
            ("tied", self.tied.is_some()),
            ("bias", self.bias.is_some()),
        ];
        if let Some((option, _)) = of_gpt.iter().find(|(_, given)| *given && self.family != Family::Gpt) {
            match self.family {
                Family::Bert => {
                    bail!("model.{option} is an option of the family gpt; leave it out, or choose among the styles bert and modernbert")
                }
                family => {
                    bail!("model.{option} is an option of the family gpt, this is {0}; its own options are in model.{0}", family.name())
                }
            }
        }
        for (option, value) in [("local_attention", self.local_attention), ("global_attention_every", self.global_attention_every)] {
            if value.is_some() && style != "modernbert" {
                let this = if style.is_empty() { self.family.name() } else { style };
                bail!("model.{option} is an option of the style modernbert, this is {this}");
            }
        }
        if style.is_empty() && self.rope_theta.is_some() {
            bail!("model.rope_theta is for rotary positions, which the family {} has not", self.family.name());
        }
        let numbers = [
            ("kv_heads", self.kv_heads),
            ("head_width", self.head_width),
            ("local_attention", self.local_attention),
            ("global_attention_every", self.global_attention_every),
        ];
        if let Some((option, _)) = numbers.iter().find(|(_, value)| value.is_some_and(|value| value < 1)) {
            bail!("model.{option} must be at least 1");
        }
        match self.rope_theta {
            Some(theta) if !(theta > 1.0 && theta.is_finite()) => bail!("model.rope_theta is {theta}, it must be above 1"),
            _ => Ok(()),
        }
    }

    /// Width of the inner layer: 4 × width, or with a gate ⅔ of that in steps of 64, so that the number of weights stays the same.
    pub fn inner_width(&self, design: &Design) -> i64 {
        let by_default = if design.activation.is_gated() { (8 * self.width + 191) / 192 * 64 } else { 4 * self.width };
        self.feed_forward.unwrap_or(by_default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> ModelSettings {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn options_make_a_published_network_or_one_of_its_own() {
        let style = |json: &str| {
            let settings = settings(json);
            settings.design().unwrap().style(settings.family, settings.width, settings.heads)
        };
        assert_eq!(style(r#"{"family": "gpt"}"#), Some(Style::Gpt2));
        assert_eq!(style(r#"{"family": "gpt", "tied": false}"#), Some(Style::Gpt2));
        assert_eq!(style(r#"{"family": "gpt", "kv_heads": 2}"#), None);
        assert_eq!(style(r#"{"family": "gpt", "head_width": 32}"#), None);
        assert_eq!(style(r#"{"family": "gpt", "bias": false}"#), None);
        assert_eq!(style(r#"{"family": "gpt", "style": "llama", "kv_heads": 2, "tied": true, "rope_theta": 5e5}"#), Some(Style::Llama));
        assert_eq!(style(r#"{"family": "gpt", "style": "llama", "qk_norm": true, "head_width": 32}"#), Some(Style::Qwen3));
        assert_eq!(style(r#"{"family": "gpt", "style": "llama", "activation": "relu2"}"#), None);
        let spelled =
            r#"{"family": "gpt", "position_embedding": "rotary", "norm": "rmsnorm", "activation": "swiglu", "bias": false, "tied": false}"#;
        assert_eq!(style(spelled), Some(Style::Llama));
        assert_eq!(style(r#"{"family": "bert"}"#), Some(Style::Bert));
        assert_eq!(style(r#"{"family": "bert", "style": "modernbert", "local_attention": 16}"#), Some(Style::Modernbert));
    }

    #[test]
    fn what_cannot_be_built_is_said() {
        let check = |json: &str, expected: &str| assert_eq!(settings(json).design().unwrap_err().to_string(), expected, "{json}");
        check(r#"{"family": "gpt", "kv_heads": 4}"#, "model.kv_heads = 4 does not divide model.heads = 6");
        check(
            r#"{"family": "gpt", "style": "modernbert"}"#,
            "model.style = \"modernbert\" is a network of the family bert, model.family is gpt",
        );
        check(
            r#"{"family": "bert", "norm": "rmsnorm"}"#,
            "model.norm is an option of the family gpt; leave it out, or choose among the styles bert and modernbert",
        );
        check(
            r#"{"family": "gpt", "rope_theta": 1e6}"#,
            "model.rope_theta is for rotary positions; add position_embedding = \"rotary\" or leave it out",
        );
        check(
            r#"{"family": "gpt", "style": "llama", "width": 66}"#,
            "rotary positions turn pairs of values, so width / heads must be even; it is 11",
        );
        check(r#"{"family": "rnn", "style": "gpt2"}"#, "model.style = \"gpt2\" is a network of the family gpt, model.family is rnn");
        check(
            r#"{"family": "rnn", "tied": false}"#,
            "model.tied is an option of the family gpt, this is rnn; its own options are in model.rnn",
        );
        check(r#"{"family": "seq2seq", "rope_theta": 1e6}"#, "model.rope_theta is for rotary positions, which the family seq2seq has not");
        check(r#"{"family": "bert", "local_attention": 64}"#, "model.local_attention is an option of the style modernbert, this is bert");
        check(r#"{"family": "gpt", "style": "llama", "rope_theta": 0}"#, "model.rope_theta is 0, it must be above 1");
    }

    #[test]
    fn a_gate_keeps_the_number_of_weights() {
        let width = |json: &str| settings(json).inner_width(&settings(json).design().unwrap());
        assert_eq!(width(r#"{"family": "gpt"}"#), 1536);
        assert_eq!(width(r#"{"family": "gpt", "style": "llama"}"#), 1024);
        assert_eq!(width(r#"{"family": "gpt", "style": "llama", "feed_forward": 7}"#), 7);
    }
}
