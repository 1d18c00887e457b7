//! Whether two systems differ by more than chance: paired bootstrap and approximate randomization as sacrebleu 2.6.0 computes them,
//! and McNemar's test, exact, for scores of rows that are right or wrong.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::counts::{Counts, Tally, Total};
use crate::metrics::{Kind, Measure, Score};
use crate::resample::{self, Resampling, Values};

/// A paired test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Test {
    /// Draws rows again, the same for both systems (Koehn, 2004).
    #[default]
    Bootstrap,
    /// Swaps the systems row by row (Noreen, 1989; Riezler and Maxwell, 2005).
    Randomization,
    /// Counts rows that one system alone has right (McNemar, 1947).
    Mcnemar,
}

impl Test {
    /// Resamples unless given, sacrebleu's numbers.
    pub fn resamples(self) -> u64 {
        match self {
            Test::Bootstrap => 1_000,
            Test::Randomization => 10_000,
            Test::Mcnemar => 0,
        }
    }

    fn signature(self, resampling: Resampling) -> String {
        let Resampling { resamples, seed } = resampling;
        match self {
            Test::Bootstrap => format!("bs:{resamples}|seed:{seed}|rng:pcg64"),
            Test::Randomization => format!("ar:{resamples}|seed:{seed}|rng:pcg64"),
            Test::Mcnemar => "mcnemar:exact".to_owned(),
        }
    }
}

/// A score of one system beside the other's.
pub struct Comparison {
    pub score: Score,
    pub against: Result<f64, String>,
    /// 95 % interval of the difference, of the bootstrap alone.
    pub interval: Option<(f64, f64)>,
    /// How likely chance alone makes a difference as large, both ways, or why that is not known.
    pub p_value: Result<f64, String>,
    pub signature: String,
}

/// Compares all scores of two systems on the same rows.
pub fn compare<K: Kind>(test: Test, resampling: Resampling, ours: &Tally<K>, theirs: &Tally<K>) -> Vec<Comparison> {
    let (Some(our_rows), Some(their_rows)) = (&ours.rows, &theirs.rows) else { return Vec::new() };
    let rows = our_rows.first().map_or(0, Counts::rows);
    let pairs: Vec<[Values; 2]> = match test {
        _ if rows == 0 => Vec::new(),
        Test::Bootstrap => resample::bootstrap(resampling, rows, |drawn| {
            [our_rows, their_rows].map(|counts| resample::values(&ours.measures, counts, drawn.iter().map(|row| *row as usize)))
        }),
        Test::Randomization => resample::tosses(resampling, rows, |coins| swapped(&ours.measures, our_rows, their_rows, coins)),
        Test::Mcnemar => Vec::new(),
    };
    let mut comparisons = Vec::new();
    for (measure, (our_scores, their_scores)) in ours.scores(0).into_iter().zip(theirs.scores(0)).enumerate() {
        for (number, (score, other)) in our_scores.into_iter().zip(their_scores).enumerate() {
            let place = comparisons.len();
            let values = || pairs.iter().map(|[a, b]| (a[place], b[place])).collect::<Vec<_>>();
            let difference = score.value.clone().and_then(|ours| other.value.clone().map(|theirs| ours - theirs));
            let redrawn = ours.measures[measure].can_be_redrawn();
            let (p_value, interval) = match (difference, test) {
                (Err(reason), _) => (Err(reason), None),
                (Ok(_), Test::Mcnemar) => {
                    (mcnemar(ours.measures[measure].as_ref(), number, &our_rows[measure], &their_rows[measure]), None)
                }
                (Ok(_), _) if !redrawn => (Err("rows drawn again say nothing about this metric".to_owned()), None),
                (Ok(difference), Test::Bootstrap) => bootstrap(difference, &values()),
                (Ok(difference), Test::Randomization) => (randomization(difference, &values()), None),
            };
            comparisons.push(Comparison { score, against: other.value, interval, p_value, signature: test.signature(resampling) });
        }
    }
    comparisons
}

/// Two systems of which each has, of each row, what one of the two counted: by the coin.
fn swapped<K: Kind>(measures: &[Box<dyn Measure<K>>], ours: &[Counts], theirs: &[Counts], coins: &[bool]) -> [Values; 2] {
    [true, false].map(|theirs_where| {
        let of = |measure: usize| {
            let mut total = Total::new(measures[measure].width());
            for (row, coin) in coins.iter().enumerate() {
                let counts = if *coin == theirs_where { &theirs[measure] } else { &ours[measure] };
                total.add(counts.row(row), 1);
            }
            measures[measure].finish(&total)
        };
        (0..measures.len()).flat_map(of).map(|score| score.value.unwrap_or(f64::NAN)).collect()
    })
}

type Tested = Result<f64, String>;

fn defined(values: &[(f64, f64)]) -> Result<(), String> {
    let undefined = values.iter().filter(|(a, b)| a.is_nan() || b.is_nan()).count();
    if undefined > 0 { Err(format!("undefined in {undefined} of {} resamples", values.len())) } else { Ok(()) }
}

/// How often centred differences are beyond the real one, and the interval of the differences.
fn bootstrap(difference: f64, values: &[(f64, f64)]) -> (Tested, Option<(f64, f64)>) {
    if let Err(reason) = defined(values) {
        return (Err(reason), None);
    }
    let distances: Vec<f64> = values.iter().map(|(a, b)| (a - b).abs()).collect();
    let mean = pairwise_sum(&distances) / distances.len() as f64;
    let beyond = distances.iter().filter(|distance| **distance - mean > difference.abs()).count();
    let interval = resample::interval(values.iter().map(|(a, b)| a - b).collect()).ok();
    (Ok((beyond as f64 + 1.0) / (distances.len() as f64 + 1.0)), interval)
}

