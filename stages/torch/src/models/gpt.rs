//! Pre-norm decoders: GPT-2 (Radford et al. 2019), Llama (Touvron et al. 2023), Qwen 3, and all between them that the options make.
//!
//! Variables are named and shaped as in `GPT2LMHeadModel`, whose projections are stored (inputs, outputs); in all other networks as in
//! `LlamaForCausalLM`. Rows that hold several documents are attended across them, unless they are kept apart ([`Seen`]).

use std::rc::Rc;

use anyhow::{Context as _, Result};
use model::{Design, Head, NetworkConfig, PositionEmbedding, Style};
use tch::{Kind, Tensor};

use super::attention::{attend, extended};
use super::layers::{
    DEVIATION, Linear, Mlp, Norm, Rotation, conv1d, dropped, for_products, join_heads, linear, linear_of, norm, shared, sinusoids,
    split_heads,
};
use super::{Cache, Network, Output, Seen};
use crate::parameters::{Init, Path};
use crate::tape::Tape;

/// The module over the variables of the network and of its head.
pub struct Gpt {
    token_embedding: Tensor,
    /// (positions, width), for learned positions.
    position_embedding: Option<Tensor>,
    blocks: Vec<Block>,
    last_norm: Norm,
    /// (vocabulary, width), when it is not the token embedding.
    head: Option<Tensor>,
    /// (outputs, width), of a head for texts.
    score: Option<Tensor>,
    /// Of each token; tags are told with dropout before.
    tokens: Option<Linear>,
    tags: bool,
    design: Design,
}

pub fn gpt(path: &Path, config: &NetworkConfig) -> Gpt {
    let design = config.design.clone();
    let gpt2 = config.style() == Some(Style::Gpt2);
    // transformers calls the network below a head for answers so in all styles.
    let base = path / if gpt2 || config.head == Head::Answer { "transformer" } else { "model" };
    let [tokens, positions, blocks, last_norm] =
        if gpt2 { ["wte", "wpe", "h", "ln_f"] } else { ["embed_tokens", "embed_positions", "layers", "norm"] };
    let table = |path: Path, rows: i64| path.variable("weight", &[rows, config.width], Init::Normal(DEVIATION));
    let token_embedding = table(&base / tokens, config.vocab_size);
    let learned = design.position_embedding == PositionEmbedding::Learned;
    let position_embedding = learned.then(|| table(&base / positions, config.positions));
    let blocks = &base / blocks;
    let tags = matches!(config.head, Head::Tag { .. });
    let last = match config.head {
        Head::Answer => Some("qa_outputs"),
        _ => tags.then_some(if gpt2 { "classifier" } else { "score" }),
    };
    let block = if gpt2 { gpt2_block } else { llama_block };
    Gpt {
        token_embedding,
        position_embedding,
        blocks: (0..config.layers).map(|layer| block(&(&blocks / layer), config)).collect(),
        last_norm: norm(&(&base / last_norm), config.width, &design),
        head: (!design.tied && config.head == Head::Causal).then(|| table(path / "lm_head", config.vocab_size)),
        score: config.head.outputs().filter(|_| config.head.reads_text()).map(|outputs| table(path / "score", outputs)),
        tokens: last.map(|name| linear(&(path / name), config.width, config.head.outputs().unwrap_or(0))),
        tags,
        design,
    }
}

impl Gpt {
    /// Embeddings of `ids` (batch, time) at `positions` (batch, time), or at 0, 1, … in every row; rotary positions are for the blocks.
    fn embed(&self, ids: &Tensor, positions: Option<&Tensor>, dropout: f64) -> (Tensor, Option<Rotation>) {
        let time = ids.size()[1];
        let tokens = Tensor::embedding(&self.token_embedding, ids, -1, false, false); // (batch, time, width)
        let places = || positions.map_or_else(|| Tensor::arange(time, (Kind::Int64, ids.device())), Tensor::shallow_clone);
        let (mut rotation, width) = (None, tokens.size()[2]);
        let x = match (self.design.position_embedding, &self.position_embedding) {
            (PositionEmbedding::Rotary, _) => {
                rotation = Some(Rotation::new(&places(), self.design.head_width, self.design.rope_theta));
                tokens
            }
            (_, Some(table)) => match positions {
                Some(positions) => tokens + Tensor::embedding(table, positions, -1, false, false),
                None => tokens + table.narrow(0, 0, time),
            },
            _ => tokens * (width as f64).sqrt() + sinusoids(&places(), width),
        };
        (dropped(x, dropout), rotation)
    }
}

