//! `mill-model logits FOLDER IDS.json`: the logits of a model folder as JSON, for comparison with other programs.
//!
//! IDS.json is a list of rows of equal length, or `{"ids": […], "segments": […]}`; for encoder–decoder networks that write texts
//! `{"source": rows, "target": rows}`, whose targets begin with what the decoder begins with. The answer has logits per token, per class, or per
//! end of an answer and token; of a model that also tells how segments belong together, `pairs` has those.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use model::{Family, Head};
use serde::Deserialize;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::folder::{self, Loaded};
use crate::heads;
use crate::models::Seen;

/// Rows of ids, the segments of their tokens, and what a decoder reads.
#[derive(Debug, Deserialize)]
pub struct Input {
    #[serde(alias = "source")]
    pub ids: Vec<Vec<i64>>,
    pub segments: Option<Vec<Vec<i64>>>,
    pub target: Option<Vec<Vec<i64>>>,
}

pub fn print(folder: &Path, ids: &Path) -> Result<()> {
    let text = std::fs::read(ids).with_context(|| format!("reading `{}`", ids.display()))?;
    let value: Value = serde_json::from_slice(&text).with_context(|| format!("`{}` is no JSON", ids.display()))?;
    let value = if value.is_array() { json!({"ids": value}) } else { value };
    let input: Input = serde_json::from_value(value).with_context(|| format!("`{}` holds no rows of ids", ids.display()))?;
    let (logits, pairs) = logits(&folder::load(folder, Device::Cpu)?, &input)?;
    let values =
        |tensor: &Tensor| -> Result<Value> { Ok(json!({"shape": tensor.size(), "values": Vec::<f32>::try_from(tensor.reshape([-1]))?})) };
    let mut answer = values(&logits)?;
    if let Some(pairs) = pairs {
        answer["pairs"] = values(&pairs)?;
    }
    println!("{answer}");
    Ok(())
}

/// (batch, time, outputs) of heads for tokens, (batch, outputs) of heads for texts; and of pairs of segments (batch, classes).
pub fn logits(loaded: &Loaded, input: &Input) -> Result<(Tensor, Option<Tensor>)> {
    let (network, width) = (&loaded.network, loaded.config.width);
    let ids = Tensor::from_slice2(&input.ids);
    if input.target.is_none() && network.encoder_decoder().is_some() {
        bail!("this network has an encoder and a decoder: give {{\"source\": …, \"target\": …}}");
    }
    let (special, decodes) = (&loaded.config.special, loaded.config.family == Family::Seq2seq);
    let is_last = |id: Option<i64>| if decodes { id == special.eos } else { id != special.pad };
    let last = |row: &Vec<i64>| row.iter().rposition(|id| is_last(Some(*id))).unwrap_or(0) as i64;
    let last: Vec<i64> = input.ids.iter().map(last).collect();
    let reads_last = loaded.config.head.reads_text() && (decodes || loaded.config.family == Family::Gpt);
    let table = |rows: &Option<Vec<Vec<i64>>>| rows.as_ref().map(|rows| Tensor::from_slice2(rows));
    let seen = Seen {
        segments: table(&input.segments),
        last: reads_last.then(|| Tensor::from_slice(&last)),
        target: table(&input.target),
        ..Seen::default()
    };
    tch::no_grad(|| {
        let hidden = network.hidden(&ids, &seen, 0.0);
        match &loaded.config.head {
            Head::Tag { .. } | Head::Answer => return Ok((network.label(&hidden, 0.0)?, None)),
            head if head.reads_text() => return Ok((heads::classify(network.as_ref(), &hidden, &seen, 0.0)?, None)),
            _ => {}
        }
        let output = network.output();
        let logits = network.features(&hidden.reshape([-1, width])).linear(output.weight, output.bias);
        let (batch, time, _) = hidden.size3()?;
        let pairs = match &loaded.config.head {
            Head::Pairs { .. } => Some(network.classify(&hidden, 0.0)?),
            _ => None,
        };
        Ok((logits.reshape([batch, time, -1]).to_kind(Kind::Float), pairs))
    })
}
