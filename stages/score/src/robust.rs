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
    let scores = 0..of.finish(&Total::new(of.width())).len();
    match (of.worse_rows(), all) {
        (Some(worse), Some(all)) => {
            // Each score has worst rows of its own.
            scores.map(|score| of.finish(&worst_rows(of, score, worse, &all)).swap_remove(score).value).collect()
        }
        _ => scores.map(|_| Err("the score is no mean of rows, of which one could be the worst".to_owned())).collect(),
    }
}

/// The counts of each row where a score of it came out worst; of equal ones the first.
fn worst_rows<K: Kind>(measure: &dyn Measure<K>, score: usize, worse: Worse, all: &[&Counts]) -> Total {
    let place = measure.sum_of(score) as u32;
    let mut total = Total::new(measure.width());
    for row in 0..all.first().map_or(0, |counts| counts.rows()) {
        let sum = |counts: &Counts| counts.row(row).0.iter().filter(|(slot, _)| *slot == place).map(|(_, amount)| amount).sum::<f64>();
        let is_worse = |a: f64, b: f64| if worse == Worse::Lower { a < b } else { a > b };
        let worst = all.iter().fold(all[0], |worst, counts| if is_worse(sum(counts), sum(worst)) { counts } else { worst });
        total.add(worst.row(row), 1);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{METRICS, NumberRow, Numbers, Options, SetRow, Sets, TextRow, Texts};

    fn tally<K: Kind>(metric: &str, options: &Options, rows: &[K::Row<'_>]) -> Tally<K> {
        let measure = METRICS.iter().filter(|m| m.name == metric).find_map(|m| K::measure(&m.start, options));
        let mut tally = Tally::<K>::new(vec![measure.unwrap()], 0, true);
        tally.push(rows, |_| &[]);
        tally
    }

    /// The worst cases of a metric's scores over two systems.
    fn worst<K: Kind>(metric: &str, options: &Options, plain: &[K::Row<'_>], perturbed: &[K::Row<'_>]) -> Vec<(String, f64)> {
        let perturbed = [("typos".to_owned(), tally::<K>(metric, options, perturbed))];
        let drops = drops(&tally::<K>(metric, options, plain), &perturbed);
        let worst = drops.into_iter().filter(|drop| drop.perturbed.is_none());
        worst.map(|drop| (drop.score.metric, drop.value.unwrap())).collect()
    }

    #[test]
    fn each_score_of_rouge_has_its_worst_rows() {
        let rows = |hypotheses: [&'static str; 2]| hypotheses.map(|hypothesis| TextRow::new(hypothesis, vec!["a b c d"]));
        // Of the first row one has the lower precision, the other the lower recall.
        let (plain, perturbed) = (rows(["a b c d e f g h", "a b c d"]), rows(["a", "x"]));
        let value = |name: &str, value| (name.to_owned(), value);
        let expected = [value("rouge-1", 0.4 / 2.0), value("rouge-1-precision", 0.5 / 2.0), value("rouge-1-recall", 0.25 / 2.0)];
        assert_eq!(worst::<Texts>("rouge-1", &Options::default(), &plain, &perturbed), expected);
    }

    #[test]
    fn of_hamming_loss_the_higher_is_worse() {
        let options = Options { classes: ["a", "b"].map(String::from).to_vec(), ..Options::default() };
        let rows = |predictions: [Vec<u32>; 2]| predictions.map(|prediction| SetRow { gold: vec![0], prediction });
        let found = worst::<Sets>("hamming-loss", &options, &rows([vec![0], vec![1]]), &rows([vec![0, 1], vec![0]]));
        assert_eq!(found, [("hamming-loss".to_owned(), 3.0 / 4.0)]);
    }

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
