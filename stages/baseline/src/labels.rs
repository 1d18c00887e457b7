//! Labels of texts and of pairs of texts: a linear model on TF-IDF weights, fitted to the train split.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use arrow::array::{ArrayRef, Float64Array, StringArray};
use rayon::prelude::*;
use shards::examples::Value;

use crate::linear::{self, Linear, Rows, Targets};
use crate::predictions::{self, Column, column, number_lists, text_lists};
use crate::rows::Split;
use crate::terms::{Features, Terms, TfIdf};
use crate::work::Work;

/// A class is predicted where its probability is above this, among classes of which a text may have several: as `predict` has it.
const THRESHOLD: f32 = 0.5;

/// What labels are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Class,
    MultiLabel,
    Number,
}

pub fn run(work: &Work, label_type: &str) -> Result<()> {
    let (kind, task) = match label_type {
        "number" => (Type::Number, "number"),
        "multi-label" => (Type::MultiLabel, "multi-label"),
        _ => (Type::Class, "classify"),
    };
    let classes = if kind == Type::Number { Vec::new() } else { work.classes()? };
    let model = Model::fit(work, kind, &classes)?;
    work.draft.fact("task", task)?;
    if kind != Type::Number {
        work.draft.fact("classes", &classes)?;
    }
    if kind == Type::MultiLabel {
        work.draft.fact("threshold", THRESHOLD)?;
    }
    work.draft.fact("terms", model.terms.width())?;
    work.draft.fact("iterations", model.linear.iterations)?;
    predictions::write(work, |rows, _| {
        let said = |row: &u64| -> Result<(Label, Vec<f64>)> {
            Ok((label(&work.rows, *row, kind, classes.len())?, model.predict(&work.rows, *row)?))
        };
        let said = rows.par_iter().map(said).collect::<Result<Vec<_>>>()?;
        Ok(columns(said, kind, &classes))
    })
}

/// The label of one row.
enum Label {
    Classes(Vec<u32>),
    Number(f64),
}

fn label(rows: &Split, row: u64, kind: Type, classes: usize) -> Result<Label> {
    let label = match (kind, rows.reader.value(row, "label")?) {
        (Type::Class, Value::Int32(class)) => Label::Classes(vec![class as u32]),
        (Type::MultiLabel, Value::Int32s(classes)) => Label::Classes(classes.into_iter().map(|class| class as u32).collect()),
        (Type::Number, Value::Float64(number)) if number.is_finite() => Label::Number(number),
        (_, other) => bail!("row {row}: the column `label` holds {other:?}; run `tokenize` again"),
    };
    if let Label::Classes(of_row) = &label {
        ensure!(of_row.iter().all(|class| (*class as usize) < classes), "row {row}: a label is not below {classes}; run `tokenize` again");
    }
    Ok(label)
}

struct Model {
    terms: TfIdf,
    linear: Linear,
    targets: Targets,
    pairs: bool,
    /// The class of each output: those that the train split has.
    outputs: Vec<u32>,
    classes: usize,
}

impl Model {
    fn fit(work: &Work, kind: Type, classes: &[String]) -> Result<Model> {
        let (train, settings) = (work.train()?, work.settings);
        let pairs = work.tokens.fact("segments").unwrap_or(false);
        let vocabulary = work.tokens.fact::<usize>("vocab_size")?.max(1);
        let (ngram_max, texts_min, terms_max) = (settings.ngram_max, settings.texts_min, settings.terms_max);
        let terms = Terms { vocabulary, ngram_max, texts_min, terms_max, pairs };
        let terms = terms.fit(&train, || work.ctx.check_stop())?;
        ensure!(terms.width() > 0, "no term stands in {texts_min} texts of the split `{}`; set texts_min lower", settings.train_split);
        let mut labels = Vec::new();
        let mut rows = Rows::default();
        for range in train.all_batches() {
            work.ctx.check_stop()?;
            let row = |row: u64| -> Result<(Features, Label)> {
                Ok((terms.features(&train.texts(row, pairs)?), label(&train, row, kind, classes.len())?))
            };
            for (features, label) in range.into_par_iter().map(row).collect::<Result<Vec<_>>>()? {
                rows.push(features);
                labels.push(label);
            }
        }
        let rows = rows.finish(terms.width());
        let (targets, outputs) = targets(kind, labels, classes.len());
        let count = if kind == Type::Number { 1 } else { outputs.len() };
        ensure!(count > 0, "no text of the split `{}` has a class", settings.train_split);
        let (needed, there) = (rows.bytes_of_fit(count), work.ctx.memory);
        ensure!(
            needed <= there / 2,
            "a linear model of {} features and {count} outputs takes {} MB, half of the memory is {} MB; set terms_max lower, or --memory higher",
            terms.width(),
            needed >> 20,
            there >> 21
        );
        // Two classes have one output in scikit-learn: two whose weights are opposite halves have half of its penalty.
        let regularization = settings.regularization * if kind == Type::Class && count == 2 { 2.0 } else { 1.0 };
        let linear = linear::fit(&rows, &targets, count, regularization, || work.ctx.check_stop())?;
        if !linear.converged {
            work.ctx
                .warn(&format!("the linear model is not at its minimum after {} iterations; set regularization higher", linear.iterations));
        }
        Ok(Model { terms, linear, targets, pairs, outputs, classes: classes.len() })
    }

