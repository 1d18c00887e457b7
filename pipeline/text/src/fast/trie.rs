//! Which pieces a text goes on with: a tree over bytes, kept as a double array (Aoe, 1989), so that a step is one read.

use anyhow::{Result, ensure};

/// No piece ends here, or no node lies here.
pub(super) const NONE: u32 = u32::MAX;

/// The root's parent.
const NOBODY: u32 = u32::MAX - 1;

const BLOCK: usize = 256;

/// Blocks before the last one whose gaps are no longer tried.
const OPEN_BLOCKS: usize = 16;

/// The child of the node at `p` by byte `b` lies at `base of p ^ b`, if it names `p` as its parent.
#[derive(Clone, Copy)]
struct Node<S> {
    parent: u32,
    base: u32,
    /// The piece that ends here, and its score.
    piece: u32,
    score: S,
}

/// The pieces, each with its number and score.
pub(super) struct Trie<S = f32> {
    /// The root lies at 0.
    nodes: Vec<Node<S>>,
}

impl<S: Copy + Default> Trie<S> {
    pub(super) fn new(mut pieces: Vec<(&[u8], u32, S)>) -> Result<Trie<S>> {
        pieces.sort_unstable_by_key(|(bytes, _, _)| *bytes);
        ensure!(pieces.windows(2).all(|pair| pair[0].0 != pair[1].0), "two pieces are the same");
        let mut nodes = vec![Self::free(); BLOCK];
        nodes[0].parent = NOBODY;
        let mut trie = Trie { nodes };
        // Of each node that has no children yet: its place, its pieces and their bytes that lead to it.
        let mut open = vec![(0, 0..pieces.len(), 0)];
        let mut children = Vec::new();
        while let Some((node, mut range, depth)) = open.pop() {
            if let Some((_, piece, score)) = pieces[range.clone()].first().filter(|(bytes, _, _)| bytes.len() == depth) {
                (trie.nodes[node].piece, trie.nodes[node].score) = (*piece, *score);
                range.start += 1;
            }
            children.clear();
            while !range.is_empty() {
                let byte = pieces[range.start].0[depth];
                let end = range.start + pieces[range.clone()].partition_point(|(bytes, _, _)| bytes[depth] == byte);
                children.push((byte, range.start..end));
                range.start = end;
            }
            let base = trie.base_for(&children.iter().map(|(byte, _)| *byte).collect::<Vec<u8>>());
            trie.nodes[node].base = base as u32;
            for (byte, range) in children.drain(..) {
                let child = base ^ usize::from(byte);
                trie.nodes[child].parent = node as u32;
                open.push((child, range, depth + 1));
            }
        }
        Ok(trie)
    }

    fn free() -> Node<S> {
        Node { parent: NONE, base: 0, piece: NONE, score: S::default() }
    }

    /// Where all these children find a free place.
    fn base_for(&mut self, bytes: &[u8]) -> usize {
        let Some(first) = bytes.first() else { return 0 };
        let free = |at: usize| self.nodes[at].parent == NONE;
        let tried = self.nodes.len().saturating_sub(OPEN_BLOCKS * BLOCK)..self.nodes.len();
        let bases = tried.filter(|at| free(*at)).map(|at| at ^ usize::from(*first));
        let fitting = bases.into_iter().find(|base| bytes.iter().all(|byte| free(base ^ usize::from(*byte))));
        fitting.unwrap_or_else(|| {
            let base = self.nodes.len();
            self.nodes.resize(base + BLOCK, Self::free());
            base
        })
    }

    /// Calls `found` with the length, the number and the score of every piece that `text` begins with, shortest first.
    #[inline(always)]
    pub(super) fn prefixes(&self, text: &[u8], mut found: impl FnMut(usize, u32, S)) {
        let (mut at, mut base) = (0, self.nodes[0].base);
        for (index, byte) in text.iter().enumerate() {
            let next = base ^ u32::from(*byte);
            // Blocks are whole, so that every base has room for all bytes.
            let node = self.nodes[next as usize];
            if node.parent != at {
                return;
            }
            (at, base) = (next, node.base);
            if node.piece != NONE {
                found(index + 1, node.piece, node.score);
            }
        }
    }

    /// The longest piece that a text begins with: its length and number.
    pub(super) fn longest(&self, text: &[u8]) -> Option<(usize, u32)> {
        let mut longest = None;
        self.prefixes(text, |length, piece, _| longest = Some((length, piece)));
        longest
    }

    /// The piece that a text is.
    pub(super) fn whole(&self, text: &[u8]) -> Option<u32> {
        self.longest(text).filter(|(length, _)| *length == text.len()).map(|(_, piece)| piece)
    }

    /// Whether some piece begins with this byte.
    pub(super) fn begins_with(&self, byte: u8) -> bool {
        self.nodes[(self.nodes[0].base ^ u32::from(byte)) as usize].parent == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_all_prefixes(pieces in proptest::collection::btree_set(proptest::collection::vec(1u8..=6, 1..6), 0..200), wide in any::<u8>(), text in proptest::collection::vec(0u8..=7, 0..9)) {
            let spread = |bytes: &[u8]| -> Vec<u8> { bytes.iter().map(|byte| byte.wrapping_mul(37) ^ wide).collect() };
            let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| spread(piece)).collect();
            let text = spread(&text);
            let trie = Trie::new(pieces.iter().zip(0..).map(|(piece, id)| (piece.as_slice(), id, id as f32)).collect()).unwrap();
            let mut found = Vec::new();
            trie.prefixes(&text, |length, id, score| found.push((length, id, score)));
            let mut expected: Vec<_> = pieces.iter().zip(0u32..).filter(|(piece, _)| text.starts_with(piece)).map(|(piece, id)| (piece.len(), id, id as f32)).collect();
            expected.sort_by_key(|(length, _, _)| *length);
            prop_assert_eq!(trie.whole(&text), expected.iter().find(|(length, _, _)| *length == text.len()).map(|(_, id, _)| *id));
            prop_assert_eq!(trie.longest(&text), expected.last().map(|(length, id, _)| (*length, *id)));
            prop_assert_eq!(found, expected);
            for byte in 0..=255 {
                prop_assert_eq!(trie.begins_with(byte), pieces.iter().any(|piece| piece[0] == byte));
            }
        }
    }

    #[test]
    fn the_same_piece_twice_is_an_error() {
        assert!(Trie::new(vec![(b"a", 0, 0.0), (b"b", 1, 0.0), (b"a", 2, 0.0)]).is_err());
    }
}
