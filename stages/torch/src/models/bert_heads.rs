//! What stands on top of BERT: masked tokens, a class or number of the text, a class of each token, the ends of an answer.
//!
//! Variables are named and shaped as in transformers' `BertForMaskedLM`, `BertForPreTraining`, `BertForSequenceClassification`,
//! `BertForTokenClassification` and `BertForQuestionAnswering`.

use anyhow::{Result, bail};
use model::{Head, NetworkConfig};
use tch::Tensor;

use super::layers::{Linear, Norm, dropped, layer_norm, linear};
use crate::parameters::{Init, Path};

/// The variables of a head.
#[derive(Default)]
pub struct Heads {
    pub masked: Option<MaskedHead>,
    /// Of the text as a whole, with the pooler that it reads.
    text: Option<(Linear, Linear)>,
    /// Of each token.
    tokens: Option<Linear>,
    /// Whether what the last layer reads is dropped out while training, as the head of pairs and that of answers have it not.
    drops: bool,
}

pub struct MaskedHead {
    dense: Linear,
    norm: Norm,
    pub bias: Tensor,
}

pub fn heads(path: &Path, config: &NetworkConfig) -> Heads {
    let (width, outputs) = (config.width, config.head.outputs().unwrap_or(0));
    let pooler = || linear(&(&(&(path / "bert") / "pooler") / "dense"), width, width);
    let masked = || Some(masked_head(&(&(path / "cls") / "predictions"), config));
    let drops = config.head.reads_text() || matches!(config.head, Head::Tag { .. });
    match config.head {
        Head::Causal | Head::Masked => Heads { masked: masked(), ..Heads::default() },
        Head::Pairs { .. } => {
            let text = Some((pooler(), linear(&(&(path / "cls") / "seq_relationship"), width, outputs)));
            Heads { masked: masked(), text, drops, ..Heads::default() }
        }
        Head::Classify { .. } | Head::MultiLabel { .. } | Head::Number => {
            let text = Some((pooler(), linear(&(path / "classifier"), width, outputs)));
            Heads { text, drops, ..Heads::default() }
        }
        Head::Tag { .. } => Heads { tokens: Some(linear(&(path / "classifier"), width, outputs)), drops, ..Heads::default() },
        Head::Answer => Heads { tokens: Some(linear(&(path / "qa_outputs"), width, outputs)), drops, ..Heads::default() },
    }
}

fn masked_head(path: &Path, config: &NetworkConfig) -> MaskedHead {
    let transform = path / "transform";
    MaskedHead {
        dense: linear(&(&transform / "dense"), config.width, config.width),
        norm: layer_norm(&(&transform / "LayerNorm"), config.width, config.design.epsilon),
        bias: path.variable("bias", &[config.vocab_size], Init::Constant(0.0)),
    }
}

impl Heads {
    /// (rows, width) → (rows, width)
    pub fn features(&self, rows: &Tensor) -> Tensor {
        match &self.masked {
            Some(head) => head.norm.forward(&head.dense.forward(rows).gelu("none")),
            None => rows.shallow_clone(),
        }
    }

    /// (batch, time, width) → (batch, outputs), from [CLS].
    pub fn classify(&self, hidden: &Tensor, dropout: f64) -> Result<Tensor> {
        let Some((pooler, last)) = &self.text else { bail!("this network has no head for texts") };
        let pooled = pooler.forward(&hidden.select(1, 0)).tanh();
        Ok(last.forward(&dropped(pooled, if self.drops { dropout } else { 0.0 })))
    }

    /// (…, width) → (…, outputs)
    pub fn label(&self, hidden: &Tensor, dropout: f64) -> Result<Tensor> {
        let Some(last) = &self.tokens else { bail!("this network has no head for tokens") };
        Ok(last.forward(&dropped(hidden.shallow_clone(), if self.drops { dropout } else { 0.0 })))
    }
}
