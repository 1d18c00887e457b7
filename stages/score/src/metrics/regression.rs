//! Numbers against numbers: mean errors, and correlations as scipy 1.16 defines them.

use super::{Counts, Measure, Metric, NO_ROWS, NumberRow, Numbers, Score, Start, Total, Worse, ratio};

pub const PEARSON: Metric = Metric {
    name: "pearson",
    about: "Linear correlation of predicted and gold numbers, -1 to 1; undefined where either are all equal.",
    default: true,
    start: Start::Numbers(|_| Box::new(Correlation { name: "pearson", pairs: "", of: judgements::pearson })),
};

pub const SPEARMAN: Metric = Metric {
    name: "spearman",
    about: "Correlation of the ranks of predicted and gold numbers, -1 to 1; equal numbers share their mean rank.",
    default: true,
    start: Start::Numbers(|_| Box::new(Correlation { name: "spearman", pairs: "ties:mean", of: judgements::spearman })),
};

pub const MSE: Metric = Metric {
    name: "mse",
    about: "Mean of the squared differences of predicted and gold numbers; 0 is perfect.",
    default: true,
    start: Start::Numbers(|_| Box::new(MeanError { name: "mse", of: |difference| difference * difference })),
};

pub const MAE: Metric = Metric {
    name: "mae",
    about: "Mean of the absolute differences of predicted and gold numbers; 0 is perfect.",
    default: true,
    start: Start::Numbers(|_| Box::new(MeanError { name: "mae", of: f64::abs })),
};

struct MeanError {
    name: &'static str,
    of: fn(f64) -> f64,
}

impl Measure<Numbers> for MeanError {
    fn width(&self) -> usize {
        1
    }

    fn count(&self, row: &NumberRow, counts: &mut Counts) {
        counts.add(0, (self.of)(row.prediction - row.gold));
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        vec![Score::new(self.name, ratio(total.sums[0], total.rows, NO_ROWS), total.rows, "")]
    }

    fn worse_rows(&self) -> Option<Worse> {
        Some(Worse::Higher)
    }
}

/// Keeps both numbers of all rows: sums of squares lose what is small beside the mean.
struct Correlation {
    name: &'static str,
    pairs: &'static str,
    of: fn(&[f64], &[f64]) -> Result<f64, String>,
}

impl Measure<Numbers> for Correlation {
    fn width(&self) -> usize {
        0
    }

    fn count(&self, row: &NumberRow, counts: &mut Counts) {
        counts.keep(row.gold.to_bits());
        counts.keep(row.prediction.to_bits());
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let side = |skip: usize| -> Vec<f64> { total.kept.iter().skip(skip).step_by(2).map(|bits| f64::from_bits(*bits)).collect() };
        vec![Score::new(self.name, (self.of)(&side(0), &side(1)), total.rows, self.pairs)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::scores_of;

    fn check(metric: &Metric, rows: &[(f64, f64)], expected: Result<f64, &str>) {
        let Start::Numbers(start) = metric.start else { panic!("{} is not for numbers", metric.name) };
        let rows: Vec<NumberRow> = rows.iter().map(|&(gold, prediction)| NumberRow { gold, prediction }).collect();
        let value = scores_of(start(&Default::default()).as_ref(), &rows).remove(0).value;
        match (value, expected) {
            (Ok(ours), Ok(expected)) => assert!((ours - expected).abs() < 1e-12, "{ours} is not {expected}"),
            (ours, expected) => assert_eq!(ours, expected.map_err(str::to_owned)),
        }
    }

    #[test]
    fn what_is_all_equal_has_no_correlation() {
        let rows = [(1.0, 2.0), (2.0, 4.0), (3.0, 5.0)];
        check(&PEARSON, &rows, Ok(0.981_980_506_061_965_7));
        check(&SPEARMAN, &rows, Ok(1.0));
        check(&MSE, &rows, Ok(3.0));
        check(&MAE, &rows, Ok(5.0 / 3.0));
        check(&PEARSON, &[(1.0, 2.0), (1.0, 3.0)], Err("the gold numbers are all equal"));
        check(&SPEARMAN, &[(1.0, 2.0), (2.0, 2.0)], Err("the predicted numbers are all equal"));
        check(&PEARSON, &[(1.0, 2.0)], Err("there is only one row"));
    }

    #[test]
    fn a_large_mean_takes_nothing_away() {
        let rows: Vec<(f64, f64)> = [(1.0, 2.0), (2.0, 4.0), (3.0, 5.0)].map(|(a, b)| (a + 1e9, b - 1e9)).to_vec();
        check(&PEARSON, &rows, Ok(0.981_980_506_061_965_7));
    }
}
