//! Reads predictions as rows of metrics, streaming, and refuses bad ones: a score over half of the rows is a wrong score.
//! Every error names the file and the row, counted from 0. Only the columns that metrics need are read.

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::{Array, Float64Array, Int64Array, RecordBatch, StringArray};
use engine::{Context, Table, list, suggest};

use crate::metrics::{LabelRow, TextRow, TokenRow};

/// Rows read at once.
const BATCH_ROWS: usize = 8192;

/// Rows of language modelling: those of the model, then the same tokens under the unigram model.
pub fn tokens(ctx: &Context, table: &Table, mut sink: impl FnMut(&[TokenRow], &[TokenRow])) -> Result<()> {
    each_batch(ctx, table, &["nll", "tokens", "correct", "bytes", "unigram_nll"], |batch| {
        let (nll, unigram_nll): (&Float64Array, &Float64Array) = (batch.column("nll")?, batch.column("unigram_nll")?);
        let (tokens, correct, bytes): (&Int64Array, &Int64Array, &Int64Array) =
            (batch.column("tokens")?, batch.column("correct")?, batch.column("bytes")?);
        let (mut model, mut unigram) = (Vec::new(), Vec::new());
        for row in 0..batch.rows.num_rows() {
            let known = |name: &str, array: &dyn Array| batch.known(name, array, row);
            for (name, array) in [("nll", nll), ("unigram_nll", unigram_nll)] {
                known(name, array)?;
                let value = array.value(row);
                ensure!(value.is_finite(), "{}: `{name}` is {value}", batch.place(row));
            }
            let count = |name: &str, array: &Int64Array| {
                let value = array.value(row);
                ensure!(value >= 0, "{}: `{name}` is {value}, a count is at least 0", batch.place(row));
                Ok(value as u64)
            };
            known("tokens", tokens)?;
            known("correct", correct)?;
            let (tokens, correct) = (count("tokens", tokens)?, count("correct", correct)?);
            ensure!(correct <= tokens, "{}: {correct} of {tokens} tokens are said to be right", batch.place(row));
            let bytes = if bytes.is_null(row) { None } else { Some(count("bytes", bytes)?) };
            model.push(TokenRow { nll: nll.value(row), tokens, correct: Some(correct), bytes });
            unigram.push(TokenRow { nll: unigram_nll.value(row), tokens, correct: None, bytes });
        }
        sink(&model, &unigram);
        Ok(())
    })
}

/// Rows of classification, labels as indices into `classes`.
pub fn labels(ctx: &Context, table: &Table, classes: &[String], mut sink: impl FnMut(&[LabelRow])) -> Result<()> {
    each_batch(ctx, table, &["gold", "prediction"], |batch| {
        let (gold, prediction): (&StringArray, &StringArray) = (batch.column("gold")?, batch.column("prediction")?);
        let class = |name: &str, array: &StringArray, row: usize| {
            batch.known(name, array, row)?;
            let label = array.value(row);
            classes.iter().position(|class| class == label).with_context(|| {
                let names = || classes.iter().map(String::as_str);
                format!("{}: `{name}` is `{label}`{}; classes: {}", batch.place(row), suggest(label, names()), list(names()))
            })
        };
        let label = |row| Ok(LabelRow { gold: class("gold", gold, row)?, prediction: class("prediction", prediction, row)?, count: 1 });
        sink(&(0..batch.rows.num_rows()).map(label).collect::<Result<Vec<_>>>()?);
        Ok(())
    })
}

/// Rows of completion: those of the model, then the same with the source as hypothesis.
pub fn texts(ctx: &Context, table: &Table, mut sink: impl FnMut(&[TextRow<'_>], &[TextRow<'_>])) -> Result<()> {
    each_batch(ctx, table, &["source", "reference", "prediction"], |batch| {
        let (source, reference, prediction) = (batch.strings("source")?, batch.strings("reference")?, batch.strings("prediction")?);
        sink(&text_rows(&prediction, &reference), &text_rows(&source, &reference));
        Ok(())
    })
}

fn text_rows<'a>(hypotheses: &'a [&'a str], references: &'a [&'a str]) -> Vec<TextRow<'a>> {
    let rows = hypotheses.iter().zip(references);
    rows.map(|(hypothesis, reference)| TextRow { hypothesis, references: std::slice::from_ref(reference) }).collect()
}

/// A batch and where it comes from.
struct Batch {
    rows: RecordBatch,
    file: String,
    /// Row of the file with which the batch begins.
    first: usize,
}

impl Batch {
    fn place(&self, row: usize) -> String {
        format!("`{}`, row {}", self.file, self.first + row)
    }

    fn column<A: Array + 'static>(&self, name: &str) -> Result<&A> {
        let column = self.rows.column_by_name(name).with_context(|| format!("`{}` has no column `{name}`", self.file))?;
        let expected = || std::any::type_name::<A>().rsplit("::").next().unwrap_or_default();
        let typed = column.as_any().downcast_ref::<A>();
        typed.with_context(|| format!("`{}`: column `{name}` is {}, not a {}", self.file, column.data_type(), expected()))
    }

    /// All values of a column without nulls.
    fn strings(&self, name: &str) -> Result<Vec<&str>> {
        let column: &StringArray = self.column(name)?;
        (0..column.len()).map(|row| self.known(name, column, row).map(|()| column.value(row))).collect()
    }

    fn known(&self, name: &str, array: &dyn Array, row: usize) -> Result<()> {
        if array.is_null(row) {
            bail!("{}: `{name}` is null", self.place(row));
        }
        Ok(())
    }
}

fn each_batch(ctx: &Context, table: &Table, columns: &[&str], mut work: impl FnMut(&Batch) -> Result<()>) -> Result<()> {
    for (index, file) in table.files.iter().enumerate() {
        let mut first = 0;
        for rows in table.read(index, Some(columns), BATCH_ROWS)? {
            ctx.check_stop()?;
            let batch = Batch { rows: rows?, file: file.path.display().to_string(), first };
            work(&batch)?;
            first += batch.rows.num_rows();
        }
    }
    Ok(())
}
