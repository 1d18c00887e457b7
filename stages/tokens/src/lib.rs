//! From documents to tokens: `learn-tokenizer` and `import-tokenizer` make a tokenizer, `tokenize` makes shards for training.
//!
//! How text is cut and tokens are stored is the work of the crates `text` and `shards`; here stand the settings, the order and the balance.

mod compare_tokenizers;
mod documents;
mod export;
mod fetch;
mod import_tokenizer;
mod import_tokens;
mod learn_tokenizer;
mod tokenize;
mod vocabulary;

use engine::{StageEntry, entry};

/// The stages of this crate.
pub fn stages() -> Vec<StageEntry> {
    vec![
        entry::<learn_tokenizer::LearnTokenizer>(),
        entry::<import_tokenizer::ImportTokenizer>(),
        entry::<compare_tokenizers::CompareTokenizers>(),
        entry::<tokenize::Tokenize>(),
        entry::<fetch::Fetch>(),
        entry::<import_tokens::ImportTokens>(),
        entry::<export::Export>(),
    ]
}

#[cfg(test)]
mod tests;
