//! Heads that speak of texts, of tokens or of answers: what they say of a batch, its loss, and how much of it is right.
//!
//! Losses are those of transformers: cross entropy; binary cross entropy over all classes; squared error; for answers the mean of the cross entropies
//! of start and end. Padding has no say in where an answer stands, so that a loss does not depend on the batch.

use std::collections::HashSet;

use anyhow::{Result, bail};
use tch::{Kind, Reduction, Tensor};

use crate::loss::Sums;
use crate::models::{Network, Seen};
use crate::objective::{Batch, Mode, Targets};
use crate::shim;
use crate::tally::Tally;
use crate::tape::Tape;

/// What the head says, f32: (batch, outputs) of texts, (labelled tokens, classes) of tags, (batch, 2, time) of answers.
pub fn logits<'a>(network: &'a dyn Network, batch: &Batch, mode: Mode, tape: &Tape<'a>) -> Result<Tensor> {
    let dropout = mode.dropout;
    let logits = shim::autocast(batch.ids.device(), mode.bf16, || {
        let hidden = network.forward(&batch.ids, &batch.seen, dropout, tape)?; // (batch, time, width)
        match &batch.targets {
            Targets::Tags { places, .. } => network.label(&hidden.reshape([-1, hidden.size()[2]]).index_select(0, places), dropout),
            Targets::Spans { .. } => Ok(network.label(&hidden, dropout)?.transpose(1, 2)),
            _ => classify(network, &hidden, &batch.seen, dropout),
        }
    })??
    .to_kind(Kind::Float);
    Ok(match (&batch.targets, &batch.seen.real) {
        (Targets::Spans { .. }, Some(real)) => logits.masked_fill(&real.logical_not().unsqueeze(1), f64::NEG_INFINITY),
        _ => logits,
    })
}

/// What the head for texts says (batch, outputs).
pub fn classify(network: &dyn Network, hidden: &Tensor, seen: &Seen, dropout: f64) -> Result<Tensor> {
    match &seen.last {
        None => network.classify(hidden, dropout),
        Some(last) => {
            let width = hidden.size()[2];
            network.classify(&hidden.gather(1, &last.view([-1, 1, 1]).expand([-1, 1, width], false), false), dropout)
        }
    }
}

/// The summed loss of what a head says, each label or row times its weight where there are weights. Of one class among several, `smoothing` of its
/// probability is spread over all of them.
pub fn loss(targets: &Targets, logits: &Tensor, smoothing: f64, weights: Option<&Tensor>) -> Result<Tensor> {
    let Some(weights) = weights else { return reduced(targets, logits, smoothing, Reduction::Sum) };
    let loss = reduced(targets, logits, smoothing, Reduction::None)?; // (labels), (batch), (batch, classes) or (batch × 2)
    let count = weights.size()[0];
    let each = loss.view([count, loss.numel() as i64 / count.max(1)]); // (weights, losses of each)
    Ok((each * weights.unsqueeze(1)).sum(Kind::Float))
}

fn reduced(targets: &Targets, logits: &Tensor, smoothing: f64, reduction: Reduction) -> Result<Tensor> {
    let entropy =
        |logits: &Tensor, labels: &Tensor, smoothing| logits.cross_entropy_loss(labels, None::<&Tensor>, reduction, -100, smoothing);
    Ok(match targets {
        Targets::Classes { labels } | Targets::Tags { labels, .. } => entropy(logits, labels, smoothing),
        Targets::Sets { labels } => logits.binary_cross_entropy_with_logits(labels, None::<&Tensor>, None::<&Tensor>, reduction),
        Targets::Numbers { values } => logits.squeeze_dim(-1).mse_loss(values, reduction),
        Targets::Spans { labels } => entropy(&logits.reshape([-1, logits.size()[2]]), &labels.reshape([-1]), 0.0) * 0.5,
        Targets::Tokens { .. } | Targets::Pairs { .. } => bail!("tokens of the vocabulary have a head of their own"),
    })
}

/// The loss without smoothing, plain and weighted.
pub fn sums(batch: &Batch, logits: &Tensor, weights: Option<&Tensor>) -> Result<Sums> {
    let loss = |weights| -> Result<f64> { Ok(tch::no_grad(|| loss(&batch.targets, logits, 0.0, weights))?.double_value(&[])) };
    let mut sums = Sums { nll: loss(None)?, count: batch.predicted, ..Sums::default() };
    if let Some(weights) = weights {
        // A row of several classes counts once for each.
        let each = batch.predicted as f64 / weights.numel().max(1) as f64;
        sums.tally.weighted = Some([loss(Some(weights))?, weights.sum(Kind::Double).double_value(&[]) * each]);
    }
    Ok(sums)
}

/// Loss and right predictions, without learning.
pub fn evaluate(network: &dyn Network, batch: &Batch, bf16: bool) -> Result<Sums> {
    let logits = logits(network, batch, Mode { bf16, ..Mode::default() }, &Tape::off())?;
    let sums = sums(batch, &logits, batch.weights.as_ref().map(|weights| &weights.targets))?;
    let count = |right: Tensor| right.sum(Kind::Int64).int64_value(&[]) as u64;
    let mut tally = Tally::default();
    let correct = match &batch.targets {
        Targets::Classes { labels } => count(logits.argmax(-1, false).eq_tensor(labels)),
        Targets::Sets { labels } => {
            let (found, gold) = (logits.gt(0.0), labels.gt(0.5));
            tally.hits = count(found.logical_and(&gold));
            (tally.predicted, tally.gold) = (count(found.shallow_clone()), count(gold.shallow_clone()));
            count(found.eq_tensor(&gold))
        }
        Targets::Numbers { values } => {
            let (found, gold) = (Vec::<f32>::try_from(logits.reshape([-1]))?, Vec::<f32>::try_from(values)?);
            found.iter().zip(gold).for_each(|(found, gold)| tally.number(f64::from(*found), f64::from(gold)));
            0
        }
        Targets::Tags { places, labels, .. } => {
            let found = logits.argmax(-1, false);
            tally = entities(&batch.targets, batch.ids.size()[1], &Vec::try_from(places)?, &found, labels)?;
            count(found.eq_tensor(labels))
        }
        Targets::Spans { labels } => count(logits.argmax(-1, false).eq_tensor(labels).all_dim(-1, false)),
        Targets::Tokens { .. } | Targets::Pairs { .. } => 0,
    };
    Ok(Sums { correct, tally: Tally { weighted: sums.tally.weighted, ..tally }, ..sums })
}

/// Counts entities; `places` tell the rows that the labelled tokens stand in, one after another.
fn entities(targets: &Targets, time: i64, places: &[i64], found: &Tensor, gold: &Tensor) -> Result<Tally> {
    let Targets::Tags { tags, .. } = targets else { return Ok(Tally::default()) };
    let (found, gold): (Vec<i64>, Vec<i64>) = (found.try_into()?, gold.try_into()?);
    let mut tally = Tally::default();
    let mut first = 0;
    for row in places.chunk_by(|a, b| a / time == b / time) {
        let range = first..first + row.len();
        let of = |classes: &[i64]| tags.entities(classes[range.clone()].iter().map(|class| *class as usize));
        let (found, gold) = (of(&found), HashSet::<_>::from_iter(of(&gold)));
        tally.hits += found.iter().filter(|entity| gold.contains(*entity)).count() as u64;
        tally.predicted += found.len() as u64;
        tally.gold += gold.len() as u64;
        first = range.end;
    }
    Ok(tally)
}
