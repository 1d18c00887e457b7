//! Simple systems beside a model: the stage `baseline` makes predictions of the same rows and with the same columns as `predict`, so that
//! `score` scores them, and a model against them.
//!
//! Rows, ids and labels come from tokens and are so those of `predict`, and the baseline sees of a text what the model sees. Documents are read for
//! the columns beside predictions and for contexts of questions, as `predict` does.
//! [`rows`] reads a split, [`terms`] and [`linear`] are the TF-IDF model of [`labels`], [`tags`] knows the usual tag of a word, [`answers`] looks near
//! the words of a question, [`texts`] copies.

mod answers;
mod labels;
mod linear;
mod predictions;
mod rows;
mod settings;
mod stage;
mod tags;
mod terms;
mod texts;
mod work;

use engine::{StageEntry, entry};

pub use settings::Baseline;

/// The stages of this crate.
pub fn stages() -> Vec<StageEntry> {
    vec![entry::<Baseline>()]
}

#[cfg(test)]
mod tests;
