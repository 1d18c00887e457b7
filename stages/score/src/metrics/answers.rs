//! Exact match and F1 of answers, as the scripts of SQuAD 1.1 and 2.0 define them: the best over the gold answers, mean over questions,
//! 0 to 100.
//!
//! Both compare normal forms: lower case, without ASCII punctuation, without articles, white space as one space, in this order.
//! They differ where normal forms are empty. 1.1 gives such a pair an F1 of 0 and knows no questions without answer. 2.0 drops such
//! gold answers, and takes a question left without any as one whose right answer is none.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bleu::split;
use super::{AnswerRow, Answers, Counts, Measure, Metric, NO_ROWS, Options, Score, Start, Total, Worse, ratio};

pub const EXACT_MATCH: Metric = Metric {
    name: "exact-match",
    about: "Share of questions whose answer equals a gold one in its normal form, 0 to 100, as SQuAD's script.",
    default: true,
    start: Start::Answers(|options| start("exact-match", exact, options)),
};

pub const F1: Metric = Metric {
    name: "f1",
    about: "Mean over questions of the best F1 between the words of the answer and of a gold one, 0 to 100, as SQuAD's script.",
    default: true,
    start: Start::Answers(|options| start("f1", f1, options)),
};

/// Whose script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Squad {
    /// Every question has an answer.
    #[serde(rename = "1.1")]
    V1,
    /// A question may have none.
    #[default]
    #[serde(rename = "2.0")]
    V2,
}

/// Between normal forms of a gold answer and a predicted one.
type Compare = fn(Squad, &str, &str) -> f64;

struct Best {
    name: &'static str,
    compare: Compare,
    squad: Squad,
}

fn start(name: &'static str, compare: Compare, options: &Options) -> Box<dyn Measure<Answers>> {
    Box::new(Best { name, compare, squad: options.squad })
}

impl Measure<Answers> for Best {
    /// Points; points and questions of those with an answer.
    fn width(&self) -> usize {
        3
    }

    fn count(&self, row: &AnswerRow<'_>, counts: &mut Counts) {
        let prediction = normal(row.prediction);
        let mut golds: Vec<String> = row.golds.iter().map(|gold| normal(gold)).collect();
        if self.squad == Squad::V2 {
            golds.retain(|gold| !gold.is_empty());
        }
        let answerable = !golds.is_empty();
        if !answerable {
            golds.push(String::new());
        }
        let points = golds.iter().map(|gold| (self.compare)(self.squad, gold, &prediction)).fold(0.0, f64::max);
        counts.add(0, points);
        if answerable {
            counts.add(1, points);
            counts.add(2, 1.0);
        }
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let version = match self.squad {
            Squad::V1 => "squad:1.1",
            Squad::V2 => "squad:2.0",
        };
        let score = |points: f64, rows: u64, reason: &str| Score::new(self.name, ratio(100.0 * points, rows, reason), rows, version);
        let mut scores = vec![score(total.sums[0], total.rows, NO_ROWS)];
        if self.squad == Squad::V2 {
            let (points, answerable) = (total.sums[1], total.whole(2));
            scores.push(score(points, answerable, "no question has an answer").of_class("has answer"));
            scores.push(score(total.sums[0] - points, total.rows - answerable, "every question has an answer").of_class("no answer"));
        }
        scores
    }

    fn is_right_or_wrong(&self) -> bool {
        self.name == EXACT_MATCH.name
    }

    fn is_row_of(&self, score: usize, amounts: &[(u32, f64)]) -> bool {
        let answerable = amounts.iter().any(|(slot, _)| *slot == 2);
        match score {
            1 => answerable,
            2 => !answerable,
            _ => true,
        }
    }

    fn worse_rows(&self) -> Option<Worse> {
        Some(Worse::Lower)
    }
}

fn exact(_: Squad, gold: &str, prediction: &str) -> f64 {
    f64::from(gold == prediction)
}

fn f1(squad: Squad, gold: &str, prediction: &str) -> f64 {
    let (gold, prediction): (Vec<&str>, Vec<&str>) = (split(gold).collect(), split(prediction).collect());
    if squad == Squad::V2 && (gold.is_empty() || prediction.is_empty()) {
        return f64::from(gold == prediction);
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    gold.iter().for_each(|word| *counts.entry(word).or_default() += 1);
    let mut same = 0;
    for word in &prediction {
        if let Some(count) = counts.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            same += 1;
        }
    }
    if same == 0 {
        return 0.0;
    }
    let (precision, recall) = (f64::from(same) / prediction.len() as f64, f64::from(same) / gold.len() as f64);
    2.0 * precision * recall / (precision + recall)
}

/// The normal form of an answer.
pub fn normal(text: &str) -> String {
    let lower = text.to_lowercase();
    let bare: String = lower.chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let mut kept = String::with_capacity(bare.len());
    let mut rest = bare.as_str();
    while let Some(first) = rest.chars().next() {
        // A run of word characters, or one other character.
        let run = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let length = if run == 0 { first.len_utf8() } else { run };
        let (piece, after) = rest.split_at(length);
        kept.push_str(if matches!(piece, "a" | "an" | "the") { " " } else { piece });
        rest = after;
    }
    split(&kept).collect::<Vec<_>>().join(" ")
}

/// Python's `\w`, which unlike that of Rust's regular expressions has no marks in it.
fn is_word(c: char) -> bool {
    static LETTER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^[\p{L}\p{N}]$").expect("the pattern is constant and tested"));
    if c.is_ascii() { c.is_ascii_alphanumeric() || c == '_' } else { LETTER.is_match(c.encode_utf8(&mut [0; 4])) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::scores_of;

    #[test]
    fn normal_forms_are_those_of_the_script() {
        assert_eq!(normal("The  \u{201c}Cat\u{201d}, a U.S.A. an'd theThe\u{1c}the"), "\u{201c}cat\u{201d} usa and thethe");
        assert_eq!(normal("A\u{301} \u{4e2d}a a\u{4e2d}"), "\u{301} \u{4e2d}a a\u{4e2d}");
        assert_eq!(normal("the a."), "");
    }

    fn check(squad: Squad, golds: &[&str], prediction: &str, expected: [f64; 2]) {
        let row = AnswerRow { golds: golds.to_vec(), prediction };
        let options = Options { squad, ..Options::default() };
        let score = |metric: &Metric| match metric.start {
            Start::Answers(start) => scores_of(start(&options).as_ref(), std::slice::from_ref(&row))[0].value.clone().unwrap(),
            _ => panic!("{} is not for answers", metric.name),
        };
        assert_eq!([score(&EXACT_MATCH), score(&F1)], expected, "{golds:?} {prediction}");
    }

    #[test]
    fn empty_normal_forms_tell_the_scripts_apart() {
        check(Squad::V1, &["the"], "a", [100.0, 0.0]);
        check(Squad::V2, &["the"], "a", [100.0, 100.0]);
        check(Squad::V2, &[], "", [100.0, 100.0]);
        check(Squad::V2, &[], "cat", [0.0, 0.0]);
        check(Squad::V2, &["cat", "the black cat"], "a black dog", [0.0, 50.0]);
    }
}
