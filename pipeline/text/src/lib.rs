//! Text as Corpusmill counts and encodes it: words, sentences, scripts, normal forms, rewrites, and tokenizers (learned, loaded, applied, saved).
//!
//! This is the only crate that knows the crate `tokenizers`. It knows nothing of files of documents, Arrow or stages: texts come in, words,
//! texts and token ids go out.

mod affixes;
mod arpa;
mod classifier;
mod contractions;
mod encoded;
mod fast;
mod frame;
pub mod html;
mod importance;
mod language;
mod learn;
mod lines;
mod load;
mod normal;
mod patterns;
mod pieces;
mod plain;
pub mod redpajama;
mod repetition;
pub mod rewrites;
mod script_ranges;
mod scripts;
mod style;
mod tokenizer;
mod url;
mod wikitext;
mod word_list;
mod words;

pub use affixes::{affix_sentence_count, for_each_affix_word};
pub use arpa::Arpa;
pub use classifier::Classifier;
pub use encoded::Encoded;
pub use frame::with_frame;
pub use importance::HashedGrams;
pub use language::{language, language_codes};
pub use learn::{Kind, Recipe, WordCounts};
pub use lines::{ends_in_terminal_mark, is_terminal_mark, split_at_runs, unicode_lines};
pub use load::{FILES_BESIDE, ForeignOptions, Format as ForeignFormat, Pattern};
pub use normal::{dedup_normal, folded, nfc, nfkc, slimpajama_normal};
pub use plain::plain_words;
pub use repetition::{Ngrams, NgramsBuilder, Segments, characters, longest_loop};
pub use scripts::{Script, main_script, script, script_share};
pub use style::Style;
pub use tokenizer::{SpecialIds, Tokenizer};
pub use url::url_normal;
pub use wikitext::plain as wikitext;
pub use word_list::WordList;
pub use words::{Words, sentences, words};
