//! Likelihoods of packed text: one row for each piece of a document in a row of tokens, so that they can be summed by document or by anything that
//! is known of documents.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};
use engine::Artifact;
use model::seeds::{Purpose, derive};
use model::{Family, Piece, Report};
use serde_json::json;
use tch::Kind;

use super::parts::{CARRIED_ROWS, Part};
use super::{Work, column, ids};
use crate::batches::{Buffers, Collate, Masking};
use crate::carry;
use crate::folder;
use crate::objective::{self, Targets};
use crate::tables::Column;
use crate::worker::Worker;

impl Work<'_> {
    pub(super) fn likelihoods(&self, worker: &mut Worker) -> Result<Option<Report>> {
        let masked = self.loaded.config.family == Family::Bert;
        let seed = derive(self.job.seed, Purpose::PredictMasks, 0);
        let collate = self.collate(masked.then_some(Masking::of_tokens(self.settings.masked_probability, seed)));
        let known = Known {
            unigrams: Unigrams::read(self.tokens, self.facts.vocab_size)?,
            bytes: if masked { None } else { tokenizer_bytes(self.model)? },
            // What is predicted next stands one token further on.
            ahead: usize::from(!masked),
        };
        if self.parts(worker, "rows", |part| self.likelihoods_of(part, &collate, &known))?.is_none() {
            return Ok(None);
        }
        let mut facts = vec![("task", json!("language-modelling")), ("unigram_smoothing", json!("add-one over the train split"))];
        if self.carries() {
            facts.push(("carried_rows", json!(CARRIED_ROWS)));
        }
        if masked {
            let metric = "likelihood of seeded masked tokens, 80/10/10, the others visible";
            facts.push(("masks", json!({"metric": metric, "probability": self.settings.masked_probability, "seed": seed})));
        }
        Ok(Some(self.report(facts)))
    }

    fn likelihoods_of(&self, part: &mut Part, collate: &Collate, known: &Known) -> Result<Option<Vec<Column>>> {
        let pieces = part.rows.clone().map(|row| self.data.pieces(row)).collect::<Result<Vec<_>>>()?;
        let mut sums: Vec<Vec<Sums>> = pieces.iter().map(|pieces| vec![Sums::default(); pieces.len()]).collect();
        let (device, first) = (self.loaded.parameters.device(), part.rows.start);
        let lanes = (part.len() as u64).div_ceil(CARRIED_ROWS);
        let carried = carry::first(self.carries(), lanes, &self.loaded.config, device);
        let mut buffers = Buffers::default();
        let done = part.batches(|samples| {
            buffers.read(self.data, samples, collate)?;
            let batch = buffers.batch(tch::Device::Cpu);
            let Targets::Tokens { places, labels } = &batch.targets else { bail!("packed rows have tokens as targets") };
            let time = batch.ids.size()[1] as usize;
            let places: Vec<i64> = match places {
                Some(places) => places.try_into()?,
                None => (0..batch.ids.numel() as i64).collect(),
            };
            let labels: Vec<i64> = labels.try_into()?;
            let (nll, correct) = objective::per_token(self.loaded.network.as_ref(), &carry::with(buffers.batch(device), &carried))?;
            let (nll, correct) = (Vec::<f64>::try_from(nll.to_kind(Kind::Double))?, Vec::<bool>::try_from(correct)?);
            for (i, place) in places.into_iter().enumerate() {
                let row = (samples[place as usize / time].row - first) as usize;
                let piece = piece_of(&pieces[row], place as usize % time + known.ahead);
                sums[row].get_mut(piece).context("a token of no document")?.add(labels[i], nll[i], correct[i], known);
            }
            Ok(())
        })?;
        if done.is_none() {
            return Ok(None);
        }
        let all =
            (first..).zip(pieces.iter().zip(&sums)).flat_map(|(row, (pieces, sums))| pieces.iter().zip(sums).map(move |of| (row, of)));
        // Of a piece of which nothing is predicted there is nothing to say.
        Ok(Some(columns(&all.filter(|(_, (_, sums))| sums.tokens > 0).collect::<Vec<_>>())?))
    }
}

/// The piece that a token of a row belongs to. Token 0 is context of the first one.
fn piece_of(pieces: &[Piece], token: usize) -> usize {
    let mut end = 0;
    let before = |piece: &&Piece| {
        end += piece.length as usize;
        end < token
    };
    pieces.iter().take_while(before).count()
}

