//! Weights of documents in the loss of `train`: a column of numbers, weights by the values of a column, or the product of both.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use engine::{Context, Table, list, suggest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Tokenize;
use crate::documents::{self, Documents};

/// Values of a group's column that an error lists.
const GROUPS_LISTED: usize = 20;

/// Weights by the values of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupWeights {
    /// Column that tells the group of a document.
    pub column: String,
    /// The weight of each group's documents.
    pub weights: BTreeMap<String, f64>,
}

/// Why a document's weight cannot count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct WrongWeight {
    /// `no_weight` or `wrong_weight`.
    pub(super) rule: &'static str,
    /// The weight and the least that it may be.
    pub(super) value: Option<(f64, f64)>,
}

impl Tokenize {
    pub(super) fn has_weights(&self) -> bool {
        self.weight.is_some() || self.group_weights.is_some()
    }

    /// The columns that weights are read from.
    pub(super) fn weight_columns(&self) -> impl Iterator<Item = &str> {
        self.weight.as_deref().into_iter().chain(self.group_weights.as_ref().map(|groups| groups.column.as_str()))
    }

    /// Refuses weights that cannot be.
    pub(super) fn check_weights(&self) -> Result<()> {
        let Some(GroupWeights { weights, .. }) = &self.group_weights else { return Ok(()) };
        if let Some((name, weight)) = weights.iter().find(|(_, weight)| !is_weight(**weight)) {
            bail!("group_weights: `{name}` is {weight}: weights are numbers from 0 on");
        }
        match weights.is_empty() {
            true => bail!("group_weights: `weights` names no group"),
            false => Ok(()),
        }
    }

    /// Refuses names of groups that no document is of: they would change nothing.
    pub(super) fn check_groups(&self, ctx: &Context, table: &Table) -> Result<()> {
        let Some(GroupWeights { column, weights }) = &self.group_weights else { return Ok(()) };
        table.column(column)?;
        let (mut missing, mut others): (BTreeSet<&str>, BTreeSet<String>) = (weights.keys().map(String::as_str).collect(), BTreeSet::new());
        for file in 0..table.files.len() {
            for batch in documents::read(table, file, &[column])? {
                ctx.check_stop()?;
                for group in batch?.strings(column)?.iter().flatten() {
                    missing.remove(group);
                    if !weights.contains_key(group) && others.len() < GROUPS_LISTED && !others.contains(group) {
                        others.insert(group.to_string());
                    }
                }
            }
        }
        let Some(name) = missing.first() else { return Ok(()) };
        let names = || others.iter().map(String::as_str);
        bail!(
            "group_weights: no document has `{name}` in the column `{column}`{}; values without a weight: {}",
            suggest(name, names()),
            list(names())
        )
    }

    /// The weights of some documents; `None` where the settings ask for none.
    pub(super) fn weights(&self, batch: &Documents) -> Result<Option<Vec<Result<f32, WrongWeight>>>> {
        if !self.has_weights() {
            return Ok(None);
        }
        let mut weights = vec![1.0; batch.len()];
        if let Some(GroupWeights { column, weights: of_groups }) = &self.group_weights {
            for (weight, group) in weights.iter_mut().zip(&batch.strings(column)?) {
                *weight = group.and_then(|group| of_groups.get(group)).copied().unwrap_or(1.0);
            }
        }
        let Some(column) = &self.weight else { return Ok(Some(weights.into_iter().map(|weight| Ok(weight as f32)).collect())) };
        let (texts, numbers) = (batch.strings(column)?, batch.cast(column, &DataType::Float64)?);
        let numbers = numbers.as_primitive::<Float64Type>();
        let weight = |(row, of_group): (usize, f64)| match numbers.is_valid(row).then(|| numbers.value(row)) {
            Some(number) if is_weight(number) && is_weight(number * of_group) => Ok((number * of_group) as f32),
            None if texts.is_null(row) => Err(WrongWeight { rule: "no_weight", value: None }),
            number => Err(WrongWeight { rule: "wrong_weight", value: number.map(|number| (number, 0.0)) }),
        };
        Ok(Some(weights.into_iter().enumerate().map(weight).collect()))
    }
}

/// Whether a number can be a weight; it must be one in single precision too.
fn is_weight(number: f64) -> bool {
    number >= 0.0 && (number as f32).is_finite()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn weights_that_cannot_be_are_refused_while_planning() {
        let check = |groups: Value| {
            let settings: Tokenize = serde_json::from_value(json!({"group_weights": {"column": "source", "weights": groups}})).unwrap();
            settings.check_weights().map_err(|error| error.to_string())
        };
        assert_eq!(check(json!({"web": 0, "books": 2.5})), Ok(()));
        assert_eq!(check(json!({"web": -1})), Err("group_weights: `web` is -1: weights are numbers from 0 on".into()));
        assert!(check(json!({"web": 1e39})).is_err());
        assert_eq!(check(json!({})), Err("group_weights: `weights` names no group".into()));
    }

    #[test]
    fn keys_without_weights_are_what_they_were() {
        let settings = serde_json::to_value(serde_json::from_value::<Tokenize>(json!({})).unwrap()).unwrap();
        assert!(settings.get("weight").is_none() && settings.get("group_weights").is_none());
    }
}
