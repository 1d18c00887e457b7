//! BLEU (Papineni et al., 2002) exactly as sacrebleu 2.6.0 defines it, quirks included.
//!
//! Statistics are integers per segment, summed over the corpus; scores agree with sacrebleu to 1e-9 (the last bits of
//! `exp` and `ln` differ between platforms). Not here: tokenizers that need a dictionary or a learned model.

mod tokenize;

use anyhow::{Result, ensure};

pub use self::tokenize::Tokenize;
pub(super) use self::tokenize::{separate, split};
use super::{Counts, Measure, Metric, NO_ROWS, Score, Start, TextRow, Texts, Total, ngrams, signature};
use crate::counts::total_of;
use crate::words::{self, Numbers};

pub const METRIC: Metric = Metric {
    name: "bleu",
    about: "Overlap of word sequences of 1 to 4 tokens with the reference, 0 to 100, as sacrebleu computes it.",
    default: true,
    start: Start::Texts(|options| Box::new(Measured { settings: options.bleu })),
};

/// The longest n-gram counted.
pub const ORDER_MAX: usize = 4;

/// How texts are prepared and zero counts treated; the defaults are sacrebleu's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Settings {
    pub tokenize: Tokenize,
    pub smoothing: Smoothing,
    /// Compares in lower case.
    pub lowercase: bool,
    /// Leaves out orders for which the hypotheses are too short: for single sentences.
    pub effective_order: bool,
}

impl Settings {
    /// sacrebleu's signature with our own version, so that the two are never confused, and for `intl` the version of
    /// the Unicode tables: sacrebleu takes those of whatever `regex` is installed, and scores differ with them.
    fn signature(&self, references: References) -> String {
        let effective = if self.effective_order { "yes" } else { "no" };
        let nrefs = references.signature();
        let (case, tokenize, smoothing) = (self.case(), self.tokenize.signature(), self.smoothing.signature());
        signature(&format!("nrefs:{nrefs}|case:{case}|eff:{effective}|tok:{tokenize}|smooth:{smoothing}{}", self.unicode()))
    }

    /// The part that says what tokens are.
    pub(super) fn signature_of_tokens(&self) -> String {
        format!("case:{}|tok:{}{}", self.case(), self.tokenize.signature(), self.unicode())
    }

    fn case(&self) -> &'static str {
        if self.lowercase { "lc" } else { "mixed" }
    }

    fn unicode(&self) -> &'static str {
        if self.tokenize == Tokenize::Intl { "|unicode:16.0" } else { "" }
    }
}

/// What replaces the precision of an order without matches (Chen and Cherry, 2014).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Smoothing {
    /// 1 / (2^k total) for the k-th such order.
    #[default]
    Exp,
    /// The value / total.
    Floor(f64),
    /// Adds the value to matches and totals of all orders above 1.
    AddK(f64),
    /// Nothing: the score is 0.
    None,
}

impl Smoothing {
    fn signature(self) -> String {
        match self {
            Smoothing::Exp => "exp".to_owned(),
            Smoothing::Floor(value) => format!("floor[{value:.2}]"),
            Smoothing::AddK(value) => format!("add-k[{value:.2}]"),
            Smoothing::None => "none".to_owned(),
        }
    }
}

/// BLEU of a corpus and the counts it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Bleu {
    /// 0 to 100; identical texts may give 100.00000000000004 as in sacrebleu.
    pub score: f64,
    pub statistics: Statistics,
    /// Smoothed precisions of orders 1 to 4, in per cent.
    pub precisions: [f64; ORDER_MAX],
    pub brevity_penalty: f64,
    pub signature: String,
}

/// Scores `hypotheses` against their references: `references[i]` are those of `hypotheses[i]`, at least one.
///
/// # Errors
/// Unequal lengths (which sacrebleu's Python interface cuts silently), no rows, and a row without references.
pub fn corpus(settings: &Settings, hypotheses: &[&str], references: &[Vec<&str>]) -> Result<Bleu> {
    let (rows, expected) = (hypotheses.len(), references.len());
    ensure!(rows == expected, "bleu needs references for every hypothesis: {rows} hypotheses, {expected} rows of references");
    ensure!(rows > 0, "bleu of no rows is undefined");
    if let Some(row) = references.iter().position(Vec::is_empty) {
        anyhow::bail!("row {row} has no reference, bleu needs at least one");
    }
    let rows = hypotheses.iter().zip(references);
    let rows: Vec<TextRow> = rows.map(|(hypothesis, references)| TextRow::new(hypothesis, references.clone())).collect();
    let measured = Measured { settings: *settings };
    Ok(measured.bleu(&total_of(&measured, &rows)))
}

/// The tokens of a text as BLEU counts them.
pub fn tokens(settings: &Settings, text: &str) -> Vec<String> {
    split(&tokenize::prepare(settings, text)).map(str::to_owned).collect()
}

/// Sums of n-gram counts over segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Tokens of the hypotheses.
    pub hypothesis_length: u64,
    /// Tokens of the references closest in length.
    pub reference_length: u64,
    /// n-grams of the hypotheses also found in a reference, by order, each at most as often as there.
    pub matched: [u64; ORDER_MAX],
    /// n-grams of the hypotheses, by order.
    pub total: [u64; ORDER_MAX],
}

