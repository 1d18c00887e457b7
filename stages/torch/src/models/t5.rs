//! T5 (Raffel et al. 2020): relative positions as a learned bias of the attention, RMS norms before each half of a block, no other biases.
//!
//! Variables are named and shaped as in `T5ForConditionalGeneration`, of version 1.0 (ReLU, tied) or 1.1 (gated GELU, an output of its own), and in
//! `T5ForSequenceClassification`, `T5ForTokenClassification` and `T5ForQuestionAnswering`. Texts are classified and answers found by a decoder that
//! reads the text again, one token late; tags are told by the encoder alone.

use std::rc::Rc;

use anyhow::{Result, bail};
use model::seq2seq::Activation;
use model::{Head, NetworkConfig};
use tch::{Kind, Tensor};

use super::attention::{Attention, KeysValues, extended};
use super::layers::{Linear, dropped, gelu, linear_of};
use super::seq2seq::{EncoderDecoder, Memory, real, teacher_forced};
use super::{Cache, Network, Output, Seen};
use crate::parameters::{Init, Path};
use crate::tape::Tape;

const EPSILON: f64 = 1e-6;

/// The module over the variables of the network and of its head.
pub struct T5 {
    embedding: Tensor,
    encoder: Stack,
    /// `None` of tags.
    decoder: Option<Stack>,
    last: Last,
    /// What the decoder begins with.
    start: i64,
    width: i64,
}

/// What stands on top.
enum Last {
    /// The next token: by a matrix of its own, or by that of the embedding.
    Tokens(Option<Tensor>),
    /// Of a text, by the hidden state of the token that ends it.
    Text(Linear, Linear),
    /// Of each token of the encoder.
    Tags(Linear),
    /// Of each token of the decoder.
    Ends(Linear),
}

pub fn t5(path: &Path, config: &NetworkConfig) -> T5 {
    let (width, own, tags) = (config.width, &config.seq2seq, matches!(config.head, Head::Tag { .. }));
    let below = path / "transformer";
    let base = if tags || config.head.reads_text() { &below } else { path };
    let layers = own.decoder_layers.unwrap_or(config.layers);
    T5 {
        embedding: (base / "shared").variable("weight", &[config.vocab_size, width], Init::Normal(1.0)),
        encoder: stack(&(base / "encoder"), config, config.layers, false),
        decoder: (!tags).then(|| stack(&(base / "decoder"), config, layers, true)),
        last: last(path, config),
        start: config.special.pad.unwrap_or(0),
        width,
    }
}

fn last(path: &Path, config: &NetworkConfig) -> Last {
    let (width, deviation) = (config.width, 1.0 / root(config.width));
    let layer = |path: Path, outputs| linear_of(&path, width, outputs, true, deviation);
    let head = path / "classification_head";
    match (&config.head, config.head.outputs()) {
        (Head::Tag { .. }, Some(outputs)) => Last::Tags(layer(path / "classifier", outputs)),
        (Head::Answer, Some(outputs)) => Last::Ends(layer(path / "qa_outputs", outputs)),
        (_, Some(outputs)) => Last::Text(layer(&head / "dense", width), layer(&head / "out_proj", outputs)),
        (_, None) => {
            let own = !config.seq2seq.tied;
            Last::Tokens(own.then(|| (path / "lm_head").variable("weight", &[config.vocab_size, width], Init::Normal(deviation))))
        }
    }
}

fn root(width: i64) -> f64 {
    (width as f64).sqrt()
}

impl T5 {
    fn embed(&self, ids: &Tensor, dropout: f64) -> Tensor {
        dropped(Tensor::embedding(&self.embedding, ids, -1, false, false), dropout)
    }

