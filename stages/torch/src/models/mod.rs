//! The families of networks, one file each: a function from a variable path and settings to a module.
//!
//! To add one: its file here, its line in [`build`], and its settings and Hugging Face mapping in the crate `model`.
//! A module computes hidden states and heads; losses, masks and loops live elsewhere.

mod attention;
mod bert;
mod bert_heads;
mod gpt;
pub(crate) mod layers;
mod marian;
mod modernbert;
pub mod rnn;
pub mod seq2seq;
mod t5;

use anyhow::{Result, bail};
use model::{Family, NetworkConfig, Style};
use tch::Tensor;

use crate::parameters::Path;
use crate::tape::Tape;
use seq2seq::EncoderDecoder;

/// Keys and values of the tokens already seen, per layer: (batch, kv_heads, time, head width).
pub type Cache = Vec<Option<(Tensor, Tensor)>>;

/// The last matrix of a language model.
pub struct Output<'a> {
    /// (vocabulary, width)
    pub weight: &'a Tensor,
    /// (vocabulary)
    pub bias: Option<&'a Tensor>,
}

/// What the tokens of a batch may look at, besides what the network itself allows.
#[derive(Debug, Default)]
pub struct Seen {
    /// (batch, time), true for real tokens; `None` when there is no padding that could be looked at.
    pub real: Option<Tensor>,
    /// (batch, time), numbers of documents; a token looks at its own document alone. `None` when rows are one text.
    pub documents: Option<Tensor>,
    /// (batch, time), positions; `None` when they are 0, 1, … in every row.
    pub positions: Option<Tensor>,
    /// (batch, time), 0 or 1, which of two texts a token is of; `None` when rows are one text.
    pub segments: Option<Tensor>,
    /// (batch), the places that the head for texts of a causal network or of a decoder reads; `None` of other networks.
    pub last: Option<Tensor>,
    /// (batch, target time), what the decoder of an encoder–decoder network reads.
    pub target: Option<Tensor>,
    /// (layers, batch or more, width): what a recurrent network begins with and where it leaves its last state; none when it begins at zero.
    pub carried: Vec<Tensor>,
}

impl Seen {
    /// (batch, 1, time, time), true where a token and another one are of the same document.
    fn same_document(&self) -> Option<Tensor> {
        self.documents.as_ref().map(|numbers| numbers.unsqueeze(2).eq_tensor(&numbers.unsqueeze(1)).unsqueeze(1))
    }
}

/// A network. Dropout is 0 outside of training.
pub trait Network {
    /// Hidden states (batch, time, width) of `ids` (batch, time), or of the target where there is one. A causal network needs no mask of real
    /// tokens as long as the padding is on the right.
    fn hidden(&self, ids: &Tensor, seen: &Seen, dropout: f64) -> Tensor {
        self.forward(ids, seen, dropout, &Tape::off()).expect("a tape that is off asks nothing of LibTorch")
    }

    /// The same, by way of a tape.
    fn forward<'a>(&'a self, ids: &Tensor, seen: &Seen, dropout: f64, tape: &Tape<'a>) -> Result<Tensor>;

    /// What the head of a language model multiplies with [`Network::output`]: (rows, width) → (rows, width).
    fn features(&self, rows: &Tensor) -> Tensor;

    fn output(&self) -> Output<'_>;

    /// What the head for texts says (batch, outputs), from hidden states (batch, time, width) of which it reads the first.
    fn classify(&self, _hidden: &Tensor, _dropout: f64) -> Result<Tensor> {
        bail!("this network has no head for texts")
    }

    /// What the head for tokens says (…, outputs), from hidden states (…, width).
    fn label(&self, _hidden: &Tensor, _dropout: f64) -> Result<Tensor> {
        bail!("this network has no head for tokens")
    }

    /// Hidden states of the next tokens `ids` (batch, new) at `positions` (batch, new), given and extending `cache`;
    /// `mask` (batch, 1, new, seen + new) is true where a token may look.
    fn extend(&self, _ids: &Tensor, _positions: &Tensor, _mask: &Tensor, _cache: &mut Cache) -> Result<Tensor> {
        bail!("this network does not go on with a text; give a model of the family gpt or rnn")
    }

    /// The network as encoder and decoder, if it has both.
    fn encoder_decoder(&self) -> Option<&dyn EncoderDecoder> {
        None
    }
}

/// Makes the variables of a network below `path` and the module over them.
pub fn build(path: &Path, config: &NetworkConfig) -> Box<dyn Network> {
    match config.family {
        Family::Gpt => Box::new(gpt::gpt(path, config)),
        Family::Bert if config.style() == Some(Style::Modernbert) => Box::new(modernbert::modernbert(path, config)),
        Family::Bert => Box::new(bert::bert(path, config)),
        Family::Rnn => Box::new(rnn::rnn(path, config)),
        Family::Seq2seq => seq2seq::seq2seq(path, config),
    }
}
