//! Muon (Jordan et al. 2024): the average gradient of a matrix is replaced by a matrix of about the same directions whose singular values
//! are all near 1, so that no direction dominates. Scaled as Liu et al. 2025 do: AdamW's learning rate and decay fit.

use anyhow::Result;
use model::{Precision, Train};
use tch::{Kind, Tensor};

use super::{Group, Rule};
use crate::shim;

/// Of the polynomial a x + b x³ + c x⁵ that drives singular values towards 1 (Jordan et al. 2024).
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];
const ITERATIONS: usize = 5;
/// Below this norm a gradient is not scaled up any more.
const EPSILON: f64 = 1e-7;
/// Root mean square of AdamW's updates (Liu et al. 2025).
const ADAMW_RMS: f64 = 0.2;

pub struct Muon {
    momentum: f64,
    nesterov: bool,
    /// Kind of the iteration's products: bf16 where the hardware has it, unless the precision is f32.
    kind: Kind,
}

pub fn muon(settings: &Train) -> Muon {
    let bf16 = settings.precision != Precision::F32 && (shim::cpu().contains("bf16") || tch::Cuda::is_available());
    Muon { momentum: settings.momentum(), nesterov: settings.nesterov(), kind: if bf16 { Kind::BFloat16 } else { Kind::Float } }
}

/// Whether a variable is a matrix between layers: those have the number of a block in their name, or that of a recurrent layer at its end
/// (`weight_hh_l0`, the gates below one another); embeddings and heads have none.
pub fn is_hidden_matrix(name: &str, tensor: &Tensor) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let numbered = name.split('.').any(is_number) || name.rsplit_once("_l").is_some_and(|(_, layer)| is_number(layer));
    tensor.dim() == 2 && numbered && !name.contains("embed") && !name.contains("bias")
}

impl Rule for Muon {
    fn state(&self) -> &'static [&'static str] {
        &["momentum_buffer"]
    }

    fn step(&self, group: &Group, _step: u64, learning_rate: f64) -> Result<()> {
        for (matrix, average) in group.tensors.iter().zip(&group.states[0]) {
            let gradient = matrix.grad();
            if gradient.defined() {
                tch::no_grad(|| self.change(matrix, &gradient, average, learning_rate, group.weight_decay));
            }
        }
        Ok(())
    }
}

impl Muon {
    fn change(&self, matrix: &Tensor, gradient: &Tensor, average: &Tensor, learning_rate: f64, weight_decay: f64) {
        let (mut matrix, mut average) = (matrix.shallow_clone(), average.shallow_clone());
        let _ = average.lerp_(gradient, 1.0 - self.momentum);
        let update = if self.nesterov { gradient.lerp(&average, self.momentum) } else { average };
        let longest = update.size().into_iter().max().unwrap_or(1) as f64;
        let update = orthogonal(&update, self.kind).to_kind(Kind::Float);
        let _ = matrix.g_mul_scalar_(1.0 - learning_rate * weight_decay);
        let _ = matrix.g_sub_(&(update * (learning_rate * ADAMW_RMS * longest.sqrt())));
    }
}

/// Newton–Schulz iteration on a matrix (rows, columns).
fn orthogonal(matrix: &Tensor, kind: Kind) -> Tensor {
    let [a, b, c] = COEFFICIENTS;
    let tall = matrix.size()[0] > matrix.size()[1];
    let mut x = if tall { matrix.to_kind(kind).tr() } else { matrix.to_kind(kind) };
    x = &x / x.norm().clamp_min(EPSILON);
    for _ in 0..ITERATIONS {
        let gram = x.mm(&x.tr()); // (short side, short side)
        let polynomial = &gram * b + gram.mm(&gram) * c;
        x = &x * a + polynomial.mm(&x);
    }
    if tall { x.tr() } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singular_values_come_near_one() {
        for (rows, columns) in [(6, 4), (4, 6), (5, 5)] {
            let values: Vec<f32> = (0..rows * columns).map(|i| ((i * i * 7 + i) as f32).sin()).collect();
            let matrix = Tensor::from_slice(&values).view([rows, columns]);
            let (_, before, _) = matrix.svd(true, false);
            let (_, after, _) = orthogonal(&matrix, Kind::Float).svd(true, false);
            let (after, before) = (Vec::<f32>::try_from(after).unwrap(), Vec::<f32>::try_from(before).unwrap());
            assert!(after.iter().all(|value| (0.6..1.3).contains(value)), "{before:?} became {after:?}");
        }
    }

    #[test]
    fn matrices_of_blocks_are_hidden() {
        let matrix = Tensor::zeros([2, 2], (Kind::Float, tch::Device::Cpu));
        let check = |name: &str| is_hidden_matrix(name, &matrix);
        assert!(check("transformer.h.0.attn.c_attn.weight") && check("bert.encoder.layer.11.output.dense.weight"));
        assert!(check("rnn.weight_ih_l0") && check("rnn.weight_hh_l12") && !check("rnn.bias_hh_l0") && !check("embedding.weight"));
        assert!(!check("transformer.wte.weight") && !check("lm_head.weight") && !check("classifier.weight") && !check("final_logits_bias"));
        assert!(!is_hidden_matrix("transformer.h.0.ln_1.weight", &matrix.select(0, 0)));
    }
}
