//! Numbers against numbers: mean errors, and correlations as scipy 1.16 defines them.

use super::{Counts, Measure, Metric, NO_ROWS, NumberRow, Numbers, Score, Start, Total, Worse, ratio};

pub const PEARSON: Metric = Metric {
    name: "pearson",
    about: "Linear correlation of predicted and gold numbers, -1 to 1; undefined where either are all equal.",
    default: true,
    start: Start::Numbers(|_| Box::new(Correlation { name: "pearson", pairs: "", of: correlation })),
};

pub const SPEARMAN: Metric = Metric {
    name: "spearman",
    about: "Correlation of the ranks of predicted and gold numbers, -1 to 1; equal numbers share their mean rank.",
    default: true,
    start: Start::Numbers(|_| Box::new(Correlation { name: "spearman", pairs: "ties:mean", of: rank_correlation })),
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
    /// Of numbers that are not all equal on either side.
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
        let (gold, predicted) = (side(0), side(1));
        let value = comparable(&gold, &predicted).and_then(|()| (self.of)(&gold, &predicted));
        vec![Score::new(self.name, value, total.rows, self.pairs)]
    }
}

/// Refuses numbers that have no correlation.
fn comparable(gold: &[f64], predicted: &[f64]) -> Result<(), String> {
    let constant = |values: &[f64]| values.iter().all(|value| *value == values[0]);
    match gold.len() {
        0 => Err(NO_ROWS.to_owned()),
        1 => Err("there is only one row".to_owned()),
        _ if constant(gold) => Err("the gold numbers are all equal".to_owned()),
        _ if constant(predicted) => Err("the predicted numbers are all equal".to_owned()),
        _ => Ok(()),
    }
}

fn correlation(gold: &[f64], predicted: &[f64]) -> Result<f64, String> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (gold_mean, predicted_mean) = (mean(gold), mean(predicted));
    let product =
        |a: &[f64], a_mean: f64, b: &[f64], b_mean: f64| -> f64 { a.iter().zip(b).map(|(a, b)| (a - a_mean) * (b - b_mean)).sum() };
    let together = product(gold, gold_mean, predicted, predicted_mean);
    let apart = product(gold, gold_mean, gold, gold_mean).sqrt() * product(predicted, predicted_mean, predicted, predicted_mean).sqrt();
    let value = (together / apart).clamp(-1.0, 1.0);
    if value.is_nan() { Err("the numbers differ too little or too much for 64-bit floats".to_owned()) } else { Ok(value) }
}

/// The correlation of ranks, from sums of whole numbers: only the last division rounds.
fn rank_correlation(gold: &[f64], predicted: &[f64]) -> Result<f64, String> {
    let (gold, predicted) = (ranks(gold), ranks(predicted));
    let rows = gold.len() as i128;
    let sum = rows * (rows + 1);
    // n² times the covariance of doubled ranks, whose sum is the same on both sides.
    let product = |a: &[i128], b: &[i128]| rows * a.iter().zip(b).map(|(a, b)| a * b).sum::<i128>() - sum * sum;
    let (gold_alone, predicted_alone) = (product(&gold, &gold) as f64, product(&predicted, &predicted) as f64);
    Ok((product(&gold, &predicted) as f64 / (gold_alone * predicted_alone).sqrt()).clamp(-1.0, 1.0))
}

/// Twice the ranks from 1; equal values have the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<i128> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0; values.len()];
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let below = order.partition_point(|place| values[*place] < values[equal[0]]);
        let rank = (2 * below + equal.len() + 1) as i128;
        equal.iter().for_each(|place| ranks[*place] = rank);
    }
    ranks
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
    fn ranks_are_shared_and_zero_has_no_sign() {
        let halves: Vec<f64> = ranks(&[3.0, -0.0, 3.0, 0.0, 5.0]).into_iter().map(|twice| twice as f64 / 2.0).collect();
        assert_eq!(halves, [3.5, 1.5, 3.5, 1.5, 5.0]);
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
    fn ranks_lose_nothing_to_rounding() {
        let check = |gold: &[f64], predicted: &[f64]| rank_correlation(gold, predicted).unwrap();
        // 1/2 and not the float below it, which sums of floats give.
        assert_eq!(check(&[1.0, 2.0, 4.0], &[1.0, 3.0, 2.0]), 0.5);
        let many: Vec<f64> = (0..100_000).map(f64::from).collect();
        let back: Vec<f64> = many.iter().rev().copied().collect();
        assert_eq!((check(&many, &many), check(&many, &back)), (1.0, -1.0));
    }

    #[test]
    fn a_large_mean_takes_nothing_away() {
        let rows: Vec<(f64, f64)> = [(1.0, 2.0), (2.0, 4.0), (3.0, 5.0)].map(|(a, b)| (a + 1e9, b - 1e9)).to_vec();
        check(&PEARSON, &rows, Ok(0.981_980_506_061_965_7));
    }
}
