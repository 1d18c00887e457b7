//! Encoding as SentencePiece does, for tokenizers that came from its model files: what the crate `tokenizers` makes of these goes by graphemes where
//! the original takes the longest match, and adds up scores in double precision.
//!
//! What such a tokenizer.json does not tell stands in tokenizer_config.json beside it ([`Settings`]). So only tokenizers of [`crate::load`]
//! are encoded this way, and never one that somebody else turned into a tokenizer.json.

mod bpe;
mod charsmap;
mod normalizer;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};
use tokenizers::{ModelWrapper, NormalizerWrapper};

use super::State;
use super::cache::Out;
use super::merges::Scratch;
use super::trie::Trie;
use super::unigram::{Best, Unigram};
use crate::encoded::Encoded;
use bpe::Bpe;
pub(crate) use charsmap::Charsmap;
use normalizer::Normalizer;

/// What stands for a space.
pub(super) const SPACE: &str = "▁";

/// The key in tokenizer_config.json.
pub(crate) const KEY: &str = "sentencepiece";

/// What of a model file is not told by its tokenizer.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) add_dummy_prefix: bool,
    pub(crate) remove_extra_whitespaces: bool,
    pub(crate) escape_whitespaces: bool,
    /// Ids of the pieces that no text holds; those that stand for bytes are known by their names.
    pub(crate) control: Vec<u32>,
    pub(crate) user_defined: Vec<u32>,
    /// Groups of pieces with one score in a model of type bpe: the leftmost of them in a text is merged first, which a list of merges cannot say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ties: Vec<Vec<u32>>,
}

/// A tokenizer that encodes as SentencePiece does.
pub(super) struct SentencePiece {
    normalizer: Normalizer,
    model: Model,
    unknown: Unknown,
    /// User-defined pieces of a model of type bpe by their texts.
    whole: HashMap<Box<str>, u32>,
    /// Bytes of each piece's text.
    lengths: Vec<u32>,
    /// Whether no piece goes on behind a character with a space, so that words can be encoded one by one.
    by_words: bool,
}

enum Model {
    Unigram(Unigram<f32>),
    Bpe(Bpe),
}

/// What becomes of characters that no piece holds: their bytes, or one token for all that stand side by side.
struct Unknown {
    id: u32,
    bytes: Option<Box<[u32; 256]>>,
}

/// What a thread reuses from text to text.
#[derive(Default)]
pub(super) struct Buffers {
    normal: String,
    path: Vec<Best<f32>>,
}

impl Unknown {
    /// Appends what a character becomes; `first` is the first token of its text.
    #[inline(always)]
    fn push(&self, character: &[u8], first: usize, ids: &mut Vec<u32>) {
        match &self.bytes {
            Some(bytes) => ids.extend(character.iter().map(|byte| bytes[*byte as usize])),
            None if ids[first..].last() == Some(&self.id) => {}
            None => ids.push(self.id),
        }
    }
}

/// A piece of the vocabulary.
struct Piece {
    text: String,
    score: f32,
}

impl SentencePiece {
    pub(super) fn of(inner: &tokenizers::Tokenizer, settings: &Settings) -> Result<SentencePiece> {
        let (pieces, unknown, fallback) = pieces_of(inner)?;
        let names: HashSet<String> = if fallback { (0..=u8::MAX).map(byte_name).collect() } else { HashSet::new() };
        let control: HashSet<u32> = settings.control.iter().copied().collect();
        let user_defined: HashSet<u32> = settings.user_defined.iter().copied().collect();
        let matches = |id: u32| id != unknown && !control.contains(&id) && !names.contains(&pieces[id as usize].text);
        let matching = || pieces.iter().zip(0..).filter(|(_, id)| matches(*id));
        let bytes = fallback.then(|| {
            let ids: HashMap<&str, u32> = pieces.iter().zip(0..).map(|(piece, id)| (piece.text.as_str(), id)).collect();
            let ids = (0..=u8::MAX).map(|byte| ids.get(byte_name(byte).as_str()).copied().context("a byte is no piece"));
            ids.collect::<Result<Vec<u32>>>()?.try_into().map(Box::new).map_err(|_| anyhow!("there are 256 bytes"))
        });
        let model = match inner.get_model() {
            ModelWrapper::BPE(model) => Model::Bpe(Bpe::of(model, &settings.ties, matches)?),
            _ => {
                let normal = matching().filter(|(_, id)| !user_defined.contains(id));
                let least = normal.map(|(piece, _)| piece.score).fold(f32::MAX, f32::min);
                let scored = matching().map(|(piece, id)| {
                    let score = if user_defined.contains(&id) { user_defined_score(&piece.text) } else { piece.score };
                    (piece.text.as_bytes(), id, score)
                });
                Model::Unigram(Unigram::new(Trie::new(scored.collect())?, unknown, least))
            }
        };
        let listed = || pieces.iter().zip(0..).filter(|(_, id)| user_defined.contains(id));
        let found = listed().map(|(piece, id)| (piece.text.as_bytes(), id, 0.0)).collect::<Vec<_>>();
        let found = (!found.is_empty()).then(|| Trie::new(found)).transpose()?;
        let leads = |text: &str| !text.trim_start_matches(SPACE).contains(SPACE);
        Ok(SentencePiece {
            normalizer: Normalizer::new(settings, charsmap_of(inner)?, found),
            model,
            unknown: Unknown { id: unknown, bytes: bytes.transpose()? },
            whole: listed().map(|(piece, id)| (piece.text.as_str().into(), id)).collect(),
            by_words: matching().any(|(piece, _)| piece.text == SPACE) && matching().all(|(piece, _)| leads(&piece.text)),
            lengths: pieces.iter().map(|piece| piece.text.len() as u32).collect(),
        })
    }

