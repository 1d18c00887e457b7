//! AdamW with decay on matrices alone, as GPT-2 and nanoGPT do; the state lies in tensors that a checkpoint can hold.

use anyhow::Result;
use tch::Tensor;

use crate::parameters::Parameters;
use crate::shim::{self, Adam};

/// The optimizer's state: one pair of averages per variable, in the order of the variables.
pub struct AdamW {
    /// Group 0 decays (two dimensions or more), group 1 does not.
    groups: [Group; 2],
    all: Vec<Tensor>,
    settings: AdamSettings,
}

/// What stays the same over the run.
#[derive(Clone, Copy, Debug)]
pub struct AdamSettings {
    pub betas: [f64; 2],
    pub epsilon: f64,
    pub weight_decay: f64,
    /// Largest global gradient norm; 0 clips nothing.
    pub grad_clip: f64,
}

#[derive(Default)]
struct Group {
    names: Vec<String>,
    tensors: Vec<Tensor>,
    averages: Vec<Tensor>,
    squares: Vec<Tensor>,
}

pub fn adamw(parameters: &Parameters, settings: AdamSettings) -> AdamW {
    let mut groups = [Group::default(), Group::default()];
    for (name, tensor) in parameters.named() {
        let group = &mut groups[usize::from(tensor.dim() < 2)];
        group.averages.push(tensor.detach().zeros_like());
        group.squares.push(tensor.detach().zeros_like());
        group.tensors.push(tensor);
        group.names.push(name);
    }
    AdamW { groups, all: parameters.tensors(), settings }
}

impl AdamW {
    /// Clips, takes step number `step` (from 1) and forgets the gradients; gives the norm before clipping.
    /// A step whose gradients are not finite is an error: it would ruin all that was learned.
    pub fn step(&mut self, step: u64, learning_rate: f64) -> Result<f64> {
        let AdamSettings { betas, epsilon, weight_decay, grad_clip } = self.settings;
        let norm = shim::clip_gradients(&self.all, grad_clip)?;
        if !norm.is_finite() {
            anyhow::bail!("the gradient norm of step {step} is {norm}; lower learning_rate, raise warmup_steps or use precision \"f32\"");
        }
        for (group, weight_decay) in self.groups.iter().zip([weight_decay, 0.0]) {
            let adam = Adam { step, learning_rate, betas, epsilon, weight_decay };
            shim::fused_adamw(&group.tensors, &group.averages, &group.squares, adam)?;
        }
        shim::forget_gradients(&self.all);
        Ok(norm)
    }

    /// The state under the names that checkpoints use.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = Vec::new();
        for group in &self.groups {
            for (i, name) in group.names.iter().enumerate() {
                state.push((format!("exp_avg.{name}"), group.averages[i].shallow_clone()));
                state.push((format!("exp_avg_sq.{name}"), group.squares[i].shallow_clone()));
            }
        }
        state
    }
}
