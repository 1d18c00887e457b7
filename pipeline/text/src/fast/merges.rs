//! Byte-pair encoding of one piece: of all neighbours that have a merge, those of the lowest rank are merged first, the leftmost among equals.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use anyhow::{Context as _, Result, ensure};
use hashbrown::HashMap;
use serde_json::Value;
use tokenizers::models::bpe::BPE;

use crate::pieces::byte_characters;

/// Longer pieces are merged by a queue, so that time grows with n log n.
const SCANNED_MAX: usize = 48;

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Merge {
    left: u32,
    right: u32,
    rank: u32,
    id: u32,
}

/// The merges of a vocabulary that has all bytes.
pub(super) struct Merges {
    bytes: [u32; 256],
    /// A power of two, at most half in use; `rank` [`NONE`] where there is nothing.
    table: Box<[Merge]>,
    /// Tokens by their bytes if a piece that is a token is never merged (`ignore_merges`).
    whole: Option<HashMap<Box<[u8]>, u32>>,
}

/// Reused from piece to piece.
#[derive(Default)]
pub(super) struct Scratch {
    ids: Vec<u32>,
    /// The rank of each symbol with its right neighbour, and what they become.
    ranks: Vec<(u32, u32)>,
    neighbours: Vec<(u32, u32)>,
    queue: BinaryHeap<Reverse<u64>>,
}

impl Merges {
    /// An error says what these merges cannot do as the crate does.
    pub(super) fn of(model: &BPE) -> Result<Merges> {
        let empty = |affix: &Option<String>| affix.as_deref().unwrap_or_default().is_empty();
        ensure!(model.dropout.is_none_or(|share| share == 0.0), "merges are dropped at random");
        ensure!(empty(&model.continuing_subword_prefix) && empty(&model.end_of_word_suffix), "tokens carry a prefix or suffix");
        let vocabulary: HashMap<String, u32> = model.get_vocab().into_iter().collect();
        let mut ids: Vec<u32> = vocabulary.values().copied().collect();
        ids.sort_unstable();
        ensure!(ids.windows(2).all(|pair| pair[0] < pair[1]), "two tokens have one id");
        let mut bytes = [0; 256];
        for (byte, character) in byte_characters().iter().enumerate() {
            let mut buffer = [0; 4];
            bytes[byte] = *vocabulary.get(&*character.encode_utf8(&mut buffer)).context("a byte is no token")?;
        }
        // The merges of a model are told by its file alone.
        let file = serde_json::to_value(model)?;
        let pairs = file["merges"].as_array().context("the model has no merges")?;
        let mut merges = Merges { bytes, table: table(pairs.len()), whole: None };
        for (pair, rank) in pairs.iter().zip(0..) {
            let text = |index: usize| pair[index].as_str().context("a merge is no pair");
            let id = |token: &str| vocabulary.get(token).copied().context("a merge is not in the vocabulary");
            let (left, right) = (text(0)?, text(1)?);
            merges.add(Merge { left: id(left)?, right: id(right)?, rank, id: id(&format!("{left}{right}"))? });
        }
        merges.whole = (file["ignore_merges"] == Value::Bool(true)).then(|| whole_tokens(&vocabulary));
        Ok(merges)
    }

    fn add(&mut self, merge: Merge) {
        let mut at = self.home(merge.left, merge.right);
        while self.table[at].rank != NONE {
            at = (at + 1) & (self.table.len() - 1);
        }
        self.table[at] = merge;
    }

    #[inline(always)]
    fn home(&self, left: u32, right: u32) -> usize {
        let hash = (u64::from(left) << 32 | u64::from(right)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash ^ hash >> 32) as usize & (self.table.len() - 1)
    }

    /// Rank and result of a merge; ([`NONE`], 0) if there is none.
    #[inline(always)]
    fn of_pair(&self, left: u32, right: u32) -> (u32, u32) {
        let mut at = self.home(left, right);
        loop {
            let merge = self.table[at];
            if merge.left == left && merge.right == right || merge.rank == NONE {
                return (merge.rank, merge.id);
            }
            at = (at + 1) & (self.table.len() - 1);
        }
    }

    /// The tokens of a piece; they stay in `scratch`.
    pub(super) fn encode<'a>(&self, piece: &[u8], scratch: &'a mut Scratch) -> &'a [u32] {
        scratch.ids.clear();
        match self.whole.as_ref().and_then(|whole| whole.get(piece)) {
            Some(id) => scratch.ids.push(*id),
            None => {
                scratch.ids.extend(piece.iter().map(|byte| self.bytes[*byte as usize]));
                if piece.len() <= SCANNED_MAX { self.merge_scanned(scratch) } else { self.merge_queued(scratch) }
            }
        }
        &scratch.ids
    }

    /// Looks through all neighbours before each merge.
    fn merge_scanned(&self, scratch: &mut Scratch) {
        let Scratch { ids, ranks, .. } = scratch;
        ranks.clear();
        ranks.extend(ids.windows(2).map(|pair| self.of_pair(pair[0], pair[1])));
        while let Some((at, (rank, id))) = ranks.iter().copied().enumerate().min_by_key(|(_, (rank, _))| *rank) {
            if rank == NONE {
                break;
            }
            ids[at] = id;
            ids.remove(at + 1);
            ranks.remove(at);
            if at > 0 {
                ranks[at - 1] = self.of_pair(ids[at - 1], id);
            }
            if at < ranks.len() {
                ranks[at] = self.of_pair(id, ids[at + 1]);
            }
        }
    }

    /// Takes the merges from a queue of (rank, place), which may be out of date; symbols that were merged into their left neighbour are [`NONE`].
    fn merge_queued(&self, scratch: &mut Scratch) {
        let Scratch { ids, neighbours, queue, .. } = scratch;
        let count = ids.len() as u32;
        neighbours.clear();
        neighbours.extend((0..count).map(|at| (at.wrapping_sub(1), at + 1)));
        queue.clear();
        let entry = |rank: u32, at: u32| Reverse(u64::from(rank) << 32 | u64::from(at));
        for at in 0..count - 1 {
            let (rank, _) = self.of_pair(ids[at as usize], ids[at as usize + 1]);
            if rank != NONE {
                queue.push(entry(rank, at));
            }
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
                let (rank, _) = self.of_pair(id, ids[after as usize]);
                if rank != NONE {
                    queue.push(entry(rank, at));
                }
            }
            if before != NONE {
                let (rank, _) = self.of_pair(ids[before as usize], id);
                if rank != NONE {
                    queue.push(entry(rank, before));
                }
            }
        }
        ids.retain(|id| *id != NONE);
    }
}

fn table(merges: usize) -> Box<[Merge]> {
    let nothing = Merge { left: NONE, right: NONE, rank: NONE, id: 0 };
    vec![nothing; (2 * merges).next_power_of_two().max(2)].into_boxed_slice()
}

/// Tokens by the bytes they stand for; those of other characters never occur in a piece.
fn whole_tokens(vocabulary: &HashMap<String, u32>) -> HashMap<Box<[u8]>, u32> {
    let bytes: HashMap<char, u8> = byte_characters().iter().copied().zip(0..=u8::MAX).collect();
    let spelled = |token: &String| token.chars().map(|c| bytes.get(&c).copied()).collect::<Option<Box<[u8]>>>();
    vocabulary.iter().filter_map(|(token, id)| Some((spelled(token)?, *id))).collect()
}
