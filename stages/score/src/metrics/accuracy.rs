//! Accuracy of a classification.

use super::{Accumulator, LabelRow, Metric, Score, Start, confusion::Confusion, signature};

pub const METRIC: Metric = Metric {
    name: "accuracy",
    about: "Share of rows whose predicted class is the gold class, 0 to 1.",
    start: Start::Classify(|options| Box::new(Accuracy { classes: options.classes.len(), confusion: Confusion::new(options) })),
};

struct Accuracy {
    classes: usize,
    confusion: Confusion,
}

impl Accumulator<LabelRow> for Accuracy {
    fn push(&mut self, rows: &[LabelRow]) {
        self.confusion.push(rows);
    }

    fn finish(&self) -> Vec<Score> {
        let count = self.confusion.rows();
        let hits: u64 = (0..self.classes).map(|class| self.confusion.hits(class)).sum();
        let value = if count == 0 { Err("there are no rows".to_owned()) } else { Ok(hits as f64 / count as f64) };
        vec![Score { metric: METRIC.name.to_owned(), class: None, value, count, signature: signature("") }]
    }
}
