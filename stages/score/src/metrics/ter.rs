//! Translation edit rate (Snover et al., 2006) exactly as sacrebleu 2.6.0 and Tercom compute it: insertions, deletions, substitutions
//! and shifts of word sequences, each of cost 1, over the mean length of the references. 0 is perfect; it can be above 100.

mod bits;
mod distance;
mod shift;
mod tokenize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::bits::Reference;
use self::distance::Table;
use super::bleu::{References, split};
use super::{Counts, Measure, Metric, NO_ROWS, Score, Start, TextRow, Texts, Total};
use crate::words::{self, Numbers};

pub const METRIC: Metric = Metric {
    name: "ter",
    about: "Edits, shifts of word sequences among them, that make the text a reference, per 100 of its words; 0 is perfect, as sacrebleu.",
    default: true,
    start: Start::Texts(|options| Box::new(Ter { settings: options.ter })),
};

/// How texts are cut into words; the defaults are sacrebleu's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Puts punctuation apart and replaces XML entities.
    pub normalized: bool,
    /// Leaves out punctuation.
    pub no_punctuation: bool,
    /// Puts Chinese and Japanese characters apart, with `normalized`, and their punctuation.
    pub asian: bool,
    /// Compares without regard to case unless set.
    pub case_sensitive: bool,
}

struct Ter {
    settings: Settings,
}

impl Measure<Texts> for Ter {
    /// Edits, mean length of references, and how many references there are.
    fn width(&self) -> usize {
        4
    }

    fn count(&self, row: &TextRow<'_>, counts: &mut Counts) {
        let hypothesis = tokenize::prepare(&self.settings, row.hypothesis);
        let (mut fewest, mut length) = (u64::MAX, 0);
        for reference in &row.references {
            let mut reference = tokenize::prepare(&self.settings, reference);
            if self.settings.normalized {
                // Twice, as sacrebleu does: the second pass finds punctuation that the first has brought beside a space.
                let once = split(&reference).collect::<Vec<_>>().join(" ");
                reference = tokenize::prepare(&self.settings, &once).into_owned().into();
            }
            let mut known = Numbers::default();
            let hypothesis = words::number(split(&hypothesis), &mut known);
            let reference = words::number(split(&reference), &mut known);
            length += reference.len();
            fewest = fewest.min(edits(hypothesis, &reference));
        }
        counts.add(0, fewest as f64);
        counts.add(1, length as f64 / row.references.len() as f64);
        References::add(2, row, counts);
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let (edits, length) = (total.sums[0], total.sums[1]);
        let value = match total.rows {
            0 => Err(NO_ROWS.to_owned()),
            _ if length > 0.0 => Ok(100.0 * edits / length),
            // Without any word in the references: perfect, or as wrong as can be.
            _ => Ok(if edits > 0.0 { 100.0 } else { 0.0 }),
        };
        let Settings { normalized, no_punctuation, asian, case_sensitive } = self.settings;
        let yes = |set: bool| if set { "yes" } else { "no" };
        let (case, nrefs) = (if case_sensitive { "mixed" } else { "lc" }, References::of(2, total).signature());
        let pairs =
            format!("nrefs:{nrefs}|case:{case}|tok:tercom|norm:{}|punct:{}|asian:{}", yes(normalized), yes(!no_punctuation), yes(asian));
        vec![Score::new(METRIC.name, value, total.rows, &pairs)]
    }
}

/// Edits that make the hypothesis the reference, shifts chosen greedily.
fn edits(mut hypothesis: Vec<u32>, reference: &[u32]) -> u64 {
    if reference.is_empty() {
        return hypothesis.len() as u64;
    }
    let reference = Reference::new(reference);
    let (mut shifts, mut checked) = (0, 0);
    loop {
        let table = Table::new(&hypothesis, &reference);
        let best = if table.distance() > 0 { shift::best(&table, &mut checked) } else { None };
        match best {
            Some(shifted) if checked < shift::CANDIDATES_MAX => {
                shifts += 1;
                hypothesis = shifted;
            }
            _ => return shifts + u64::from(table.distance()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::scores_of;

    fn check(rows: &[(&str, &[&str])], expected: f64) {
        let rows: Vec<TextRow> = rows.iter().map(|(hypothesis, references)| TextRow::new(hypothesis, references.to_vec())).collect();
        let value = scores_of(&Ter { settings: Settings::default() }, &rows).remove(0).value.unwrap();
        assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
    }

    /// The example of sacrebleu's README.
    #[test]
    fn equals_the_number_sacrebleu_documents() {
        check(
            &[
                ("The dog bit the man.", &["The dog bit the man.", "The dog had bit the man."]),
                ("It wasn't surprising.", &["It was not unexpected.", "No one was surprised."]),
                ("The man had just bitten him.", &["The man bit him first.", "The man had bitten the dog."]),
            ],
            40.0,
        );
    }

    #[test]
    fn a_shift_is_one_edit_and_empty_references_are_special() {
        check(&[("b c d e a", &["a b c d e"])], 20.0);
        check(&[("a b", &[""])], 100.0);
        check(&[("", &[""])], 0.0);
        check(&[("a b c", &["x"])], 300.0);
    }
}
