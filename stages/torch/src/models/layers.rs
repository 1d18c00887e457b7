//! Layers that several families share. Names of variables are those of transformers.

use tch::Tensor;

use crate::parameters::{Init, Path};

/// y = x Wᵀ + b with W (outputs, inputs).
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

pub fn linear(path: &Path, inputs: i64, outputs: i64) -> Linear {
    let weight = path.variable("weight", &[outputs, inputs], Init::Normal(0.02));
    Linear { weight, bias: path.variable("bias", &[outputs], Init::Constant(0.0)) }
}

impl Linear {
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }
}

/// Layer normalization over the last dimension.
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    width: i64,
    epsilon: f64,
}

pub fn layer_norm(path: &Path, width: i64, epsilon: f64) -> LayerNorm {
    let weight = path.variable("weight", &[width], Init::Constant(1.0));
    LayerNorm { weight, bias: path.variable("bias", &[width], Init::Constant(0.0)), width, epsilon }
}

impl LayerNorm {
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm([self.width], Some(&self.weight), Some(&self.bias), self.epsilon, false)
    }
}

/// Dropout that costs nothing at probability 0.
pub fn dropped(x: Tensor, probability: f64) -> Tensor {
    if probability > 0.0 { x.dropout(probability, true) } else { x }
}

/// (batch, time, width) → (batch, heads, time, width / heads), a view.
pub fn split_heads(x: &Tensor, heads: i64) -> Tensor {
    let (b, t, c) = x.size3().expect("hidden states have three dimensions");
    x.view([b, t, heads, c / heads]).transpose(1, 2)
}

/// (batch, heads, time, width / heads) → (batch, time, width).
pub fn join_heads(x: &Tensor) -> Tensor {
    let (b, h, t, c) = x.size4().expect("attention has four dimensions");
    x.transpose(1, 2).reshape([b, t, h * c])
}
