//! BERT (Devlin et al. 2018): post-norm encoder, learned positions and segments, erf GELU; its heads are in `bert_heads`.
//!
//! Variables are named and shaped as in transformers' `BertModel`.

use anyhow::Result;
use model::NetworkConfig;
use tch::Tensor;

use super::attention::attend;
use super::bert_heads::{Heads, heads};
use super::layers::{Linear, Norm, dropped, for_products, gelu, join_heads, layer_norm, linear, split_heads};
use super::{Network, Output, Seen};
use crate::parameters::{Init, Path};
use crate::tape::Tape;

const SEGMENTS: i64 = 2;

/// The module over the variables `bert.*` and those of its head.
pub struct Bert {
    word_embedding: Tensor,
    position_embedding: Tensor,
    segment_embedding: Tensor,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    heads: Heads,
}

pub fn bert(path: &Path, config: &NetworkConfig) -> Bert {
    let (base, width) = (path / "bert", config.width);
    let embeddings = &base / "embeddings";
    let table = |name: &str, rows: i64| (&embeddings / name).variable("weight", &[rows, width], Init::Normal(0.02));
    Bert {
        word_embedding: table("word_embeddings", config.vocab_size),
        position_embedding: table("position_embeddings", config.positions),
        segment_embedding: table("token_type_embeddings", SEGMENTS),
        embedding_norm: layer_norm(&(&embeddings / "LayerNorm"), width, config.design.epsilon),
        layers: (0..config.layers).map(|i| layer(&(&(&(&base / "encoder") / "layer") / i), config)).collect(),
        heads: heads(path, config),
    }
}

impl Network for Bert {
    fn forward<'a>(&'a self, ids: &Tensor, seen: &Seen, dropout: f64, tape: &Tape<'a>) -> Result<Tensor> {
        let time = ids.size()[1];
        let positions = match &seen.positions {
            Some(positions) => Tensor::embedding(&self.position_embedding, positions, -1, false, false),
            None => self.position_embedding.narrow(0, 0, time),
        };
        let segments = match &seen.segments {
            Some(segments) => Tensor::embedding(&self.segment_embedding, segments, -1, false, false),
            None => self.segment_embedding.narrow(0, 0, 1),
        };
        let x = Tensor::embedding(&self.word_embedding, ids, -1, false, false) + (positions + segments);
        let mut x = dropped(self.embedding_norm.forward(&x), dropout); // (batch, time, width)
        // (batch, 1, 1, time), or (batch, 1, time, time), where padding is a document of its own.
        let mask = seen.same_document().or_else(|| seen.real.as_ref().map(|real| real.unsqueeze(1).unsqueeze(1)));
        for layer in &self.layers {
            let mask = mask.as_ref().map(Tensor::shallow_clone);
            x = tape.segment(x, move |x| layer.forward(x, mask.as_ref(), dropout))?;
        }
        Ok(x)
    }

    fn features(&self, rows: &Tensor) -> Tensor {
        self.heads.features(rows)
    }

    fn output(&self) -> Output<'_> {
        Output { weight: &self.word_embedding, bias: self.heads.masked.as_ref().map(|head| &head.bias) }
    }

    fn classify(&self, hidden: &Tensor, dropout: f64) -> Result<Tensor> {
        self.heads.classify(hidden, dropout)
    }

    fn label(&self, hidden: &Tensor, dropout: f64) -> Result<Tensor> {
        self.heads.label(hidden, dropout)
    }
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_out: Linear,
    attention_norm: Norm,
    mlp_in: Linear,
    mlp_out: Linear,
    mlp_norm: Norm,
    heads: i64,
}

fn layer(path: &Path, config: &NetworkConfig) -> Layer {
    let (width, inner) = (config.width, config.feed_forward);
    let (attention, mlp) = (path / "attention", path / "output");
    let (heads_in, heads_out) = (&attention / "self", &attention / "output");
    Layer {
        query: linear(&(&heads_in / "query"), width, width),
        key: linear(&(&heads_in / "key"), width, width),
        value: linear(&(&heads_in / "value"), width, width),
        attention_out: linear(&(&heads_out / "dense"), width, width),
        attention_norm: layer_norm(&(&heads_out / "LayerNorm"), width, config.design.epsilon),
        mlp_in: linear(&(&(path / "intermediate") / "dense"), width, inner),
        mlp_out: linear(&(&mlp / "dense"), inner, width),
        mlp_norm: layer_norm(&(&mlp / "LayerNorm"), width, config.design.epsilon),
        heads: config.heads,
    }
}

impl Layer {
    fn forward(&self, x: &Tensor, mask: Option<&Tensor>, dropout: f64) -> Tensor {
        let read = for_products(x);
        let [q, k, v] = [&self.query, &self.key, &self.value].map(|projection| split_heads(&projection.forward(&read), self.heads));
        let attended = join_heads(&attend(&q, &k, &v, mask, false, None));
        let x = self.attention_norm.forward(&(x + dropped(self.attention_out.forward(&attended), dropout)));
        let inner = gelu(&self.mlp_in.forward(&x), false); // (batch, time, feed_forward)
        self.mlp_norm.forward(&(&x + dropped(self.mlp_out.forward(&inner), dropout)))
    }
}
