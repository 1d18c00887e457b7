//! GPT-2 (Radford et al. 2019): pre-norm decoder, learned positions, tanh GELU, output tied to the token embedding.
//!
//! Variables are named and shaped as in `GPT2LMHeadModel`: its projections are stored (inputs, outputs).
//! Rows that hold several documents are attended across them, unless they are kept apart ([`Seen`]).

use anyhow::Result;
use model::NetworkConfig;
use tch::{Kind, Tensor};

use super::layers::{LayerNorm, dropped, join_heads, layer_norm, split_heads};
use super::{Cache, Network, Output, Seen};
use crate::parameters::{Init, Path};

const EPSILON: f64 = 1e-5;

/// The module over the variables `transformer.*`.
pub struct Gpt {
    token_embedding: Tensor,
    position_embedding: Tensor,
    blocks: Vec<Block>,
    last_norm: LayerNorm,
}

pub fn gpt(path: &Path, config: &NetworkConfig) -> Gpt {
    let path = path / "transformer";
    let token_embedding = (&path / "wte").variable("weight", &[config.vocab_size, config.width], Init::Normal(0.02));
    let position_embedding = (&path / "wpe").variable("weight", &[config.positions, config.width], Init::Normal(0.02));
    let blocks = (0..config.layers).map(|layer| block(&(&(&path / "h") / layer), config)).collect();
    Gpt { token_embedding, position_embedding, blocks, last_norm: layer_norm(&(&path / "ln_f"), config.width, EPSILON) }
}

impl Gpt {
    /// `attend` gets the layer and its queries, keys and values (batch, heads, time, width / heads).
    fn forward(&self, x: Tensor, dropout: f64, mut attend: impl FnMut(usize, Tensor, Tensor, Tensor) -> Tensor) -> Tensor {
        let mut x = dropped(x, dropout); // (batch, time, width)
        for (layer, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, dropout, |q, k, v| attend(layer, q, k, v));
        }
        self.last_norm.forward(&x)
    }
}

impl Network for Gpt {
    fn hidden(&self, ids: &Tensor, seen: &Seen, dropout: f64) -> Tensor {
        let time = ids.size()[1];
        let positions = match &seen.positions {
            Some(positions) => Tensor::embedding(&self.position_embedding, positions, -1, false, false),
            None => self.position_embedding.narrow(0, 0, time),
        };
        let x = Tensor::embedding(&self.token_embedding, ids, -1, false, false) + positions;
        // (batch, 1, time, time): what came before in the same document.
        let mask = seen.same_document().map(|same| same.logical_and(&Tensor::ones([time, time], (Kind::Bool, ids.device())).tril(0)));
        self.forward(x, dropout, |_, q, k, v| {
            Tensor::scaled_dot_product_attention(&q, &k, &v, mask.as_ref(), 0.0, mask.is_none(), None, false)
        })
    }

    fn features(&self, rows: &Tensor) -> Tensor {
        rows.shallow_clone()
    }

    fn output(&self) -> Output<'_> {
        Output { weight: &self.token_embedding, bias: None }
    }

    fn extend(&self, ids: &Tensor, positions: &Tensor, mask: &Tensor, cache: &mut Cache) -> Result<Tensor> {
        cache.resize_with(self.blocks.len(), || None);
        let x = Tensor::embedding(&self.token_embedding, ids, -1, false, false)
            + Tensor::embedding(&self.position_embedding, positions, -1, false, false);
        Ok(self.forward(x, 0.0, |layer, q, k, v| {
            let (k, v) = match cache[layer].take() {
                Some((keys, values)) => (Tensor::cat(&[keys, k], 2), Tensor::cat(&[values, v], 2)),
                None => (k, v),
            };
            let attended = Tensor::scaled_dot_product_attention(&q, &k, &v, Some(mask), 0.0, false, None, false);
            cache[layer] = Some((k, v));
            attended
        }))
    }
}

struct Block {
    attention_norm: LayerNorm,
    attention_in: Projection,
    attention_out: Projection,
    mlp_norm: LayerNorm,
    mlp_in: Projection,
    mlp_out: Projection,
    heads: i64,
}

fn block(path: &Path, config: &NetworkConfig) -> Block {
    let width = config.width;
    // The sum over the residual path keeps its variance with depth.
    let residual = 0.02 / (2.0 * config.layers as f64).sqrt();
    let (attention, mlp) = (path / "attn", path / "mlp");
    Block {
        attention_norm: layer_norm(&(path / "ln_1"), width, EPSILON),
        attention_in: projection(&(&attention / "c_attn"), width, 3 * width, 0.02),
        attention_out: projection(&(&attention / "c_proj"), width, width, residual),
        mlp_norm: layer_norm(&(path / "ln_2"), width, EPSILON),
        mlp_in: projection(&(&mlp / "c_fc"), width, config.feed_forward, 0.02),
        mlp_out: projection(&(&mlp / "c_proj"), config.feed_forward, width, residual),
        heads: config.heads,
    }
}

impl Block {
    fn forward(&self, x: &Tensor, dropout: f64, attend: impl FnOnce(Tensor, Tensor, Tensor) -> Tensor) -> Tensor {
        let qkv = self.attention_in.forward(&self.attention_norm.forward(x)); // (batch, time, 3 width)
        let mut parts = qkv.chunk(3, -1).into_iter().map(|part| split_heads(&part, self.heads));
        let mut next = || parts.next().expect("chunk gives three parts");
        let attended = join_heads(&attend(next(), next(), next()));
        let x = x + dropped(self.attention_out.forward(&attended), dropout);
        let inner = self.mlp_in.forward(&self.mlp_norm.forward(&x)).gelu("tanh"); // (batch, time, feed_forward)
        &x + dropped(self.mlp_out.forward(&inner), dropout)
    }
}

/// transformers' Conv1D: y = x W + b with W (inputs, outputs).
struct Projection {
    weight: Tensor,
    bias: Tensor,
}

fn projection(path: &Path, inputs: i64, outputs: i64, deviation: f64) -> Projection {
    let weight = path.variable("weight", &[inputs, outputs], Init::Normal(deviation));
    Projection { weight, bias: path.variable("bias", &[outputs], Init::Constant(0.0)) }
}

impl Projection {
    fn forward(&self, x: &Tensor) -> Tensor {
        let (b, t, c) = x.size3().expect("hidden states have three dimensions");
        self.bias.addmm(&x.reshape([b * t, c]), &self.weight).view([b, t, -1])
    }
}
