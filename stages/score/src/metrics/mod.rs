//! The metrics: what each one counts while rows stream by, and the scores it gives at the end.
//!
//! A metric is one file here plus two lines below (its `mod` and its entry in [`METRICS`]); metrics with one formula for several
//! kinds of predictions share a file and have an entry each.
//! A metric counts row by row: it adds to sums, of integers wherever the definition allows, and keeps values where no sum will do
//! (ranks). Rows are added in their order, or in any order where sums of whole numbers are exact, so that a score is the same to the last
//! bit for any number of threads, and what a row counted can be drawn again for intervals and tests. Nothing here reads files: see the
//! stage for that.

mod accuracy;
mod agreement;
mod answers;
mod average;
pub mod bleu;
pub mod calibration;
mod choices;
mod chrf;
pub mod confusion;
mod counterfactual;
mod entities;
mod f1;
mod kind;
mod ngrams;
mod perplexity;
mod precision;
mod probabilities;
mod ranking;
mod rates;
mod recall;
mod regression;
pub mod rouge;
mod schemes;
mod selection_rate;
mod selective;
mod sets;
pub mod ter;
mod texts;
mod token_accuracy;

use engine::Choice;

pub use self::answers::Squad;
pub use self::kind::{
    AnswerRow, Answers, ChoiceRow, Choices, ContrastRow, Contrasts, Kind, LabelRow, Labels, NumberRow, Numbers, SetRow, Sets, Start,
    TagRow, Tags, TextRow, Texts, TokenRow, Tokens,
};
pub use self::schemes::Scheme;
pub use crate::counts::{Counts, Total};

/// All metrics, in the order in which their scores are written.
pub const METRICS: &[Metric] = &[
    accuracy::METRIC,
    agreement::BALANCED_ACCURACY,
    precision::METRIC,
    precision::OF_SETS,
    precision::OF_ENTITIES,
    recall::METRIC,
    recall::OF_SETS,
    recall::OF_ENTITIES,
    f1::METRIC,
    f1::OF_SETS,
    f1::OF_ENTITIES,
    sets::SUBSET_ACCURACY,
    sets::HAMMING_LOSS,
    agreement::MCC,
    agreement::KAPPA,
    ranking::ROC_AUC,
    ranking::AVERAGE_PRECISION,
    probabilities::LOG_LOSS,
    probabilities::BRIER,
    calibration::METRIC,
    calibration::OF_EQUAL_MASS,
    selection_rate::METRIC,
    selective::METRIC,
    regression::PEARSON,
    regression::SPEARMAN,
    regression::MSE,
    regression::MAE,
    answers::EXACT_MATCH,
    answers::F1,
    bleu::METRIC,
    chrf::CHRF,
    chrf::CHRF_WORDS,
    ter::METRIC,
    rouge::ROUGE_1,
    rouge::ROUGE_2,
    rouge::ROUGE_L,
    rouge::ROUGE_LSUM,
    texts::EXACT_MATCH,
    texts::DISTINCT_1,
    texts::DISTINCT_2,
    texts::DISTINCT_3,
    texts::DISTINCT_4,
    texts::REPETITION_1,
    texts::REPETITION_2,
    texts::REPETITION_3,
    texts::REPETITION_4,
    perplexity::METRIC,
    perplexity::OF_TEXTS,
    rates::BITS_PER_BYTE,
    rates::BYTE_PERPLEXITY,
    rates::WORD_PERPLEXITY,
    rates::BITS_PER_WORD,
    token_accuracy::METRIC,
    token_accuracy::OF_TAGS,
    choices::ACC,
    choices::ACC_NORM,
    choices::ACC_BYTES,
    choices::ACC_MUTUAL_INFO,
    counterfactual::CROWS_PAIRS,
    counterfactual::STEREOSET,
];

/// One metric: its name in configs and score tables, what it says, and how to start counting.
pub struct Metric {
    /// Kebab-case, unique in [`METRICS`] among those of one kind of predictions.
    pub name: &'static str,
    /// One sentence with a full stop.
    pub about: &'static str,
    /// Whether it is computed where no metrics are named.
    pub default: bool,
    /// Makes the measure; the variant tells which predictions the metric applies to.
    pub start: Start,
}

/// All metrics as values of the setting `metrics`, by the task of the predictions.
pub fn choices() -> Vec<Choice> {
    let of = |metric: &Metric| metric.start.task();
    let choice =
        |metric: &Metric| Choice { setting: "metrics", of: of(metric), name: metric.name, about: metric.about, default: metric.default };
    let mut choices: Vec<Choice> = METRICS.iter().map(choice).collect();
    choices.sort_by_key(|choice| METRICS.iter().position(|metric| of(metric) == choice.of));
    choices
}

/// What metrics need to know before the first row.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of the classes or tags; labels of rows are indices into it.
    pub classes: Vec<String>,
    /// Index of the class that precision, recall and F1 speak of; without it they are macro averages.
    pub positive: Option<usize>,
    /// Settings of BLEU.
    pub bleu: bleu::Settings,
    /// The scheme of tags that entities are read in strictly; without it they are read as conlleval reads them.
    pub strict: Option<Scheme>,
    /// Whose script compares answers.
    pub squad: Squad,
    /// Bins of confidence.
    pub bins: usize,
    /// How TER cuts texts.
    pub ter: ter::Settings,
    /// How ROUGE cuts texts.
    pub rouge: rouge::Settings,
}

