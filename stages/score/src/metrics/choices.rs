//! Multiple choice by likelihood, as lm-evaluation-harness defines it: the choice that a question makes likeliest, by itself or by its
//! length. Of equally likely choices the first is taken.

use super::{ChoiceRow, Choices, Counts, Measure, Metric, NO_ROWS, Score, Start, Total, ratio};

pub const ACC: Metric = Metric {
    name: "acc",
    about: "Share of questions whose right choice has the highest log-likelihood, 0 to 1.",
    default: true,
    start: Start::Choices(|_| {
        Box::new(Accuracy { name: "acc", pairs: "normalization:none", of: |row, choice| Some(row.log_likelihoods[choice]) })
    }),
};

pub const ACC_NORM: Metric = Metric {
    name: "acc-norm",
    about: "Share of questions whose right choice has the highest log-likelihood per character, 0 to 1.",
    default: true,
    start: Start::Choices(|_| {
        let of = |row: &ChoiceRow, choice: usize| Some(by_length(row.log_likelihoods[choice], row.choices[choice].chars().count()));
        Box::new(Accuracy { name: "acc-norm", pairs: "normalization:characters", of })
    }),
};

pub const ACC_BYTES: Metric = Metric {
    name: "acc-bytes",
    about: "Share of questions whose right choice has the highest log-likelihood per UTF-8 byte, 0 to 1.",
    default: false,
    start: Start::Choices(|_| {
        let of = |row: &ChoiceRow, choice: usize| Some(by_length(row.log_likelihoods[choice], row.choices[choice].len()));
        Box::new(Accuracy { name: "acc-bytes", pairs: "normalization:bytes", of })
    }),
};

pub const ACC_MUTUAL_INFO: Metric = Metric {
    name: "acc-mutual-info",
    about: "Share of questions whose right choice gains most log-likelihood by its question, 0 to 1.",
    default: false,
    start: Start::Choices(|_| {
        let of = |row: &ChoiceRow, choice: usize| Some(row.log_likelihoods[choice] - row.unconditional?[choice]);
        Box::new(Accuracy { name: "acc-mutual-info", pairs: "normalization:unconditional", of })
    }),
};

/// An empty choice is never chosen, as long as another is less than certain.
fn by_length(log_likelihood: f64, length: usize) -> f64 {
    if length == 0 { f64::NEG_INFINITY } else { log_likelihood / length as f64 }
}

struct Accuracy {
    name: &'static str,
    pairs: &'static str,
    /// How good a choice is; `None` where the system does not tell.
    of: fn(&ChoiceRow<'_>, usize) -> Option<f64>,
}

impl Measure<Choices> for Accuracy {
    /// Right ones, and rows of which it is not known.
    fn width(&self) -> usize {
        2
    }

    fn count(&self, row: &ChoiceRow<'_>, counts: &mut Counts) {
        let values: Option<Vec<f64>> = (0..row.choices.len()).map(|choice| (self.of)(row, choice)).collect();
        match values {
            Some(values) => {
                let best = (0..values.len()).fold(0, |best, choice| if values[choice] > values[best] { choice } else { best });
                counts.add(0, f64::from(best == row.gold));
            }
            None => counts.add(1, 1.0),
        }
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let value = match total.whole(1) {
            0 => ratio(total.sums[0], total.rows, NO_ROWS),
            rows => Err(format!("rows without log-likelihoods of choices alone: {rows}")),
        };
        vec![Score::new(self.name, value, total.rows, self.pairs)]
    }

    fn is_right_or_wrong(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::scores_of;

    fn check(metric: &Metric, rows: &[ChoiceRow], expected: Result<f64, &str>) {
        let Start::Choices(start) = metric.start else { panic!("{} is not for choices", metric.name) };
        assert_eq!(
            scores_of(start(&Default::default()).as_ref(), rows).remove(0).value,
            expected.map_err(str::to_owned),
            "{}",
            metric.name
        );
    }

    #[test]
    fn lengths_decide_otherwise_than_sums_and_the_first_of_equals_is_taken() {
        let row = |gold, log_likelihoods: &'static [f64], unconditional| ChoiceRow {
            gold,
            choices: vec!["no", "春天", "perhaps"],
            log_likelihoods,
            unconditional,
        };
        // By characters −2, −1.5 and −1; by bytes −2, −0.5 and −1.
        let rows = [row(0, &[-4.0, -3.0, -7.0], None), row(1, &[-4.0, -3.0, -7.0], None), row(2, &[-4.0, -3.0, -7.0], None)];
        for (metric, right) in [(&ACC, 1), (&ACC_NORM, 2), (&ACC_BYTES, 1)] {
            for (gold, row) in rows.iter().enumerate() {
                check(metric, std::slice::from_ref(row), Ok(f64::from(gold == right)));
            }
        }
        check(&ACC, &[row(0, &[-1.0, -1.0, -2.0], None), row(1, &[-1.0, -1.0, -2.0], None)], Ok(0.5));
        check(&ACC_MUTUAL_INFO, &[row(0, &[-4.0, -3.0, -7.0], Some(&[-9.0, -3.0, -8.0]))], Ok(1.0));
        check(&ACC_MUTUAL_INFO, &rows, Err("rows without log-likelihoods of choices alone: 3"));
        check(&ACC, &[], Err("there are no rows"));
    }

    #[test]
    fn an_empty_choice_is_not_chosen() {
        let row = ChoiceRow { gold: 1, choices: vec!["", "a"], log_likelihoods: &[0.0, -9.0], unconditional: None };
        check(&ACC_NORM, std::slice::from_ref(&row), Ok(1.0));
        check(&ACC, &[row], Ok(0.0));
    }
}
