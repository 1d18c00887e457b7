//! Texts that a model writes after prompts.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use arrow::array::{Float64Array, Int64Array, StringArray};
use model::{Family, Report};
use serde_json::json;

use super::items::{Part, column};
use super::{Cut, Work};
use crate::generate::{self, Completion, How};
use crate::tables::Column;
use crate::worker::Worker;

impl Work<'_> {
    pub(super) fn texts(&self, worker: &mut Worker) -> Result<Option<Report>> {
        let decoding = self.settings.decoding(self.job.seed);
        let ends = self.model.ends(&decoding);
        let how = How { decoding: &decoding, ends: &ends, tokenizer: Some(&self.model.tokenizer), watch: None, slides: false };
        let mut cut = Cut::default();
        let checked = self.check(worker, |part| {
            self.prompts(part)?.into_iter().for_each(|(_, tokens)| cut.add(tokens));
            Ok(())
        })?;
        if checked.is_none() || self.parts(worker, |part, worker| self.texts_of(part, &how, worker))?.is_none() {
            return Ok(None);
        }
        let mut report = self.report("complete", self.items.rows as i64, &cut);
        report.facts.extend([("decoding".to_string(), decoding.describe()), ("max_new_tokens".into(), json!(decoding.max_new_tokens))]);
        Ok(Some(report))
    }

    /// The tokens of each prompt, and how many were cut off it: a text of full length has room behind it.
    fn prompts(&self, part: &Part) -> Result<Vec<(Vec<i64>, i64)>> {
        let (positions, new) = (self.positions(), self.settings.max_new_tokens.unwrap_or_default() as usize);
        let reads_all = self.model.loaded.config.family == Family::Seq2seq;
        let room = if reads_all { positions } else { positions.saturating_sub(new) };
        ensure!(
            room > 0,
            "max_new_tokens = {new} leaves a prompt no room in the {positions} tokens that the model takes; set it below {positions}"
        );
        let (texts, (before, after)) = (part.texts("source")?, self.model.frame()?);
        let after = if reads_all { after } else { Vec::new() };
        let prompt = |row: usize| {
            let mut ids = [before.clone(), self.model.encode(texts.value(row))?, after.clone()].concat();
            if ids.is_empty() {
                ids.push(self.prefix().with_context(|| format!("{}: an empty prompt has no token to go on from", part.place(row)))?);
            }
            let cut = ids.len().saturating_sub(room);
            drop(ids.drain(..cut));
            Ok((ids, cut as i64))
        };
        (0..part.len()).map(prompt).collect()
    }

    fn texts_of(&self, part: &Part, how: &How, worker: &mut Worker) -> Result<Option<Vec<Column>>> {
        let prompts = self.prompts(part)?;
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        order.sort_by_key(|row| std::cmp::Reverse(prompts[*row].0.len()));
        let (mut found, mut done) = (vec![Completion::default(); prompts.len()], part.rows.start);
        for rows in order.chunks(self.batch_size()) {
            if worker.stopped() {
                return Ok(None);
            }
            let ids: Vec<Vec<i64>> = rows.iter().map(|row| prompts[*row].0.clone()).collect();
            let numbers: Vec<u64> = rows.iter().map(|row| (part.rows.start + row) as u64).collect();
            for (row, completion) in rows.iter().zip(generate::go_on(&self.model.loaded, &ids, &numbers, how)?) {
                found[*row] = completion;
            }
            done += rows.len();
            worker.progress(done as u64, self.items.rows as u64, "rows");
        }
        let delimiter = self.settings.target_delimiter.as_deref().unwrap_or_default();
        let text = |completion: &Completion| {
            let text = how.text(&self.model.tokenizer, &completion.ids)?;
            // What is right follows the delimiter, too.
            Ok(text.strip_prefix(delimiter).unwrap_or(&text).to_string())
        };
        let texts = found.iter().map(text).collect::<Result<Vec<String>>>()?;
        Ok(Some(vec![
            column("prediction", Arc::new(StringArray::from(texts))),
            column("tokens", Arc::new(found.iter().map(|one| Some(one.ids.len() as i64)).collect::<Int64Array>())),
            column("stopped", Arc::new(StringArray::from_iter_values(found.iter().map(|one| one.end.name())))),
            column("log_likelihood", Arc::new(found.iter().map(|one| Some(one.log_likelihood)).collect::<Float64Array>())),
            column("truncated", Arc::new(prompts.iter().map(|(_, cut)| Some(*cut)).collect::<Int64Array>())),
        ]))
    }
}
