//! Whose ids tokens hold: ids of another tokenizer stand for other texts, and a smaller one does not even know them.

use anyhow::{Result, bail};
use engine::Artifact;

/// The tokenizer behind an artifact, as far as it is known.
struct Whose<'a> {
    step: &'a str,
    /// Of its tokenizer.json; tokens of earlier versions do not tell.
    hash: Option<String>,
    /// How many ids it has.
    ids: Option<i64>,
}

impl Whose<'_> {
    fn of_tokens(tokens: &Artifact) -> Whose<'_> {
        let hash = tokens.fact::<Option<String>>("tokenizer").unwrap_or_default();
        Whose { step: &tokens.manifest.step, hash, ids: tokens.fact("vocab_size").ok() }
    }

    /// Of an artifact that holds the `file`.
    fn of_file<'a>(artifact: &'a Artifact, file: &str) -> Whose<'a> {
        let hash = artifact.hash_of(file).map(str::to_string);
        Whose { step: &artifact.manifest.step, hash, ids: artifact.fact("vocab_size").ok() }
    }

    /// Of a model, whose own file may have another template.
    fn of_model(model: &Artifact) -> Whose<'_> {
        let file = Whose::of_file(model, "model/tokenizer.json");
        let noted = model.fact::<Option<String>>("tokenizer").unwrap_or_default();
        Whose { hash: noted.or(file.hash), ..file }
    }

    /// Whether they may be of one tokenizer.
    fn fits(&self, other: &Whose) -> bool {
        match (&self.hash, &other.hash) {
            (Some(one), Some(other)) => one == other,
            _ => self.ids.is_none() || other.ids.is_none() || self.ids == other.ids,
        }
    }

    /// Where the numbers of ids tell two tokenizers apart, they are named.
    fn sizes(&self, other: &Whose) -> String {
        match (self.ids, other.ids) {
            (Some(one), Some(other)) if one != other => format!(" ({one} and {other} ids)"),
            _ => String::new(),
        }
    }
}

/// Refuses tokens that were made with different tokenizers.
pub fn check_tokens(tokens: &[Artifact]) -> Result<()> {
    let mut all = tokens.iter().map(Whose::of_tokens);
    let Some(first) = all.next() else { return Ok(()) };
    match all.find(|other| !other.fits(&first)) {
        Some(other) => bail!(
            "steps `{}` and `{}` made their tokens with different tokenizers{}; one model learns the ids of one: tokenize both with the same",
            first.step,
            other.step,
            first.sizes(&other)
        ),
        None => Ok(()),
    }
}

/// Refuses tokens that were made with another tokenizer than this artifact.
pub fn check_tokenizer(tokens: &[Artifact], tokenizer: &Artifact) -> Result<()> {
    let tokenizer = Whose::of_file(tokenizer, "tokenizer.json");
    match tokens.iter().map(Whose::of_tokens).find(|tokens| !tokens.fits(&tokenizer)) {
        Some(tokens) => bail!(
            "the tokens of step `{}` were made with another tokenizer than that of step `{}`{}, so their ids stand for other texts; give theirs: inputs = {{ tokenizer = \"STEP\" }}, and for tokens of another workspace first take its tokenizer.json over with stage = \"import-tokenizer\"",
            tokens.step,
            tokenizer.step,
            tokens.sizes(&tokenizer)
        ),
        None => Ok(()),
    }
}

/// Refuses tokens that were made with another tokenizer than the model was trained with.
pub fn check_model(tokens: &Artifact, model: &Artifact) -> Result<()> {
    let (tokens, model) = (Whose::of_tokens(tokens), Whose::of_model(model));
    if !tokens.fits(&model) {
        bail!(
            "the tokens of step `{}` were made with another tokenizer than the model of step `{}` was trained with, so their ids stand for other texts; tokenize with that of the model",
            tokens.step,
            model.step
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose(hash: Option<&str>, ids: Option<i64>) -> Whose<'static> {
        Whose { step: "x", hash: hash.map(str::to_string), ids }
    }

    #[test]
    fn hashes_decide_and_numbers_of_ids_where_there_is_none() {
        let known = whose(Some("a"), Some(300));
        assert!(known.fits(&whose(Some("a"), None)));
        assert!(!known.fits(&whose(Some("b"), Some(300))));
        assert!(known.fits(&whose(None, Some(300))));
        assert!(!known.fits(&whose(None, Some(2000))));
        assert!(known.fits(&whose(None, None)));
        assert_eq!(known.sizes(&whose(None, Some(2000))), " (300 and 2000 ids)");
    }
}
