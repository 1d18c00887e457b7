//! Layers that several families share. Names of variables are those of transformers.

use model::{Activation, Design, NormKind};
use tch::{Kind, Tensor};

use crate::parameters::{Adapter, Init, Path};
use crate::shim;

/// Deviation of the first values of weights, unless a layer has another one.
pub const DEVIATION: f64 = 0.02;

/// y = x Wᵀ + b.
pub struct Linear {
    /// (outputs, inputs), or (inputs, outputs) as transformers' Conv1D has it.
    weight: Tensor,
    bias: Option<Tensor>,
    inputs_first: bool,
    adapter: Option<Adapter>,
}

pub fn linear(path: &Path, inputs: i64, outputs: i64) -> Linear {
    linear_of(path, inputs, outputs, true, DEVIATION)
}

pub fn linear_of(path: &Path, inputs: i64, outputs: i64, bias: bool, deviation: f64) -> Linear {
    let weight = path.variable("weight", &[outputs, inputs], Init::Normal(deviation));
    let bias = bias.then(|| path.variable("bias", &[outputs], Init::Constant(0.0)));
    Linear { weight, bias, inputs_first: false, adapter: path.adapter(inputs, outputs, false) }
}

/// A product with a bias whose weight is stored (inputs, outputs).
pub fn conv1d(path: &Path, inputs: i64, outputs: i64, deviation: f64) -> Linear {
    let weight = path.variable("weight", &[inputs, outputs], Init::Normal(deviation));
    let bias = Some(path.variable("bias", &[outputs], Init::Constant(0.0)));
    Linear { weight, bias, inputs_first: true, adapter: path.adapter(inputs, outputs, true) }
}

impl Linear {
    /// (…, inputs) → (…, outputs).
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let y = match &self.bias {
            Some(bias) if self.inputs_first => {
                let mut shape = x.size();
                let inputs = shape.pop().expect("hidden states have a last dimension");
                shape.push(-1);
                bias.addmm(&x.reshape([-1, inputs]), &self.weight).view(&shape[..])
            }
            bias => x.linear(&self.weight, bias.as_ref()),
        };
        match &self.adapter {
            Some(adapter) => y + adapter.forward(x),
            None => y,
        }
    }
}

/// What several products take: autocast would cast it for each of them, and keep each cast for the gradients.
pub fn for_products(x: &Tensor) -> Tensor {
    if shim::is_autocast(x.device()) { x.to_kind(Kind::BFloat16) } else { x.shallow_clone() }
}

/// Normalization over the last dimension.
pub struct Norm {
    weight: Tensor,
    bias: Option<Tensor>,
    kind: NormKind,
    width: i64,
    epsilon: f64,
}

pub fn layer_norm(path: &Path, width: i64, epsilon: f64) -> Norm {
    let weight = path.variable("weight", &[width], Init::Constant(1.0));
    Norm { weight, bias: Some(path.variable("bias", &[width], Init::Constant(0.0))), kind: NormKind::Layernorm, width, epsilon }
}

/// The norm of a design.
pub fn norm(path: &Path, width: i64, design: &Design) -> Norm {
    if design.norm == NormKind::Layernorm && design.bias {
        return layer_norm(path, width, design.epsilon);
    }
    let weight = path.variable("weight", &[width], Init::Constant(1.0));
    Norm { weight, bias: None, kind: design.norm, width, epsilon: design.epsilon }
}

impl Norm {
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match self.kind {
            NormKind::Layernorm => x.layer_norm([self.width], Some(&self.weight), self.bias.as_ref(), self.epsilon, false),
            NormKind::Rmsnorm => x.rms_norm([self.width], Some(&self.weight.to_kind(x.kind())), self.epsilon),
        }
    }
}

/// The inner layer of a block.
pub struct Mlp {
    pub gate: Option<Linear>,
    pub up: Linear,
    pub down: Linear,
    pub activation: Activation,
}

impl Mlp {
    /// (batch, time, width) → the same.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let x = for_products(x);
        let up = self.up.forward(&x); // (batch, time, feed_forward)
        let gate = self.gate.as_ref().map(|gate| gate.forward(&x));
        let inner = match (self.activation, gate) {
            (Activation::Swiglu, Some(gate)) => gate.silu() * up,
            (Activation::Geglu, Some(gate)) => gelu(&gate, true) * up,
            (Activation::Relu2, _) => up.relu().square(),
            _ => gelu(&up, true),
        };
        self.down.forward(&inner)
    }
}

