//! ROUGE (Lin, 2004) as the package rouge-score 0.1.2 computes it: overlap of 1 or 2 tokens in sequence, longest common subsequence
//! of the whole texts (L), and union of those of their lines (Lsum). Mean over rows, 0 to 1; of several references
//! the one with the best F1.
//!
//! rouge-score knows only the letters a to z and digits. `unicode` keeps those of all scripts, and takes each Han character, Hiragana
//! or Katakana for a token.

mod stem;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bleu::References;
use super::{Counts, Measure, Metric, NO_ROWS, Options, Score, Start, TextRow, Texts, Total, Worse, ngrams, ratio};
use crate::words::{self, Numbers};

pub const ROUGE_1: Metric = Metric {
    name: "rouge-1",
    about: "F1 of single tokens with the reference, mean over rows, 0 to 1, as rouge-score; precision and recall beside it.",
    default: false,
    start: Start::Texts(|options| start("rouge-1", |a, b| sequences(1, a, b), options)),
};

pub const ROUGE_2: Metric = Metric {
    name: "rouge-2",
    about: "F1 of pairs of tokens with the reference, mean over rows, 0 to 1, as rouge-score; precision and recall beside it.",
    default: false,
    start: Start::Texts(|options| start("rouge-2", |a, b| sequences(2, a, b), options)),
};

pub const ROUGE_L: Metric = Metric {
    name: "rouge-l",
    about: "F1 of the longest common subsequence with the reference, mean over rows, 0 to 1, as rouge-score; precision and recall beside it.",
    default: false,
    start: Start::Texts(|options| start("rouge-l", longest, options)),
};

pub const ROUGE_LSUM: Metric = Metric {
    name: "rouge-lsum",
    about: "F1 of the common subsequences of lines with the reference, mean over rows, 0 to 1, as rouge-score; precision and recall beside it.",
    default: false,
    start: Start::Texts(|options| start("rouge-lsum", by_lines, options)),
};

/// How texts are cut into tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Segmentation {
    /// Runs of a to z and 0 to 9, in lower case, as rouge-score: nothing is left of other scripts.
    #[default]
    Latin,
    /// Runs of letters, marks and digits of any script, in lower case; each Han character, Hiragana and Katakana alone.
    Unicode,
}

/// How texts are cut into tokens, and whether of these only stems count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    pub segmentation: Segmentation,
    /// Whether tokens of more than three letters are reduced to their English stems.
    pub stem: bool,
}

impl Settings {
    fn signature(self) -> String {
        let (tokens, unicode) = match self.segmentation {
            Segmentation::Latin => ("rouge-score", ""),
            Segmentation::Unicode => ("unicode, han and kana by character", "|unicode:16.0"),
        };
        format!("tok:{tokens}|stem:{}{unicode}", if self.stem { "porter" } else { "no" })
    }
}

/// A text by lines that are not empty; each has its tokens.
type Lines<'a> = [Vec<Cow<'a, str>>];

/// What two texts share, the tokens of the written one and of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Overlap {
    shared: u64,
    hypothesis: u64,
    reference: u64,
}

impl Overlap {
    /// F1, precision and recall.
    fn ratios(self) -> [f64; 3] {
        let share = |of: u64| self.shared as f64 / of.max(1) as f64;
        let (precision, recall) = (share(self.hypothesis), share(self.reference));
        let f1 = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
        [f1, precision, recall]
    }
}

struct Rouge {
    name: &'static str,
    overlap: fn(&Lines, &Lines) -> Overlap,
    settings: Settings,
}

fn start(name: &'static str, overlap: fn(&Lines, &Lines) -> Overlap, options: &Options) -> Box<dyn Measure<Texts>> {
    Box::new(Rouge { name, overlap, settings: options.rouge })
}

impl Measure<Texts> for Rouge {
    /// F1, precision, recall, and how many references there are.
    fn width(&self) -> usize {
        5
    }

