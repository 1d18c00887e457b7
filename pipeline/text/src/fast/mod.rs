//! Encoding by ourselves, for tokenizers of which we can say that the ids are those of the crate `tokenizers`: byte-level BPE with a known
//! [`Pattern`], BERT's WordPiece, and unigram models in our own styles; and for those that came from SentencePiece, whose ids are that program's and not the crate's.
//!
//! A text is cut into pieces, and pieces seen before cost one look-up. Until the first documents have been encoded both ways with the same ids,
//! the crate's are given out; after a difference, the crate encodes for good. Not so for [`sentencepiece`]: the crate does something else there.

mod cache;
mod characters;
mod composed;
pub(crate) mod merges;
mod metaspace;
pub(crate) mod sentencepiece;
mod trie;
mod unigram;
mod wordpiece;

use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::SplitPattern;
use tokenizers::{AddedToken, ModelWrapper, NormalizedString, Normalizer, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use crate::encoded::Encoded;
use crate::patterns::{Pattern, for_each_bert_piece};
use cache::{Batch, Cache, Out};
use merges::{Merges, Scratch};
use metaspace::Metaspace;
use sentencepiece::{Buffers, SentencePiece, Settings};
use wordpiece::Pieces;

/// So many documents or bytes are encoded both ways.
const CHECKED_DOCUMENTS: u64 = 64;
const CHECKED_BYTES: u64 = 1 << 20;

/// Tokenizers of which one thread remembers pieces.
const STATES_MAX: usize = 4;

/// A tokenizer that encodes by itself.
pub(crate) struct Fast {
    /// Tells its pieces from another's.
    number: u64,
    model: Model,
    /// Finds the added tokens that the crate would find in a text.
    added: Option<regex::Regex>,
    checked_documents: AtomicU64,
    checked_bytes: AtomicU64,
    difference: OnceLock<String>,
}

enum Model {
    Bytes { pattern: Pattern, nfc: bool, merges: Merges },
    Words { han: bool, pieces: Pieces },
    Unigram(Box<Metaspace>),
    SentencePiece(Box<SentencePiece>),
}

/// What one thread remembers of one tokenizer.
struct State {
    number: u64,
    cache: Cache,
    batch: Batch,
    scratch: Scratch,
    normal: Vec<u8>,
    metaspace: metaspace::Buffers,
    sentencepiece: Buffers,
}

thread_local! {
    static STATES: RefCell<Vec<State>> = const { RefCell::new(Vec::new()) };
}

impl Fast {
    /// An error says why the crate must encode. `merges` are those of the model, if they have been made already.
    pub(crate) fn of(inner: &tokenizers::Tokenizer, merges: Option<Merges>) -> Result<Fast> {
        let pre_tokenizer = || inner.get_pre_tokenizer().context("no pre-tokenizer");
        let model = match (inner.get_model(), inner.get_normalizer()) {
            (ModelWrapper::BPE(model), normalizer) => {
                let nfc = match normalizer {
                    None => false,
                    Some(NormalizerWrapper::NFC(_)) => true,
                    Some(_) => bail!("another normalizer than NFC"),
                };
                let pattern = pattern_of(pre_tokenizer()?).context("another pre-tokenizer")?;
                Model::Bytes { pattern, nfc, merges: merges.map_or_else(|| Merges::of(model), Ok)? }
            }
            (ModelWrapper::WordPiece(model), Some(NormalizerWrapper::BertNormalizer(normalizer))) => {
                ensure!(matches!(pre_tokenizer()?, PreTokenizerWrapper::BertPreTokenizer(_)), "another pre-tokenizer than BERT's");
                Model::Words { han: normalizer.handle_chinese_chars, pieces: Pieces::of(model, normalizer.lowercase)? }
            }
            (ModelWrapper::Unigram(model), normalizer) => {
                Model::Unigram(Box::new(Metaspace::of(model, normalizer, inner.get_pre_tokenizer())?))
            }
            _ => bail!("no model of a known kind"),
        };
        let tokens = found_tokens(inner);
        let added = match &model {
            _ if tokens.is_empty() => None,
            Model::Words { .. } | Model::Unigram(_) => bail!("tokens are added to the vocabulary of a model of words"),
            _ => {
                ensure!(tokens.iter().all(|token| token.content.is_ascii()), "an added token is not ASCII");
                Some(any_of(&tokens)?)
            }
        };
        Ok(Fast::new(model, added))
    }

    /// For a tokenizer that came from SentencePiece.
    pub(crate) fn of_sentencepiece(inner: &tokenizers::Tokenizer, settings: &Settings) -> Result<Fast> {
        let tokens = found_tokens(inner);
        let added = (!tokens.is_empty()).then(|| any_of(&tokens)).transpose()?;
        Ok(Fast::new(Model::SentencePiece(Box::new(SentencePiece::of(inner, settings)?)), added))
    }

    fn new(model: Model, added: Option<regex::Regex>) -> Fast {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Fast {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            model,
            added,
            checked_documents: AtomicU64::new(0),
            checked_bytes: AtomicU64::new(0),
            difference: OnceLock::new(),
        }
    }

    /// Ids of the model are below this, where it is known without looking through the vocabulary.
    pub(crate) fn model_size(&self) -> Option<usize> {
        match &self.model {
            Model::Bytes { merges, .. } => Some(merges.size),
            _ => None,
        }
    }

    /// Where the ids were not the crate's.
    pub(crate) fn fell_back(&self) -> Option<&String> {
        self.difference.get()
    }

    /// Appends the tokens of a text.
    pub(crate) fn encode(&self, inner: &tokenizers::Tokenizer, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        if matches!(self.model, Model::SentencePiece(_)) {
            return self.encode_unchecked(inner, text, ids);
        }
        let checked = || {
            self.checked_documents.load(Ordering::Relaxed) >= CHECKED_DOCUMENTS
                || self.checked_bytes.load(Ordering::Relaxed) >= CHECKED_BYTES
        };
        if !checked() && self.difference.get().is_none() {
            let start = text.floor_char_boundary(CHECKED_BYTES as usize);
            let first = ids.len();
            self.check(inner, &text[..start], ids)?;
            if start == text.len() {
                return Ok(());
            }
            ids.truncate(first);
        }
        if self.difference.get().is_some() || u32::try_from(text.len()).is_err() {
            return encode_by_crate(inner, text, ids);
        }
        self.encode_unchecked(inner, text, ids)
    }

    /// Appends the crate's tokens and notes whether ours are the same.
    fn check(&self, inner: &tokenizers::Tokenizer, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let (first, mut own) = (ids.len(), Vec::new());
        encode_by_crate(inner, text, ids)?;
        self.encode_unchecked(inner, text, &mut own)?;
        let expected = &ids[first..];
        if own != expected {
            let at = own.iter().zip(expected).take_while(|(own, expected)| own == expected).count();
            let id = |ids: &[u32]| ids.get(at).map_or("nothing".to_string(), u32::to_string);
            let begin: String = text.chars().take(80).collect();
            let difference = format!("token {at} is {} instead of {} in the document that begins with {begin:?}", id(&own), id(expected));
            // Another thread may have found another difference; one is enough.
            let _ = self.difference.set(difference);
        } else if !expected.is_empty() {
            self.checked_bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
            self.checked_documents.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn encode_unchecked(&self, inner: &tokenizers::Tokenizer, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let found = |text: &str| self.added.as_ref().is_some_and(|added| added.is_match(text));
        match &self.model {
            _ if found(text) => encode_by_crate(inner, text, ids),
            Model::Bytes { nfc: true, pattern, merges } if !composed::is_composed(text) => {
                let mut normal = NormalizedString::from(text);
                let normalizer = inner.get_normalizer().context("the normalizer is gone")?;
                normalizer.normalize(&mut normal).map_err(|error| anyhow!("normalizing a text: {error}"))?;
                if found(normal.get()) {
                    return encode_by_crate(inner, text, ids);
                }
                self.with_state(|state| encode_bytes(*pattern, merges, state, normal.get(), ids))
            }
            Model::Bytes { pattern, merges, .. } => self.with_state(|state| encode_bytes(*pattern, merges, state, text, ids)),
            Model::Words { han, pieces } => self.with_state(|state| encode_words(inner, *han, pieces, state, text, ids)),
            Model::Unigram(model) => match self.with_state(|state| model.encode(state, text, ids))? {
                true => Ok(()),
                false => encode_by_crate(inner, text, ids),
            },
            Model::SentencePiece(model) => self.with_state(|state| model.encode(state, text, ids)),
        }
    }

    /// The tokens of a text with the bytes they stand for; `None` where the crate tells them.
    pub(crate) fn encode_with_offsets(&self, text: &str) -> Option<Result<Encoded>> {
        let Model::SentencePiece(model) = &self.model else { return None };
        let found = self.added.as_ref().is_some_and(|added| added.is_match(text));
        (!found).then(|| self.with_state(|state| model.encode_with_offsets(state, text)))
    }

    fn with_state<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        STATES.with_borrow_mut(|states| {
            let state = match states.iter().position(|state| state.number == self.number) {
                Some(index) => &mut states[index],
                None => {
                    if states.len() == STATES_MAX {
                        states.remove(0);
                    }
                    let (cache, batch, scratch) = (Cache::new(), Batch::new(), Scratch::default());
                    states.push_mut(State {
                        number: self.number,
                        cache,
                        batch,
                        scratch,
                        normal: Vec::new(),
                        metaspace: Default::default(),
                        sentencepiece: Buffers::default(),
                    })
                }
            };
            work(state)
        })
    }
}

fn encode_bytes(pattern: Pattern, merges: &Merges, state: &mut State, text: &str, ids: &mut Vec<u32>) -> Result<()> {
    let State { cache, batch, scratch, .. } = state;
    let bytes = text.as_bytes();
    let mut out = Out::new(ids);
    let mut encode = |start: usize, end: usize, ids: &mut Vec<u32>| {
        merges.encode(&bytes[start..end], scratch, ids);
        Ok(())
    };
    let mut result = Ok(());
    pattern.for_each_range(text, |start, end| {
        if batch.push(cache, bytes, start, end) {
            result = batch.write(cache, bytes, &mut out, &mut encode);
        }
    });
    result?;
    batch.write(cache, bytes, &mut out, encode)?;
    out.flush();
    Ok(())
}

fn encode_words(
    inner: &tokenizers::Tokenizer,
    han: bool,
    pieces: &Pieces,
    state: &mut State,
    text: &str,
    ids: &mut Vec<u32>,
) -> Result<()> {
    let State { cache, batch, normal, .. } = state;
    let bytes = text.as_bytes();
    let mut out = Out::new(ids);
    let mut encode = |start: usize, end: usize, ids: &mut Vec<u32>| {
        let piece = &text[start..end];
        if piece.bytes().all(|byte| byte.is_ascii_graphic()) {
            pieces.encode(piece, normal, ids);
            return Ok(());
        }
        // What must be normalized first is left to the crate; most of it is remembered.
        encode_by_crate(inner, piece, ids)
    };
    let mut result = Ok(());
    for_each_bert_piece(text, han, |start, end| {
        if result.is_ok() && batch.push(cache, bytes, start, end) {
            result = batch.write(cache, bytes, &mut out, &mut encode);
        }
    });
    result?;
    batch.write(cache, bytes, &mut out, encode)?;
    out.flush();
    Ok(())
}

/// Appends the tokens that the crate finds.
pub(crate) fn encode_by_crate(inner: &tokenizers::Tokenizer, text: &str, ids: &mut Vec<u32>) -> Result<()> {
    let encoding = inner.encode_fast(text, false).map_err(|error| anyhow!("encoding a text: {error}"))?;
    ids.extend_from_slice(encoding.get_ids());
    Ok(())
}

/// The pattern of a pre-tokenizer that cuts by it and writes bytes as characters, and does nothing else.
fn pattern_of(pre_tokenizer: &PreTokenizerWrapper) -> Option<Pattern> {
    let bytes = |level: &ByteLevel, use_regex: bool| level.use_regex == use_regex && !level.add_prefix_space;
    match pre_tokenizer {
        PreTokenizerWrapper::ByteLevel(level) if bytes(level, true) => Some(Pattern::Gpt2),
        PreTokenizerWrapper::Sequence(steps) => match steps.as_ref() {
            [PreTokenizerWrapper::Split(split), PreTokenizerWrapper::ByteLevel(level)] if bytes(level, false) => {
                // Every character is in a match, so it does not matter what becomes of what lies between.
                let isolated = matches!(split.behavior, SplitDelimiterBehavior::Isolated) && !split.invert;
                let removed = matches!(split.behavior, SplitDelimiterBehavior::Removed) && split.invert;
                match &split.pattern {
                    SplitPattern::Regex(regex) if isolated || removed => Pattern::of_regex(regex),
                    _ => None,
                }
            }
            _ => None,
        },
        _ => None,
    }
}

/// The added tokens that the crate finds in texts.
fn found_tokens(inner: &tokenizers::Tokenizer) -> Vec<AddedToken> {
    inner.get_added_tokens_decoder().into_values().filter(|token| !token.special).collect()
}

/// Finds any of the tokens, wherever they stand: what the crate requires besides makes it find fewer.
fn any_of(tokens: &[AddedToken]) -> Result<regex::Regex> {
    ensure!(tokens.iter().all(|token| !token.content.is_empty()), "an added token is empty");
    let any: Vec<String> = tokens.iter().map(|token| regex::escape(&token.content)).collect();
    Ok(regex::Regex::new(&any.join("|"))?)
}

#[cfg(test)]
mod tests;