/// How many references the rows have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum References {
    Same(u64),
    Various,
}

impl References {
    /// Two sums, beginning at a slot: the references and their squares. All rows have equally many if and only if the squares' sum is least.
    pub(super) fn add(slot: usize, row: &TextRow<'_>, counts: &mut Counts) {
        let count = row.references.len() as f64;
        counts.add(slot, count);
        counts.add(slot + 1, count * count);
    }

    pub(super) fn of(slot: usize, total: &Total) -> References {
        let (sum, squares, rows) = (total.sums[slot], total.sums[slot + 1], total.rows as f64);
        match total.rows {
            0 => References::Same(1),
            _ if squares * rows == sum * sum => References::Same((sum / rows) as u64),
            _ => References::Various,
        }
    }

    /// As sacrebleu writes it.
    pub(super) fn signature(self) -> String {
        match self {
            References::Same(count) => count.to_string(),
            References::Various => "var".to_owned(),
        }
    }
}

struct Measured {
    settings: Settings,
}

/// Slots of the sums: lengths, matches, totals, references.
const MATCHED: usize = 2;
const TOTAL: usize = MATCHED + ORDER_MAX;
const REFERENCES: usize = TOTAL + ORDER_MAX;

impl Measure<Texts> for Measured {
    fn width(&self) -> usize {
        REFERENCES + 2
    }

    fn count(&self, row: &TextRow<'_>, counts: &mut Counts) {
        assert!(!row.references.is_empty(), "a row without references must be refused before it comes here");
        let statistics = segment(&self.settings, row);
        counts.add(0, statistics.hypothesis_length as f64);
        counts.add(1, statistics.reference_length as f64);
        for n in 0..ORDER_MAX {
            counts.add(MATCHED + n, statistics.matched[n] as f64);
            counts.add(TOTAL + n, statistics.total[n] as f64);
        }
        References::add(REFERENCES, row, counts);
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let bleu = self.bleu(total);
        let value = if total.rows == 0 { Err(NO_ROWS.to_owned()) } else { Ok(bleu.score) };
        vec![Score { metric: METRIC.name.to_owned(), class: None, value, count: total.rows, signature: bleu.signature }]
    }

    fn is_whole(&self) -> bool {
        true
    }
}

impl Measured {
    fn bleu(&self, total: &Total) -> Bleu {
        let orders = |first: usize| std::array::from_fn(|n| total.whole(first + n));
        let statistics = Statistics {
            hypothesis_length: total.whole(0),
            reference_length: total.whole(1),
            matched: orders(MATCHED),
            total: orders(TOTAL),
        };
        let brevity_penalty = brevity_penalty(&statistics);
        let (precisions, mean) = precisions(&self.settings, &statistics);
        let signature = self.settings.signature(References::of(REFERENCES, total));
        Bleu { score: brevity_penalty * mean, statistics, precisions, brevity_penalty, signature }
    }
}

/// 1 for hypotheses at least as long as their references, less for shorter ones.
fn brevity_penalty(statistics: &Statistics) -> f64 {
    let (hypothesis, reference) = (statistics.hypothesis_length as f64, statistics.reference_length as f64);
    match hypothesis {
        _ if hypothesis >= reference => 1.0,
        0.0 => 0.0,
        _ => (1.0 - reference / hypothesis).exp(),
    }
}

/// Precisions in per cent and their geometric mean.
fn precisions(settings: &Settings, statistics: &Statistics) -> ([f64; ORDER_MAX], f64) {
    let mut precisions = [0.0; ORDER_MAX];
    // Before any smoothing: a corpus without a single match scores 0 (sacrebleu issue 141).
    if statistics.matched == [0; ORDER_MAX] {
        return (precisions, 0.0);
    }
    let mut orders = ORDER_MAX;
    let mut divisor = 1.0;
    for (n, precision) in precisions.iter_mut().enumerate() {
        let (mut matched, mut total) = (statistics.matched[n] as f64, statistics.total[n] as f64);
        if let (Smoothing::AddK(value), 1..) = (settings.smoothing, n) {
            matched += value;
            total += value;
        }
        if total == 0.0 {
            break;
        }
        if settings.effective_order {
            orders = n + 1;
        }
        *precision = match settings.smoothing {
            _ if matched > 0.0 => 100.0 * matched / total,
            Smoothing::Exp => {
                divisor *= 2.0;
                100.0 / (divisor * total)
            }
            Smoothing::Floor(value) => 100.0 * value / total,
            Smoothing::AddK(_) | Smoothing::None => 0.0,
        };
    }
    let sum: f64 = precisions[..orders].iter().map(|&precision| log_floored(precision)).sum();
    (precisions, (sum / orders as f64).exp())
}

/// sacrebleu's logarithm, for which the one of 0 is very small but finite.
fn log_floored(value: f64) -> f64 {
    if value == 0.0 { -9_999_999_999.0 } else { value.ln() }
}

