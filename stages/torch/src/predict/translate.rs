//! Targets for sources: the layout `translate`.

use anyhow::{Context as _, Result};
use model::{Report, Sample};
use serde_json::json;

use super::Work;
use crate::batches::Buffers;
use crate::decode::{self, Search};
use crate::generate::Completion;
use crate::worker::Worker;

impl Work<'_> {
    pub(super) fn translate(&self, worker: &mut Worker) -> Result<Option<Report>> {
        let search = Search {
            start: self.loaded.config.special.pad.context("the model has no padding token for its decoder to begin with")?,
            end: self.facts.eos_id.context("the tokenizer has no end-of-text token, so a target could not end")?,
            // The decoder reads all tokens but the last, and what it begins with.
            tokens_max: self.settings.max_new_tokens.min(self.loaded.config.positions as u64) as usize,
            beams: self.settings.beams as usize,
            length_penalty: self.settings.length_penalty,
        };
        let (collate, mut buffers) = (self.collate(None), Buffers::default());
        let mut completions = vec![Completion::default(); self.rows as usize];
        let mut done = 0;
        for samples in self.batches()? {
            if worker.stopped() {
                return Ok(None);
            }
            buffers.read(self.data, &samples, &collate)?;
            let batch = buffers.batch(self.loaded.parameters.device());
            let found = decode::search(self.loaded, &batch.ids, &batch.seen, &search)?;
            for (Sample { row, .. }, found) in samples.iter().zip(found) {
                completions[*row as usize] = found;
            }
            done += samples.len() as u64;
            worker.progress(done, self.rows, "sources");
        }
        self.write_texts(&completions, |row| (row.tokens.clone(), row.labels.clone()))?;
        let beams = json!({"beams": search.beams, "length_penalty": search.length_penalty});
        Ok(Some(self.report(vec![
            ("task", json!("complete")),
            ("decoding", if search.beams == 1 { json!("greedy") } else { beams }),
            ("max_new_tokens", json!(self.settings.max_new_tokens)),
        ])))
    }
}
