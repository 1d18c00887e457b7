//! Rows of texts: completions and answers.

use anyhow::{Result, ensure};
use arrow::datatypes::DataType;
use engine::Table;

use super::{Batch, Known, Reads, Rows};
use crate::metrics::{AnswerRow, Answers, Squad, TextRow, Texts};

impl Reads for Texts {
    const BASELINE: Option<&'static str> = Some("copy of the source");

    fn columns(_: &Table) -> Vec<&'static str> {
        vec!["source", "reference", "prediction"]
    }

    fn read<'a>(batch: &'a Batch, _: &Known) -> Result<Rows<TextRow<'a>>> {
        let (source, prediction) = (batch.strings("source")?, batch.strings("prediction")?);
        let references = references(batch)?;
        let rows = |hypotheses: &[&'a str]| {
            hypotheses
                .iter()
                .zip(&references)
                .map(|(hypothesis, references)| TextRow { hypothesis, references: references.clone() })
                .collect()
        };
        Ok(Rows { model: rows(&prediction), baseline: rows(&source) })
    }
}

/// One reference a row, or a list of them.
fn references(batch: &Batch) -> Result<Vec<Vec<&str>>> {
    if !matches!(batch.rows.column_by_name("reference").map(|column| column.data_type()), Some(DataType::List(_))) {
        return Ok(batch.strings("reference")?.into_iter().map(|reference| vec![reference]).collect());
    }
    let lists = batch.lists("reference")?;
    let empty = lists.iter().position(Vec::is_empty);
    ensure!(empty.is_none(), "{}: `reference` has no text in it", batch.place(empty.unwrap_or_default()));
    Ok(lists)
}

impl Reads for Answers {
    fn columns(_: &Table) -> Vec<&'static str> {
        vec!["gold", "prediction"]
    }

    fn read<'a>(batch: &'a Batch, known: &Known) -> Result<Rows<AnswerRow<'a>>> {
        let golds = batch.lists("gold")?;
        let empty = golds.iter().position(Vec::is_empty).filter(|_| known.options.squad == Squad::V1);
        ensure!(empty.is_none(), "{}: `gold` has no answer, which squad = \"1.1\" does not know", batch.place(empty.unwrap_or_default()));
        let rows = golds.into_iter().zip(batch.strings("prediction")?);
        Ok(Rows::of_model(rows.map(|(golds, prediction)| AnswerRow { golds, prediction }).collect()))
    }
}
