//! Recurrent language models: LSTM, GRU and the simple network, several layers over each other, the output tied to the token embedding.
//!
//! Variables are named and shaped as in PyTorch (`rnn.weight_ih_l0` …, see `model::Recurrent`), and LibTorch's own kernels run over a whole row.
//! Dropout is on the embedding, between layers and on the output (Zaremba et al. 2014), never on the way from token to token.

use anyhow::Result;
use model::NetworkConfig;
use model::recurrent::Cell;
use tch::{Device, Kind, Tensor};

use super::layers::dropped;
use super::{Cache, Network, Output, Seen};
use crate::parameters::{Init, Path};
use crate::tape::Tape;

/// The module over the variables `embedding.*`, `rnn.*` and `output.*`.
pub struct Rnn {
    cell: Cell,
    layers: i64,
    width: i64,
    embedding: Tensor,
    /// `weight_ih`, `weight_hh`, `bias_ih` and `bias_hh` of each layer.
    weights: Vec<Tensor>,
    bias: Tensor,
    /// Where it is not that of the embedding.
    output: Option<Tensor>,
}

pub fn rnn(path: &Path, config: &NetworkConfig) -> Rnn {
    let (width, vocabulary) = (config.width, config.vocab_size);
    let gates = gates(config.recurrent.cell);
    let embedding = (path / "embedding").variable("weight", &[vocabulary, width], Init::Uniform(0.1));
    let (recurrent, range) = (path / "rnn", Init::Uniform(1.0 / (width as f64).sqrt()));
    let mut weights = Vec::new();
    for layer in 0..config.layers {
        for (name, shape) in [("weight_ih", vec![gates * width, width]), ("weight_hh", vec![gates * width, width])] {
            weights.push(recurrent.variable(&format!("{name}_l{layer}"), &shape, range));
        }
        for name in ["bias_ih", "bias_hh"] {
            weights.push(recurrent.variable(&format!("{name}_l{layer}"), &[gates * width], range));
        }
    }
    let output = path / "output";
    Rnn {
        cell: config.recurrent.cell,
        layers: config.layers,
        width,
        embedding,
        weights,
        output: (!config.recurrent.tied).then(|| output.variable("weight", &[vocabulary, width], Init::Uniform(0.1))),
        bias: output.variable("bias", &[vocabulary], Init::Constant(0.0)),
    }
}

fn gates(cell: Cell) -> i64 {
    match cell {
        Cell::Lstm => 4,
        Cell::Gru => 3,
        Cell::Rnn => 1,
    }
}

/// The state of a batch before its first token: zeros (layers, batch, width), for LSTM twice.
pub fn first_state(config: &NetworkConfig, batch: i64, device: Device) -> Vec<Tensor> {
    zeros(config.recurrent.cell, [config.layers, batch, config.width], device)
}

fn zeros(cell: Cell, shape: [i64; 3], device: Device) -> Vec<Tensor> {
    (0..tensors(cell)).map(|_| Tensor::zeros(shape, (Kind::Float, device))).collect()
}

/// Tensors of a state: LSTM has the cell beside the output.
fn tensors(cell: Cell) -> usize {
    if cell == Cell::Lstm { 2 } else { 1 }
}

impl Rnn {
    fn zeros(&self, batch: i64, like: &Tensor) -> Vec<Tensor> {
        zeros(self.cell, [self.layers, batch, self.width], like.device())
    }

    /// Outputs (batch, time, width) of the last layer for `x` (batch, time, width), and the state after the last token.
    fn run(&self, x: &Tensor, state: &[Tensor], dropout: f64) -> (Tensor, Vec<Tensor>) {
        // cuDNN goes backward through a pass that was made for it alone, with or without dropout.
        let (weights, layers, train) = (&self.weights, self.layers, wants_gradients(x, &self.weights));
        match self.cell {
            Cell::Lstm => {
                let (y, h, c) = x.lstm(state, weights, true, layers, dropout, train, false, true);
                (y, vec![h, c])
            }
            Cell::Gru => {
                let (y, h) = x.gru(&state[0], weights, true, layers, dropout, train, false, true);
                (y, vec![h])
            }
            Cell::Rnn => {
                let (y, h) = x.rnn_tanh(&state[0], weights, true, layers, dropout, train, false, true);
                (y, vec![h])
            }
        }
    }

