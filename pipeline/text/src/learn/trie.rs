//! Which pieces begin at a place in a word: a tree over the symbols of all pieces.

/// No piece ends here.
const NONE: u32 = u32::MAX;

/// The tree, its nodes in order of depth.
pub(super) struct Trie {
    /// Of each node, its first edge; one more at the end.
    first: Vec<u32>,
    /// Symbol and node below; those of a node lie side by side in order of their symbols.
    edges: Vec<(u32, u32)>,
    /// Of each node, the piece that ends there.
    piece: Vec<u32>,
}

impl Trie {
    /// Over pieces in order of their symbols, each once.
    pub(super) fn new(pieces: &[&[u32]]) -> Trie {
        let mut trie = Trie { first: Vec::new(), edges: Vec::new(), piece: Vec::new() };
        // Of each node not built yet: its pieces.
        let mut ranges = vec![(0, pieces.len(), 0)];
        let mut node = 0;
        while node < ranges.len() {
            let (mut from, to, depth) = ranges[node];
            let ends = from < to && pieces[from].len() == depth;
            trie.piece.push(if ends { from as u32 } else { NONE });
            from += usize::from(ends);
            trie.first.push(trie.edges.len() as u32);
            while from < to {
                let symbol = pieces[from][depth];
                let end = from + pieces[from..to].partition_point(|piece| piece[depth] == symbol);
                trie.edges.push((symbol, ranges.len() as u32));
                ranges.push((from, end, depth + 1));
                from = end;
            }
            node += 1;
        }
        trie.first.push(trie.edges.len() as u32);
        trie
    }

    /// Calls `found` with the length and the number of every piece that `symbols` begins with, shortest first.
    pub(super) fn prefixes(&self, symbols: &[u32], mut found: impl FnMut(usize, usize)) {
        let mut node = 0;
        for (index, symbol) in symbols.iter().enumerate() {
            let edges = &self.edges[self.first[node] as usize..self.first[node + 1] as usize];
            let Ok(edge) = edges.binary_search_by_key(symbol, |(symbol, _)| *symbol) else { return };
            node = edges[edge].1 as usize;
            if self.piece[node] != NONE {
                found(index + 1, self.piece[node] as usize);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_all_prefixes() {
        let pieces: [&[u32]; 6] = [&[1], &[1, 2], &[1, 2, 3, 4], &[1, 3], &[2], &[2, 2]];
        let trie = Trie::new(&pieces);
        let found = |symbols: &[u32]| {
            let mut found = Vec::new();
            trie.prefixes(symbols, |length, piece| found.push((length, piece)));
            found
        };
        assert_eq!(found(&[1, 2, 3, 4, 5]), [(1, 0), (2, 1), (4, 2)]);
        assert_eq!(found(&[2, 2, 2]), [(1, 4), (2, 5)]);
        assert_eq!(found(&[3]), []);
    }
}
