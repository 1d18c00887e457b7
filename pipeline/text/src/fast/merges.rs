//! Byte-pair encoding of one piece: of all neighbours that have a merge, those of the lowest rank are merged first, the leftmost among equals.

use std::borrow::{Borrow, Cow};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use anyhow::{Context as _, Result, ensure};
use hashbrown::{DefaultHashBuilder, HashMap};
use serde::Deserialize;
use tokenizers::models::bpe::BPE;

use super::characters::Characters;
use crate::pieces::byte_characters;

/// Pieces of more symbols are merged by a queue, so that time grows with n log n.
const SCANNED_MAX: usize = 48;

pub(super) const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
pub(super) struct Merge {
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) rank: u32,
    pub(super) id: u32,
}

/// A model of type BPE in the form of its file, which alone tells its merges.
#[derive(Deserialize)]
pub(super) struct ModelFile<'a> {
    #[serde(borrow)]
    vocab: std::collections::HashMap<Text<'a>, u32, DefaultHashBuilder>,
    #[serde(borrow)]
    merges: Vec<(Text<'a>, Text<'a>)>,
    #[serde(default)]
    ignore_merges: bool,
    dropout: Option<f32>,
    #[serde(borrow)]
    continuing_subword_prefix: Option<Text<'a>>,
    #[serde(borrow)]
    end_of_word_suffix: Option<Text<'a>>,
}

/// A text that lies in the file as it is, unless something is escaped in it.
#[derive(Deserialize, PartialEq, Eq, Hash)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Merges by the two symbols that they join.
///
/// A power of two, at most half in use; `rank` [`NONE`] where there is nothing.
pub(super) struct Table(Box<[Merge]>);

/// The merges of a vocabulary that has all bytes.
pub(crate) struct Merges {
    /// Ids are below this.
    pub(super) size: usize,
    bytes: Box<[u32; 256]>,
    table: Table,
    /// Tokens by their bytes if a piece that is a token is never merged (`ignore_merges`).
    whole: Option<HashMap<Box<[u8]>, u32>>,
    characters: Option<Characters>,
}

/// Reused from one long piece to the next.
#[derive(Default)]
pub(super) struct Scratch {
    /// The symbols of a piece.
    pub(super) ids: Vec<u32>,
    neighbours: Vec<(u32, u32)>,
    queue: BinaryHeap<Reverse<u64>>,
}

impl<'a> ModelFile<'a> {
    /// The model of a tokenizer.json.
    fn of_tokenizer(file: &'a str) -> Result<ModelFile<'a>> {
        #[derive(Deserialize)]
        struct File<'a> {
            #[serde(borrow)]
            model: ModelFile<'a>,
        }
        Ok(serde_json::from_str::<File>(file)?.model)
    }

    /// `text` is what [`text_of`] makes of a model.
    pub(super) fn of_model(text: &'a str) -> Result<ModelFile<'a>> {
        serde_json::from_str(text).context("the model has no list of merges")
    }

    /// An error if the model does more than to merge.
    pub(super) fn check(&self) -> Result<()> {
        let empty = |affix: &Option<Text>| affix.as_ref().is_none_or(|affix| affix.0.is_empty());
        ensure!(self.dropout.is_none_or(|share| share == 0.0), "merges are dropped at random");
        ensure!(empty(&self.continuing_subword_prefix) && empty(&self.end_of_word_suffix), "tokens carry a prefix or suffix");
        let mut ids: Vec<u32> = self.vocab.values().copied().collect();
        ids.sort_unstable();
        ensure!(ids.windows(2).all(|pair| pair[0] < pair[1]), "two tokens have one id");
        Ok(())
    }

    /// Tokens with their ids.
    pub(super) fn vocabulary(&self) -> impl Iterator<Item = (&str, u32)> {
        self.vocab.iter().map(|(token, id)| (&*token.0, *id))
    }

    /// The id of a token.
    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.vocab.get(token).copied()
    }

    /// Each merge with its rank: the two symbols that it joins, and what they become.
    pub(super) fn merges(&self) -> impl Iterator<Item = Result<Merge>> {
        let id = |token: &str| self.id(token).context("a merge is not in the vocabulary");
        let mut joined = String::new();
        self.merges.iter().zip(0..).map(move |((left, right), rank)| {
            joined.clear();
            joined.extend([&*left.0, &*right.0]);
            Ok(Merge { left: id(&left.0)?, right: id(&right.0)?, rank, id: id(&joined)? })
        })
    }
}

/// The form that a model has in its file.
pub(super) fn text_of(model: &BPE) -> Result<String> {
    Ok(serde_json::to_string(model)?)
}

