//! Whether probabilities mean what they say: expected calibration error over bins of equal width (Guo et al., 2017), and over bins of
//! equally many rows, as the package uncertainty-calibration (Kumar et al., 2019) cuts them, which HELM uses.
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

pub const OF_EQUAL_MASS: Metric = Metric {
    name: "ece-mass",
    about: "As ece, over bins of about equally many rows, whose edges are halfway between rows; equal probabilities share a bin.",
    default: false,
    start: Start::Labels(|options| Box::new(EqualMass { bins: options.bins })),
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
        vec![error(METRIC.name, total, &self.reliability(total), "width", self.bins)]
    }
}

/// The mean distance of bins; the first sum is that of rows without probabilities.
fn error(name: &'static str, total: &Total, table: &[Bin], mass: &str, bins: usize) -> Score {
    let error: f64 = table.iter().map(|bin| (bin.right as f64 - bin.confidence).abs()).sum();
    let value = match total.rows {
        0 => Err(NO_ROWS.to_owned()),
        _ if total.whole(0) > 0 => Err(NO_PROBABILITIES.to_owned()),
        rows => Ok(error / rows as f64),
    };
    let pairs = format!("bins:{bins}|edges:(lo,hi]|mass:{mass}|confidence:predicted class|dtype:f64");
    Score::new(name, value, total.rows, &pairs)
}

/// The probability of the predicted class, and whether it is right, of all rows.
pub mod confidences {
    use super::{Counts, LabelRow, Total};

    /// Keeps those of a row; one without probabilities adds to the first sum.
    pub fn keep(row: &LabelRow<'_>, counts: &mut Counts) {
        match row.probabilities {
            Some(probabilities) => {
                counts.keep(u64::from(probabilities[row.prediction].to_bits()) << 1 | u64::from(row.gold == row.prediction));
            }
            None => counts.add(0, 1.0),
        }
    }

    pub fn kept(total: &Total) -> Vec<(f64, bool)> {
        total.kept.iter().map(|kept| (f64::from(f32::from_bits((kept >> 1) as u32)), kept & 1 == 1)).collect()
    }
}

/// Keeps the probability of the predicted class of all rows: where bins end is known when all are there.
pub struct EqualMass {
    bins: usize,
}

impl EqualMass {
    pub fn new(options: &Options) -> EqualMass {
        EqualMass { bins: options.bins }
    }

    /// The bins of rows; fewer where there are not so many rows, or many are equal.
    pub fn reliability(&self, total: &Total) -> Vec<Bin> {
        let mut rows = confidences::kept(total);
        // Which of equal rows is first has no say: they share a bin.
        rows.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let bins = self.bins.min(rows.len());
        let mut edges = Vec::with_capacity(bins);
        let mut end = 0;
        for bin in 0..bins {
            end += rows.len() / bins + usize::from(bin < rows.len() % bins);
            edges.push(if end == rows.len() { 1.0 } else { (rows[end - 1].0 + rows[end].0) / 2.0 });
        }
        edges.dedup();
        let mut table: Vec<Bin> = Vec::new();
        let mut left = rows.as_slice();
        for (bin, high) in edges.iter().copied().enumerate() {
            let (within, above) = left.split_at(left.partition_point(|row| row.0 <= high));
            table.push(Bin {
                low: if bin == 0 { 0.0 } else { edges[bin - 1] },
                high,
                rows: within.len() as u64,
                right: within.iter().filter(|row| row.1).count() as u64,
                confidence: within.iter().map(|row| row.0).sum(),
            });
            left = above;
        }
        table
    }
}

impl Measure<Labels> for EqualMass {
    /// Rows without probabilities.
    fn width(&self) -> usize {
        1
    }

    fn count(&self, row: &LabelRow<'_>, counts: &mut Counts) {
        confidences::keep(row, counts);
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        vec![error(OF_EQUAL_MASS.name, total, &self.reliability(total), "equal", self.bins)]
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

    #[test]
    fn bins_of_equal_mass_end_halfway_between_rows_and_keep_equal_ones_together() {
        let mass = EqualMass { bins: 2 };
        let rows = |confidences: &[f32]| {
            let probabilities: Vec<[f32; 2]> = confidences.iter().map(|p| [*p, 1.0 - p]).collect();
            let rows: Vec<LabelRow> = probabilities.iter().map(|p| LabelRow { gold: 0, prediction: 0, probabilities: Some(p) }).collect();
            let bins = mass.reliability(&total_of(&mass, &rows));
            bins.iter().map(|bin| (bin.low, bin.high, bin.rows)).collect::<Vec<_>>()
        };
        assert_eq!(rows(&[0.5, 1.0, 0.75, 0.625, 0.5]), [(0.0, 0.6875, 3), (0.6875, 1.0, 2)]);
        assert_eq!(rows(&[0.5, 0.5, 0.5, 1.0]), [(0.0, 0.5, 3), (0.5, 1.0, 1)]);
        assert_eq!(rows(&[1.0, 1.0]), [(0.0, 1.0, 2)]);
        assert_eq!(rows(&[0.75]), [(0.0, 1.0, 1)]);
    }
}
