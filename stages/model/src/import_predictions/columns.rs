//! Which columns predictions of each task have, as `score` reads them, and how the values of files become theirs.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use arrow::datatypes::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What was predicted, as `score` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Predicted {
    /// One class a row.
    Classify,
    /// Several classes a row, or none.
    MultiLabel,
    /// A number a row.
    Number,
    /// A tag for each word of a row.
    Tag,
    /// An answer, beside all that are right.
    Answer,
    /// A text, beside its references.
    Complete,
    /// Log-likelihoods of choices.
    Choose,
    /// Log-likelihoods of a text and its counterpart.
    Contrast,
    /// Log-likelihoods of texts.
    LanguageModelling,
}

/// A column that `score` reads.
#[derive(Debug)]
pub struct Column {
    pub name: &'static str,
    pub of: Of,
    pub required: bool,
}

const fn must(name: &'static str, of: Of) -> Column {
    Column { name, of, required: true }
}

const fn may(name: &'static str, of: Of) -> Column {
    Column { name, of, required: false }
}

impl Predicted {
    pub fn columns(self) -> &'static [Column] {
        match self {
            Predicted::Classify => {
                const { &[must("gold", Of::Text), must("prediction", Of::Text), may("probabilities", Of::Probabilities)] }
            }
            Predicted::MultiLabel | Predicted::Tag => const { &[must("gold", Of::Words), must("prediction", Of::Words)] },
            Predicted::Number => const { &[must("gold", Of::Number), must("prediction", Of::Number)] },
            Predicted::Answer => const { &[must("gold", Of::Texts), must("prediction", Of::Text)] },
            Predicted::Complete => {
                const {
                    &[
                        may("source", Of::Text),
                        must("reference", Of::References),
                        must("prediction", Of::Text),
                        may("log_likelihood", Of::Number),
                        may("tokens", Of::Count),
                        may("stopped", Of::Text),
                    ]
                }
            }
            Predicted::Choose => {
                const {
                    &[
                        must("gold", Of::Count),
                        must("choices", Of::Texts),
                        must("log_likelihoods", Of::Numbers),
                        may("unconditional", Of::Numbers),
                    ]
                }
            }
            Predicted::Contrast => {
                const {
                    &[
                        must("stereotype", Of::Number),
                        must("anti_stereotype", Of::Number),
                        may("unrelated", Of::Number),
                        may("direction", Of::Text),
                        may("target", Of::Text),
                    ]
                }
            }
            Predicted::LanguageModelling => {
                const {
                    &[
                        must("nll", Of::Number),
                        must("tokens", Of::Count),
                        may("correct", Of::Count),
                        may("bytes", Of::Count),
                        may("words", Of::Count),
                        may("unigram_nll", Of::Number),
                    ]
                }
            }
        }
    }

    /// Whether what is gold and predicted are classes or tags, of which `score` wants to know all.
    pub fn has_classes(self) -> bool {
        matches!(self, Predicted::Classify | Predicted::MultiLabel | Predicted::Tag)
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Text,
    /// A list of texts; a single one is a list of it.
    Texts,
    /// A list of texts without white space, which may stand between them in place of a list.
    Words,
    /// A text, or where some row has a list, lists.
    References,
    Number,
    /// A whole number from 0 on.
    Count,
    Numbers,
    /// Numbers in single precision.
    Probabilities,
}

impl Of {
    /// The type of the column; `lists` says whether some reference is a list.
    pub fn data_type(self, lists: bool) -> DataType {
        match self {
            Of::References if !lists => DataType::Utf8,
            Of::Text => DataType::Utf8,
            Of::Texts | Of::Words | Of::References => DataType::new_list(DataType::Utf8, true),
            Of::Number => DataType::Float64,
            Of::Count => DataType::Int64,
            Of::Numbers => DataType::new_list(DataType::Float64, true),
            Of::Probabilities => DataType::new_list(DataType::Float32, true),
        }
    }

    /// A value of a file as one of the column. Of CSV files and lines all values are texts.
    ///
    /// # Errors
    /// What it is instead, to stand behind the name of its field.
    pub fn read(self, value: &Value, lists: bool) -> Result<Value> {
        Ok(match self {
            Of::References if lists => json!(texts(value, false)?),
            Of::Text | Of::References => json!(text(value)?),
            Of::Texts => json!(texts(value, false)?),
            Of::Words => json!(texts(value, true)?),
            Of::Number => json!(number(value)?),
            Of::Count => json!(count(value)?),
            Of::Numbers | Of::Probabilities => match list(value) {
                Some(items) => json!(items.iter().map(number).collect::<Result<Vec<f64>>>()?),
                None => bail!("is {}, not a list of numbers", shown(value)),
            },
        })
    }
}

/// A text; labels are often numbers or truth values.
pub fn text(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => bail!("is {}, not a text", shown(value)),
    }
}

fn texts(value: &Value, words: bool) -> Result<Vec<String>> {
    // Answers as SQuAD and its copies hold them.
    let value = value.get("text").unwrap_or(value);
    match (list(value), value) {
        (Some(items), _) => items.iter().map(text).collect::<Result<_>>().map_err(|error| anyhow!("has an item that {error}")),
        (None, Value::String(text)) if words => {
            // As Python prints a list, for example.
            ensure!(!text.trim_start().starts_with('['), "is {}, no JSON list", shown(value));
            Ok(text.split_whitespace().map(str::to_string).collect())
        }
        (None, Value::String(text)) => Ok(vec![text.clone()]),
        (None, _) => bail!("is {}, not a list of texts", shown(value)),
    }
}

/// The items of a list, or of a text that is a JSON list.
fn list(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items.clone()),
        Value::String(text) if text.trim_start().starts_with('[') => serde_json::from_str(text).ok(),
        _ => None,
    }
}

fn number(value: &Value) -> Result<f64> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        _ => value.as_f64(),
    };
    let number = number.with_context(|| format!("is {}, not a number", shown(value)))?;
    ensure!(number.is_finite(), "is {number}, not a finite number");
    Ok(number)
}

fn count(value: &Value) -> Result<u64> {
    let whole = match value {
        Value::String(text) => text.trim().parse().ok(),
        // Of a column with holes pandas makes floats.
        _ => value.as_u64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..9e15).contains(n)).map(|n| n as u64)),
    };
    whole.with_context(|| format!("is {}, not a whole number from 0 on", shown(value)))
}

/// A value in a message.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null or missing".to_string(),
        Value::Array(_) => "a list".to_string(),
        Value::Object(_) => "an object".to_string(),
        Value::String(text) => origins::excerpt(text),
        other => format!("`{other}`"),
    }
}
