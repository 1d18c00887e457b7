//! Single numbers of a confusion matrix that weigh classes or take chance into account, as scikit-learn 1.9.1 defines them.

use super::confusion::{Confusion, OfConfusion};
use super::{Metric, NO_ROWS, Score, Start, ratio};

pub const BALANCED_ACCURACY: Metric = Metric {
    name: "balanced-accuracy",
    about: "Mean recall of the classes found in gold, 0 to 1: a guess of the most frequent class has one over their number.",
    default: true,
    start: Start::Labels(|options| OfConfusion::start(options, |confusion| vec![score("balanced-accuracy", confusion, balanced_accuracy)])),
};

pub const MCC: Metric = Metric {
    name: "mcc",
    about: "Matthews correlation of predicted and gold classes, -1 to 1; 0 where either are all of one class.",
    default: true,
    start: Start::Labels(|options| OfConfusion::start(options, |confusion| vec![score("mcc", confusion, mcc)])),
};

pub const KAPPA: Metric = Metric {
    name: "kappa",
    about: "Cohen's kappa, agreement beyond what class frequencies give by chance, -1 to 1; undefined where all is one class.",
    default: true,
    start: Start::Labels(|options| OfConfusion::start(options, |confusion| vec![score("kappa", confusion, kappa)])),
};

fn score(name: &str, confusion: &Confusion, of: fn(&Confusion) -> Result<f64, String>) -> Score {
    let rows = confusion.rows();
    Score::new(name, if rows == 0 { Err(NO_ROWS.to_owned()) } else { of(confusion) }, rows, "")
}

fn hits(confusion: &Confusion) -> u64 {
    (0..confusion.classes()).map(|class| confusion.hits(class)).sum()
}

fn balanced_accuracy(confusion: &Confusion) -> Result<f64, String> {
    let found: Vec<usize> = (0..confusion.classes()).filter(|class| confusion.gold(*class) > 0).collect();
    let sum: f64 = found.iter().map(|class| confusion.hits(*class) as f64 / confusion.gold(*class) as f64).sum();
    ratio(sum, found.len() as u64, NO_ROWS)
}

/// Gorodkin's R_K, of which the two-class form is the case of two. The products are whole numbers beyond 64 bits.
fn mcc(confusion: &Confusion) -> Result<f64, String> {
    let product = |a: &dyn Fn(usize) -> u64, b: &dyn Fn(usize) -> u64| -> i128 {
        (0..confusion.classes()).map(|class| i128::from(a(class)) * i128::from(b(class))).sum()
    };
    let (gold, predicted) = (|class| confusion.gold(class), |class| confusion.predicted(class));
    let rows = i128::from(confusion.rows());
    let together = i128::from(hits(confusion)) * rows - product(&gold, &predicted);
    let (gold_spread, predicted_spread) = (rows * rows - product(&gold, &gold), rows * rows - product(&predicted, &predicted));
    if gold_spread == 0 || predicted_spread == 0 {
        return Ok(0.0);
    }
    Ok(together as f64 / ((gold_spread as f64).sqrt() * (predicted_spread as f64).sqrt()))
}

fn kappa(confusion: &Confusion) -> Result<f64, String> {
    let rows = u128::from(confusion.rows());
    let by_chance: u128 =
        (0..confusion.classes()).map(|class| u128::from(confusion.gold(class)) * u128::from(confusion.predicted(class))).sum();
    let expected = rows * rows - by_chance;
    if expected == 0 {
        return Err("gold and predictions are all of one class".to_owned());
    }
    Ok(1.0 - ((rows - u128::from(hits(confusion))) * rows) as f64 / expected as f64)
}
