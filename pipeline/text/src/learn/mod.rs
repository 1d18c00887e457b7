//! Learning a tokenizer from a stream of texts: count pieces of text, then find merges or probabilities.
//!
//! Only counts of different pieces are held, never the texts. The result depends on the counts alone: not on the order of texts or on threads.

mod bpe;
mod cut;
mod file;
mod recipe;
mod seeds;
mod trie;
mod unigram;

use std::cmp::Reverse;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow};
use hashbrown::{HashMap, HashSet};
use rayon::prelude::*;
use tokenizers::{Normalizer, OffsetReferential, OffsetType, PreTokenizer};

use self::bpe::{Word, learn_merges};
use self::cut::{for_each_metaspace_word, for_each_piece};
use self::file::{Vocabulary, build};
pub use self::recipe::{Kind, Recipe};
use self::unigram::WeightedWord;
use crate::pieces::byte_characters;
use crate::style::Style;
use crate::tokenizer::Tokenizer;

/// Words longer than this many characters are unknown to WordPiece, as in BERT.
const WORDPIECE_MAX_CHARACTERS: usize = 100;

/// Counts of the pieces of the texts seen so far.
pub struct WordCounts {
    recipe: Recipe,
    /// Each share of a batch counts into a map of its own.
    shares: Vec<Mutex<HashMap<String, u64>>>,
}

impl WordCounts {
    /// Nothing counted yet.
    pub fn new(recipe: impl Into<Recipe>) -> WordCounts {
        WordCounts { recipe: recipe.into(), shares: (0..rayon::current_num_threads()).map(|_| Mutex::default()).collect() }
    }

    /// Counts the pieces of a batch of texts, in parallel on rayon's current pool.
    pub fn add(&mut self, texts: &[&str]) {
        let share = texts.len().div_ceil(self.shares.len()).max(1);
        texts.par_chunks(share).zip(&self.shares).for_each(|(texts, counts)| {
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            for text in texts {
                for_each_piece(&self.recipe, text, |piece| *counts.entry_ref(piece).or_insert(0) += 1);
            }
        });
    }

    /// Learns a tokenizer with at most `vocabulary_size` tokens, special ones included; what occurs less than `min_frequency` times has no say.
    ///
    /// Byte-level BPE begins with all 256 bytes. The others begin with the most frequent characters (for WordPiece with and without `##` apart),
    /// those that occur `min_frequency` times and at most half the vocabulary.
    pub fn learn(self, vocabulary_size: usize, min_frequency: u64) -> Result<Tokenizer> {
        let recipe = self.recipe;
        recipe.check_size(vocabulary_size)?;
        let counts = sum(self.shares.into_iter().map(|share| share.into_inner().unwrap_or_else(PoisonError::into_inner)));
        let size = vocabulary_size - recipe.fixed_tokens().len();
        let vocabulary = match recipe.kind() {
            Kind::ByteLevelBpe => learn_bytes(&recipe, counts, size, min_frequency),
            Kind::ByteFallbackBpe => learn_characters(&recipe, metaspace_words(&recipe, counts)?, size, min_frequency),
            Kind::WordPiece => learn_pieces(&recipe, wordpiece_words(&recipe, counts)?, size, min_frequency),
            Kind::Unigram => learn_unigram(&recipe, metaspace_words(&recipe, counts)?, size, min_frequency),
            Kind::Characters => {
                let characters = counts.iter().flat_map(|(piece, count)| piece.chars().map(|c| (c, *count)));
                let symbols = alphabet(characters, min_frequency, size).iter().map(char::to_string).collect();
                Vocabulary { symbols, ..Vocabulary::default() }
            }
        };
        Tokenizer::new(build(&recipe, &vocabulary)?, None)
    }

    /// How many different pieces were seen.
    pub fn different_pieces(&self) -> usize {
        let shares: Vec<_> = self.shares.iter().map(|share| share.lock().unwrap_or_else(PoisonError::into_inner)).collect();
        let pieces: HashSet<&String> = shares.iter().flat_map(|share| share.keys()).collect();
        pieces.len()
    }
}

