//! Sources with targets: what the encoder reads, what the decoder reads, and what it is to say (teacher forcing).

use std::path::Path;

use anyhow::Result;
use model::{Facts, Row};
use tch::{Device, Tensor};
use text::Tokenizer;

use super::{Buffers, there};

/// Seeded span corruption.
#[derive(Clone, Debug)]
pub struct Denoising {
    pub settings: model::Denoise,
    pub seed: u64,
    /// What stands for each span, in order.
    pub sentinels: Vec<i64>,
    /// What both sides end in.
    pub end: i64,
    /// Whether rows are made for causal models, which have one token more than is read at once.
    pub causal: bool,
}

/// Ids of the sentinels of a tokenizer.
pub fn sentinels(tokenizer: &Path) -> Result<Vec<i64>> {
    let vocabulary = Tokenizer::load(tokenizer)?.vocabulary();
    let id = |n: usize| {
        let name = format!("<extra_id_{n}>");
        vocabulary.iter().find(|(_, token, _)| *token == name).map(|(id, _, _)| i64::from(*id))
    };
    let found: Vec<i64> = (0..).map_while(id).collect();
    if found.is_empty() {
        return Err(model::seq2seq::no_sentinels());
    }
    Ok(found)
}

impl Denoising {
    /// Makes a packed row a source with spans cut out, and a target that names them.
    pub fn apply(&self, sample: u64, row: &mut Row) {
        let length = row.tokens.len() - usize::from(self.causal && !row.tokens.is_empty());
        let model::Denoise { probability, mean_length } = self.settings;
        let corrupt =
            |tokens: &[i64], sentinels: &[i64]| shards::corrupt(self.seed, 0, sample, tokens, probability, mean_length, sentinels);
        if row.weights.len() > 1 {
            // The same cuts in the places of tokens tell whose documents the target speaks of.
            let places: Vec<i64> = (0..length as i64).collect();
            let (_, target) = corrupt(&places, &vec![-1; self.sentinels.len()]);
            row.weights = of_target(&target, &row.weights);
        }
        (row.tokens, row.labels) = corrupt(&row.tokens[..length], &self.sentinels);
        for side in [&mut row.tokens, &mut row.labels] {
            side.push(self.end);
        }
    }
}

/// The weights of a target by the places of its tokens: a sentinel (−1) counts as the token after it, the end as the one before it.
fn of_target(places: &[i64], weights: &[f32]) -> Vec<f32> {
    let last = places.last().map_or(0, |place| *place as usize);
    let next = |i: usize| places[i..].iter().find(|place| **place >= 0).map_or(last, |place| *place as usize);
    (0..places.len()).map(next).chain([last]).map(|place| weights[place]).collect()
}

/// The inputs of a decoder.
#[derive(Debug, Default)]
pub struct Targets {
    /// (rows, time), padded on the right.
    ids: Vec<i64>,
    time: usize,
    pub tokens: u64,
}

impl Targets {
    pub fn clear(&mut self) {
        *self = Targets { ids: std::mem::take(&mut self.ids), ..Targets::default() };
        self.ids.clear();
    }

    /// Places of the flattened inputs; 0 when there is no decoder.
    pub fn places(&self) -> usize {
        self.ids.len()
    }

    /// (rows, time)
    pub fn tensor(&self, device: Device) -> Option<Tensor> {
        (!self.ids.is_empty()).then(|| there(&self.ids, device).view([-1, self.time as i64]))
    }
}

impl Buffers {
    /// The decoder begins with the padding token and reads the target up to its last token; each place is to say the next one.
    pub(super) fn teach(&mut self, facts: &Facts, rows: &[Row]) {
        let filler = facts.filler();
        let time = rows.iter().map(|row| row.labels.len()).max().unwrap_or(0);
        self.targets.time = time;
        for (i, row) in rows.iter().enumerate() {
            let first = i * time;
            self.targets.ids.push(filler);
            self.targets.ids.extend_from_slice(&row.labels[..row.labels.len().saturating_sub(1)]);
            self.targets.ids.resize(first + time, filler);
            self.targets.tokens += row.labels.len() as u64;
            self.places.extend((first..first + row.labels.len()).map(|place| place as i64));
            self.labels.extend_from_slice(&row.labels);
            if facts.weights {
                self.weights.extend((0..row.labels.len()).map(|label| row.weight(label)));
            }
        }
    }
}
