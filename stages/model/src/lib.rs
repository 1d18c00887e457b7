//! The stages `train`, `predict`, `evaluate` and `import-predictions` as `mill` sees them: settings, ports, checks, and the launcher of `mill-model`.
//!
//! No tensor and no LibTorch here: the work itself is done by the executable `mill-model` (crate `torch`), which gets a [`Job`] as a file
//! and answers with [`Event`]s, or is asked line by line ([`ask`]). Both sides share the types of this crate, and so the rows that every step learns from ([`Courses`]).

mod applies;
mod architectures;
pub mod ask;
mod checks;
mod course;
mod courses;
mod decoding;
mod design;
mod entities;
pub mod evaluate;
mod facts;
mod fitting;
mod huggingface;
mod import_predictions;
mod job;
mod launch;
mod lora;
mod network;
mod optimizer;
mod predict;
mod process;
pub mod recurrent;
mod rows;
pub mod seeds;
pub mod seq2seq;
mod sources;
mod start;
mod tasks;
mod train;

use engine::{StageEntry, entry};

pub use course::{Course, Sample, lanes};
pub use courses::{Courses, Turn};
pub use decoding::Decoding;
pub use design::{Activation, Design, LocalAttention, NormKind, PositionEmbedding, Style};
pub use entities::{Entity, Tags};
pub use evaluate::Evaluate;
pub use facts::Facts;
pub use fitting::{LabelType, Objective, no_head, objective_for};
pub use huggingface::ends_of_texts;
pub use import_predictions::ImportPredictions;
pub use job::{Event, Job, Report, STOPPED, Task};
pub use lora::Lora;
pub use network::{Family, Head, ModelSettings, NetworkConfig, SpecialTokens};
pub use optimizer::{Adversarial, Attack, BestMetric, Group, OnSpike, Optimizer, Schedule};
pub use predict::Predict;
pub use process::LESS_MEMORY;
pub use recurrent::Recurrent;
pub use rows::{Piece, Place, Row, Rows, Window};
pub use seq2seq::{Denoise, Seq2seq};
pub use sources::{Curriculum, Masking, Shuffle};
pub use start::{Files, TOKENIZERS};
pub use train::{Precision, Train};

/// The stages of this crate.
pub fn stages() -> Vec<StageEntry> {
    vec![entry::<Train>(), entry::<Predict>(), entry::<Evaluate>(), entry::<ImportPredictions>()]
}
