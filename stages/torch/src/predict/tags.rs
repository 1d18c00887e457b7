//! The tag of each word: of its first token, or of all its tokens where all of them have labels.

use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{ArrayRef, Int32Builder, ListBuilder};
use model::Report;
use serde_json::json;
use tch::Kind;

use super::parts::Part;
use super::{Work, column, ids, number_lists, text_lists};
use crate::objective::Targets;
use crate::tables::Column;
use crate::worker::Worker;

/// What is said of the words of a row.
#[derive(Clone, Default)]
struct Tagged {
    words: Vec<i32>,
    gold: Vec<usize>,
    prediction: Vec<usize>,
    probabilities: Vec<f32>,
}

impl Work<'_> {
    pub(super) fn tags(&self, worker: &mut Worker) -> Result<Option<Report>> {
        let classes = self.classes()?;
        if self.parts(worker, "rows", |part| self.tags_of(part, classes))?.is_none() {
            return Ok(None);
        }
        let scheme: serde_json::Value = self.tokens.fact("scheme").unwrap_or_default();
        let label_all: bool = self.tokens.fact("label_all").unwrap_or_default();
        let facts = vec![("task", json!("tag")), ("classes", json!(classes)), ("scheme", scheme), ("label_all", json!(label_all))];
        Ok(Some(self.report(facts)))
    }

    fn tags_of(&self, part: &mut Part, classes: &[String]) -> Result<Option<Vec<Column>>> {
        let (mut rows, first) = (vec![Tagged::default(); part.len()], part.rows.start);
        let done = self.heads(part, |samples, batch, logits| {
            let Targets::Tags { places, labels, .. } = &batch.targets else { bail!("words have tags as targets") };
            let time = batch.ids.size()[1];
            let (probabilities, prediction) = logits.softmax(-1, Kind::Float).max_dim(-1, false);
            let (places, labels) = (Vec::<i64>::try_from(places)?, Vec::<i64>::try_from(labels)?);
            let (prediction, probabilities) = (Vec::<i64>::try_from(prediction)?, Vec::<f32>::try_from(probabilities)?);
            let words = samples.iter().map(|sample| self.data.words(sample.row)).collect::<Result<Vec<_>>>()?;
            for (i, place) in places.into_iter().enumerate() {
                let (sample, token) = ((place / time) as usize, (place % time) as usize);
                let row = &mut rows[(samples[sample].row - first) as usize];
                row.words.push(words[sample][token]);
                row.gold.push(labels[i] as usize);
                row.prediction.push(prediction[i] as usize);
                row.probabilities.push(probabilities[i]);
            }
            Ok(())
        })?;
        if done.is_none() {
            return Ok(None);
        }
        let named = |of: fn(&Tagged) -> &Vec<usize>| {
            text_lists(rows.iter().map(|row| of(row).iter().map(|class| classes[*class].as_str()).collect()))
        };
        let mut words = ListBuilder::new(Int32Builder::new());
        rows.iter().for_each(|row| words.append_value(row.words.iter().copied().map(Some)));
        let words: ArrayRef = Arc::new(words.finish());
        Ok(Some(vec![
            ids(self.data.ids(part.rows.clone())?)?,
            column("words", words),
            column("gold", named(|row| &row.gold)),
            column("prediction", named(|row| &row.prediction)),
            column("probabilities", number_lists(rows.iter().map(|row| row.probabilities.clone()))),
        ]))
    }
}