impl Table {
    pub(super) fn of(file: &ModelFile) -> Result<Table> {
        Ok(Table::of_merges(&file.merges().collect::<Result<Vec<_>>>()?))
    }

    /// Any two tokens that make a third are merged, by the rank of the third.
    pub(super) fn of_pieces(ranks: &HashMap<u32, u32>, file: &ModelFile) -> Table {
        let mut merges = Vec::new();
        for (text, id) in file.vocabulary() {
            let Some(rank) = ranks.get(&id) else { continue };
            for (middle, _) in text.char_indices().skip(1) {
                if let (Some(left), Some(right)) = (file.id(&text[..middle]), file.id(&text[middle..])) {
                    merges.push(Merge { left, right, rank: *rank, id });
                }
            }
        }
        Table::of_merges(&merges)
    }

    fn of_merges(merges: &[Merge]) -> Table {
        let nothing = Merge { left: NONE, right: NONE, rank: NONE, id: 0 };
        let mut table = Table(vec![nothing; (2 * merges.len()).next_power_of_two().max(2)].into_boxed_slice());
        merges.iter().for_each(|merge| table.add(*merge));
        table
    }

    fn add(&mut self, merge: Merge) {
        let mut at = self.home(merge.left, merge.right);
        // Of two merges of the same symbols, the crate knows the last.
        while self.0[at].rank != NONE && (self.0[at].left, self.0[at].right) != (merge.left, merge.right) {
            at = (at + 1) & (self.0.len() - 1);
        }
        self.0[at] = merge;
    }

    #[inline(always)]
    fn home(&self, left: u32, right: u32) -> usize {
        let hash = (u64::from(left) << 32 | u64::from(right)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash ^ hash >> 32) as usize & (self.0.len() - 1)
    }

    /// Rank and result of a merge; ([`NONE`], 0) if there is none.
    #[inline(always)]
    fn of_pair(&self, left: u32, right: u32) -> (u32, u32) {
        let mut at = self.home(left, right);
        loop {
            let merge = self.0[at];
            if merge.left == left && merge.right == right || merge.rank == NONE {
                return (merge.rank, merge.id);
            }
            at = (at + 1) & (self.0.len() - 1);
        }
    }

    /// Merges the symbols in `scratch` and appends what they become.
    #[inline(always)]
    pub(super) fn merge(&self, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        if scratch.ids.len() <= SCANNED_MAX { self.merge_scanned(&scratch.ids, ids) } else { self.merge_queued(scratch, ids) }
    }

    /// Looks through all neighbours before each merge.
    fn merge_scanned(&self, symbols: &[u32], out: &mut Vec<u32>) {
        let count = symbols.len();
        let (mut ids, mut ranks, mut merged) = ([0; SCANNED_MAX], [NONE; SCANNED_MAX], [0; SCANNED_MAX]);
        let (mut before, mut next) = ([0u8; SCANNED_MAX], [0u8; SCANNED_MAX]);
        for (at, symbol) in symbols.iter().enumerate().take(SCANNED_MAX) {
            ids[at] = *symbol;
            before[at] = (at as u8).wrapping_sub(1);
            next[at] = at as u8 + 1;
        }
        for at in 1..count {
            (ranks[at - 1], merged[at - 1]) = self.of_pair(ids[at - 1], ids[at]);
        }
        while let Some(lowest) = ranks[..count].iter().copied().min().filter(|rank| *rank != NONE) {
            let at = ranks[..count].iter().position(|rank| *rank == lowest).unwrap_or(0);
            let gone = next[at] as usize;
            let after = next[gone] as usize;
            ids[at] = merged[at];
            next[at] = after as u8;
            ranks[gone] = NONE;
            (ranks[at], merged[at]) = (NONE, 0);
            if after < count {
                before[after] = at as u8;
                (ranks[at], merged[at]) = self.of_pair(ids[at], ids[after]);
            }
            if at > 0 {
                let left = before[at] as usize;
                (ranks[left], merged[left]) = self.of_pair(ids[left], ids[at]);
            }
        }
        let mut at = 0;
        while at < count {
            out.push(ids[at]);
            at = next[at] as usize;
        }
    }

