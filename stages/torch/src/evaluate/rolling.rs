//! Log-likelihoods of texts of any length, in windows as lm-evaluation-harness cuts them.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array};
use model::Report;

use super::choices::is_white_space;
use super::items::{Part, column};
use super::{Cut, Row, Work};
use crate::tables::Column;
use crate::worker::Worker;

impl Work<'_> {
    pub(super) fn rolling(&self, worker: &mut Worker) -> Result<Option<Report>> {
        let prefix = self.prefix()?;
        if self.parts(worker, |part, worker| self.rolling_of(part, prefix, worker))?.is_none() {
            return Ok(None);
        }
        Ok(Some(self.report("language-modelling", self.items.rows as i64, &Cut::default())))
    }

    fn rolling_of(&self, part: &Part, prefix: i64, worker: &mut Worker) -> Result<Option<Vec<Column>>> {
        let (texts, mut rows) = (part.texts(model::evaluate::items::TEXT)?, Vec::new());
        for row in 0..part.len() {
            let windows = windows(&self.encode(texts.value(row))?, prefix, self.positions(), 1);
            rows.extend(windows.into_iter().map(|(context, predicted)| {
                let length = predicted.len();
                Row::after(&[context, predicted].concat(), length, row)
            }));
        }
        let Some(sums) = self.ask(part, rows, part.len(), worker)? else { return Ok(None) };
        let counts = |of: &dyn Fn(usize) -> i64| -> ArrayRef { Arc::new((0..part.len()).map(|row| Some(of(row))).collect::<Int64Array>()) };
        Ok(Some(vec![
            column("nll", Arc::new(sums.iter().map(|sum| Some(-sum.log_likelihood)).collect::<Float64Array>())),
            column("tokens", counts(&|row| sums[row].tokens)),
            column("correct", counts(&|row| sums[row].correct)),
            column("bytes", counts(&|row| texts.value(row).len() as i64)),
            column("words", counts(&|row| words(texts.value(row)))),
        ]))
    }
}

/// What is read before, and what is predicted of, each window of a text: `get_rolling_token_windows` and `make_disjoint_window` of lm_eval.utils.
/// The first window is predicted after `prefix`; each later one as far as `context` of its tokens stand before what it predicts, which ends it.
pub fn windows(tokens: &[i64], prefix: i64, longest: usize, context: usize) -> Vec<(Vec<i64>, Vec<i64>)> {
    let first = longest.min(tokens.len());
    if first == 0 {
        return Vec::new();
    }
    let mut windows = vec![(vec![prefix], tokens[..first].to_vec())];
    let mut predicted = first;
    while predicted < tokens.len() {
        let end = tokens.len().min(predicted + longest - context + 1);
        windows.push((tokens[end - longest - 1..predicted].to_vec(), tokens[predicted..end].to_vec()));
        predicted = end;
    }
    windows
}

/// Words as lm-evaluation-harness counts them: pieces between runs of white space, of which the first and the last may be empty.
fn words(text: &str) -> i64 {
    let mut before = false;
    let begins = |c: char| {
        let after = std::mem::replace(&mut before, is_white_space(c));
        before && !after
    };
    1 + text.chars().map(begins).filter(|begins| *begins).count() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_between_runs_of_white_space() {
        let all = ["", "a", "a b", " a\n\n b\t", "春 天\u{1c}x\u{3000}"].map(words);
        assert_eq!(all, [1, 1, 2, 4, 4]);
    }
}
