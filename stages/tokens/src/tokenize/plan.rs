//! Which documents go into which shard: from the lists of encoded documents alone, so that shards can be written at once, each by itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use engine::Context;
use shards::Extent;

use super::encoded::{Document, Entries, Entry};
use super::packing::{Frame, Packing};

/// More documents than this are in no shard: what is known of them must fit into memory.
const DOCUMENTS_MAX: u64 = 1 << 20;

/// All shards in order: by split, then by number.
pub(super) struct Plan {
    pub(super) windows: Vec<Window>,
    /// How often each token occurs in each split.
    pub(super) unigrams: BTreeMap<String, Vec<u64>>,
    pub(super) rejects: bool,
}

/// The documents of one shard: neighbours in their split.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) split: String,
    /// Number of the shard in its split.
    pub(super) number: usize,
    pub(super) first: Place,
    /// Tokens of the first document that lie in the shard before.
    pub(super) skipped: u32,
    /// Documents, those included that are in the shards before and after too.
    pub(super) documents: u64,
    pub(super) tokens: u64,
    /// The token before the first one.
    pub(super) before: Option<(usize, u64)>,
}

/// Where a document stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the file of documents.
    pub(super) file: usize,
    /// Byte of the list at which its entry begins.
    entry: u64,
    /// Index of its first token in the file of tokens.
    token: u64,
    /// Number of its split in the list.
    split: u32,
}

/// A document that belongs to a window.
pub(super) struct Member {
    pub(super) document: Document,
    pub(super) file: usize,
    /// Index of its first token in the file of tokens.
    pub(super) token: u64,
    /// What of it lies in the window.
    pub(super) extent: Extent,
}

/// Reads all lists. `paths` are the files of tokens, `rows_max` is the number of rows of a full shard.
pub(super) fn plan(ctx: &Context, paths: &[PathBuf], packing: Packing, frame: &Frame, rows_max: u64) -> Result<Plan> {
    let mut splits: BTreeMap<String, Windows> = BTreeMap::new();
    let mut unigrams: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut rejects = false;
    for (file, path) in paths.iter().enumerate() {
        ctx.check_stop()?;
        let mut entries = Entries::open(path, 0)?;
        let (mut names, mut token) = (Vec::new(), 0);
        loop {
            let entry = entries.position();
            match entries.next()? {
                None => break,
                Some(Entry::Split(name)) => names.push(name),
                Some(Entry::Reject(_)) => rejects = true,
                Some(Entry::Document(document)) => {
                    let name = name_of(&names, document.split)?;
                    if !splits.contains_key(name) {
                        splits.insert(name.clone(), Windows::new(name, packing, frame.room(), rows_max, DOCUMENTS_MAX));
                    }
                    let windows = splits.get_mut(name).expect("inserted above");
                    windows.add(document.length, Place { file, entry, token, split: document.split });
                    token += u64::from(document.length);
                }
                Some(Entry::Counts { split, counts }) => {
                    let total = unigrams.entry(name_of(&names, split)?.clone()).or_default();
                    for (token, count) in counts {
                        total.resize(total.len().max(token as usize + 1), 0);
                        total[token as usize] += count;
                    }
                }
            }
        }
    }
    Ok(Plan { windows: splits.into_values().flat_map(Windows::finish).collect(), unigrams, rejects })
}

fn name_of(names: &[String], split: u32) -> Result<&String> {
    names.get(split as usize).context("a list of documents has no name for a split")
}

/// The shards of one split as they come to be.
struct Windows {
    split: String,
    packing: Packing,
    room: u64,
    rows_max: u64,
    documents_max: u64,
    done: Vec<Window>,
    open: Option<Window>,
    /// Tokens of the open one at most.
    tokens_max: u64,
    last: Option<(usize, u64)>,
}

impl Windows {
    fn new(split: &str, packing: Packing, room: u32, rows_max: u64, documents_max: u64) -> Windows {
        let room = u64::from(room);
        let (done, open, last) = Default::default();
        Windows { split: split.to_string(), packing, room, rows_max, documents_max, done, open, tokens_max: 0, last }
    }

    /// Appends a document: its tokens one by one where documents are cut anyway, else as a whole.
    fn add(&mut self, length: u32, place: Place) {
        let mut skipped = 0;
        while skipped < length {
            let left = length - skipped;
            if self.open.as_ref().is_some_and(|window| self.is_full(window, left)) {
                self.close();
            }
            if self.open.is_none() {
                self.tokens_max = self.rows_max * self.room;
            }
            let (split, number, before) = (&self.split, self.done.len(), self.last);
            let window = self.open.get_or_insert_with(|| Window {
                split: split.clone(),
                number,
                first: place,
                skipped,
                documents: 0,
                tokens: 0,
                before,
            });
            let taken = match self.packing {
                Packing::Pack => u64::from(left).min(self.tokens_max - window.tokens) as u32,
                Packing::BestFit | Packing::OnePerRow => left,
            };
            window.documents += 1;
            window.tokens += u64::from(taken);
            if window.documents >= self.documents_max {
                // The row that was begun is filled, so that rows of a split stay what they are in one shard.
                self.tokens_max = self.tokens_max.min(window.tokens.next_multiple_of(self.room));
            }
            skipped += taken;
            self.last = Some((place.file, place.token + u64::from(skipped) - 1));
        }
    }

