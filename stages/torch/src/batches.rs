//! Rows of shards as batches: inputs, padding masks and what is to be predicted, for each layout of tokens.
//!
//! Which row is read when, and what is masked, are pure functions of seed and sample number; see the crate `shards`.

use anyhow::{Context as _, Result, bail};
use engine::Artifact;
use model::{Family, NetworkConfig};
use shards::MaskSettings;
use tch::Tensor;

use crate::objective::{Batch, Targets};

/// The facts of a tokens artifact.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `packed`, `classify` or `complete`.
    pub layout: String,
    pub sequence_length: i64,
    pub vocab_size: i64,
    /// `causal` or `masked`.
    pub model: String,
    pub pad_id: Option<i64>,
    pub bos_id: Option<i64>,
    pub eos_id: Option<i64>,
    pub mask_id: Option<i64>,
    /// Ids that are never masked.
    pub special_ids: Vec<u32>,
    pub classes: Option<Vec<String>>,
    pub splits: Vec<String>,
}

/// Seeded masking of 80/10/10.
#[derive(Clone, Copy, Debug)]
pub struct Masking {
    pub probability: f64,
    pub seed: u64,
}

impl Facts {
    pub fn read(tokens: &Artifact) -> Result<Facts> {
        let id = |name: &str| tokens.fact::<Option<i64>>(name);
        let table = tokens.table("tokens")?;
        let mut splits: Vec<String> = table.files.iter().filter(|file| file.rows > 0).filter_map(|file| file.split.clone()).collect();
        splits.dedup();
        let ids = [id("pad_id")?, id("bos_id")?, id("eos_id")?, id("cls_id")?, id("sep_id")?, id("mask_id")?];
        Ok(Facts {
            layout: tokens.fact("layout")?,
            sequence_length: tokens.fact("sequence_length")?,
            vocab_size: tokens.fact("vocab_size")?,
            model: tokens.fact("model")?,
            pad_id: ids[0],
            bos_id: ids[1],
            eos_id: ids[2],
            mask_id: ids[5],
            special_ids: ids.into_iter().flatten().map(|id| id as u32).collect(),
            classes: tokens.fact::<Option<Vec<String>>>("classes").unwrap_or_default(),
            splits,
        })
    }

    pub fn has_split(&self, split: &str) -> bool {
        self.splits.iter().any(|name| name == split)
    }

    /// Whether a network can read these tokens.
    pub fn check(&self, config: &NetworkConfig) -> Result<()> {
        if config.vocab_size != self.vocab_size {
            bail!(
                "the model has a vocabulary of {}, the tokens one of {}; they come from different tokenizers",
                config.vocab_size,
                self.vocab_size
            );
        }
        if config.positions < self.sequence_length {
            bail!(
                "the model takes at most {} tokens, the rows have {}; tokenize with sequence_length = {}",
                config.positions,
                self.sequence_length,
                config.positions
            );
        }
        let wanted = match config.family {
            Family::Gpt => "causal",
            Family::Bert => "masked",
        };
        if self.model != wanted {
            bail!("a model of the family {} needs tokens for {wanted} models, these are for {} ones", config.family.name(), self.model);
        }
        Ok(())
    }
}

/// A row taken out of a shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Without padding.
    pub tokens: Vec<i64>,
    /// What to predict at each place, or −100: examples of the layout complete.
    pub labels: Vec<i64>,
    /// Index of the class: examples of the layout classify.
    pub class: i64,
}

/// Makes a batch of rows; `samples` numbers them for the masks.
pub fn collate(facts: &Facts, rows: &[Row], samples: &[u64], masking: Option<&Masking>) -> Result<Batch> {
    match (facts.layout.as_str(), masking) {
        ("packed", None) => Ok(next_tokens(facts, rows, |row| row.tokens.get(1..).unwrap_or_default().to_vec())),
        ("complete", _) => Ok(next_tokens(facts, rows, |row| row.labels.get(1..).unwrap_or_default().to_vec())),
        ("packed", Some(masking)) => masked_tokens(facts, rows, samples, masking),
        ("classify", _) => Ok(classes(facts, rows)),
        (layout, _) => bail!("unknown layout `{layout}`"),
    }
}

