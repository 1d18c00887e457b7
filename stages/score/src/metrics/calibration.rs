//! Whether probabilities mean what they say: expected calibration error (Guo et al., 2017) over bins of equal width.
//!
//! The same rows have many such errors: bins, their edges and what falls into them are in the signature, and the table `reliability`
//! holds the bins.

use super::probabilities::NO_PROBABILITIES;
use super::{Counts, LabelRow, Labels, Measure, Metric, NO_ROWS, Options, Score, Start, Total};

pub const METRIC: Metric = Metric {
    name: "ece",
    about: "Mean distance of accuracy from confidence over bins of the predicted class's probability, weighted by their rows, 0 to 1.",
    default: true,
    start: Start::Labels(|options| Box::new(Calibration { bins: options.bins })),
};

/// Counts rows by the probability of their predicted class.
pub struct Calibration {
    pub bins: usize,
}

/// A bin of confidences in (low, high].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    pub low: f64,
    pub high: f64,
    pub rows: u64,
    pub right: u64,
    /// Sum of the confidences.
    pub confidence: f64,
}

impl Calibration {
    pub fn new(options: &Options) -> Calibration {
        Calibration { bins: options.bins }
    }

    /// The bins of rows, empty ones too.
    pub fn reliability(&self, total: &Total) -> Vec<Bin> {
        let edge = |bin: usize| bin as f64 / self.bins as f64;
        let bin = |bin: usize| Bin {
            low: edge(bin),
            high: edge(bin + 1),
            rows: total.whole(1 + 3 * bin),
            right: total.whole(2 + 3 * bin),
            confidence: total.sums[3 + 3 * bin],
        };
        (0..self.bins).map(bin).collect()
    }
}

impl Measure<Labels> for Calibration {
    /// Rows without probabilities; per bin rows, right ones and the sum of confidences.
    fn width(&self) -> usize {
        1 + 3 * self.bins
    }

    fn count(&self, row: &LabelRow<'_>, counts: &mut Counts) {
        let Some(probabilities) = row.probabilities else { return counts.add(0, 1.0) };
        let confidence = f64::from(probabilities[row.prediction]);
        // The product of 24 and a few bits is exact, so that a confidence on an edge falls into the bin below it.
        let bin = ((confidence * self.bins as f64).ceil() as usize).clamp(1, self.bins) - 1;
        counts.add(1 + 3 * bin, 1.0);
        counts.add(2 + 3 * bin, f64::from(row.gold == row.prediction));
        counts.add(3 + 3 * bin, confidence);
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let error: f64 = self.reliability(total).iter().map(|bin| (bin.right as f64 - bin.confidence).abs()).sum();
        let value = match total.rows {
            0 => Err(NO_ROWS.to_owned()),
            _ if total.whole(0) > 0 => Err(NO_PROBABILITIES.to_owned()),
            rows => Ok(error / rows as f64),
        };
        vec![Score::new(
            METRIC.name,
            value,
            total.rows,
            &format!("bins:{}|edges:(lo,hi]|mass:width|confidence:predicted class|dtype:f64", self.bins),
        )]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::total_of;

    #[test]
    fn edges_belong_to_the_bin_below() {
        let calibration = Calibration { bins: 4 };
        let row = |confidence: f32, gold| (gold, [confidence, 1.0 - confidence]);
        let rows = [row(0.5, 0), row(0.75, 0), row(0.76, 1), row(1.0, 0)];
        let rows: Vec<LabelRow> = rows.iter().map(|(gold, p)| LabelRow { gold: *gold, prediction: 0, probabilities: Some(p) }).collect();
        let total = total_of(&calibration, &rows);
        let bins: Vec<(u64, u64)> = calibration.reliability(&total).iter().map(|bin| (bin.rows, bin.right)).collect();
        assert_eq!(bins, [(0, 0), (1, 1), (1, 1), (2, 1)]);
        let expected = (0.5 + 0.25 + (f64::from(0.76f32) + 1.0 - 1.0)) / 4.0;
        assert!((calibration.finish(&total)[0].value.clone().unwrap() - expected).abs() < 1e-12);
    }
}