fn randomization(difference: f64, values: &[(f64, f64)]) -> Tested {
    defined(values)?;
    let beyond = values.iter().filter(|(a, b)| (a - b).abs() > difference.abs()).count();
    Ok((beyond as f64 + 1.0) / (values.len() as f64 + 1.0))
}

/// numpy's order of adding: a mean that is off in its last bit would tip differences that equal it.
fn pairwise_sum(values: &[f64]) -> f64 {
    match values.len() {
        0..8 => values.iter().sum(),
        8..=128 => {
            let mut lanes: [f64; 8] = std::array::from_fn(|lane| values[lane]);
            let whole = values.len() - values.len() % 8;
            for chunk in values[8..whole].chunks_exact(8) {
                lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value);
            }
            let [a, b, c, d, e, f, g, h] = lanes;
            let sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
            values[whole..].iter().fold(sum, |sum, value| sum + value)
        }
        length => {
            let half = length / 2;
            let (left, right) = values.split_at(half - half % 8);
            pairwise_sum(left) + pairwise_sum(right)
        }
    }
}

/// Of a score's rows that one system alone has right: the chance that they fall as unevenly, each with one half.
fn mcnemar<K: Kind>(measure: &dyn Measure<K>, score: usize, ours: &Counts, theirs: &Counts) -> Tested {
    if !measure.is_right_or_wrong() {
        return Err("mcnemar is for scores of rows that are right or wrong".to_owned());
    }
    let right = |counts: &Counts, row: usize| counts.row(row).0.first().is_some_and(|(_, amount)| *amount > 0.0);
    let (mut ours_alone, mut theirs_alone) = (0, 0);
    for row in (0..ours.rows()).filter(|row| measure.is_row_of(score, ours.row(*row).0)) {
        match (right(ours, row), right(theirs, row)) {
            (true, false) => ours_alone += 1,
            (false, true) => theirs_alone += 1,
            _ => {}
        }
    }
    Ok(sign_test(ours_alone, theirs_alone))
}

/// Twice the smaller tail of a binomial distribution with one half, at most 1.
fn sign_test(a: u64, b: u64) -> f64 {
    let (n, fewer) = ((a + b) as f64, a.min(b));
    let mut term = -n * std::f64::consts::LN_2;
    let mut logs = vec![term];
    for k in 1..=fewer {
        term += ((n - k as f64 + 1.0) / k as f64).ln();
        logs.push(term);
    }
    // The last is the largest: smaller ones are added up first.
    (2.0 * logs.iter().map(|log| log.exp()).sum::<f64>()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{AnswerRow, Answers, METRICS, Options};

    /// scipy 1.16: `binomtest(k, n).pvalue`.
    #[test]
    fn the_sign_test_equals_scipy() {
        for (a, b, expected) in [(0, 0, 1.0), (5, 5, 1.0), (1, 9, 0.021484375), (0, 5, 0.0625), (45, 70, 0.024793536339643683)] {
            assert!((sign_test(a, b) - expected).abs() < 1e-12, "{a} {b}: {}", sign_test(a, b));
            assert_eq!(sign_test(a, b), sign_test(b, a));
        }
    }

    #[test]
    fn mcnemar_counts_the_rows_that_a_score_speaks_of() {
        let named = || METRICS.iter().filter(|metric| metric.name == "exact-match");
        let measures = || named().filter_map(|metric| Answers::measure(&metric.start, &Options::default())).collect();
        let tally = |predictions: [&'static str; 8]| {
            let golds = |row: usize| if row < 5 { vec!["cat"] } else { vec![] };
            let rows: Vec<AnswerRow> =
                predictions.into_iter().enumerate().map(|(row, prediction)| AnswerRow { golds: golds(row), prediction }).collect();
            let mut tally = Tally::<Answers>::new(measures(), 0, true);
            tally.push(&rows, |_| &[]);
            tally
        };
        // The first system alone has all five answers, the other one alone the three questions without.
        let (ours, theirs) = (tally(["cat"; 8]), tally([""; 8]));
        let resampling = Resampling { resamples: 0, seed: 0 };
        let found: Vec<_> = compare(Test::Mcnemar, resampling, &ours, &theirs)
            .into_iter()
            .map(|comparison| (comparison.score.class, comparison.p_value))
            .collect();
        let class = |name: &str| Some(name.to_owned());
        let [all, five, three] = [sign_test(5, 3), sign_test(5, 0), sign_test(3, 0)];
        assert_eq!(found, [(None, Ok(all)), (class("has answer"), Ok(five)), (class("no answer"), Ok(three))]);
    }

    #[test]
    fn differences_beyond_the_real_one_are_counted() {
        let values: Vec<(f64, f64)> = (0..9).map(|i| (f64::from(i), 0.0)).collect();
        assert_eq!(randomization(6.0, &values), Ok(3.0 / 10.0));
        let (p, interval) = bootstrap(3.0, &values);
        assert_eq!((p, interval), (Ok(2.0 / 10.0), Some((0.0, 8.0))));
        assert!(randomization(1.0, &[(f64::NAN, 1.0)]).unwrap_err().contains("1 of 1"));
    }
}
