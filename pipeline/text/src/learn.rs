//! Learning a tokenizer from a stream of texts: count words, then merge.
//!
//! Only counts of different words are held, never the texts. The result depends on the counts alone: not on the order of texts or on threads.

use std::convert::Infallible;
use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use hashbrown::HashMap;
use rayon::prelude::*;
use serde_json::{Value, json};
use tokenizers::{OffsetReferential, OffsetType, PreTokenizer};

use crate::bpe::{Learned, Word, learn_merges};
use crate::pieces::{Cut, byte_characters};
use crate::tokenizer::Tokenizer;

/// How a tokenizer cuts text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// GPT-2: any bytes, words by its regular expression, `<|endoftext|>` as the only special token.
    ByteLevelBpe,
    /// BERT: words by white space and punctuation, each Han character a word, `[PAD] [UNK] [CLS] [SEP] [MASK]`.
    WordPiece {
        /// Lower-cases and strips accents, as `bert-base-uncased` does.
        lowercase: bool,
    },
}

/// The special token of byte-level BPE: beginning, end, unknown and padding in one.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// Words longer than this many characters are unknown to WordPiece, as in BERT.
const WORDPIECE_MAX_CHARACTERS: usize = 100;

/// Counts of the pieces of the texts seen so far.
pub struct WordCounts {
    kind: Kind,
    counts: HashMap<String, u64>,
}

impl WordCounts {
    /// Nothing counted yet.
    pub fn new(kind: Kind) -> WordCounts {
        WordCounts { kind, counts: HashMap::new() }
    }

    /// Counts the pieces of a batch of texts, in parallel on rayon's current pool.
    pub fn add(&mut self, texts: &[&str]) {
        let cut = match self.kind {
            Kind::ByteLevelBpe => Cut::Gpt2,
            Kind::WordPiece { .. } => Cut::Bert,
        };
        let count = |mut counts: HashMap<String, u64>, text: &&str| {
            let Ok(()) = cut.try_for_each(text, |piece| -> Result<(), Infallible> {
                *counts.entry_ref(piece).or_insert(0) += 1;
                Ok(())
            });
            counts
        };
        // Few large pieces of work, because each has a map of its own.
        let share = texts.len().div_ceil(rayon::current_num_threads()).max(1);
        let maps: Vec<HashMap<String, u64>> = texts.par_chunks(share).map(|texts| texts.iter().fold(HashMap::new(), count)).collect();
        for (piece, count) in maps.into_iter().flatten() {
            *self.counts.entry(piece).or_default() += count;
        }
    }

    /// How many different pieces were seen.
    pub fn different_pieces(&self) -> usize {
        self.counts.len()
    }

    /// Learns a tokenizer with at most `vocabulary_size` tokens, special ones included; merges need `min_frequency` occurrences.
    ///
    /// Byte-level BPE begins with all 256 bytes. WordPiece begins with the most frequent characters (with and without `##` apart), those that occur
    /// `min_frequency` times and at most half the vocabulary; a word with another character becomes `[UNK]`.
    pub fn learn(self, vocabulary_size: usize, min_frequency: u64) -> Result<Tokenizer> {
        let special = special_tokens(self.kind).len();
        let least = match self.kind {
            Kind::ByteLevelBpe => 256 + special,
            Kind::WordPiece { .. } => 2 * special,
        };
        if vocabulary_size < least {
            bail!("a vocabulary of {vocabulary_size} tokens is too small: at least {least} are needed");
        }
        let symbols = vocabulary_size - special;
        let learned = match self.kind {
            Kind::ByteLevelBpe => learn_bytes(self.counts, symbols, min_frequency),
            Kind::WordPiece { .. } => learn_pieces(words_of(self.kind, self.counts)?, symbols, min_frequency),
        };
        build(self.kind, &learned)
    }
}

fn learn_bytes(counts: HashMap<String, u64>, size: usize, min_frequency: u64) -> Learned {
    // Sorted by character, as the trainer of `tokenizers` orders them.
    let mut alphabet: Vec<(char, u8)> = byte_characters().iter().copied().zip(0..=u8::MAX).collect();
    alphabet.sort_unstable();
    let mut ids = [0; 256];
    for (id, (_, byte)) in alphabet.iter().enumerate() {
        ids[*byte as usize] = id as u32;
    }
    let words =
        counts.into_iter().map(|(word, count)| Word { symbols: word.bytes().map(|byte| ids[byte as usize]).collect(), count }).collect();
    learn_merges(words, alphabet.into_iter().map(|(c, _)| c.to_string()).collect(), "", size, min_frequency)
}

/// BERT's words in the pieces, normalized.
fn words_of(kind: Kind, pieces: HashMap<String, u64>) -> Result<HashMap<String, u64>> {
    let cutter = build(kind, &Learned { symbols: Vec::new(), merges: Vec::new() })?;
    let mut words: HashMap<String, u64> = HashMap::new();
    for (piece, count) in pieces {
        cutter.words(&piece, |word| *words.entry_ref(word).or_insert(0) += count)?;
    }
    Ok(words)
}

