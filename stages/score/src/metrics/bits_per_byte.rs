//! Bits per byte of a language model: comparable between tokenizers, unlike perplexity per token.

use std::f64::consts::LN_2;

use super::{Counts, Measure, Metric, Score, Start, TokenRow, Tokens, Total};

pub const METRIC: Metric = Metric {
    name: "bits-per-byte",
    about: "Mean negative log-likelihood in bits per UTF-8 byte of the text, which does not depend on the tokenizer.",
    default: true,
    start: Start::Tokens(|_| Box::new(BitsPerByte)),
};

struct BitsPerByte;

impl Measure<Tokens> for BitsPerByte {
    /// Nats, bytes, rows of unknown bytes.
    fn width(&self) -> usize {
        3
    }

    fn count(&self, row: &TokenRow, counts: &mut Counts) {
        counts.add(0, row.nll);
        match row.bytes {
            Some(bytes) => counts.add(1, bytes as f64),
            None => counts.add(2, 1.0),
        }
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let value = match (total.whole(2), total.whole(1)) {
            (0, 0) => Err("no byte is predicted".to_owned()),
            (0, bytes) => Ok(total.sums[0] / bytes as f64 / LN_2),
            (rows, _) => Err(format!("rows with an unknown number of bytes: {rows}")),
        };
        vec![Score::new(METRIC.name, value, total.whole(1), "per:byte|unit:bit")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::scores_of;

    fn check(rows: &[(f64, Option<u64>)], expected: Result<f64, &str>) {
        let rows: Vec<TokenRow> = rows.iter().map(|&(nll, bytes)| TokenRow { nll, tokens: 1, correct: None, bytes }).collect();
        assert_eq!(scores_of::<Tokens>(&BitsPerByte, &rows).remove(0).value, expected.map_err(str::to_owned));
    }

    #[test]
    fn nats_become_bits_and_one_unknown_length_makes_it_undefined() {
        check(&[(8.0 * LN_2, Some(1)), (0.0, Some(3))], Ok(2.0));
        check(&[(1.0, Some(1)), (1.0, None)], Err("rows with an unknown number of bytes: 1"));
        check(&[(1.0, Some(0))], Err("no byte is predicted"));
    }
}
