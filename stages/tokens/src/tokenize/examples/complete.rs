//! Layout `complete`: a prompt with its target, for causal models. The prompt has no labels.

use anyhow::Result;
use arrow::array::{Array, StringArray};
use shards::examples::{Example, Kind, Value};

use super::{Job, Outcome, Stored, needed, write};
use crate::documents::id;

pub(super) fn run(job: &Job) -> Result<()> {
    let (settings, encoder) = (job.settings, job.encoder);
    let target = needed(settings, "target", &settings.target, "the target")?;
    write(job, &[&settings.prompt, target], &[("labels", Kind::Int32s)], |(), batch| {
        let (ids, prompts, targets) = (batch.ids("id")?, batch.strings(&settings.prompt)?, batch.strings(target)?);
        // Encoded apart, so that the prompt has the same tokens whether a target follows or not.
        let openings: Vec<String> = prompts.iter().map(|prompt| format!("{}{}", prompt.unwrap_or_default(), settings.separator)).collect();
        let openings = encoder.tokenizer.encode_batch(&openings.iter().map(String::as_str).collect::<Vec<_>>())?;
        let answers = encoder.tokenizer.encode_batch(&targets.iter().map(Option::unwrap_or_default).collect::<Vec<_>>())?;
        let example = |(row, (mut tokens, answer)): (usize, (Vec<u32>, Vec<u32>))| {
            let mut labels = vec![shards::IGNORE as i32; tokens.len()];
            tokens.extend(answer);
            tokens.push(encoder.end);
            labels.extend(tokens[labels.len()..].iter().map(|token| *token as i32));
            let empty = |column: &StringArray| column.is_null(row) || column.value(row).is_empty();
            let length = tokens.len();
            if empty(&prompts) {
                Outcome::rejected("no_prompt", length)
            } else if empty(&targets) {
                Outcome::rejected("no_target", length)
            } else if length > settings.sequence_length {
                Outcome::too_long("too_long", length, length, settings.sequence_length)
            } else {
                let rows = vec![Example { id: id(&ids, row), tokens, values: vec![Value::Int32s(labels)] }];
                Outcome::Stored(Stored { rows, tokens: length, ..Stored::default() })
            }
        };
        Ok(openings.into_iter().zip(answers).enumerate().map(example).collect())
    })
}
