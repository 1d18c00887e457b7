//! The stages `train` and `predict` as `mill` sees them: settings, ports, checks, and the launcher of `mill-model`.
//!
//! No tensor and no LibTorch here: the work itself is done by the executable `mill-model` (crate `torch`), which gets a [`Job`] as a file
//! and answers with [`Event`]s. Both sides share the types of this crate, and so the rows that every step learns from ([`Course`]).

mod course;
mod facts;
mod huggingface;
mod job;
mod launch;
mod network;
mod predict;
mod rows;
pub mod seeds;
mod sources;
mod train;

use engine::{StageEntry, entry};

pub use course::{Course, Sample};
pub use facts::Facts;
pub use job::{Event, Job, Report, STOPPED, Task};
pub use network::{Family, Head, ModelSettings, NetworkConfig, SpecialTokens};
pub use predict::Predict;
pub use rows::{Piece, Place, Row, Rows};
pub use sources::{Curriculum, Masking, Shuffle};
pub use train::{Objective, Precision, Schedule, Train};

/// The stages of this crate.
pub fn stages() -> Vec<StageEntry> {
    vec![entry::<Train>(), entry::<Predict>()]
}
