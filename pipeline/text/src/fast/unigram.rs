//! The most probable pieces of a text. SentencePiece (EncodeOptimized in unigram_model.cc, from 0.2.2 on) adds up scores in single precision from the
//! left, the crate `tokenizers` in double; so do we, so that of two paths a hair apart the same one wins.

use std::ops::{Add, Sub};

use super::trie::Trie;

/// A number in which scores are added up.
pub(super) trait Score: Copy + Default + PartialOrd + Add<Output = Self> + Sub<Output = Self> {
    /// What an unknown character costs more than the least probable piece.
    const UNKNOWN_PENALTY: Self;

    /// Whether a sum is set back to 0, together with those that compete with it.
    fn is_large(self) -> bool;
}

impl Score for f32 {
    const UNKNOWN_PENALTY: f32 = 10.0;

    fn is_large(self) -> bool {
        self.abs() > 100_000.0
    }
}

impl Score for f64 {
    const UNKNOWN_PENALTY: f64 = 10.0;

    fn is_large(self) -> bool {
        false
    }
}

const NONE: u32 = u32::MAX;

pub(super) struct Unigram<S> {
    pieces: Trie<S>,
    unknown: u32,
    unknown_score: S,
}

/// The best path to a place.
#[derive(Clone, Copy)]
pub(super) struct Best<S> {
    score: S,
    /// Where its last piece begins; [`NONE`] if there is no path.
    start: u32,
    id: u32,
}

impl<S: Score> Best<S> {
    /// Takes a path that is better than the one before; of equals, the first stays.
    #[inline(always)]
    fn offer(&mut self, score: S, start: usize, id: u32) {
        if self.start == NONE || score > self.score {
            *self = Best { score, start: start as u32, id };
        }
    }
}

impl<S: Score> Unigram<S> {
    /// `least` is the lowest score of the pieces that count.
    pub(super) fn new(pieces: Trie<S>, unknown: u32, least: S) -> Unigram<S> {
        Unigram { pieces, unknown, unknown_score: least - S::UNKNOWN_PENALTY }
    }

    /// The piece that a text is.
    pub(super) fn whole(&self, text: &[u8]) -> Option<u32> {
        self.pieces.whole(text)
    }

    /// Calls `found` with id, start and end of each piece of a text; unknown characters come one by one. Returns the score of the path; `before` is
    /// that of what stands before the text.
    pub(super) fn encode(&self, text: &[u8], before: S, path: &mut Vec<Best<S>>, mut found: impl FnMut(u32, usize, usize)) -> S {
        path.clear();
        path.resize(text.len() + 1, Best { score: S::default(), start: NONE, id: 0 });
        path[0].score = before;
        let (mut at, mut frontier) = (0, 0);
        while at < text.len() {
            if path[at].score.is_large() {
                let sum = path[at].score;
                let reached = path[at..=frontier.max(at)].iter_mut().enumerate();
                reached.filter(|(index, best)| *index == 0 || best.start != NONE).for_each(|(_, best)| best.score = best.score - sum);
            }
            let here = path[at].score;
            let character = length(text[at]).min(text.len() - at);
            let (mut known, mut longest) = (false, character);
            self.pieces.prefixes(&text[at..], |length, id, score| {
                path[at + length].offer(score + here, at, id);
                known |= length == character;
                longest = longest.max(length);
            });
            if !known {
                path[at + character].offer(self.unknown_score + here, at, self.unknown);
            }
            frontier = frontier.max(at + longest);
            at += character;
        }
        // The path is known from its end; where each piece ends is noted where it begins.
        let (mut end, mut start) = (text.len(), path[text.len()].start);
        while end > 0 {
            let before = std::mem::replace(&mut path[start as usize].start, end as u32);
            (end, start) = (start as usize, before);
        }
        let mut start = 0;
        while start < text.len() {
            let end = path[start].start as usize;
            found(path[end].id, start, end);
            start = end;
        }
        path[text.len()].score
    }
}

/// Bytes of the character that begins with this byte.
fn length(lead: u8) -> usize {
    match lead {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}
