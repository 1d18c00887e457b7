//! Answers to questions: the likeliest spans over all windows of a context, cut out of its text.
//!
//! As in BERT's script for SQuAD, a span's score is the sum of the logits of its ends, and the score of having no answer is that of `[CLS]`, the
//! least over the windows. Other than there, all spans are tried and not those of the 20 likeliest ends alone, and a span that stands in two windows
//! counts once.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::Field;
use model::{Predict, Report, Window};
use origins::{AnswerColumns, Questions};
use serde_json::json;

use super::parts::Part;
use super::{Work, column, ids, number_lists, text_lists};
use crate::tables::Column;
use crate::worker::Worker;

/// A span of a context, in characters from `first` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub score: f32,
    pub first: i32,
    pub end: i32,
}

/// A question with its best spans, best first, and their texts.
#[derive(Clone, Debug, Default)]
pub struct Question {
    id: [u8; 16],
    text: String,
    gold: Vec<String>,
    pub spans: Vec<Span>,
    candidates: Vec<String>,
    null_score: f32,
}

impl Work<'_> {
    pub(super) fn answers(&self, worker: &mut Worker) -> Result<Option<Report>> {
        let settings = self.settings;
        let columns = AnswerColumns::of(&self.tokens.manifest.key_parts["settings"]).context("the tokens are no questions")?;
        if self.parts(worker, "windows", |part| self.answers_of(part, &columns))?.is_none() {
            return Ok(None);
        }
        Ok(Some(self.report(vec![
            ("task", json!("answer")),
            ("max_answer_tokens", json!(settings.max_answer_tokens)),
            ("null_threshold", json!(settings.null_threshold)),
        ])))
    }

    fn answers_of(&self, part: &mut Part, columns: &AnswerColumns) -> Result<Option<Vec<Column>>> {
        let (settings, first, causal) = (self.settings, part.rows.start, self.facts.model == "causal");
        let (longest, count) = (settings.max_answer_tokens as usize, settings.candidates as usize);
        let mut windows: Vec<(Vec<Span>, f32)> = vec![Default::default(); part.len()];
        let done = self.heads(part, |samples, batch, logits| {
            let time = batch.ids.size()[1] as usize;
            let logits = Vec::<f32>::try_from(logits.reshape([-1]))?; // (batch, 2, time)
            for (sample, logits) in samples.iter().zip(logits.chunks(2 * time)) {
                let (starts, ends) = logits.split_at(time);
                let window = self.data.window(sample.row)?;
                let nowhere = if causal { window.starts.len() - 1 } else { 0 };
                let spans = best_spans(starts, ends, &window, longest, count);
                windows[(sample.row - first) as usize] = (spans, starts[nowhere] + ends[nowhere]);
            }
            Ok(())
        })?;
        if done.is_none() {
            return Ok(None);
        }
        let mut questions: Vec<Question> = Vec::new();
        for ((id, (spans, null_score)), row) in self.data.ids(part.rows.clone())?.into_iter().zip(windows).zip(first..) {
            match questions.last_mut() {
                Some(question) if self.data.window(row)?.start > 0 => {
                    question.spans.extend(spans);
                    question.null_score = question.null_score.min(null_score);
                }
                _ => questions.push(Question { id, spans, null_score, ..Question::default() }),
            }
        }
        questions.iter_mut().for_each(|question| keep_best(&mut question.spans, count));
        // Texts of questions, gold answers and spans.
        let ids: Vec<[u8; 16]> = questions.iter().map(|question| question.id).collect();
        let documents = part.documents(&ids)?.context("no documents are connected that answers could be cut out of")?;
        let documents = Questions::of(documents, columns)?;
        for (row, question) in questions.iter_mut().enumerate() {
            question.candidates = texts(documents.context(row), &question.spans)?;
            question.text = documents.question(row).to_string();
            question.gold = documents.gold(row)?;
        }
        table(&questions, settings).map(Some)
    }
}

