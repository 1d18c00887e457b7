//! Likelihood of a text by its bytes and words, as lm-evaluation-harness defines them: comparable between tokenizers, unlike perplexity
//! per token. Sums come first; words are the pieces of the original text between runs of white space, empty ones at its ends included.

use std::f64::consts::LN_2;

use super::{Counts, Measure, Metric, Score, Start, TokenRow, Tokens, Total};

pub const BITS_PER_BYTE: Metric = Metric {
    name: "bits-per-byte",
    about: "Mean negative log-likelihood in bits per UTF-8 byte of the text, which does not depend on the tokenizer.",
    default: true,
    start: Start::Tokens(|_| Box::new(Rate { name: "bits-per-byte", of: BYTES, finish: bits })),
};

pub const BYTE_PERPLEXITY: Metric = Metric {
    name: "byte-perplexity",
    about: "Exponential of the mean negative log-likelihood per UTF-8 byte of the text: 1 is perfect, 256 is guessing.",
    default: false,
    start: Start::Tokens(|_| Box::new(Rate { name: "byte-perplexity", of: BYTES, finish: f64::exp })),
};

pub const BITS_PER_WORD: Metric = Metric {
    name: "bits-per-word",
    about: "Mean negative log-likelihood in bits per word of the original text, where predictions tell their words.",
    default: false,
    start: Start::Tokens(|_| Box::new(Rate { name: "bits-per-word", of: WORDS, finish: bits })),
};

pub const WORD_PERPLEXITY: Metric = Metric {
    name: "word-perplexity",
    about: "Exponential of the mean negative log-likelihood per word of the original text, where predictions tell their words.",
    default: false,
    start: Start::Tokens(|_| Box::new(Rate { name: "word-perplexity", of: WORDS, finish: f64::exp })),
};

const BYTES: Unit = Unit { name: "byte", of: |row| row.bytes };
const WORDS: Unit = Unit { name: "word", of: |row| row.words };

/// What texts are measured in.
struct Unit {
    name: &'static str,
    of: fn(&TokenRow) -> Option<u64>,
}

struct Rate {
    name: &'static str,
    of: Unit,
    /// Of nats per unit.
    finish: fn(f64) -> f64,
}

fn bits(nats: f64) -> f64 {
    nats / LN_2
}

impl Measure<Tokens> for Rate {
    /// Nats, units, rows of unknown units.
    fn width(&self) -> usize {
        3
    }

    fn count(&self, row: &TokenRow, counts: &mut Counts) {
        counts.add(0, row.nll);
        match (self.of.of)(row) {
            Some(units) => counts.add(1, units as f64),
            None => counts.add(2, 1.0),
        }
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let unit = self.of.name;
        let value = match (total.whole(2), total.whole(1)) {
            (0, 0) => Err(format!("no {unit} is predicted")),
            (0, units) => match (self.finish)(total.sums[0] / units as f64) {
                value if value.is_infinite() => {
                    Err(format!("{} nats over {units} {unit}s are beyond the range of a 64-bit float", total.sums[0]))
                }
                value => Ok(value),
            },
            (rows, _) => Err(format!("rows with an unknown number of {unit}s: {rows}")),
        };
        let pairs = if self.name.starts_with("bits") { format!("per:{unit}|unit:bit") } else { format!("per:{unit}") };
        vec![Score::new(self.name, value, total.whole(1), &pairs)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::scores_of;

    fn check(metric: &Metric, rows: &[(f64, Option<u64>)], expected: Result<f64, &str>) {
        let Start::Tokens(start) = metric.start else { panic!("{} is not for tokens", metric.name) };
        let rows: Vec<TokenRow> =
            rows.iter().map(|&(nll, units)| TokenRow { nll, tokens: 1, correct: None, bytes: units, words: units }).collect();
        assert_eq!(scores_of(start(&Default::default()).as_ref(), &rows).remove(0).value, expected.map_err(str::to_owned));
    }

    #[test]
    fn nats_become_bits_and_one_unknown_length_makes_it_undefined() {
        check(&BITS_PER_BYTE, &[(8.0 * LN_2, Some(1)), (0.0, Some(3))], Ok(2.0));
        check(&BITS_PER_BYTE, &[(1.0, Some(1)), (1.0, None)], Err("rows with an unknown number of bytes: 1"));
        check(&BITS_PER_BYTE, &[(1.0, Some(0))], Err("no byte is predicted"));
    }

    /// The aggregation of lm-evaluation-harness: sums over documents, then one division.
    #[test]
    fn perplexities_divide_sums() {
        let rows = [(30.0, Some(10)), (2.0, Some(6))];
        check(&WORD_PERPLEXITY, &rows, Ok(2.0f64.exp()));
        check(&BYTE_PERPLEXITY, &rows, Ok(2.0f64.exp()));
        check(&BITS_PER_WORD, &rows, Ok(2.0 / LN_2));
        check(&WORD_PERPLEXITY, &[(1.0, None)], Err("rows with an unknown number of words: 1"));
        check(&WORD_PERPLEXITY, &[(1e4, Some(1))], Err("10000 nats over 1 words are beyond the range of a 64-bit float"));
    }
}
