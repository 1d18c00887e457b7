//! Multiple choice, likelihoods of documents, counterfactual pairs and fairness, beside the references' definitions.

use score::metrics::{ChoiceRow, Choices, ContrastRow, Contrasts, LabelRow, Labels, Options, TokenRow, Tokens};
use serde::Deserialize;

use super::{Checked, cases};

#[derive(Deserialize)]
struct ChoiceCase {
    gold: Vec<usize>,
    choices: Vec<Vec<String>>,
    log_likelihoods: Vec<Vec<f64>>,
    unconditional: Option<Vec<Vec<f64>>>,
    acc: f64,
    acc_norm: f64,
    acc_bytes: f64,
    acc_mutual_info: Option<f64>,
}

#[test]
fn choices_equal_those_of_the_harness() {
    for (index, case) in cases::<ChoiceCase>("choices", 1000).iter().enumerate() {
        let row = |row: usize| ChoiceRow {
            gold: case.gold[row],
            choices: case.choices[row].iter().map(String::as_str).collect(),
            log_likelihoods: &case.log_likelihoods[row],
            unconditional: case.unconditional.as_ref().map(|rows| rows[row].as_slice()),
        };
        let rows: Vec<ChoiceRow> = (0..case.gold.len()).map(row).collect();
        let checked = Checked::new::<Choices>(&Options::default(), &rows, format!("case {index}"));
        checked.check("acc", None, Some(case.acc));
        checked.check("acc-norm", None, Some(case.acc_norm));
        checked.check("acc-bytes", None, Some(case.acc_bytes));
        checked.check("acc-mutual-info", None, case.acc_mutual_info);
    }
}

#[derive(Deserialize)]
struct LikelihoodCase {
    /// Log-likelihood, words and bytes.
    documents: Vec<(f64, u64, u64)>,
    word_perplexity: f64,
    byte_perplexity: f64,
    bits_per_byte: f64,
    bits_per_word: f64,
}

#[test]
fn likelihoods_of_documents_equal_those_of_the_harness() {
    for (index, case) in cases::<LikelihoodCase>("likelihoods", 300).iter().enumerate() {
        let row = |&(likelihood, words, bytes): &(f64, u64, u64)| TokenRow {
            nll: -likelihood,
            tokens: 1,
            correct: None,
            bytes: Some(bytes),
            words: Some(words),
        };
        let rows: Vec<TokenRow> = case.documents.iter().map(row).collect();
        let checked = Checked::new::<Tokens>(&Options::default(), &rows, format!("case {index}"));
        checked.check("word-perplexity", None, Some(case.word_perplexity).filter(|value| value.is_finite()));
        checked.check("byte-perplexity", None, Some(case.byte_perplexity));
        checked.check("bits-per-byte", None, Some(case.bits_per_byte));
        checked.check("bits-per-word", None, Some(case.bits_per_word));
    }
}

#[derive(Deserialize)]
struct ContrastCase {
    rows: Vec<(f64, f64, f64, String, String)>,
    crows: Crows,
    stereoset: Stereoset,
}

#[derive(Deserialize)]
struct Crows {
    score: f64,
    stereo: Option<f64>,
    antistereo: Option<f64>,
    neutral: f64,
    difference: f64,
}

#[derive(Deserialize)]
struct Stereoset {
    lms: f64,
    ss: f64,
    icat: f64,
}

#[test]
fn contrasts_equal_those_of_the_published_scripts() {
    for (index, case) in cases::<ContrastCase>("contrasts", 600).iter().enumerate() {
        let row = |(stereotype, anti_stereotype, unrelated, direction, target): &'_ (f64, f64, f64, String, String)| {
            let (unrelated, is_stereo) = (Some(*unrelated), Some(direction == "stereo"));
            (*stereotype, *anti_stereotype, unrelated, is_stereo, target.clone())
        };
        let owned: Vec<_> = case.rows.iter().map(row).collect();
        let rows: Vec<ContrastRow> = owned
            .iter()
            .map(|(stereotype, anti_stereotype, unrelated, is_stereo, target)| ContrastRow {
                stereotype: *stereotype,
                anti_stereotype: *anti_stereotype,
                unrelated: *unrelated,
                is_stereo: *is_stereo,
                target: Some(target),
            })
            .collect();
        let checked = Checked::new::<Contrasts>(&Options::default(), &rows, format!("case {index}"));
        checked.check("crows-pairs", None, Some(case.crows.score));
        checked.check("crows-pairs-stereo", None, case.crows.stereo);
        checked.check("crows-pairs-antistereo", None, case.crows.antistereo);
        checked.check("crows-pairs-neutral", None, Some(case.crows.neutral));
        checked.check("crows-pairs-difference", None, Some(case.crows.difference));
        checked.check("stereoset", None, Some(case.stereoset.icat));
        checked.check("stereoset-lms", None, Some(case.stereoset.lms));
        checked.check("stereoset-ss", None, Some(case.stereoset.ss));
    }
}

#[derive(Deserialize)]
struct FairnessCase {
    group: Vec<usize>,
    gold: Vec<usize>,
    predicted: Vec<usize>,
    /// The lowest rate over the highest, of predictions and of true positives; 0 where all are 0.
    parity: f64,
    opportunity: f64,
}

#[test]
fn ratios_of_groups_equal_those_of_torchmetrics() {
    for (index, case) in cases::<FairnessCase>("fairness", 300).iter().enumerate() {
        let groups = 1 + case.group.iter().max().unwrap();
        let of_group = |group: usize| {
            let row = |row: usize| LabelRow { gold: case.gold[row], prediction: case.predicted[row], probabilities: None };
            let rows: Vec<LabelRow> = (0..case.gold.len()).filter(|row| case.group[*row] == group).map(row).collect();
            let options = Options { classes: vec!["no".into(), "yes".into()], positive: Some(1), ..Options::default() };
            let checked = Checked::new::<Labels>(&options, &rows, format!("case {index}, group {group}"));
            ["selection-rate", "recall"].map(|metric| checked.of(metric, None).value.clone().unwrap())
        };
        let rates: Vec<[f64; 2]> = (0..groups).map(of_group).collect();
        for (metric, reference) in [case.parity, case.opportunity].into_iter().enumerate() {
            let ends = |pick: fn(f64, f64) -> f64| rates.iter().map(|rates| rates[metric]).reduce(pick).unwrap();
            let (lowest, highest) = (ends(f64::min), ends(f64::max));
            let ratio = if highest == 0.0 { 0.0 } else { lowest / highest };
            // torchmetrics computes in 32 bits.
            assert!((ratio - reference).abs() < 1e-6, "case {index}: {ratio} is not {reference}");
        }
    }
}
