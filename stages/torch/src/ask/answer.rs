//! Finds the answer to a question in a context, which is read in windows when it is long.

use anyhow::{Context as _, Result, bail, ensure};
use model::ask::{Asked, Question};
use model::{Family, LabelType, Window};
use serde_json::{Value, json};

use super::{Answer, Model};
use crate::heads;
use crate::objective::Mode;
use crate::predict::{self, best_spans, texts_of_spans};
use crate::tape::Tape;

/// Tokens of a question, and those that two windows share, at most: what `tokenize` has unless it is told otherwise.
const QUESTION_LENGTH: usize = 64;
const STRIDE: usize = 128;
/// Answers that have a probability between them, as of `predict` unless it is told otherwise: it does not hang on how many are listed.
const SHARING: usize = 20;
/// Tokens of a window of networks that take any number: what T5 was trained on.
const WINDOW: usize = 512;
/// Windows that are read at once.
const WINDOWS: usize = 16;

impl Model {
    pub(super) fn find_answer(&self, question: &Question, task: &Asked) -> Result<Answer> {
        let Asked::Answer { max_answer_tokens, candidates, null_threshold } = task else { bail!("this is no question") };
        let context = question.pair.as_deref().context("a question needs a context")?;
        let mut asked = self.encode(&question.text)?;
        asked.truncate(QUESTION_LENGTH);
        let encoded = self.tokenizer.encode_with_offsets(context)?;
        ensure!(!asked.is_empty() && !encoded.ids.is_empty(), "question and context must have a token each");
        let characters = encoded.characters(context)?;
        // [CLS] question [SEP] context [SEP], or what the model knows in the place of these; see the layout `answer` of `tokenize`.
        let frame = self.frame()?;
        let (before, after) = (frame.0.len() + asked.len() + frame.1.len(), frame.1.len());
        let causal = self.loaded.config.family == Family::Gpt;
        let longest = if self.loaded.config.family == Family::Seq2seq { WINDOW } else { self.loaded.config.positions as usize };
        let room = longest.saturating_sub(before + after);
        ensure!(room > 0, "the model takes {} tokens, which the question fills; ask a shorter one", self.loaded.config.positions);
        let step = room - STRIDE.min(room / 2);
        let starts: Vec<usize> =
            (0..).map(|window| window * step).take_while(|start| *start == 0 || start + room < encoded.ids.len() + step).collect();
        let count = SHARING.max(*candidates);
        let (mut spans, mut null_score) = (Vec::new(), f32::INFINITY);
        for starts in starts.chunks(WINDOWS) {
            let ends = starts.iter().map(|start| encoded.ids.len().min(start + room));
            let windows: Vec<(usize, usize)> = starts.iter().copied().zip(ends).collect();
            let row = |(start, end): &(usize, usize)| {
                self.framed(asked.clone(), Some(encoded.ids[*start..*end].iter().map(|id| i64::from(*id)).collect()))
            };
            let batch = self.batch("answer", LabelType::default(), windows.iter().map(row).collect::<Result<_>>()?)?;
            let logits = tch::no_grad(|| heads::logits(self.loaded.network.as_ref(), &batch, Mode::default(), &Tape::off()))?;
            let time = batch.ids.size()[1] as usize;
            let logits = Vec::<f32>::try_from(logits.reshape([-1]))?; // (windows, 2, time)
            for ((start, end), logits) in windows.into_iter().zip(logits.chunks(2 * time)) {
                let (firsts, lasts) = logits.split_at(time);
                let placed = |of: fn(&(i32, i32)) -> i32| {
                    std::iter::repeat_n(-1, before)
                        .chain(characters[start..end].iter().map(of))
                        .chain(std::iter::repeat_n(-1, after))
                        .collect()
                };
                let window = Window { start: start as i64, starts: placed(|place| place.0), ends: placed(|place| place.1) };
                spans.extend(best_spans(firsts, lasts, &window, *max_answer_tokens, count));
                let nowhere = if causal { window.starts.len() - 1 } else { 0 };
                null_score = null_score.min(firsts[nowhere] + lasts[nowhere]);
            }
        }
        let found = predict::Question::new(spans, count, null_score);
        let texts = texts_of_spans(context, &found.spans)?;
        let best = found.best(*null_threshold);
        let (shares, null) = found.probabilities(null_threshold.is_some());
        let candidate = |((text, p), span): ((&String, &f32), &predict::Span)| json!({"answer": text, "probability": p, "start": span.first, "end": span.end});
        let answer = best.and(texts.first()).cloned().unwrap_or_default();
        let details = json!({
            "question": question.text,
            "answer": answer,
            "probability": if best.is_some() { shares.first().copied().unwrap_or(0.0) } else { null },
            "start": best.map(|span| span.first),
            "end": best.map(|span| span.end),
            "candidates": texts.iter().zip(&shares).zip(&found.spans).take(*candidates).map(candidate).collect::<Value>(),
        });
        Ok((answer, details))
    }
}
