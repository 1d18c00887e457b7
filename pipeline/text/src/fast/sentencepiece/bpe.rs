//! SentencePiece's models of type bpe (bpe_model.cc): characters are merged, user-defined pieces stay as they are.

use anyhow::{Context as _, Result};
use hashbrown::HashMap;
use tokenizers::models::bpe::BPE;

use super::super::merges::{ModelFile, Scratch, Table, text_of};
use super::Unknown;

pub(super) struct Bpe {
    merges: Table,
    characters: HashMap<char, u32>,
}

impl Bpe {
    /// `ties` are pieces of equal rank, `matches` tells the pieces that texts may hold.
    pub(super) fn of(model: &BPE, ties: &[Vec<u32>], matches: impl Fn(u32) -> bool) -> Result<Bpe> {
        let text = text_of(model)?;
        let file = ModelFile::of_model(&text)?;
        file.check()?;
        let single = |(text, id): (&str, u32)| {
            let mut characters = text.chars();
            characters.next().filter(|_| characters.next().is_none() && matches(id)).map(|c| (c, id))
        };
        let characters = file.vocabulary().filter_map(single).collect();
        let merges = match ties {
            [] => Table::of(&file).context("its merges")?,
            _ => Table::of_pieces(&tied_ranks(&file, ties)?, &file),
        };
        Ok(Bpe { merges, characters })
    }

    pub(super) fn knows(&self, c: char) -> bool {
        self.characters.contains_key(&c)
    }

    /// Appends the pieces of a stretch without user-defined ones.
    pub(super) fn encode(&self, text: &str, unknown: &Unknown, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        scratch.ids.clear();
        for (at, c) in text.char_indices() {
            match self.characters.get(&c) {
                Some(id) => scratch.ids.push(*id),
                None => unknown.push(&text.as_bytes()[at..at + c.len_utf8()], 0, &mut scratch.ids),
            }
        }
        self.merges.merge(scratch, ids);
    }
}

/// The ranks of pieces that merges make; those of a group have the best rank of the group.
fn tied_ranks(file: &ModelFile, ties: &[Vec<u32>]) -> Result<HashMap<u32, u32>> {
    let mut ranks = HashMap::new();
    for merge in file.merges() {
        let merge = merge.context("its merges")?;
        ranks.entry(merge.id).or_insert(merge.rank);
    }
    for group in ties {
        if let Some(best) = group.iter().filter_map(|id| ranks.get(id).copied()).min() {
            ranks.extend(group.iter().map(|id| (*id, best)));
        }
    }
    Ok(ranks)
}
