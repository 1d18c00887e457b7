//! The order in which the rows of one source are read: keyed permutations, O(1) in memory and time.

use crate::mixing::{START, absorb, below, random};

/// Rounds of the Feistel network; four make a pseudo-random permutation from pseudo-random functions (Luby, Rackoff 1988), six leave a margin
/// for the small domains of short corpora.
const ROUNDS: u64 = 6;

/// How the rows of an epoch are shuffled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shuffle {
    /// Every row may come anywhere.
    Rows,
    /// Blocks of neighbouring rows come in any order, and rows in any order within a window of blocks.
    Blocks(Blocks),
}

/// For disks slower than NVMe, that read neighbouring rows much faster than scattered ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Rows of a block, at least 1; the last one may be shorter.
    pub rows: u64,
    /// Blocks of a window, at least 1.
    pub window: u64,
}

impl Shuffle {
    /// The row that is read at `index` of `epoch`, for `n` rows: a permutation of 0..n for each (seed, epoch).
    ///
    /// # Panics
    /// If `index >= n`: that is a bug of the caller.
    pub fn row(self, seed: u64, epoch: u64, n: u64, index: u64) -> u64 {
        match self {
            Shuffle::Rows => permute(seed, epoch, n, index),
            Shuffle::Blocks(blocks) => permute_blocks(seed, epoch, n, blocks, index),
        }
    }
}

/// The row that is read at `index` of `epoch`, for `n` rows: a permutation of 0..n for each (seed, epoch).
///
/// A balanced Feistel network over the next power of 4; a result beyond `n` goes through again ("cycle walking", Black and Rogaway 2002), less
/// than four times on average. For one rank of R, take the indexes rank, rank + R, … of the same order.
///
/// # Panics
/// If `index >= n`: that is a bug of the caller.
pub fn permute(seed: u64, epoch: u64, n: u64, index: u64) -> u64 {
    assert!(index < n, "index {index} of {n} rows");
    // Half of the bits of the domain; at least one bit, so that two rows can change places.
    let half_bits = (u64::BITS - (n - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << half_bits) - 1;
    let key = [seed, epoch, n].into_iter().fold(START, absorb);
    let rounds: [u64; ROUNDS as usize] = std::array::from_fn(|round| absorb(key, round as u64));
    let mut value = index;
    loop {
        let (mut left, mut right) = (value >> half_bits, value & mask);
        for round in rounds {
            (left, right) = (right, left ^ (absorb(round, right) & mask));
        }
        value = left << half_bits | right;
        if value < n {
            return value;
        }
    }
}

/// Keys of what [`permute_blocks`] draws.
const OF_BLOCKS: u64 = 1;
const OF_WINDOWS: u64 = 2;
const OF_THE_SHORT_BLOCK: u64 = 3;

/// Like [`permute`], with the rows of a window of blocks close together. Blocks stand in slots: the shorter last block, if there is one, in a
/// slot of its own, the others permuted; windows of slots are then permuted row by row.
fn permute_blocks(seed: u64, epoch: u64, n: u64, blocks: Blocks, index: u64) -> u64 {
    assert!(index < n, "index {index} of {n} rows");
    let (size, window) = (blocks.rows.clamp(1, n), blocks.window.max(1));
    let (full, rest) = (n / size, n % size);
    let slots = full + u64::from(rest > 0);
    let short = if rest > 0 { below(random([seed, epoch, n, OF_THE_SHORT_BLOCK]), slots) } else { slots };
    let start = |slot: u64| if slot <= short { slot * size } else { (slot - 1) * size + rest };
    let slot_of = |position: u64| match position.checked_sub(short * size) {
        None => position / size,
        Some(beyond) if beyond < rest => short,
        Some(beyond) => short + 1 + (beyond - rest) / size,
    };
    let number = slot_of(index) / window;
    let first = start(number * window);
    let end = start((number * window).saturating_add(window).min(slots));
    let position = first + permute(random([seed, number, OF_WINDOWS]), epoch, end - first, index - first);
    let slot = slot_of(position);
    let block = match slot.cmp(&short) {
        std::cmp::Ordering::Equal => full,
        before_or_after => permute(random([seed, OF_BLOCKS]), epoch, full, slot - u64::from(before_or_after.is_gt())),
    };
    block * size + position - start(slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(seed: u64, epoch: u64, n: u64) -> Vec<u64> {
        (0..n).map(|index| permute(seed, epoch, n, index)).collect()
    }

    #[test]
    fn the_order_is_fixed_for_all_time() {
        // A change here makes resumed and repeated runs read other rows.
        assert_eq!(order(42, 0, 8), [1, 0, 3, 5, 6, 7, 4, 2]);
        let blocks = Shuffle::Blocks(Blocks { rows: 3, window: 2 });
        let found: Vec<u64> = (0..11).map(|index| blocks.row(42, 0, 11, index)).collect();
        assert_eq!(found, [4, 5, 9, 3, 10, 2, 0, 1, 7, 8, 6]);
    }

    #[test]
    fn epochs_and_seeds_differ() {
        assert_ne!(order(1, 0, 100), order(1, 1, 100));
        assert_ne!(order(1, 0, 100), order(2, 0, 100));
    }

    #[test]
    fn rows_land_everywhere_alike() {
        // Where row 0 of 10 comes in 10 000 epochs: chi-square with 9 degrees of freedom stays below 27.9 (p = 0.001).
        let mut counts = [0.0; 10];
        for epoch in 0..10_000 {
            counts[permute(7, epoch, 10, 0) as usize] += 1.0;
        }
        let chi: f64 = counts.iter().map(|count: &f64| (count - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 27.9, "{counts:?}");
    }

    proptest! {
        #[test]
        fn every_row_comes_once(seed: u64, epoch in 0u64..1000, n in 1u64..3000) {
            let mut rows = order(seed, epoch, n);
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..n).collect::<Vec<_>>());
        }

        #[test]
        fn every_row_of_blocks_comes_once(seed: u64, epoch in 0u64..1000, n in 1u64..3000, rows in 1u64..400, window in 1u64..9) {
            let shuffle = Shuffle::Blocks(Blocks { rows, window });
            let mut order: Vec<u64> = (0..n).map(|index| shuffle.row(seed, epoch, n, index)).collect();
            // A window touches its own blocks alone; the short block may shift one by its length.
            for rows_of_window in order.chunks((rows * window) as usize) {
                let mut touched: Vec<u64> = rows_of_window.iter().map(|row| row / rows).collect();
                touched.sort_unstable();
                touched.dedup();
                prop_assert!(touched.len() as u64 <= 2 * window + 1, "{touched:?}");
            }
            order.sort_unstable();
            prop_assert_eq!(order, (0..n).collect::<Vec<_>>());
        }

        #[test]
        fn huge_corpora_stay_inside(seed: u64, n in 1u64..u64::MAX / 4, index: u64) {
            prop_assert!(permute(seed, 0, n, index % n) < n);
            let blocks = Blocks { rows: 4096, window: 16 };
            prop_assert!(Shuffle::Blocks(blocks).row(seed, 0, n, index % n) < n);
        }
    }
}
