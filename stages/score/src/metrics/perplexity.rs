//! Perplexity of a language model: exp(sum of nll / sum of tokens).
//! Sums first: a mean over rows or batches of unequal token counts is another number.

use super::{Counts, Measure, Metric, Score, Start, TokenRow, Tokens, Total};

pub const METRIC: Metric = Metric {
    name: "perplexity",
    about: "Exponential of the mean negative log-likelihood per predicted token: 1 is perfect, the vocabulary size is guessing.",
    default: true,
    start: Start::Tokens(|_| Box::new(Perplexity)),
};

struct Perplexity;

impl Measure<Tokens> for Perplexity {
    /// Nats and tokens.
    fn width(&self) -> usize {
        2
    }

    fn count(&self, row: &TokenRow, counts: &mut Counts) {
        counts.add(0, row.nll);
        counts.add(1, row.tokens as f64);
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let tokens = total.whole(1);
        let mean = total.sums[0] / tokens as f64;
        let value = match mean.exp() {
            _ if tokens == 0 => Err("no token is predicted".to_owned()),
            value if value.is_infinite() => Err(format!("a mean loss of {mean} nats per token is beyond the range of a 64-bit float")),
            value => Ok(value),
        };
        vec![Score::new(METRIC.name, value, tokens, "per:token")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::scores_of;

    fn row(nll: f64, tokens: u64) -> TokenRow {
        TokenRow { nll, tokens, correct: None, bytes: None, words: None }
    }

    fn perplexity(rows: &[TokenRow]) -> Result<f64, String> {
        scores_of::<Tokens>(&Perplexity, rows).remove(0).value
    }

    #[test]
    fn a_uniform_guess_over_a_vocabulary_has_its_size() {
        assert!((perplexity(&[row(7.0 * 512f64.ln(), 7)]).unwrap() - 512.0).abs() < 1e-9);
    }

    #[test]
    fn sums_before_it_divides() {
        let value = perplexity(&[row(4.0, 1), row(3.0, 99)]).unwrap();
        assert_eq!(value, (7.0f64 / 100.0).exp());
    }

    #[test]
    fn rows_without_tokens_and_overflow_are_undefined() {
        assert_eq!(perplexity(&[row(0.0, 0)]).unwrap_err(), "no token is predicted");
        assert!(perplexity(&[row(1e9, 1)]).unwrap_err().contains("1000000000 nats"));
    }
}
