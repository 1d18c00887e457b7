//! Text as Corpusmill counts and encodes it: words, sentences, scripts, normal forms, and tokenizers (learned, loaded, applied, saved).
//!
//! This is the only crate that knows the crate `tokenizers`. It knows nothing of files of documents, Arrow or stages: texts come in, words,
//! texts and token ids go out.

mod words;

pub use words::{Words, sentences, words};
