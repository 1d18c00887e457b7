//! Word vectors: `word2vec` and `glove` learn them from documents, `score-vectors` holds them against what people say of words.
//!
//! [`words`] turns documents into files of numbers, [`epochs`] trains passes with checkpoints, [`kernel`] and [`matrix`] are the arithmetic.

mod chunks;
mod epochs;
mod glove;
mod huffman;
mod kernel;
mod matrix;
mod output;
mod random;
mod score;
mod vocabulary;
mod word2vec;
mod words;

use engine::{StageEntry, entry};

pub use glove::Glove;
pub use score::ScoreVectors;
pub use word2vec::Word2vec;

/// The stages of this crate.
pub fn stages() -> Vec<StageEntry> {
    vec![entry::<word2vec::Word2vec>(), entry::<glove::Glove>(), entry::<score::ScoreVectors>()]
}

#[cfg(test)]
mod tests;
