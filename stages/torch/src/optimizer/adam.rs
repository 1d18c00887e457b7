//! Adam (Kingma and Ba 2015), whose decay is part of the gradient, and AdamW (Loshchilov and Hutter 2019), whose decay is apart from it.

use anyhow::Result;
use model::Train;

use super::{Group, Rule};
use crate::shim;

pub fn adam(settings: &Train) -> shim::Adam {
    shim::Adam { betas: settings.betas, epsilon: settings.epsilon, decoupled: false }
}

pub fn adamw(settings: &Train) -> shim::Adam {
    shim::Adam { betas: settings.betas, epsilon: settings.epsilon, decoupled: true }
}

impl Rule for shim::Adam {
    fn state(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn step(&self, group: &Group, step: u64, learning_rate: f64) -> Result<()> {
        shim::adam(group.lists(), step, learning_rate, group.weight_decay, *self)
    }
}