    fn embed(&self, ids: &Tensor) -> Tensor {
        Tensor::embedding(&self.embedding, ids, -1, false, false)
    }
}

impl Network for Rnn {
    /// Begins with the state of `seen`, where it has one, and leaves the last one there. A row is one kernel, so there are no segments.
    fn forward<'a>(&'a self, ids: &Tensor, seen: &Seen, dropout: f64, _tape: &Tape<'a>) -> Result<Tensor> {
        let (batch, x) = (ids.size()[0], dropped(self.embed(ids), dropout));
        let mut kept: Vec<Tensor> = seen.carried.iter().map(|state| state.narrow(1, 0, batch)).collect();
        let state = if kept.is_empty() { self.zeros(batch, &x) } else { kept.iter().map(Tensor::copy).collect() };
        let (y, last) = self.run(&x, &state, dropout);
        for (kept, last) in kept.iter_mut().zip(last) {
            kept.copy_(&last.detach());
        }
        Ok(dropped(y, dropout))
    }

    fn features(&self, rows: &Tensor) -> Tensor {
        rows.shallow_clone()
    }

    fn output(&self) -> Output<'_> {
        Output { weight: self.output.as_ref().unwrap_or(&self.embedding), bias: Some(&self.bias) }
    }

    /// The cache holds the state, batch first. Padding on the left leaves it at zero.
    fn extend(&self, ids: &Tensor, _positions: &Tensor, mask: &Tensor, cache: &mut Cache) -> Result<Tensor> {
        let (batch, new) = ids.size2()?;
        let x = self.embed(ids);
        let mut state = match cache.first() {
            Some(Some((h, c))) => [h, c].into_iter().take(tensors(self.cell)).map(batch_second).collect(),
            _ => self.zeros(batch, &x),
        };
        // (batch, new): what the last token may look at.
        let real = mask.select(2, -1).select(1, 0);
        let real = real.narrow(1, real.size()[1] - new, new);
        let y = if bool::try_from(real.all())? {
            let (y, last) = self.run(&x, &state, 0.0);
            state = last;
            y
        } else {
            let real = real.to_kind(Kind::Float);
            let mut outputs = Vec::new();
            for place in 0..new {
                let (y, last) = self.run(&x.narrow(1, place, 1), &state, 0.0);
                let here = real.select(1, place).view([1, batch, 1]);
                state = last.into_iter().map(|state| state * &here).collect();
                outputs.push(y);
            }
            Tensor::cat(&outputs, 1)
        };
        let first = batch_second(&state[0]);
        let second = state.get(1).map_or_else(|| first.shallow_clone(), batch_second);
        *cache = vec![Some((first, second))];
        Ok(y)
    }
}

/// Whether what is made of `x` and `weights` gets gradients. A variable keeps its wish where none are noted, what is made of it does not.
fn wants_gradients(x: &Tensor, weights: &[Tensor]) -> bool {
    x.requires_grad() || weights.iter().any(|weight| weight.requires_grad() && weight.narrow(0, 0, 0).neg().requires_grad())
}

/// (layers, batch, width) ↔ (batch, layers, width), as memory has to lie.
fn batch_second(state: &Tensor) -> Tensor {
    state.transpose(0, 1).contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_wanted_where_something_learns_and_they_are_noted() {
        let weights = |learned: bool| vec![Tensor::zeros([2], (Kind::Float, Device::Cpu)).set_requires_grad(learned)];
        let x = |learned: bool| Tensor::zeros([1, 1, 2], (Kind::Float, Device::Cpu)).set_requires_grad(learned) * 2.0;
        for (of_x, of_weights) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_eq!(wants_gradients(&x(of_x), &weights(of_weights)), of_x || of_weights, "{of_x}, {of_weights}");
            assert!(!tch::no_grad(|| wants_gradients(&x(of_x), &weights(of_weights))), "{of_x}, {of_weights}");
        }
    }
}
