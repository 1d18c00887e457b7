//! Which tokens go on with a word: read off the vocabulary, for masks that hide whole words.

use std::path::Path;

use anyhow::{Result, bail};
use text::Tokenizer;

/// By id, whether a token goes on with the word before it. WordPiece marks those that do (`##ing`); byte-level BPE and SentencePiece mark those
/// that begin a word by the space before it, and a line break or tab begins one too.
pub fn continues(tokenizer: &Path) -> Result<Vec<bool>> {
    let tokenizer = Tokenizer::load(tokenizer)?;
    let vocabulary = tokenizer.vocabulary();
    let any = |begin: &str| vocabulary.iter().any(|(_, token, _)| token.starts_with(begin));
    let goes_on: fn(&str) -> bool = if tokenizer.bytes_of_tokens().is_some() {
        |token| !token.starts_with(['Ġ', 'Ċ', 'ĉ'])
    } else if any("##") {
        |token| token.starts_with("##")
    } else if any("▁") {
        |token| !token.starts_with('▁')
    } else {
        bail!("the vocabulary does not tell where words begin: no token has `##`, `▁` or a space; use masking = \"tokens\"")
    };
    let mut continues = vec![false; tokenizer.vocabulary_size()];
    for (id, token, special) in &vocabulary {
        continues[*id as usize] = !special && goes_on(token);
    }
    Ok(continues)
}
