//! Accuracy of single tokens: of a language model's likeliest next (or masked) token, and of tags.

use super::{Counts, Measure, Metric, Score, Start, TagRow, Tags, TokenRow, Tokens, Total, ratio};

pub const METRIC: Metric = Metric {
    name: "token-accuracy",
    about: "Share of predicted tokens whose likeliest prediction is right, 0 to 1.",
    default: true,
    start: Start::Tokens(|_| Box::new(TokenAccuracy)),
};

pub const OF_TAGS: Metric = Metric {
    name: METRIC.name,
    about: "Share of words whose predicted tag is the gold tag, 0 to 1; words outside of entities count too.",
    default: true,
    start: Start::Tags(|_| Box::new(TokenAccuracy)),
};

struct TokenAccuracy;

impl Measure<Tokens> for TokenAccuracy {
    /// Right tokens, tokens, rows of unknown numbers.
    fn width(&self) -> usize {
        3
    }

    fn count(&self, row: &TokenRow, counts: &mut Counts) {
        counts.add(1, row.tokens as f64);
        match row.correct {
            Some(correct) => counts.add(0, correct as f64),
            None => counts.add(2, 1.0),
        }
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let value = match total.whole(2) {
            0 => ratio(total.sums[0], total.whole(1), "no token is predicted"),
            rows => Err(format!("rows with an unknown number of right predictions: {rows}")),
        };
        vec![Score::new(METRIC.name, value, total.whole(1), "per:token")]
    }

    fn is_whole(&self) -> bool {
        true
    }
}

impl Measure<Tags> for TokenAccuracy {
    /// Right tags, words.
    fn width(&self) -> usize {
        2
    }

    fn count(&self, row: &TagRow, counts: &mut Counts) {
        let right = row.gold.iter().zip(&row.prediction).filter(|(gold, prediction)| gold == prediction).count();
        counts.add(0, right as f64);
        counts.add(1, row.gold.len() as f64);
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        vec![Score::new(METRIC.name, ratio(total.sums[0], total.whole(1), "there are no words"), total.whole(1), "per:word")]
    }

    fn is_whole(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::scores_of;

    fn check(rows: &[(u64, Option<u64>)], expected: Result<f64, &str>) {
        let rows: Vec<TokenRow> =
            rows.iter().map(|&(tokens, correct)| TokenRow { nll: 0.0, tokens, correct, bytes: None, words: None }).collect();
        assert_eq!(scores_of::<Tokens>(&TokenAccuracy, &rows).remove(0).value, expected.map_err(str::to_owned));
    }

    #[test]
    fn divides_sums_and_refuses_to_guess() {
        check(&[(1, Some(1)), (3, Some(0))], Ok(0.25));
        check(&[(1, Some(1)), (3, None)], Err("rows with an unknown number of right predictions: 1"));
        check(&[(0, Some(0))], Err("no token is predicted"));
    }
}