fn sum(maps: impl IntoIterator<Item = HashMap<String, u64>>) -> HashMap<String, u64> {
    let mut maps = maps.into_iter();
    let mut counts = maps.next().unwrap_or_default();
    for (piece, count) in maps.flatten() {
        *counts.entry(piece).or_default() += count;
    }
    counts
}

/// Tokens that merges must not lead to, because they mean something else.
fn reserved(recipe: &Recipe) -> HashSet<String> {
    recipe.fixed_tokens().into_iter().collect()
}

fn learn_bytes(recipe: &Recipe, counts: HashMap<String, u64>, size: usize, min_frequency: u64) -> Vocabulary {
    // Sorted by character, as the trainer of `tokenizers` orders them.
    let mut alphabet: Vec<(char, u8)> = byte_characters().iter().copied().zip(0..=u8::MAX).collect();
    alphabet.sort_unstable();
    let mut ids = [0; 256];
    for (id, (_, byte)) in alphabet.iter().enumerate() {
        ids[*byte as usize] = id as u32;
    }
    let words =
        counts.into_iter().map(|(word, count)| Word { symbols: word.bytes().map(|byte| ids[byte as usize]).collect(), count }).collect();
    learn_merges(words, alphabet.into_iter().map(|(c, _)| c.to_string()).collect(), "", size, min_frequency, &reserved(recipe))
}

fn learn_characters(recipe: &Recipe, counts: HashMap<String, u64>, size: usize, min_frequency: u64) -> Vocabulary {
    let characters = counts.iter().flat_map(|(word, count)| word.chars().map(|c| (c, *count)));
    let alphabet = alphabet(characters, min_frequency, size / 2);
    let words = known_stretches(&counts, &alphabet).into_iter().map(|word| Word { symbols: word.symbols, count: word.count }).collect();
    learn_merges(words, alphabet.iter().map(char::to_string).collect(), "", size, min_frequency, &reserved(recipe))
}

fn learn_pieces(recipe: &Recipe, counts: HashMap<String, u64>, size: usize, min_frequency: u64) -> Vocabulary {
    let counts: Vec<(String, u64)> = counts.into_iter().filter(|(word, _)| word.chars().count() <= WORDPIECE_MAX_CHARACTERS).collect();
    let pieces = |word: &str| -> Vec<(bool, char)> { word.chars().enumerate().map(|(index, c)| (index > 0, c)).collect() };
    let limit = if recipe.style() == Style::BertChinese { size / 4 * 3 } else { size / 2 };
    let alphabet =
        alphabet(counts.iter().flat_map(|(word, count)| pieces(word).into_iter().map(|piece| (piece, *count))), min_frequency, limit);
    let ids: HashMap<(bool, char), u32> = alphabet.iter().copied().zip(0..).collect();
    let symbols = alphabet.iter().map(|(inner, c)| if *inner { format!("##{c}") } else { c.to_string() }).collect();
    let words = counts
        .iter()
        // A word with a character outside of the alphabet is unknown as a whole, so it has nothing to teach.
        .filter_map(|(word, count)| {
            let symbols = pieces(word).into_iter().map(|piece| ids.get(&piece).copied()).collect::<Option<Vec<u32>>>()?;
            Some(Word { symbols, count: *count })
        })
        .collect();
    learn_merges(words, symbols, "##", size, min_frequency, &reserved(recipe))
}

fn learn_unigram(recipe: &Recipe, counts: HashMap<String, u64>, size: usize, min_frequency: u64) -> Vocabulary {
    let reserved = reserved(recipe);
    // The crate looks for special tokens and bytes in texts as for any piece. They are less probable than their characters, so those must be known.
    let spelled = reserved.iter().flat_map(|token| token.chars()).map(|c| (c, u64::MAX >> 32));
    let characters = counts.iter().flat_map(|(word, count)| word.chars().map(|c| (c, *count)));
    // Shares of the counts would be cut off before the spelled ones, which are few.
    let alphabet = alphabet(characters.chain(spelled), min_frequency, size / 2);
    let text = |symbols: &[u32]| -> String { symbols.iter().map(|symbol| alphabet[*symbol as usize]).collect() };
    let words = known_stretches(&counts, &alphabet);
    let pieces = unigram::learn(words, alphabet.len() as u32, size, min_frequency, |symbols| !reserved.contains(&text(symbols)));
    let (symbols, scores) = pieces.into_iter().map(|(symbols, score)| (text(&symbols), score)).unzip();
    Vocabulary { symbols, scores, merges: Vec::new() }
}

