//! chrF (Popović, 2015) and chrF++ (2017) exactly as sacrebleu 2.6.0 defines them: character n-grams of order 1 to 6, for chrF++ word
//! n-grams of order 1 and 2 too, precision and recall averaged over the orders that both sides have, beta 2, 0 to 100.
//!
//! Of several references, the one with the best score of its own counts; the first of equally good ones.

use super::bleu::{References, split};
use super::ngrams::{self, Ngram};
use super::{Counts, Measure, Metric, NO_ROWS, Options, Score, Start, TextRow, Texts, Total};

pub const CHRF: Metric = Metric {
    name: "chrf",
    about: "F-score of character sequences of 1 to 6 characters with the reference, recall twice as heavy, 0 to 100, as sacrebleu.",
    default: true,
    start: Start::Texts(|options| Box::new(Chrf::new("chrf", 0, options))),
};

pub const CHRF_WORDS: Metric = Metric {
    name: "chrf++",
    about: "chrF that counts sequences of 1 and 2 words beside those of characters, 0 to 100, as sacrebleu.",
    default: false,
    start: Start::Texts(|options| Box::new(Chrf::new("chrf++", 2, options))),
};

const CHARACTER_ORDERS: usize = 6;
/// Of a character's number, which is one above its code point.
const CHARACTER_BITS: usize = 21;
const BETA_SQUARED: f64 = 4.0;

struct Chrf {
    name: &'static str,
    word_orders: usize,
    lowercase: bool,
}

/// n-grams of the hypothesis, of the reference, and of both, by order.
type Statistics = Vec<[u64; 3]>;

impl Chrf {
    fn new(name: &'static str, word_orders: usize, options: &Options) -> Chrf {
        Chrf { name, word_orders, lowercase: options.bleu.lowercase }
    }

    fn orders(&self) -> usize {
        CHARACTER_ORDERS + self.word_orders
    }

    fn ngrams(&self, text: &str) -> Sequences {
        let lower = self.lowercase.then(|| text.to_lowercase());
        let text = lower.as_deref().unwrap_or(text);
        let characters: Vec<u32> = split(text).flat_map(str::chars).map(|c| u32::from(c) + 1).collect();
        let words: Vec<&str> = if self.word_orders > 0 { split(text).flat_map(apart).collect() } else { Vec::new() };
        Sequences {
            ngrams: ngrams::counted::<CHARACTER_ORDERS, CHARACTER_BITS>(&characters),
            characters: characters.len(),
            words: (1..=self.word_orders).map(|order| ngrams::sorted(&words, order)).collect(),
        }
    }
}

/// The n-grams of a text.
struct Sequences {
    /// Of characters, of all orders.
    ngrams: Vec<(Ngram, u32)>,
    characters: usize,
    /// Of words, by order.
    words: Vec<Vec<u128>>,
}

impl Sequences {
    fn against(&self, reference: &Sequences) -> Statistics {
        let mut same = [0; CHARACTER_ORDERS];
        let mut others = reference.ngrams.iter().peekable();
        for (ngram, count) in &self.ngrams {
            while others.next_if(|(other, _)| other < ngram).is_some() {}
            if let Some((_, other)) = others.next_if(|(other, _)| other == ngram) {
                same[ngrams::order::<CHARACTER_ORDERS, CHARACTER_BITS>(*ngram) - 1] += u64::from(*count.min(other));
            }
        }
        let of_characters = same.into_iter().enumerate().map(|(order, same)| {
            let [hypothesis, reference] = [self, reference].map(|text| text.characters.saturating_sub(order) as u64);
            [hypothesis, reference, same]
        });
        let of_words = self.words.iter().zip(&reference.words).map(|(h, r)| [h.len() as u64, r.len() as u64, ngrams::common(h, r)]);
        // An order that the reference lacks does not count for the hypothesis either.
        of_characters.chain(of_words).map(|[h, r, same]| if r == 0 { [0; 3] } else { [h, r, same] }).collect()
    }
}

