//! Written texts and answers, and how far scores of texts may be off.

use score::compare::{self, Test};
use score::counts::{Tally, total_of};
use score::metrics::{AnswerRow, Answers, Kind, METRICS, Measure, Options, Squad, TextRow, Texts, bleu, rouge, ter};
use score::resample::{self, Resampling};
use serde::Deserialize;

use super::{Checked, assert_close, cases};

#[derive(Deserialize)]
struct AnswerCase {
    squad: Squad,
    rows: Vec<(Vec<String>, String)>,
    /// Of all questions; for 2.0 also of those with an answer and without.
    exact_match: Vec<Option<f64>>,
    f1: Vec<Option<f64>>,
}

#[test]
fn answers_equal_the_scripts_on_random_cases() {
    for (index, case) in cases::<AnswerCase>("answers", 1000).iter().enumerate() {
        let rows = case.rows.iter().map(|(golds, prediction)| AnswerRow { golds: golds.iter().map(String::as_str).collect(), prediction });
        let rows: Vec<AnswerRow> = rows.collect();
        let checked =
            Checked::new::<Answers>(&Options { squad: case.squad, ..Options::default() }, &rows, format!("case {index} {:?}", case.rows));
        for (metric, values) in [("exact-match", &case.exact_match), ("f1", &case.f1)] {
            for (class, value) in [None, Some("has answer"), Some("no answer")].into_iter().zip(values) {
                checked.check(metric, class, *value);
            }
        }
    }
}

#[derive(Deserialize)]
struct TextCase {
    hypotheses: Vec<String>,
    references: Vec<Vec<String>>,
    lowercase: bool,
    chrf: Counted,
    #[serde(rename = "chrf++")]
    chrf_words: Counted,
    ter: Ter,
    /// F1, precision and recall of 1, 2, L and Lsum.
    latin: [[f64; 3]; 4],
    stem: [[f64; 3]; 4],
    unicode: [[f64; 3]; 4],
    /// Of 1 to 4 tokens in sequence; `None` where no text has as many.
    distinct: [Option<f64>; 4],
    repetition: [Option<f64>; 4],
}

#[derive(Deserialize)]
struct Counted {
    statistics: Vec<f64>,
    score: f64,
    signature: String,
}

#[derive(Deserialize)]
struct Ter {
    settings: TerSettings,
    /// Edits and mean length of references for each row.
    statistics: Vec<[f64; 2]>,
    score: f64,
    signature: String,
}

#[derive(Deserialize)]
struct TerSettings {
    normalized: bool,
    no_punct: bool,
    asian_support: bool,
    case_sensitive: bool,
}

fn measure(name: &str, options: &Options) -> Box<dyn Measure<Texts>> {
    METRICS.iter().filter(|metric| metric.name == name).find_map(|metric| Texts::measure(&metric.start, options)).unwrap()
}

fn text_rows<'a>(hypotheses: &'a [String], references: &'a [Vec<String>]) -> Vec<TextRow<'a>> {
    let row =
        |(hypothesis, references): (&'a String, &'a Vec<String>)| TextRow::new(hypothesis, references.iter().map(String::as_str).collect());
    hypotheses.iter().zip(references).map(row).collect()
}

#[test]
fn texts_equal_sacrebleu_and_rouge_score_on_random_cases() {
    for (index, case) in cases::<TextCase>("texts", 1000).iter().enumerate() {
        let TerSettings { normalized, no_punct, asian_support, case_sensitive } = case.ter.settings;
        let options = Options {
            bleu: bleu::Settings { lowercase: case.lowercase, ..Default::default() },
            ter: ter::Settings { normalized, no_punctuation: no_punct, asian: asian_support, case_sensitive },
            ..Options::default()
        };
        let rows = text_rows(&case.hypotheses, &case.references);
        let what = format!("case {index} {:?} {:?}", case.hypotheses, case.references);
        let checked = Checked::new::<Texts>(&options, &rows, what.clone());
        for (metric, reference) in [("chrf", &case.chrf), ("chrf++", &case.chrf_words)] {
            let sums = total_of(measure(metric, &options).as_ref(), &rows).sums;
            assert_eq!(sums[..reference.statistics.len()], reference.statistics, "{metric} of {what}");
            checked.check(metric, None, Some(reference.score));
            let signature = checked.of(metric, None).signature.clone();
            assert_eq!(signature, format!("{}|version:corpusmill-{}", reference.signature, env!("CARGO_PKG_VERSION")));
        }
        for (row, statistics) in rows.iter().zip(&case.ter.statistics) {
            let sums = total_of(measure("ter", &options).as_ref(), std::slice::from_ref(row)).sums;
            assert_eq!(sums[0], statistics[0], "edits of {row:?} in {what}");
            assert_close(sums[1], statistics[1], &what);
        }
        checked.check("ter", None, Some(case.ter.score));
        let signature = checked.of("ter", None).signature.clone();
        assert_eq!(signature, format!("{}|version:corpusmill-{}", case.ter.signature, env!("CARGO_PKG_VERSION")));

        for order in 1..=4 {
            checked.check(&format!("distinct-{order}"), None, case.distinct[order - 1]);
            checked.check(&format!("repetition-{order}"), None, case.repetition[order - 1]);
        }

        for (segmentation, stem, reference) in [
            (rouge::Segmentation::Latin, false, case.latin),
            (rouge::Segmentation::Latin, true, case.stem),
            (rouge::Segmentation::Unicode, false, case.unicode),
        ] {
            let rouge = rouge::Settings { segmentation, stem };
            let checked = Checked::new::<Texts>(&Options { rouge, ..options.clone() }, &rows, format!("{what} {rouge:?}"));
            for (metric, values) in ["rouge-1", "rouge-2", "rouge-l", "rouge-lsum"].into_iter().zip(reference) {
                for (part, value) in ["", "-precision", "-recall"].into_iter().zip(values) {
                    checked.check(&format!("{metric}{part}"), None, Some(value));
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct SignificanceCase {
    references: Vec<String>,
    one: Vec<String>,
    other: Vec<String>,
    metric: String,
    test: String,
    resamples: usize,
    score: f64,
    p_value: f64,
    low: f64,
    high: f64,
    /// Half of the interval's width.
    half: f64,
}

#[test]
fn intervals_and_tests_equal_sacrebleu() {
    for (index, case) in cases::<SignificanceCase>("significance", 40).iter().enumerate() {
        let references: Vec<Vec<String>> = case.references.iter().map(|reference| vec![reference.clone()]).collect();
        let tally = |hypotheses: &[String]| {
            let mut tally = Tally::new(vec![measure(&case.metric, &Options::default())], 0, true);
            tally.push(&text_rows(hypotheses, &references), |_| &[]);
            tally
        };
        let (one, other) = (tally(&case.one), tally(&case.other));
        let what = format!("case {index}, {} {}", case.metric, case.test);
        let resampling = Resampling { resamples: case.resamples, seed: 12345 };
        let rows: Vec<u32> = (0..case.one.len() as u32).collect();
        let (low, high) = resample::intervals(resampling, &one.measures, one.rows.as_ref().unwrap(), &rows)[0].unwrap().unwrap();
        assert_close(low, case.low, &what);
        assert_close(high, case.high, &what);
        assert_close((high - low) / 2.0, case.half, &what);

        let test = if case.test == "bs" { Test::Bootstrap } else { Test::Randomization };
        let compared = &compare::compare(test, resampling, &one, &other)[0];
        assert_close(*compared.score.value.as_ref().unwrap(), case.score, &what);
        assert_close(*compared.p_value.as_ref().unwrap(), case.p_value, &what);
    }
}
