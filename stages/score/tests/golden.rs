//! Scores against those of sacrebleu and scikit-learn, from files made by tests/golden/make_golden.py:
//! counts and tokens equal, scores to 1e-9.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::Read;

use score::metrics::bleu::{self, Settings, Smoothing, Tokenize};
use score::metrics::confusion::Confusion;
use score::metrics::{LabelRow, METRICS, Options, Score, Start};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const BLEU: &[u8] = include_bytes!("../../../tests/golden/bleu.json.gz");
const CLASSIFICATION: &[u8] = include_bytes!("../../../tests/golden/classification.json.gz");

fn read<T: DeserializeOwned>(compressed: &[u8]) -> T {
    let mut text = String::new();
    flate2::read::GzDecoder::new(compressed).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
fn assert_close(ours: f64, reference: f64, what: &str) {
    assert!((ours - reference).abs() <= 1e-9, "{what}: {ours} is not {reference}");
}

#[derive(Deserialize)]
struct BleuFile {
    cases: Vec<BleuCase>,
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
    let file: BleuFile = read(BLEU);
    assert!(file.cases.len() >= 1000);
    for (index, case) in file.cases.iter().enumerate() {
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
    let file: BleuFile = read(BLEU);
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
struct ClassificationFile {
    cases: Vec<ClassificationCase>,
}

#[derive(Deserialize)]
struct ClassificationCase {
    classes: Vec<String>,
    gold: Vec<usize>,
    predicted: Vec<usize>,
    confusion: Vec<Vec<u64>>,
    accuracy: f64,
    /// Precision, recall and F1.
    micro: [f64; 3],
    r#macro: [f64; 3],
    weighted: [f64; 3],
    per_class: BTreeMap<String, [Option<f64>; 3]>,
}

#[test]
fn classification_equals_scikit_learn_on_random_cases() {
    let file: ClassificationFile = read(CLASSIFICATION);
    assert!(file.cases.len() >= 1000);
    for (index, case) in file.cases.iter().enumerate() {
        let rows: Vec<LabelRow> =
            case.gold.iter().zip(&case.predicted).map(|(&gold, &prediction)| LabelRow { gold, prediction, count: 1 }).collect();
        let options = Options { classes: case.classes.clone(), ..Options::default() };

        let mut confusion = Confusion::new(&options);
        confusion.push(&rows);
        for (gold, row) in case.confusion.iter().enumerate() {
            for (prediction, &count) in row.iter().enumerate() {
                assert_eq!(confusion.count(gold, prediction), count, "case {index}, confusion of {gold} as {prediction}");
            }
        }

        let scores = scores(&options, &rows);
        let find = |metric: &str, class: Option<&str>| -> &Result<f64, String> {
            &scores.iter().find(|score| score.metric == metric && score.class.as_deref() == class).unwrap().value
        };
        let check = |metric: &str, reference: f64| {
            assert_close(*find(metric, None).as_ref().unwrap(), reference, &format!("case {index}, {metric}"))
        };
        check("accuracy", case.accuracy);
        for (column, metric) in ["precision", "recall", "f1"].into_iter().enumerate() {
            check(metric, case.r#macro[column]);
            check(&format!("{metric}-micro"), case.micro[column]);
            check(&format!("{metric}-macro"), case.r#macro[column]);
            check(&format!("{metric}-weighted"), case.weighted[column]);
            for class in &case.classes {
                let reference = case.per_class.get(class).and_then(|row| row[column]);
                match (find(metric, Some(class)), reference) {
                    (Ok(ours), Some(reference)) => assert_close(*ours, reference, &format!("case {index}, {metric} of {class}")),
                    (Err(_), None) => {}
                    (ours, reference) => panic!("case {index}, {metric} of {class}: {ours:?} is not {reference:?}"),
                }
            }
        }
    }
}

fn scores(options: &Options, rows: &[LabelRow]) -> Vec<Score> {
    let mut scores = Vec::new();
    for metric in METRICS {
        if let Start::Classify(start) = metric.start {
            let mut accumulator = start(options);
            accumulator.push(rows);
            scores.extend(accumulator.finish());
        }
    }
    scores
}
