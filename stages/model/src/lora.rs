//! Low-rank adapters: settings and their check. They are part of the network's layers; see the crate `torch`.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Low-rank adapters of projections (Hu et al. 2021).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lora {
    /// Rank of the product that is added to a projection.
    #[serde(default = "default_rank")]
    pub rank: i64,
    /// The product counts alpha / rank times.
    #[serde(default = "default_alpha")]
    pub alpha: f64,
    /// Last names of the projections that are adapted, `["q_proj", "v_proj"]`; all of the blocks' unless given.
    #[serde(default)]
    pub targets: Vec<String>,
}

fn default_rank() -> i64 {
    8
}

fn default_alpha() -> f64 {
    16.0
}

impl Lora {
    /// `fresh`: the network has no weights yet.
    pub(crate) fn check(&self, fresh: bool) -> Result<()> {
        if fresh {
            bail!("`lora` adapts a trained network; give `from` or the input `model`");
        }
        if self.rank < 1 || !(self.alpha > 0.0 && self.alpha.is_finite()) {
            bail!("lora.rank = {} must be at least 1 and lora.alpha = {} above 0", self.rank, self.alpha);
        }
        Ok(())
    }
}
