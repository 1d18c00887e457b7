//! Layout `answer`: a question whose answer is a span of a context, as in SQuAD: `[CLS] question [SEP] context [SEP]`, or for other models
//! both with the end-of-text token after them.
//!
//! A long context becomes several rows, windows that overlap by `stride` tokens, as `return_overflowing_tokens` of transformers makes them. A row
//! that does not hold the whole answer points at `[CLS]`, and so do all rows of a question without an answer (SQuAD 2); in a causal model, whose
//! first token has seen nothing, at the last token.

use anyhow::{Result, bail};
use arrow::array::Array;
use origins::lists::{Cell, lists};
use rayon::prelude::*;
use shards::examples::{Column, Example, Kind, Value};

use super::{Job, Outcome, Stored, excerpt, framed_pair, needed, write};
use crate::documents::{Documents, id};
use crate::tokenize::{Model, Tokenize};

/// Special tokens of a row: [CLS] and two [SEP], or two that end the texts. Models with a decoder have the first token in the place of [CLS]: it
/// is never one of the context, and the decoder begins there.
fn special(settings: &Tokenize) -> usize {
    if settings.model == Model::Masked { 3 } else { 2 }
}

const COLUMNS: [Column; 7] = [
    ("segments", Kind::UInt8s),
    ("has_answer", Kind::Boolean),
    ("start_token", Kind::Int32),
    ("end_token", Kind::Int32),
    ("start", Kind::Int32),
    ("starts", Kind::Int32s),
    ("ends", Kind::Int32s),
];

pub(super) fn prepare(settings: &Tokenize) -> Result<()> {
    columns(settings)?;
    let (question, stride, special) = (settings.question_length, settings.stride, special(settings));
    if question == 0 || question + special + stride >= settings.sequence_length {
        bail!(
            "sequence_length = {} has no room for question_length = {question}, {special} special tokens and windows that go on by more than stride = {stride} tokens; make `stride` or `question_length` smaller",
            settings.sequence_length
        );
    }
    Ok(())
}

/// Columns of question, context, answer and its start.
fn columns(settings: &Tokenize) -> Result<[&str; 4]> {
    Ok([
        needed(settings, "question", &settings.question, "the question")?,
        &settings.context,
        needed(settings, "answer", &settings.answer, "the text of the answer")?,
        needed(settings, "answer_start", &settings.answer_start, "the character of the context at which the answer begins")?,
    ])
}

pub(super) fn run(job: &Job) -> Result<()> {
    let columns = columns(job.settings)?;
    job.draft.fact("stride", job.settings.stride)?;
    job.draft.fact("question_length", job.settings.question_length)?;
    job.draft.fact("segments", true)?;
    write(job, &columns, &COLUMNS, |(), batch| {
        let ids = batch.ids("id")?;
        let (questions, contexts) = (batch.strings(columns[0])?, batch.strings(columns[1])?);
        let answers = answers(batch, columns[2], columns[3])?;
        let outcome = |(row, answer): (usize, Answer)| {
            let text = |column: &arrow::array::StringArray| column.is_valid(row).then(|| column.value(row).to_string());
            let (question, context) = (text(&questions).unwrap_or_default(), text(&contexts).unwrap_or_default());
            example(job, id(&ids, row), &question, &context, answer)
        };
        answers.into_par_iter().enumerate().map(outcome).collect()
    })
}

/// Text and first character, `None` of a question without an answer, or why it is none.
type Answer = Result<Option<(String, i64)>, String>;

/// The first answer of each row. Both columns hold single values or both hold lists, such as SQuAD's `answers`; an empty one is no answer.
fn answers(batch: &Documents, texts: &str, starts: &str) -> Result<Vec<Answer>> {
    let first = |cell: Cell| match cell {
        Cell::Null => Ok(None),
        Cell::List(items) => Ok(items.into_iter().next()),
        Cell::Broken(why) => Err(why),
    };
    let is_nested = |name: &str| batch.column(name).map(|column| column.data_type().is_nested());
    // In text columns, lists are known by their starts: an answer itself may begin with a bracket.
    let starts_text = if is_nested(starts)? { None } else { Some(batch.strings(starts)?) };
    let in_lists =
        |row: usize| starts_text.as_ref().is_none_or(|starts| starts.is_valid(row) && starts.value(row).trim_start().starts_with('['));
    let (text_lists, start_lists) = (lists(batch.column(texts)?, texts)?, lists(batch.column(starts)?, starts)?);
    let text_texts = if is_nested(texts)? { None } else { Some(batch.strings(texts)?) };
    let answer = |(row, (text, start)): (usize, (Cell, Cell))| -> Answer {
        let plain = text_texts.as_ref().filter(|_| !in_lists(row));
        let text = match plain {
            Some(texts) => texts.is_valid(row).then(|| texts.value(row).to_string()),
            None => first(text)?,
        };
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
        let start = match &starts_text {
            Some(starts) if !in_lists(row) => starts.is_valid(row).then(|| starts.value(row).to_string()),
            _ => first(start)?,
        };
        let number = start.as_deref().and_then(|start| start.trim().parse::<f64>().ok()).filter(|start| start.fract() == 0.0);
        match number {
            Some(start) => Ok(Some((text, start as i64))),
            None => Err(format!("{} begins at {}, which is no character", excerpt(&text), start.as_deref().map_or("null".into(), excerpt))),
        }
    };
    Ok(text_lists.into_iter().zip(start_lists).enumerate().map(answer).collect())
}

