//! Scores predictions: reads the tables of `predict` and computes metrics over them, without LibTorch.
//!
//! [`metrics`] holds the definitions, [`counts`] adds up what they count, [`rows`] reads and checks predictions, [`resample`] and
//! [`compare`] say how far scores may be off, [`gaps`] and [`robust`] how they differ between groups and on perturbed inputs, [`settings`] is what a config says, [`score`] the stage and [`tables`] what it writes.

mod classify;
pub mod compare;
pub mod counts;
mod gaps;
mod gate;
pub mod metrics;
mod random;
pub mod resample;
mod robust;
mod rows;
mod score;
mod settings;
mod slices;
mod stored;
mod tables;
mod tasks;
mod words;
mod written;

use engine::{StageEntry, entry};

pub use settings::Score;

/// The stages of this crate.
pub fn stages() -> Vec<StageEntry> {
    vec![entry::<Score>().with_choices(metrics::choices())]
}
