//! Unigram models in the styles of [`crate::learn`], with the ids of the crate `tokenizers`: what is between blanks is searched by itself, each such
//! word with a `▁` before it, or the text as a whole.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use hashbrown::HashMap;
use tokenizers::models::unigram;
use tokenizers::normalizers::unicode::{NFKC, Nmt};
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper, PreTokenizerWrapper};

use super::State;
use super::cache::Out;
use super::composed::keeps_nfkc;
use super::sentencepiece::{SPACE, byte_name, for_each_word};
use super::trie::Trie;
use super::unigram::{Best, Unigram};
use crate::style::Style;

pub(super) struct Metaspace {
    pieces: Unigram<f64>,
    unknown: u32,
    /// What stands for the bytes of unknown characters.
    bytes: Option<Box<[u32; 256]>>,
    cut: Cut,
}

/// How texts are normalized and cut.
enum Cut {
    /// NFKC, one blank for all that are side by side, and a sentence for each word; `strips` drops white space at the end.
    Words { strips: bool },
    /// `▁` for each blank and before the text, and all of it is one sentence; `by_words` if no piece goes on behind a character with a `▁`.
    Whole { by_words: bool },
}

/// What a thread reuses from text to text.
#[derive(Default)]
pub(super) struct Buffers {
    normal: String,
    path: Vec<Best<f64>>,
}

impl Metaspace {
    /// An error says why the crate must encode.
    pub(super) fn of(
        model: &unigram::Unigram,
        normalizer: Option<&NormalizerWrapper>,
        pre_tokenizer: Option<&PreTokenizerWrapper>,
    ) -> Result<Metaspace> {
        let is = |style: Style| -> Result<bool> {
            let own: Option<NormalizerWrapper> = serde_json::from_value(style.normalizer())?;
            Ok(serde_json::to_value(own)? == serde_json::to_value(normalizer)?)
        };
        let pieces: Vec<(&str, f64)> = model.iter().map(|(text, score)| (text.as_str(), *score)).collect();
        let cut = match pre_tokenizer {
            Some(PreTokenizerWrapper::Metaspace(cut)) => {
                let usual = cut.get_replacement() == '▁' && cut.get_prepend_scheme() == PrependScheme::Always && cut.get_split();
                ensure!(usual, "another kind of metaspace");
                let strips = is(Style::T5)?;
                ensure!(strips || is(Style::SentencePiece)?, "another normalizer");
                Cut::Words { strips }
            }
            None => {
                ensure!(is(Style::Llama2)?, "another normalizer");
                let leads = |text: &str| !text.trim_start_matches(SPACE).contains(SPACE);
                Cut::Whole { by_words: pieces.iter().any(|(text, _)| *text == SPACE) && pieces.iter().all(|(text, _)| leads(text)) }
            }
            Some(_) => bail!("another pre-tokenizer"),
        };
        let unknown = serde_json::to_value(model)?["unk_id"].as_u64().and_then(|id| u32::try_from(id).ok());
        let unknown = unknown.context("no unknown piece")?;
        ensure!(model.alpha.is_none_or(|alpha| alpha == 0.0), "paths are drawn at random");
        ensure!(pieces.iter().all(|(text, score)| !text.is_empty() && score.is_finite()), "a piece without text or score");
        let least = pieces.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
        let ids: HashMap<&str, u32> = pieces.iter().map(|(text, _)| *text).zip(0..).collect();
        let bytes: Option<Vec<u32>> =
            if model.byte_fallback() { (0..=u8::MAX).map(|byte| ids.get(byte_name(byte).as_str()).copied()).collect() } else { None };
        ensure!(bytes.is_some() || !model.byte_fallback(), "a byte is no piece");
        let bytes = bytes.map(|bytes| bytes.try_into().map(Box::new).map_err(|_| anyhow!("there are 256 bytes"))).transpose()?;
        let trie = Trie::new(pieces.iter().zip(0..).map(|((text, score), id)| (text.as_bytes(), id, *score)).collect())?;
        Ok(Metaspace { pieces: Unigram::new(trie, unknown, least), unknown, bytes, cut })
    }

    /// Appends the tokens of a text; `false` and none where that is left to the crate.
    pub(super) fn encode(&self, state: &mut State, text: &str, ids: &mut Vec<u32>) -> Result<bool> {
        let mut normal = std::mem::take(&mut state.metaspace.normal);
        normal.clear();
        let known = match self.cut {
            Cut::Words { strips } => {
                let known = normalize(text, strips, &mut normal)?;
                if known {
                    self.encode_words(state, &normal, ids)?;
                }
                known
            }
            Cut::Whole { by_words } => {
                if !text.is_empty() {
                    normal.push_str(SPACE);
                }
                for (index, part) in text.split(' ').enumerate() {
                    normal.extend([if index > 0 { SPACE } else { "" }, part]);
                }
                self.encode_whole(&mut state.metaspace.path, by_words, &normal, ids);
                true
            }
        };
        state.metaspace.normal = normal;
        Ok(known)
    }

