//! Scores predictions: reads the tables of `predict` and computes metrics over them, without LibTorch.
//!
//! [`metrics`] holds the definitions, [`rows`] reads and checks predictions, [`score`] is the stage.

pub mod metrics;
mod rows;
mod score;

use engine::{StageEntry, entry};

pub use score::Score;

/// The stages of this crate.
pub fn stages() -> Vec<StageEntry> {
    vec![entry::<Score>()]
}