impl Network for Gpt {
    fn forward<'a>(&'a self, ids: &Tensor, seen: &Seen, dropout: f64, tape: &Tape<'a>) -> Result<Tensor> {
        let time = ids.size()[1];
        let (mut x, rotation) = self.embed(ids, seen.positions.as_ref(), dropout);
        // (batch, 1, time, time): what came before in the same document.
        let mask = seen.same_document().map(|same| same.logical_and(&Tensor::ones([time, time], (Kind::Bool, ids.device())).tril(0)));
        let of_row = Rc::new((rotation, mask));
        for block in &self.blocks {
            let of_row = of_row.clone();
            x =
                tape.segment(x, move |x| block.forward(x, of_row.0.as_ref(), dropout, |q, k, v| attended(&q, &k, &v, of_row.1.as_ref())))?;
        }
        Ok(self.last_norm.forward(&x))
    }

    fn features(&self, rows: &Tensor) -> Tensor {
        rows.shallow_clone()
    }

    fn output(&self) -> Output<'_> {
        Output { weight: self.head.as_ref().unwrap_or(&self.token_embedding), bias: None }
    }

    fn classify(&self, hidden: &Tensor, _dropout: f64) -> Result<Tensor> {
        let score = self.score.as_ref().context("this network has no head for texts")?;
        Ok(hidden.select(1, 0).linear(score, None::<&Tensor>))
    }

    fn label(&self, hidden: &Tensor, dropout: f64) -> Result<Tensor> {
        let tokens = self.tokens.as_ref().context("this network has no head for tokens")?;
        Ok(tokens.forward(&dropped(hidden.shallow_clone(), if self.tags { dropout } else { 0.0 })))
    }

    fn extend(&self, ids: &Tensor, positions: &Tensor, mask: &Tensor, cache: &mut Cache) -> Result<Tensor> {
        cache.resize_with(self.blocks.len(), || None);
        let (mut x, rotation) = self.embed(ids, Some(positions), 0.0);
        for (block, cache) in self.blocks.iter().zip(cache) {
            x = block.forward(&x, rotation.as_ref(), 0.0, |q, k, v| {
                let (keys, values) = extended(cache, (k, v));
                attended(&q, keys, values, Some(mask))
            });
        }
        Ok(self.last_norm.forward(&x))
    }
}

