//! ModernBERT (Warner et al. 2024): pre-norm encoder without biases, rotary positions, GeGLU; most layers look at neighbours alone.
//!
//! Variables are named and shaped as in `ModernBertForMaskedLM` and `ModernBertForSequenceClassification`.

use std::rc::Rc;

use anyhow::{Context as _, Result};
use model::{Design, Head, LocalAttention, NetworkConfig};
use tch::{Kind, Tensor};

use super::attention::attend;
use super::layers::{DEVIATION, Linear, Norm, Rotation, dropped, gelu, join_heads, linear, linear_of, norm, split_heads};
use super::{Network, Output, Seen};
use crate::parameters::{Init, Path};
use crate::tape::Tape;

/// The module over the variables `model.*`, `head.*` and those of its output.
pub struct ModernBert {
    token_embedding: Tensor,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    last_norm: Norm,
    /// Before the output: a product and a norm.
    dense: Linear,
    dense_norm: Norm,
    /// Of the masked tokens' logits.
    bias: Option<Tensor>,
    classifier: Option<Linear>,
    design: Design,
}

pub fn modernbert(path: &Path, config: &NetworkConfig) -> ModernBert {
    let (base, head, design) = (path / "model", path / "head", config.design.clone());
    let embeddings = &base / "embeddings";
    let norm_at = |path: Path| norm(&path, config.width, &design);
    let every = design.local.map_or(1, |local| local.global_every);
    let size = [config.vocab_size, config.width];
    ModernBert {
        token_embedding: (&embeddings / "tok_embeddings").variable("weight", &size, Init::Normal(DEVIATION)),
        embedding_norm: norm_at(&embeddings / "norm"),
        layers: (0..config.layers).map(|i| layer(&(&(&base / "layers") / i), config, i == 0, i % every == 0)).collect(),
        last_norm: norm_at(&base / "final_norm"),
        dense: linear_of(&(&head / "dense"), config.width, config.width, false, DEVIATION),
        dense_norm: norm_at(&head / "norm"),
        bias: (config.head == Head::Masked).then(|| (path / "decoder").variable("bias", &[config.vocab_size], Init::Constant(0.0))),
        classifier: config.head.outputs().map(|outputs| linear(&(path / "classifier"), config.width, outputs)),
        design,
    }
}

impl Network for ModernBert {
    fn forward<'a>(&'a self, ids: &Tensor, seen: &Seen, dropout: f64, tape: &Tape<'a>) -> Result<Tensor> {
        let time = ids.size()[1];
        let places = || Tensor::arange(time, (Kind::Int64, ids.device()));
        let positions = seen.positions.as_ref().map_or_else(places, Tensor::shallow_clone);
        let rotation = |theta| Rotation::new(&positions, self.design.head_width, theta);
        // (batch, 1, 1, time), or (batch, 1, time, time), where padding is a document of its own.
        let mask = seen.same_document().or_else(|| seen.real.as_ref().map(|real| real.unsqueeze(1).unsqueeze(1)));
        let near = self.design.local.and_then(|local| neighbours(&places(), local));
        let local_mask = near.map(|near| match &mask {
            // Padding sees itself at least, or its softmax would be over nothing.
            Some(mask) => mask.logical_and(&near).logical_or(&Tensor::eye(time, (Kind::Bool, ids.device()))),
            None => near.unsqueeze(0).unsqueeze(0),
        });
        let local_mask = local_mask.or_else(|| mask.as_ref().map(Tensor::shallow_clone));
        let nearby = self.design.local.map(|local| Rc::new((rotation(local.rope_theta), local_mask)));
        let everywhere = Rc::new((rotation(self.design.rope_theta), mask));
        let x = Tensor::embedding(&self.token_embedding, ids, -1, false, false);
        let mut x = dropped(self.embedding_norm.forward(&x), dropout); // (batch, time, width)
        for layer in &self.layers {
            let of_row = nearby.as_ref().filter(|_| !layer.global).unwrap_or(&everywhere).clone();
            x = tape.segment(x, move |x| layer.forward(x, &of_row.0, of_row.1.as_ref(), dropout))?;
        }
        Ok(self.last_norm.forward(&x))
    }

    fn features(&self, rows: &Tensor) -> Tensor {
        self.dense_norm.forward(&self.dense.forward(rows).gelu("none"))
    }

    fn output(&self) -> Output<'_> {
        Output { weight: &self.token_embedding, bias: self.bias.as_ref() }
    }

    fn classify(&self, hidden: &Tensor, dropout: f64) -> Result<Tensor> {
        let classifier = self.classifier.as_ref().context("this network has no classification head")?;
        Ok(classifier.forward(&dropped(self.features(&hidden.select(1, 0)), dropout))) // of [CLS]
    }

    fn label(&self, hidden: &Tensor, dropout: f64) -> Result<Tensor> {
        let classifier = self.classifier.as_ref().context("this network has no head for tokens")?;
        Ok(classifier.forward(&dropped(self.features(hidden), dropout)))
    }
}