    fn encode_words(&self, state: &mut State, normal: &str, ids: &mut Vec<u32>) -> Result<()> {
        let State { cache, batch, normal: sentence, metaspace: Buffers { path, .. }, .. } = state;
        let bytes = normal.as_bytes();
        let mut out = Out::new(ids);
        let mut encode = |start: usize, end: usize, ids: &mut Vec<u32>| {
            sentence.clear();
            sentence.extend_from_slice(SPACE.as_bytes());
            sentence.extend_from_slice(&bytes[start..end]);
            let mut unknown = 0..0;
            self.pieces.encode(sentence, 0.0, path, |id, start, end| self.push(id, start, end, sentence, &mut unknown, ids));
            self.push_unknown(&sentence[unknown], ids);
            Ok(())
        };
        // A blank before the first word is that word's own.
        let mut start = usize::from(bytes.first() == Some(&b' '));
        for end in memchr::memchr_iter(b' ', bytes).filter(|end| *end > 0).chain([bytes.len()]) {
            if start < end && batch.push(cache, bytes, start, end) {
                batch.write(cache, bytes, &mut out, &mut encode)?;
            }
            start = end + 1;
        }
        batch.write(cache, bytes, &mut out, &mut encode)?;
        out.flush();
        // A blank at the end is a word without letters.
        if bytes.last() == Some(&b' ') { encode(bytes.len(), bytes.len(), ids) } else { Ok(()) }
    }

    fn encode_whole(&self, path: &mut Vec<Best<f64>>, by_words: bool, normal: &str, ids: &mut Vec<u32>) {
        let bytes = normal.as_bytes();
        let (mut score, mut unknown) = (0.0, 0..0);
        for_each_word(by_words, normal, |from, to| {
            let found = |id, start, end| self.push(id, from + start, from + end, bytes, &mut unknown, ids);
            score = self.pieces.encode(&bytes[from..to], score, path, found);
        });
        self.push_unknown(&bytes[unknown], ids);
    }

    /// Appends a piece and the unknown characters before it; an unknown one is kept for later.
    #[inline(always)]
    fn push(&self, id: u32, start: usize, end: usize, text: &[u8], unknown: &mut std::ops::Range<usize>, ids: &mut Vec<u32>) {
        if id == self.unknown {
            *unknown = if unknown.end == 0 { start } else { unknown.start }..end;
            return;
        }
        self.push_unknown(&text[std::mem::take(unknown)], ids);
        ids.push(id);
    }

    /// Appends what unknown characters side by side become: the piece that they are, their bytes, or one unknown token.
    #[inline(always)]
    fn push_unknown(&self, text: &[u8], ids: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        match (self.pieces.whole(text), &self.bytes) {
            (Some(id), _) => ids.push(id),
            (None, Some(bytes)) => ids.extend(text.iter().map(|byte| bytes[*byte as usize])),
            (None, None) => ids.push(self.unknown),
        }
    }
}

/// Writes the normal form of a text, in which blanks stand alone. `false` where it holds white space of which the crate must know what to do.
fn normalize(text: &str, strips: bool, out: &mut String) -> Result<bool> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b' ' | b'\t' | b'\n' | b'\r' | b'\x0c' => {
                at += 1;
                push_blank(out);
            }
            byte if byte.is_ascii_graphic() => {
                at += bytes[at..].iter().take_while(|byte| byte.is_ascii_graphic()).count();
                out.push_str(&text[start..at]);
            }
            _ => {
                at += text[at..].chars().take_while(|c| keeps(*c)).map(char::len_utf8).sum::<usize>();
                out.push_str(&text[start..at]);
                if at > start {
                    continue;
                }
                let is_clear = |c: char| c.is_ascii_graphic() || matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c') || keeps(c);
                at += text[at..].chars().take_while(|c| !is_clear(*c)).map(char::len_utf8).sum::<usize>();
                // A mark may join the character before it.
                let before = if start > 0 && !out.ends_with(' ') { out.pop() } else { None };
                if !normalize_by_crate(before, &text[start..at], strips, out)? {
                    return Ok(false);
                }
            }
        }
    }
    if strips {
        out.truncate(out.trim_end_matches(' ').len());
    }
    Ok(true)
}

fn push_blank(out: &mut String) {
    if !out.ends_with(' ') {
        out.push(' ');
    }
}

fn normalize_by_crate(before: Option<char>, text: &str, strips: bool, out: &mut String) -> Result<bool> {
    let mut normal = NormalizedString::from(before.into_iter().chain(text.chars()).collect::<String>());
    let done = Nmt.normalize(&mut normal).and_then(|()| NFKC.normalize(&mut normal));
    done.map_err(|error| anyhow!("normalizing a text: {error}"))?;
    for c in normal.get().chars() {
        match c {
            ' ' => push_blank(out),
            '▁' => return Ok(false),
            c if strips && c.is_whitespace() => return Ok(false),
            c => out.push(c),
        }
    }
    Ok(true)
}

/// Whether a character that is not ASCII stays as it is, whatever stands around it.
#[inline(always)]
fn keeps(c: char) -> bool {
    // Those that `Nmt` drops or takes for blanks.
    let nmt = matches!(c as u32, 0..=0x9f | 0x1680 | 0x200b..=0x200f | 0x2028 | 0x2029 | 0x2581 | 0xfeff | 0xfffd);
    !nmt && keeps_nfkc(c)
}
