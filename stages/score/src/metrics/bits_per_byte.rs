//! Bits per byte of a language model: comparable between tokenizers, unlike perplexity per token.

use std::f64::consts::LN_2;

use super::{Accumulator, Metric, Score, Start, TokenRow, signature};

pub const METRIC: Metric = Metric {
    name: "bits-per-byte",
    about: "Mean negative log-likelihood in bits per UTF-8 byte of the text, which does not depend on the tokenizer.",
    start: Start::LanguageModelling(|_| Box::<BitsPerByte>::default()),
};

#[derive(Default)]
struct BitsPerByte {
    nll: f64,
    bytes: u64,
    rows_unknown: u64,
}

impl Accumulator<TokenRow> for BitsPerByte {
    fn push(&mut self, rows: &[TokenRow]) {
        for row in rows {
            self.nll += row.nll;
            match row.bytes {
                Some(bytes) => self.bytes += bytes,
                None => self.rows_unknown += 1,
            }
        }
    }

    fn finish(&self) -> Vec<Score> {
        let value = match (self.rows_unknown, self.bytes) {
            (0, 0) => Err("no byte is predicted".to_owned()),
            (0, bytes) => Ok(self.nll / bytes as f64 / LN_2),
            (rows, _) => Err(format!("rows with an unknown number of bytes: {rows}")),
        };
        vec![Score { metric: METRIC.name.to_owned(), class: None, value, count: self.bytes, signature: signature("per:byte|unit:bit") }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rows: &[(f64, Option<u64>)], expected: Result<f64, &str>) {
        let mut accumulator = BitsPerByte::default();
        let row = |&(nll, bytes): &_| TokenRow { nll, tokens: 1, correct: None, bytes };
        accumulator.push(&rows.iter().map(row).collect::<Vec<_>>());
        assert_eq!(accumulator.finish().remove(0).value, expected.map_err(str::to_owned));
    }

    #[test]
    fn nats_become_bits_and_one_unknown_length_makes_it_undefined() {
        check(&[(8.0 * LN_2, Some(1)), (0.0, Some(3))], Ok(2.0));
        check(&[(1.0, Some(1)), (1.0, None)], Err("rows with an unknown number of bytes: 1"));
        check(&[(1.0, Some(0))], Err("no byte is predicted"));
    }
}