/// The `count` best spans of a window, of at most `longest` tokens: `starts` and `ends` are the logits of its tokens.
pub fn best_spans(starts: &[f32], ends: &[f32], window: &Window, longest: usize, count: usize) -> Vec<Span> {
    let mut spans = Vec::new();
    let context = |token: &usize| window.starts[*token] >= 0;
    for first in (0..window.starts.len()).filter(context) {
        let last = window.starts.len().min(first + longest);
        for token in (first..last).filter(context) {
            let span = Span { score: starts[first] + ends[token], first: window.starts[first], end: window.ends[token] };
            if span.first < span.end {
                spans.push(span);
            }
        }
    }
    keep_best(&mut spans, count);
    spans
}

/// Keeps the `count` best different spans, best first; of equal ones the one that stands first.
fn keep_best(spans: &mut Vec<Span>, count: usize) {
    let by_place = |a: &Span, b: &Span| (a.first, a.end).cmp(&(b.first, b.end));
    let by_score = |a: &Span, b: &Span| b.score.total_cmp(&a.score).then(by_place(a, b));
    spans.sort_unstable_by(|a, b| by_place(a, b).then(by_score(a, b)));
    spans.dedup_by_key(|span| (span.first, span.end));
    spans.sort_unstable_by(by_score);
    spans.truncate(count);
}

impl Question {
    /// With all spans that were found.
    pub fn new(mut spans: Vec<Span>, count: usize, null_score: f32) -> Question {
        keep_best(&mut spans, count);
        Question { spans, null_score, ..Question::default() }
    }

    /// The best span, unless having no answer is better by more than the threshold.
    pub fn best(&self, null_threshold: Option<f64>) -> Option<Span> {
        let lacks = |span: &Span| null_threshold.is_some_and(|least| f64::from(self.null_score - span.score) > least);
        self.spans.first().filter(|span| !lacks(span)).copied()
    }

    /// The probabilities of the candidates, and of no answer, which counts only where there may be none.
    pub fn probabilities(&self, may_lack: bool) -> (Vec<f32>, f32) {
        let null = may_lack.then_some(self.null_score);
        let scores: Vec<f64> = self.spans.iter().map(|span| span.score).chain(null).map(f64::from).collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - highest).exp()).sum();
        let mut shares: Vec<f32> = scores.iter().map(|score| ((score - highest).exp() / sum) as f32).collect();
        let null = if may_lack { shares.pop().unwrap_or(0.0) } else { 0.0 };
        (shares, null)
    }
}

/// The texts of spans of a context.
pub fn texts(context: &str, spans: &[Span]) -> Result<Vec<String>> {
    let bytes: Vec<usize> = context.char_indices().map(|(byte, _)| byte).chain([context.len()]).collect();
    let byte = |character: i32| bytes.get(character as usize).copied();
    let cut = |span: &Span| -> Result<String> {
        let range = byte(span.first).zip(byte(span.end)).context("an answer reaches beyond its context; run `tokenize` again")?;
        Ok(context[range.0..range.1].to_string())
    };
    spans.iter().map(cut).collect()
}