/// The `limit` most frequent symbols that occur `min_frequency` times, in their order.
fn alphabet<S: Copy + Ord + Hash>(symbols: impl Iterator<Item = (S, u64)>, min_frequency: u64, limit: usize) -> Vec<S> {
    let mut frequency: HashMap<S, u64> = HashMap::new();
    for (symbol, count) in symbols {
        *frequency.entry(symbol).or_default() += count;
    }
    let mut alphabet: Vec<(S, u64)> = frequency.into_iter().filter(|(_, count)| *count >= min_frequency).collect();
    alphabet.sort_unstable_by_key(|(symbol, count)| (Reverse(*count), *symbol));
    alphabet.truncate(limit);
    let mut alphabet: Vec<S> = alphabet.into_iter().map(|(symbol, _)| symbol).collect();
    alphabet.sort_unstable();
    alphabet
}

/// The words in places of their characters in the alphabet, cut at characters that are not in it.
fn known_stretches(counts: &HashMap<String, u64>, alphabet: &[char]) -> Vec<WeightedWord> {
    let ids: HashMap<char, u32> = alphabet.iter().copied().zip(0..).collect();
    let mut words = Vec::with_capacity(counts.len());
    for (word, count) in counts {
        let symbols: Vec<Option<u32>> = word.chars().map(|c| ids.get(&c).copied()).collect();
        let stretches = symbols.split(Option::is_none).filter(|stretch| !stretch.is_empty());
        words.extend(stretches.map(|stretch| WeightedWord { symbols: stretch.iter().flatten().copied().collect(), count: *count }));
    }
    words
}

/// BERT's words in the pieces, normalized.
fn wordpiece_words(recipe: &Recipe, pieces: HashMap<String, u64>) -> Result<HashMap<String, u64>> {
    let cutter = build(recipe, &Vocabulary::default())?;
    let failed = |error| anyhow!("cutting a text into words: {error}");
    words_of(pieces, |piece, sink| {
        let mut cut = tokenizers::PreTokenizedString::from(piece);
        if let Some(normalizer) = cutter.get_normalizer() {
            cut.normalize(|part| normalizer.normalize(part)).map_err(failed)?;
        }
        if let Some(pre_tokenizer) = cutter.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut cut).map_err(failed)?;
        }
        cut.get_splits(OffsetReferential::Normalized, OffsetType::Byte).into_iter().for_each(|(word, _, _)| sink(word));
        Ok(())
    })
}

/// The words of the metaspace styles in the pieces, normalized, blanks as `▁`.
fn metaspace_words(recipe: &Recipe, pieces: HashMap<String, u64>) -> Result<HashMap<String, u64>> {
    let cutter = build(recipe, &Vocabulary::default())?;
    words_of(pieces, |piece, sink| {
        let mut normal = tokenizers::NormalizedString::from(piece.trim_start_matches(' '));
        if let Some(normalizer) = cutter.get_normalizer().filter(|_| recipe.style() != Style::Llama2) {
            normalizer.normalize(&mut normal).map_err(|error| anyhow!("normalizing a text: {error}"))?;
        }
        for_each_metaspace_word(piece, normal.get(), sink);
        Ok(())
    })
}

/// The words that `cut` finds in the pieces, in parallel.
fn words_of(pieces: HashMap<String, u64>, cut: impl Fn(&str, &mut dyn FnMut(&str)) -> Result<()> + Sync) -> Result<HashMap<String, u64>> {
    let pieces: Vec<(String, u64)> = pieces.into_iter().collect();
    let words_of_share = |pieces: &[(String, u64)]| -> Result<HashMap<String, u64>> {
        let mut words: HashMap<String, u64> = HashMap::new();
        for (piece, count) in pieces {
            cut(piece, &mut |word| *words.entry_ref(word).or_insert(0) += count)?;
        }
        Ok(words)
    };
    let share = pieces.len().div_ceil(rayon::current_num_threads()).max(1);
    Ok(sum(pieces.par_chunks(share).map(words_of_share).collect::<Result<Vec<_>>>()?))
}

#[cfg(test)]
mod tests;