    /// Appends the tokens of a text.
    pub(super) fn encode(&self, state: &mut State, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let mut normal = std::mem::take(&mut state.sentencepiece.normal);
        self.normalizer.normalize(text, &mut normal, |_, _| {});
        let result = self.encode_normal(state, &normal, ids);
        state.sentencepiece.normal = normal;
        result
    }

    fn encode_normal(&self, state: &mut State, normal: &str, ids: &mut Vec<u32>) -> Result<()> {
        check_length(normal)?;
        match &self.model {
            Model::Unigram(unigram) => {
                let first = ids.len();
                self.for_each_unigram_piece(unigram, normal, &mut state.sentencepiece.path, |id, start, end| {
                    if id == self.unknown.id { self.unknown.push(&normal.as_bytes()[start..end], first, ids) } else { ids.push(id) }
                });
                Ok(())
            }
            Model::Bpe(bpe) => {
                let State { cache, batch, scratch, .. } = state;
                let (bytes, mut out, mut result) = (normal.as_bytes(), Out::new(ids), Ok(()));
                let mut encode = |start: usize, end: usize, ids: &mut Vec<u32>| {
                    self.encode_stretch(bpe, &normal[start..end], scratch, ids);
                    Ok(())
                };
                self.for_each_stretch(normal, |start, end| {
                    if batch.push(cache, bytes, start, end) {
                        result = batch.write(cache, bytes, &mut out, &mut encode);
                    }
                });
                result?;
                batch.write(cache, bytes, &mut out, encode)?;
                out.flush();
                Ok(())
            }
        }
    }

    /// Appends the tokens of a user-defined piece, or of a stretch without one.
    fn encode_stretch(&self, bpe: &Bpe, text: &str, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        match self.whole.get(text) {
            Some(id) => ids.push(*id),
            None => bpe.encode(text, &self.unknown, scratch, ids),
        }
    }

    /// The tokens of a text with the bytes they stand for; the bytes of an unknown character all stand for the whole of it.
    pub(super) fn encode_with_offsets(&self, state: &mut State, text: &str) -> Result<Encoded> {
        let (mut normal, mut origins) = (String::new(), Vec::new());
        self.normalizer.normalize(text, &mut normal, |bytes, at| origins.extend(std::iter::repeat_n(at, bytes)));
        check_length(&normal)?;
        let end = origins.get(normal.len()).copied().unwrap_or(text.len());
        origins.truncate(normal.len());
        origins.push(end);
        let mut encoded = Encoded { ids: Vec::new(), offsets: Vec::new() };
        let mut push = |id: u32, start: usize, end: usize| {
            if id != self.unknown.id {
                encoded.ids.push(id);
            } else {
                self.unknown.push(&normal.as_bytes()[start..end], 0, &mut encoded.ids);
            }
            // An unknown character after another one is part of its token.
            if encoded.ids.len() == encoded.offsets.len()
                && let Some(last) = encoded.offsets.last_mut()
            {
                last.1 = origins[end];
            }
            encoded.offsets.resize(encoded.ids.len(), (origins[start], origins[end]));
        };
        match &self.model {
            Model::Unigram(unigram) => self.for_each_unigram_piece(unigram, &normal, &mut state.sentencepiece.path, push),
            Model::Bpe(bpe) => self.for_each_stretch(&normal, |start, end| {
                let (stretch, mut ids) = (&normal[start..end], Vec::new());
                self.encode_stretch(bpe, stretch, &mut state.scratch, &mut ids);
                let bytes = self.unknown.bytes.as_deref().map_or(&[] as &[u32], |bytes| bytes);
                let mut known = ids.into_iter().filter(|id| *id != self.unknown.id && !bytes.contains(id));
                let mut at = start;
                while let Some(c) = normal[at..end].chars().next() {
                    let id = if self.whole.contains_key(stretch) || bpe.knows(c) { known.next() } else { None };
                    let length = id.map_or(c.len_utf8(), |id| self.lengths[id as usize] as usize);
                    push(id.unwrap_or(self.unknown.id), at, at + length);
                    at += length;
                }
            }),
        }
        Ok(encoded)
    }

