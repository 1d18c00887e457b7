//! The confusion counts of a classification: how often each gold class was predicted as each class.
//! Not a metric itself: accuracy, precision, recall and F1 are ratios of its sums.

use super::{LabelRow, Options};

/// Counts by gold class and predicted class.
#[derive(Clone, Debug)]
pub struct Confusion {
    classes: usize,
    /// Row-major: gold class, then predicted class.
    counts: Vec<u64>,
}

impl Confusion {
    pub fn new(options: &Options) -> Confusion {
        let classes = options.classes.len();
        Confusion { classes, counts: vec![0; classes * classes] }
    }

    pub fn push(&mut self, rows: &[LabelRow]) {
        for row in rows {
            self.counts[row.gold * self.classes + row.prediction] += row.count;
        }
    }

    pub fn count(&self, gold: usize, prediction: usize) -> u64 {
        self.counts[gold * self.classes + prediction]
    }

    pub fn rows(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Rows of the class that were predicted as it: the true positives.
    pub fn hits(&self, class: usize) -> u64 {
        self.count(class, class)
    }

    /// Rows whose gold label is the class.
    pub fn gold(&self, class: usize) -> u64 {
        (0..self.classes).map(|prediction| self.count(class, prediction)).sum()
    }

    /// Rows predicted as the class.
    pub fn predicted(&self, class: usize) -> u64 {
        (0..self.classes).map(|gold| self.count(gold, class)).sum()
    }

    /// Classes found among the gold labels or the predictions; scikit-learn averages over these alone.
    pub fn present(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.classes).filter(|&class| self.gold(class) + self.predicted(class) > 0)
    }

    /// The class with most gold labels, the first of several; `None` without rows.
    pub fn majority(&self) -> Option<usize> {
        (0..self.classes).filter(|&class| self.gold(class) > 0).rev().max_by_key(|&class| self.gold(class))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confusion(rows: &[(usize, usize)]) -> Confusion {
        let options = Options { classes: ["a", "b", "c", "d"].map(String::from).to_vec(), ..Options::default() };
        let mut confusion = Confusion::new(&options);
        for &(gold, prediction) in rows {
            confusion.push(&[LabelRow { gold, prediction, count: 1 }]);
        }
        confusion
    }

    #[test]
    fn counts_by_gold_and_prediction() {
        let confusion = confusion(&[(0, 0), (0, 2), (0, 2), (1, 0)]);
        assert_eq!((confusion.rows(), confusion.count(0, 2), confusion.count(2, 0)), (4, 2, 0));
        assert_eq!((confusion.hits(0), confusion.gold(0), confusion.predicted(0)), (1, 3, 2));
        assert_eq!(confusion.present().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn the_majority_of_a_tie_is_the_first_class() {
        assert_eq!(confusion(&[]).majority(), None);
        assert_eq!(confusion(&[(2, 0), (1, 0), (1, 3), (2, 2)]).majority(), Some(1));
    }
}
