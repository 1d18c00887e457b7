//! Plain properties of written texts: equal to a reference, and how much they repeat.

use super::bleu::{self, References};
use super::{Counts, Measure, Metric, NO_ROWS, Options, Score, Start, TextRow, Texts, Total, Worse, ngrams, ratio};

pub const EXACT_MATCH: Metric = Metric {
    name: "exact-match",
    about: "Share of texts that are a reference, character by character, 0 to 1.",
    default: true,
    start: Start::Texts(|_| Box::new(ExactMatch)),
};

pub const DISTINCT_1: Metric = Metric {
    name: "distinct-1",
    about: "Different tokens over all tokens of the written texts together (Li et al., 2016), 0 to 1; low where they repeat themselves.",
    default: false,
    start: Start::Texts(|options| Box::new(Distinct::new("distinct-1", 1, options))),
};

pub const DISTINCT_2: Metric = Metric {
    name: "distinct-2",
    about: "Different pairs of tokens over all pairs of the written texts together (Li et al., 2016), 0 to 1.",
    default: false,
    start: Start::Texts(|options| Box::new(Distinct::new("distinct-2", 2, options))),
};

pub const DISTINCT_3: Metric = Metric {
    name: "distinct-3",
    about: "Different sequences of 3 tokens over all of them in the written texts together (Li et al., 2016), 0 to 1.",
    default: false,
    start: Start::Texts(|options| Box::new(Distinct::new("distinct-3", 3, options))),
};

pub const DISTINCT_4: Metric = Metric {
    name: "distinct-4",
    about: "Different sequences of 4 tokens over all of them in the written texts together (Li et al., 2016), 0 to 1.",
    default: false,
    start: Start::Texts(|options| Box::new(Distinct::new("distinct-4", 4, options))),
};

pub const REPETITION_1: Metric = Metric {
    name: "repetition-1",
    about: "Share of a text's tokens that stand earlier in it (seq-rep-1 of Welleck et al., 2020), mean over texts, 0 to 1; high where they repeat themselves.",
    default: false,
    start: Start::Texts(|options| Box::new(Repetition { name: "repetition-1", order: 1, bleu: options.bleu })),
};

pub const REPETITION_2: Metric = Metric {
    name: "repetition-2",
    about: "Share of a text's pairs of tokens that stand earlier in it (seq-rep-2 of Welleck et al., 2020), mean over texts, 0 to 1; high where they repeat themselves.",
    default: false,
    start: Start::Texts(|options| Box::new(Repetition { name: "repetition-2", order: 2, bleu: options.bleu })),
};

pub const REPETITION_3: Metric = Metric {
    name: "repetition-3",
    about: "Share of a text's sequences of 3 tokens that stand earlier in it (seq-rep-3 of Welleck et al., 2020), mean over texts, 0 to 1; high where they repeat themselves.",
    default: false,
    start: Start::Texts(|options| Box::new(Repetition { name: "repetition-3", order: 3, bleu: options.bleu })),
};

pub const REPETITION_4: Metric = Metric {
    name: "repetition-4",
    about: "Share of a text's sequences of 4 tokens that stand earlier in it (seq-rep-4 of Welleck et al., 2020), mean over texts, 0 to 1; high where they repeat themselves.",
    default: false,
    start: Start::Texts(|options| Box::new(Repetition { name: "repetition-4", order: 4, bleu: options.bleu })),
};

struct ExactMatch;

impl Measure<Texts> for ExactMatch {
    fn width(&self) -> usize {
        3
    }

    fn count(&self, row: &TextRow<'_>, counts: &mut Counts) {
        counts.add(0, f64::from(row.references.contains(&row.hypothesis)));
        References::add(1, row, counts);
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let pairs = format!("nrefs:{}", References::of(1, total).signature());
        vec![Score::new(EXACT_MATCH.name, ratio(total.sums[0], total.rows, NO_ROWS), total.rows, &pairs)]
    }

    fn is_right_or_wrong(&self) -> bool {
        true
    }
}

/// Keeps 64 bits for each sequence of tokens.
struct Distinct {
    name: &'static str,
    order: usize,
    bleu: bleu::Settings,
}

impl Distinct {
    fn new(name: &'static str, order: usize, options: &Options) -> Distinct {
        Distinct { name, order, bleu: options.bleu }
    }
}

impl Measure<Texts> for Distinct {
    fn width(&self) -> usize {
        0
    }

    fn count(&self, row: &TextRow<'_>, counts: &mut Counts) {
        let tokens = bleu::tokens(&self.bleu, row.hypothesis);
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        tokens.windows(self.order).for_each(|window| counts.keep(ngrams::hash(window) as u64));
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let mut ngrams = total.kept.clone();
        ngrams.sort_unstable();
        ngrams.dedup();
        let reason = if total.rows == 0 { NO_ROWS.to_owned() } else { format!("no text has {} tokens", self.order) };
        let value = ratio(ngrams.len() as f64, total.kept.len() as u64, &reason);
        vec![Score::new(self.name, value, total.rows, &self.bleu.signature_of_tokens())]
    }

    /// Rows drawn twice are no new ones.
    fn can_be_redrawn(&self) -> bool {
        false
    }
}

struct Repetition {
    name: &'static str,
    order: usize,
    bleu: bleu::Settings,
}

impl Measure<Texts> for Repetition {
    /// Shares, and the texts that have as many tokens.
    fn width(&self) -> usize {
        2
    }

    fn count(&self, row: &TextRow<'_>, counts: &mut Counts) {
        let tokens = bleu::tokens(&self.bleu, row.hypothesis);
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let mut ngrams = ngrams::sorted(&tokens, self.order);
        let all = ngrams.len();
        ngrams.dedup();
        if all > 0 {
            counts.add(0, (all - ngrams.len()) as f64 / all as f64);
            counts.add(1, 1.0);
        }
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let reason = if total.rows == 0 { NO_ROWS.to_owned() } else { format!("no text has {} tokens", self.order) };
        let value = ratio(total.sums[0], total.whole(1), &reason);
        let pairs = format!("{}|average:rows", self.bleu.signature_of_tokens());
        vec![Score::new(self.name, value, total.whole(1), &pairs)]
    }

    fn worse_rows(&self) -> Option<Worse> {
        Some(Worse::Higher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::scores_of;

    #[test]
    fn repetition_counts_over_all_texts() {
        let rows = ["a b a b", "a b c", ""].map(|hypothesis| TextRow::new(hypothesis, vec!["a b c"]));
        let value = |order| scores_of(&Distinct::new("", order, &Options::default()), &rows).remove(0).value;
        assert_eq!((value(1), value(2), value(5)), (Ok(3.0 / 7.0), Ok(3.0 / 5.0), Err("no text has 5 tokens".to_owned())));
        assert_eq!(scores_of(&ExactMatch, &rows).remove(0).value, Ok(1.0 / 3.0));
        let repeated = |order| {
            let score = scores_of(&Repetition { name: "", order, bleu: bleu::Settings::default() }, &rows).remove(0);
            (score.value, score.count)
        };
        // Of each text that is long enough.
        assert_eq!((repeated(1), repeated(2)), ((Ok(0.5 / 2.0), 2), (Ok(1.0 / 3.0 / 2.0), 2)));
        assert_eq!((repeated(4), repeated(5)), ((Ok(0.0), 1), (Err("no text has 5 tokens".to_owned()), 0)));
    }
}