    fn for_each_unigram_piece(
        &self,
        unigram: &Unigram<f32>,
        normal: &str,
        path: &mut Vec<Best<f32>>,
        mut found: impl FnMut(u32, usize, usize),
    ) {
        let mut score = 0.0;
        for_each_word(self.by_words, normal, |from, to| {
            score = unigram.encode(&normal.as_bytes()[from..to], score, path, |id, start, end| found(id, from + start, from + end));
        });
    }

    /// User-defined pieces, and the words between them.
    fn for_each_stretch(&self, text: &str, mut add: impl FnMut(usize, usize)) {
        let Some(pieces) = self.normalizer.user_defined() else { return for_each_word(self.by_words, text, add) };
        let (mut from, mut at) = (0, 0);
        while at < text.len() {
            match pieces.longest(&text.as_bytes()[at..]) {
                Some((length, _)) => {
                    for_each_word(self.by_words, &text[from..at], |start, end| add(from + start, from + end));
                    add(at, at + length);
                    at += length;
                    from = at;
                }
                None => at += text[at..].chars().next().map_or(1, char::len_utf8),
            }
        }
        for_each_word(self.by_words, &text[from..], |start, end| add(from + start, from + end));
    }
}

/// The name of the piece that stands for a byte.
pub(super) fn byte_name(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

/// The words with the spaces before them, or the whole unless it goes `by_words`: where pieces may reach from one to the next.
#[inline(always)]
pub(super) fn for_each_word(by_words: bool, text: &str, mut add: impl FnMut(usize, usize)) {
    let bytes = text.as_bytes();
    let mut start = 0;
    if by_words {
        for at in memchr::memchr_iter(SPACE.as_bytes()[0], bytes) {
            // Further spaces belong to those before them.
            if bytes[at..].starts_with(SPACE.as_bytes()) && at > 0 && !bytes[..at].ends_with(SPACE.as_bytes()) {
                add(start, at);
                start = at;
            }
        }
    }
    if start < bytes.len() {
        add(start, bytes.len());
    }
}

/// Pieces in order of their ids, the id of the unknown one, and whether bytes stand for unknown characters.
fn pieces_of(inner: &tokenizers::Tokenizer) -> Result<(Vec<Piece>, u32, bool)> {
    let (mut pieces, unknown, fallback): (Vec<(u32, Piece)>, _, _) = match inner.get_model() {
        ModelWrapper::BPE(model) => {
            let pieces = model.get_vocab().into_iter().map(|(text, id)| (id, Piece { text, score: 0.0 }));
            let unknown = model.unk_token.as_ref().and_then(|token| inner.token_to_id(token));
            (pieces.collect(), unknown, model.byte_fallback)
        }
        ModelWrapper::Unigram(model) => {
            let pieces = model.iter().zip(0..).map(|((text, score), id)| (id, Piece { text: text.clone(), score: *score as f32 }));
            let unknown = serde_json::to_value(model)?["unk_id"].as_u64().and_then(|id| u32::try_from(id).ok());
            (pieces.collect(), unknown, model.byte_fallback())
        }
        _ => bail!("its model is neither BPE nor Unigram"),
    };
    pieces.sort_unstable_by_key(|(id, _)| *id);
    ensure!(pieces.iter().zip(0..).all(|((id, _), expected)| *id == expected), "the ids of its pieces do not follow one another");
    let pieces: Vec<Piece> = pieces.into_iter().map(|(_, piece)| piece).collect();
    let unknown = unknown.filter(|id| (*id as usize) < pieces.len()).context("it has no unknown piece")?;
    Ok((pieces, unknown, fallback))
}

/// The map of characters, which is the first step of normalization.
fn charsmap_of(inner: &tokenizers::Tokenizer) -> Result<Option<Charsmap>> {
    let Some(NormalizerWrapper::Sequence(steps)) = inner.get_normalizer() else { return Ok(None) };
    let Some(NormalizerWrapper::Precompiled(map)) = steps.as_ref().first() else { return Ok(None) };
    let file = serde_json::to_value(map)?;
    let bytes = file["precompiled_charsmap"].as_str().and_then(crate::pieces::from_base64);
    Charsmap::new(&bytes.context("its map of characters is no base64")?).context("its map of characters is damaged").map(Some)
}

fn check_length(normal: &str) -> Result<()> {
    ensure!(u32::try_from(normal.len()).is_ok(), "a text of {} bytes is too long for SentencePiece", normal.len());
    Ok(())
}

/// Above the score of all that could stand in its place.
pub(crate) fn user_defined_score(text: &str) -> f32 {
    (0.1 * (text.len() as f64 - 1.0)) as f32
}
