//! Finds tokens for masks.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::{Answer, Model};
use crate::generate::decoded;
use crate::models::Seen;

/// How a mask is written, whatever the tokenizer calls it.
const MASK: &str = "[MASK]";

impl Model {
    pub(super) fn fill(&self, text: &str, candidates: usize) -> Result<Answer> {
        let mask = self.tokenizer.special().mask.context("the tokenizer has no mask token")?;
        let name = self.tokenizer.token(mask).context("the mask token has no name")?;
        let asked = text.replace(MASK, &name);
        let ids = self.reading_special.get_or_init(|| self.tokenizer.reading_special()).encode(&asked)?;
        let mut row = self.framed(Vec::new(), None)?.tokens;
        let end = row.len() - 1;
        drop(row.splice(end..end, ids.into_iter().map(i64::from)));
        let (mask, positions) = (i64::from(mask), self.loaded.config.positions);
        ensure!(
            row.len() as i64 <= positions,
            "the text has {} tokens, the model takes at most {positions}; give a shorter one",
            row.len()
        );
        let places: Vec<usize> = (0..row.len()).filter(|place| row[*place] == mask).collect();
        let other = if name == MASK { String::new() } else { format!(" or `{name}`") };
        ensure!(!places.is_empty(), "the text has no mask; write `{MASK}`{other} for each token that is to be found");
        let mut masks = Vec::new();
        for (place, candidates) in places.iter().zip(self.likeliest(&row, &places, candidates)?) {
            row[*place] = candidates[0].1;
            let candidate =
                |(p, token): (f32, i64)| Ok(json!({"token": decoded(&self.tokenizer, &[token])?, "id": token, "probability": p}));
            masks.push(candidates.into_iter().map(candidate).collect::<Result<Value>>()?);
        }
        let filled = decoded(&self.tokenizer, &row)?;
        let details = json!({"text": text, "filled": filled, "masks": masks});
        Ok((filled, details))
    }

    /// The likeliest tokens at each of these places of a row, with their probabilities.
    fn likeliest(&self, row: &[i64], places: &[usize], count: usize) -> Result<Vec<Vec<(f32, i64)>>> {
        let (network, device) = (&self.loaded.network, self.loaded.parameters.device());
        let places: Vec<i64> = places.iter().map(|place| *place as i64).collect();
        tch::no_grad(|| {
            let ids = Tensor::from_slice(row).unsqueeze(0).to_device(device);
            let hidden = network.hidden(&ids, &Seen::default(), 0.0).select(0, 0); // (time, width)
            let features = network.features(&hidden.index_select(0, &Tensor::from_slice(&places).to_device(device)));
            let output = network.output();
            let likely = features.linear(output.weight, output.bias).softmax(-1, Kind::Float); // (places, vocabulary)
            let (likely, tokens) = likely.topk((count as i64).min(likely.size()[1]), -1, true, true);
            let (likely, tokens) = (Vec::<Vec<f32>>::try_from(likely)?, Vec::<Vec<i64>>::try_from(tokens)?);
            Ok(likely.into_iter().zip(tokens).map(|(likely, tokens)| likely.into_iter().zip(tokens).collect()).collect())
        })
    }
}
