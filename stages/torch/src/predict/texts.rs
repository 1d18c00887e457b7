//! What a head says of whole texts: one class, several, a number, or how two segments belong together.

use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{ArrayRef, Float64Array, StringArray};
use model::{Head, Report, Row, Sample};
use serde_json::json;
use tch::{Kind, Tensor};

use super::parts::Part;
use super::{Work, column, ids, number_lists, text_lists};
use crate::tables::Column;
use crate::worker::Worker;

/// A class is predicted where its probability is above this, among classes of which a text may have several.
pub const THRESHOLD: f32 = 0.5;

impl Work<'_> {
    pub(super) fn texts(&self, worker: &mut Worker) -> Result<Option<Report>> {
        let (head, classes) = (&self.loaded.config.head, self.classes()?);
        if (*head == Head::Number) != (self.facts.label_type == model::LabelType::Number)
            || matches!(head, Head::MultiLabel { .. }) != (self.facts.label_type == model::LabelType::MultiLabel)
        {
            bail!("the model was trained to predict {}, the labels of the tokens are of the type {:?}", head.name(), self.facts.label_type);
        }
        if self.parts(worker, "rows", |part| self.said_of(part, head, classes))?.is_none() {
            return Ok(None);
        }
        let task = match head {
            Head::Number => "number",
            Head::MultiLabel { .. } => "multi-label",
            _ => "classify",
        };
        let mut facts = vec![("task", json!(task))];
        if !classes.is_empty() {
            facts.push(("classes", json!(classes)));
        }
        if task == "multi-label" {
            facts.push(("threshold", json!(THRESHOLD)));
        }
        Ok(Some(self.report(facts)))
    }

    fn said_of(&self, part: &mut Part, head: &Head, classes: &[String]) -> Result<Option<Vec<Column>>> {
        let (mut said, first): (Vec<Vec<f32>>, u64) = (vec![Vec::new(); part.len()], part.rows.start);
        let done = self.heads(part, |samples, _, logits| {
            for (Sample { row, .. }, values) in samples.iter().zip(Vec::<Vec<f32>>::try_from(probabilities(head, logits))?) {
                said[(row - first) as usize] = values;
            }
            Ok(())
        })?;
        if done.is_none() {
            return Ok(None);
        }
        let rows = part.rows.clone().map(|row| self.data.row(row, false)).collect::<Result<Vec<Row>>>()?;
        let columns = match head {
            Head::Number => numbers(&rows, &said),
            Head::MultiLabel { .. } => sets(&rows, said, classes),
            _ => one_class(&rows, said, classes),
        };
        let ids = ids(self.data.ids(part.rows.clone())?)?;
        Ok(Some(std::iter::once(ids).chain(columns).collect()))
    }
}

/// What a head for texts says (batch, outputs): a probability for each class, or the number.
pub fn probabilities(head: &Head, logits: Tensor) -> Tensor {
    match head {
        Head::Number => logits,
        Head::MultiLabel { .. } => logits.sigmoid(),
        _ => logits.softmax(-1, Kind::Float),
    }
}

/// The place of the largest, of equal ones the first.
pub fn argmax(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
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
