//! Accuracy of a language model's likeliest next (or masked) token.

use super::{Accumulator, Metric, Score, Start, TokenRow, signature};

pub const METRIC: Metric = Metric {
    name: "token-accuracy",
    about: "Share of predicted tokens whose likeliest prediction is right, 0 to 1.",
    start: Start::LanguageModelling(|_| Box::<TokenAccuracy>::default()),
};

#[derive(Default)]
struct TokenAccuracy {
    correct: u64,
    tokens: u64,
    rows_unknown: u64,
}

impl Accumulator<TokenRow> for TokenAccuracy {
    fn push(&mut self, rows: &[TokenRow]) {
        for row in rows {
            self.tokens += row.tokens;
            match row.correct {
                Some(correct) => self.correct += correct,
                None => self.rows_unknown += 1,
            }
        }
    }

    fn finish(&self) -> Vec<Score> {
        let value = match (self.rows_unknown, self.tokens) {
            (0, 0) => Err("no token is predicted".to_owned()),
            (0, tokens) => Ok(self.correct as f64 / tokens as f64),
            (rows, _) => Err(format!("rows with an unknown number of right predictions: {rows}")),
        };
        vec![Score { metric: METRIC.name.to_owned(), class: None, value, count: self.tokens, signature: signature("per:token") }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rows: &[(u64, Option<u64>)], expected: Result<f64, &str>) {
        let mut accumulator = TokenAccuracy::default();
        let row = |&(tokens, correct): &_| TokenRow { nll: 0.0, tokens, correct, bytes: None };
        accumulator.push(&rows.iter().map(row).collect::<Vec<_>>());
        assert_eq!(accumulator.finish().remove(0).value, expected.map_err(str::to_owned));
    }

    #[test]
    fn divides_sums_and_refuses_to_guess() {
        check(&[(1, Some(1)), (3, Some(0))], Ok(0.25));
        check(&[(1, Some(1)), (3, None)], Err("rows with an unknown number of right predictions: 1"));
        check(&[(0, Some(0))], Err("no token is predicted"));
    }
}
