//! The tag of each word: of its first token, or of all its tokens where all of them have labels. Words that a row does not hold, because it was cut,
//! are said to be of no entity: gold tags are those of the whole document, where it is connected.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{ArrayRef, Int32Builder, Int64Array, ListBuilder};
use arrow::datatypes::{DataType, Field};
use model::Report;
use origins::TagColumn;
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
    /// How many of the words the row does not hold, if that is known.
    cut: Option<i64>,
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
        self.add_cut_words(part, &mut rows, classes)?;
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
            Column(Field::new("words_cut", DataType::Int64, true), Arc::new(rows.iter().map(|row| row.cut).collect::<Int64Array>())),
        ]))
    }

    /// Adds the words that full rows may not hold, which are said to be of no entity, with the gold tags of their documents.
    fn add_cut_words(&self, part: &mut Part, rows: &mut [Tagged], classes: &[String]) -> Result<()> {
        let ids = self.data.ids(part.rows.clone())?;
        let tags = match (TagColumn::of(self.tokens), part.documents(&ids)?) {
            (Some(column), Some(documents)) => Some(column.read(documents)?),
            _ => None,
        };
        let class = |tag: &str| {
            let known = classes.iter().position(|class| class == tag);
            known.with_context(|| format!("the tag `{tag}` of a document is none of the tokens' classes; run `tokenize` again"))
        };
        for (place, (number, row)) in part.rows.clone().zip(rows).enumerate() {
            if (self.data.length(number)? as i64) < self.facts.sequence_length {
                row.cut = Some(0);
            } else if let Some(tags) = &tags {
                let held = row.words.len();
                let gold = tags.of_all(place, &mut row.words)?;
                row.gold = gold.iter().map(|tag| class(tag)).collect::<Result<_>>()?;
                row.prediction.resize(gold.len(), class("O")?);
                row.probabilities.resize(gold.len(), 0.0);
                row.cut = Some((gold.len() - held) as i64);
            }
        }
        Ok(())
    }
}
