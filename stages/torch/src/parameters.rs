//! The variables of a network in the order of their making, under the names that transformers gives them.
//!
//! tch's own store keeps them in a hash map, so neither their order nor that of their first random values would be fixed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Div;

use anyhow::{Result, bail};
use model::Lora;
use tch::{Device, Kind, Tensor};

/// Before the names of the heads of several tasks, and before the task.
const TASKS: &str = "tasks.";
/// Part of the names of adapters' variables.
const ADAPTER: &str = ".lora_";

/// First values of a variable.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    Constant(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform from minus this to this.
    Uniform(f64),
}

/// Beginnings of the names of heads, which begin with random values where a start does not have them, and are trained beside adapters.
const HEADS: [&str; 8] = ["bert.pooler.", "cls.", "classifier.", "classification_head.", "qa_outputs.", "head.", "decoder.bias", "score."];

/// Whether a variable is part of a head.
fn is_head(name: &str) -> bool {
    HEADS.iter().any(|head| name.starts_with(head))
}

/// Whether a variable is part of the head of one of several tasks.
pub fn is_of_task(name: &str) -> bool {
    name.starts_with(TASKS)
}

/// Whether a variable may keep its first values where a start does not have it.
pub fn may_be_new(name: &str) -> bool {
    is_head(name) || is_adapter(name)
}

/// Whether a variable is part of an adapter.
pub fn is_adapter(name: &str) -> bool {
    name.contains(ADAPTER)
}

/// All variables of a network.
pub struct Parameters {
    device: Device,
    list: RefCell<Vec<(String, Tensor)>>,
    /// Tensors that are no variables but part of a run.
    kept: RefCell<Vec<(String, Tensor)>>,
    lora: Option<Lora>,
    adapters: RefCell<Vec<(String, Adapter)>>,
    /// Last names of projections that could have had an adapter.
    projections: RefCell<BTreeSet<String>>,
    /// Variables of other networks that are this one's too, where it makes them.
    body: Vec<(String, Tensor)>,
}

/// What is added to a projection: scale × B A.
pub struct Adapter {
    /// (rank, inputs)
    a: Tensor,
    /// (outputs, rank)
    b: Tensor,
    scale: f64,
    /// Whether the projection is stored (inputs, outputs).
    inputs_first: bool,
}

impl Adapter {
    fn shared(&self) -> Adapter {
        Adapter { a: self.a.shallow_clone(), b: self.b.shallow_clone(), ..*self }
    }

    /// (…, inputs) → (…, outputs).
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.a, None::<&Tensor>).linear(&self.b, None::<&Tensor>) * self.scale
    }
}

impl Parameters {
    /// No variables yet; their random first values follow from `seed` and the order in which a model makes them.
    pub fn new(device: Device, seed: u64) -> Parameters {
        Parameters::adapted(device, seed, None)
    }

    /// As [`Parameters::new`]; with adapters, only they and heads are trained.
    pub fn adapted(device: Device, seed: u64, lora: Option<Lora>) -> Parameters {
        tch::manual_seed(seed as i64);
        let (list, kept, adapters, projections, body) = Default::default();
        Parameters { device, list, kept, lora, adapters, projections, body }
    }

    /// Of a network beside those that joined `all`: it shares their variables but for its head.
    pub fn beside(all: &Parameters) -> Parameters {
        let (list, kept, adapters, projections) = Default::default();
        Parameters { device: all.device, list, kept, lora: all.lora.clone(), adapters, projections, body: all.named() }
    }