/// (time, time), true where two places are within half a window of each other; `None` when all are.
fn neighbours(places: &Tensor, local: LocalAttention) -> Option<Tensor> {
    let (time, reach) = (places.size()[0], local.window / 2);
    (time > reach + 1).then(|| (places.unsqueeze(0) - places.unsqueeze(1)).abs().le(reach))
}

struct Layer {
    /// The first layer has none: the embeddings are normalized already.
    attention_norm: Option<Norm>,
    attention_in: Linear,
    attention_out: Linear,
    mlp_norm: Norm,
    mlp_in: Linear,
    mlp_out: Linear,
    heads: i64,
    /// Whether it looks at all tokens.
    global: bool,
}

fn layer(path: &Path, config: &NetworkConfig, first: bool, global: bool) -> Layer {
    let (width, inner) = (config.width, config.feed_forward);
    let (attention, mlp) = (path / "attn", path / "mlp");
    let norm_at = |path: Path| norm(&path, width, &config.design);
    let product = |path: Path, inputs, outputs| linear_of(&path, inputs, outputs, false, DEVIATION);
    // The sum over the residual path keeps its variance with depth.
    let to_residual = |path: Path, inputs| linear_of(&path, inputs, width, false, DEVIATION / (2.0 * config.layers as f64).sqrt());
    Layer {
        attention_norm: (!first).then(|| norm_at(path / "attn_norm")),
        attention_in: product(&attention / "Wqkv", width, 3 * width),
        attention_out: to_residual(&attention / "Wo", width),
        mlp_norm: norm_at(path / "mlp_norm"),
        mlp_in: product(&mlp / "Wi", width, 2 * inner),
        mlp_out: to_residual(&mlp / "Wo", inner),
        heads: config.heads,
        global,
    }
}

impl Layer {
    fn forward(&self, x: &Tensor, rotation: &Rotation, mask: Option<&Tensor>, dropout: f64) -> Tensor {
        let normed = self.attention_norm.as_ref().map_or_else(|| x.shallow_clone(), |norm| norm.forward(x));
        let qkv = self.attention_in.forward(&normed).chunk(3, -1); // each (batch, time, width)
        let [q, k, v] = [0, 1, 2].map(|part| split_heads(&qkv[part], self.heads));
        let (q, k) = (rotation.apply(&q), rotation.apply(&k));
        let attended = join_heads(&attend(&q, &k, &v, mask, false, None));
        let x = x + dropped(self.attention_out.forward(&attended), dropout);
        let inner = self.mlp_in.forward(&self.mlp_norm.forward(&x)).chunk(2, -1); // each (batch, time, feed_forward)
        &x + dropped(self.mlp_out.forward(&(gelu(&inner[0], false) * &inner[1])), dropout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_within_half_a_window() {
        let places = Tensor::arange(4, (Kind::Int64, tch::Device::Cpu));
        let local = |window| LocalAttention { window, global_every: 3, rope_theta: 10_000.0 };
        let near = neighbours(&places, local(2)).unwrap().to_kind(Kind::Int64);
        let expected = [[1i64, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]];
        assert_eq!(near, Tensor::from_slice2(&expected));
        assert!(neighbours(&places, local(4)).is_some());
        assert!(neighbours(&places, local(6)).is_none());
    }
}
