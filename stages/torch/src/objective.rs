//! One batch through the network: what is learned from it, and how well it is predicted.

use anyhow::Result;
use model::Tags;
use tch::{Kind, Tensor};

use crate::loss::{self, Goal, Sums};
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
    /// What documents count, where they have weights.
    pub weights: Option<Weights>,
    /// Share of each target's probability that is spread over all tokens or classes, when it is learned from.
    pub smoothing: f64,
}

/// Weights of documents, from 0 on, in any scale.
pub struct Weights {
    /// One for each label (predicted), or each row where a row has one answer (batch), f32.
    pub targets: Tensor,
    /// One for each row (batch), f32.
    pub rows: Tensor,
}

impl Weights {
    /// Relative to their mean over a step, f32: equal weights are exactly 1, so that the loss is the plain one.
    fn relative(weights: &Tensor, mean: f64) -> Tensor {
        // Where all of a step weigh nothing, nothing is learned.
        if mean > 0.0 { (weights.to_kind(Kind::Double) / mean).to_kind(Kind::Float) } else { weights.zeros_like() }
    }
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

/// What summed losses are multiplied with to become means over a step, Σ weight × loss / Σ weight where there are weights.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// 1 / predicted.
    pub predicted: f64,
    /// 1 / rows, of pairs of segments.
    pub rows: f64,
    /// Mean weights over the step of what is predicted, and of rows.
    pub mean_weights: [f64; 2],
}

impl Scale {
    pub fn of(predicted: u64, rows: u64) -> Scale {
        Scale { predicted: 1.0 / predicted.max(1) as f64, rows: 1.0 / rows.max(1) as f64, mean_weights: [1.0; 2] }
    }

    /// With the sums of weights over the step.
    pub fn weighted(self, of_predicted: f64, of_rows: f64) -> Scale {
        Scale { mean_weights: [of_predicted * self.predicted, of_rows * self.rows], ..self }
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
    let weights = batch.weights.as_ref().map(|weights| Weights::relative(&weights.targets, scale.mean_weights[0]));
    let tokens = |features: &Tensor, labels: &Tensor| {
        let goal = Goal { labels, weights: weights.as_ref(), scale: scale.predicted, smoothing: batch.smoothing };
        loss::train(features, &network.output(), &goal, kind(bf16))
    };
    let sums = match &batch.targets {
        Targets::Tokens { places, labels } => {
            let places = places.as_ref().map(loss::filled);
            let features = shim::autocast(device, bf16, || hidden().map(|hidden| features(network, &hidden, places.as_ref())))??;
            tokens(&features, labels)?
        }
        Targets::Pairs { places, labels, pairs } => {
            let hidden = shim::autocast(device, bf16, hidden)??;
            // Both losses add their gradients here, so that they go through the network together.
            let leaf = hidden.detach().set_requires_grad(true);
            let places = places.as_ref().map(loss::filled);
            let features = shim::autocast(device, bf16, || features(network, &leaf, places.as_ref()))?;
            let sums = tokens(&features, labels)?;
            let logits = shim::autocast(device, bf16, || network.classify(&leaf, dropout))??;
            let of_rows = batch.weights.as_ref().map(|weights| Weights::relative(&weights.rows, scale.mean_weights[1]));
            let (loss, tally) = pairs_loss(&logits, pairs, of_rows.as_ref());
            (loss * scale.rows).f_backward()?;
            // Of a frozen network, the heads alone learn.
            if hidden.requires_grad() {
                shim::backward(&hidden, &leaf.grad())?;
            }
            Sums { tally: Tally { weighted: sums.tally.weighted, ..tally }, ..sums }
        }
        targets => {
            let logits = heads::logits(network, batch, mode, &tape)?;
            (heads::loss(targets, &logits, batch.smoothing, weights.as_ref())? * scale.predicted).f_backward()?;
            heads::sums(batch, &logits, weights.as_ref())?
        }
    };
    tape.unwind()?;
    Ok(sums)
}

/// The loss to learn from, and the plain one.
fn pairs_loss(logits: &Tensor, pairs: &Tensor, weights: Option<&Tensor>) -> (Tensor, Tally) {
    let loss = |reduction| logits.to_kind(Kind::Float).cross_entropy_loss(pairs, None::<&Tensor>, reduction, -100, 0.0);
    let plain = loss(tch::Reduction::Sum);
    let tally = Tally { pairs: pairs.numel() as u64, pairs_nll: plain.double_value(&[]), ..Tally::default() };
    match weights {
        Some(weights) => ((loss(tch::Reduction::None) * weights).sum(Kind::Float), tally),
        None => (plain, tally),
    }
}

/// Loss and right predictions, without learning.
pub fn evaluate(network: &dyn Network, batch: &Batch, bf16: bool) -> Result<Sums> {
    let device = batch.ids.device();
    let tokens = |hidden: &Tensor, places: Option<&Tensor>, labels: &Tensor| -> Result<Sums> {
        let features = shim::autocast(device, bf16, || features(network, hidden, places))?;
        let (nll, correct) = loss::evaluate(&features, &network.output(), labels, kind(bf16));
        let weighted = batch.weights.as_ref().map(|weights| loss::weighted(&nll, &weights.targets));
        let (nll, correct) = (nll.sum(Kind::Double).double_value(&[]), correct.sum(Kind::Int64).int64_value(&[]) as u64);
        Ok(Sums { nll, count: batch.predicted, correct, tally: Tally { weighted, ..Tally::default() } })
    };
    let hidden = || shim::autocast(device, bf16, || network.hidden(&batch.ids, &batch.seen, 0.0));
    tch::no_grad(|| match &batch.targets {
        Targets::Tokens { places, labels } => tokens(&hidden()?, places.as_ref(), labels),
        Targets::Pairs { places, labels, pairs } => {
            let hidden = hidden()?;
            let sums = tokens(&hidden, places.as_ref(), labels)?;
            let logits = shim::autocast(device, bf16, || network.classify(&hidden, 0.0))??;
            let (_, tally) = pairs_loss(&logits, pairs, None);
            let correct = logits.argmax(-1, false).eq_tensor(pairs).sum(Kind::Int64).int64_value(&[]);
            Ok(Sums { tally: Tally { pairs_correct: correct as u64, weighted: sums.tally.weighted, ..tally }, ..sums })
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