fn example(job: &Job, id: [u8; 16], question: &str, context: &str, answer: Answer) -> Result<Outcome> {
    let (settings, tokenizer) = (job.settings, &job.encoder.tokenizer);
    let special = special(settings);
    let mut question = tokenizer.encode(question)?;
    let encoded = tokenizer.encode_with_offsets(context)?;
    let whole = question.len() + encoded.ids.len() + special;
    if question.is_empty() {
        return Ok(Outcome::rejected("no_question", whole));
    }
    if encoded.ids.is_empty() {
        return Ok(Outcome::rejected("no_context", whole));
    }
    let span = match answer.and_then(|answer| answer.map(|(text, start)| locate(context, &text, start, &encoded.offsets)).transpose()) {
        Ok(span) => span,
        Err(detail) => return Ok(Outcome::because("wrong_answer", whole, detail)),
    };
    question.truncate(settings.question_length);
    let cut = whole - special - question.len() - encoded.ids.len();
    let characters = encoded.characters(context)?;
    let room = settings.sequence_length - special - question.len();
    let mut rows = Vec::new();
    let mut start = 0;
    loop {
        let end = encoded.ids.len().min(start + room);
        let (tokens, segments) = framed_pair(job.encoder, &question, &encoded.ids[start..end]);
        let before = tokens.len() - 1 - (end - start);
        let inside = span.filter(|(first, last)| start <= *first && *last < end);
        let nowhere = if settings.model == Model::Causal { tokens.len() - 1 } else { 0 };
        let place = |token: Option<usize>| Value::Int32(token.map_or(nowhere, |token| before + token - start) as i32);
        let values = vec![
            Value::UInt8s(segments),
            Value::Boolean(inside.is_some()),
            place(inside.map(|(first, _)| first)),
            place(inside.map(|(_, last)| last)),
            Value::Int32(start as i32),
            placed(before, characters[start..end].iter().map(|(first, _)| *first)),
            placed(before, characters[start..end].iter().map(|(_, end)| *end)),
        ];
        rows.push(Example { id, tokens, values });
        if end == encoded.ids.len() {
            break;
        }
        start += room - settings.stride;
    }
    let stored = whole - cut;
    let repeated = rows.iter().map(|row| row.tokens.len()).sum::<usize>() - stored;
    let counts = vec![("questions_without_answer", i64::from(span.is_none()))];
    Ok(Outcome::Stored(Stored { rows, tokens: stored, cut, repeated, counts }))
}

/// Numbers of the tokens of a context within a row; the others have -1.
fn placed(before: usize, numbers: impl Iterator<Item = i32>) -> Value {
    Value::Int32s(std::iter::repeat_n(-1, before).chain(numbers).chain([-1]).collect())
}

/// The first and last token of an answer, or what is wrong with it. White space around it has no tokens and does not count.
fn locate(context: &str, answer: &str, start: i64, offsets: &[(usize, usize)]) -> Result<(usize, usize), String> {
    let byte = usize::try_from(start).ok().and_then(|start| context.char_indices().map(|(byte, _)| byte).nth(start));
    let Some(byte) = byte else {
        return Err(format!("{} begins at character {start}, outside of the context", excerpt(answer)));
    };
    if !context[byte..].starts_with(answer) {
        let found: String = context[byte..].chars().take(answer.chars().count()).collect();
        return Err(format!("at character {start} stands {}, not {}", excerpt(&found), excerpt(answer)));
    }
    let first_byte = byte + answer.len() - answer.trim_start().len();
    let end_byte = first_byte + answer.trim().len();
    // The tokens that share a byte with the answer; a token of no byte shares none.
    let first = offsets.iter().position(|(_, end)| *end > first_byte);
    let last = offsets.iter().rposition(|(start, _)| *start < end_byte);
    match (first, last) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(format!("{} gives no token", excerpt(answer))),
    }
}
