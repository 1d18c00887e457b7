//! Classification: its majority class, and the tables of its confusion and its reliability.

use anyhow::Result;

use crate::metrics::calibration::{Bin, Calibration, EqualMass};
use crate::metrics::confusion::{Confusion, OfConfusion};
use crate::metrics::{LabelRow, Labels, Measure};
use crate::score::{Outcome, Work};

/// Counts behind the scores.
pub struct Bins {
    pub confusion: Confusion,
    /// Where predictions have probabilities: bins of equal `width`, then of equal `mass`.
    pub reliability: Option<Vec<(&'static str, Bin)>>,
}

/// Scores predictions of one class a row.
pub fn classify(work: &Work) -> Result<Outcome> {
    let classes = &work.options.classes;
    let (calibration, mass) = (Calibration::new(&work.options), EqualMass::new(&work.options));
    let more: Vec<Box<dyn Measure<Labels>>> = vec![
        OfConfusion::start(&work.options, |_| vec![]),
        Box::new(Calibration::new(&work.options)),
        Box::new(EqualMass::new(&work.options)),
    ];
    let mut counted = work.count::<Labels>(more)?;
    let (at, groups) = (work.measures::<Labels>().len(), 1 + work.slices.len());
    let confusion_of = |group| Confusion::new(classes.len(), &counted.model.total(group, at));
    let confusion = confusion_of(0);
    // Of each group only what is gold, since all pairs of classes may be many.
    let golds: Vec<Vec<u64>> = (0..groups).map(|group| confusion_of(group).golds().to_vec()).collect();
    let reliability = {
        let total = counted.model.total(0, at + 1);
        (total.rows > 0 && total.whole(0) == 0).then(|| {
            let width = calibration.reliability(&total).into_iter().map(|bin| ("width", bin));
            let mass = mass.reliability(&counted.model.total(0, at + 2)).into_iter().map(|bin| ("mass", bin));
            width.chain(mass).collect()
        })
    };
    counted.model.forget(at);

    let guess = confusion.majority();
    for (group, golds) in golds.iter().enumerate() {
        for (gold, rows) in golds.iter().enumerate() {
            let row = LabelRow { gold, prediction: guess.unwrap_or(gold), probabilities: None };
            counted.baseline.push_times(group, &row, *rows);
        }
    }
    let pairs = guess.map(|guess| format!("guess:{}|guess_from:scored rows|", classes[guess])).unwrap_or_default();
    let mut outcome = work.outcome(&counted, guess.map(|_| "majority class"), &pairs);
    outcome.bins = Some(Bins { confusion, reliability });
    Ok(outcome)
}
