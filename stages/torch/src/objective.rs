//! One batch through the network: what is learned from it, and how well it is predicted.

use anyhow::Result;
use model::Tags;
use tch::{Kind, Tensor};

use crate::loss::{self, Sums};
use crate::models::{Network, Seen};
use crate::tally::Tally;
use crate::tape::Tape;
use crate::{heads, shim};

/// Rows ready for the network.
pub struct Batch {
    /// (batch, time), i64.
    pub ids: Tensor,
    pub seen: Seen,
    pub targets: Targets,
    /// What the loss is a mean over: tokens, rows, or rows × classes of which each may be.
    pub predicted: u64,
    /// Share of each target's probability that is spread over all tokens or classes, when it is learned from.
    pub smoothing: f64,
}

/// What is to be predicted.
pub enum Targets {
    /// Tokens at these places of the flattened batch (predicted), or at all places when `None`.
    Tokens { places: Option<Tensor>, labels: Tensor },
    /// Tokens, and the class of each row's pair of segments (batch).
    Pairs { places: Option<Tensor>, labels: Tensor, pairs: Tensor },
    /// A class per row (batch).
    Classes { labels: Tensor },
    /// 1 for each class of a row, else 0 (batch, classes), f32.
    Sets { labels: Tensor },
    /// A number per row (batch), f32.
    Numbers { values: Tensor },
    /// Classes of the tokens at these places of the flattened batch (predicted).
    Tags { places: Tensor, labels: Tensor, tags: Tags },
    /// First and last token of each row's answer (batch, 2).
    Spans { labels: Tensor },
}

/// What summed losses are multiplied with to become means over a step.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// 1 / predicted.
    pub predicted: f64,
    /// 1 / rows, of pairs of segments.
    pub rows: f64,
}

impl Scale {
    pub fn of(predicted: u64, rows: u64) -> Scale {
        Scale { predicted: 1.0 / predicted.max(1) as f64, rows: 1.0 / rows.max(1) as f64 }
    }
}

/// How a batch goes through the network when it is learned from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    pub dropout: f64,
    pub bf16: bool,
    /// Whether blocks are computed again for their gradients.
    pub recompute: bool,
}

/// The kind of the large products.
pub fn kind(bf16: bool) -> Kind {
    if bf16 { Kind::BFloat16 } else { Kind::Float }
}

/// Head features (predicted, width) of the places that are predicted.
fn features(network: &dyn Network, hidden: &Tensor, places: Option<&Tensor>) -> Tensor {
    let width = hidden.size()[2];
    let rows = hidden.reshape([-1, width]);
    network.features(&places.map(|places| rows.index_select(0, places)).unwrap_or(rows))
}

/// Forward and backward: adds the gradients of the mean loss to the variables.
pub fn learn(network: &dyn Network, batch: &Batch, scale: Scale, mode: Mode) -> Result<Sums> {
    let (device, Mode { dropout, bf16, recompute }) = (batch.ids.device(), mode);
    let tape = Tape::new(recompute, device, bf16);
    let hidden = || network.forward(&batch.ids, &batch.seen, dropout, &tape); // (batch, time, width)
    let sums = match &batch.targets {
        Targets::Tokens { places, labels } => {
            let features = shim::autocast(device, bf16, || hidden().map(|hidden| features(network, &hidden, places.as_ref())))??;
            loss::train(&features, &network.output(), labels, scale.predicted, batch.smoothing, kind(bf16))?
        }
        Targets::Pairs { places, labels, pairs } => {
            let hidden = shim::autocast(device, bf16, hidden)??;
            // Both losses add their gradients here, so that they go through the network together.
            let leaf = hidden.detach().set_requires_grad(true);
            let features = shim::autocast(device, bf16, || features(network, &leaf, places.as_ref()))?;
            let sums = loss::train(&features, &network.output(), labels, scale.predicted, batch.smoothing, kind(bf16))?;
            let logits = shim::autocast(device, bf16, || network.classify(&leaf, dropout))??;
            let (loss, tally) = pairs_loss(&logits, pairs);
            (loss * scale.rows).f_backward()?;
            shim::backward(&hidden, &leaf.grad())?;
            Sums { tally, ..sums }
        }
        targets => {
            let logits = heads::logits(network, batch, mode, &tape)?;
            (heads::loss(targets, &logits, batch.smoothing)? * scale.predicted).f_backward()?;
            let loss = heads::loss(targets, &logits, 0.0)?;
            Sums { nll: loss.double_value(&[]), count: batch.predicted, ..Sums::default() }
        }
    };
    tape.unwind()?;
    Ok(sums)
}

fn pairs_loss(logits: &Tensor, pairs: &Tensor) -> (Tensor, Tally) {
    let loss = logits.to_kind(Kind::Float).cross_entropy_loss(pairs, None::<&Tensor>, tch::Reduction::Sum, -100, 0.0);
    let tally = Tally { pairs: pairs.numel() as u64, pairs_nll: loss.double_value(&[]), ..Tally::default() };
    (loss, tally)
}

/// Loss and right predictions, without learning.
pub fn evaluate(network: &dyn Network, batch: &Batch, bf16: bool) -> Result<Sums> {
    let device = batch.ids.device();
    let tokens = |hidden: &Tensor, places: Option<&Tensor>, labels: &Tensor| -> Result<Sums> {
        let features = shim::autocast(device, bf16, || features(network, hidden, places))?;
        let (nll, correct) = loss::evaluate(&features, &network.output(), labels, kind(bf16));
        let (nll, correct) = (nll.sum(Kind::Double).double_value(&[]), correct.sum(Kind::Int64).int64_value(&[]) as u64);
        Ok(Sums { nll, count: batch.predicted, correct, ..Sums::default() })
    };
    let hidden = || shim::autocast(device, bf16, || network.hidden(&batch.ids, &batch.seen, 0.0));
    tch::no_grad(|| match &batch.targets {
        Targets::Tokens { places, labels } => tokens(&hidden()?, places.as_ref(), labels),
        Targets::Pairs { places, labels, pairs } => {
            let hidden = hidden()?;
            let sums = tokens(&hidden, places.as_ref(), labels)?;
            let logits = shim::autocast(device, bf16, || network.classify(&hidden, 0.0))??;
            let (_, tally) = pairs_loss(&logits, pairs);
            let correct = logits.argmax(-1, false).eq_tensor(pairs).sum(Kind::Int64).int64_value(&[]);
            Ok(Sums { tally: Tally { pairs_correct: correct as u64, ..tally }, ..sums })
        }
        _ => heads::evaluate(network, batch, bf16),
    })
}

/// Negative log-likelihood (predicted, f32) and rightness (predicted, bool) of every predicted token, in order.
pub fn per_token(network: &dyn Network, batch: &Batch) -> Result<(Tensor, Tensor)> {
    let Targets::Tokens { places, labels } = &batch.targets else { anyhow::bail!("a class is no token") };
    let features = tch::no_grad(|| features(network, &network.hidden(&batch.ids, &batch.seen, 0.0), places.as_ref()));
    Ok(loss::evaluate(&features, &network.output(), labels, Kind::Float))
}
