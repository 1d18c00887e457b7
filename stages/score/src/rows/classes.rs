//! Rows of classes: one a text, several a text, one a word.

use anyhow::{Result, ensure};
use arrow::array::{Array, Float32Array, ListArray};
use engine::Table;

use super::{Batch, Known, List, Reads, Rows};
use crate::metrics::{LabelRow, Labels, SetRow, Sets, TagRow, Tags};

/// Probabilities in 32 bits may miss a sum of 1 by this.
const SUM_TOLERANCE: f64 = 1e-3;

impl Reads for Labels {
    fn columns(table: &Table) -> Vec<&'static str> {
        let mut columns = vec!["gold", "prediction"];
        columns.extend(table.has_column("probabilities").then_some("probabilities"));
        columns
    }

    fn read<'a>(batch: &'a Batch, known: &Known) -> Result<Rows<LabelRow<'a>>> {
        let (gold, prediction) = (batch.strings("gold")?, batch.strings("prediction")?);
        let probabilities = if batch.has("probabilities") { Some(probabilities(batch, known.options.classes.len())?) } else { None };
        let label = |row: usize| {
            Ok(LabelRow {
                gold: known.class(batch, row, "gold", gold[row])? as usize,
                prediction: known.class(batch, row, "prediction", prediction[row])? as usize,
                probabilities: probabilities.as_ref().map(|rows| rows[row]),
            })
        };
        Ok(Rows::of_model(batch.rows(label)?))
    }
}

/// The probabilities of each row, one a class, which sum to 1.
fn probabilities(batch: &Batch, classes: usize) -> Result<Vec<&[f32]>> {
    let column: &ListArray = batch.column("probabilities")?;
    let values: &Float32Array = batch.values("probabilities", column)?;
    let offsets = column.value_offsets();
    let row = |row: usize| {
        batch.known("probabilities", column, row)?;
        let (from, to) = (offsets[row] as usize, offsets[row + 1] as usize);
        ensure!(to - from == classes, "{}: there are {} probabilities for {classes} classes", batch.place(row), to - from);
        let row_values = &values.values()[from..to];
        let wrong = (from..to).find(|place| values.is_null(*place) || !(0.0..=1.0).contains(&values.value(*place)));
        ensure!(wrong.is_none(), "{}: `probabilities` are {row_values:?}, they must be numbers from 0 to 1", batch.place(row));
        let sum: f64 = row_values.iter().map(|value| f64::from(*value)).sum();
        ensure!((sum - 1.0).abs() <= SUM_TOLERANCE, "{}: `probabilities` sum to {sum}, not to 1", batch.place(row));
        Ok(row_values)
    };
    batch.rows(row)
}

impl Reads for Sets {
    fn columns(_: &Table) -> Vec<&'static str> {
        vec!["gold", "prediction"]
    }

    fn read(batch: &Batch, known: &Known) -> Result<Rows<SetRow>> {
        let (gold, prediction) = (batch.list("gold")?, batch.list("prediction")?);
        let set = |row: usize, column: &str, labels: List<'_>| {
            let mut set = indices(batch, known, row, column, labels.clone())?;
            set.sort_unstable();
            let twice = set.windows(2).find(|pair| pair[0] == pair[1]);
            ensure!(twice.is_none(), "{}: `{column}` names a class twice: {}", batch.place(row), labels.collect::<Vec<_>>().join(", "));
            Ok(set)
        };
        let row = |row: usize| Ok(SetRow { gold: set(row, "gold", gold(row)?)?, prediction: set(row, "prediction", prediction(row)?)? });
        Ok(Rows::of_model(batch.rows(row)?))
    }
}

impl Reads for Tags {
    fn columns(_: &Table) -> Vec<&'static str> {
        vec!["gold", "prediction"]
    }

    fn read(batch: &Batch, known: &Known) -> Result<Rows<TagRow>> {
        let (gold, prediction) = (batch.list("gold")?, batch.list("prediction")?);
        let row = |row: usize| {
            let (gold, prediction) = (gold(row)?, prediction(row)?);
            let (words, tags) = (gold.len(), prediction.len());
            ensure!(words == tags, "{}: {words} words have gold tags, {tags} have predicted ones", batch.place(row));
            let [gold, prediction] =
                [("gold", gold), ("prediction", prediction)].map(|(column, tags)| indices(batch, known, row, column, tags));
            Ok(TagRow { gold: gold?, prediction: prediction? })
        };
        Ok(Rows::of_model(batch.rows(row)?))
    }
}

fn indices(batch: &Batch, known: &Known, row: usize, column: &str, labels: List) -> Result<Vec<u32>> {
    labels.map(|label| known.class(batch, row, column, label)).collect()
}
