//! Rows of shards as batches: inputs, what tokens may look at and what is to be predicted, for each layout of tokens.
//!
//! Which row is read when, and what is masked, are pure functions of seed and sample number; see `model::Course` and the crate `shards`.
//! Rows are gathered in plain memory, on any thread ([`Buffers::read`]), and become tensors where they are needed ([`Buffers::batch`]).

use anyhow::{Context as _, Result, bail};
use model::{Facts, Row, Rows, Sample};
use shards::{Choose, Hidden, MaskSettings};
use tch::{Device, Tensor};

use crate::models::Seen;
use crate::objective::{Batch, Targets};

/// Seeded masking of 80/10/10.
#[derive(Clone, Debug)]
pub struct Masking {
    pub probability: f64,
    pub seed: u64,
    pub choose: model::Masking,
    /// By id, whether a token goes on with the word before it; for words and spans.
    pub continues: Vec<bool>,
}

impl Masking {
    /// Each token by itself.
    pub fn of_tokens(probability: f64, seed: u64) -> Masking {
        Masking { probability, seed, choose: model::Masking::Tokens, continues: Vec::new() }
    }
}

/// How rows become batches.
#[derive(Clone, Debug)]
pub struct Collate {
    pub facts: Facts,
    /// For masked models.
    pub masking: Option<Masking>,
    /// Whether tokens see their own document alone.
    pub documents: bool,
}

/// A batch in plain memory, to be used again for another one.
#[derive(Debug, Default)]
pub struct Buffers {
    /// (rows, time), padded on the right.
    ids: Vec<i64>,
    rows: usize,
    time: usize,
    /// True for real tokens.
    real: Vec<bool>,
    /// Numbers of documents and positions within them, when documents are apart.
    documents: Vec<i64>,
    positions: Vec<i64>,
    /// Places of the flattened batch that are predicted.
    places: Vec<i64>,
    /// What is predicted there, or the classes of the rows.
    labels: Vec<i64>,
    classes: bool,
    /// Padding stands on the right, where no token looks.
    causal: bool,
    tokens: u64,
    /// Tokens that masks hide in a row.
    hidden: Vec<Hidden>,
}

impl Buffers {
    /// Reads rows and makes a batch of them.
    pub fn read(&mut self, rows: &Rows, samples: &[Sample], collate: &Collate) -> Result<()> {
        let read = samples.iter().map(|sample| rows.row(sample.row, collate.documents)).collect::<Result<Vec<Row>>>()?;
        self.fill(collate, read, samples.iter().map(|sample| sample.sample))
    }

    /// Makes a batch of rows; `samples` numbers them for the masks.
    pub fn fill(&mut self, collate: &Collate, mut rows: Vec<Row>, samples: impl IntoIterator<Item = u64>) -> Result<()> {
        let causal = match (collate.facts.layout.as_str(), &collate.masking) {
            ("packed", None) | ("complete", _) => true,
            ("packed", Some(_)) | ("classify", _) => false,
            (layout, _) => bail!("unknown layout `{layout}`"),
        };
        // What follows the last token is not read from it.
        let length = |row: &Row| row.tokens.len() - usize::from(causal && !row.tokens.is_empty());
        self.clear(rows.len(), rows.iter().map(length).max().unwrap_or(0));
        let filler = collate.facts.pad_id.or(collate.facts.eos_id).unwrap_or(0);
        for ((i, row), sample) in rows.iter_mut().enumerate().zip(samples) {
            if let ("packed", Some(masking)) = (collate.facts.layout.as_str(), &collate.masking) {
                self.mask(&collate.facts, masking, sample, i, row)?;
            }
            let length = length(row);
            self.ids.extend_from_slice(&row.tokens[..length]);
            self.real.resize(self.ids.len(), true);
            self.ids.resize((i + 1) * self.time, filler);
            self.real.resize(self.ids.len(), false);
            self.tokens += length as u64;
            if collate.documents {
                self.documents.extend(shards::sequence_numbers(&row.boundaries, self.time));
                self.positions.extend(shards::positions(&row.boundaries, self.time));
            }
            match collate.facts.layout.as_str() {
                "classify" => self.labels.push(row.class),
                "complete" => self.predict(i, row.labels.get(1..).unwrap_or_default()),
                _ if causal => self.predict(i, row.tokens.get(1..).unwrap_or_default()),
                _ => {}
            }
        }
        (self.classes, self.causal) = (collate.facts.layout == "classify", causal);
        Ok(())
    }

    fn clear(&mut self, rows: usize, time: usize) {
        let Buffers { ids, real, documents, positions, places, labels, .. } = self;
        [ids, documents, positions, places, labels].into_iter().for_each(Vec::clear);
        real.clear();
        (self.rows, self.time, self.tokens) = (rows, time, 0);
    }

    /// Each place of a row is to predict its label, unless that is negative.
    fn predict(&mut self, row: usize, labels: &[i64]) {
        let first = row * self.time;
        for (place, label) in labels.iter().enumerate().filter(|(_, label)| **label >= 0) {
            self.places.push((first + place) as i64);
            self.labels.push(*label);
        }
    }

    fn mask(&mut self, facts: &Facts, masking: &Masking, sample: u64, i: usize, row: &mut Row) -> Result<()> {
        let mask_id = facts.mask_id.context("the tokenizer has no mask token, so no token can be masked; learn a WordPiece tokenizer")?;
        let settings = MaskSettings {
            probability: masking.probability,
            mask_id: u32::try_from(mask_id)?,
            vocabulary_size: u32::try_from(facts.vocab_size)?,
            special_ids: &facts.special_ids,
            choose: match masking.choose {
                model::Masking::Tokens => Choose::Tokens,
                model::Masking::Words => Choose::Words(&masking.continues),
                model::Masking::Spans => Choose::Spans(&masking.continues),
            },
        };
        self.hidden.clear();
        shards::hide(masking.seed, 0, sample, &mut row.tokens, &settings, &mut self.hidden);
        self.places.extend(self.hidden.iter().map(|hidden| (i * self.time + hidden.position) as i64));
        self.labels.extend(self.hidden.iter().map(|hidden| hidden.label));
        Ok(())
    }

    /// Tokens or examples that are predicted.
    pub fn predicted(&self) -> u64 {
        self.labels.len() as u64
    }

    /// Tokens without padding.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The batch as tensors on a device.
    pub fn batch(&self, device: Device) -> Batch {
        let shape = [self.rows as i64, self.time as i64];
        let (ids, labels) = (there(&self.ids, device).view(shape), there(&self.labels, device));
        let padded = self.tokens < self.ids.len() as u64;
        let apart = !self.documents.is_empty();
        let seen = Seen {
            real: (padded && !self.causal).then(|| there(&self.real, device).view(shape)),
            documents: apart.then(|| there(&self.documents, device).view(shape)),
            positions: apart.then(|| there(&self.positions, device).view(shape)),
        };
        let targets = if self.classes {
            Targets::Classes { labels }
        } else {
            let places = (self.labels.len() != self.ids.len()).then(|| there(&self.places, device));
            Targets::Tokens { places, labels }
        };
        Batch { ids, seen, targets, predicted: self.predicted() }
    }
}

/// Values on a device. To a GPU they go from pinned memory, while the processor goes on; LibTorch keeps that memory until they are there.
fn there<T: tch::kind::Element>(values: &[T], device: Device) -> Tensor {
    let tensor = Tensor::from_slice(values);
    match device {
        Device::Cpu => tensor,
        device => tensor.pin_memory(device).to_device_(device, T::KIND, true, false),
    }
}
