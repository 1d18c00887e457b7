//! Seeded random numbers, and drawing from a distribution in constant time.

/// SplitMix64 (Steele, Lea and Flood 2014): any state is a good one, so streams are made from numbers of chunks.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// A stream of its own for each list of numbers.
    pub(crate) fn new(numbers: &[u64]) -> Random {
        let mut random = Random(0);
        for number in numbers {
            random.0 ^= number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            random.0 = random.next();
        }
        random
    }

    #[inline(always)]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which is at most 2^32.
    #[inline(always)]
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (((self.next() >> 32) * n as u64) >> 32) as usize
    }

    /// From 0 to 1, in steps of 2^-24.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }
}

/// Draws an index by weights: Walker's alias method in the form of Vose 1991.
pub(crate) struct Alias {
    /// Of each index: the share of 2^32 in which it stays, and which index takes its place otherwise.
    cells: Vec<(u32, u32)>,
}

impl Alias {
    /// From weights, not all zero.
    pub(crate) fn new(weights: &[f64]) -> Alias {
        let n = weights.len();
        let mean = weights.iter().sum::<f64>() / n as f64;
        let mut scaled: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..n).partition(|index| scaled[*index] < 1.0);
        let mut cells: Vec<(u32, u32)> = (0..n as u32).map(|index| (u32::MAX, index)).collect();
        while let (Some(low), Some(&high)) = (small.pop(), large.last()) {
            cells[low] = ((scaled[low] * 4_294_967_296.0) as u32, high as u32);
            scaled[high] -= 1.0 - scaled[low];
            if scaled[high] < 1.0 {
                large.pop();
                small.push(high);
            }
        }
        Alias { cells }
    }

    #[inline(always)]
    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let bits = random.next();
        let index = (((bits >> 32) * self.cells.len() as u64) >> 32) as usize;
        let (share, other) = self.cells[index];
        if (bits as u32) < share { index } else { other as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_weights() {
        let weights = [5.0, 0.0, 1.0, 3.0, 1.0];
        let alias = Alias::new(&weights);
        let mut random = Random::new(&[1, 2]);
        let mut counts = [0.0; 5];
        let draws = 1_000_000;
        (0..draws).for_each(|_| counts[alias.draw(&mut random)] += 1.0);
        assert_eq!(counts[1], 0.0);
        let expected: Vec<f64> = weights.iter().map(|weight| weight / 10.0 * f64::from(draws)).collect();
        let chi2: f64 = counts.iter().zip(&expected).filter(|(_, e)| **e > 0.0).map(|(n, e)| (n - e) * (n - e) / e).sum();
        // The 0.999 quantile of χ² with 3 degrees of freedom.
        assert!(chi2 < 16.3, "{counts:?}");
    }

    #[test]
    fn streams_differ_and_repeat() {
        let first = |numbers: &[u64]| Random::new(numbers).next();
        assert_eq!(first(&[1, 2, 3]), first(&[1, 2, 3]));
        assert_ne!(first(&[1, 2, 3]), first(&[1, 3, 2]));
        assert!((0..1000).all(|n| Random::new(&[n]).below(7) < 7));
    }
}
