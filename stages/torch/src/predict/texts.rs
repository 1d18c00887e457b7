//! What a head says of whole texts: one class, several, a number, or how two segments belong together.

use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{ArrayRef, Float64Array, StringArray};
use model::{Head, Report, Row, Sample};
use serde_json::json;
use tch::Kind;

use super::{Work, argmax, column, number_lists, text_lists};
use crate::tables::{self, Column};
use crate::worker::Worker;

/// A class is predicted where its probability is above this, among classes of which a text may have several.
const THRESHOLD: f32 = 0.5;

impl Work<'_> {
    pub(super) fn texts(&self, worker: &mut Worker) -> Result<Option<Report>> {
        let (head, classes) = (&self.loaded.config.head, self.classes()?);
        if (*head == Head::Number) != (self.facts.label_type == model::LabelType::Number)
            || matches!(head, Head::MultiLabel { .. }) != (self.facts.label_type == model::LabelType::MultiLabel)
        {
            bail!("the model was trained to predict {}, the labels of the tokens are of the type {:?}", head.name(), self.facts.label_type);
        }
        let mut said: Vec<Vec<f32>> = vec![Vec::new(); self.rows as usize];
        let done = self.heads(worker, |samples, _, logits| {
            let values = match head {
                Head::Number => logits,
                Head::MultiLabel { .. } => logits.sigmoid(),
                _ => logits.softmax(-1, Kind::Float),
            };
            for (Sample { row, .. }, values) in samples.iter().zip(Vec::<Vec<f32>>::try_from(values)?) {
                said[*row as usize] = values;
            }
            Ok(())
        })?;
        if done.is_none() {
            return Ok(None);
        }
        let rows = (0..self.rows).map(|row| self.data.row(row, false)).collect::<Result<Vec<Row>>>()?;
        let (task, columns) = match head {
            Head::Number => ("number", numbers(&rows, &said)),
            Head::MultiLabel { .. } => ("multi-label", sets(&rows, said, classes)),
            _ => ("classify", one_class(&rows, said, classes)),
        };
        let id = column("id", self.ids()?);
        tables::write(&self.job.draft, "predictions", std::iter::once(id).chain(columns).collect())?;
        let mut facts = vec![("task", json!(task))];
        if !classes.is_empty() {
            facts.push(("classes", json!(classes)));
        }
        if task == "multi-label" {
            facts.push(("threshold", json!(THRESHOLD)));
        }
        Ok(Some(self.report(facts)))
    }
}

fn one_class(rows: &[Row], said: Vec<Vec<f32>>, classes: &[String]) -> Vec<Column> {
    let gold: StringArray = rows.iter().map(|row| classes.get(row.class as usize)).collect();
    let prediction: StringArray = said.iter().map(|row| classes.get(argmax(row))).collect();
    vec![column("gold", Arc::new(gold)), column("prediction", Arc::new(prediction)), column("probabilities", number_lists(said))]
}

fn sets(rows: &[Row], said: Vec<Vec<f32>>, classes: &[String]) -> Vec<Column> {
    let gold = text_lists(rows.iter().map(|row| row.classes.iter().map(|class| classes[*class as usize].as_str()).collect()));
    let above = |row: &Vec<f32>| classes.iter().zip(row).filter(|(_, p)| **p > THRESHOLD).map(|(class, _)| class.as_str()).collect();
    let prediction = text_lists(said.iter().map(above));
    vec![column("gold", gold), column("prediction", prediction), column("probabilities", number_lists(said))]
}

fn numbers(rows: &[Row], said: &[Vec<f32>]) -> Vec<Column> {
    let floats = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
    let gold = rows.iter().map(|row| row.number).collect();
    let prediction = said.iter().map(|row| row.first().copied().map_or(f64::NAN, f64::from)).collect();
    vec![column("gold", floats(gold)), column("prediction", floats(prediction))]
}
