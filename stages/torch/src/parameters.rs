//! The variables of a network in the order of their making, under the names that transformers gives them.
//!
//! tch's own store keeps them in a hash map, so neither their order nor that of their first random values would be fixed.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::Div;

use tch::{Device, Kind, Tensor};

/// First values of a variable.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    Constant(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
}

/// All variables of a network.
pub struct Parameters {
    device: Device,
    list: RefCell<Vec<(String, Tensor)>>,
}

impl Parameters {
    /// No variables yet; their random first values follow from `seed` and the order in which a model makes them.
    pub fn new(device: Device, seed: u64) -> Parameters {
        tch::manual_seed(seed as i64);
        Parameters { device, list: RefCell::default() }
    }

    pub fn root(&self) -> Path<'_> {
        Path { parameters: self, prefix: String::new() }
    }

    pub fn device(&self) -> Device {
        self.device
    }

    /// Names and tensors (shared, not copied) in the order of their making.
    pub fn named(&self) -> Vec<(String, Tensor)> {
        self.list.borrow().iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    pub fn tensors(&self) -> Vec<Tensor> {
        self.list.borrow().iter().map(|(_, tensor)| tensor.shallow_clone()).collect()
    }

    /// Number of trained values.
    pub fn count(&self) -> u64 {
        self.list.borrow().iter().map(|(_, tensor)| tensor.numel() as u64).sum()
    }
}

/// A place in the tree of names.
#[derive(Clone)]
pub struct Path<'a> {
    parameters: &'a Parameters,
    prefix: String,
}

impl<'a, T: Display> Div<T> for &Path<'a> {
    type Output = Path<'a>;

    fn div(self, name: T) -> Path<'a> {
        let prefix = if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) };
        Path { parameters: self.parameters, prefix }
    }
}

impl Path<'_> {
    /// Makes a variable; on the CPU first, so that its values do not depend on the device.
    pub fn variable(&self, name: &str, shape: &[i64], init: Init) -> Tensor {
        let mut values = Tensor::empty(shape, (Kind::Float, Device::Cpu));
        let values = match init {
            Init::Constant(value) => values.fill_(value),
            Init::Normal(deviation) => values.normal_(0.0, deviation),
        };
        let tensor = values.to_device(self.parameters.device).set_requires_grad(true);
        self.parameters.list.borrow_mut().push(((self / name).prefix, tensor.shallow_clone()));
        tensor
    }
}