    fn count(&self, row: &TextRow<'_>, counts: &mut Counts) {
        let lower = |text: &str| text.to_lowercase();
        let hypothesis = lower(row.hypothesis);
        let hypothesis = lines(self.settings, &hypothesis);
        let mut best: Option<[f64; 3]> = None;
        for reference in &row.references {
            let reference = lower(reference);
            let ratios = (self.overlap)(&hypothesis, &lines(self.settings, &reference)).ratios();
            if best.is_none_or(|best| ratios[0] > best[0]) {
                best = Some(ratios);
            }
        }
        best.into_iter().flatten().enumerate().for_each(|(slot, ratio)| counts.add(slot, ratio));
        References::add(3, row, counts);
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let pairs = format!("nrefs:{}|{}|average:rows", References::of(3, total).signature(), self.settings.signature());
        let score = |(slot, name): (usize, &str)| {
            Score::new(format!("{}{name}", self.name), ratio(total.sums[slot], total.rows, NO_ROWS), total.rows, &pairs)
        };
        ["", "-precision", "-recall"].into_iter().enumerate().map(score).collect()
    }

    fn worse_rows(&self) -> Option<Worse> {
        Some(Worse::Lower)
    }

    fn sum_of(&self, score: usize) -> usize {
        score
    }
}

/// The tokens of a text's lines; `lower` is in lower case.
fn lines(settings: Settings, lower: &str) -> Vec<Vec<Cow<'_, str>>> {
    static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
        let alone = r"\p{Han}\p{Hiragana}\p{Katakana}";
        Regex::new(&format!(r"[{alone}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{alone}]]+")).expect("the pattern is constant and tested")
    });
    let stem = |token: &'_ str| settings.stem && token.len() > 3 && token.is_ascii();
    let tokens = |line| -> Vec<Cow<'_, str>> {
        let tokens: Vec<&str> = match settings.segmentation {
            Segmentation::Latin => tokens_of_rouge(line),
            Segmentation::Unicode => TOKEN.find_iter(line).map(|token| token.as_str()).collect(),
        };
        tokens.into_iter().map(|token| if stem(token) { Cow::Owned(stem::stem(token)) } else { Cow::Borrowed(token) }).collect()
    };
    lower.split('\n').filter(|line| !line.is_empty()).map(tokens).collect()
}

fn tokens_of_rouge(line: &str) -> Vec<&str> {
    line.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit())).filter(|token| !token.is_empty()).collect()
}

fn flat<'a>(lines: &'a Lines) -> Vec<&'a str> {
    lines.iter().flatten().map(Cow::as_ref).collect()
}

fn sequences(order: usize, hypothesis: &Lines, reference: &Lines) -> Overlap {
    let [hypothesis, reference] = [hypothesis, reference].map(|lines| ngrams::sorted(&flat(lines), order));
    Overlap { shared: ngrams::common(&hypothesis, &reference), hypothesis: hypothesis.len() as u64, reference: reference.len() as u64 }
}

fn longest(hypothesis: &Lines, reference: &Lines) -> Overlap {
    let mut known = Numbers::default();
    let [hypothesis, reference] = [hypothesis, reference].map(|lines| words::number(flat(lines).into_iter(), &mut known));
    let shared = length_of_longest(&hypothesis, &reference, known.len());
    Overlap { shared, hypothesis: hypothesis.len() as u64, reference: reference.len() as u64 }
}

/// The length of the longest common subsequence of tokens that are numbers up to `most`: a row of its table at once, a bit for each token
/// of the reference (Crochemore et al., 2001).
fn length_of_longest(hypothesis: &[u32], reference: &[u32], most: usize) -> u64 {
    let width = reference.len().div_ceil(64);
    let mut places = vec![0; (most + 1) * width];
    reference.iter().enumerate().for_each(|(place, token)| places[*token as usize * width + place / 64] |= 1_u64 << (place % 64));
    // A bit that is not set: here the length is one above that of the token before.
    let mut row = vec![u64::MAX; width];
    for token in hypothesis {
        let mut carry = false;
        for (bits, same) in row.iter_mut().zip(&places[*token as usize * width..]) {
            let (sum, over) = bits.overflowing_add(*bits & same);
            let (sum, again) = sum.overflowing_add(u64::from(carry));
            carry = over || again;
            *bits = sum | (*bits & !same);
        }
    }
    row.iter().map(|bits| u64::from(bits.count_zeros())).sum()
}