    /// Hidden states of the encoder, of which those of padding are seen by none.
    fn read<'a>(&'a self, ids: &Tensor, real: Option<&Tensor>, dropout: f64, tape: &Tape<'a>) -> Result<Tensor> {
        let (mut x, time, stack) = (self.embed(ids, dropout), ids.size()[1], &self.encoder);
        let bias = stack.bias.of(0, time, time);
        let bias = real.map_or_else(|| bias.shallow_clone(), |real| bias.masked_fill(&real.logical_not(), f64::NEG_INFINITY));
        let bias = Rc::new(tape.cut(bias));
        for block in &stack.blocks {
            let bias = bias.clone();
            x = tape.segment(x, move |x| block.inner(&block.attend(x, &mut None, &bias, dropout), dropout))?;
        }
        Ok(dropped(stack.last_norm.forward(&x), dropout))
    }

    /// What a decoder reads of a text that it is to judge: the text one token late.
    fn late(&self, ids: &Tensor) -> Tensor {
        let first = Tensor::full_like(&ids.narrow(1, 0, 1), self.start);
        Tensor::cat(&[first, ids.narrow(1, 0, ids.size()[1] - 1)], 1)
    }

    fn decoder(&self) -> &Stack {
        self.decoder.as_ref().expect("tags are told by the encoder alone, and nothing asks them for a decoder")
    }
}

impl EncoderDecoder for T5 {
    fn encode<'a>(&'a self, ids: &Tensor, seen: &Seen, dropout: f64, tape: &Tape<'a>) -> Result<Memory> {
        let real = real(seen);
        let x = tape.cut(self.read(ids, real.as_ref(), dropout, tape)?);
        let sources = self.decoder().blocks.iter().flat_map(|block| &block.source);
        Ok(Memory { layers: sources.map(|(_, source)| source.keys_values(&x)).collect(), real })
    }

    fn decode(&self, ids: &Tensor, memory: &Memory, cache: &mut Cache) -> Tensor {
        let (mut x, new, stack) = (self.embed(ids, 0.0), ids.size()[1], self.decoder());
        let first = cache.first().and_then(Option::as_ref).map_or(0, |(keys, _)| keys.size()[2]);
        cache.resize_with(stack.blocks.len(), || None);
        let bias = stack.bias.causal(first, new);
        for ((block, cache), source) in stack.blocks.iter().zip(cache).zip(&memory.layers) {
            x = block.decode(&x, cache, &bias, source, memory.real.as_ref(), 0.0);
        }
        stack.last_norm.forward(&x)
    }

    fn teach<'a>(&'a self, ids: &Tensor, memory: Memory, dropout: f64, tape: &Tape<'a>) -> Result<Tensor> {
        let (mut x, stack) = (self.embed(ids, dropout), self.decoder());
        let bias = Rc::new(tape.cut(stack.bias.causal(0, ids.size()[1])));
        for (block, source) in stack.blocks.iter().zip(memory.layers) {
            let (bias, real) = (bias.clone(), memory.real.as_ref().map(Tensor::shallow_clone));
            x = tape.segment(x, move |x| block.decode(x, &mut None, &bias, &source, real.as_ref(), dropout))?;
        }
        Ok(dropped(stack.last_norm.forward(&x), dropout))
    }
}

impl Network for T5 {
    fn forward<'a>(&'a self, ids: &Tensor, seen: &Seen, dropout: f64, tape: &Tape<'a>) -> Result<Tensor> {
        match self.last {
            Last::Tokens(_) => teacher_forced(self, ids, seen, dropout, tape),
            Last::Tags(_) => self.read(ids, real(seen).as_ref(), dropout, tape),
            Last::Text(..) | Last::Ends(_) => {
                let memory = self.encode(ids, seen, dropout, tape)?;
                self.teach(&self.late(ids), memory, dropout, tape)
            }
        }
    }

    /// Embeddings are of variance 1, so a product with them is scaled down.
    fn features(&self, rows: &Tensor) -> Tensor {
        if matches!(self.last, Last::Tokens(Some(_))) { rows.shallow_clone() } else { rows / root(self.width) }
    }

    fn output(&self) -> Output<'_> {
        let own = if let Last::Tokens(own) = &self.last { own.as_ref() } else { None };
        Output { weight: own.unwrap_or(&self.embedding), bias: None }
    }

    fn classify(&self, hidden: &Tensor, dropout: f64) -> Result<Tensor> {
        let Last::Text(dense, last) = &self.last else { bail!("this network has no head for texts") };
        let dense = dense.forward(&dropped(hidden.select(1, 0), dropout)).tanh();
        Ok(last.forward(&dropped(dense, dropout)))
    }

    fn label(&self, hidden: &Tensor, dropout: f64) -> Result<Tensor> {
        match &self.last {
            Last::Tags(last) => Ok(last.forward(&dropped(hidden.shallow_clone(), dropout))),
            Last::Ends(last) => Ok(last.forward(hidden)),
            _ => bail!("this network has no head for tokens"),
        }
    }

    fn encoder_decoder(&self) -> Option<&dyn EncoderDecoder> {
        matches!(self.last, Last::Tokens(_)).then_some(self as &dyn EncoderDecoder)
    }
}

