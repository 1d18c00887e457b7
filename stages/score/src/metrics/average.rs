//! Per-class ratios and their averages, shared by precision, recall and F1 of classes, sets of classes and entities.
//!
//! Definitions are scikit-learn's (1.9.1, `precision_recall_fscore_support`), which seqeval follows. For one class a row and for
//! entities, averages run over the classes found in gold or predictions; for sets of classes, over all. Macro weighs classes
//! equally, weighted by what is gold, micro divides the summed counts.
//! A class whose own ratio is 0 / 0 is null with a reason, never 0. Within macro and weighted such a class counts
//! as 0, exactly as with scikit-learn's default `zero_division=0`: leaving it out would reward a model for never
//! predicting a hard class, and the numbers would not compare with anyone's. The signature says `undefined:0`.

use super::confusion::OfConfusion;
use super::{Labels, Measure, NO_ROWS, Options, Score, ratio};

/// What was counted of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// Gold and predicted.
    pub hits: u64,
    pub gold: u64,
    pub predicted: u64,
}

impl Class {
    fn plus(self, other: Class) -> Class {
        Class { hits: self.hits + other.hits, gold: self.gold + other.gold, predicted: self.predicted + other.predicted }
    }
}

/// A ratio of a class's counts.
pub struct Ratio {
    /// Name of the metric.
    pub name: &'static str,
    /// Numerator and denominator for a class.
    pub of: fn(Class) -> (u64, u64),
    /// Why the ratio is undefined when its denominator is 0: for a `thing` (row, entity) and, if it is of one, a class.
    pub undefined: fn(&str, Option<&str>) -> String,
}

impl Ratio {
    /// As scikit-learn sees 0 / 0 within averages.
    pub fn or_zero(&self, class: Class) -> f64 {
        let (numerator, denominator) = (self.of)(class);
        if denominator == 0 { 0.0 } else { numerator as f64 / denominator as f64 }
    }
}

/// The score that bears the metric's name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headline {
    Micro,
    Macro,
    /// That of one class.
    Class(usize),
}

/// How the scores of classes are named and averaged.
pub struct Averages<'a> {
    pub ratio: &'static Ratio,
    pub names: &'a [String],
    pub headline: Headline,
    /// What is counted: `row` or `entity`.
    pub thing: &'static str,
    /// Whether classes that are neither gold nor predicted count in averages.
    pub absent_too: bool,
    /// Begins every signature; empty or ends with a bar.
    pub pairs: String,
}

impl Averages<'_> {
    /// The headline, the three averages, then one score per class. `rows` is their count.
    pub fn scores(&self, classes: &[Class], rows: u64) -> Vec<Score> {
        let name = self.ratio.name;
        let present: Vec<Class> =
            classes.iter().filter(|class| self.absent_too && rows > 0 || class.gold + class.predicted > 0).copied().collect();
        let averages = [("micro", self.micro(&present)), ("macro", self.macro_average(&present)), ("weighted", self.weighted(&present))];
        let (value, pairs) = match self.headline {
            Headline::Micro => (averages[0].1.clone(), self.averaged("micro")),
            Headline::Macro => (averages[1].1.clone(), self.averaged("macro")),
            Headline::Class(class) => (self.value(class, classes[class]), format!("average:binary|positive:{}", self.names[class])),
        };
        let mut scores = vec![self.score(name.to_owned(), value, rows, pairs)];
        for (average, value) in averages {
            scores.push(self.score(format!("{name}-{average}"), value, rows, self.averaged(average)));
        }
        for (index, class) in classes.iter().enumerate() {
            let score = self.score(name.to_owned(), self.value(index, *class), class.gold, "average:none".to_owned());
            scores.push(score.of_class(&self.names[index]));
        }
        scores
    }

    fn score(&self, metric: String, value: Result<f64, String>, count: u64, pairs: String) -> Score {
        Score::new(metric, value, count, &format!("{}{pairs}", self.pairs))
    }

    fn value(&self, index: usize, class: Class) -> Result<f64, String> {
        let (numerator, denominator) = (self.ratio.of)(class);
        ratio(numerator as f64, denominator, &(self.ratio.undefined)(self.thing, Some(&self.names[index])))
    }

    fn micro(&self, present: &[Class]) -> Result<f64, String> {
        let (numerator, denominator) = (self.ratio.of)(present.iter().fold(Class::default(), |sum, class| sum.plus(*class)));
        ratio(numerator as f64, denominator, &self.nothing(present))
    }

    fn macro_average(&self, present: &[Class]) -> Result<f64, String> {
        let sum: f64 = present.iter().map(|class| self.ratio.or_zero(*class)).sum();
        ratio(sum, present.len() as u64, &self.nothing(present))
    }

    fn weighted(&self, present: &[Class]) -> Result<f64, String> {
        let sum: f64 = present.iter().map(|class| class.gold as f64 * self.ratio.or_zero(*class)).sum();
        let reason = if present.is_empty() { self.nothing(present) } else { format!("no {} is gold", self.thing) };
        ratio(sum, present.iter().map(|class| class.gold).sum(), &reason)
    }

    fn nothing(&self, present: &[Class]) -> String {
        match present {
            [] if self.thing == "row" => NO_ROWS.to_owned(),
            _ => (self.ratio.undefined)(self.thing, None),
        }
    }

    fn averaged(&self, average: &str) -> String {
        let labels = if self.absent_too { "all" } else { "gold+predicted" };
        format!("average:{average}|labels:{labels}|undefined:0")
    }
}

/// Starts counting a ratio of single classes.
pub fn of_labels(ratio: &'static Ratio, options: &Options) -> Box<dyn Measure<Labels>> {
    let names = options.classes.clone();
    let headline = options.positive.map_or(Headline::Macro, Headline::Class);
    OfConfusion::start(options, move |confusion| {
        let class = |class| Class { hits: confusion.hits(class), gold: confusion.gold(class), predicted: confusion.predicted(class) };
        let classes: Vec<Class> = (0..names.len()).map(class).collect();
        let averages = Averages { ratio, names: &names, headline, thing: "row", absent_too: false, pairs: String::new() };
        averages.scores(&classes, confusion.rows())
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, LabelRow, Labels, METRICS, Options};
    use crate::counts::scores_of;

    /// Scores of a metric as `name[class] value or reason`, one per line.
    fn check(metric: &str, positive: Option<usize>, rows: &[(usize, usize)], expected: &str) {
        let options = Options { classes: ["ham", "spam", "eggs"].map(String::from).to_vec(), positive, ..Options::default() };
        let measure = METRICS.iter().filter(|entry| entry.name == metric).find_map(|entry| Labels::measure(&entry.start, &options));
        let rows: Vec<LabelRow> = rows.iter().map(|&(gold, prediction)| LabelRow { gold, prediction, probabilities: None }).collect();
        let lines: Vec<String> = scores_of(measure.unwrap().as_ref(), &rows)
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
             f1[ham] 0.8571\nf1[spam] 0.0000\nf1[eggs] null: no row is `eggs` in gold or predictions",
        );
    }

    #[test]
    fn a_class_only_predicted_has_no_recall_and_counts_in_macro() {
        check(
            "recall",
            None,
            &[(0, 0), (0, 2)],
            "recall 0.2500\nrecall-micro 0.5000\nrecall-macro 0.2500\nrecall-weighted 0.5000\n\
             recall[ham] 0.5000\nrecall[spam] null: no row is `spam` in gold\nrecall[eggs] null: no row is `eggs` in gold",
        );
    }
}