/// Attention of queries (batch, heads, time, head width) to keys and values of as many heads or fewer; without a mask to what came before.
fn attended(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Tensor {
    let heads = q.size()[1];
    let (k, v) = (shared(k, heads), shared(v, heads));
    attend(q, &k, &v, mask, mask.is_none(), None)
}

struct Block {
    attention_norm: Norm,
    attention: Attention,
    mlp_norm: Norm,
    mlp: Mlp,
}

struct Attention {
    /// Queries, keys and values together, or each by itself.
    inputs: Vec<Linear>,
    output: Linear,
    query_norm: Option<Norm>,
    key_norm: Option<Norm>,
    heads: i64,
    kv_heads: i64,
}

/// The sum over the residual path keeps its variance with depth.
fn residual(config: &NetworkConfig) -> f64 {
    DEVIATION / (2.0 * config.layers as f64).sqrt()
}

fn gpt2_block(path: &Path, config: &NetworkConfig) -> Block {
    let (width, inner, residual) = (config.width, config.feed_forward, residual(config));
    let (attention, mlp) = (path / "attn", path / "mlp");
    Block {
        attention_norm: norm(&(path / "ln_1"), width, &config.design),
        attention: Attention {
            inputs: vec![conv1d(&(&attention / "c_attn"), width, 3 * width, DEVIATION)],
            output: conv1d(&(&attention / "c_proj"), width, width, residual),
            query_norm: None,
            key_norm: None,
            heads: config.heads,
            kv_heads: config.heads,
        },
        mlp_norm: norm(&(path / "ln_2"), width, &config.design),
        mlp: Mlp {
            gate: None,
            up: conv1d(&(&mlp / "c_fc"), width, inner, DEVIATION),
            down: conv1d(&(&mlp / "c_proj"), inner, width, residual),
            activation: config.design.activation,
        },
    }
}

fn llama_block(path: &Path, config: &NetworkConfig) -> Block {
    let (width, inner, design) = (config.width, config.feed_forward, &config.design);
    let (attention, mlp) = (path / "self_attn", path / "mlp");
    let product = |path: Path, inputs, outputs| linear_of(&path, inputs, outputs, design.bias, DEVIATION);
    let to_residual = |path: Path, inputs| linear_of(&path, inputs, width, design.bias, residual(config));
    let (all, shared) = (config.heads * design.head_width, design.kv_heads * design.head_width);
    Block {
        attention_norm: norm(&(path / "input_layernorm"), width, design),
        attention: Attention {
            inputs: vec![
                product(&attention / "q_proj", width, all),
                product(&attention / "k_proj", width, shared),
                product(&attention / "v_proj", width, shared),
            ],
            output: to_residual(&attention / "o_proj", all),
            query_norm: design.qk_norm.then(|| norm(&(&attention / "q_norm"), design.head_width, design)),
            key_norm: design.qk_norm.then(|| norm(&(&attention / "k_norm"), design.head_width, design)),
            heads: config.heads,
            kv_heads: design.kv_heads,
        },
        mlp_norm: norm(&(path / "post_attention_layernorm"), width, design),
        mlp: Mlp {
            gate: design.activation.is_gated().then(|| product(&mlp / "gate_proj", width, inner)),
            up: product(&mlp / "up_proj", width, inner),
            down: to_residual(&mlp / "down_proj", inner),
            activation: design.activation,
        },
    }
}

impl Block {
    fn forward(
        &self,
        x: &Tensor,
        rotation: Option<&Rotation>,
        dropout: f64,
        attend: impl FnOnce(Tensor, Tensor, Tensor) -> Tensor,
    ) -> Tensor {
        let [q, k, v] = self.attention.inputs(&self.attention_norm.forward(x), rotation);
        let attended = join_heads(&attend(q, k, v));
        let x = x + dropped(self.attention.output.forward(&attended), dropout);
        &x + dropped(self.mlp.forward(&self.mlp_norm.forward(&x)), dropout)
    }
}

impl Attention {
    /// Queries (batch, heads, time, head width), keys and values (batch, kv_heads, time, head width).
    fn inputs(&self, x: &Tensor, rotation: Option<&Rotation>) -> [Tensor; 3] {
        let x = for_products(x);
        let mut parts: Vec<Tensor> = match &self.inputs[..] {
            [together] => together.forward(&x).chunk(3, -1),
            apart => apart.iter().map(|product| product.forward(&x)).collect(),
        };
        let mut next = |heads| split_heads(&parts.remove(0), heads);
        let [q, k, v] = [next(self.heads), next(self.kv_heads), next(self.kv_heads)];
        let normed = |x: Tensor, norm: &Option<Norm>| norm.as_ref().map_or_else(|| x.shallow_clone(), |norm| norm.forward(&x));
        let (q, k) = (normed(q, &self.query_norm), normed(k, &self.key_norm));
        match rotation {
            Some(rotation) => [rotation.apply(&q), rotation.apply(&k), v],
            None => [q, k, v],
        }
    }
}
