//! Rows of shards as batches: inputs, what tokens may look at and what is to be predicted, for each layout of tokens.
//!
//! Which row is read when, and what is masked, are pure functions of seed and sample number; see `model::Course` and the crate `shards`.
//! Rows are gathered in plain memory, on any thread ([`Buffers::read`]), and become tensors where they are needed ([`Buffers::batch`]).

mod target;

use anyhow::{Context as _, Result, bail};
use model::{Facts, LabelType, Row, Rows, Sample, Tags};
use shards::{Choose, Hidden, MaskSettings};
use tch::{Device, Tensor};

use crate::models::Seen;
use crate::objective::{Batch, Targets, Weights};

pub use target::{Denoising, sentinels};

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
    /// For encoder–decoder models on packed rows.
    pub denoising: Option<Denoising>,
    /// Whether tokens see their own document alone.
    pub documents: bool,
}

/// What the rows of a layout are answered with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Answer {
    /// The token that follows each: nothing is read from the last one.
    #[default]
    Next,
    /// Tokens that were hidden.
    Hidden,
    /// Tokens that were hidden, and the class of the pair of segments.
    Pair,
    /// What a decoder is to say.
    Target,
    Class,
    Classes,
    Number,
    Tags,
    Span,
}

impl Collate {
    fn answer(&self) -> Result<Answer> {
        Ok(match (self.facts.layout.as_str(), self.facts.label_type) {
            ("packed", _) if self.denoising.is_some() => Answer::Target,
            ("translate", _) => Answer::Target,
            ("packed", _) if self.masking.is_some() => Answer::Hidden,
            ("packed" | "complete", _) => Answer::Next,
            ("pairs", _) if self.masking.is_some() => Answer::Pair,
            // Of text that is not hidden, the class of the pair alone is asked.
            ("pairs", _) | ("classify", LabelType::Class) => Answer::Class,
            ("classify", LabelType::MultiLabel) => Answer::Classes,
            ("classify", LabelType::Number) => Answer::Number,
            ("tag", _) => Answer::Tags,
            ("answer", _) => Answer::Span,
            (layout, _) => bail!("unknown layout `{layout}`"),
        })
    }
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
    /// Which of two texts a token is of, when rows hold two.
    segments: Vec<i64>,
    /// The last token of each row that is none of what fills up rows, for heads of causal networks and of decoders, as transformers has it.
    last: Vec<i64>,
    /// Places of the flattened batch that are predicted.
    places: Vec<i64>,
    /// What is predicted there, or the classes or answers of the rows.
    labels: Vec<i64>,
    /// Classes of pairs.
    pairs: Vec<i64>,
    /// What each label, or each row where a row has one answer, counts in the loss.
    weights: Vec<f32>,
    row_weights: Vec<f32>,
    /// The numbers of the rows, or a 0 or 1 for each class.
    numbers: Vec<f32>,
    tags: Tags,
    answer: Answer,
    /// Padding stands on the right, where no token looks.
    causal: bool,
    tokens: u64,
    /// What a decoder reads.
    targets: target::Targets,
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
        let samples: Vec<u64> = samples.into_iter().collect();
        if let Some(denoising) = &collate.denoising {
            rows.iter_mut().zip(&samples).for_each(|(row, sample)| denoising.apply(*sample, row));
        }
        let (facts, answer) = (&collate.facts, collate.answer()?);
        // What follows the last token is not read from it.
        let length = |row: &Row| row.tokens.len() - usize::from(answer == Answer::Next && !row.tokens.is_empty());
        self.clear(rows.len(), rows.iter().map(length).max().unwrap_or(0));
        self.causal = answer == Answer::Next || (facts.model == "causal" && answer != Answer::Target);
        self.answer = answer;
        if answer == Answer::Tags {
            self.tags = Tags::new(facts.classes.as_deref().unwrap_or_default());
        }
        let filler = facts.filler();
        for ((i, row), sample) in rows.iter_mut().enumerate().zip(samples) {
            if let Some(masking) = collate.masking.as_ref().filter(|_| matches!(answer, Answer::Hidden | Answer::Pair)) {
                self.mask(facts, masking, sample, i, row)?;
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
            if facts.segments {
                self.segments.extend_from_slice(&row.segments);
                self.segments.resize(self.ids.len(), 0);
            }
            if self.causal && answer != Answer::Next {
                // As transformers finds it, so that its padded batches agree: padding may be the end-of-text token.
                self.last.push(row.tokens.iter().rposition(|token| *token != facts.filler()).unwrap_or(0) as i64);
            }
            if facts.model == "encoder-decoder" && matches!(answer, Answer::Class | Answer::Classes | Answer::Number) {
                // The token that ends the text.
                self.last.push(length.saturating_sub(1) as i64);
            }
            self.answer(facts, i, row);
            if facts.weights {
                self.row_weights.push(row.weight(0));
            }
        }
        if answer == Answer::Target {
            self.teach(facts, &rows);
        }
        Ok(())
    }

    /// Notes what a row is answered with.
    fn answer(&mut self, facts: &Facts, i: usize, row: &Row) {
        match self.answer {
            Answer::Next if facts.layout == "complete" => self.predict(facts, i, row, row.labels.get(1..).unwrap_or_default()),
            Answer::Next => self.predict(facts, i, row, row.tokens.get(1..).unwrap_or_default()),
            Answer::Tags => self.predict(facts, i, row, &row.labels),
            // Masks and decoders note theirs themselves.
            Answer::Hidden | Answer::Target => {}
            Answer::Pair => self.pairs.push(row.class),
            Answer::Class => self.labels.push(row.class),
            Answer::Span => self.labels.extend(row.span),
            Answer::Number => self.numbers.push(row.number as f32),
            Answer::Classes => {
                let first = self.numbers.len();
                self.numbers.resize(first + facts.classes.as_ref().map_or(0, Vec::len), 0.0);
                row.classes.iter().for_each(|class| self.numbers[first + *class as usize] = 1.0);
            }
        }
    }

