//! Byte-pair encoding of one piece: of all neighbours that have a merge, those of the lowest rank are merged first, the leftmost among equals.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use anyhow::{Context as _, Result, ensure};
use hashbrown::HashMap;
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
    id: u32,
}

/// What of a model's file is not told by its methods.
#[derive(Deserialize)]
pub(super) struct ModelFile {
    pub(super) merges: Vec<(String, String)>,
    #[serde(default)]
    ignore_merges: bool,
}

/// Merges by the two symbols that they join.
///
/// A power of two, at most half in use; `rank` [`NONE`] where there is nothing.
pub(super) struct Table(Box<[Merge]>);

/// The merges of a vocabulary that has all bytes.
pub(super) struct Merges {
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

/// The vocabulary of a model that does nothing but merge.
pub(super) fn vocabulary_of(model: &BPE) -> Result<HashMap<String, u32>> {
    let empty = |affix: &Option<String>| affix.as_deref().unwrap_or_default().is_empty();
    ensure!(model.dropout.is_none_or(|share| share == 0.0), "merges are dropped at random");
    ensure!(empty(&model.continuing_subword_prefix) && empty(&model.end_of_word_suffix), "tokens carry a prefix or suffix");
    let vocabulary: HashMap<String, u32> = model.get_vocab().into_iter().collect();
    let mut ids: Vec<u32> = vocabulary.values().copied().collect();
    ids.sort_unstable();
    ensure!(ids.windows(2).all(|pair| pair[0] < pair[1]), "two tokens have one id");
    Ok(vocabulary)
}

impl ModelFile {
    /// The merges of a model are told by its file alone.
    pub(super) fn of(model: &BPE) -> Result<ModelFile> {
        serde_json::from_str(&serde_json::to_string(model)?).context("the model has no list of merges")
    }
}

impl Table {
    pub(super) fn of(file: &ModelFile, vocabulary: &HashMap<String, u32>) -> Result<Table> {
        let id = |token: &str| vocabulary.get(token).copied().context("a merge is not in the vocabulary");
        let merges = file
            .merges
            .iter()
            .zip(0..)
            .map(|((left, right), rank)| Ok(Merge { left: id(left)?, right: id(right)?, rank, id: id(&format!("{left}{right}"))? }));
        Ok(Table::of_merges(&merges.collect::<Result<Vec<_>>>()?))
    }

    /// Any two tokens that make a third are merged, by the rank of the third.
    pub(super) fn of_pieces(ranks: &HashMap<u32, u32>, vocabulary: &HashMap<String, u32>) -> Table {
        let mut merges = Vec::new();
        for (text, id) in vocabulary {
            let Some(rank) = ranks.get(id) else { continue };
            for (middle, _) in text.char_indices().skip(1) {
                if let (Some(left), Some(right)) = (vocabulary.get(&text[..middle]), vocabulary.get(&text[middle..])) {
                    merges.push(Merge { left: *left, right: *right, rank: *rank, id: *id });
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
        while self.0[at].rank != NONE {
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
        let vocabulary = vocabulary_of(model)?;
        let mut bytes = Box::new([0; 256]);
        for (byte, character) in byte_characters().iter().enumerate() {
            let mut buffer = [0; 4];
            bytes[byte] = *vocabulary.get(&*character.encode_utf8(&mut buffer)).context("a byte is no token")?;
        }
        let file = ModelFile::of(model)?;
        let mut merges = Merges { bytes, table: Table::of(&file, &vocabulary)?, whole: None, characters: None };
        let tokens = spelled_tokens(&vocabulary);
        merges.characters = Some(Characters::of(&merges, tokens.iter().map(|(bytes, id)| (&**bytes, *id))));
        merges.whole = file.ignore_merges.then_some(tokens);
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

/// Tokens by the bytes they stand for; those of other characters never occur in a piece.
fn spelled_tokens(vocabulary: &HashMap<String, u32>) -> HashMap<Box<[u8]>, u32> {
    let bytes: HashMap<char, u8> = byte_characters().iter().copied().zip(0..=u8::MAX).collect();
    let spelled = |token: &String| token.chars().map(|c| bytes.get(&c).copied()).collect::<Option<Box<[u8]>>>();
    vocabulary.iter().filter_map(|(token, id)| Some((spelled(token)?, *id))).collect()
}
