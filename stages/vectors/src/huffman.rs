//! Huffman codes of words, for hierarchical softmax (Morin and Bengio 2005, Mikolov et al. 2013).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The way from the root to each word: inner nodes, and whether the way goes right there.
pub(crate) struct Huffman {
    starts: Vec<u32>,
    steps: Vec<(u32, bool)>,
}

impl Huffman {
    /// From the counts of at least two words. Ties are broken by the order of the words.
    pub(crate) fn new(counts: &[u64]) -> Huffman {
        let n = counts.len();
        let mut heap: BinaryHeap<Reverse<(u64, usize)>> =
            counts.iter().enumerate().map(|(index, count)| Reverse((*count, index))).collect();
        // Of each node, words first: its parent and whether it is the right child.
        let mut parents = vec![(0, false); 2 * n - 1];
        for node in n..2 * n - 1 {
            let (Some(Reverse((left, a))), Some(Reverse((right, b)))) = (heap.pop(), heap.pop()) else { break };
            parents[a] = (node, false);
            parents[b] = (node, true);
            heap.push(Reverse((left + right, node)));
        }
        let root = 2 * n - 2;
        let mut huffman = Huffman { starts: vec![0], steps: Vec::new() };
        for word in 0..n {
            let start = huffman.steps.len();
            let mut node = word;
            while node != root {
                let (parent, right) = parents[node];
                huffman.steps.push(((parent - n) as u32, right));
                node = parent;
            }
            huffman.steps[start..].reverse();
            huffman.starts.push(huffman.steps.len() as u32);
        }
        huffman
    }

    /// Inner nodes, numbered from 0, and directions, from the root on.
    #[inline(always)]
    pub(crate) fn path(&self, word: usize) -> &[(u32, bool)] {
        &self.steps[self.starts[word] as usize..self.starts[word + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frequent_words_have_short_codes() {
        let code = |word: usize| -> String {
            Huffman::new(&[5, 2, 1, 1]).path(word).iter().map(|(_, right)| if *right { '1' } else { '0' }).collect()
        };
        assert_eq!((0..4).map(code).collect::<Vec<_>>(), ["1", "00", "010", "011"]);
    }

    proptest! {
        #[test]
        fn codes_are_complete_and_free_of_prefixes(counts in prop::collection::vec(1u64..1000, 2..40)) {
            let huffman = Huffman::new(&counts);
            // Kraft's sum is 1 exactly for a complete code.
            let sum: f64 = (0..counts.len()).map(|word| 0.5f64.powi(huffman.path(word).len() as i32)).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9);
            for word in 0..counts.len() {
                prop_assert_eq!(huffman.path(word)[0].0 as usize, counts.len() - 2);
                prop_assert!(huffman.path(word).iter().all(|(node, _)| (*node as usize) < counts.len() - 1));
            }
        }
    }
}
