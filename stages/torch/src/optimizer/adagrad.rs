//! AdaGrad (Duchi, Hazan and Singer 2011): each weight's rate falls with the sum of its squared gradients.

use anyhow::Result;
use model::Train;

use super::{Group, Rule};
use crate::shim;

pub struct AdaGrad {
    epsilon: f64,
}

pub fn adagrad(settings: &Train) -> AdaGrad {
    AdaGrad { epsilon: settings.epsilon }
}

impl Rule for AdaGrad {
    fn state(&self) -> &'static [&'static str] {
        &["sum"]
    }

    fn step(&self, group: &Group, step: u64, learning_rate: f64) -> Result<()> {
        shim::adagrad(group.lists(), step, learning_rate, group.weight_decay, self.epsilon)
    }
}
