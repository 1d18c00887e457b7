//! Per-class ratios of a classification and their averages, shared by precision, recall and F1.
//!
//! Definitions are scikit-learn's (1.9.1, `precision_recall_fscore_support`): averages run over the labels found in
//! gold or predictions; macro weighs them equally, weighted by gold rows, micro divides the summed counts.
//! A class whose own ratio is 0 / 0 is null with a reason, never 0. Within macro and weighted such a class counts
//! as 0, exactly as with scikit-learn's default `zero_division=0`: leaving it out would reward a model for never
//! predicting a hard class, and the numbers would not compare with anyone's. The signature says `undefined:0`.

use super::{Accumulator, LabelRow, Options, Score, confusion::Confusion, signature};

/// A ratio of confusion counts, for one class.
pub struct Ratio {
    /// Name of the metric.
    pub name: &'static str,
    /// Numerator and denominator for a class.
    pub of: fn(&Confusion, usize) -> (u64, u64),
    /// Why the ratio of the named class is undefined when its denominator is 0.
    pub undefined: fn(&str) -> String,
}

/// Starts counting for a ratio.
pub fn start(ratio: &'static Ratio, options: &Options) -> Box<dyn Accumulator<LabelRow>> {
    Box::new(Averaged { ratio, options: options.clone(), confusion: Confusion::new(options) })
}

struct Averaged {
    ratio: &'static Ratio,
    options: Options,
    confusion: Confusion,
}

impl Accumulator<LabelRow> for Averaged {
    fn push(&mut self, rows: &[LabelRow]) {
        self.confusion.push(rows);
    }

    /// The headline score (of the positive class, otherwise macro), the three averages, then one score per class.
    fn finish(&self) -> Vec<Score> {
        let name = self.ratio.name;
        let averages = [("micro", self.micro()), ("macro", self.macro_average()), ("weighted", self.weighted())];
        let mut scores = vec![self.headline()];
        for (average, value) in averages {
            scores.push(self.score(format!("{name}-{average}"), None, value, averaged(average)));
        }
        for (class, label) in self.options.classes.iter().enumerate() {
            let score = self.score(name.to_owned(), Some(label.clone()), self.value(class), "average:none".to_owned());
            scores.push(Score { count: self.confusion.gold(class), ..score });
        }
        scores
    }
}

impl Averaged {
    fn headline(&self) -> Score {
        let (value, pairs) = match self.options.positive {
            Some(class) => (self.value(class), format!("average:binary|positive:{}", self.options.classes[class])),
            None => (self.macro_average(), averaged("macro")),
        };
        self.score(self.ratio.name.to_owned(), None, value, pairs)
    }

    fn score(&self, metric: String, class: Option<String>, value: Result<f64, String>, pairs: String) -> Score {
        Score { metric, class, value, count: self.confusion.rows(), signature: signature(&pairs) }
    }

    fn value(&self, class: usize) -> Result<f64, String> {
        let (numerator, denominator) = (self.ratio.of)(&self.confusion, class);
        divide(numerator as f64, denominator).ok_or_else(|| (self.ratio.undefined)(&self.options.classes[class]))
    }

    fn micro(&self) -> Result<f64, String> {
        let ratios = self.confusion.present().map(|class| (self.ratio.of)(&self.confusion, class));
        let (numerator, denominator) = ratios.fold((0, 0), |sum, ratio| (sum.0 + ratio.0, sum.1 + ratio.1));
        divide(numerator as f64, denominator).ok_or_else(no_rows)
    }

    fn macro_average(&self) -> Result<f64, String> {
        let sum: f64 = self.confusion.present().map(|class| self.value(class).unwrap_or(0.0)).sum();
        divide(sum, self.confusion.present().count() as u64).ok_or_else(no_rows)
    }

    fn weighted(&self) -> Result<f64, String> {
        let weigh = |class| self.confusion.gold(class) as f64 * self.value(class).unwrap_or(0.0);
        divide(self.confusion.present().map(weigh).sum(), self.confusion.rows()).ok_or_else(no_rows)
    }
}

fn divide(numerator: f64, denominator: u64) -> Option<f64> {
    (denominator > 0).then(|| numerator / denominator as f64)
}

fn averaged(average: &str) -> String {
    format!("average:{average}|labels:gold+predicted|undefined:0")
}

fn no_rows() -> String {
    "there are no rows".to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::{LabelRow, METRICS, Options, Start};

    /// Scores of a metric as `name[class] value or reason`, one per line.
    fn check(metric: &str, positive: Option<usize>, rows: &[(usize, usize)], expected: &str) {
        let options = Options { classes: ["ham", "spam", "eggs"].map(String::from).to_vec(), positive, ..Options::default() };
        let metric = METRICS.iter().find(|entry| entry.name == metric).unwrap();
        let Start::Classify(start) = metric.start else { panic!("{} is not for classify", metric.name) };
        let mut accumulator = start(&options);
        for &(gold, prediction) in rows {
            accumulator.push(&[LabelRow { gold, prediction, count: 1 }]);
        }
        let lines: Vec<String> = accumulator
            .finish()
            .iter()
            .map(|score| {
                let class = score.class.as_ref().map(|class| format!("[{class}]")).unwrap_or_default();
                let value = score.value.as_ref().map_or_else(|reason| format!("null: {reason}"), |value| format!("{value:.4}"));
                format!("{}{class} {value}", score.metric)
            })
            .collect();
        assert_eq!(lines.join("\n"), expected);
    }

    #[test]
    fn a_class_never_predicted_has_no_precision_and_counts_as_zero_in_averages() {
        let rows = [(0, 0), (0, 0), (0, 0), (1, 0)];
        check(
            "precision",
            Some(1),
            &rows,
            "precision null: no row is predicted as `spam`\n\
             precision-micro 0.7500\nprecision-macro 0.3750\nprecision-weighted 0.5625\n\
             precision[ham] 0.7500\n\
             precision[spam] null: no row is predicted as `spam`\n\
             precision[eggs] null: no row is predicted as `eggs`",
        );
        check(
            "f1",
            Some(1),
            &rows,
            "f1 0.0000\nf1-micro 0.7500\nf1-macro 0.4286\nf1-weighted 0.6429\n\
             f1[ham] 0.8571\nf1[spam] 0.0000\nf1[eggs] null: `eggs` is neither a gold label nor predicted",
        );
    }

    #[test]
    fn a_class_only_predicted_has_no_recall_and_counts_in_macro() {
        check(
            "recall",
            None,
            &[(0, 0), (0, 2)],
            "recall 0.2500\nrecall-micro 0.5000\nrecall-macro 0.2500\nrecall-weighted 0.5000\n\
             recall[ham] 0.5000\nrecall[spam] null: no gold label is `spam`\nrecall[eggs] null: no gold label is `eggs`",
        );
    }
}
