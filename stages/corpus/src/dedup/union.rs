//! Union-find over documents: 4 bytes each, the smallest number of a set is its root.

/// Disjoint sets of the numbers `0..documents`.
pub struct UnionFind {
    parents: Vec<u32>,
}

impl UnionFind {
    pub fn new(documents: u32) -> UnionFind {
        UnionFind { parents: (0..documents).collect() }
    }

    pub fn is_root(&self, document: u32) -> bool {
        self.parents[document as usize] == document
    }

    /// The smallest number of the set. Shortens the way for later searches.
    pub fn find(&mut self, mut document: u32) -> u32 {
        while !self.is_root(document) {
            let parent = self.parents[document as usize];
            self.parents[document as usize] = self.parents[parent as usize];
            document = parent;
        }
        document
    }

    pub fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.find(a), self.find(b));
        self.parents[a.max(b) as usize] = a.min(b);
    }

    /// All sets of two or more, as (root, member) sorted; the root is a member too.
    pub fn sets(&mut self) -> Vec<(u32, u32)> {
        let mut members = Vec::new();
        for document in 0..self.parents.len() as u32 {
            if !self.is_root(document) {
                members.push((self.find(document), document));
            }
        }
        members.sort_unstable();
        let roots: Vec<u32> = members.chunk_by(|a, b| a.0 == b.0).map(|set| set[0].0).collect();
        members.extend(roots.into_iter().map(|root| (root, root)));
        members.sort_unstable();
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sets_have_their_smallest_member_as_root() {
        let mut sets = UnionFind::new(7);
        for (a, b) in [(5, 3), (6, 5), (1, 0), (3, 6)] {
            sets.join(a, b);
        }
        assert_eq!(sets.sets(), [(0, 0), (0, 1), (3, 3), (3, 5), (3, 6)]);
    }

    proptest! {
        #[test]
        fn any_order_of_joins_gives_the_same_sets(mut pairs in proptest::collection::vec((0..50_u32, 0..50_u32), 0..60)) {
            let join = |pairs: &[(u32, u32)]| {
                let mut sets = UnionFind::new(50);
                pairs.iter().for_each(|(a, b)| sets.join(*a, *b));
                sets.sets()
            };
            let once = join(&pairs);
            pairs.reverse();
            prop_assert_eq!(join(&pairs), once);
        }
    }
}
