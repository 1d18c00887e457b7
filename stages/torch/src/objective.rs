//! One batch through the network: what is learned from it, and how well it is predicted.

use anyhow::Result;
use tch::{Kind, Tensor};

use crate::loss::{self, Sums};
use crate::models::{Network, Seen};
use crate::shim;

/// Rows ready for the network.
pub struct Batch {
    /// (batch, time), i64.
    pub ids: Tensor,
    pub seen: Seen,
    pub targets: Targets,
    /// Tokens or examples that are predicted.
    pub predicted: u64,
}

/// What is to be predicted.
pub enum Targets {
    /// Tokens at these places of the flattened batch (predicted), or at all places when `None`.
    Tokens { places: Option<Tensor>, labels: Tensor },
    /// A class per row (batch).
    Classes { labels: Tensor },
}

/// The kind of the large products.
pub fn kind(bf16: bool) -> Kind {
    if bf16 { Kind::BFloat16 } else { Kind::Float }
}

/// Head features (predicted, width) of the places that are predicted.
fn features(network: &dyn Network, batch: &Batch, places: Option<&Tensor>, dropout: f64) -> Tensor {
    let hidden = network.hidden(&batch.ids, &batch.seen, dropout); // (batch, time, width)
    let width = hidden.size()[2];
    let rows = hidden.reshape([-1, width]);
    network.features(&places.map(|places| rows.index_select(0, places)).unwrap_or(rows))
}

/// Forward and backward: adds the gradients of `scale` times the summed loss to the variables.
pub fn learn(network: &dyn Network, batch: &Batch, scale: f64, dropout: f64, bf16: bool) -> Result<Sums> {
    let device = batch.ids.device();
    match &batch.targets {
        Targets::Tokens { places, labels } => {
            let features = shim::autocast(device, bf16, || features(network, batch, places.as_ref(), dropout))?;
            loss::train(&features, &network.output(), labels, scale, kind(bf16))
        }
        Targets::Classes { labels } => {
            let logits = shim::autocast(device, bf16, || network.classify(&network.hidden(&batch.ids, &batch.seen, dropout), dropout))??;
            let loss = logits.to_kind(Kind::Float).cross_entropy_loss(labels, None::<&Tensor>, tch::Reduction::Sum, -100, 0.0);
            (&loss * scale).f_backward()?;
            Ok(Sums { nll: loss.double_value(&[]), count: batch.predicted, correct: 0 })
        }
    }
}

/// Loss and right predictions, without learning.
pub fn evaluate(network: &dyn Network, batch: &Batch, bf16: bool) -> Result<Sums> {
    let device = batch.ids.device();
    tch::no_grad(|| match &batch.targets {
        Targets::Tokens { places, labels } => {
            let features = shim::autocast(device, bf16, || features(network, batch, places.as_ref(), 0.0))?;
            let (nll, correct) = loss::evaluate(&features, &network.output(), labels, kind(bf16));
            Ok(Sums {
                nll: nll.sum(Kind::Double).double_value(&[]),
                count: batch.predicted,
                correct: correct.sum(Kind::Int64).int64_value(&[]) as u64,
            })
        }
        Targets::Classes { labels } => {
            let hidden = || network.classify(&network.hidden(&batch.ids, &batch.seen, 0.0), 0.0);
            let logits = shim::autocast(device, bf16, hidden)??.to_kind(Kind::Float);
            let loss = logits.cross_entropy_loss(labels, None::<&Tensor>, tch::Reduction::Sum, -100, 0.0);
            let correct = logits.argmax(-1, false).eq_tensor(labels).sum(Kind::Int64).int64_value(&[]);
            Ok(Sums { nll: loss.double_value(&[]), count: batch.predicted, correct: correct as u64 })
        }
    })
}

/// Negative log-likelihood (predicted, f32) and rightness (predicted, bool) of every predicted token, in order.
pub fn per_token(network: &dyn Network, batch: &Batch) -> Result<(Tensor, Tensor)> {
    let Targets::Tokens { places, labels } = &batch.targets else { anyhow::bail!("a class is no token") };
    let features = tch::no_grad(|| features(network, batch, places.as_ref(), 0.0));
    Ok(loss::evaluate(&features, &network.output(), labels, Kind::Float))
}
