//! Answers to questions by a sliding window (Richardson et al., 2013: MCTest), as the paper of SQuAD has it (Rajpurkar et al., 2016): of the
//! candidates in the sentences that have most words of the question, the one whose words gather with those of the question most densely somewhere
//! in the context; rare words weigh more.
//!
//! Candidates of the paper are constituents that a parser of English finds. Here they are the runs of words between words of the question and
//! punctuation, which needs no language. The paper's extension by distances is left out.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Field;
use origins::{AnswerColumns, Questions};
use rayon::prelude::*;

use crate::predictions::{self, Column, column, text_lists};
use crate::work::Work;

pub fn run(work: &Work) -> Result<()> {
    let step = &work.tokens.manifest.step;
    let columns = AnswerColumns::of(&work.tokens.manifest.key_parts["settings"])
        .with_context(|| format!("step `{step}` does not tell the columns of its questions; run `tokenize` again"))?;
    work.draft.fact("task", "answer")?;
    predictions::write(work, |rows, documents| {
        let documents = documents.with_context(|| format!("step `{step}` read no documents that answers could be cut out of"))?;
        answered(rows.len(), documents, &columns)
    })
}

fn answered(rows: usize, documents: &RecordBatch, columns: &AnswerColumns) -> Result<Vec<Column>> {
    let questions = Questions::of(documents, columns)?;
    let golds = (0..rows).map(|row| questions.gold(row)).collect::<Result<Vec<_>>>()?;
    let answers: Vec<Option<Answer>> =
        (0..rows).into_par_iter().map(|row| answer(questions.question(row), questions.context(row))).collect();
    let nullable = |name: &str, values: ArrayRef| (Field::new(name, values.data_type().clone(), true), values);
    let found = || answers.iter().map(Option::as_ref);
    // Places are characters, as those of `predict`.
    let place = |of: fn(&Range<usize>) -> usize| -> ArrayRef {
        let character = |(row, answer): (usize, Option<&Answer>)| Some(questions.context(row)[..of(&answer?.bytes)].chars().count() as i64);
        Arc::new(found().enumerate().map(character).collect::<Int64Array>())
    };
    let text =
        |(row, answer): (usize, Option<&Answer>)| answer.map_or("", |answer| &questions.context(row)[answer.bytes.clone()]).to_string();
    Ok(vec![
        column("question", Arc::new(StringArray::from_iter_values((0..rows).map(|row| questions.question(row))))),
        column("gold", text_lists(golds.iter().map(|golds| golds.iter().map(String::as_str).collect()))),
        column("prediction", Arc::new(StringArray::from_iter_values(found().enumerate().map(text)))),
        nullable("start", place(|bytes| bytes.start)),
        nullable("end", place(|bytes| bytes.end)),
        nullable("score", Arc::new(found().map(|answer| Some(answer?.score)).collect::<Float64Array>())),
    ])
}

/// Bytes of the context, and the weight of the best window.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    bytes: Range<usize>,
    score: f64,
}

/// A word of a context: equal ones, whatever their case, have equal numbers.
struct Word {
    number: usize,
    bytes: Range<usize>,
    sentence: usize,
}

/// The best candidate, the first of equally good ones; `None` where the context has none.
fn answer(question: &str, context: &str) -> Option<Answer> {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut number = |word: &str| {
        let next = numbers.len();
        *numbers.entry(word.to_lowercase()).or_insert(next)
    };
    let asked: HashSet<usize> = text::words(question).map(&mut number).collect();
    let mut words: Vec<Word> = Vec::new();
    for (sentence, of) in text::sentences(context).enumerate() {
        words.extend(text::words(of).map(|word| {
            let first = word.as_ptr() as usize - context.as_ptr() as usize;
            Word { number: number(word), bytes: first..first + word.len(), sentence }
        }));
    }
    let mut counts = vec![0_u32; numbers.len()];
    words.iter().for_each(|word| counts[word.number] += 1);
    let weight = |word: &Word| (1.0 + 1.0 / f64::from(counts[word.number])).ln();
    let overlap = |of: &[Word]| of.iter().map(|word| word.number).filter(|number| asked.contains(number)).collect::<HashSet<_>>().len();
    let sentences = || words.chunk_by(|a, b| a.sentence == b.sentence);
    let most = sentences().map(overlap).max()?;
    let goes_on = |a: &Word, b: &Word| {
        let between = &context[a.bytes.end..b.bytes.start];
        asked.contains(&a.number) == asked.contains(&b.number) && (between == "-" || between.trim().is_empty())
    };
    let runs = sentences().filter(|of| overlap(of) == most).flat_map(|of| of.chunk_by(goes_on));
    let mut best: Option<Answer> = None;
    for run in runs.filter(|run| !asked.contains(&run[0].number)) {
        let sought: HashSet<usize> = asked.iter().copied().chain(run.iter().map(|word| word.number)).collect();
        let weights: Vec<f64> = words.iter().map(|word| if sought.contains(&word.number) { weight(word) } else { 0.0 }).collect();
        let windows = (0..weights.len()).map(|first| weights[first..].iter().take(sought.len()).sum::<f64>());
        let score = windows.fold(0.0, f64::max);
        if best.as_ref().is_none_or(|best| score > best.score) {
            best = Some(Answer { bytes: run[0].bytes.start..run[run.len() - 1].bytes.end, score });
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(question: &str, context: &str, expected: &str) {
        let found = answer(question, context);
        assert_eq!(found.map_or("", |answer| &context[answer.bytes]), expected, "{question}");
    }

    #[test]
    fn the_densest_run_of_the_best_sentence_answers() {
        let context = "Normandy is a region of France. The Normans gave their name to Normandy, in the 10th century.";
        check("When did the Normans give their name to Normandy?", context, "10th century");
        check("Normandy is a region of what?", context, "France");
        check("谁写了这首诗？", "春眠不觉晓，处处闻啼鸟。才子李白写了这首诗。", "才子李白");
        check("What of it?", "of it", "");
        check("Anything?", " … ", "");
    }

    #[test]
    fn windows_weigh_rare_words() {
        // Sought: x, b, c. "x b c" stands together: ln 2 for x, and ln 1.5 for b and c, which are there twice.
        let found = answer("x?", "x b c! B c d").unwrap();
        assert_eq!((found.bytes, found.score), (2..5, 2_f64.ln() + 1.5_f64.ln() + 1.5_f64.ln()));
    }
}