    /// Probabilities of all classes, or the number.
    fn predict(&self, rows: &Split, row: u64) -> Result<Vec<f64>> {
        let mut said = self.linear.scores(&self.terms.features(&rows.texts(row, self.pairs)?));
        self.targets.predict(&mut said);
        if let Targets::Number(_) = self.targets {
            return Ok(said);
        }
        let mut all = vec![0.0; self.classes];
        self.outputs.iter().zip(said).for_each(|(class, probability)| all[*class as usize] = probability);
        Ok(all)
    }
}

/// What outputs must say. Classes that no row has get no output, because the best intercept would be minus infinity.
fn targets(kind: Type, labels: Vec<Label>, classes: usize) -> (Targets, Vec<u32>) {
    let mut numbers = Vec::new();
    let mut of_rows = Vec::new();
    for label in labels {
        match label {
            Label::Number(number) => numbers.push(number),
            Label::Classes(of_row) => of_rows.push(of_row),
        }
    }
    if kind == Type::Number {
        return (Targets::Number(numbers), Vec::new());
    }
    let mut output = vec![None; classes];
    of_rows.iter().flatten().for_each(|class| output[*class as usize] = Some(0));
    let outputs: Vec<u32> = (0..classes as u32).filter(|class| output[*class as usize].is_some()).collect();
    outputs.iter().zip(0..).for_each(|(class, number)| output[*class as usize] = Some(number));
    let numbered = of_rows.into_iter().map(|of_row| of_row.into_iter().filter_map(|class| output[class as usize]).collect::<Vec<u32>>());
    let targets = match kind {
        Type::MultiLabel => Targets::Classes(numbered.collect()),
        _ => Targets::Class(numbered.flatten().collect()),
    };
    (targets, outputs)
}

fn columns(said: Vec<(Label, Vec<f64>)>, kind: Type, classes: &[String]) -> Vec<Column> {
    if kind == Type::Number {
        let floats = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
        let gold = said.iter().map(|(label, _)| if let Label::Number(number) = label { *number } else { f64::NAN }).collect();
        return vec![column("gold", floats(gold)), column("prediction", floats(said.iter().map(|(_, said)| said[0]).collect()))];
    }
    let gold = |label: &Label| match label {
        Label::Classes(of_row) => of_row.iter().map(|class| classes[*class as usize].as_str()).collect(),
        Label::Number(_) => Vec::new(),
    };
    let gold: Vec<Vec<&str>> = said.iter().map(|(label, _)| gold(label)).collect();
    let probabilities: Vec<Vec<f32>> = said.iter().map(|(_, said)| said.iter().map(|value| *value as f32).collect()).collect();
    let (gold, prediction): (ArrayRef, ArrayRef) = if kind == Type::MultiLabel {
        let above = |row: &Vec<f32>| classes.iter().zip(row).filter(|(_, p)| **p > THRESHOLD).map(|(class, _)| class.as_str()).collect();
        (text_lists(gold), text_lists(probabilities.iter().map(above)))
    } else {
        let first = |row: &Vec<f32>| (0..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best });
        let names = |names: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(names)) };
        (names(gold.into_iter().flatten().collect()), names(probabilities.iter().map(|row| classes[first(row)].as_str()).collect()))
    };
    vec![column("gold", gold), column("prediction", prediction), column("probabilities", number_lists(probabilities))]
}
