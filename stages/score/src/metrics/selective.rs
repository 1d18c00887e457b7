//! Accuracy where only the surest predictions are taken: what a model is worth that may abstain. As `get_selective_stats` of
//! uncertainty-calibration 0.1.4, which HELM uses; there the order of equal confidences is left to the sorting, here it has no say.

use super::calibration::confidences;
use super::probabilities::NO_PROBABILITIES;
use super::{Counts, LabelRow, Labels, Measure, Metric, NO_ROWS, Score, Start, Total};

pub const METRIC: Metric = Metric {
    name: "selective-accuracy",
    about: "Mean accuracy over all shares of the surest predictions, 0 to 1 (one less the area under the risk-coverage curve), and that of the surest tenth.",
    default: false,
    start: Start::Labels(|_| Box::new(Selective)),
};

struct Selective;

/// How accurate the surest 1, 2, … rows are. Of equally sure ones each counts as their mean.
fn accuracies(mut rows: Vec<(f64, bool)>) -> Vec<f64> {
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut accuracies = Vec::with_capacity(rows.len());
    let mut right = 0;
    for equal in rows.chunk_by(|a, b| a.0 == b.0) {
        let of_these = equal.iter().filter(|row| row.1).count();
        for taken in 1..=equal.len() {
            let share = taken as f64 / equal.len() as f64;
            accuracies.push((f64::from(right) + of_these as f64 * share) / (accuracies.len() + 1) as f64);
        }
        right += of_these as u32;
    }
    accuracies
}

impl Measure<Labels> for Selective {
    /// Rows without probabilities.
    fn width(&self) -> usize {
        1
    }

    fn count(&self, row: &LabelRow<'_>, counts: &mut Counts) {
        confidences::keep(row, counts);
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let value = |of: fn(&[f64]) -> f64| match total.rows {
            0 => Err(NO_ROWS.to_owned()),
            _ if total.whole(0) > 0 => Err(NO_PROBABILITIES.to_owned()),
            _ => Ok(of(&accuracies(confidences::kept(total)))),
        };
        let [area, tenth] = [
            value(|accuracies| accuracies.iter().sum::<f64>() / accuracies.len() as f64),
            value(|accuracies| accuracies[accuracies.len() / 10]),
        ];
        let score = |name: &str, value| Score::new(name, value, total.rows, "confidence:predicted class|equal:mean");
        vec![score(METRIC.name, area), score("selective-accuracy-10", tenth)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rows: &[(f64, bool)], area: f64, tenth: f64) {
        let found = accuracies(rows.to_vec());
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        assert!((mean - area).abs() < 1e-12 && (found[found.len() / 10] - tenth).abs() < 1e-12, "{found:?}");
    }

    /// Numbers of uncertainty-calibration 0.1.4.
    #[test]
    fn the_surest_come_first() {
        let sure = [0.9, 0.6, 0.8, 0.7, 0.95, 0.55, 0.65, 0.85, 0.75, 0.5];
        let right = [true, false, true, false, true, true, false, true, false, false];
        let rows: Vec<(f64, bool)> = sure.into_iter().zip(right).collect();
        check(&rows, 0.7593650793650794, 1.0);
        check(&rows[..3], 0.8888888888888888, 1.0);
    }

    #[test]
    fn equally_sure_rows_have_no_order() {
        check(&[(0.5, true), (0.5, false)], 0.5, 0.5);
        check(&[(0.5, false), (0.5, true)], 0.5, 0.5);
        // 1, then half of one of two and one of three.
        check(&[(0.5, false), (0.9, true), (0.5, false)], (1.0 + 0.5 + 1.0 / 3.0) / 3.0, 1.0);
    }
}
