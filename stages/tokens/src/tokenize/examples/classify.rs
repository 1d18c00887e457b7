//! Layout `classify`: a text, or for models that are not causal a pair of texts, with a class, several classes or a number.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use origins::lists::{Cell, lists};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shards::examples::{Example, Kind, Value};

use super::{Fault, Job, Outcome, Stored, excerpt, framed, framed_pair, needed, write};
use crate::documents::{self, Documents, id};
use crate::tokenize::{Model, Tokenize};

/// More classes than this are no classes but a mistaken column.
pub(super) const CLASSES_MAX: usize = 10_000;

/// What a label is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LabelType {
    /// One of the classes.
    #[default]
    Class,
    /// Any of the classes: the column holds lists, or JSON lists in text.
    MultiLabel,
    /// A number, to be predicted by regression.
    Number,
}

pub(super) fn prepare(settings: &Tokenize) -> Result<()> {
    needed(settings, "label", &settings.label, "the label")?;
    if settings.text_pair.is_some() && settings.model == Model::Causal {
        bail!("`text_pair` needs model = \"masked\" or \"encoder-decoder\": a causal model does not tell two texts apart");
    }
    Ok(())
}

pub(super) fn run(job: &Job) -> Result<()> {
    let (settings, encoder) = (job.settings, job.encoder);
    let label = needed(settings, "label", &settings.label, "the label")?;
    let pair = settings.text_pair.as_deref();
    let reads: Vec<&str> = [settings.text.as_str(), label].into_iter().chain(pair).collect();
    for column in &reads {
        job.table.column(column)?;
    }
    let classes = match settings.label_type {
        LabelType::Number => None,
        _ => Some(classes(job, label)?),
    };
    if let Some(classes) = &classes {
        job.draft.fact("classes", classes)?;
    }
    job.draft.fact("label_type", settings.label_type)?;
    job.draft.fact("segments", pair.is_some())?;
    let kind = match settings.label_type {
        LabelType::Class => Kind::Int32,
        LabelType::MultiLabel => Kind::Int32s,
        LabelType::Number => Kind::Float64,
    };
    let columns: Vec<_> = pair.map(|_| ("segments", Kind::UInt8s)).into_iter().chain([("label", kind)]).collect();
    write(job, &reads, &columns, |(), batch| {
        let (ids, texts) = (batch.ids("id")?, batch.strings(&settings.text)?);
        let labels = labels(batch, label, settings.label_type, classes.as_deref().unwrap_or_default())?;
        let all: Vec<&str> = texts.iter().map(Option::unwrap_or_default).collect();
        let encoded = encoder.tokenizer.encode_batch(&all)?;
        let seconds = pair.map(|pair| batch.strings(pair)).transpose()?;
        let pairs = match &seconds {
            None => vec![None; all.len()],
            Some(seconds) => {
                let encoded = encoder.tokenizer.encode_batch(&seconds.iter().map(Option::unwrap_or_default).collect::<Vec<_>>())?;
                encoded.into_iter().enumerate().map(|(row, tokens)| Some(seconds.is_valid(row).then_some(tokens))).collect()
            }
        };
        let rows = encoded.into_iter().zip(pairs).zip(labels).enumerate();
        Ok(rows.map(|(row, ((text, pair), label))| example(job, id(&ids, row), text, pair, label)).collect())
    })
}

/// `pair` is `Some(None)` where a second text is missing.
fn example(job: &Job, id: [u8; 16], mut text: Vec<u32>, pair: Option<Option<Vec<u32>>>, label: Result<Value, Fault>) -> Outcome {
    let (encoder, length) = (job.encoder, job.settings.sequence_length);
    let frame = 1 + usize::from(encoder.begin.is_some()) + usize::from(pair.is_some());
    let whole = text.len() + pair.iter().flatten().map(Vec::len).sum::<usize>();
    let label = match label {
        Ok(label) => label,
        Err((rule, detail)) => return Outcome::because(rule, whole + frame, detail),
    };
    let (tokens, segments) = match pair {
        None => {
            text.truncate(length - frame);
            (framed(encoder, text), None)
        }
        Some(None) => return Outcome::rejected("no_text_pair", whole + frame),
        Some(Some(mut second)) => {
            let (first_length, second_length) = longest_first(text.len(), second.len(), length - frame);
            text.truncate(first_length);
            second.truncate(second_length);
            let (tokens, segments) = framed_pair(encoder, &text, &second);
            (tokens, Some(Value::UInt8s(segments)))
        }
    };
    let stored = tokens.len();
    let rows = vec![Example { id, tokens, values: segments.into_iter().chain([label]).collect() }];
    Outcome::Stored(Stored { rows, tokens: stored, cut: whole + frame - stored, ..Stored::default() })
}