    /// Takes in the variables of a network that was made beside these; those of its head get the name of its task before their own.
    pub fn join(&self, other: &Parameters, task: Option<&str>) {
        let mut list = self.list.borrow_mut();
        for (name, tensor) in other.named() {
            let name = task.filter(|_| is_head(&name)).map_or_else(|| name.clone(), |task| format!("{TASKS}{task}.{name}"));
            if !list.iter().any(|(known, _)| *known == name) {
                list.push((name, tensor));
            }
        }
        let mut adapters = self.adapters.borrow_mut();
        for (name, adapter) in other.adapters.borrow().iter() {
            if !adapters.iter().any(|(known, _)| known == name) {
                adapters.push((name.clone(), adapter.shared()));
            }
        }
        self.projections.borrow_mut().extend(other.projections.borrow().iter().cloned());
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

    /// As [`Parameters::named`], with the adapters added to what they adapt.
    pub fn merged(&self) -> Vec<(String, Tensor)> {
        let adapters = self.adapters.borrow();
        let named = self.named().into_iter().filter(|(name, _)| !is_adapter(name));
        let merge = |(name, weight): (String, Tensor)| {
            let Some((_, adapter)) = adapters.iter().find(|(adapted, _)| *adapted == name) else { return (name, weight) };
            let product = tch::no_grad(|| adapter.b.matmul(&adapter.a) * adapter.scale); // (outputs, inputs)
            (name, weight.detach() + if adapter.inputs_first { product.tr() } else { product })
        };
        named.map(merge).collect()
    }

    /// Refuses targets that no projection has.
    pub fn check_adapters(&self) -> Result<()> {
        let projections = self.projections.borrow();
        if self.lora.is_some() && projections.is_empty() {
            bail!("lora: this family has no projections that adapters could stand beside; leave it out");
        }
        match self.lora.iter().flat_map(|lora| &lora.targets).find(|target| !projections.contains(*target)) {
            Some(target) => bail!(
                "lora.targets: no projection is called `{target}`; there are {}",
                engine::list(projections.iter().map(String::as_str))
            ),
            None => Ok(()),
        }
    }

    pub fn tensors(&self) -> Vec<Tensor> {
        self.list.borrow().iter().map(|(_, tensor)| tensor.shallow_clone()).collect()
    }

    /// Notes a tensor that is no variable but part of a run, so that checkpoints hold it.
    pub fn keep(&self, name: String, tensor: &Tensor) {
        self.kept.borrow_mut().push((name, tensor.shallow_clone()));
    }

    /// What was noted, in order.
    pub fn kept(&self) -> Vec<(String, Tensor)> {
        self.kept.borrow().iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    /// Number of values.
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
        let name = (self / name).prefix;
        if let Some((_, shared)) = self.parameters.body.iter().find(|(known, _)| *known == name) {
            self.parameters.list.borrow_mut().push((name, shared.shallow_clone()));
            return shared.shallow_clone();
        }
        let mut values = Tensor::empty(shape, (Kind::Float, Device::Cpu));
        let values = match init {
            Init::Constant(value) => values.fill_(value),
            Init::Normal(deviation) => values.normal_(0.0, deviation),
            Init::Uniform(range) => values.uniform_(-range, range),
        };
        let trained = self.parameters.lora.is_none() || may_be_new(&name);
        let tensor = values.to_device(self.parameters.device).set_requires_grad(trained);
        self.parameters.list.borrow_mut().push((name, tensor.shallow_clone()));
        tensor
    }

    /// The adapter of the projection at this place, if it is to have one; `inputs_first` where its weight is stored (inputs, outputs).
    pub fn adapter(&self, inputs: i64, outputs: i64, inputs_first: bool) -> Option<Adapter> {
        let lora = self.parameters.lora.as_ref().filter(|_| !is_head(&(self / "weight").prefix))?;
        let last = self.prefix.rsplit('.').next()?;
        self.parameters.projections.borrow_mut().insert(last.to_string());
        if !lora.targets.is_empty() && !lora.targets.iter().any(|target| target == last) {
            return None;
        }
        // As wide as the uniform values of a linear layer; B is 0, so that nothing changes at first.
        let a = (self / "lora_A").variable("weight", &[lora.rank, inputs], Init::Normal((3.0 * inputs as f64).powf(-0.5)));
        let b = (self / "lora_B").variable("weight", &[outputs, lora.rank], Init::Constant(0.0));
        let adapter = Adapter { a, b, scale: lora.alpha / lora.rank as f64, inputs_first };
        self.parameters.adapters.borrow_mut().push(((self / "weight").prefix, adapter.shared()));
        Some(adapter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::layers::{conv1d, linear};

    #[test]
    fn merged_weights_are_the_adapted_projection() {
        for outputs in [3, 4] {
            check_merged(outputs);
        }
    }

    /// Projections from 3 values, of which square ones tell nothing by their shape.
    fn check_merged(outputs: i64) {
        let lora = Lora { rank: 2, alpha: 6.0, targets: vec!["x".into(), "y".into()] };
        let parameters = Parameters::adapted(Device::Cpu, 1, Some(lora));
        let root = parameters.root();
        let layers = [linear(&(&root / "x"), 3, outputs), conv1d(&(&root / "y"), 3, outputs, 0.5), linear(&(&root / "z"), 3, outputs)];
        let input = Tensor::randn([5, 3], (Kind::Float, Device::Cpu));
        let before = layers.each_ref().map(|layer| layer.forward(&input));
        let named = parameters.named();
        tch::no_grad(|| {
            named.iter().filter(|(name, _)| name.contains("lora_B")).for_each(|(_, b)| drop(b.shallow_clone().normal_(0.0, 1.0)))
        });
        let merged: std::collections::HashMap<_, _> = parameters.merged().into_iter().collect();
        assert_eq!(merged.len(), 6);
        for (i, (layer, name)) in layers.iter().zip(["x", "y", "z"]).enumerate() {
            let (weight, bias) = (&merged[&format!("{name}.weight")], &merged[&format!("{name}.bias")]);
            let expected = if name == "y" { input.matmul(weight) + bias } else { input.linear(weight, Some(bias)) };
            let difference = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
            assert!(difference(&layer.forward(&input), &expected) < 1e-5, "{name}");
            assert_eq!(difference(&before[i], &expected) > 1e-2, name != "z", "{name}");
        }
        let trained: Vec<&str> = named.iter().filter(|(_, tensor)| tensor.requires_grad()).map(|(name, _)| name.as_str()).collect();
        assert_eq!(trained, ["x.lora_A.weight", "x.lora_B.weight", "y.lora_A.weight", "y.lora_B.weight"]);
        parameters.check_adapters().unwrap();
    }

    #[test]
    fn targets_that_no_projection_has_are_refused() {
        let lora = Lora { rank: 2, alpha: 6.0, targets: vec!["q".into()] };
        let parameters = Parameters::adapted(Device::Cpu, 1, Some(lora));
        linear(&(&parameters.root() / "x"), 3, 4);
        let error = parameters.check_adapters().unwrap_err().to_string();
        assert!(error.starts_with("lora.targets: no projection is called `q`; there are "), "{error}");
    }

    #[test]
    fn heads_have_no_adapters_for_they_are_trained_themselves() {
        let parameters = Parameters::adapted(Device::Cpu, 1, Some(Lora { rank: 2, alpha: 6.0, targets: Vec::new() }));
        for name in ["x", "classifier", "qa_outputs", "score"] {
            linear(&(&parameters.root() / name), 3, 4);
        }
        let names: Vec<String> = parameters.named().into_iter().map(|(name, _)| name).filter(|name| is_adapter(name)).collect();
        assert_eq!(names, ["x.lora_A.weight", "x.lora_B.weight"]);
    }
}
