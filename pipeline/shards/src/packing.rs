//! Packing: which piece of which document stands in which row.
//!
//! A packing is a pure function of the documents' lengths, so that rows can be filled later, on any thread, in any order.
//! Token 0 of a row is context, in no piece and never predicted; the pieces tile the rest, what follows them is padding. `room` is what a row
//! holds besides its context.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A piece of a document inside a row, as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub document: [u8; 16],
    /// Index of the first token within the document.
    pub start: i64,
    pub length: i32,
    /// What the document counts in the loss; 1 where shards have no weights.
    pub weight: f32,
}

/// The tokens of a document that are to be packed; all of them, but where a shard begins or ends within the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Index of the first token within the document.
    pub start: u32,
    pub length: u32,
}

/// A piece of a document in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Index of the document among those that were packed.
    pub document: u32,
    /// Index of the first token within the document.
    pub start: u32,
    pub length: u32,
}

/// Rows as lists of pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackedRows {
    pieces: Vec<Piece>,
    /// For each row, the end of its pieces.
    ends: Vec<usize>,
}

impl PackedRows {
    /// The number of rows.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// The pieces of each row.
    pub fn iter(&self) -> impl Iterator<Item = &[Piece]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.pieces[start..*end])
    }

    /// Ends the row, unless it has no piece.
    fn close(&mut self) {
        if self.pieces.len() > self.ends.last().copied().unwrap_or(0) {
            self.ends.push(self.pieces.len());
        }
    }
}

/// One document after another, cut where a row ends.
pub fn concatenate(documents: &[Extent], room: u32) -> PackedRows {
    assert!(room > 0, "a row needs a token besides its context");
    let mut rows = PackedRows::default();
    let mut left = room;
    for (document, extent) in (0..).zip(documents) {
        let Extent { mut start, mut length } = *extent;
        while length > 0 {
            if left == 0 {
                rows.close();
                left = room;
            }
            let taken = length.min(left);
            rows.pieces.push(Piece { document, start, length: taken });
            (start, length, left) = (start + taken, length - taken, left - taken);
        }
    }
    rows.close();
    rows
}

/// Each document in a row of its own; longer ones are cut into rows.
pub fn one_per_row(documents: &[Extent], room: u32) -> PackedRows {
    let mut rows = PackedRows::default();
    for piece in pieces(documents, room) {
        rows.pieces.push(piece);
        rows.close();
    }
    rows
}

/// Best-fit-decreasing (Ding et al. 2024, "Fewer Truncations Improve Language Modeling"): documents longer than a row are cut into pieces of its
/// size, and all pieces, the longest first, go where the least room is left over. So no document is cut that fits into a row.
///
/// Rows come in the order of their first documents, and so do the documents in a row.
pub fn best_fit(documents: &[Extent], room: u32) -> PackedRows {
    let pieces: Vec<Piece> = pieces(documents, room).collect();
    let mut longest_first: Vec<usize> = (0..pieces.len()).collect();
    longest_first.sort_by_key(|index| Reverse(pieces[*index].length));
    let mut row_of = vec![0; pieces.len()];
    let mut rows = 0;
    // Rows by the room that is left in them.
    let mut open: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for index in longest_first {
        let length = pieces[index].length;
        let (left, row) = match open.range_mut(length..).next() {
            Some((left, waiting)) => (*left, waiting.pop()),
            None => (room, None),
        };
        if open.get(&left).is_some_and(Vec::is_empty) {
            open.remove(&left);
        }
        row_of[index] = row.unwrap_or(rows);
        rows = rows.max(row_of[index] + 1);
        if left > length {
            open.entry(left - length).or_default().push(row_of[index]);
        }
    }
    arrange(&pieces, &row_of, rows)
}

/// Pieces of at most `room` tokens, in order.
fn pieces(documents: &[Extent], room: u32) -> impl Iterator<Item = Piece> {
    assert!(room > 0, "a row needs a token besides its context");
    (0..).zip(documents).flat_map(move |(document, extent)| {
        let Extent { start, length } = *extent;
        (0..length.div_ceil(room)).map(move |n| Piece { document, start: start + n * room, length: room.min(length - n * room) })
    })
}

