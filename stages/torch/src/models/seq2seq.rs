//! What a network of encoder and decoder can do besides learning: read a source once, then write token by token.

use anyhow::Result;
use model::NetworkConfig;
use model::seq2seq::Style;
use tch::Tensor;

use super::attention::KeysValues;
use super::{Cache, Network, Seen, marian, t5};
use crate::parameters::Path;
use crate::tape::Tape;

/// What the decoder sees of the sources of a batch.
pub struct Memory {
    /// Of each layer of the decoder.
    pub layers: Vec<KeysValues>,
    /// (batch, 1, 1, source time), true for tokens that are no padding; `None` without padding.
    pub real: Option<Tensor>,
}

impl Memory {
    /// The sources at these places (i64) of the batch.
    pub fn select(&self, index: &Tensor) -> Memory {
        Memory {
            layers: self.layers.iter().map(|(keys, values)| (keys.index_select(0, index), values.index_select(0, index))).collect(),
            real: self.real.as_ref().map(|real| real.index_select(0, index)),
        }
    }
}

/// An encoder–decoder network.
pub trait EncoderDecoder {
    /// Reads sources (batch, source time).
    fn encode<'a>(&'a self, ids: &Tensor, seen: &Seen, dropout: f64, tape: &Tape<'a>) -> Result<Memory>;

    /// Hidden states (batch, time, width) of the tokens `ids` (batch, time) that follow those in `cache`.
    fn decode(&self, ids: &Tensor, memory: &Memory, cache: &mut Cache) -> Tensor;

    /// Hidden states of whole targets `ids` (batch, time), to learn from.
    fn teach<'a>(&'a self, ids: &Tensor, memory: Memory, dropout: f64, tape: &Tape<'a>) -> Result<Tensor>;
}

/// Makes the variables of the style that the settings name.
pub fn seq2seq(path: &Path, config: &NetworkConfig) -> Box<dyn Network> {
    match config.seq2seq.style {
        Style::Marian => Box::new(marian::marian(path, config)),
        Style::T5 => Box::new(t5::t5(path, config)),
    }
}

/// Hidden states of the decoder's inputs (batch, target time) that come with the sources; padding on the right is seen by none before it.
pub fn teacher_forced<'a>(network: &'a dyn EncoderDecoder, ids: &Tensor, seen: &Seen, dropout: f64, tape: &Tape<'a>) -> Result<Tensor> {
    let memory = network.encode(ids, seen, dropout, tape)?;
    let target = seen.target.as_ref().expect("batches of encoder–decoder networks have targets");
    network.teach(target, memory, dropout, tape)
}

/// (batch, 1, 1, source time) of the tokens that are no padding.
pub fn real(seen: &Seen) -> Option<Tensor> {
    seen.real.as_ref().map(|real| real.unsqueeze(1).unsqueeze(1))
}
