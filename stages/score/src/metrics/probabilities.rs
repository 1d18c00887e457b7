//! How good probabilities are, not only the class they make likeliest: log-loss and Brier score, as scikit-learn 1.9.1.

use super::{Counts, LabelRow, Labels, Measure, Metric, NO_ROWS, Options, Score, Start, Total, Worse, ratio};

pub const LOG_LOSS: Metric = Metric {
    name: "log-loss",
    about: "Mean negative log-probability of the gold class in nats; 0 is perfect, a probability of 0 counts as 2^-52.",
    default: true,
    start: Start::Labels(|options| start("log-loss", log_loss, "unit:nat|clip:2^-52", options)),
};

pub const BRIER: Metric = Metric {
    name: "brier",
    about: "Mean squared difference of probabilities from the gold class; 0 is perfect, with two classes 1 is worst, with more 2.",
    default: true,
    start: Start::Labels(|options| start("brier", brier, "scale:half for two classes", options)),
};

/// Why a score of probabilities is undefined for a system that gives none.
pub const NO_PROBABILITIES: &str = "the system gives no probabilities";

struct MeanOfRows {
    name: &'static str,
    of: fn(usize, &[f32]) -> f64,
    pairs: &'static str,
}

fn start(name: &'static str, of: fn(usize, &[f32]) -> f64, pairs: &'static str, _: &Options) -> Box<dyn Measure<Labels>> {
    Box::new(MeanOfRows { name, of, pairs })
}

impl Measure<Labels> for MeanOfRows {
    /// The sum, and rows without probabilities.
    fn width(&self) -> usize {
        2
    }

    fn count(&self, row: &LabelRow<'_>, counts: &mut Counts) {
        match row.probabilities {
            Some(probabilities) => counts.add(0, (self.of)(row.gold, probabilities)),
            None => counts.add(1, 1.0),
        }
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let value = if total.whole(1) > 0 { Err(NO_PROBABILITIES.to_owned()) } else { ratio(total.sums[0], total.rows, NO_ROWS) };
        vec![Score::new(self.name, value, total.rows, self.pairs)]
    }

    fn worse_rows(&self) -> Option<Worse> {
        Some(Worse::Higher)
    }
}

fn log_loss(gold: usize, probabilities: &[f32]) -> f64 {
    -f64::from(probabilities[gold]).clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}

fn brier(gold: usize, probabilities: &[f32]) -> f64 {
    let squares = probabilities.iter().enumerate().map(|(class, probability)| (f64::from(*probability) - f64::from(class == gold)).powi(2));
    squares.sum::<f64>() / if probabilities.len() == 2 { 2.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_of_zero_costs_what_it_costs_in_scikit_learn() {
        assert!((log_loss(0, &[0.0, 1.0]) - 36.043_653_389_117_15).abs() < 1e-9);
        assert_eq!((brier(0, &[0.0, 1.0]), brier(0, &[0.0, 1.0, 0.0])), (1.0, 2.0));
    }
}
