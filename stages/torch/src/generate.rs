//! Greedy generation in batches, with the keys and values of earlier tokens kept.
//!
//! Prompts are padded on the left, so that all rows take their next token at the same place; rows that ended leave the batch.

use anyhow::{Result, bail};
use tch::{Kind, Tensor};

use crate::folder::Loaded;
use crate::models::Cache;

/// What follows a prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completion {
    /// Without the token that ended it.
    pub ids: Vec<i64>,
    /// Whether it ended by itself, not by its length.
    pub ended: bool,
}

/// Completes every prompt with the most likely token at a time, until `eos`, `max_new` tokens or the network's last position.
pub fn greedy(loaded: &Loaded, prompts: &[Vec<i64>], eos: i64, max_new: usize) -> Result<Vec<Completion>> {
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let positions = loaded.config.positions as usize;
    if let Some(row) = prompts.iter().position(|prompt| prompt.is_empty() || prompt.len() > positions) {
        bail!("prompt {row} of the batch has {} tokens, the model takes 1 to {positions}", prompts[row].len());
    }
    let mut completions = vec![Completion::default(); prompts.len()];
    let mut live: Vec<usize> = (0..prompts.len()).collect();
    let (device, mut cache) = (loaded.parameters.device(), Cache::new());
    let padding: Vec<i64> = prompts.iter().map(|prompt| (longest - prompt.len()) as i64).collect();
    let mut padding_left = Tensor::from_slice(&padding).unsqueeze(1).to_device(device); // (live, 1)
    let padded: Vec<Vec<i64>> = prompts.iter().map(|prompt| [vec![eos; longest - prompt.len()], prompt.clone()].concat()).collect();
    let mut ids = Tensor::from_slice2(&padded).to_device(device); // (live, new)
    let mut seen = 0; // tokens in the cache
    while !live.is_empty() {
        let new = ids.size()[1];
        let places = Tensor::arange_start(seen, seen + new, (Kind::Int64, device)); // (new)
        let (mask, at) = (mask(&places, &padding_left, seen + new), (&places - &padding_left).clamp_min(0));
        let next: Vec<i64> = tch::no_grad(|| -> Result<Vec<i64>> {
            let hidden = loaded.network.extend(&ids, &at, &mask, &mut cache)?;
            let output = loaded.network.output();
            let last = loaded.network.features(&hidden.select(1, new - 1)); // (live, width)
            Ok(last.linear(output.weight, output.bias).argmax(-1, false).try_into()?)
        })?;
        seen += new;
        let mut kept = Vec::new();
        for (i, row) in live.iter().enumerate() {
            let completion = &mut completions[*row];
            completion.ended = next[i] == eos;
            if !completion.ended {
                completion.ids.push(next[i]);
                let length = prompts[*row].len() + completion.ids.len();
                if completion.ids.len() < max_new && length <= positions {
                    kept.push(i as i64);
                }
            }
        }
        if kept.len() < live.len() {
            let index = Tensor::from_slice(&kept).to_device(device);
            live = kept.iter().map(|i| live[*i as usize]).collect();
            padding_left = padding_left.index_select(0, &index);
            for (keys, values) in cache.iter_mut().flatten() {
                (*keys, *values) = (keys.index_select(0, &index), values.index_select(0, &index));
            }
        }
        let next: Vec<i64> = kept.iter().map(|i| next[*i as usize]).collect();
        ids = Tensor::from_slice(&next).unsqueeze(1).to_device(device);
    }
    Ok(completions)
}

/// (live, 1, new, seen + new): a token looks at itself and at earlier tokens that are no padding.
fn mask(places: &Tensor, padding: &Tensor, total: i64) -> Tensor {
    let keys = Tensor::arange(total, (Kind::Int64, places.device()));
    let earlier = keys.unsqueeze(0).le_tensor(&places.unsqueeze(1)); // (new, total)
    let itself = keys.unsqueeze(0).eq_tensor(&places.unsqueeze(1)); // padding must see something, or it becomes NaN
    let real = keys.unsqueeze(0).ge_tensor(padding).unsqueeze(1); // (live, 1, total)
    earlier.unsqueeze(0).logical_and(&real).logical_or(&itself.unsqueeze(0)).unsqueeze(1)
}
