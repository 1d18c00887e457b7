//! The metrics: what each one counts while rows stream by, and the scores it gives at the end.
//!
//! A metric is one file here plus two lines below (its `mod` and its entry in [`METRICS`]).
//! Statistics are integers wherever the definition allows and are summed in row order otherwise,
//! so that a score is the same to the last bit for any number of threads.
//! Nothing here reads files: see the stage for that.

mod accuracy;
mod average;
mod bits_per_byte;
pub mod bleu;
pub mod confusion;
mod f1;
mod perplexity;
mod precision;
mod recall;
mod token_accuracy;

/// All metrics, in the order in which their scores are written.
pub const METRICS: &[Metric] = &[
    accuracy::METRIC,
    precision::METRIC,
    recall::METRIC,
    f1::METRIC,
    bleu::METRIC,
    perplexity::METRIC,
    bits_per_byte::METRIC,
    token_accuracy::METRIC,
];

/// One metric: its name in configs and score tables, what it says, and how to start counting.
pub struct Metric {
    /// Kebab-case, unique in [`METRICS`].
    pub name: &'static str,
    /// One sentence with a full stop.
    pub about: &'static str,
    /// Starts an accumulator for one system; the variant tells which prediction task the metric applies to.
    pub start: Start,
}

impl Metric {
    /// The prediction task the metric applies to, as named by the fact `task` of predictions.
    pub fn task(&self) -> &'static str {
        match self.start {
            Start::LanguageModelling(_) => "language-modelling",
            Start::Classify(_) => "classify",
            Start::Complete(_) => "complete",
        }
    }
}

/// Starts an accumulator over the rows of one prediction task.
pub enum Start {
    LanguageModelling(fn(&Options) -> Box<dyn Accumulator<TokenRow>>),
    Classify(fn(&Options) -> Box<dyn Accumulator<LabelRow>>),
    Complete(fn(&Options) -> Box<TextAccumulator>),
}

/// What metrics need to know before the first row.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of the classes; labels of rows are indices into it.
    pub classes: Vec<String>,
    /// Index of the class that precision, recall and F1 speak of; without it they are macro averages.
    pub positive: Option<usize>,
    /// Settings of BLEU.
    pub bleu: bleu::Settings,
}

/// Sums up rows of one system. Rows must be valid: the stage refuses bad ones before they come here.
pub trait Accumulator<Row> {
    /// Counts rows, in order.
    fn push(&mut self, rows: &[Row]);
    /// The scores of all rows counted so far.
    fn finish(&self) -> Vec<Score>;
}

/// Accumulates text rows, which are only borrowed for each push.
pub type TextAccumulator = dyn for<'a> Accumulator<TextRow<'a>>;

/// A row of language modelling: the sums over some predicted tokens.
#[derive(Clone, Copy, Debug)]
pub struct TokenRow {
    /// Negative log-likelihood in nats, summed over the tokens.
    pub nll: f64,
    /// Predicted tokens.
    pub tokens: u64,
    /// Tokens whose likeliest prediction was right; `None` where the system does not tell.
    pub correct: Option<u64>,
    /// UTF-8 bytes the tokens stand for; `None` where unknown.
    pub bytes: Option<u64>,
}

/// `count` rows of classification with the same labels.
#[derive(Clone, Copy, Debug)]
pub struct LabelRow {
    pub gold: usize,
    pub prediction: usize,
    pub count: u64,
}

/// A row of completion: one written text and the texts it is held against, at least one.
#[derive(Clone, Copy, Debug)]
pub struct TextRow<'a> {
    pub hypothesis: &'a str,
    pub references: &'a [&'a str],
}

/// One number of a metric, or the reason why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    pub metric: String,
    /// The class a per-class score speaks of.
    pub class: Option<String>,
    /// `Err` holds why the score is undefined.
    pub value: Result<f64, String>,
    /// Rows the score was computed over; for a class its gold rows, for language modelling tokens or bytes.
    pub count: u64,
    /// How it was computed, in the form of sacrebleu: `key:value|…|version:corpusmill-X`.
    pub signature: String,
}

/// Ends a signature: `version:corpusmill-X`, after `pairs` and a bar unless there are none.
fn signature(pairs: &str) -> String {
    let bar = if pairs.is_empty() { "" } else { "|" };
    format!("{pairs}{bar}version:corpusmill-{}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_kebab_case() {
        for (index, metric) in METRICS.iter().enumerate() {
            let name = metric.name;
            assert!(METRICS[..index].iter().all(|earlier| earlier.name != name), "{name} is listed twice");
            assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
        }
    }

    #[test]
    fn every_metric_says_what_it_is() {
        for metric in METRICS {
            assert!(metric.about.len() > 20 && metric.about.ends_with('.'), "{}: {}", metric.name, metric.about);
        }
    }

    #[test]
    fn without_rows_every_score_is_undefined_with_a_reason() {
        let options = Options { classes: vec!["ham".into(), "spam".into()], ..Options::default() };
        for metric in METRICS {
            let scores = match metric.start {
                Start::LanguageModelling(start) => start(&options).finish(),
                Start::Classify(start) => start(&options).finish(),
                Start::Complete(start) => start(&options).finish(),
            };
            assert!(scores.iter().any(|score| score.metric == metric.name && score.class.is_none()), "{}", metric.name);
            for score in scores {
                let reason = score.value.expect_err(&score.metric);
                assert!(!reason.is_empty() && !reason.ends_with('.'), "{}: {reason}", score.metric);
                assert!(score.metric.starts_with(metric.name) && score.count == 0);
                assert!(score.signature.ends_with(concat!("version:corpusmill-", env!("CARGO_PKG_VERSION"))));
            }
        }
    }
}
