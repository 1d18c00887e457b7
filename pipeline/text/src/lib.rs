//! Text as Corpusmill counts and encodes it: words, sentences, scripts, normal forms, and tokenizers (learned, loaded, applied, saved).
//!
//! This is the only crate that knows the crate `tokenizers`. It knows nothing of files of documents, Arrow or stages: texts come in, words,
//! texts and token ids go out.

mod affixes;
mod arpa;
mod bpe;
mod classifier;
mod contractions;
pub mod html;
mod language;
mod learn;
mod lines;
mod normal;
mod pieces;
mod repetition;
mod script_ranges;
mod scripts;
mod tokenizer;
mod wikitext;
mod words;

pub use affixes::{affix_sentence_count, for_each_affix_word};
pub use arpa::Arpa;
pub use classifier::Classifier;
pub use language::{language, language_codes};
pub use learn::{END_OF_TEXT, Kind, WordCounts};
pub use lines::{ends_in_terminal_mark, is_terminal_mark, split_at_runs, unicode_lines};
pub use normal::{dedup_normal, nfc};
pub use repetition::{Ngrams, NgramsBuilder, Segments, characters, longest_loop};
pub use scripts::{Script, main_script, script, script_share};
pub use tokenizer::{Encoded, SpecialIds, Tokenizer};
pub use wikitext::plain as wikitext;
pub use words::{Words, sentences, words};
