//! Classification: its majority class, and the tables of its confusion and its reliability.

use anyhow::Result;

use crate::metrics::calibration::{Bin, Calibration};
use crate::metrics::confusion::{Confusion, OfConfusion};
use crate::metrics::{LabelRow, Labels, Measure};
use crate::score::{Outcome, Work};

/// Counts behind the scores.
pub struct Bins {
    pub confusion: Confusion,
    /// Where predictions have probabilities.
    pub reliability: Option<Vec<Bin>>,
}

/// Scores predictions of one class a row.
pub fn classify(work: &Work) -> Result<Outcome> {
    let classes = &work.options.classes;
    let calibration = Calibration::new(&work.options);
    let more: Vec<Box<dyn Measure<Labels>>> =
        vec![OfConfusion::start(&work.options, |_| vec![]), Box::new(Calibration::new(&work.options))];
    let mut counted = work.count::<Labels>(more)?;
    let (at, groups) = (work.metrics.len(), 1 + work.slices.len());
    let confusions: Vec<Confusion> = (0..groups).map(|group| Confusion::new(classes.len(), counted.model.total(group, at))).collect();
    let total = counted.model.total(0, at + 1);
    let reliability = (total.rows > 0 && total.whole(0) == 0).then(|| calibration.reliability(total));
    counted.model.forget(at);

    let guess = confusions[0].majority();
    for (group, confusion) in confusions.iter().enumerate() {
        for gold in 0..classes.len() {
            let row = LabelRow { gold, prediction: guess.unwrap_or(gold), probabilities: None };
            counted.baseline.push_times(group, &row, confusion.gold(gold));
        }
    }
    let pairs = guess.map(|guess| format!("guess:{}|guess_from:scored rows|", classes[guess])).unwrap_or_default();
    let mut outcome = work.outcome(&counted, guess.map(|_| "majority class"), &pairs);
    let confusion = confusions.into_iter().next();
    outcome.bins = confusion.map(|confusion| Bins { confusion, reliability });
    Ok(outcome)
}
