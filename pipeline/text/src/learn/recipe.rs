//! What is to be learned: a kind of model, and the style that fixes how text is normalized and cut and which special tokens there are.

use anyhow::{Result, bail};

use crate::style::Style;

/// A kind of model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Merges of bytes (Radford et al. 2019): any text comes back exactly.
    ByteLevelBpe,
    /// Merges of characters, and one token for each byte of characters that are not in the vocabulary (SentencePiece, Llama 2).
    ByteFallbackBpe,
    /// Merges of characters, inner ones marked by `##`; a word with another character is unknown (BERT).
    WordPiece,
    /// Pieces with probabilities (Kudo 2018); a text becomes its most probable sequence of pieces.
    Unigram,
    /// Single characters; one that is not in the vocabulary is unknown.
    Characters,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 5] = [Kind::ByteLevelBpe, Kind::ByteFallbackBpe, Kind::WordPiece, Kind::Unigram, Kind::Characters];

    /// The name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Kind::ByteLevelBpe => "byte-level-bpe",
            Kind::ByteFallbackBpe => "byte-fallback-bpe",
            Kind::WordPiece => "wordpiece",
            Kind::Unigram => "unigram",
            Kind::Characters => "characters",
        }
    }

    /// The styles that fit; the first is the default.
    pub fn styles(self) -> &'static [Style] {
        match self {
            Kind::ByteLevelBpe => &[Style::Gpt2, Style::Cl100k, Style::Llama3, Style::Qwen2, Style::O200k],
            Kind::ByteFallbackBpe => &[Style::Llama2, Style::SentencePiece, Style::T5],
            Kind::WordPiece => &[Style::BertUncased, Style::BertCased, Style::BertChinese],
            Kind::Unigram => &[Style::SentencePiece, Style::Llama2, Style::T5],
            Kind::Characters => &[Style::Plain],
        }
    }
}

/// The unknown token of WordPiece.
pub(super) const WORDPIECE_UNKNOWN: &str = "[UNK]";
/// The unknown token of the SentencePiece styles and of single characters.
pub(super) const UNKNOWN: &str = "<unk>";

/// A kind with a style that fits and special tokens that can do their work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    kind: Kind,
    style: Style,
    special_tokens: Vec<String>,
}

impl Recipe {
    /// Checks the names; what is not given follows from the kind and the style. Errors list what is valid.
    pub fn new(kind: Kind, style: Option<&str>, special_tokens: Option<&[String]>) -> Result<Recipe> {
        let styles = kind.styles();
        let style = match style {
            None => styles[0],
            Some(name) => {
                let Some(style) = styles.iter().find(|style| style.name() == name) else {
                    let valid: Vec<String> = styles.iter().map(|style| format!("`{}`", style.name())).collect();
                    bail!("`{}` has no style `{name}`; valid styles: {}", kind.name(), valid.join(", "));
                };
                *style
            }
        };
        let special_tokens: Vec<String> = match special_tokens {
            Some(tokens) => tokens.to_vec(),
            None => style.special_tokens().iter().map(|token| token.to_string()).collect(),
        };
        let recipe = Recipe { kind, style, special_tokens };
        recipe.check_special_tokens()?;
        Ok(recipe)
    }

    fn check_special_tokens(&self) -> Result<()> {
        let tokens = &self.special_tokens;
        for (index, token) in tokens.iter().enumerate() {
            if token.chars().count() < 2 || token.trim() != token || token.starts_with("##") || byte_tokens().any(|byte| byte == *token) {
                bail!(
                    "`{token}` cannot be a special token: it needs two characters or more, no white space around it, and must be no `##…` or `<0x…>`"
                );
            }
            if tokens[..index].contains(token) {
                bail!("the special token `{token}` is listed twice");
            }
        }
        let unknown = match self.kind {
            Kind::WordPiece => WORDPIECE_UNKNOWN,
            Kind::Unigram | Kind::Characters => UNKNOWN,
            Kind::ByteLevelBpe | Kind::ByteFallbackBpe => return Ok(()),
        };
        if !tokens.iter().any(|token| token == unknown) {
            bail!("`special_tokens` of `{}` must have `{unknown}`", self.kind.name());
        }
        Ok(())
    }

    /// The kind of model.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The style.
    pub fn style(&self) -> Style {
        self.style
    }

    /// Special tokens in order of their ids.
    pub fn special_tokens(&self) -> &[String] {
        &self.special_tokens
    }

    /// Whether characters outside of the vocabulary become tokens of their bytes.
    pub(super) fn has_byte_tokens(&self) -> bool {
        self.kind == Kind::ByteFallbackBpe || (self.kind == Kind::Unigram && self.style == Style::Llama2)
    }

    /// Tokens that are no learned ones, in order of their ids: special tokens, then bytes where there are such.
    pub(super) fn fixed_tokens(&self) -> Vec<String> {
        let bytes = byte_tokens().take(if self.has_byte_tokens() { 256 } else { 0 });
        self.special_tokens.iter().cloned().chain(bytes).collect()
    }

    /// An error when a vocabulary of this size cannot hold what every vocabulary needs.
    pub fn check_size(&self, vocabulary_size: usize) -> Result<()> {
        let least = self.special_tokens.len()
            + match self.kind {
                Kind::ByteLevelBpe => 256,
                _ if self.has_byte_tokens() => 256 + 64,
                _ => 64,
            };
        if vocabulary_size < least {
            bail!("a vocabulary of {vocabulary_size} tokens is too small: `{}` needs at least {least}", self.kind.name());
        }
        Ok(())
    }
}

/// The tokens of single bytes, as SentencePiece spells them.
pub(super) fn byte_tokens() -> impl Iterator<Item = String> {
    (0..=u8::MAX).map(|byte| format!("<0x{byte:02X}>"))
}

impl From<Kind> for Recipe {
    /// The recipe of the default style.
    fn from(kind: Kind) -> Recipe {
        let style = kind.styles()[0];
        Recipe { kind, style, special_tokens: style.special_tokens().iter().map(|token| token.to_string()).collect() }
    }
}
