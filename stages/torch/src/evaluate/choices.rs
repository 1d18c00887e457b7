//! Multiple choice: how likely each choice is after its prompt.

use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow::array::Int64Array;
use model::Report;

use super::items::{Part, column, number_lists};
use super::{Cut, Row, Work};
use crate::tables::Column;
use crate::worker::Worker;

/// The tokens of a prompt and a choice.
struct Pair {
    tokens: Vec<i64>,
    /// How many of the last are the choice's.
    predicted: usize,
    /// How many of the first the model does not read.
    cut: usize,
}

impl Work<'_> {
    pub(super) fn choices(&self, worker: &mut Worker) -> Result<Option<Report>> {
        let (mut cut, mut requests) = (Cut::default(), 0);
        let checked = self.check(worker, |part| {
            for pairs in self.pairs(part)? {
                requests += pairs.len() as i64;
                cut.add(longest_cut(&pairs));
            }
            Ok(())
        })?;
        if checked.is_none() || self.parts(worker, |part, worker| self.choices_of(part, worker))?.is_none() {
            return Ok(None);
        }
        Ok(Some(self.report("choose", requests, &cut)))
    }

    fn choices_of(&self, part: &Part, worker: &mut Worker) -> Result<Option<Vec<Column>>> {
        let pairs = self.pairs(part)?;
        let all = || pairs.iter().flatten().enumerate();
        let rows = all().map(|(request, pair)| Row::after(&pair.tokens, pair.predicted, request)).collect();
        let Some(sums) = self.ask(part, rows, all().count(), worker)? else { return Ok(None) };
        let mut sums = sums.into_iter().map(|sum| sum.log_likelihood);
        let unconditional = self.settings.unconditional == Some(true);
        let (mut after, mut alone) = (Vec::new(), Vec::new());
        for pairs in &pairs {
            let count = if unconditional { pairs.len() / 2 } else { pairs.len() };
            after.push(sums.by_ref().take(count).collect::<Vec<f64>>());
            alone.push(sums.by_ref().take(pairs.len() - count).collect::<Vec<f64>>());
        }
        let likeliest: Int64Array = after.iter().map(|likely| Some(first_highest(likely) as i64)).collect();
        let cut: Int64Array = pairs.iter().map(|pairs| Some(longest_cut(pairs))).collect();
        let mut columns = vec![column("prediction", Arc::new(likeliest)), column("log_likelihoods", number_lists(after))];
        if unconditional {
            columns.push(column("unconditional", number_lists(alone)));
        }
        columns.push(column("truncated", Arc::new(cut)));
        Ok(Some(columns))
    }

    /// The pairs of each row: its prompt with each choice, then, where these are asked, its choices alone.
    fn pairs(&self, part: &Part) -> Result<Vec<Vec<Pair>>> {
        let (prompts, choices) = (part.texts("prompt")?, part.lists("choices")?);
        let delimiter = self.settings.target_delimiter.as_deref().unwrap_or_default();
        let contexts = |row: usize| std::iter::once(prompts.value(row)).chain((self.settings.unconditional == Some(true)).then_some(""));
        let of_row = |(row, choices): (usize, Vec<String>)| {
            let asked = contexts(row).flat_map(|context| choices.iter().map(move |choice| (context, choice)));
            asked.map(|(context, choice)| self.pair(context, delimiter, choice).map_err(|error| error.context(part.place(row)))).collect()
        };
        choices.into_iter().enumerate().map(of_row).collect()
    }

    /// A choice after its prompt, as the model reads both.
    fn pair(&self, prompt: &str, delimiter: &str, choice: &str) -> Result<Pair> {
        let (context, continuation) = self.encode_pair(prompt, &format!("{delimiter}{choice}"))?;
        let (predicted, positions) = (continuation.len(), self.positions());
        ensure!(predicted > 0, "choice `{choice}` has no token of its own behind its prompt; change the choice or target_delimiter");
        ensure!(predicted <= positions, "choice `{choice}` has {predicted} tokens, the model takes at most {positions}");
        let mut tokens = [context, continuation].concat();
        // The last one is not read.
        let cut = tokens.len().saturating_sub(positions + 1);
        drop(tokens.drain(..cut));
        Ok(Pair { tokens, predicted, cut })
    }

    /// The tokens of a context and of what follows it, as lm-evaluation-harness has them: white space at the end of the context belongs to what
    /// follows, which has the tokens that both have together behind those that the context has alone. An empty context is a token that stands
    /// before texts.
    pub(super) fn encode_pair(&self, context: &str, continuation: &str) -> Result<(Vec<i64>, Vec<i64>)> {
        if context.is_empty() {
            let (prefix, mut continuation) = (self.prefix()?, self.model.encode(continuation)?);
            if continuation.first() == Some(&prefix) {
                continuation.remove(0);
            }
            return Ok((vec![prefix], continuation));
        }
        let end = context.trim_end_matches(is_white_space).len();
        let context_tokens = self.encode(&context[..end])?;
        let mut all = self.encode(&format!("{context}{continuation}"))?;
        let continuation = all.split_off(context_tokens.len().min(all.len()));
        if context_tokens.is_empty() { Ok((vec![self.prefix()?], continuation)) } else { Ok((context_tokens, continuation)) }
    }
}

/// Tokens that were cut off the longest prompt of a row.
fn longest_cut(pairs: &[Pair]) -> i64 {
    pairs.iter().map(|pair| pair.cut as i64).max().unwrap_or(0)
}

/// The place of the highest value, the first of equal ones.
fn first_highest(values: &[f64]) -> usize {
    (0..values.len()).reduce(|best, place| if values[place] > values[best] { place } else { best }).unwrap_or(0)
}

/// White space as Python has it.
pub fn is_white_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_choices_wins() {
        assert_eq!([&[-2.0, -1.0, -1.0][..], &[-3.0][..], &[][..]].map(first_highest), [1, 0, 0]);
    }
}
