//! Layout `translate`: a source with its target, for models with an encoder and a decoder. Both end in the end-of-text token, or `[SEP]` where the
//! tokenizer has none; what the decoder begins with is the model's affair.

use anyhow::{Result, bail};
use arrow::array::{Array, StringArray};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shards::examples::{Example, Kind, Value};

use super::{Job, Outcome, Stored, needed, write};
use crate::documents::id;
use crate::tokenize::Tokenize;

/// What becomes of pairs that are too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TooLong {
    /// They are rejected.
    #[default]
    Reject,
    /// Their ends are cut.
    Cut,
}

pub(super) fn prepare(settings: &Tokenize) -> Result<()> {
    needed(settings, "source", &settings.source, "the text to translate")?;
    needed(settings, "target", &settings.target, "its translation")?;
    if let Some(length) = settings.target_length.filter(|length| !(8..=1 << 20).contains(length)) {
        bail!("`target_length` is {length}: it must be from 8 to {}", 1 << 20);
    }
    Ok(())
}

pub(super) fn run(job: &Job) -> Result<()> {
    let (settings, encoder) = (job.settings, job.encoder);
    let source = needed(settings, "source", &settings.source, "the text to translate")?;
    let target = needed(settings, "target", &settings.target, "its translation")?;
    let limits = [settings.sequence_length, settings.target_length.unwrap_or(settings.sequence_length)];
    job.draft.fact("target_length", limits[1])?;
    write(job, &[source, target], &[("labels", Kind::Int32s)], |(), batch| {
        let (ids, sources, targets) = (batch.ids("id")?, batch.strings(source)?, batch.strings(target)?);
        let encode = |texts: &StringArray| encoder.tokenizer.encode_batch(&texts.iter().map(Option::unwrap_or_default).collect::<Vec<_>>());
        let example = |(row, (mut tokens, mut labels)): (usize, (Vec<u32>, Vec<u32>))| {
            let whole = tokens.len() + labels.len() + 2;
            let missing = |column: &StringArray, tokens: &[u32]| column.is_null(row) || tokens.is_empty();
            if missing(&sources, &tokens) {
                return Outcome::rejected("no_source", whole);
            }
            if missing(&targets, &labels) {
                return Outcome::rejected("no_target", whole);
            }
            for (tokens, limit, rule) in [(&mut tokens, limits[0], "source_too_long"), (&mut labels, limits[1], "target_too_long")] {
                if tokens.len() + 1 > limit && settings.too_long == TooLong::Reject {
                    return Outcome::too_long(rule, whole, tokens.len() + 1, limit);
                }
                tokens.truncate(limit - 1);
                tokens.push(encoder.end);
            }
            let stored = tokens.len() + labels.len();
            let labels = labels.into_iter().map(|token| token as i32).collect();
            let rows = vec![Example { id: id(&ids, row), tokens, values: vec![Value::Int32s(labels)] }];
            Outcome::Stored(Stored { rows, tokens: stored, cut: whole - stored, ..Stored::default() })
        };
        Ok(encode(&sources)?.into_iter().zip(encode(&targets)?).enumerate().map(example).collect())
    })
}