/// Rotary positions: the pairs (i, i + half) of a head turn by position / theta^(i / half).
pub struct Rotation {
    /// (time, half), or (batch, 1, time, half) when rows have positions of their own.
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    /// For `positions` (time) or (batch, time).
    pub fn new(positions: &Tensor, head_width: i64, theta: f64) -> Rotation {
        let exponents = Tensor::arange_start_step(0, head_width, 2, (Kind::Float, positions.device())) / head_width as f64;
        let frequencies = Tensor::from(theta as f32).to_device(positions.device()).pow(&exponents).reciprocal();
        let angles = positions.to_kind(Kind::Float).unsqueeze(-1) * frequencies; // (…, time, half)
        let angles = if angles.dim() == 3 { angles.unsqueeze(1) } else { angles };
        Rotation { cos: angles.cos(), sin: angles.sin() }
    }

    /// Turns queries or keys (batch, heads, time, head width).
    pub fn apply(&self, x: &Tensor) -> Tensor {
        let halves = x.chunk(2, -1);
        let (a, b) = (&halves[0], &halves[1]);
        let (cos, sin) = (self.cos.to_kind(x.kind()), self.sin.to_kind(x.kind()));
        Tensor::cat(&[a * &cos - b * &sin, b * &cos + a * &sin], -1)
    }
}

/// Sines in the first half of the width, cosines in the second: (…) → (…, width).
pub fn sinusoids(positions: &Tensor, width: i64) -> Tensor {
    let half = (width + 1) / 2;
    let exponents = Tensor::arange(half, (Kind::Float, positions.device())) * (-(10_000f64.ln()) * 2.0 / width as f64);
    let angles = positions.to_kind(Kind::Float).unsqueeze(-1) * exponents.exp();
    Tensor::cat(&[angles.sin(), angles.cos()], -1).narrow(-1, 0, width)
}

/// The Gaussian error linear unit, exact or by the approximation with `tanh`. On a processor, when it is learned from, by a kernel of our own.
pub fn gelu(x: &Tensor, tanh: bool) -> Tensor {
    let ours = x.device() == tch::Device::Cpu && x.requires_grad() && matches!(x.kind(), Kind::Float | Kind::BFloat16);
    match ours.then(|| shim::gelu(x, tanh)) {
        Some(Ok(y)) => y,
        _ => x.gelu(if tanh { "tanh" } else { "none" }),
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

/// Repeats each head of keys or values for the queries that share it.
pub fn shared(x: &Tensor, heads: i64) -> Tensor {
    let (b, kv_heads, t, c) = x.size4().expect("attention has four dimensions");
    if kv_heads == heads {
        return x.shallow_clone();
    }
    x.unsqueeze(2).expand([b, kv_heads, heads / kv_heads, t, c], false).reshape([b, heads, t, c])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_and_its_gradient_are_those_of_libtorch() {
        let options = (Kind::Float, tch::Device::Cpu);
        // Odd lengths, and values where both tails have ended.
        let x = Tensor::cat(&[Tensor::linspace(-12.0, 12.0, 4001, options), Tensor::from_slice(&[0.0f32, -0.0, 1e-9, -50.0, 50.0])], 0);
        for kind in [Kind::Float, Kind::BFloat16] {
            for tanh in [false, true] {
                let learned = |gelu: &dyn Fn(&Tensor) -> Tensor| {
                    let x = x.to_kind(kind).copy().set_requires_grad(true);
                    let y = gelu(&x);
                    (&y * x.detach().cos()).sum(Kind::Float).backward();
                    [y.detach().to_kind(Kind::Double), x.grad().to_kind(Kind::Double)]
                };
                let expected = learned(&|x| x.gelu(if tanh { "tanh" } else { "none" }));
                let found = learned(&|x| gelu(x, tanh));
                for (expected, found) in expected.iter().zip(&found) {
                    let far = ((expected - found).abs() / expected.abs().clamp_min(1.0)).max().double_value(&[]);
                    assert!(far < if kind == Kind::Float { 1e-6 } else { 1e-2 }, "{kind:?}, tanh {tanh}: {far}");
                }
            }
        }
    }

    #[test]
    fn gelu_takes_views() {
        let x = Tensor::arange(24, (Kind::Float, tch::Device::Cpu)).view([2, 3, 4]).set_requires_grad(true);
        let parts = x.chunk(2, -1);
        let far = (gelu(&parts[1], false) - parts[1].gelu("none")).abs().max().double_value(&[]);
        assert!(far < 1e-5, "{far}");
    }
}