/// Lengths of the longest common subsequences of all beginnings.
fn table<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> Vec<Vec<u32>> {
    let mut rows = vec![vec![0; hypothesis.len() + 1]];
    for token in reference {
        let above = &rows[rows.len() - 1];
        let mut row = vec![0; hypothesis.len() + 1];
        for (at, other) in hypothesis.iter().enumerate() {
            row[at + 1] = if token == other { above[at] + 1 } else { above[at + 1].max(row[at]) };
        }
        rows.push(row);
    }
    rows
}

fn by_lines(hypothesis: &Lines, reference: &Lines) -> Overlap {
    let counts = |lines: &'_ Lines| {
        let mut counts: HashMap<String, u64> = HashMap::new();
        flat(lines).into_iter().for_each(|token| *counts.entry(token.to_owned()).or_default() += 1);
        counts
    };
    let (mut left, mut right) = (counts(hypothesis), counts(reference));
    let mut shared = 0;
    for line in reference {
        for place in union(line, hypothesis) {
            // Each occurrence counts once, however many lines share it.
            if let (Some(left), Some(right)) = (left.get_mut(line[place].as_ref()), right.get_mut(line[place].as_ref()))
                && *left > 0
                && *right > 0
            {
                shared += 1;
                (*left, *right) = (*left - 1, *right - 1);
            }
        }
    }
    let length = |lines: &Lines| lines.iter().map(Vec::len).sum::<usize>() as u64;
    Overlap { shared, hypothesis: length(hypothesis), reference: length(reference) }
}

/// Places of a line that are in its longest common subsequence with some line of the other text, in order.
fn union(line: &[Cow<'_, str>], others: &Lines) -> Vec<usize> {
    let mut found = vec![false; line.len()];
    for other in others {
        let table = table(line, other);
        let (mut row, mut column) = (line.len(), other.len());
        while row > 0 && column > 0 {
            if line[row - 1] == other[column - 1] {
                (row, column) = (row - 1, column - 1);
                found[row] = true;
            } else if table[row][column - 1] > table[row - 1][column] {
                column -= 1;
            } else {
                row -= 1;
            }
        }
    }
    (0..line.len()).filter(|place| found[*place]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(segmentation: Segmentation, hypothesis: &str, reference: &str, expected: [(u64, u64, u64); 4]) {
        let (hypothesis, reference) = (hypothesis.to_lowercase(), reference.to_lowercase());
        let settings = Settings { segmentation, stem: false };
        let (a, b) = (lines(settings, &hypothesis), lines(settings, &reference));
        let ours = [sequences(1, &a, &b), sequences(2, &a, &b), longest(&a, &b), by_lines(&a, &b)];
        assert_eq!(ours.map(|overlap| (overlap.shared, overlap.hypothesis, overlap.reference)), expected);
    }

    #[test]
    fn the_longest_subsequence_is_that_of_the_table() {
        let draw = |seed: u32, length: u32| -> Vec<u32> { (0..length).map(|at| (at * at * 31 + at * seed + seed / 7) % 11 + 1).collect() };
        for length in [0, 1, 5, 63, 64, 65, 128, 200] {
            for seed in 0..40 {
                let (hypothesis, reference) = (draw(seed, 70 + seed), draw(seed * 3 + 1, length));
                let expected = table(&reference, &hypothesis).last().and_then(|row| row.last().copied()).unwrap();
                assert_eq!(length_of_longest(&hypothesis, &reference, 11), u64::from(expected), "{length} {seed}");
            }
        }
    }

    #[test]
    fn counts_what_texts_share() {
        let all = [(5, 5, 6), (3, 4, 5), (5, 5, 6), (5, 5, 6)];
        check(Segmentation::Latin, "The cat sat on mat", "the cat sat on a mat.", all);
        let lines = [(4, 4, 4), (2, 3, 3), (2, 4, 4), (4, 4, 4)];
        check(Segmentation::Latin, "c d\na b", "a b\nc d", lines);
        check(Segmentation::Latin, "\u{732b}", "\u{732b}", [(0, 0, 0); 4]);
        check(Segmentation::Unicode, "\u{732b}\u{5750}GPT-4", "\u{732b}\u{5750}\u{3002}gpt", [(3, 4, 3), (2, 3, 2), (3, 4, 3), (3, 4, 3)]);
    }
}
