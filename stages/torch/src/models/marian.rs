//! The Transformer (Vaswani et al. 2017): sinusoidal positions, a norm after each half of a block, one embedding for sources, targets and output.
//!
//! Variables are named and shaped as in `MarianMTModel`; the table of positions is not stored.

use anyhow::Result;
use model::NetworkConfig;
use model::seq2seq::Activation;
use tch::{Kind, Tensor};

use super::attention::{Attention, KeysValues, extended};
use super::layers::{Linear, Norm, dropped, layer_norm, linear_of};
use super::seq2seq::{EncoderDecoder, Memory, real, teacher_forced};
use super::{Cache, Network, Output, Seen};
use crate::parameters::{Init, Path};
use crate::tape::Tape;

const EPSILON: f64 = 1e-5;

/// The module over the variables `model.*` and `final_logits_bias`.
pub struct Marian {
    embedding: Tensor,
    embedding_scale: f64,
    /// (positions, width)
    positions: Tensor,
    encoder: Vec<Block>,
    decoder: Vec<Block>,
    /// (1, vocabulary)
    bias: Tensor,
}

pub fn marian(path: &Path, config: &NetworkConfig) -> Marian {
    let (base, own) = (path / "model", &config.seq2seq);
    let scale = (config.width as f64).sqrt();
    let embedding = (&base / "shared").variable("weight", &[config.vocab_size, config.width], Init::Normal(1.0 / scale));
    let blocks = |name: &str, layers: i64, decodes| -> Vec<Block> {
        (0..layers).map(|layer| block(&(&(&(&base / name) / "layers") / layer), config, decodes)).collect()
    };
    Marian {
        positions: sinusoids(config.positions, config.width).to_device(embedding.device()),
        embedding,
        embedding_scale: if own.scale_embedding { scale } else { 1.0 },
        encoder: blocks("encoder", config.layers, false),
        decoder: blocks("decoder", own.decoder_layers.unwrap_or(config.layers), true),
        bias: path.variable("final_logits_bias", &[1, config.vocab_size], Init::Constant(0.0)),
    }
}

/// Sines in the first half of the columns, cosines in the second, of position · 10000^(−2i / width).
fn sinusoids(positions: i64, width: i64) -> Tensor {
    let options = (Kind::Double, tch::Device::Cpu);
    let rates = (Tensor::arange(width / 2, options) * (-2.0 * 10_000f64.ln() / width as f64)).exp();
    let angles = Tensor::arange(positions, options).unsqueeze(1) * rates;
    Tensor::cat(&[angles.sin(), angles.cos()], 1).to_kind(Kind::Float)
}

impl Marian {
    /// Embeddings of tokens (batch, time) from a position on.
    fn embed(&self, ids: &Tensor, first: i64, dropout: f64) -> Tensor {
        let x = Tensor::embedding(&self.embedding, ids, -1, false, false) * self.embedding_scale;
        dropped(x + self.positions.narrow(0, first, ids.size()[1]), dropout)
    }
}

impl EncoderDecoder for Marian {
    fn encode<'a>(&'a self, ids: &Tensor, seen: &Seen, dropout: f64, tape: &Tape<'a>) -> Result<Memory> {
        let mut x = self.embed(ids, 0, dropout); // (batch, source time, width)
        let real = real(seen);
        for block in &self.encoder {
            let real = real.as_ref().map(Tensor::shallow_clone);
            x = tape.segment(x, move |x| block.inner(&block.attend(x, &mut None, real.as_ref(), false, dropout), dropout))?;
        }
        let x = tape.cut(x);
        let layers = self.decoder.iter().flat_map(|block| &block.source).map(|(source, _)| source.keys_values(&x)).collect();
        Ok(Memory { layers, real })
    }

    fn decode(&self, ids: &Tensor, memory: &Memory, cache: &mut Cache) -> Tensor {
        let first = cache.first().and_then(Option::as_ref).map_or(0, |(keys, _)| keys.size()[2]);
        cache.resize_with(self.decoder.len(), || None);
        let mut x = self.embed(ids, first, 0.0); // (batch, target time, width)
        for ((block, cache), source) in self.decoder.iter().zip(cache).zip(&memory.layers) {
            x = block.decode(&x, cache, source, memory.real.as_ref(), 0.0);
        }
        x
    }

    fn teach<'a>(&'a self, ids: &Tensor, memory: Memory, dropout: f64, tape: &Tape<'a>) -> Result<Tensor> {
        let mut x = self.embed(ids, 0, dropout); // (batch, target time, width)
        for (block, source) in self.decoder.iter().zip(memory.layers) {
            let real = memory.real.as_ref().map(Tensor::shallow_clone);
            x = tape.segment(x, move |x| block.decode(x, &mut None, &source, real.as_ref(), dropout))?;
        }
        Ok(x)
    }
}

