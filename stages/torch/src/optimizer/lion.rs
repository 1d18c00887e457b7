//! Lion (Chen et al. 2023): steps of equal size along the sign of an average of gradients, with decay apart from them.

use anyhow::Result;
use model::Train;

use super::{Group, Rule};
use crate::shim;

pub struct Lion {
    betas: [f64; 2],
}

pub fn lion(settings: &Train) -> Lion {
    Lion { betas: settings.betas }
}

impl Rule for Lion {
    fn state(&self) -> &'static [&'static str] {
        &["exp_avg"]
    }

    fn step(&self, group: &Group, _step: u64, learning_rate: f64) -> Result<()> {
        shim::lion(group.lists(), learning_rate, group.weight_decay, self.betas)
    }
}