/// (rows, time) with padding on the right, and the real tokens in it.
fn pad(facts: &Facts, rows: &[&[i64]]) -> (Tensor, Option<Tensor>, u64) {
    let time = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let filler = facts.pad_id.or(facts.eos_id).unwrap_or(0);
    let mut ids = Vec::with_capacity(rows.len() * time);
    let mut real = Vec::with_capacity(rows.len() * time);
    for row in rows {
        ids.extend_from_slice(row);
        ids.resize(ids.len() + time - row.len(), filler);
        real.resize(real.len() + row.len(), true);
        real.resize(ids.len(), false);
    }
    let shape = [rows.len() as i64, time as i64];
    let tokens = rows.iter().map(|row| row.len() as u64).sum::<u64>();
    let mask = (tokens < ids.len() as u64).then(|| Tensor::from_slice(&real).view(shape));
    (Tensor::from_slice(&ids).view(shape), mask, tokens)
}

/// Causal: what follows each token. Padding stands on the right, where no token looks.
fn next_tokens(facts: &Facts, rows: &[Row], following: impl Fn(&Row) -> Vec<i64>) -> Batch {
    let inputs: Vec<&[i64]> = rows.iter().map(|row| &row.tokens[..row.tokens.len().saturating_sub(1)]).collect();
    let (ids, _, tokens) = pad(facts, &inputs);
    let time = ids.size()[1] as usize;
    let (mut places, mut labels) = (Vec::new(), Vec::new());
    for (i, row) in rows.iter().enumerate() {
        for (place, label) in following(row).into_iter().enumerate().filter(|(_, label)| *label >= 0) {
            places.push((i * time + place) as i64);
            labels.push(label);
        }
    }
    token_batch(ids, None, tokens, places, labels)
}

fn masked_tokens(facts: &Facts, rows: &[Row], samples: &[u64], masking: &Masking) -> Result<Batch> {
    let mask_id = facts.mask_id.context("the tokenizer has no mask token, so no token can be masked; learn a WordPiece tokenizer")?;
    let (mask_id, vocabulary_size) = (u32::try_from(mask_id)?, u32::try_from(facts.vocab_size)?);
    let settings = MaskSettings { probability: masking.probability, mask_id, vocabulary_size, special_ids: &facts.special_ids };
    let time = rows.iter().map(|row| row.tokens.len()).max().unwrap_or(0);
    let (mut shown, mut places, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (row, sample)) in rows.iter().zip(samples).enumerate() {
        let (tokens, answers) = shards::mask_tokens(masking.seed, 0, *sample, &row.tokens, &settings);
        for (place, label) in answers.into_iter().enumerate().filter(|(_, label)| *label != shards::IGNORE) {
            places.push((i * time + place) as i64);
            labels.push(label);
        }
        shown.push(tokens);
    }
    let (ids, mask, tokens) = pad(facts, &shown.iter().map(Vec::as_slice).collect::<Vec<_>>());
    Ok(token_batch(ids, mask, tokens, places, labels))
}

fn token_batch(ids: Tensor, mask: Option<Tensor>, tokens: u64, places: Vec<i64>, labels: Vec<i64>) -> Batch {
    let predicted = labels.len() as u64;
    let all = labels.len() == ids.numel();
    let places = (!all).then(|| Tensor::from_slice(&places));
    Batch { ids, mask, targets: Targets::Tokens { places, labels: Tensor::from_slice(&labels) }, predicted, tokens }
}

fn classes(facts: &Facts, rows: &[Row]) -> Batch {
    let (ids, mask, tokens) = pad(facts, &rows.iter().map(|row| row.tokens.as_slice()).collect::<Vec<_>>());
    let labels = rows.iter().map(|row| row.class).collect::<Vec<_>>();
    let labels = Tensor::from_slice(&labels);
    Batch { ids, mask, targets: Targets::Classes { labels }, predicted: rows.len() as u64, tokens }
}