    fn clear(&mut self, rows: usize, time: usize) {
        let Buffers { ids, real, documents, positions, segments, last, places, labels, pairs, numbers, weights, row_weights, .. } = self;
        [ids, documents, positions, segments, last, places, labels, pairs].into_iter().for_each(Vec::clear);
        real.clear();
        [numbers, weights, row_weights].into_iter().for_each(Vec::clear);
        self.targets.clear();
        (self.rows, self.time, self.tokens) = (rows, time, 0);
    }

    /// Each place of a row is to predict its label, unless that is negative.
    fn predict(&mut self, facts: &Facts, i: usize, row: &Row, labels: &[i64]) {
        let first = i * self.time;
        // What is predicted next stands one token further on.
        let ahead = usize::from(self.answer == Answer::Next);
        for (place, label) in labels.iter().enumerate().filter(|(_, label)| **label >= 0) {
            self.places.push((first + place) as i64);
            self.labels.push(*label);
            if facts.weights {
                self.weights.push(row.weight(place + ahead));
            }
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
        if facts.weights {
            self.weights.extend(self.hidden.iter().map(|hidden| row.weight(hidden.position)));
        }
        Ok(())
    }

    /// What the loss is a mean over: tokens, rows, or rows × classes of which each may be.
    pub fn predicted(&self) -> u64 {
        match self.answer {
            Answer::Classes | Answer::Number => self.numbers.len() as u64,
            Answer::Span => self.rows as u64,
            _ => self.labels.len() as u64,
        }
    }

    pub fn rows(&self) -> u64 {
        self.rows as u64
    }

    /// The sum of the weights of what [`Buffers::predicted`] counts; 0 where there are none.
    pub fn weight(&self) -> f64 {
        // A row of several classes counts once for each.
        let weights = self.target_weights();
        sum(weights) * self.predicted() as f64 / weights.len().max(1) as f64
    }

    pub fn weight_of_rows(&self) -> f64 {
        sum(&self.row_weights)
    }

    /// One for each label, or for each row where a row has one answer.
    fn target_weights(&self) -> &[f32] {
        match self.answer {
            Answer::Class | Answer::Classes | Answer::Number | Answer::Span => &self.row_weights,
            _ => &self.weights,
        }
    }

    /// Tokens without padding, of both sides.
    pub fn tokens(&self) -> u64 {
        self.tokens + self.targets.tokens
    }

    /// The input tokens of each row, with what is padding.
    pub fn inputs(&mut self) -> impl Iterator<Item = (&mut [i64], &[bool])> {
        let time = self.time.max(1);
        self.ids.chunks_mut(time).zip(self.real.chunks(time))
    }

    /// The batch as tensors on a device.
    pub fn batch(&self, device: Device) -> Batch {
        let shape = [self.rows as i64, self.time as i64];
        let table = |values: &[i64]| there(values, device).view(shape);
        let padded = self.tokens < self.ids.len() as u64;
        let apart = !self.documents.is_empty();
        let seen = Seen {
            // Padding is no answer, wherever it stands.
            real: (padded && (!self.causal || self.answer == Answer::Span)).then(|| there(&self.real, device).view(shape)),
            documents: apart.then(|| table(&self.documents)),
            positions: apart.then(|| table(&self.positions)),
            segments: (!self.segments.is_empty()).then(|| table(&self.segments)),
            last: (!self.last.is_empty()).then(|| there(&self.last, device)),
            target: self.targets.tensor(device),
            carried: Vec::new(),
        };
        let weights = (!self.row_weights.is_empty())
            .then(|| Weights { targets: there(self.target_weights(), device), rows: there(&self.row_weights, device) });
        Batch { ids: table(&self.ids), seen, targets: self.targets(device), predicted: self.predicted(), weights, smoothing: 0.0 }
    }

    fn targets(&self, device: Device) -> Targets {
        let (labels, places) = (|| there(&self.labels, device), || there(&self.places, device));
        let all = if self.answer == Answer::Target { self.targets.places() } else { self.ids.len() };
        let some_places = || (self.labels.len() != all).then(places);
        match self.answer {
            Answer::Next | Answer::Hidden | Answer::Target => Targets::Tokens { places: some_places(), labels: labels() },
            Answer::Pair => Targets::Pairs { places: some_places(), labels: labels(), pairs: there(&self.pairs, device) },
            Answer::Class => Targets::Classes { labels: labels() },
            Answer::Classes => Targets::Sets { labels: there(&self.numbers, device).view([self.rows as i64, -1]) },
            Answer::Number => Targets::Numbers { values: there(&self.numbers, device) },
            Answer::Tags => Targets::Tags { places: places(), labels: labels(), tags: self.tags.clone() },
            Answer::Span => Targets::Spans { labels: labels().view([-1, 2]) },
        }
    }
}

fn sum(weights: &[f32]) -> f64 {
    weights.iter().copied().map(f64::from).sum()
}

/// Values on a device. To a GPU they go from pinned memory, while the processor goes on; LibTorch keeps that memory until they are there.
fn there<T: tch::kind::Element>(values: &[T], device: Device) -> Tensor {
    let tensor = Tensor::from_slice(values);
    match device {
        Device::Cpu => tensor,
        device => tensor.pin_memory(device).to_device_(device, T::KIND, true, false),
    }
}
