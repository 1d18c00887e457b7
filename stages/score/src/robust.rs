//! What a system loses on perturbed inputs: each score on them beside the plain one, and the worst case, for which each row counts as it
//! came out worst of the plain and all perturbed ones (as HELM's worst case over perturbations, with losses the right way round).

use crate::counts::{Counts, Tally, Total};
use crate::metrics::{Kind, Measure, Score, Worse};

/// A score on perturbed inputs beside the plain one.
pub struct Drop {
    /// The step that made the predictions; `None` of the worst case.
    pub perturbed: Option<String>,
    pub score: Score,
    pub value: Result<f64, String>,
}

/// The drops of all scores for each perturbed tally with its step's name, then the worst cases. Both sides must have kept their rows.
pub fn drops<K: Kind>(plain: &Tally<K>, perturbed: &[(String, Tally<K>)]) -> Vec<Drop> {
    let ours: Vec<Score> = plain.scores(0).into_iter().flatten().collect();
    let mut drops = Vec::new();
    for (step, tally) in perturbed {
        let theirs = tally.scores(0).into_iter().flatten();
        drops.extend(ours.iter().cloned().zip(theirs).map(|(score, other)| Drop {
            perturbed: Some(step.clone()),
            score,
            value: other.value,
        }));
    }
    let worst = (0..plain.measures.len()).flat_map(|measure| worst_case(plain, perturbed, measure));
    drops.extend(ours.into_iter().zip(worst).map(|(score, value)| Drop { perturbed: None, score, value }));
    drops
}

fn worst_case<K: Kind>(plain: &Tally<K>, perturbed: &[(String, Tally<K>)], measure: usize) -> Vec<Result<f64, String>> {
    let of = plain.measures[measure].as_ref();
    let all: Option<Vec<&Counts>> =
        std::iter::once(plain).chain(perturbed.iter().map(|(_, tally)| tally)).map(|tally| Some(&tally.rows.as_ref()?[measure])).collect();
    let values = |total: &Total| of.finish(total).into_iter().map(|score| score.value);
    match (of.worse_rows(), all) {
        (Some(worse), Some(all)) => values(&worst_rows(of, worse, &all)).collect(),
        _ => values(&Total::new(of.width()))
            .map(|_| Err("the score is no mean of rows, of which one could be the worst".to_owned()))
            .collect(),
    }
}

/// The counts of each row where it came out worst; of equal ones the first.
fn worst_rows<K: Kind>(measure: &dyn Measure<K>, worse: Worse, all: &[&Counts]) -> Total {
    let mut total = Total::new(measure.width());
    for row in 0..all.first().map_or(0, |counts| counts.rows()) {
        let first_sum = |counts: &Counts| counts.row(row).0.iter().filter(|(slot, _)| *slot == 0).map(|(_, amount)| amount).sum::<f64>();
        let is_worse = |a: f64, b: f64| if worse == Worse::Lower { a < b } else { a > b };
        let worst = all.iter().fold(all[0], |worst, counts| if is_worse(first_sum(counts), first_sum(worst)) { counts } else { worst });
        total.add(worst.row(row), 1);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{METRICS, NumberRow, Numbers, Options};

    #[test]
    fn each_row_counts_as_it_came_out_worst() {
        let tally = |predictions: [f64; 3]| {
            let named =
                |name: &str| METRICS.iter().filter(|m| m.name == name).find_map(|m| Numbers::measure(&m.start, &Options::default()));
            let mut tally = Tally::new(vec![named("mae").unwrap(), named("spearman").unwrap()], 0, true);
            let rows: Vec<NumberRow> =
                predictions.into_iter().zip([1.0, 2.0, 3.0]).map(|(prediction, gold)| NumberRow { gold, prediction }).collect();
            tally.push(&rows, |_| &[]);
            tally
        };
        let drops = drops(&tally([1.0, 2.5, 3.0]), &[("typos".into(), tally([1.5, 2.0, 5.0])), ("case".into(), tally([1.0, 2.0, 3.0]))]);
        let shown: Vec<_> =
            drops.iter().map(|drop| (drop.perturbed.as_deref(), drop.score.metric.as_str(), drop.value.clone().ok())).collect();
        assert_eq!(
            shown,
            [
                (Some("typos"), "mae", Some(2.5 / 3.0)),
                (Some("typos"), "spearman", Some(1.0)),
                (Some("case"), "mae", Some(0.0)),
                (Some("case"), "spearman", Some(1.0)),
                (None, "mae", Some(1.0)),
                (None, "spearman", None),
            ]
        );
        assert!(drops[5].value.clone().unwrap_err().contains("no mean of rows"));
    }
}
