//! Text as Corpusmill counts and encodes it: words, sentences, scripts, normal forms, and tokenizers (learned, loaded, applied, saved).
//!
//! This is the only crate that knows the crate `tokenizers`. It knows nothing of files of documents, Arrow or stages: texts come in, words,
//! texts and token ids go out.

mod bpe;
pub mod html;
mod learn;
mod normal;
mod pieces;
mod script_ranges;
mod scripts;
mod tokenizer;
mod wikitext;
mod words;

pub use learn::{END_OF_TEXT, Kind, WordCounts};
pub use normal::{dedup_normal, nfc};
pub use scripts::{Script, main_script, script, script_share};
pub use tokenizer::{Encoded, SpecialIds, Tokenizer};
pub use wikitext::plain as wikitext;
pub use words::{Words, sentences, words};
