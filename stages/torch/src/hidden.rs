//! `mill-model hidden FOLDER IDS.json`: the hidden states of a model folder as JSON, for comparison with other programs.
//!
//! IDS.json is a list of rows of equal length. Works for folders without a head, too.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use tch::{Device, Tensor};

use crate::folder;
use crate::models::Seen;
use crate::parameters::may_be_new;

pub fn print(folder: &Path, ids: &Path) -> Result<()> {
    let text = std::fs::read(ids).with_context(|| format!("reading `{}`", ids.display()))?;
    let rows: Vec<Vec<i64>> = serde_json::from_slice(&text).with_context(|| format!("`{}` is not a list of rows of ids", ids.display()))?;
    let hidden = hidden(folder, &rows)?;
    println!("{}", serde_json::json!({"shape": hidden.size(), "values": Vec::<f32>::try_from(hidden.reshape([-1]))?}));
    Ok(())
}

/// (batch, time, width).
fn hidden(folder: &Path, rows: &[Vec<i64>]) -> Result<Tensor> {
    let (loaded, missing) = folder::load_what_is_there(folder, Device::Cpu)?;
    if let Some(name) = missing.iter().find(|name| !may_be_new(name) && *name != "lm_head.weight") {
        bail!("the weights in `{}` lack {name}", folder.display());
    }
    Ok(tch::no_grad(|| loaded.network.hidden(&Tensor::from_slice2(rows), &Seen::default(), 0.0)))
}
