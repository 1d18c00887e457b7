//! Written texts: whether they look as if they had been cut into tokens already.

use anyhow::Result;

use crate::metrics::bleu::Tokenize;
use crate::metrics::{Counts, Measure, Score, TextRow, Texts, Total};
use crate::score::{Outcome, Work};

/// From so many texts on, sacrebleu warns.
const TEXTS_MIN: u64 = 100;

/// Scores written texts.
pub fn written(work: &Work) -> Result<Outcome> {
    let mut counted = work.count::<Texts>(vec![Box::new(Tokenized)])?;
    let at = work.measures::<Texts>().len();
    let tokenized = counted.model.total(0, at).whole(0);
    counted.model.forget(at);
    if work.metrics.iter().any(|metric| metric.name == "bleu")
        && let Some(advice) = advice(tokenized, work.options.bleu.tokenize)
    {
        work.warn(&advice);
    }
    Ok(work.outcome(&counted, work.baseline::<Texts>(), ""))
}

fn advice(tokenized: u64, tokenize: Tokenize) -> Option<String> {
    (tokenized >= TEXTS_MIN && tokenize != Tokenize::None).then(|| {
        format!(
            "{tokenized} texts end with a space and a full stop: they look tokenized, and bleu cuts them once more; score the texts themselves, or set tokenize = \"none\""
        )
    })
}

/// Counts texts that end as tokenized ones do.
struct Tokenized;

impl Measure<Texts> for Tokenized {
    fn width(&self) -> usize {
        1
    }

    fn count(&self, row: &TextRow<'_>, counts: &mut Counts) {
        counts.add(0, f64::from(row.hypothesis.ends_with(" .")));
    }

    fn finish(&self, _: &Total) -> Vec<Score> {
        Vec::new()
    }

    fn is_whole(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::total_of;

    #[test]
    fn a_hundred_tokenized_texts_are_told() {
        let texts = ["The cat sat .", "The cat sat.", "", " ."].map(|hypothesis| TextRow::new(hypothesis, vec![""]));
        assert_eq!(total_of(&Tokenized, &texts).whole(0), 2);
        assert!(advice(100, Tokenize::V13a).unwrap().starts_with("100 texts end with a space and a full stop: they look tokenized"));
        assert_eq!((advice(99, Tokenize::V13a), advice(100, Tokenize::None)), (None, None));
    }
}