struct Stack {
    blocks: Vec<Block>,
    /// Of all blocks.
    bias: Distances,
    last_norm: RmsNorm,
}

fn stack(path: &Path, config: &NetworkConfig, layers: i64, decodes: bool) -> Stack {
    let (blocks, own) = (path / "block", &config.seq2seq);
    let first = &(&(&(&blocks / 0) / "layer") / 0) / "SelfAttention";
    let table =
        (&first / "relative_attention_bias").variable("weight", &[own.buckets, config.heads], Init::Normal(1.0 / root(config.width)));
    Stack {
        bias: Distances { table, buckets: own.buckets, max_distance: own.max_distance, both_ways: !decodes },
        blocks: (0..layers).map(|layer| block(&(&(&blocks / layer) / "layer"), config, decodes)).collect(),
        last_norm: rms_norm(&(path / "final_layer_norm"), config.width),
    }
}

/// What attention adds for the distance of a token.
struct Distances {
    /// (buckets, heads)
    table: Tensor,
    buckets: i64,
    max_distance: i64,
    /// Whether tokens on the right have buckets of their own.
    both_ways: bool,
}

impl Distances {
    /// (1, heads, new, total) for the tokens from place `first` on, each looking at all `total`.
    fn of(&self, first: i64, new: i64, total: i64) -> Tensor {
        let options = (Kind::Int64, self.table.device());
        let distance = Tensor::arange(total, options).unsqueeze(0) - Tensor::arange_start(first, first + new, options).unsqueeze(1);
        let values = Tensor::embedding(&self.table, &self.bucket(&distance), -1, false, false); // (new, total, heads)
        values.permute([2, 0, 1]).unsqueeze(0)
    }

    /// The same for `new` tokens after `first`, of which none looks at a later one.
    fn causal(&self, first: i64, new: i64) -> Tensor {
        let later = Tensor::ones([new, first + new], (Kind::Bool, self.table.device())).triu(first + 1);
        self.of(first, new, first + new).masked_fill(&later, f64::NEG_INFINITY)
    }

    /// One bucket for each distance below half of them, then on a logarithmic scale up to `max_distance`.
    fn bucket(&self, distance: &Tensor) -> Tensor {
        let buckets = if self.both_ways { self.buckets / 2 } else { self.buckets };
        let (right, distance) = if self.both_ways {
            (distance.gt(0).to_kind(Kind::Int64) * buckets, distance.abs())
        } else {
            (distance.zeros_like(), -distance.clamp_max(0))
        };
        let exact = buckets / 2;
        let scale = (self.max_distance as f64 / exact as f64).ln();
        // In f32, step by step as the original, so that no distance falls into the next bucket.
        let far = (distance.to_kind(Kind::Float) / exact as f64).log() / scale * (buckets - exact) as f64;
        // The logarithm of 0 is not used.
        let far = (far.clamp_min(0.0).to_kind(Kind::Int64) + exact).clamp_max(buckets - 1);
        right + distance.where_self(&distance.lt(exact), &far)
    }
}

