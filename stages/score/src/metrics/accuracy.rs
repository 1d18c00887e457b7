//! Accuracy of a classification.

use super::{Counts, LabelRow, Labels, Measure, Metric, NO_ROWS, Score, Start, Total, ratio};

pub const METRIC: Metric = Metric {
    name: "accuracy",
    about: "Share of rows whose predicted class is the gold class, 0 to 1.",
    default: true,
    start: Start::Labels(|_| Box::new(Accuracy)),
};

struct Accuracy;

impl Measure<Labels> for Accuracy {
    fn width(&self) -> usize {
        1
    }

    fn count(&self, row: &LabelRow<'_>, counts: &mut Counts) {
        counts.add(0, f64::from(row.gold == row.prediction));
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        vec![Score::new(METRIC.name, ratio(total.sums[0], total.rows, NO_ROWS), total.rows, "")]
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn is_right_or_wrong(&self) -> bool {
        true
    }
}