    /// Whether a window has no room for the next document, of `left` tokens.
    fn is_full(&self, window: &Window, left: u32) -> bool {
        match self.packing {
            Packing::Pack => window.tokens == self.tokens_max,
            Packing::BestFit => window.documents == self.documents_max || window.tokens + u64::from(left) > self.tokens_max,
            Packing::OnePerRow => window.documents == self.documents_max.min(self.rows_max),
        }
    }

    fn close(&mut self) {
        self.done.extend(self.open.take());
    }

    fn finish(mut self) -> Vec<Window> {
        self.close();
        self.done
    }
}

impl Window {
    /// The documents of the window, in order.
    pub(super) fn members(&self, paths: &[PathBuf]) -> Result<Vec<Member>> {
        let mut members = Vec::with_capacity(self.documents as usize);
        let Place { mut file, entry, mut token, split } = self.first;
        let mut entries = Entries::open(&paths[file], entry)?;
        let (mut number, mut known) = (Some(split), 0);
        let (mut skipped, mut left) = (self.skipped, self.tokens);
        while (members.len() as u64) < self.documents {
            match entries.next()? {
                Some(Entry::Split(name)) => {
                    if name == self.split {
                        number = Some(known);
                    }
                    known += 1;
                }
                Some(Entry::Document(document)) => {
                    if number == Some(document.split) {
                        let length = u64::from(document.length - skipped).min(left);
                        left -= length;
                        members.push(Member { document, file, token, extent: Extent { start: skipped, length: length as u32 } });
                        skipped = 0;
                    }
                    token += u64::from(document.length);
                }
                Some(Entry::Reject(_) | Entry::Counts { .. }) => {}
                None => {
                    file += 1;
                    let Some(path) = paths.get(file) else { bail!("the lists of documents are shorter than when they were planned") };
                    entries = Entries::open(path, 0)?;
                    (token, number, known) = (0, None, 0);
                }
            }
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn windows(packing: Packing, lengths: &[u32], room: u32, rows_max: u64, documents_max: u64) -> Vec<Window> {
        let mut windows = Windows::new("train", packing, room, rows_max, documents_max);
        let mut token = 0;
        for length in lengths {
            windows.add(*length, Place { file: 0, entry: token, token, split: 0 });
            token += u64::from(*length);
        }
        windows.finish()
    }

    #[test]
    fn a_window_ends_within_a_document_only_where_documents_are_cut_anyway() {
        // Skipped tokens, documents and tokens of each window; rows hold 4 tokens, shards 2 rows.
        let check = |packing, lengths: &[u32], expected: &[(u32, u64, u64)]| {
            let found: Vec<_> = windows(packing, lengths, 4, 2, 100).iter().map(|w| (w.skipped, w.documents, w.tokens)).collect();
            assert_eq!(found, expected);
        };
        check(Packing::Pack, &[3, 20, 1], &[(0, 2, 8), (5, 1, 8), (13, 2, 8)]);
        check(Packing::Pack, &[8, 8, 1], &[(0, 1, 8), (0, 1, 8), (0, 1, 1)]);
        check(Packing::BestFit, &[3, 5, 20, 1], &[(0, 2, 8), (0, 1, 20), (0, 1, 1)]);
        check(Packing::OnePerRow, &[3, 4, 1], &[(0, 2, 7), (0, 1, 1)]);
        check(Packing::Pack, &[], &[]);
    }

    proptest! {
        #[test]
        fn windows_follow_one_another_and_stay_small(
            lengths in prop::collection::vec(1u32..30, 0..60), room in 1u32..10, rows_max in 1u64..5, documents_max in 1u64..9,
        ) {
            for packing in [Packing::Pack, Packing::BestFit, Packing::OnePerRow] {
                let windows = windows(packing, &lengths, room, rows_max, documents_max);
                prop_assert_eq!(windows.iter().map(|window| window.tokens).sum::<u64>(), lengths.iter().map(|n| u64::from(*n)).sum::<u64>());
                let mut next = 0;
                for (number, window) in windows.iter().enumerate() {
                    prop_assert_eq!((window.number, window.first.token + u64::from(window.skipped)), (number, next));
                    prop_assert_eq!(window.before, next.checked_sub(1).map(|token| (0, token)));
                    next += window.tokens;
                    let full = rows_max * u64::from(room);
                    match packing {
                        Packing::Pack => {
                            prop_assert!(window.tokens <= full && window.documents < documents_max + u64::from(room));
                            // Rows are whole but in the last shard.
                            prop_assert!(number + 1 == windows.len() || window.tokens % u64::from(room) == 0);
                        }
                        Packing::BestFit => {
                            prop_assert!(window.skipped == 0 && window.documents <= documents_max);
                            prop_assert!(window.tokens <= full || window.documents == 1);
                        }
                        Packing::OnePerRow => prop_assert!(window.skipped == 0 && window.documents <= rows_max.min(documents_max)),
                    }
                }
            }
        }
    }
}
