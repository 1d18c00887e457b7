//! Shards: token files that the trainer maps into memory and SQL reads, and the pure functions that say which row comes when and what is masked.
//!
//! Two layouts, both Arrow IPC files without compression, so that a row is read where it lies on disk (or Parquet, for other readers than ours):
//! - [`packed`]: every row has the same number of tokens and holds pieces of any number of documents.
//! - [`examples`]: a row is a text with what it is to be answered with.
//!
//! Nothing here draws from a running generator: [`Order`] and [`mask_tokens`] are functions of (seed, sample) and (seed, step, sample), so any
//! past batch can be made again. This crate knows Arrow and Parquet alone; no tokenizer, no stage, no tensor.

mod documents;
pub mod examples;
mod mapped;
mod mask;
mod mixing;
mod order;
pub mod packed;
mod packing;
mod permute;
mod prefetch;
mod shard;
pub mod testing;
mod token_file;
mod tokens;

pub use documents::{boundaries, positions, sequence_numbers};
pub use mask::{Choose, Hidden, IGNORE, MaskSettings, corrupt, hide, mask_tokens};
pub use mixing::{below, random, unit};
pub use order::{Order, Place};
pub use packed::Row;
pub use packing::{Extent, PackedRows, Piece, Span, best_fit, concatenate, one_per_row};
pub use permute::{Blocks, Shuffle, permute};
pub use prefetch::Prefetch;
pub use shard::{ShardFile, rows_of};
pub use token_file::TokenFile;
pub use tokens::{Width, tokens_type};