struct RmsNorm {
    weight: Tensor,
}

fn rms_norm(path: &Path, width: i64) -> RmsNorm {
    RmsNorm { weight: path.variable("weight", &[width], Init::Constant(1.0)) }
}

impl RmsNorm {
    fn forward(&self, x: &Tensor) -> Tensor {
        x.rms_norm(self.weight.size(), Some(&self.weight), EPSILON)
    }
}

struct Block {
    attention_norm: RmsNorm,
    attention: Attention,
    /// Of the decoder: attention to the source.
    source: Option<(RmsNorm, Attention)>,
    inner_norm: RmsNorm,
    /// Two of them where one gates the other.
    inner: Vec<Linear>,
    outer: Linear,
}

fn block(path: &Path, config: &NetworkConfig, decodes: bool) -> Block {
    let (width, feed_forward) = (config.width, config.feed_forward);
    let norm = |layer: i64| rms_norm(&(&(path / layer) / "layer_norm"), width);
    let last = if decodes { 2 } else { 1 };
    let feed = &(path / last) / "DenseReluDense";
    let names: &[&str] = if config.seq2seq.activation == Activation::GatedGelu { &["wi_0", "wi_1"] } else { &["wi"] };
    Block {
        attention: attention(&(&(path / 0) / "SelfAttention"), config),
        attention_norm: norm(0),
        source: decodes.then(|| (norm(1), attention(&(&(path / 1) / "EncDecAttention"), config))),
        inner: names.iter().map(|name| linear_of(&(&feed / name), width, feed_forward, false, 1.0 / root(width))).collect(),
        outer: linear_of(&(&feed / "wo"), feed_forward, width, false, 1.0 / root(feed_forward)),
        inner_norm: norm(last),
    }
}

/// Products are not scaled down: the first values of the queries are smaller instead.
fn attention(path: &Path, config: &NetworkConfig) -> Attention {
    let (width, head) = (config.width, config.seq2seq.head_width.unwrap_or(config.width / config.heads));
    let all = head * config.heads;
    let projection = |name: &str, deviation: f64| linear_of(&(path / name), width, all, false, deviation);
    Attention {
        query: projection("q", 1.0 / root(width * head)),
        key: projection("k", 1.0 / root(width)),
        value: projection("v", 1.0 / root(width)),
        out: linear_of(&(path / "o"), all, width, false, 1.0 / root(all)),
        heads: config.heads,
        scale: Some(1.0),
    }
}

impl Block {
    /// Of the decoder: what `x` (batch, new, width) sees of itself, of the tokens in `cache`, and of the source.
    fn decode(
        &self,
        x: &Tensor,
        cache: &mut Option<KeysValues>,
        bias: &Tensor,
        source: &KeysValues,
        real: Option<&Tensor>,
        dropout: f64,
    ) -> Tensor {
        let mut x = self.attend(x, cache, bias, dropout);
        if let Some((norm, attention)) = &self.source {
            x = &x + dropped(attention.attend(&norm.forward(&x), source, real, false), dropout);
        }
        self.inner(&x, dropout)
    }

    /// `bias` (1 or batch, heads, new, total) is added to the products.
    fn attend(&self, x: &Tensor, cache: &mut Option<KeysValues>, bias: &Tensor, dropout: f64) -> Tensor {
        let normed = self.attention_norm.forward(x);
        let seen = extended(cache, self.attention.keys_values(&normed));
        x + dropped(self.attention.attend(&normed, seen, Some(bias), false), dropout)
    }

    fn inner(&self, x: &Tensor, dropout: f64) -> Tensor {
        let normed = self.inner_norm.forward(x);
        let inner = match &self.inner[..] {
            [gate, inner] => gelu(&gate.forward(&normed), true) * inner.forward(&normed),
            all => all[0].forward(&normed).relu(),
        }; // (batch, time, feed_forward)
        x + dropped(self.outer.forward(&dropped(inner, dropout)), dropout)
    }
}