impl Network for Marian {
    fn forward<'a>(&'a self, ids: &Tensor, seen: &Seen, dropout: f64, tape: &Tape<'a>) -> Result<Tensor> {
        teacher_forced(self, ids, seen, dropout, tape)
    }

    fn features(&self, rows: &Tensor) -> Tensor {
        rows.shallow_clone()
    }

    fn output(&self) -> Output<'_> {
        Output { weight: &self.embedding, bias: Some(&self.bias) }
    }

    fn encoder_decoder(&self) -> Option<&dyn EncoderDecoder> {
        Some(self)
    }
}

struct Block {
    attention: Attention,
    attention_norm: Norm,
    /// Of the decoder: attention to the source.
    source: Option<(Attention, Norm)>,
    inner: Linear,
    outer: Linear,
    last_norm: Norm,
    activation: Activation,
}

fn block(path: &Path, config: &NetworkConfig, decodes: bool) -> Block {
    let (width, inner) = (config.width, config.feed_forward);
    Block {
        attention: attention(&(path / "self_attn"), config),
        attention_norm: layer_norm(&(path / "self_attn_layer_norm"), width, EPSILON),
        source: decodes.then(|| {
            let norm = layer_norm(&(path / "encoder_attn_layer_norm"), width, EPSILON);
            (attention(&(path / "encoder_attn"), config), norm)
        }),
        inner: linear_of(&(path / "fc1"), width, inner, true, glorot(width, inner)),
        outer: linear_of(&(path / "fc2"), inner, width, true, glorot(width, inner)),
        last_norm: layer_norm(&(path / "final_layer_norm"), width, EPSILON),
        activation: config.seq2seq.activation,
    }
}

fn attention(path: &Path, config: &NetworkConfig) -> Attention {
    let width = config.width;
    let projection = |name: &str| linear_of(&(path / name), width, width, true, glorot(width, width));
    Attention {
        query: projection("q_proj"),
        key: projection("k_proj"),
        value: projection("v_proj"),
        out: projection("out_proj"),
        heads: config.heads,
        scale: None,
    }
}

/// Deviation that keeps the variance of values and gradients (Glorot and Bengio 2010), as in the first implementation of the paper.
fn glorot(inputs: i64, outputs: i64) -> f64 {
    (2.0 / (inputs + outputs) as f64).sqrt()
}

impl Block {
    /// Of the decoder: what `x` (batch, new, width) sees of itself, of the tokens in `cache`, and of the source.
    fn decode(&self, x: &Tensor, cache: &mut Option<KeysValues>, source: &KeysValues, real: Option<&Tensor>, dropout: f64) -> Tensor {
        // A single token sees all before it.
        let mut x = self.attend(x, cache, None, x.size()[1] > 1, dropout);
        if let Some((attention, norm)) = &self.source {
            x = norm.forward(&(&x + dropped(attention.attend(&x, source, real, false), dropout)));
        }
        self.inner(&x, dropout)
    }

    fn attend(&self, x: &Tensor, cache: &mut Option<KeysValues>, mask: Option<&Tensor>, causal: bool, dropout: f64) -> Tensor {
        let seen = extended(cache, self.attention.keys_values(x));
        self.attention_norm.forward(&(x + dropped(self.attention.attend(x, seen, mask, causal), dropout)))
    }

    fn inner(&self, x: &Tensor, dropout: f64) -> Tensor {
        let inner = self.inner.forward(x); // (batch, time, feed_forward)
        let inner = if self.activation == Activation::Swish { inner.silu() } else { inner.relu() };
        self.last_norm.forward(&(x + dropped(self.outer.forward(&inner), dropout)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_sines_then_cosines() {
        let table = Vec::<Vec<f32>>::try_from(sinusoids(3, 4)).unwrap();
        let row = |position: f32| [position.sin(), (position / 100.0).sin(), position.cos(), (position / 100.0).cos()];
        for (position, found) in table.iter().enumerate() {
            for (found, expected) in found.iter().zip(row(position as f32)) {
                assert!((found - expected).abs() < 1e-7, "{found} {expected}");
            }
        }
    }
}
