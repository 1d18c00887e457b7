//! Stochastic gradient descent with momentum, Nesterov's when asked for (Sutskever et al. 2013, in the form of PyTorch).

use anyhow::Result;
use model::Train;

use super::{Group, Rule};
use crate::shim;

pub struct Sgd {
    momentum: f64,
    nesterov: bool,
}

pub fn sgd(settings: &Train) -> Sgd {
    Sgd { momentum: settings.momentum(), nesterov: settings.nesterov() }
}

impl Rule for Sgd {
    fn state(&self) -> &'static [&'static str] {
        if self.momentum > 0.0 { &["momentum_buffer"] } else { &[] }
    }

    fn step(&self, group: &Group, _step: u64, learning_rate: f64) -> Result<()> {
        shim::sgd(group.lists(), learning_rate, group.weight_decay, self.momentum, self.nesterov)
    }
}
