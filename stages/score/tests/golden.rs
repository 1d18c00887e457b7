//! Scores against those of the reference programs, from files made by tests/golden/make_golden.py: counts and tokens equal,
//! scores to 1e-9.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "golden/choices.rs"]
mod choices;
#[path = "golden/labels.rs"]
mod labels;
#[path = "golden/written.rs"]
mod written;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use score::counts::{scores_of, total_of};
use score::metrics::bleu::{self, Settings, Smoothing, Tokenize};
use score::metrics::confusion::{Confusion, OfConfusion};
use score::metrics::{Kind, LabelRow, Labels, METRICS, Options, Scheme, Score, TagRow, Tags};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A folder of other cases, which tests/golden/differential.py makes.
const FRESH: &str = "CORPUSMILL_GOLDEN";

fn read<T: DeserializeOwned>(name: &str) -> T {
    let committed = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let path = std::env::var_os(FRESH).map_or_else(committed, PathBuf::from).join(format!("{name}.json.gz"));
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// All scores of all metrics of a kind.
fn scores<K: Kind>(options: &Options, rows: &[K::Row<'_>]) -> Vec<Score> {
    METRICS.iter().filter_map(|metric| K::measure(&metric.start, options)).flat_map(|measure| scores_of(measure.as_ref(), rows)).collect()
}

/// Scores by name, to be compared with the reference's.
struct Checked {
    scores: Vec<Score>,
    case: String,
}

impl Checked {
    fn new<K: Kind>(options: &Options, rows: &[K::Row<'_>], case: String) -> Checked {
        Checked { scores: scores::<K>(options, rows), case }
    }

    #[track_caller]
    fn of(&self, metric: &str, class: Option<&str>) -> &Score {
        let found = self.scores.iter().find(|score| score.metric == metric && score.class.as_deref() == class);
        found.unwrap_or_else(|| panic!("{}: no score {metric} {class:?}", self.case))
    }

    /// `None`: the reference knows no value, or one that we call undefined.
    #[track_caller]
    fn check(&self, metric: &str, class: Option<&str>, reference: Option<f64>) {
        let what = format!("{}, {metric} {}", self.case, class.unwrap_or_default());
        match (&self.of(metric, class).value, reference) {
            (Ok(ours), Some(reference)) => assert_close(*ours, reference, &what),
            (Err(_), None) => {}
            (ours, reference) => panic!("{what}: {ours:?} is not {reference:?}"),
        }
    }
}

#[track_caller]
fn assert_close(ours: f64, reference: f64, what: &str) {
    // Of what is beyond 1, so many digits.
    assert!((ours - reference).abs() <= 1e-9 * reference.abs().max(1.0), "{what}: {ours} is not {reference}");
}

#[derive(Deserialize)]
struct BleuFile {
    every_character: BTreeMap<String, Vec<u32>>,
}

#[derive(Deserialize)]
struct BleuCase {
    tokenize: Tokenize,
    smooth_method: String,
    smooth_value: Option<f64>,
    lowercase: bool,
    effective_order: bool,
    hypotheses: Vec<String>,
    references: Vec<Vec<String>>,
    /// CRC-32 of all texts cut into tokens.
    tokens: u32,
    /// Lengths of hypotheses and references, matches by order, totals by order.
    statistics: [u64; 10],
    score: f64,
    brevity_penalty: f64,
    precisions: [f64; 4],
    signature: String,
}

impl BleuCase {
    fn settings(&self) -> Settings {
        let smoothing = match self.smooth_method.as_str() {
            "exp" => Smoothing::Exp,
            "floor" => Smoothing::Floor(self.smooth_value.unwrap_or(0.1)),
            "add-k" => Smoothing::AddK(self.smooth_value.unwrap_or(1.0)),
            "none" => Smoothing::None,
            other => panic!("unknown smoothing {other}"),
        };
        Settings { tokenize: self.tokenize, smoothing, lowercase: self.lowercase, effective_order: self.effective_order }
    }
}

fn crc(settings: &Settings, texts: impl Iterator<Item = String>) -> u32 {
    let cut: Vec<String> = texts.map(|text| bleu::tokens(settings, &text).join(" ")).collect();
    let mut crc = flate2::Crc::new();
    crc.update(cut.join("\n").as_bytes());
    crc.sum()
}

#[test]
fn bleu_equals_sacrebleu_on_random_cases() {
    for (index, case) in cases::<BleuCase>("bleu", 1000).iter().enumerate() {
        let what = format!("case {index}, {} {} {:?}", case.signature, case.lowercase, case.hypotheses);
        let settings = case.settings();
        let texts = case.hypotheses.iter().zip(&case.references).flat_map(|(hypothesis, row)| std::iter::once(hypothesis).chain(row));
        assert_eq!(crc(&settings, texts.cloned()), case.tokens, "tokens of {what}");

        let hypotheses: Vec<&str> = case.hypotheses.iter().map(String::as_str).collect();
        let references: Vec<Vec<&str>> = case.references.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        let ours = bleu::corpus(&settings, &hypotheses, &references).unwrap();
        let statistics = ours.statistics;
        let mut flat = vec![statistics.hypothesis_length, statistics.reference_length];
        flat.extend(statistics.matched);
        flat.extend(statistics.total);
        assert_eq!(flat, case.statistics, "statistics of {what}");
        assert_close(ours.score, case.score, &what);
        assert_close(ours.brevity_penalty, case.brevity_penalty, &what);
        for (ours, reference) in ours.precisions.iter().zip(case.precisions) {
            assert_close(*ours, reference, &what);
        }
        let unicode = if case.tokenize == Tokenize::Intl { "|unicode:16.0" } else { "" };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(ours.signature, format!("{}{unicode}|version:corpusmill-{version}", case.signature));
    }
}

/// Every code point of planes 0 to 3 beside letters, digits and points: the Unicode tables and Python's white space are
/// the same. The planes above hold nothing that is punctuation, symbol, number or space.
#[test]
fn every_character_is_cut_as_by_sacrebleu() {
    let file: BleuFile = read("bleu");
    assert_eq!(file.every_character.len(), 5);
    for (tokenize, sums) in &file.every_character {
        let tokenize: Tokenize = serde_json::from_value(tokenize.as_str().into()).unwrap();
        let settings = Settings { tokenize, ..Settings::default() };
        assert_eq!(sums.len(), 0x40);
        for (block, &expected) in sums.iter().enumerate() {
            let points = (block as u32 * 0x1000..(block as u32 + 1) * 0x1000).filter_map(char::from_u32);
            let ours = crc(&settings, points.map(|c| format!("a{c}b 1{c}2 {c}.{c} {c}")));
            assert_eq!(ours, expected, "{tokenize:?}: some character of U+{:X} and the 4095 after it", block * 0x1000);
        }
    }
}

#[derive(Deserialize)]
struct File<Case> {
    cases: Vec<Case>,
}

/// The cases of a file, of which at least so many are committed.
fn cases<Case: DeserializeOwned>(name: &str, least: usize) -> Vec<Case> {
    let file: File<Case> = read(name);
    assert!(std::env::var_os(FRESH).is_some() || file.cases.len() >= least);
    println!("{name}: {} cases", file.cases.len());
    file.cases
}

#[derive(Deserialize)]
struct ClassificationCase {
    classes: Vec<String>,
    gold: Vec<usize>,
    predicted: Vec<usize>,
    confusion: Vec<Vec<u64>>,
    accuracy: f64,
    balanced_accuracy: f64,
    mcc: f64,
    kappa: Option<f64>,
    /// Precision, recall and F1.
    micro: [f64; 3],
    r#macro: [f64; 3],
    weighted: [f64; 3],
    per_class: BTreeMap<String, [Option<f64>; 3]>,
}

const RATIOS: [&str; 3] = ["precision", "recall", "f1"];

#[test]
fn classification_equals_scikit_learn_on_random_cases() {
    for (index, case) in cases::<ClassificationCase>("classification", 1000).iter().enumerate() {
        let rows: Vec<LabelRow> =
            case.gold.iter().zip(&case.predicted).map(|(&gold, &prediction)| LabelRow { gold, prediction, probabilities: None }).collect();
        let options = Options { classes: case.classes.clone(), ..Options::default() };

        let confusion = OfConfusion::start(&options, |_| vec![]);
        let confusion = Confusion::new(case.classes.len(), &total_of(confusion.as_ref(), &rows));
        for (gold, row) in case.confusion.iter().enumerate() {
            for (prediction, &count) in row.iter().enumerate() {
                assert_eq!(confusion.count(gold, prediction), count, "case {index}, confusion of {gold} as {prediction}");
            }
        }

        let checked = Checked::new::<Labels>(&options, &rows, format!("case {index}"));
        checked.check("accuracy", None, Some(case.accuracy));
        checked.check("balanced-accuracy", None, Some(case.balanced_accuracy));
        checked.check("mcc", None, Some(case.mcc));
        checked.check("kappa", None, case.kappa);
        for (column, metric) in RATIOS.into_iter().enumerate() {
            checked.check(metric, None, Some(case.r#macro[column]));
            checked.check(&format!("{metric}-micro"), None, Some(case.micro[column]));
            checked.check(&format!("{metric}-macro"), None, Some(case.r#macro[column]));
            checked.check(&format!("{metric}-weighted"), None, Some(case.weighted[column]));
            for class in &case.classes {
                checked.check(metric, Some(class), case.per_class.get(class).and_then(|row| row[column]));
            }
        }
    }
}

#[derive(Deserialize)]
struct TagCase {
    scheme: Option<Scheme>,
    classes: Vec<String>,
    gold: Vec<Vec<u32>>,
    predicted: Vec<Vec<u32>>,
    accuracy: f64,
    /// Entities that are gold, predicted, both.
    counts: [u64; 3],
    micro: [Option<f64>; 3],
    r#macro: [Option<f64>; 3],
    weighted: [Option<f64>; 3],
    /// And how many are gold.
    per_type: BTreeMap<String, (Option<f64>, Option<f64>, f64, u64)>,
}

#[test]
fn entities_equal_seqeval_on_random_cases() {
    for (index, case) in cases::<TagCase>("tags", 1000).iter().enumerate() {
        let options = Options { classes: case.classes.clone(), strict: case.scheme, ..Options::default() };
        let pairs = case.gold.iter().zip(&case.predicted);
        let rows: Vec<TagRow> = pairs.map(|(gold, predicted)| TagRow { gold: gold.clone(), prediction: predicted.clone() }).collect();
        let checked = Checked::new::<Tags>(&options, &rows, format!("case {index} {:?}", case.scheme));
        checked.check("token-accuracy", None, Some(case.accuracy));
        assert_eq!(checked.of("f1", None).count, case.counts[0], "gold entities of case {index}");
        for (column, metric) in RATIOS.into_iter().enumerate() {
            checked.check(metric, None, case.micro[column]);
            checked.check(&format!("{metric}-micro"), None, case.micro[column]);
            checked.check(&format!("{metric}-macro"), None, case.r#macro[column]);
            checked.check(&format!("{metric}-weighted"), None, case.weighted[column]);
            let classes: Vec<&str> =
                checked.scores.iter().filter(|score| score.metric == metric).filter_map(|score| score.class.as_deref()).collect();
            for class in classes {
                let (p, r, f, support) = case.per_type.get(class).copied().unwrap_or((None, None, f64::NAN, 0));
                let reference = [p, r, Some(f).filter(|f| !f.is_nan())][column];
                checked.check(metric, Some(class), reference);
                assert_eq!(checked.of(metric, Some(class)).count, support, "gold entities {class} of case {index}");
            }
        }
    }
}
