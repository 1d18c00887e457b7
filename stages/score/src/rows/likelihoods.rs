//! Rows of numbers: likelihoods of tokens and of whole texts, and regression.

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::{Array, Float64Array, ListArray, StringArray};
use engine::Table;

use super::{Batch, Known, Reads, Rows};
use crate::metrics::{ChoiceRow, Choices, ContrastRow, Contrasts, NumberRow, Numbers, TokenRow, Tokens};

impl Reads for Tokens {
    const BASELINE: Option<&'static str> = Some("unigram");

    fn columns(table: &Table) -> Vec<&'static str> {
        let more = ["correct", "bytes", "words", "unigram_nll"].into_iter().filter(|name| table.has_column(name));
        ["nll", "tokens"].into_iter().chain(more).collect()
    }

    /// Predictions of texts that no tokens artifact holds have no unigram model.
    fn has_baseline(table: &Table) -> bool {
        table.has_column("unigram_nll")
    }

    fn read(batch: &Batch, _: &Known) -> Result<Rows<TokenRow>> {
        let nll = batch.numbers("nll")?;
        let unigram_nll = if batch.has("unigram_nll") { batch.numbers("unigram_nll")? } else { Vec::new() };
        let (mut model, mut baseline) = (Vec::new(), Vec::new());
        for row in 0..batch.len() {
            let known = |name: &str| batch.count(name, row)?.with_context(|| format!("{}: `{name}` is null", batch.place(row)));
            let tokens = known("tokens")?;
            let correct = if batch.has("correct") { Some(known("correct")?) } else { None };
            if let Some(correct) = correct.filter(|correct| *correct > tokens) {
                bail!("{}: {correct} of {tokens} tokens are said to be right", batch.place(row));
            }
            let some = |name: &str| if batch.has(name) { batch.count(name, row) } else { Ok(None) };
            let (bytes, words) = (some("bytes")?, some("words")?);
            model.push(TokenRow { nll: nll[row], tokens, correct, bytes, words });
            baseline.extend(unigram_nll.get(row).map(|nll| TokenRow { nll: *nll, tokens, correct: None, bytes, words }));
        }
        Ok(Rows { model, baseline })
    }
}

impl Reads for Numbers {
    fn columns(_: &Table) -> Vec<&'static str> {
        vec!["gold", "prediction"]
    }

    fn read(batch: &Batch, _: &Known) -> Result<Rows<NumberRow>> {
        let rows = batch.numbers("gold")?.into_iter().zip(batch.numbers("prediction")?);
        Ok(Rows::of_model(rows.map(|(gold, prediction)| NumberRow { gold, prediction }).collect()))
    }
}

impl Reads for Choices {
    fn columns(table: &Table) -> Vec<&'static str> {
        let mut columns = vec!["gold", "choices", "log_likelihoods"];
        columns.extend(table.has_column("unconditional").then_some("unconditional"));
        columns
    }

    fn read<'a>(batch: &'a Batch, _: &Known) -> Result<Rows<ChoiceRow<'a>>> {
        let (choices, log_likelihoods) = (batch.lists("choices")?, number_lists(batch, "log_likelihoods")?);
        let unconditional = if batch.has("unconditional") { Some(number_lists(batch, "unconditional")?) } else { None };
        let row = |(row, choices): (usize, Vec<&'a str>)| {
            let count = choices.len();
            ensure!(count > 0, "{}: `choices` has no text in it", batch.place(row));
            let same = |name: &str, numbers: &[f64]| match numbers.len() == count {
                true => Ok(()),
                false => bail!("{}: `{name}` holds {} numbers for {count} choices", batch.place(row), numbers.len()),
            };
            same("log_likelihoods", log_likelihoods[row])?;
            let unconditional = unconditional.as_ref().map(|rows| rows[row]);
            unconditional.map_or(Ok(()), |numbers| same("unconditional", numbers))?;
            let gold = batch.count("gold", row)?.with_context(|| format!("{}: `gold` is null", batch.place(row)))?;
            ensure!(gold < count as u64, "{}: `gold` is {gold}, there are {count} choices, counted from 0", batch.place(row));
            Ok(ChoiceRow { gold: gold as usize, choices, log_likelihoods: log_likelihoods[row], unconditional })
        };
        Ok(Rows::of_model(choices.into_iter().enumerate().map(row).collect::<Result<_>>()?))
    }
}

/// Lists of finite numbers.
fn number_lists<'a>(batch: &'a Batch, name: &str) -> Result<Vec<&'a [f64]>> {
    let column: &ListArray = batch.column(name)?;
    let (values, offsets) = (batch.values::<Float64Array>(name, column)?, column.value_offsets());
    let list = |row: usize| {
        batch.known(name, column, row)?;
        let places = offsets[row] as usize..offsets[row + 1] as usize;
        let wrong = places.clone().find(|place| values.is_null(*place) || !values.value(*place).is_finite());
        ensure!(wrong.is_none(), "{}: `{name}` holds what is no finite number", batch.place(row));
        Ok(&values.values()[places])
    };
    (0..column.len()).map(list).collect()
}

impl Reads for Contrasts {
    fn columns(table: &Table) -> Vec<&'static str> {
        let more = ["unrelated", "direction", "target"].into_iter().filter(|name| table.has_column(name));
        ["stereotype", "anti_stereotype"].into_iter().chain(more).collect()
    }

    fn read<'a>(batch: &'a Batch, _: &Known) -> Result<Rows<ContrastRow<'a>>> {
        let (stereotype, anti_stereotype) = (batch.numbers("stereotype")?, batch.numbers("anti_stereotype")?);
        let unrelated: Option<&Float64Array> = if batch.has("unrelated") { Some(batch.column("unrelated")?) } else { None };
        let text =
            |name: &str| -> Result<Option<&'a StringArray>> { if batch.has(name) { Ok(Some(batch.column(name)?)) } else { Ok(None) } };
        let (direction, target) = (text("direction")?, text("target")?);
        let row = |row: usize| {
            let unrelated = unrelated.filter(|values| values.is_valid(row)).map(|values| values.value(row));
            ensure!(unrelated.is_none_or(f64::is_finite), "{}: `unrelated` is {}", batch.place(row), unrelated.unwrap_or_default());
            let is_stereo = match direction.filter(|values| values.is_valid(row)).map(|values| values.value(row)) {
                None => None,
                Some("stereo") => Some(true),
                Some("antistereo") => Some(false),
                Some(other) => bail!("{}: `direction` is `{other}`; directions: `stereo`, `antistereo`", batch.place(row)),
            };
            let target = target.filter(|values| values.is_valid(row)).map(|values| values.value(row));
            Ok(ContrastRow { stereotype: stereotype[row], anti_stereotype: anti_stereotype[row], unrelated, is_stereo, target })
        };
        Ok(Rows::of_model((0..batch.len()).map(row).collect::<Result<_>>()?))
    }
}
