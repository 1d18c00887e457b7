//! The settings of the packed layout, and what follows from them for documents and rows.

use anyhow::{Context as _, Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shards::{Extent, PackedRows, Width, best_fit, concatenate, one_per_row};

use super::special::begins;
use super::{Encoder, Model, Tokenize};

/// Which documents share a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// One document after another, cut where a row ends; only the last row of a split has padding.
    #[default]
    Pack,
    /// No document is cut that fits into a row.
    BestFit,
    /// Each document in a row of its own, its end cut off where it is longer.
    OnePerRow,
}

/// What shards are written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// Arrow IPC without compression, mapped into memory by `train`.
    #[default]
    Arrow,
    /// For SQL and other tools; `train`, `predict` and `export` do not read it.
    Parquet,
}

/// How wide token ids are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    U16,
    U32,
}

impl Packing {
    pub(super) fn rows(self, documents: &[Extent], room: u32) -> PackedRows {
        match self {
            Packing::Pack => concatenate(documents, room),
            Packing::BestFit => best_fit(documents, room),
            Packing::OnePerRow => one_per_row(documents, room),
        }
    }
}

impl FileFormat {
    pub(super) fn extension(self) -> &'static str {
        match self {
            FileFormat::Arrow => "arrow",
            FileFormat::Parquet => "parquet",
        }
    }
}

impl Dtype {
    /// The width that was asked for, or the narrowest that the vocabulary allows.
    pub(super) fn width(asked: Option<Dtype>, vocabulary_size: usize) -> Result<Width> {
        match (asked, Width::for_vocabulary(vocabulary_size)) {
            (Some(Dtype::U32), _) => Ok(Width::U32),
            (Some(Dtype::U16), Width::U32) => {
                bail!("has {vocabulary_size} ids, and dtype = \"u16\" holds 65536; take dtype = \"u32\" or leave it out")
            }
            (_, width) => Ok(width),
        }
    }
}

/// Refuses numbers out of range and documents that would begin twice.
pub(super) fn check(settings: &Tokenize) -> Result<()> {
    if settings.model == Model::Masked && settings.bos == Some(true) {
        bail!("`bos` is true: rows of model = \"masked\" begin with [CLS], and documents with no token of their own; remove it");
    }
    if let Some(tokens) = settings.shard_tokens.filter(|tokens| !(1024..=1 << 30).contains(tokens)) {
        bail!("`shard_tokens` is {tokens}: it must be from 1024 to {}", 1 << 30);
    }
    if !(1..=1 << 30).contains(&settings.document_bytes_max) {
        bail!("`document_bytes_max` is {}: it must be from 1 to {}", settings.document_bytes_max, 1 << 30);
    }
    Ok(())
}

/// Rows of a full shard. A small corpus makes some shards too, so that there is work for all threads.
pub(super) fn shard_rows(settings: &Tokenize, all_tokens: u64) -> u64 {
    let tokens = settings.shard_tokens.map_or((all_tokens / 32).clamp(8 << 20, 32 << 20), |tokens| tokens as u64);
    tokens.div_ceil(settings.row_tokens() as u64)
}

/// The tokens around documents and rows.
pub(crate) struct Frame {
    /// Before each document.
    pub(super) bos: Option<u32>,
    /// After each document.
    pub(super) eos: Option<u32>,
    /// Whether the model predicts the next token.
    pub(super) causal: bool,
    /// Token 0 of a row, or of the first row where rows overlap.
    pub(super) context: u32,
    /// Token 0 of a row is the last token of the row before it, so that every token is predicted from what stood before it.
    pub(super) overlap: bool,
    pub(super) padding: u32,
    /// Tokens of a row, the context included.
    pub(super) row_tokens: usize,
    /// Most tokens that are kept of a document.
    pub(super) document_tokens_max: usize,
}

impl Frame {
    pub(super) fn new(settings: &Tokenize, encoder: &Encoder) -> Result<Frame> {
        let special = encoder.tokenizer.special();
        let bos = begins(special, settings.bos).with_context(|| encoder.name.clone())?;
        let overlap = settings.model == Model::Causal && settings.packing == Packing::Pack;
        let context = match (encoder.begin, bos) {
            (Some(cls), _) => cls,
            // A document's own token should not stand twice.
            (None, Some(_)) => encoder.end,
            (None, None) if overlap => encoder.end,
            (None, None) => special.bos.unwrap_or(encoder.end),
        };
        let row_tokens = settings.row_tokens();
        Ok(Frame {
            bos,
            eos: (settings.eos != Some(false)).then_some(encoder.end),
            causal: settings.model == Model::Causal,
            context,
            overlap,
            padding: encoder.padding,
            row_tokens,
            document_tokens_max: if settings.packing == Packing::OnePerRow { row_tokens - 1 } else { usize::MAX },
        })
    }

    /// What a row holds besides its context.
    pub(super) fn room(&self) -> u32 {
        self.row_tokens as u32 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let fails = |settings: Value, expected: &str| {
            let error = check(&serde_json::from_value(settings).unwrap()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        fails(json!({"model": "masked", "bos": true}), "rows of model = \"masked\" begin with [CLS]");
        fails(json!({"shard_tokens": 1}), "`shard_tokens` is 1: it must be from 1024 to 1073741824");
        fails(json!({"document_bytes_max": 0}), "`document_bytes_max` is 0");
    }

    #[test]
    fn a_vocabulary_must_fit_the_type_of_ids() {
        assert_eq!(Dtype::width(None, 65_536).unwrap(), Width::U16);
        assert_eq!(Dtype::width(None, 65_537).unwrap(), Width::U32);
        assert_eq!(Dtype::width(Some(Dtype::U32), 300).unwrap(), Width::U32);
        let error = Dtype::width(Some(Dtype::U16), 65_537).unwrap_err().to_string();
        assert_eq!(error, "has 65537 ids, and dtype = \"u16\" holds 65536; take dtype = \"u32\" or leave it out");
    }
}