/// Rows in the order of their first pieces, pieces in their own order.
fn arrange(pieces: &[Piece], row_of: &[usize], rows: usize) -> PackedRows {
    let mut counts = vec![0; rows];
    for row in row_of {
        counts[*row] += 1;
    }
    let mut next = vec![usize::MAX; rows];
    let mut ends = Vec::with_capacity(rows);
    let mut arranged = vec![Piece { document: 0, start: 0, length: 0 }; pieces.len()];
    for (piece, row) in pieces.iter().zip(row_of) {
        if next[*row] == usize::MAX {
            next[*row] = ends.last().copied().unwrap_or(0);
            ends.push(next[*row] + counts[*row]);
        }
        arranged[next[*row]] = *piece;
        next[*row] += 1;
    }
    PackedRows { pieces: arranged, ends }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Pack = fn(&[Extent], u32) -> PackedRows;

    fn whole(lengths: &[u32]) -> Vec<Extent> {
        lengths.iter().map(|length| Extent { start: 0, length: *length }).collect()
    }

    /// The pieces as (document, start, length).
    fn check(pack: Pack, lengths: &[u32], room: u32, expected: &[&[(u32, u32, u32)]]) {
        let rows = pack(&whole(lengths), room);
        let found: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(|p| (p.document, p.start, p.length)).collect()).collect();
        assert_eq!(found, expected);
        assert_eq!(rows.count(), expected.len());
    }

    #[test]
    fn concatenated_documents_are_cut_where_a_row_ends() {
        check(concatenate, &[4, 2], 4, &[&[(0, 0, 4)], &[(1, 0, 2)]]);
        check(concatenate, &[1, 5, 0, 1], 3, &[&[(0, 0, 1), (1, 0, 2)], &[(1, 2, 3)], &[(3, 0, 1)]]);
        check(concatenate, &[], 3, &[]);
        check(concatenate, &[0, 0], 3, &[]);
        let middle = [Extent { start: 7, length: 3 }, Extent { start: 0, length: 2 }];
        let rows = concatenate(&middle, 4);
        assert_eq!(rows.iter().next().unwrap()[0], Piece { document: 0, start: 7, length: 3 });
    }

    #[test]
    fn one_per_row_is_one_per_row() {
        check(one_per_row, &[4, 2, 0, 5], 4, &[&[(0, 0, 4)], &[(1, 0, 2)], &[(3, 0, 4)], &[(3, 4, 1)]]);
    }

    #[test]
    fn best_fit_takes_the_row_with_the_least_room_left_over() {
        // By hand: 7 | 6 | 5 | 4 with 6 | 3 with 7 | 2 with 5 | 2 with the row of 5 and 2, which has 3 left.
        check(
            best_fit,
            &[2, 7, 4, 6, 3, 5, 2],
            10,
            &[&[(0, 0, 2), (5, 0, 5), (6, 0, 2)], &[(1, 0, 7), (4, 0, 3)], &[(2, 0, 4), (3, 0, 6)]],
        );
        // A document longer than a row is cut into whole rows, and its rest is packed like any other.
        check(best_fit, &[1, 9, 3], 4, &[&[(0, 0, 1), (2, 0, 3)], &[(1, 0, 4)], &[(1, 4, 4)], &[(1, 8, 1)]]);
        check(best_fit, &[], 4, &[]);
    }

    /// Best-fit-decreasing as one would write it down: every row is looked at for every piece.
    fn rows_of_plain_best_fit(lengths: &[u32], room: u32) -> usize {
        let mut pieces: Vec<u32> = pieces(&whole(lengths), room).map(|piece| piece.length).collect();
        pieces.sort_unstable_by_key(|length| Reverse(*length));
        let mut left: Vec<u32> = Vec::new();
        for length in pieces {
            match left.iter_mut().filter(|left| **left >= length).min() {
                Some(left) => *left -= length,
                None => left.push(room - length),
            }
        }
        left.len()
    }

    proptest! {
        #[test]
        fn no_token_is_lost_or_doubled(lengths in prop::collection::vec(0u32..40, 0..60), room in 1u32..20) {
            let packings: [Pack; 3] = [concatenate, best_fit, one_per_row];
            for (which, pack) in packings.into_iter().enumerate() {
                let rows = pack(&whole(&lengths), room);
                let mut found = vec![Vec::new(); lengths.len()];
                for (index, row) in rows.iter().enumerate() {
                    let used: u32 = row.iter().map(|piece| piece.length).sum();
                    prop_assert!(used > 0 && used <= room);
                    // Only the last row may have padding.
                    prop_assert!(which > 0 || used == room || index + 1 == rows.count());
                    prop_assert!(which < 2 || row.len() == 1);
                    for piece in row {
                        // No piece is shorter than it need be, but for concatenation.
                        let length = lengths[piece.document as usize];
                        prop_assert!(which == 0 || piece.length == room || piece.start + piece.length == length);
                        found[piece.document as usize].extend(piece.start..piece.start + piece.length);
                    }
                }
                if which == 1 {
                    prop_assert_eq!(rows.count(), rows_of_plain_best_fit(&lengths, room));
                    let firsts: Vec<(u32, u32)> = rows.iter().map(|row| (row[0].document, row[0].start)).collect();
                    prop_assert!(firsts.is_sorted());
                }
                for (document, mut tokens) in found.into_iter().enumerate() {
                    tokens.sort_unstable();
                    prop_assert_eq!(tokens, (0..lengths[document]).collect::<Vec<_>>());
                }
            }
        }
    }
}
