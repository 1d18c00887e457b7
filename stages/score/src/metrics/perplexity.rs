//! Perplexity of a language model: exp(sum of nll / sum of tokens).
//! Sums first: a mean over rows or batches of unequal token counts is another number.

use super::{Counts, Measure, Metric, Score, Start, TextRow, Texts, TokenRow, Tokens, Total};

pub const METRIC: Metric = Metric {
    name: "perplexity",
    about: "Exponential of the mean negative log-likelihood per predicted token: 1 is perfect, the vocabulary size is guessing.",
    default: true,
    start: Start::Tokens(|_| Box::new(Perplexity)),
};

pub const OF_TEXTS: Metric = Metric {
    name: METRIC.name,
    about: "Exponential of the mean negative log-likelihood per written token, by the model that wrote; tokens that ended texts count.",
    default: false,
    start: Start::Texts(|_| Box::new(Perplexity)),
};

struct Perplexity;

/// Of sums of nats and tokens.
fn perplexity(total: &Total, pairs: &str) -> Score {
    let tokens = total.whole(1);
    let mean = total.sums[0] / tokens as f64;
    let value = match mean.exp() {
        _ if tokens == 0 => Err("no token is predicted".to_owned()),
        value if value.is_infinite() => Err(format!("a mean loss of {mean} nats per token is beyond the range of a 64-bit float")),
        value => Ok(value),
    };
    Score::new(METRIC.name, value, tokens, pairs)
}

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
        vec![perplexity(total, "per:token")]
    }
}

impl Measure<Texts> for Perplexity {
    /// Nats, tokens, and rows of unknown likelihood.
    fn width(&self) -> usize {
        3
    }

    fn count(&self, row: &TextRow<'_>, counts: &mut Counts) {
        match row.likelihood {
            Some((log_likelihood, tokens)) => {
                counts.add(0, -log_likelihood);
                counts.add(1, tokens as f64);
            }
            None => counts.add(2, 1.0),
        }
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let mut score = perplexity(total, "per:token|of:written text and its end");
        if total.whole(2) > 0 {
            score.value = Err(format!("rows without a log-likelihood: {}", total.whole(2)));
        }
        vec![score]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::scores_of;

    fn row(nll: f64, tokens: u64) -> TokenRow {
        TokenRow { nll, tokens, correct: None, bytes: None, words: None }
    }

    fn of_tokens(rows: &[TokenRow]) -> Result<f64, String> {
        scores_of::<Tokens>(&Perplexity, rows).remove(0).value
    }

    #[test]
    fn a_uniform_guess_over_a_vocabulary_has_its_size() {
        assert!((of_tokens(&[row(7.0 * 512f64.ln(), 7)]).unwrap() - 512.0).abs() < 1e-9);
    }

    #[test]
    fn sums_before_it_divides() {
        let value = of_tokens(&[row(4.0, 1), row(3.0, 99)]).unwrap();
        assert_eq!(value, (7.0f64 / 100.0).exp());
    }

    #[test]
    fn written_texts_need_a_likelihood_each() {
        let row = |likelihood| TextRow { likelihood, ..TextRow::new("a", vec!["b"]) };
        let score = |rows: &[TextRow]| scores_of::<Texts>(&Perplexity, rows).remove(0);
        let known = score(&[row(Some((-4.0, 3))), row(Some((-3.0, 1)))]);
        assert_eq!((known.value, known.count), (Ok((7.0f64 / 4.0).exp()), 4));
        assert_eq!(score(&[row(Some((-4.0, 3))), row(None)]).value.unwrap_err(), "rows without a log-likelihood: 1");
    }

    #[test]
    fn rows_without_tokens_and_overflow_are_undefined() {
        assert_eq!(of_tokens(&[row(0.0, 0)]).unwrap_err(), "no token is predicted");
        assert!(of_tokens(&[row(1e9, 1)]).unwrap_err().contains("1000000000 nats"));
    }
}
