//! How gradients change weights: one file per update rule, over groups of variables with settings of their own.
//!
//! To add a rule: its file here, its line in [`rule`], and its name in `model::Optimizer`. What a rule remembers lies in tensors that a
//! checkpoint can hold. By default matrices decay and vectors do not, as GPT-2 and nanoGPT have it.

mod adagrad;
mod adam;
mod lion;
mod muon;
mod sgd;

use anyhow::{Result, bail};
use model::{Optimizer as Kind, Train};
use tch::Tensor;

use crate::parameters::{Parameters, is_of_task};
use crate::shim::{self, Lists};

/// An update rule.
pub trait Rule {
    /// What it remembers of every variable, by the names that PyTorch's optimizers use: tensors of the variable's shape, zero at first.
    fn state(&self) -> &'static [&'static str];

    /// Changes the group's tensors by their gradients; `step` counts from 1.
    fn step(&self, group: &Group, step: u64, learning_rate: f64) -> Result<()>;
}

fn rule(kind: Kind, settings: &Train) -> Box<dyn Rule> {
    match kind {
        Kind::AdamW => Box::new(adam::adamw(settings)),
        Kind::Adam => Box::new(adam::adam(settings)),
        Kind::Sgd => Box::new(sgd::sgd(settings)),
        Kind::AdaGrad => Box::new(adagrad::adagrad(settings)),
        Kind::Lion => Box::new(lion::lion(settings)),
        Kind::Muon => Box::new(muon::muon(settings)),
    }
}

/// Variables that are treated alike.
pub struct Group {
    names: Vec<String>,
    pub tensors: Vec<Tensor>,
    /// For each name of [`Rule::state`], a tensor per variable.
    pub states: Vec<Vec<Tensor>>,
    pub weight_decay: f64,
    learning_rate_factor: f64,
    /// Whether they are heads of several tasks.
    of_tasks: bool,
    kind: Kind,
    rule: Box<dyn Rule>,
}

impl Group {
    fn lists(&self) -> Lists<'_> {
        Lists { tensors: &self.tensors, states: &self.states }
    }
}

/// All variables that are learned, in groups.
pub struct Optimizer {
    groups: Vec<Group>,
    all: Vec<Tensor>,
    matrices: Vec<Tensor>,
    l1: f64,
    grad_clip: f64,
    clip_value: f64,
}

/// Sorts the variables into groups; those that `groups` of the settings freezes need no gradients from now on.
pub fn optimizer(settings: &Train, parameters: &Parameters) -> Result<Optimizer> {
    let Train { l1, grad_clip, clip_value, .. } = *settings;
    let mut optimizer = Optimizer { groups: Vec::new(), all: Vec::new(), matrices: Vec::new(), l1, grad_clip, clip_value };
    check_patterns(settings, parameters)?;
    for (name, tensor) in parameters.named() {
        let own = settings.groups.iter().find(|group| group.fits(&name));
        if own.is_some_and(|group| group.freeze) {
            let _ = tensor.set_requires_grad(false);
        }
        if tensor.requires_grad() {
            let decay = if !is_matrix(&name, &tensor) { 0.0 } else { settings.weight_decay() };
            let decay = own.and_then(|group| group.weight_decay).unwrap_or(decay);
            optimizer.add(settings, name, tensor, decay, own.map_or(1.0, |group| group.learning_rate_factor));
        }
    }
    if optimizer.all.is_empty() {
        bail!("`groups` freeze all parameters: nothing would be learned");
    }
    Ok(optimizer)
}

/// Whether a variable is multiplied with; Marian's `final_logits_bias` (1, vocabulary) is added.
fn is_matrix(name: &str, tensor: &Tensor) -> bool {
    tensor.dim() > 1 && !name.ends_with("bias")
}

/// A pattern that no name fits is a mistake.
fn check_patterns(settings: &Train, parameters: &Parameters) -> Result<()> {
    let names: Vec<String> = parameters.named().into_iter().map(|(name, _)| name).collect();
    let idle = settings.groups.iter().find(|group| !names.iter().any(|name| group.fits(name)));
    match idle {
        Some(group) => bail!("groups: no parameter fits `{}`; their names are {}", group.pattern, names.join(", ")),
        None => Ok(()),
    }
}

impl Optimizer {
    fn add(&mut self, settings: &Train, name: String, tensor: Tensor, weight_decay: f64, learning_rate_factor: f64) {
        let kind = match settings.optimizer {
            Kind::Muon if !muon::is_hidden_matrix(&name, &tensor) => Kind::AdamW,
            kind => kind,
        };
        let of_tasks = is_of_task(&name);
        let alike = |group: &Group| {
            (group.kind, group.weight_decay, group.learning_rate_factor, group.of_tasks)
                == (kind, weight_decay, learning_rate_factor, of_tasks)
        };
        self.all.push(tensor.shallow_clone());
        if is_matrix(&name, &tensor) {
            self.matrices.push(tensor.shallow_clone());
        }
        let group = match self.groups.iter().position(alike) {
            Some(place) => &mut self.groups[place],
            None => {
                let rule = rule(kind, settings);
                let states = rule.state().iter().map(|_| Vec::new()).collect();
                let (names, tensors) = (Vec::new(), Vec::new());
                self.groups.push(Group { names, tensors, states, weight_decay, learning_rate_factor, of_tasks, kind, rule });
                let last = self.groups.len() - 1;
                &mut self.groups[last]
            }
        };
        group.states.iter_mut().for_each(|state| state.push(tensor.detach().zeros_like()));
        group.tensors.push(tensor);
        group.names.push(name);
    }

    /// The variables that are learned.
    pub fn learned(&self) -> &[Tensor] {
        &self.all
    }

    /// Adds the L1 penalty to the gradients and clips them; gives their global norm before clipping.
    pub fn clip(&self) -> Result<f64> {
        if self.l1 > 0.0 {
            shim::l1(&self.matrices, self.l1)?;
        }
        let norm = shim::clip_gradients(&self.all, self.grad_clip)?;
        if self.clip_value > 0.0 {
            shim::clip_values(&self.all, self.clip_value)?;
        }
        Ok(norm)
    }

    /// Takes step number `step` (from 1), which is number `of_task` of those of its task: a head has moved only in these. What has no
    /// gradient, as the heads of other tasks, stays.
    pub fn step(&self, step: u64, of_task: u64, learning_rate: f64) -> Result<()> {
        let number = |group: &Group| if group.of_tasks { of_task } else { step };
        self.groups.iter().try_for_each(|group| group.rule.step(group, number(group), learning_rate * group.learning_rate_factor))
    }

    /// Forgets the gradients.
    pub fn forget(&self) {
        shim::forget_gradients(&self.all);
    }

    /// The state under the names that checkpoints use.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let of = |group: &Group| -> Vec<(String, Tensor)> {
            let kinds = group.rule.state().iter().zip(&group.states);
            let named = kinds.flat_map(|(kind, tensors)| group.names.iter().zip(tensors).map(move |named| (kind, named)));
            named.map(|(kind, (name, tensor))| (format!("{kind}.{name}"), tensor.shallow_clone())).collect()
        };
        self.groups.iter().flat_map(of).collect()
    }
}