    /// Takes the merges from a queue of (rank, place), which may be out of date; symbols that were merged into their left neighbour are [`NONE`].
    fn merge_queued(&self, scratch: &mut Scratch, out: &mut Vec<u32>) {
        let Scratch { ids, neighbours, queue } = scratch;
        let count = ids.len() as u32;
        neighbours.clear();
        neighbours.extend((0..count).map(|at| (at.wrapping_sub(1), at + 1)));
        queue.clear();
        let push = |queue: &mut BinaryHeap<_>, rank: u32, at: u32| {
            if rank != NONE {
                queue.push(Reverse(u64::from(rank) << 32 | u64::from(at)));
            }
        };
        for (pair, at) in ids.windows(2).zip(0..) {
            push(queue, self.of_pair(pair[0], pair[1]).0, at);
        }
        while let Some(Reverse(top)) = queue.pop() {
            let (rank, at) = ((top >> 32) as u32, top as u32);
            let (before, next) = neighbours[at as usize];
            if ids[at as usize] == NONE || next == count {
                continue;
            }
            let (current, id) = self.of_pair(ids[at as usize], ids[next as usize]);
            if current != rank {
                continue;
            }
            ids[at as usize] = id;
            ids[next as usize] = NONE;
            let after = neighbours[next as usize].1;
            neighbours[at as usize].1 = after;
            if after < count {
                neighbours[after as usize].0 = at;
                push(queue, self.of_pair(id, ids[after as usize]).0, at);
            }
            if before != NONE {
                push(queue, self.of_pair(ids[before as usize], id).0, before);
            }
        }
        out.extend(ids.iter().filter(|id| **id != NONE));
    }
}

impl Merges {
    /// An error says what these merges cannot do as the crate does.
    pub(super) fn of(model: &BPE) -> Result<Merges> {
        Merges::of_file(&ModelFile::of_model(&text_of(model)?)?)
    }

    /// Those of a tokenizer.json, whose model need not have been made yet.
    pub(crate) fn of_tokenizer(file: &str) -> Result<Merges> {
        Merges::of_file(&ModelFile::of_tokenizer(file)?)
    }

    fn of_file(file: &ModelFile) -> Result<Merges> {
        file.check()?;
        let mut bytes = Box::new([0; 256]);
        for (byte, character) in byte_characters().iter().enumerate() {
            bytes[byte] = file.id(character.encode_utf8(&mut [0; 4])).context("a byte is no token")?;
        }
        let size = file.vocab.values().max().map_or(0, |id| *id as usize + 1);
        let mut merges = Merges { size, bytes, table: Table::of(file)?, whole: None, characters: None };
        let tokens = spelled_tokens(file);
        merges.characters = Some(Characters::of(&merges, tokens.iter().map(|(bytes, id)| (&**bytes, *id))));
        merges.whole = file.ignore_merges.then(|| tokens.into_iter().collect());
        Ok(merges)
    }

    /// All merges, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Merge> {
        self.table.0.iter().filter(|merge| merge.rank != NONE)
    }

    /// The highest rank on the way from the bytes of a token to the token, if they become it.
    pub(super) fn rank_of_whole(&self, token: &[u8], id: u32) -> Option<u32> {
        let mut symbols: Vec<u32> = token.iter().map(|byte| self.bytes[*byte as usize]).collect();
        let mut highest = 0;
        while symbols.len() > 1 {
            let lowest = (1..symbols.len())
                .map(|at| (self.table.of_pair(symbols[at - 1], symbols[at]), at))
                .min_by_key(|((rank, _), at)| (*rank, *at));
            let ((rank, merged), at) = lowest.filter(|((rank, _), _)| *rank != NONE)?;
            highest = highest.max(rank);
            symbols[at - 1] = merged;
            symbols.remove(at);
        }
        (symbols == [id]).then_some(highest)
    }

    /// What a piece begins as: bytes, and whole characters where that comes to the same.
    #[inline(always)]
    fn symbols(&self, piece: &[u8], symbols: &mut Vec<u32>) {
        symbols.clear();
        let mut at = 0;
        while at < piece.len() {
            let character = self.characters.as_ref().filter(|_| !piece[at].is_ascii()).and_then(|characters| characters.at(piece, at));
            let (symbol, length) = character.unwrap_or((self.bytes[piece[at] as usize], 1));
            symbols.push(symbol);
            at += length;
        }
    }

    /// Appends the tokens of a piece.
    pub(super) fn encode(&self, piece: &[u8], scratch: &mut Scratch, ids: &mut Vec<u32>) {
        match self.whole.as_ref().and_then(|whole| whole.get(piece)) {
            Some(id) => ids.push(*id),
            None => {
                self.symbols(piece, &mut scratch.ids);
                self.table.merge(scratch, ids)
            }
        }
    }
}

/// Tokens with the bytes they stand for; those of other characters never occur in a piece.
fn spelled_tokens(file: &ModelFile) -> Vec<(Box<[u8]>, u32)> {
    let bytes: HashMap<char, u8> = byte_characters().iter().copied().zip(0..=u8::MAX).collect();
    let spelled = |token: &str| token.chars().map(|c| bytes.get(&c).copied()).collect::<Option<Box<[u8]>>>();
    file.vocabulary().filter_map(|(token, id)| Some((spelled(token)?, id))).collect()
}
