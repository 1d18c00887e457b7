//! From documents to tokens: `learn-tokenizer` makes a tokenizer, `tokenize` makes shards for training.
//!
//! How text is cut and tokens are stored is the work of the crates `text` and `shards`; here stand the settings, the order and the balance.

mod documents;
mod export;
mod fetch;
mod import_tokens;
mod learn_tokenizer;
mod tokenize;

use engine::{StageEntry, entry};

/// The stages of this crate.
pub fn stages() -> Vec<StageEntry> {
    vec![
        entry::<learn_tokenizer::LearnTokenizer>(),
        entry::<tokenize::Tokenize>(),
        entry::<fetch::Fetch>(),
        entry::<import_tokens::ImportTokens>(),
        entry::<export::Export>(),
    ]
}

#[cfg(test)]
mod tests;
