//! The confusion counts of a classification: how often each gold class was predicted as each class.
//! Precision, recall, F1 and their like are ratios of its sums.

use super::{Counts, LabelRow, Labels, Measure, Options, Score, Total};

/// Counts by gold class and predicted class.
#[derive(Clone, Debug)]
pub struct Confusion {
    classes: usize,
    /// Row-major: gold class, then predicted class.
    counts: Vec<u64>,
    gold: Vec<u64>,
    predicted: Vec<u64>,
}

impl Confusion {
    /// How many sums the counts of so many classes are.
    pub fn width(classes: usize) -> usize {
        classes * classes
    }

    /// What a row adds.
    pub fn add(classes: usize, row: &LabelRow<'_>, counts: &mut Counts) {
        counts.add(row.gold * classes + row.prediction, 1.0);
    }

    pub fn new(classes: usize, total: &Total) -> Confusion {
        let counts: Vec<u64> = (0..Confusion::width(classes)).map(|slot| total.whole(slot)).collect();
        let gold = (0..classes).map(|gold| counts[gold * classes..][..classes].iter().sum()).collect();
        let predicted = (0..classes).map(|class| counts.iter().skip(class).step_by(classes).sum()).collect();
        Confusion { classes, counts, gold, predicted }
    }

    pub fn count(&self, gold: usize, prediction: usize) -> u64 {
        self.counts[gold * self.classes + prediction]
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    pub fn rows(&self) -> u64 {
        self.gold.iter().sum()
    }

    /// Rows of the class that were predicted as it: the true positives.
    pub fn hits(&self, class: usize) -> u64 {
        self.count(class, class)
    }

    /// Rows by their gold label.
    pub fn golds(&self) -> &[u64] {
        &self.gold
    }

    /// Rows whose gold label is the class.
    pub fn gold(&self, class: usize) -> u64 {
        self.gold[class]
    }

    /// Rows predicted as the class.
    pub fn predicted(&self, class: usize) -> u64 {
        self.predicted[class]
    }

    /// The class with most gold labels, the first of several; `None` without rows.
    pub fn majority(&self) -> Option<usize> {
        (0..self.classes).filter(|&class| self.gold(class) > 0).rev().max_by_key(|&class| self.gold(class))
    }
}

type Finish = Box<dyn Fn(&Confusion) -> Vec<Score> + Send + Sync>;

/// A measure made of a function of the confusion counts.
pub struct OfConfusion {
    classes: usize,
    finish: Finish,
}

impl OfConfusion {
    pub fn start(options: &Options, finish: impl Fn(&Confusion) -> Vec<Score> + Send + Sync + 'static) -> Box<dyn Measure<Labels>> {
        Box::new(OfConfusion { classes: options.classes.len(), finish: Box::new(finish) })
    }
}

impl Measure<Labels> for OfConfusion {
    fn width(&self) -> usize {
        Confusion::width(self.classes)
    }

    fn count(&self, row: &LabelRow<'_>, counts: &mut Counts) {
        Confusion::add(self.classes, row, counts);
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        (self.finish)(&Confusion::new(self.classes, total))
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn counts_what(&self) -> Option<&'static str> {
        Some("confusion")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::total_of;

    fn confusion(rows: &[(usize, usize)]) -> Confusion {
        let options = Options { classes: ["a", "b", "c", "d"].map(String::from).to_vec(), ..Options::default() };
        let rows: Vec<LabelRow> = rows.iter().map(|&(gold, prediction)| LabelRow { gold, prediction, probabilities: None }).collect();
        Confusion::new(4, &total_of(OfConfusion::start(&options, |_| vec![]).as_ref(), &rows))
    }

    #[test]
    fn counts_by_gold_and_prediction() {
        let confusion = confusion(&[(0, 0), (0, 2), (0, 2), (1, 0)]);
        assert_eq!((confusion.rows(), confusion.count(0, 2), confusion.count(2, 0)), (4, 2, 0));
        assert_eq!((confusion.hits(0), confusion.gold(0), confusion.predicted(0)), (1, 3, 2));
    }

    #[test]
    fn the_majority_of_a_tie_is_the_first_class() {
        assert_eq!(confusion(&[]).majority(), None);
        assert_eq!(confusion(&[(2, 0), (1, 0), (1, 3), (2, 2)]).majority(), Some(1));
    }
}
