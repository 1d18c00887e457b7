//! Shards: token files that the trainer maps into memory and SQL reads, and the pure functions that say which row comes when and what is masked.
//!
//! Two layouts, both Arrow IPC files without compression, so that a row is read where it lies on disk:
//! - [`packed`]: every row has the same number of tokens; documents follow one another and spill over into the next row.
//! - [`examples`]: a row is one document with its label, or one prompt with its target.
//!
//! Nothing here draws from a running generator: [`permute`] and [`mask_tokens`] are functions of (seed, epoch, index) and (seed, step, sample),
//! so any past batch can be made again. This crate knows Arrow alone; no tokenizer, no stage, no tensor.

pub mod examples;
mod mask;
mod mixing;
pub mod packed;
mod packer;
mod permute;
mod shard;
mod tokens;

pub use mask::{IGNORE, MaskSettings, mask_tokens};
pub use packer::{Packer, Row, Span};
pub use permute::permute;
pub use shard::{ShardFile, rows_of};
pub use tokens::{Width, tokens_type};
