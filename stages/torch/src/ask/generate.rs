//! Goes on with texts, or translates them.

use std::cell::RefCell;

use anyhow::{Result, ensure};
use model::ask::{Question, Said};
use model::{Decoding, Family};
use serde_json::json;

use super::Model;
use crate::generate::{How, go_on};
use crate::worker::tell;

impl Model {
    pub(super) fn generate(&self, decoding: &Decoding, stream: bool, questions: &[Question], number: u64) -> Result<()> {
        let (mut rows, mut wrong) = (Vec::new(), None);
        for question in questions {
            match self.prompt(&question.text) {
                Ok(row) => rows.push(row),
                // Those before it are answered first.
                Err(error) => {
                    wrong = Some(error);
                    break;
                }
            }
        }
        let ends = self.ends(decoding);
        let how = How { decoding, ends: &ends, tokenizer: Some(&self.tokenizer), watch: None, slides: true };
        let told = RefCell::new(String::new());
        let watch = |ids: &[i64]| self.go_on(&how, ids, &told);
        let watched = How { watch: if stream { Some(&watch) } else { None }, ..how };
        if !rows.is_empty() {
            let numbers: Vec<u64> = (number..).take(rows.len()).collect();
            let found = go_on(&self.loaded, &rows, &numbers, &watched)?;
            for (question, completion) in questions.iter().zip(found) {
                let text = how.text(&self.tokenizer, &completion.ids)?;
                let details = json!({
                    "text": question.text,
                    "completion": text,
                    "tokens": completion.ids.len(),
                    "stopped": completion.end.name(),
                    "log_likelihood": completion.log_likelihood,
                });
                tell(&Said::Answer { text, details });
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    /// The tokens of a text to go on with, or of a source.
    fn prompt(&self, text: &str) -> Result<Vec<i64>> {
        let (before, after) = self.frame()?;
        let mut ids = [before, self.encode(text)?].concat();
        if self.loaded.config.family == Family::Seq2seq {
            ids.extend(after);
        }
        let positions = self.loaded.config.positions;
        ensure!(!ids.is_empty(), "an empty text has no token to go on from");
        ensure!(
            ids.len() as i64 <= positions,
            "the text has {} tokens, the model takes at most {positions}; give a shorter one",
            ids.len()
        );
        Ok(ids)
    }

    /// Tells what the newest token adds to the text, once it is whole characters and no beginning of a text to stop at.
    fn go_on(&self, how: &How, ids: &[i64], told: &RefCell<String>) {
        let Ok(text) = how.text(&self.tokenizer, ids) else { return };
        let held = how.decoding.stop.iter().map(String::len).max().unwrap_or(0);
        let mut end = text.trim_end_matches(char::REPLACEMENT_CHARACTER).len().saturating_sub(held);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut told = told.borrow_mut();
        if let Some(more) = text[..end].strip_prefix(told.as_str()).filter(|more| !more.is_empty()) {
            tell(&Said::Part(more.to_string()));
            *told = text[..end].to_string();
        }
    }
}
