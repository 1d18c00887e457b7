//! Texts that take no learning: the source as it is (translation), or its first sentences (summarization). They are those of the documents, where
//! these are connected, else what tokens say of them.

use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use engine::Artifact;
use origins::TextColumns;
use rayon::prelude::*;
use text::Tokenizer;

use crate::predictions::{self, column};
use crate::work::Work;

/// What stands in one row.
struct Written {
    source: String,
    reference: String,
    prediction: String,
    tokens: i64,
}

/// `sentences`: how many of the source are taken, all of it unless given.
pub fn run(work: &Work, tokenizer: &Artifact, sentences: Option<usize>) -> Result<()> {
    let tokenizer = Tokenizer::load(&tokenizer.dir)?;
    work.draft.fact("task", "complete")?;
    match sentences {
        None => work.draft.fact("decoding", "copy of the source")?,
        Some(sentences) => work.draft.fact("decoding", format!("first {sentences} sentences of the source"))?,
    }
    let has_prompt = work.layout == "complete";
    let columns = TextColumns::of(&work.tokens.manifest.key_parts["settings"]);
    predictions::write(work, |rows, documents| {
        let texts = columns.as_ref().zip(documents).map(|(columns, documents)| columns.read(documents)).transpose()?;
        let of_row = |(place, row): (usize, &u64)| -> Result<Written> {
            let (source, reference) = match &texts {
                Some(texts) => texts.of(place),
                None => of_tokens(work, &tokenizer, *row, has_prompt)?,
            };
            let prediction = sentences.map_or(source.as_str(), |sentences| lead(&source, sentences)).to_owned();
            let tokens = tokenizer.encode(&prediction)?.len() as i64;
            Ok(Written { source, reference, prediction, tokens })
        };
        let written = rows.par_iter().enumerate().map(of_row).collect::<Result<Vec<Written>>>()?;
        let strings = |of: fn(&Written) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(written.iter().map(of))) };
        let tokens: Int64Array = written.iter().map(|row| Some(row.tokens)).collect();
        Ok(vec![
            column("source", strings(|row| &row.source)),
            column("reference", strings(|row| &row.reference)),
            column("prediction", strings(|row| &row.prediction)),
            column("tokens", Arc::new(tokens)),
            column("stopped", strings(|_| "eos")),
        ])
    })
}

/// What the tokens of a row say of its texts.
fn of_tokens(work: &Work, tokenizer: &Tokenizer, row: u64, has_prompt: bool) -> Result<(String, String)> {
    let decode = |ids: &[i64]| tokenizer.decode(&ids.iter().map(|id| *id as u32).collect::<Vec<u32>>());
    let (tokens, labels) = (work.rows.tokens(row)?, work.rows.numbers(row, "labels")?);
    let labels: Vec<i64> = labels.into_iter().map(i64::from).collect();
    if has_prompt {
        // The prompt has no labels.
        let prompt = labels.iter().take_while(|label| **label == shards::IGNORE).count();
        if labels.len() != tokens.len() {
            bail!("row {row}: there are {} labels for {} tokens; run `tokenize` again", labels.len(), tokens.len());
        }
        let (source, separator) = (decode(&tokens[..prompt])?, work.tokens.fact::<String>("separator").unwrap_or_default());
        return Ok((source.strip_suffix(separator.as_str()).unwrap_or(&source).to_string(), decode(&tokens[prompt..])?));
    }
    Ok((decode(&tokens)?, decode(&labels)?))
}

/// A text up to the end of its n-th sentence, as it stands there.
fn lead(text: &str, sentences: usize) -> &str {
    let place = |sentence: &str| sentence.as_ptr() as usize - text.as_ptr() as usize;
    let mut taken = text::sentences(text).take(sentences);
    let Some(first) = taken.next() else { return "" };
    let last = taken.last().unwrap_or(first);
    &text[place(first)..place(last) + last.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_sentences_stand_as_they_are() {
        let check = |text: &str, sentences: usize, expected: &str| assert_eq!(lead(text, sentences), expected, "{text}");
        check(" One two.  Three! Four?", 1, "One two.");
        check(" One two.  Three! Four?", 2, "One two.  Three!");
        check("春眠不觉晓。处处闻啼鸟。夜来风雨声。", 2, "春眠不觉晓。处处闻啼鸟。");
        check("No end", 3, "No end");
        check(" … ", 3, "");
    }
}
