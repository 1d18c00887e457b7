//! Texts that a model writes: completions of prompts, targets of sources. What was given and what should follow are those of the documents, where
//! these are connected: what tokens say of a text may lack its case, spaces or end.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use model::{Report, Row};
use origins::TextColumns;
use serde_json::json;
use text::Tokenizer;

use super::parts::Part;
use super::{Work, column, ids};
use crate::batches::Buffers;
use crate::folder;
use crate::generate::{self, Completion, Ends, How, decoded};
use crate::tables::Column;
use crate::worker::Worker;

impl Work<'_> {
    pub(super) fn written(&self, worker: &mut Worker) -> Result<Option<Report>> {
        let translates = self.facts.layout == "translate";
        let tokenizer = Tokenizer::load(self.folder)?;
        let decoding = self.settings.decoding(self.job.seed);
        // What the model was taught to end in, and what its folder names besides.
        let learned = self.facts.eos_id.context("the tokenizer has no end-of-text token, so a text could not end")?;
        let others = folder::ends(self.folder)?.into_iter().filter(|id| *id != learned);
        let ends = Ends::new(std::iter::once(learned).chain(others).collect(), &decoding, &tokenizer, &self.loaded.config);
        let how = How { decoding: &decoding, ends: &ends, tokenizer: Some(&tokenizer), watch: None, slides: false };
        let sides = if translates { source_and_target } else { prompt_and_target };
        let said = |part: &mut Part| {
            let found = if translates { self.targets(part, &how)? } else { self.completions(part, &how)? };
            let Some(completions) = found else { return Ok(None) };
            self.texts_of(part, &completions, &how, &tokenizer, sides).map(Some)
        };
        if self.parts(worker, if translates { "sources" } else { "prompts" }, said)?.is_none() {
            return Ok(None);
        }
        Ok(Some(self.report(vec![
            ("task", json!("complete")),
            ("decoding", decoding.describe()),
            ("max_new_tokens", json!(self.settings.max_new_tokens)),
        ])))
    }

    fn completions(&self, part: &mut Part, how: &How) -> Result<Option<Vec<Completion>>> {
        let (mut completions, first) = (vec![Completion::default(); part.len()], part.rows.start);
        let done = part.batches(|samples| {
            let prompt = |row| Ok(prompt_and_target(&self.data.row(row, false)?).0);
            let prompts = samples.iter().map(|sample| prompt(sample.row)).collect::<Result<Vec<_>>>()?;
            let rows: Vec<u64> = samples.iter().map(|sample| sample.row).collect();
            for (row, found) in rows.iter().zip(generate::complete(self.loaded, &prompts, &rows, how)?) {
                completions[(row - first) as usize] = found;
            }
            Ok(())
        })?;
        Ok(done.map(|()| completions))
    }

    fn targets(&self, part: &mut Part, how: &How) -> Result<Option<Vec<Completion>>> {
        let begin = self.loaded.config.special.pad.context("the model has no padding token for its decoder to begin with")?;
        let (collate, mut buffers) = (self.collate(None), Buffers::default());
        let (mut completions, first) = (vec![Completion::default(); part.len()], part.rows.start);
        let done = part.batches(|samples| {
            buffers.read(self.data, samples, &collate)?;
            let batch = buffers.batch(self.loaded.parameters.device());
            let rows: Vec<u64> = samples.iter().map(|sample| sample.row).collect();
            for (row, found) in rows.iter().zip(generate::translate(self.loaded, &batch.ids, &batch.seen, &rows, begin, how)?) {
                completions[(row - first) as usize] = found;
            }
            Ok(())
        })?;
        Ok(done.map(|()| completions))
    }

    /// What was given, what should have followed (`sides`), and what followed.
    fn texts_of(&self, part: &mut Part, completions: &[Completion], how: &How, tokenizer: &Tokenizer, sides: Sides) -> Result<Vec<Column>> {
        let of_rows = self.data.ids(part.rows.clone())?;
        let texts = match (TextColumns::of(&self.tokens.manifest.key_parts["settings"]), part.documents(&of_rows)?) {
            (Some(columns), Some(documents)) => Some(columns.read(documents)?),
            _ => None,
        };
        let separator: String = self.tokens.fact("separator").unwrap_or_default();
        let (mut sources, mut references, mut predictions) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (row, completion)) in part.rows.clone().zip(completions).enumerate() {
            let (source, reference) = match &texts {
                Some(texts) => texts.of(place),
                None => {
                    let (source, target) = sides(&self.data.row(row, false)?);
                    let source = decoded(tokenizer, &source)?;
                    (source.strip_suffix(separator.as_str()).unwrap_or(&source).to_string(), decoded(tokenizer, &target)?)
                }
            };
            sources.push(source);
            references.push(reference);
            predictions.push(how.text(tokenizer, &completion.ids)?);
        }
        let texts = |values: Vec<String>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        let lengths: Int64Array = completions.iter().map(|completion| Some(completion.ids.len() as i64)).collect();
        let likely: Float64Array = completions.iter().map(|completion| Some(completion.log_likelihood)).collect();
        let ends = StringArray::from_iter_values(completions.iter().map(|completion| completion.end.name()));
        Ok(vec![
            ids(of_rows)?,
            column("source", texts(sources)),
            column("reference", texts(references)),
            column("prediction", texts(predictions)),
            column("tokens", Arc::new(lengths)),
            column("stopped", Arc::new(ends)),
            column("log_likelihood", Arc::new(likely)),
        ])
    }
}

/// What a row gives, and what is to follow.
type Sides = fn(&Row) -> (Vec<i64>, Vec<i64>);

fn source_and_target(row: &Row) -> (Vec<i64>, Vec<i64>) {
    (row.tokens.clone(), row.labels.clone())
}

/// The prompt, which has no labels, and what follows it.
fn prompt_and_target(row: &Row) -> (Vec<i64>, Vec<i64>) {
    let length = row.labels.iter().take_while(|label| **label == shards::IGNORE).count();
    (row.tokens[..length].to_vec(), row.tokens[length..].to_vec())
}
