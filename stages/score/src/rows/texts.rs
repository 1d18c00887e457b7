//! Rows of texts: completions and answers.

use anyhow::{Context as _, Result, ensure};
use arrow::datatypes::DataType;
use engine::Table;

use super::{Batch, Known, Reads, Rows};
use crate::metrics::{AnswerRow, Answers, Squad, TextRow, Texts};

impl Reads for Texts {
    const BASELINE: Option<&'static str> = Some("copy of the source");

    /// Predictions of other programs may not tell what was given.
    fn has_baseline(table: &Table) -> bool {
        table.has_column("source")
    }

    fn columns(table: &Table) -> Vec<&'static str> {
        let likelihood = LIKELIHOOD.into_iter().filter(|_| LIKELIHOOD.iter().all(|name| table.has_column(name)));
        let source = Self::has_baseline(table).then_some("source");
        source.into_iter().chain(["reference", "prediction"]).chain(likelihood).collect()
    }

    fn read<'a>(batch: &'a Batch, _: &Known) -> Result<Rows<TextRow<'a>>> {
        let source = if batch.has("source") { batch.strings("source")? } else { Vec::new() };
        let prediction = batch.strings("prediction")?;
        let references = references(batch)?;
        let rows = |hypotheses: &[&'a str]| -> Vec<TextRow<'a>> {
            hypotheses.iter().zip(&references).map(|(hypothesis, references)| TextRow::new(hypothesis, references.clone())).collect()
        };
        let mut model = rows(&prediction);
        if LIKELIHOOD.iter().all(|name| batch.has(name)) {
            let (sums, ends) = (batch.numbers("log_likelihood")?, batch.strings("stopped")?);
            for (number, row) in model.iter_mut().enumerate() {
                let tokens = batch.count("tokens", number)?.with_context(|| format!("{}: `tokens` is null", batch.place(number)))?;
                // `tokens` leaves out the one that ended the text, its likelihood does not.
                row.likelihood = Some((sums[number], tokens + u64::from(ends[number] == "eos")));
            }
        }
        Ok(Rows { model, baseline: rows(&source) })
    }
}

/// What says how likely a written text is.
const LIKELIHOOD: [&str; 3] = ["log_likelihood", "tokens", "stopped"];

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