/// The lengths of two texts that must fit into `room` tokens together: the longer one is cut to the length of the shorter, then both by turns, as
/// `truncation="longest_first"` of transformers does with fast tokenizers.
fn longest_first(first: usize, second: usize, room: usize) -> (usize, usize) {
    if first + second <= room {
        return (first, second);
    }
    let (short, long) = (first.min(second), room.saturating_sub(first.min(second)));
    let (short, long) = if short <= long { (short, long) } else { (room / 2, room / 2 + room % 2) };
    if first > second { (long, short) } else { (short, long) }
}

/// The labels of some documents; of a class its index.
fn labels(batch: &Documents, column: &str, kind: LabelType, classes: &[String]) -> Result<Vec<Result<Value, Fault>>> {
    let class = |name: &str| classes.binary_search_by(|class| class.as_str().cmp(name)).expect("all labels were collected") as i32;
    let missing = || Err(("no_label", None));
    Ok(match kind {
        LabelType::Class => {
            batch.strings(column)?.iter().map(|name| name.map_or(missing(), |name| Ok(Value::Int32(class(name))))).collect()
        }
        LabelType::MultiLabel => {
            let label = |cell| match cell {
                Cell::Null => missing(),
                Cell::Broken(why) => Err(("broken_list", Some(format!("column `{column}`: {why}")))),
                Cell::List(names) => {
                    let numbers: BTreeSet<i32> = names.iter().map(|name| class(name)).collect();
                    Ok(Value::Int32s(numbers.into_iter().collect()))
                }
            };
            lists(batch.column(column)?, column)?.into_iter().map(label).collect()
        }
        LabelType::Number => {
            let (texts, numbers) = (batch.strings(column)?, batch.cast(column, &DataType::Float64)?);
            let numbers = numbers.as_primitive::<Float64Type>();
            let label = |row: usize| match numbers.is_valid(row).then(|| numbers.value(row)) {
                Some(number) if number.is_finite() => Ok(Value::Float64(number)),
                _ if texts.is_null(row) => missing(),
                _ => Err(("no_number", Some(format!("column `{column}` holds {}", excerpt(texts.value(row)))))),
            };
            (0..texts.len()).map(label).collect()
        }
    })
}

/// All labels, sorted; their places are the classes' numbers.
fn classes(job: &Job, label: &str) -> Result<Vec<String>> {
    let mut classes: BTreeSet<String> = BTreeSet::new();
    for file in 0..job.table.files.len() {
        for batch in documents::read(job.table, file, &[label])? {
            job.ctx.check_stop()?;
            let batch = batch?;
            let mut add = |class: &str| {
                if !classes.contains(class) {
                    classes.insert(class.to_string());
                }
            };
            match job.settings.label_type {
                LabelType::MultiLabel => {
                    for cell in lists(batch.column(label)?, label)? {
                        if let Cell::List(names) = cell {
                            names.iter().for_each(|name| add(name));
                        }
                    }
                }
                _ => batch.strings(label)?.iter().flatten().for_each(add),
            }
            if classes.len() > CLASSES_MAX {
                bail!("column `{label}` has more than {CLASSES_MAX} different values; is it the label?");
            }
        }
    }
    Ok(classes.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::longest_first;

    /// The cases of the crate tokenizers' own test of `LongestFirst`, with texts of 0, 2, 4 and 8 tokens in 7.
    #[test]
    fn pairs_are_cut_longest_first() {
        let lengths = [0, 2, 4, 8];
        let found = lengths.map(|first| lengths.map(|second| longest_first(first, second, 7)));
        assert_eq!(found[0], [(0, 0), (0, 2), (0, 4), (0, 7)]);
        assert_eq!(found[1], [(2, 0), (2, 2), (2, 4), (2, 5)]);
        assert_eq!(found[2], [(4, 0), (4, 2), (3, 4), (3, 4)]);
        assert_eq!(found[3], [(7, 0), (5, 2), (4, 3), (3, 4)]);
    }
}