fn learn_pieces(counts: HashMap<String, u64>, size: usize, min_frequency: u64) -> Learned {
    let counts: Vec<(String, u64)> = counts.into_iter().filter(|(word, _)| word.chars().count() <= WORDPIECE_MAX_CHARACTERS).collect();
    let pieces = |word: &str| -> Vec<(bool, char)> { word.chars().enumerate().map(|(index, c)| (index > 0, c)).collect() };
    let mut frequency: HashMap<(bool, char), u64> = HashMap::new();
    for (word, count) in &counts {
        for piece in pieces(word) {
            *frequency.entry(piece).or_default() += count;
        }
    }
    let mut alphabet: Vec<((bool, char), u64)> = frequency.into_iter().filter(|(_, count)| *count >= min_frequency).collect();
    alphabet.sort_unstable_by_key(|(piece, count)| (std::cmp::Reverse(*count), *piece));
    alphabet.truncate(size / 2);
    alphabet.sort_unstable_by_key(|(piece, _)| *piece);
    let ids: HashMap<(bool, char), u32> = alphabet.iter().map(|(piece, _)| *piece).zip(0..).collect();
    let symbols = alphabet.iter().map(|((inner, c), _)| if *inner { format!("##{c}") } else { c.to_string() }).collect();
    let words = counts
        .iter()
        // A word with a character outside of the alphabet is unknown as a whole, so it has nothing to teach.
        .filter_map(|(word, count)| {
            let symbols = pieces(word).into_iter().map(|piece| ids.get(&piece).copied()).collect::<Option<Vec<u32>>>()?;
            Some(Word { symbols, count: *count })
        })
        .collect();
    learn_merges(words, symbols, "##", size, min_frequency)
}

/// Special tokens in order of their ids, which come first.
fn special_tokens(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::ByteLevelBpe => &[END_OF_TEXT],
        Kind::WordPiece { .. } => &["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    }
}

/// The tokenizer with the learned vocabulary, in the form of tokenizer.json.
fn build(kind: Kind, learned: &Learned) -> Result<Tokenizer> {
    let special = special_tokens(kind);
    let added: Vec<Value> = special
        .iter()
        .enumerate()
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let tokens = special.iter().map(|token| token.to_string()).chain(learned.symbols.iter().cloned());
    let vocabulary: serde_json::Map<String, Value> = tokens.zip(0u32..).map(|(token, id)| (token, id.into())).collect();
    let mut file = match kind {
        Kind::ByteLevelBpe => byte_level(learned, vocabulary),
        Kind::WordPiece { lowercase } => wordpiece(lowercase, vocabulary),
    };
    file["version"] = "1.0".into();
    file["added_tokens"] = added.into();
    file["truncation"] = Value::Null;
    file["padding"] = Value::Null;
    let inner = tokenizers::Tokenizer::from_str(&file.to_string()).map_err(|error| anyhow!("building the tokenizer: {error}"))?;
    Tokenizer::new(inner, None)
}

fn byte_level(learned: &Learned, vocabulary: serde_json::Map<String, Value>) -> Value {
    let text = |id: u32| learned.symbols[id as usize].as_str();
    let merges: Vec<Value> = learned.merges.iter().map(|(left, right)| json!([text(*left), text(*right)])).collect();
    json!({
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocabulary, "merges": merges},
    })
}

fn wordpiece(lowercase: bool, vocabulary: serde_json::Map<String, Value>) -> Value {
    let special = |token: &str, kind: u32| json!({"SpecialToken": {"id": token, "type_id": kind}});
    let sequence = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    let known = |token: &str, id: u32| json!({"id": token, "ids": [id], "tokens": [token]});
    json!({
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": lowercase},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)],
            "pair": [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0), sequence("B", 1), special("[SEP]", 1)],
            "special_tokens": {"[CLS]": known("[CLS]", 2), "[SEP]": known("[SEP]", 3)},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": false},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": WORDPIECE_MAX_CHARACTERS, "vocab": vocabulary},
    })
}

impl Tokenizer {
    /// The words of a text before the model sees them, normalized.
    fn words(&self, text: &str, mut sink: impl FnMut(&str)) -> Result<()> {
        let failed = |error| anyhow!("cutting a text into words: {error}");
        let mut cut = tokenizers::PreTokenizedString::from(tokenizers::NormalizedString::from(text));
        if let Some(normalizer) = self.inner().get_normalizer() {
            cut.normalize(|part| tokenizers::Normalizer::normalize(normalizer, part)).map_err(failed)?;
        }
        if let Some(pre_tokenizer) = self.inner().get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut cut).map_err(failed)?;
        }
        for (word, _, _) in cut.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            sink(word);
        }
        Ok(())
    }
}
