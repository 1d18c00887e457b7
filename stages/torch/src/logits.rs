//! `mill-model logits FOLDER IDS.json`: the logits of a model folder as JSON, for comparison with other programs.
//!
//! IDS.json is a list of rows of equal length; the answer is a list of rows of logits per token, or of logits per class.

use std::path::Path;

use anyhow::{Context as _, Result};
use model::Head;
use tch::{Device, Kind, Tensor};

use crate::folder;
use crate::models::Seen;

pub fn print(folder: &Path, ids: &Path) -> Result<()> {
    let text = std::fs::read(ids).with_context(|| format!("reading `{}`", ids.display()))?;
    let rows: Vec<Vec<i64>> = serde_json::from_slice(&text).with_context(|| format!("`{}` is not a list of rows of ids", ids.display()))?;
    let logits = logits(folder, &rows)?;
    let values = Vec::<f32>::try_from(logits.reshape([-1]))?;
    println!("{}", serde_json::json!({"shape": logits.size(), "values": values}));
    Ok(())
}

/// (batch, time, vocabulary), or (batch, classes).
pub fn logits(folder: &Path, rows: &[Vec<i64>]) -> Result<Tensor> {
    let loaded = folder::load(folder, Device::Cpu)?;
    let (network, width) = (&loaded.network, loaded.config.width);
    let ids = Tensor::from_slice2(rows);
    tch::no_grad(|| {
        let hidden = network.hidden(&ids, &Seen::default(), 0.0);
        if matches!(loaded.config.head, Head::Classify { .. }) {
            return network.classify(&hidden, 0.0);
        }
        let output = network.output();
        let logits = network.features(&hidden.reshape([-1, width])).linear(output.weight, output.bias);
        let (batch, time) = ids.size2()?;
        Ok(logits.reshape([batch, time, -1]).to_kind(Kind::Float))
    })
}