fn table(questions: &[Question], settings: &Predict) -> Result<Vec<Column>> {
    let may_lack = settings.null_threshold.is_some();
    let best: Vec<Option<Span>> = questions.iter().map(|question| question.best(settings.null_threshold)).collect();
    let prediction =
        questions.iter().zip(&best).map(|(question, best)| Some(best.and(question.candidates.first()).map_or("", |text| text.as_str())));
    let floats = |values: &mut dyn Iterator<Item = Option<f64>>| -> ArrayRef { Arc::new(values.collect::<Float64Array>()) };
    let place = |of: fn(&Span) -> i32| -> ArrayRef {
        Arc::new(best.iter().map(|best| best.as_ref().map(|span| i64::from(of(span)))).collect::<Int64Array>())
    };
    let shares: Vec<(Vec<f32>, f32)> = questions.iter().map(|question| question.probabilities(may_lack)).collect();
    let probability = &mut best
        .iter()
        .zip(&shares)
        .map(|(best, (all, null))| Some(f64::from(if best.is_some() { all.first().copied().unwrap_or(0.0) } else { *null })));
    let nullable = |name: &str, values: ArrayRef| Column(Field::new(name, values.data_type().clone(), true), values);
    Ok(vec![
        ids(questions.iter().map(|question| question.id))?,
        column("question", Arc::new(StringArray::from_iter_values(questions.iter().map(|question| &question.text)))),
        column("gold", text_lists(questions.iter().map(|question| question.gold.iter().map(String::as_str).collect()))),
        column("prediction", Arc::new(prediction.collect::<StringArray>())),
        nullable("start", place(|span| span.first)),
        nullable("end", place(|span| span.end)),
        nullable("score", floats(&mut questions.iter().map(|question| Some(f64::from(question.spans.first()?.score))))),
        column("null_score", floats(&mut questions.iter().map(|question| Some(f64::from(question.null_score))))),
        column("probability", floats(probability)),
        column("candidates", text_lists(questions.iter().map(|question| question.candidates.iter().map(String::as_str).collect()))),
        column("probabilities", number_lists(shares.iter().map(|(all, _)| all.clone()))),
    ])
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    fn settings(json: serde_json::Value) -> Predict {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn spans_are_tokens_of_the_context_up_to_a_length() {
        // [CLS] q [SEP] a b c d [SEP]
        let window = Window { start: 0, starts: vec![-1, -1, -1, 0, 2, 4, 4, -1], ends: vec![-1, -1, -1, 1, 3, 4, 7, -1] };
        let starts = [9.0, 9.0, 9.0, 1.0, 5.0, 0.0, 2.0, 9.0];
        let ends = [9.0, 9.0, 9.0, 4.0, 0.0, 9.0, 3.0, 9.0];
        let found = best_spans(&starts, &ends, &window, 2, 3);
        // The token c stands for no character, so that b alone to c is b and what follows it.
        let span = |score, first, end| Span { score, first, end };
        assert_eq!(found, [span(14.0, 2, 4), span(5.0, 0, 1), span(5.0, 2, 3)]);
    }

    #[test]
    fn windows_share_spans_and_the_least_null_score_decides() {
        let span = |score, first, end| Span { score, first, end };
        let mut spans = vec![span(1.0, 0, 2), span(3.0, 0, 2), span(2.0, 5, 6)];
        keep_best(&mut spans, 20);
        assert_eq!(spans, [span(3.0, 0, 2), span(2.0, 5, 6)]);
        let candidates = vec!["a".to_string(), "b".to_string()];
        let question = |null_score| Question { spans: spans.clone(), candidates: candidates.clone(), null_score, ..Question::default() };
        let answer = |null_score, threshold: serde_json::Value| {
            let columns = table(&[question(null_score)], &settings(json!({"null_threshold": threshold}))).unwrap();
            columns[3].1.as_string::<i32>().value(0).to_string()
        };
        assert_eq!(answer(9.0, json!(null)), "a");
        assert_eq!((answer(3.5, json!(0.0)), answer(3.0, json!(0.0)), answer(3.5, json!(1.0))), (String::new(), "a".into(), "a".into()));
        let (shares, null) = question(3.0).probabilities(true);
        assert!((shares[0] - null).abs() < 1e-7 && (shares.iter().sum::<f32>() + null - 1.0).abs() < 1e-6);
    }

    #[test]
    fn texts_are_cut_by_characters() {
        let span = |first, end| Span { score: 0.0, first, end };
        assert_eq!(texts("今天 é李白写诗", &[span(4, 6), span(0, 1)]).unwrap(), ["李白", "今"]);
        assert!(texts("李白", &[span(1, 3)]).is_err());
    }
}
