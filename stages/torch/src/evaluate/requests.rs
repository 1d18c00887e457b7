//! Rows of tokens, of which some are predicted: how likely they are, summed by what was asked. Neither the size of batches nor the order of rows
//! changes a sum by more than rounding.

use std::cmp::Reverse;

use anyhow::Result;
use model::Family;
use tch::{Kind, Tensor};

use crate::folder::Loaded;
use crate::models::Seen;
use crate::objective::{self, Batch, Targets};

/// What goes through the network at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What is read.
    pub ids: Vec<i64>,
    pub targets: Vec<Target>,
}

/// A token that is predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Of the row, where it is predicted.
    pub place: usize,
    pub label: i64,
    /// The number of what was asked.
    pub request: usize,
}

/// What was found of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sum {
    /// In nats.
    pub log_likelihood: f64,
    /// The sum of the tokens' probabilities.
    pub probability: f64,
    pub tokens: i64,
    /// Tokens that were the likeliest of all.
    pub correct: i64,
}

impl Row {
    /// The last `predicted` of some tokens, each after all before it.
    pub fn after(tokens: &[i64], predicted: usize, request: usize) -> Row {
        let first = tokens.len() - predicted;
        let target = |place: usize| Target { place: place - 1, label: tokens[place], request };
        Row { ids: tokens[..tokens.len() - 1].to_vec(), targets: (first..tokens.len()).map(target).collect() }
    }
}

/// Sums by request. Equal rows, such as a prompt whose choices are a token each, go through the network once. `tick` hears how many rows are
/// done and tells whether to go on; `None` when it told to stop.
pub fn sums(
    loaded: &Loaded,
    mut rows: Vec<Row>,
    requests: usize,
    batch_size: usize,
    mut tick: impl FnMut(usize) -> bool,
) -> Result<Option<Vec<Sum>>> {
    rows.retain(|row| !row.targets.is_empty());
    rows.sort_by(|a, b| (Reverse(a.ids.len()), &a.ids).cmp(&(Reverse(b.ids.len()), &b.ids)));
    let mut sums = vec![Sum::default(); requests];
    let equal: Vec<&[Row]> = rows.chunk_by(|a, b| a.ids == b.ids).collect();
    for batch in equal.chunks(batch_size) {
        if !tick(0) {
            return Ok(None);
        }
        let targets: Vec<&Target> = batch.iter().flat_map(|rows| *rows).flat_map(|row| &row.targets).collect();
        let (nll, correct) = objective::per_token(loaded.network.as_ref(), &tensors(loaded, batch))?;
        let (nll, correct) = (Vec::<f64>::try_from(nll.to_kind(Kind::Double))?, Vec::<bool>::try_from(correct)?);
        for ((target, nll), correct) in targets.into_iter().zip(nll).zip(correct) {
            let sum = &mut sums[target.request];
            sum.log_likelihood -= nll;
            sum.probability += (-nll).exp();
            sum.tokens += 1;
            sum.correct += i64::from(correct);
        }
        if !tick(batch.iter().map(|rows| rows.len()).sum()) {
            return Ok(None);
        }
    }
    Ok(Some(sums))
}

/// Rows, of which equal ones are one, padded on the right.
fn tensors(loaded: &Loaded, batch: &[&[Row]]) -> Batch {
    let (device, filler) = (loaded.parameters.device(), loaded.config.special.pad.unwrap_or(0));
    let time = batch.iter().map(|rows| rows[0].ids.len()).max().unwrap_or(0);
    let (mut ids, mut real) = (Vec::new(), Vec::new());
    let (mut places, mut labels): (Vec<i64>, Vec<i64>) = Default::default();
    for (i, rows) in batch.iter().enumerate() {
        ids.extend_from_slice(&rows[0].ids);
        real.resize(ids.len(), true);
        ids.resize((i + 1) * time, filler);
        real.resize(ids.len(), false);
        for target in rows.iter().flat_map(|row| &row.targets) {
            places.push((i * time + target.place) as i64);
            labels.push(target.label);
        }
    }
    let shape = [batch.len() as i64, time as i64];
    // A causal network does not look at what stands behind.
    let looks = loaded.config.family == Family::Bert && real.contains(&false);
    let there = |values: &[i64]| Tensor::from_slice(values).to_device(device);
    Batch {
        ids: there(&ids).view(shape),
        seen: Seen { real: looks.then(|| Tensor::from_slice(&real).to_device(device).view(shape)), ..Seen::default() },
        predicted: labels.len() as u64,
        targets: Targets::Tokens { places: Some(there(&places)), labels: there(&labels) },
        weights: None,
        smoothing: 0.0,
    }
}
