//! Rows with several classes or none: ratios by class and by row, the share of rows that are right as a whole, and of wrong labels.
//! Definitions are scikit-learn's (1.9.1) for label indicators: averages run over all classes.

use super::average::{Averages, Class, Headline, Ratio};
use super::{Counts, Measure, Metric, NO_ROWS, Options, Score, SetRow, Sets, Start, Total, Worse, ratio};

pub const SUBSET_ACCURACY: Metric = Metric {
    name: "subset-accuracy",
    about: "Share of rows whose predicted classes are exactly the gold classes, 0 to 1.",
    default: true,
    start: Start::Sets(|_| Box::new(SubsetAccuracy)),
};

pub const HAMMING_LOSS: Metric = Metric {
    name: "hamming-loss",
    about: "Share of all pairs of a row and a class that are wrong, 0 to 1; 0 is perfect.",
    default: true,
    start: Start::Sets(|options| Box::new(HammingLoss { classes: options.classes.len() as u64 })),
};

/// Starts counting a ratio of classes and, within rows, of labels.
pub fn start(ratio: &'static Ratio, options: &Options) -> Box<dyn Measure<Sets>> {
    Box::new(OfSets { ratio, names: options.classes.clone(), headline: options.positive.map_or(Headline::Micro, Headline::Class) })
}

struct OfSets {
    ratio: &'static Ratio,
    names: Vec<String>,
    headline: Headline,
}

impl Measure<Sets> for OfSets {
    /// Per class: hits, gold, predicted; at last the sum of the rows' own ratios.
    fn width(&self) -> usize {
        3 * self.names.len() + 1
    }

    fn count(&self, row: &SetRow, counts: &mut Counts) {
        row.gold.iter().for_each(|class| counts.add(3 * *class as usize + 1, 1.0));
        row.prediction.iter().for_each(|class| counts.add(3 * *class as usize + 2, 1.0));
        let hits = row.gold.iter().filter(|class| row.prediction.contains(class));
        hits.clone().for_each(|class| counts.add(3 * *class as usize, 1.0));
        let labels = Class { hits: hits.count() as u64, gold: row.gold.len() as u64, predicted: row.prediction.len() as u64 };
        counts.add(3 * self.names.len(), self.ratio.or_zero(labels));
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let class =
            |class: usize| Class { hits: total.whole(3 * class), gold: total.whole(3 * class + 1), predicted: total.whole(3 * class + 2) };
        let classes: Vec<Class> = (0..self.names.len()).map(class).collect();
        let averages = Averages {
            ratio: self.ratio,
            names: &self.names,
            headline: self.headline,
            thing: "row",
            absent_too: true,
            pairs: String::new(),
        };
        let mut scores = averages.scores(&classes, total.rows);
        let samples = ratio(total.sums[3 * self.names.len()], total.rows, NO_ROWS);
        scores.insert(4, Score::new(format!("{}-samples", self.ratio.name), samples, total.rows, "average:samples|undefined:0"));
        scores
    }
}

struct SubsetAccuracy;

impl Measure<Sets> for SubsetAccuracy {
    fn width(&self) -> usize {
        1
    }

    fn count(&self, row: &SetRow, counts: &mut Counts) {
        counts.add(0, f64::from(row.gold == row.prediction));
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        vec![Score::new(SUBSET_ACCURACY.name, ratio(total.sums[0], total.rows, NO_ROWS), total.rows, "")]
    }

    fn is_right_or_wrong(&self) -> bool {
        true
    }
}

struct HammingLoss {
    classes: u64,
}

impl Measure<Sets> for HammingLoss {
    fn width(&self) -> usize {
        1
    }

    fn count(&self, row: &SetRow, counts: &mut Counts) {
        let hits = row.gold.iter().filter(|class| row.prediction.contains(class)).count();
        counts.add(0, (row.gold.len() + row.prediction.len() - 2 * hits) as f64);
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let value = ratio(total.sums[0], total.rows * self.classes, NO_ROWS);
        vec![Score::new(HAMMING_LOSS.name, value, total.rows, &format!("classes:{}", self.classes))]
    }

    fn worse_rows(&self) -> Option<Worse> {
        Some(Worse::Higher)
    }
}
