//! An exponential moving average of the weights: average ← d average + (1 − d) weight after every step.
//!
//! d grows to its final value as (1 + step) / (10 + step), as TensorFlow and diffusers have it, so that the first random weights are forgotten.

use anyhow::Result;
use tch::Tensor;

use crate::parameters::Parameters;
use crate::shim;

/// The average and what it is of.
pub struct Ema {
    decay: f64,
    names: Vec<String>,
    weights: Vec<Tensor>,
    averages: Vec<Tensor>,
}

impl Ema {
    /// No average when `decay` is 0.
    pub fn new(decay: f64, parameters: &Parameters) -> Ema {
        let (names, weights): (Vec<String>, Vec<Tensor>) =
            if decay > 0.0 { parameters.named().into_iter().unzip() } else { Default::default() };
        let averages = weights.iter().map(|weight| weight.detach().zeros_like()).collect();
        Ema { decay, names, weights, averages }
    }

    /// Begins with the weights as they are.
    pub fn begin(&self) -> Result<()> {
        shim::average(&self.averages, &self.weights, 1.0)
    }

    /// After step number `step`, from 1.
    pub fn update(&self, step: u64) -> Result<()> {
        let grown = (1.0 + step as f64) / (10.0 + step as f64);
        shim::average(&self.averages, &self.weights, 1.0 - grown.min(self.decay))
    }

    /// Runs `body` with the averages in place of the weights.
    pub fn used<T>(&self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        self.swap();
        let result = body();
        self.swap();
        result
    }

    /// Puts the averages in place of the weights, and the weights in place of the averages.
    fn swap(&self) {
        tch::no_grad(|| {
            for (weight, average) in self.weights.iter().zip(&self.averages) {
                let (mut weight, mut average, copy) = (weight.shallow_clone(), average.shallow_clone(), weight.copy());
                weight.copy_(&average);
                average.copy_(&copy);
            }
        });
    }

    /// The averages under the names that checkpoints use.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.names.iter().zip(&self.averages).map(|(name, average)| (format!("ema.{name}"), average.shallow_clone())).collect()
    }
}
