//! Shards: token files that the trainer maps into memory and SQL reads, and the pure functions that say which row comes when and what is masked.
//!
//! Two layouts, both Arrow IPC files without compression, so that a row is read where it lies on disk:
//! - [`packed`]: every row has the same number of tokens; documents follow one another and spill over into the next row.
//! - [`examples`]: a row is a text with what it is to be answered with.
//!
//! Nothing here draws from a running generator: [`Order`] and [`mask_tokens`] are functions of (seed, sample) and (seed, step, sample), so any
//! past batch can be made again. This crate knows Arrow alone; no tokenizer, no stage, no tensor.

mod documents;
pub mod examples;
mod mapped;
mod mask;
mod mixing;
mod order;
pub mod packed;
mod packer;
mod permute;
mod prefetch;
mod shard;
mod tokens;

pub use documents::{boundaries, positions, sequence_numbers};
pub use mask::{Choose, Hidden, IGNORE, MaskSettings, corrupt, hide, mask_tokens};
pub use mixing::{below, random, unit};
pub use order::{Order, Place};
pub use packer::{Packer, Row, Span};
pub use permute::{Blocks, Shuffle, permute};
pub use prefetch::Prefetch;
pub use shard::{ShardFile, rows_of};
pub use tokens::{Width, tokens_type};
