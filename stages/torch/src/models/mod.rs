//! The families of networks, one file each: a function from a variable path and settings to a module.
//!
//! To add one: its file here, its line in [`build`], and its settings and Hugging Face mapping in the crate `model`.
//! A module computes hidden states and heads; losses, masks and loops live elsewhere.

mod bert;
mod gpt;
mod layers;

use anyhow::{Result, bail};
use model::{Family, NetworkConfig};
use tch::Tensor;

use crate::parameters::Path;

/// Keys and values of the tokens already seen, per layer: (batch, heads, time, width / heads).
pub type Cache = Vec<Option<(Tensor, Tensor)>>;

/// The last, tied matrix of a language model.
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
}

impl Seen {
    /// (batch, 1, time, time), true where a token and another one are of the same document.
    fn same_document(&self) -> Option<Tensor> {
        self.documents.as_ref().map(|numbers| numbers.unsqueeze(2).eq_tensor(&numbers.unsqueeze(1)).unsqueeze(1))
    }
}

/// A network. Dropout is 0 outside of training.
pub trait Network {
    /// Hidden states (batch, time, width) of `ids` (batch, time). A causal network needs no mask of real tokens as long as the
    /// padding is on the right.
    fn hidden(&self, ids: &Tensor, seen: &Seen, dropout: f64) -> Tensor;

    /// What the head of a language model multiplies with [`Network::output`]: (rows, width) → (rows, width).
    fn features(&self, rows: &Tensor) -> Tensor;

    fn output(&self) -> Output<'_>;

    /// Logits of the classes (batch, classes) from hidden states (batch, time, width).
    fn classify(&self, _hidden: &Tensor, _dropout: f64) -> Result<Tensor> {
        bail!("this network has no classification head")
    }

    /// Hidden states of the next tokens `ids` (batch, new) at `positions` (batch, new), given and extending `cache`;
    /// `mask` (batch, 1, new, seen + new) is true where a token may look.
    fn extend(&self, _ids: &Tensor, _positions: &Tensor, _mask: &Tensor, _cache: &mut Cache) -> Result<Tensor> {
        bail!("this network does not generate text; give a model of the family gpt")
    }
}

/// Makes the variables of a network below `path` and the module over them.
pub fn build(path: &Path, config: &NetworkConfig) -> Box<dyn Network> {
    match config.family {
        Family::Gpt => Box::new(gpt::gpt(path, config)),
        Family::Bert => Box::new(bert::bert(path, config)),
    }
}