impl Default for Options {
    fn default() -> Options {
        let (classes, positive, bleu, strict, squad, ter, rouge) = Default::default();
        Options { classes, positive, bleu, strict, squad, bins: 10, ter, rouge }
    }
}

/// Checks the tags of predictions of the task `tag`.
pub fn check_tags(options: &Options) -> anyhow::Result<()> {
    schemes::Tagset::new(&options.classes, options.strict).map(|_| ())
}

/// Counts rows and gives the scores. Rows must be valid: the stage refuses bad ones before they come here.
pub trait Measure<K: Kind>: Send + Sync {
    /// How many sums it adds to.
    fn width(&self) -> usize;

    /// What one row adds to the sums, and keeps.
    fn count(&self, row: &K::Row<'_>, counts: &mut Counts);

    /// Counts rows one after another.
    fn count_all(&self, rows: &[K::Row<'_>], counts: &mut Counts) {
        for row in rows {
            self.count(row, counts);
            counts.end_row();
        }
    }

    /// Whether all it adds are whole numbers and nothing is kept, so that rows may be added up in any order.
    fn is_whole(&self) -> bool {
        false
    }

    /// A name for what it counts, where others count the same: one of them then counts for all.
    fn counts_what(&self) -> Option<&'static str> {
        None
    }

    /// The scores of rows, always as many and in the same order.
    fn finish(&self, total: &Total) -> Vec<Score>;

    /// Whether a row is right or wrong, and the first sum that of the right ones.
    fn is_right_or_wrong(&self) -> bool {
        false
    }

    /// Whether a row, of which this was counted, is one that the score at a place of [`Measure::finish`] speaks of.
    fn is_row_of(&self, _score: usize, _amounts: &[(u32, f64)]) -> bool {
        true
    }

    /// For means of rows: which rows are the worse ones.
    fn worse_rows(&self) -> Option<Worse> {
        self.is_right_or_wrong().then_some(Worse::Lower)
    }

    /// For means of rows: the sum whose mean is the score at a place of [`Measure::finish`].
    fn sum_of(&self, _score: usize) -> usize {
        0
    }

    /// Whether drawing rows again, some twice, says how far the score may be off.
    fn can_be_redrawn(&self) -> bool {
        true
    }
}

/// Which of two values of a row is the worse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// Of scores.
    Lower,
    /// Of losses.
    Higher,
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

impl Score {
    fn new(metric: impl Into<String>, value: Result<f64, String>, count: u64, pairs: &str) -> Score {
        Score { metric: metric.into(), class: None, value, count, signature: signature(pairs) }
    }

    fn of_class(self, class: &str) -> Score {
        Score { class: Some(class.to_owned()), ..self }
    }
}

/// Ends a signature: `version:corpusmill-X`, after `pairs` and a bar unless there are none.
fn signature(pairs: &str) -> String {
    let bar = if pairs.is_empty() { "" } else { "|" };
    format!("{pairs}{bar}version:corpusmill-{}", env!("CARGO_PKG_VERSION"))
}

/// A share, undefined without anything to share.
fn ratio(numerator: f64, denominator: u64, reason: &str) -> Result<f64, String> {
    if denominator == 0 { Err(reason.to_owned()) } else { Ok(numerator / denominator as f64) }
}

const NO_ROWS: &str = "there are no rows";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case_and_unique_for_each_kind() {
        for (index, metric) in METRICS.iter().enumerate() {
            let (name, task) = (metric.name, metric.start.task());
            assert!(METRICS[..index].iter().all(|earlier| (earlier.name, earlier.start.task()) != (name, task)), "{name} is listed twice");
            assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
            // The field writes chrF++, and so do we.
            assert!(name.trim_end_matches('+').chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
        }
    }

    #[test]
    fn metrics_are_listed_task_by_task() {
        let choices = choices();
        assert_eq!(choices.len(), METRICS.len());
        let mut tasks: Vec<&str> = choices.iter().map(|choice| choice.of).collect();
        tasks.dedup();
        let expected = ["classify", "multi-label", "tag", "number", "answer", "complete", "language-modelling", "choose", "contrast"];
        assert_eq!(tasks, expected);
    }

    #[test]
    fn every_metric_says_what_it_is() {
        for metric in METRICS {
            assert!(metric.about.len() > 20 && metric.about.ends_with('.'), "{}: {}", metric.name, metric.about);
        }
    }

    #[test]
    fn without_rows_every_score_is_undefined_with_a_reason() {
        fn finish<K: Kind>(start: fn(&Options) -> Box<dyn Measure<K>>, options: &Options) -> Vec<Score> {
            let measure = start(options);
            measure.finish(&Total::new(measure.width()))
        }
        let options = Options { classes: vec!["B-ham".into(), "B-spam".into()], ..Options::default() };
        for metric in METRICS {
            let scores = match metric.start {
                Start::Tokens(start) => finish(start, &options),
                Start::Labels(start) => finish(start, &options),
                Start::Sets(start) => finish(start, &options),
                Start::Numbers(start) => finish(start, &options),
                Start::Tags(start) => finish(start, &options),
                Start::Answers(start) => finish(start, &options),
                Start::Texts(start) => finish(start, &options),
                Start::Choices(start) => finish(start, &options),
                Start::Contrasts(start) => finish(start, &options),
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