/// A word without the punctuation mark at its end or, if there is none, at its beginning, and that mark.
fn apart(word: &str) -> impl Iterator<Item = &str> {
    let mark = |c: Option<char>| c.is_some_and(|c| c.is_ascii_punctuation());
    let cut = match word.chars().count() {
        1 => word.len(),
        _ if mark(word.chars().next_back()) => word.len() - 1,
        _ if mark(word.chars().next()) => 1,
        _ => word.len(),
    };
    let (first, second) = word.split_at(cut);
    [first, second].into_iter().filter(|part| !part.is_empty())
}

fn f_score(statistics: &[[u64; 3]]) -> f64 {
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
    for [hypothesis, reference, same] in statistics {
        if *hypothesis > 0 && *reference > 0 {
            precision += *same as f64 / *hypothesis as f64;
            recall += *same as f64 / *reference as f64;
            orders += 1.0;
        }
    }
    if orders == 0.0 || precision + recall == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (precision / orders, recall / orders);
    // In sacrebleu's order: the best of references that are as good as each other hangs on the last bit.
    100.0 * ((1.0 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall))
}

impl Measure<Texts> for Chrf {
    fn width(&self) -> usize {
        3 * self.orders() + 2
    }

    fn count(&self, row: &TextRow<'_>, counts: &mut Counts) {
        let hypothesis = self.ngrams(row.hypothesis);
        let mut best: Option<(f64, Statistics)> = None;
        for statistics in row.references.iter().map(|reference| hypothesis.against(&self.ngrams(reference))) {
            let score = f_score(&statistics);
            if best.as_ref().is_none_or(|(highest, _)| score > *highest) {
                best = Some((score, statistics));
            }
        }
        let numbers = best.into_iter().flat_map(|(_, statistics)| statistics.into_iter().flatten());
        numbers.enumerate().for_each(|(slot, number)| counts.add(slot, number as f64));
        References::add(3 * self.orders(), row, counts);
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let statistics: Statistics = (0..self.orders()).map(|order| [0, 1, 2].map(|part| total.whole(3 * order + part))).collect();
        let value = if total.rows == 0 { Err(NO_ROWS.to_owned()) } else { Ok(f_score(&statistics)) };
        let case = if self.lowercase { "lc" } else { "mixed" };
        let nrefs = References::of(3 * self.orders(), total).signature();
        let pairs = format!("nrefs:{nrefs}|case:{case}|eff:yes|nc:{CHARACTER_ORDERS}|nw:{}|space:no", self.word_orders);
        vec![Score::new(self.name, value, total.rows, &pairs)]
    }

    fn is_whole(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::scores_of;

    /// The example of sacrebleu's README.
    #[test]
    fn equals_the_numbers_sacrebleu_documents() {
        let hypotheses = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."];
        let first = ["The dog bit the man.", "It was not unexpected.", "The man bit him first."];
        let second = ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."];
        let rows: Vec<TextRow> = (0..3).map(|i| TextRow::new(hypotheses[i], vec![first[i], second[i]])).collect();
        for (metric, expected) in [(CHRF, 59.72751782684763), (CHRF_WORDS, 59.15310444399262)] {
            let Start::Texts(start) = metric.start else { panic!("{} is not for texts", metric.name) };
            let value = scores_of(start(&Options::default()).as_ref(), &rows).remove(0).value.unwrap();
            assert!((value - expected).abs() < 1e-9, "{}: {value}", metric.name);
        }
    }

    /// Both references are as good: which one counts is decided by how sacrebleu rounds, and it is the second.
    #[test]
    fn of_references_as_good_that_of_sacrebleu_counts() {
        let Start::Texts(start) = CHRF.start else { panic!("chrf is for texts") };
        let rows = [TextRow::new("sAst", vec!["sat", "sa"])];
        let sums = crate::counts::total_of(start(&Options::default()).as_ref(), &rows).sums;
        assert_eq!(sums[..6], [4.0, 2.0, 1.0, 3.0, 1.0, 0.0]);
    }

    #[test]
    fn one_mark_is_put_apart() {
        let cut = |word: &str| apart(word).map(String::from).collect::<Vec<_>>().join(" ");
        assert_eq!(["a.", "(a)", ".a", ".", "..", "a", "é!"].map(cut), ["a .", "(a )", ". a", ".", ". .", "a", "é !"]);
    }
}
