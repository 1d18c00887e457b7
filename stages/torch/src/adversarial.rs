//! Learning from disturbed embeddings too: FGM (Miyato et al. 2017) and PGD (Madry et al. 2018) on the token embedding matrix.

use anyhow::{Result, bail};
use model::{Attack, Train};
use tch::{Kind, Tensor};

use crate::parameters::Parameters;
use crate::{embeddings, shim};

/// With the gradients of a step at hand: moves the embeddings to where the loss is higher, adds the gradients of `learn` there, and moves them
/// back. Does nothing when the settings do not ask for it.
pub fn learn_disturbed(settings: &Train, parameters: &Parameters, mut learn: impl FnMut() -> Result<()>) -> Result<()> {
    let Some(settings) = &settings.adversarial else { return Ok(()) };
    let embeddings = &disturbable(parameters)?;
    let all = parameters.tensors();
    let plain: Vec<Tensor> = all.iter().map(Tensor::grad).collect();
    let before = embeddings.detach().copy();
    let (steps, size) = match settings.method {
        Attack::Fgm => (1, settings.epsilon),
        Attack::Pgd => (settings.steps, settings.step_size),
    };
    for _ in 0..steps {
        tch::no_grad(|| disturb(embeddings, &before, size, settings.epsilon));
        shim::forget_gradients(&all);
        learn()?;
    }
    tch::no_grad(|| {
        embeddings.shallow_clone().copy_(&before);
        for (tensor, plain) in all.iter().zip(&plain).filter(|(_, plain)| plain.defined()) {
            let _ = shim::gradient(tensor)?.g_add_(plain);
        }
        Ok(())
    })
}

/// The token embeddings of a network.
fn disturbable(parameters: &Parameters) -> Result<Tensor> {
    match embeddings::of(parameters) {
        Some((_, tensor)) if tensor.requires_grad() => Ok(tensor),
        Some((name, _)) => bail!("adversarial: the embeddings {name} are frozen, so no direction for them is known; leave one out"),
        None => bail!("adversarial: this family has no token embeddings to disturb; leave it out"),
    }
}

/// A step of length `size` along the gradient, then back into the ball of radius `epsilon` around the first values.
fn disturb(embeddings: &Tensor, before: &Tensor, size: f64, epsilon: f64) {
    let gradient = embeddings.grad();
    let norm = gradient.norm().double_value(&[]);
    if norm > 0.0 && norm.is_finite() {
        let moved = embeddings.detach() + gradient * (size / norm) - before;
        let distance = moved.norm().to_kind(Kind::Double).double_value(&[]);
        let back = if distance > epsilon { epsilon / distance } else { 1.0 };
        embeddings.shallow_clone().copy_(&(before + moved * back));
    }
}
