//! WordPiece of one plain word: again and again the longest token that the rest of the word begins with.

use anyhow::{Context as _, Result};
use hashbrown::HashMap;
use tokenizers::Model;
use tokenizers::models::wordpiece::WordPiece;

/// A vocabulary for words of ASCII letters and digits, and punctuation characters.
pub(super) struct Pieces {
    first: HashMap<Box<[u8]>, u32>,
    /// Tokens that go on with a word, without their prefix (`##`).
    inner: HashMap<Box<[u8]>, u32>,
    longest: usize,
    unknown: u32,
    longest_word: usize,
    lowercase: bool,
}

impl Pieces {
    pub(super) fn of(model: &WordPiece, lowercase: bool) -> Result<Pieces> {
        let vocabulary = model.get_vocab();
        let unknown = *vocabulary.get(&model.unk_token).context("the unknown token is not in the vocabulary")?;
        let bytes = |text: &str| text.as_bytes().into();
        let inner = |(token, id): (&String, &u32)| Some((bytes(token.strip_prefix(&model.continuing_subword_prefix)?), *id));
        Ok(Pieces {
            inner: vocabulary.iter().filter_map(inner).collect(),
            longest: vocabulary.keys().map(String::len).max().unwrap_or(0),
            first: vocabulary.iter().map(|(token, id)| (bytes(token), *id)).collect(),
            unknown,
            longest_word: model.max_input_chars_per_word,
            lowercase,
        })
    }

    /// Appends the tokens of a word. `normal` is reused from word to word.
    pub(super) fn encode(&self, word: &str, normal: &mut Vec<u8>, ids: &mut Vec<u32>) {
        let first = ids.len();
        normal.clear();
        normal.extend_from_slice(word.as_bytes());
        if self.lowercase {
            normal.make_ascii_lowercase();
        }
        let mut at = 0;
        while at < normal.len() && normal.len() <= self.longest_word {
            let tokens = if at == 0 { &self.first } else { &self.inner };
            let ends = (at + 1..=normal.len().min(at + self.longest)).rev();
            let Some((id, end)) = ends.into_iter().find_map(|end| Some((*tokens.get(&normal[at..end])?, end))) else { break };
            ids.push(id);
            at = end;
        }
        if at < normal.len() {
            ids.truncate(first);
            ids.push(self.unknown);
        }
    }
}
