//! Sets of labels, numbers and probabilities.

use score::metrics::calibration::Calibration;
use score::metrics::{LabelRow, Labels, NumberRow, Numbers, Options, SetRow, Sets};
use serde::Deserialize;

use super::{Checked, RATIOS, cases};
use score::counts::total_of;

#[derive(Deserialize)]
struct SetCase {
    classes: Vec<String>,
    /// 0 or 1 for each class.
    gold: Vec<Vec<u32>>,
    predicted: Vec<Vec<u32>>,
    subset_accuracy: f64,
    hamming_loss: f64,
    micro: [Option<f64>; 3],
    r#macro: [Option<f64>; 3],
    weighted: [Option<f64>; 3],
    samples: [Option<f64>; 3],
    per_class: Vec<[Option<f64>; 3]>,
}

#[test]
fn sets_equal_scikit_learn_on_random_cases() {
    for (index, case) in cases::<SetCase>("sets", 500).iter().enumerate() {
        let set = |row: &[u32]| (0..).zip(row).filter(|(_, label)| **label == 1).map(|(class, _)| class).collect();
        let rows: Vec<SetRow> =
            case.gold.iter().zip(&case.predicted).map(|(gold, predicted)| SetRow { gold: set(gold), prediction: set(predicted) }).collect();
        let options = Options { classes: case.classes.clone(), ..Options::default() };
        let checked = Checked::new::<Sets>(&options, &rows, format!("case {index}"));
        checked.check("subset-accuracy", None, Some(case.subset_accuracy));
        checked.check("hamming-loss", None, Some(case.hamming_loss));
        for (column, metric) in RATIOS.into_iter().enumerate() {
            checked.check(metric, None, case.micro[column]);
            for (average, values) in
                [("micro", case.micro), ("macro", case.r#macro), ("weighted", case.weighted), ("samples", case.samples)]
            {
                checked.check(&format!("{metric}-{average}"), None, values[column]);
            }
            for (class, values) in case.classes.iter().zip(&case.per_class) {
                checked.check(metric, Some(class), values[column]);
            }
        }
    }
}

#[derive(Deserialize)]
struct NumberCase {
    gold: Vec<f64>,
    predicted: Vec<f64>,
    mse: f64,
    mae: f64,
    pearson: Option<f64>,
    spearman: Option<f64>,
}

#[test]
fn numbers_equal_scipy_on_random_cases() {
    for (index, case) in cases::<NumberCase>("numbers", 500).iter().enumerate() {
        let rows: Vec<NumberRow> =
            case.gold.iter().zip(&case.predicted).map(|(&gold, &prediction)| NumberRow { gold, prediction }).collect();
        let checked = Checked::new::<Numbers>(&Options::default(), &rows, format!("case {index}"));
        checked.check("mse", None, Some(case.mse));
        checked.check("mae", None, Some(case.mae));
        checked.check("pearson", None, case.pearson);
        checked.check("spearman", None, case.spearman);
    }
}

#[derive(Deserialize)]
struct ProbabilityCase {
    classes: Vec<String>,
    gold: Vec<usize>,
    predicted: Vec<usize>,
    /// Of so many parts.
    parts: f32,
    probabilities: Vec<Vec<f32>>,
    log_loss: f64,
    brier: f64,
    ece: f64,
    /// Of uncertainty-calibration.
    ece_mass: f64,
    /// Rows of each bin.
    bins: Vec<u64>,
    /// One class against the rest.
    auc: Vec<Option<f64>>,
    average_precision: Vec<Option<f64>>,
    /// Macro and weighted, of more than two classes.
    #[serde(default)]
    ovr: Option<[f64; 2]>,
    #[serde(default)]
    ovo: Option<[f64; 2]>,
    #[serde(default)]
    precision_macro: Option<f64>,
}

#[test]
fn probabilities_equal_scikit_learn_on_random_cases() {
    for (index, case) in cases::<ProbabilityCase>("probabilities", 500).iter().enumerate() {
        let probabilities: Vec<Vec<f32>> =
            case.probabilities.iter().map(|row| row.iter().map(|parts| parts / case.parts).collect()).collect();
        let rows: Vec<LabelRow> = (0..case.gold.len())
            .map(|row| LabelRow { gold: case.gold[row], prediction: case.predicted[row], probabilities: Some(&probabilities[row]) })
            .collect();
        let options = Options { classes: case.classes.clone(), ..Options::default() };
        let checked = Checked::new::<Labels>(&options, &rows, format!("case {index}"));
        checked.check("log-loss", None, Some(case.log_loss));
        checked.check("brier", None, Some(case.brier));
        checked.check("ece", None, Some(case.ece));
        checked.check("ece-mass", None, Some(case.ece_mass));
        let calibration = Calibration::new(&options);
        let bins: Vec<u64> = calibration.reliability(&total_of(&calibration, &rows)).iter().map(|bin| bin.rows).collect();
        assert_eq!(bins, case.bins, "bins of case {index}");
        if case.classes.len() == 2 {
            checked.check("roc-auc", None, case.auc[1]);
            checked.check("average-precision", None, case.average_precision[1]);
            let first = Checked::new::<Labels>(&Options { positive: Some(0), ..options }, &rows, format!("case {index}, first class"));
            first.check("roc-auc", None, case.auc[0]);
            first.check("average-precision", None, case.average_precision[0]);
            continue;
        }
        for (metric, values) in [("roc-auc", &case.auc), ("average-precision", &case.average_precision)] {
            for (class, value) in case.classes.iter().zip(values) {
                checked.check(metric, Some(class), *value);
            }
        }
        checked.check("roc-auc", None, case.ovr.map(|ovr| ovr[0]));
        checked.check("roc-auc-ovr-weighted", None, case.ovr.map(|ovr| ovr[1]));
        checked.check("roc-auc-ovo-macro", None, case.ovo.map(|ovo| ovo[0]));
        checked.check("roc-auc-ovo-weighted", None, case.ovo.map(|ovo| ovo[1]));
        checked.check("average-precision", None, case.precision_macro);
    }
}
