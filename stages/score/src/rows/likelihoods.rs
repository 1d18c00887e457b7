//! Rows of numbers: likelihoods of tokens, and regression.

use anyhow::{Context as _, Result, ensure};
use engine::Table;

use super::{Batch, Known, Reads, Rows};
use crate::metrics::{NumberRow, Numbers, TokenRow, Tokens};

impl Reads for Tokens {
    const BASELINE: Option<&'static str> = Some("unigram");

    fn columns(_: &Table) -> Vec<&'static str> {
        vec!["nll", "tokens", "correct", "bytes", "unigram_nll"]
    }

    fn read(batch: &Batch, _: &Known) -> Result<Rows<TokenRow>> {
        let (nll, unigram_nll) = (batch.numbers("nll")?, batch.numbers("unigram_nll")?);
        let (mut model, mut baseline) = (Vec::new(), Vec::new());
        for row in 0..batch.len() {
            let known = |name: &str| batch.count(name, row)?.with_context(|| format!("{}: `{name}` is null", batch.place(row)));
            let (tokens, correct) = (known("tokens")?, known("correct")?);
            ensure!(correct <= tokens, "{}: {correct} of {tokens} tokens are said to be right", batch.place(row));
            let bytes = batch.count("bytes", row)?;
            model.push(TokenRow { nll: nll[row], tokens, correct: Some(correct), bytes });
            baseline.push(TokenRow { nll: unigram_nll[row], tokens, correct: None, bytes });
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
