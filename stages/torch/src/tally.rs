//! What the tries on the valid split count besides loss and right predictions: F1 of labels and entities, correlation, pairs of segments.

use std::collections::BTreeMap;

/// Counts of a batch or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Labels or entities that are right, predicted and gold.
    pub hits: u64,
    pub predicted: u64,
    pub gold: u64,
    /// Numbers: how many, Σx, Σy, Σx², Σy² and Σxy of predictions x and golds y.
    pub moments: [f64; 6],
    /// Pairs of segments: how many, their negative log-likelihood, and how many are right (outside of training).
    pub pairs: u64,
    pub pairs_nll: f64,
    pub pairs_correct: u64,
    /// Where documents have weights: Σ weight × loss and Σ weight.
    pub weighted: Option<[f64; 2]>,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.hits += other.hits;
        self.predicted += other.predicted;
        self.gold += other.gold;
        self.moments.iter_mut().zip(other.moments).for_each(|(sum, more)| *sum += more);
        self.pairs += other.pairs;
        self.pairs_nll += other.pairs_nll;
        self.pairs_correct += other.pairs_correct;
        if let Some([loss, weight]) = other.weighted {
            let [sum, weights] = self.weighted.unwrap_or_default();
            self.weighted = Some([sum + loss, weights + weight]);
        }
    }
}

impl Tally {
    /// Counts a prediction x of a number y.
    pub fn number(&mut self, x: f64, y: f64) {
        self.moments.iter_mut().zip([1.0, x, y, x * x, y * y, x * y]).for_each(|(sum, more)| *sum += more);
    }

    /// The scores that the counts allow, by name; those that are not finite are left out, as JSON has no such numbers. `trained` leaves out
    /// those that are only counted outside of training.
    pub fn scores(&self, trained: bool) -> BTreeMap<String, f64> {
        let mut scores = BTreeMap::new();
        let mut note = |name: &str, value: f64| {
            if value.is_finite() {
                scores.insert(name.to_string(), value);
            }
        };
        if self.pairs > 0 {
            note("pair_loss", self.pairs_nll / self.pairs as f64);
        }
        if let Some([loss, weight]) = self.weighted.filter(|[_, weight]| *weight > 0.0) {
            note("weighted_loss", loss / weight);
        }
        if trained {
            return scores;
        }
        if self.pairs > 0 {
            note("pair_accuracy", self.pairs_correct as f64 / self.pairs as f64);
        }
        if self.predicted + self.gold > 0 {
            note("f1", 2.0 * self.hits as f64 / (self.predicted + self.gold) as f64);
        }
        let [n, x, y, xx, yy, xy] = self.moments;
        let spread = (n * xx - x * x) * (n * yy - y * y);
        if spread > 0.0 {
            note("pearson", (n * xy - x * y) / spread.sqrt());
        }
        scores
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_follow_from_counts() {
        let mut tally = Tally { hits: 2, predicted: 3, gold: 5, pairs: 4, pairs_nll: 2.0, pairs_correct: 3, ..Tally::default() };
        for (x, y) in [(1.0, 2.0), (2.0, 4.0), (3.0, 5.0)] {
            tally.number(x, y);
        }
        let scores = tally.scores(false);
        assert_eq!((scores["f1"], scores["pair_loss"], scores["pair_accuracy"]), (0.5, 0.5, 0.75));
        // numpy.corrcoef([1, 2, 3], [2, 4, 5])
        assert!((scores["pearson"] - 0.981_980_506_061_965_7).abs() < 1e-12);
        assert_eq!(tally.scores(true).into_keys().collect::<Vec<_>>(), ["pair_loss"]);
        assert!(Tally::default().scores(false).is_empty());
        let tally = Tally { pairs: 2, pairs_nll: f64::NAN, weighted: Some([f64::INFINITY, 1.0]), ..Tally::default() };
        assert_eq!(tally.scores(false), BTreeMap::from([("pair_accuracy".to_string(), 0.0)]));
    }
}