/// What is known of tokens besides what the model says.
struct Known {
    unigrams: Unigrams,
    /// Bytes of text by token, where the tokenizer is byte-level and every token is predicted.
    bytes: Option<Vec<u32>>,
    ahead: usize,
}

fn tokenizer_bytes(model: &Artifact) -> Result<Option<Vec<u32>>> {
    Ok(text::Tokenizer::load(&model.dir.join(folder::MODEL))?.bytes_of_tokens())
}

/// Sums of a piece.
#[derive(Clone, Default)]
struct Sums {
    nll: f64,
    tokens: i64,
    correct: i64,
    unigram_nll: f64,
    bytes: Option<i64>,
}

impl Sums {
    fn add(&mut self, token: i64, nll: f64, correct: bool, known: &Known) {
        self.nll += nll;
        self.tokens += 1;
        self.correct += i64::from(correct);
        self.unigram_nll += known.unigrams.nll(token);
        if let Some(bytes) = &known.bytes {
            *self.bytes.get_or_insert(0) += i64::from(bytes.get(token as usize).copied().unwrap_or(0));
        }
    }
}

fn columns(rows: &[(u64, (&Piece, &Sums))]) -> Result<Vec<Column>> {
    let integers =
        |of: fn(&Sums) -> i64| -> ArrayRef { Arc::new(rows.iter().map(|(_, (_, sums))| Some(of(sums))).collect::<Int64Array>()) };
    let floats =
        |of: fn(&Sums) -> f64| -> ArrayRef { Arc::new(rows.iter().map(|(_, (_, sums))| Some(of(sums))).collect::<Float64Array>()) };
    let numbers: Int64Array = rows.iter().map(|(row, _)| Some(*row as i64)).collect();
    let starts: Int64Array = rows.iter().map(|(_, (piece, _))| piece.start).collect();
    let bytes: Int64Array = rows.iter().map(|(_, (_, sums))| sums.bytes).collect();
    Ok(vec![
        ids(rows.iter().map(|(_, (piece, _))| piece.document))?,
        column("row", Arc::new(numbers)),
        Column(Field::new("start", DataType::Int64, true), Arc::new(starts)),
        column("nll", floats(|sums| sums.nll)),
        column("tokens", integers(|sums| sums.tokens)),
        column("correct", integers(|sums| sums.correct)),
        Column(Field::new("bytes", DataType::Int64, true), Arc::new(bytes)),
        column("unigram_nll", floats(|sums| sums.unigram_nll)),
    ])
}

/// The add-one unigram model of the train split.
struct Unigrams {
    counts: Vec<u64>,
    total: u64,
}

impl Unigrams {
    fn read(tokens: &Artifact, vocab_size: i64) -> Result<Unigrams> {
        let table = tokens.table("unigrams")?;
        let mut counts = vec![0; vocab_size as usize];
        for file in 0..table.files.len() {
            for batch in table.read(file, Some(&["split", "token", "count"]), 8192)? {
                let batch = batch?;
                let column = |name: &str| batch.column_by_name(name).with_context(|| format!("table `unigrams` has no column {name}"));
                let split = arrow::compute::cast(column("split")?, &DataType::Utf8)?;
                let [token, count] = [cast_integers(column("token")?)?, cast_integers(column("count")?)?];
                let split = split.as_any().downcast_ref::<StringArray>().context("column split is not text")?;
                for i in (0..batch.num_rows()).filter(|i| split.value(*i) == "train") {
                    let slot = counts
                        .get_mut(token.value(i) as usize)
                        .with_context(|| format!("token {} is not below {vocab_size}", token.value(i)))?;
                    *slot += count.value(i) as u64;
                }
            }
        }
        Ok(Unigrams { total: counts.iter().sum::<u64>() + vocab_size as u64, counts })
    }

    fn nll(&self, token: i64) -> f64 {
        let count = self.counts.get(token as usize).copied().unwrap_or(0) + 1;
        (self.total as f64).ln() - (count as f64).ln()
    }
}

fn cast_integers(array: &ArrayRef) -> Result<Int64Array> {
    let array = arrow::compute::cast(array, &DataType::Int64)?;
    Ok(array.as_any().downcast_ref::<Int64Array>().context("a column of whole numbers")?.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_belong_to_the_pieces_that_tile_their_row() {
        let piece = |length| Piece { document: [0; 16], start: Some(0), length };
        let pieces = [piece(2), piece(1), piece(3)];
        let found: Vec<usize> = (0..7).map(|token| piece_of(&pieces, token)).collect();
        assert_eq!(found, [0, 0, 0, 1, 2, 2, 2]);
    }
}