/// The statistics of one row.
fn segment(settings: &Settings, row: &TextRow<'_>) -> Statistics {
    let prepare = |text: &str| tokenize::prepare(settings, text);
    let hypothesis = prepare(row.hypothesis);
    let references: Vec<String> = row.references.iter().map(|reference| prepare(reference)).collect();

    let mut known = Numbers::default();
    let hypothesis = words::number(split(&hypothesis), &mut known);
    let length = hypothesis.len() as u64;
    let ngrams = ngrams::counted::<ORDER_MAX, 32>(&hypothesis);
    // How often a reference has each n-gram, at most.
    let mut most = vec![0; ngrams.len()];
    let mut closest = (u64::MAX, 0);
    for reference in &references {
        let reference = words::number(split(reference), &mut known);
        // The closest length; of two equally close ones the shorter.
        let its_length = reference.len() as u64;
        closest = closest.min((its_length.abs_diff(length), its_length));
        let mut others = ngrams::counted::<ORDER_MAX, 32>(&reference).into_iter().peekable();
        for ((ngram, _), most) in ngrams.iter().zip(&mut most) {
            while others.next_if(|(other, _)| other < ngram).is_some() {}
            if let Some((_, count)) = others.next_if(|(other, _)| other == ngram) {
                *most = count.max(*most);
            }
        }
    }
    let mut statistics = Statistics { hypothesis_length: length, reference_length: closest.1, ..Statistics::default() };
    for ((ngram, count), most) in ngrams.into_iter().zip(most) {
        let order = ngrams::order::<ORDER_MAX, 32>(ngram);
        statistics.total[order - 1] += u64::from(count);
        statistics.matched[order - 1] += u64::from(count.min(most));
    }
    statistics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(settings: &Settings, hypotheses: &[&str], references: &[Vec<&str>]) -> f64 {
        corpus(settings, hypotheses, references).unwrap().score
    }

    #[track_caller]
    fn assert_close(ours: f64, expected: f64) {
        assert!((ours - expected).abs() < 1e-9, "{ours} is not {expected}");
    }

    /// The example of sacrebleu's README.
    #[test]
    fn equals_the_numbers_sacrebleu_documents() {
        let hypotheses = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."];
        let first = ["The dog bit the man.", "It was not unexpected.", "The man bit him first."];
        let second = ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."];
        let both: Vec<Vec<&str>> = first.iter().zip(second).map(|(first, second)| vec![*first, second]).collect();
        let one: Vec<Vec<&str>> = first.iter().map(|first| vec![*first]).collect();
        assert_close(score(&Settings::default(), &hypotheses, &both), 48.530827009929865);
        assert_close(score(&Settings::default(), &hypotheses, &one), 45.06750632106114);
    }

    #[test]
    fn smoothing_equals_the_numbers_of_sacrebleu() {
        let check = |smoothing, expected| {
            let settings = Settings { smoothing, ..Settings::default() };
            assert_close(score(&settings, &["the cat sat on mat"], &[vec!["the cat is on a mat"]]), expected);
        };
        check(Smoothing::Floor(0.1), 11.062691203042489);
        check(Smoothing::AddK(1.0), 33.08516361499262);
        check(Smoothing::Exp, 20.80119537801062);
        check(Smoothing::None, 0.0);
    }

    #[test]
    fn no_match_at_any_order_is_zero_before_smoothing() {
        for smoothing in [Smoothing::Exp, Smoothing::Floor(0.1), Smoothing::AddK(1.0), Smoothing::None] {
            let settings = Settings { smoothing, ..Settings::default() };
            assert_eq!(score(&settings, &["a b c d e"], &[vec!["v w x y z"]]), 0.0);
            assert_eq!(score(&settings, &[""], &[vec!["v w x y z"]]), 0.0);
        }
    }

    #[test]
    fn of_two_equally_close_references_the_shorter_counts() {
        let bleu = corpus(&Settings::default(), &["a b c"], &[vec!["a b c d", "a b"]]).unwrap();
        assert_eq!((bleu.statistics.hypothesis_length, bleu.statistics.reference_length), (3, 2));
    }

    #[test]
    fn the_signature_tells_settings_and_references() {
        let settings = Settings { smoothing: Smoothing::Floor(0.1), lowercase: true, tokenize: Tokenize::Zh, effective_order: true };
        let bleu = corpus(&settings, &["a", "b"], &[vec!["a"], vec!["a", "b"]]).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(bleu.signature, format!("nrefs:var|case:lc|eff:yes|tok:zh|smooth:floor[0.10]|version:corpusmill-{version}"));
    }

    #[test]
    fn refuses_what_sacrebleu_would_cut_silently() {
        let check = |hypotheses: &[&str], references: &[Vec<&str>], expected: &str| {
            assert_eq!(corpus(&Settings::default(), hypotheses, references).unwrap_err().to_string(), expected);
        };
        check(&["a", "b"], &[vec!["a"]], "bleu needs references for every hypothesis: 2 hypotheses, 1 rows of references");
        check(&["a"], &[vec![]], "row 0 has no reference, bleu needs at least one");
        check(&[], &[], "bleu of no rows is undefined");
    }
}
