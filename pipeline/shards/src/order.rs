//! The order of samples over several sources: a pure function sample → (source, row), with shares that may change on the way.
//!
//! A counter is all the state there is: any sample of any epoch is found at once, so a resume is instant and exact, and the order does not
//! depend on how many ranks or workers share it. Rank r of R takes the samples r, r + R, …

use anyhow::{Result, bail};

use crate::mixing::random;
use crate::permute::Shuffle;

/// All weights of a phase as one number of parts.
const PARTS: u64 = 1 << 32;
/// Keeps the seeds of sources apart; source 0 has the seed itself.
const NEXT_SOURCE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Which row of which source is read as sample number n.
#[derive(Clone, Debug)]
pub struct Order {
    seed: u64,
    shuffle: Shuffle,
    /// Rows of each source.
    rows: Vec<u64>,
    phases: Vec<Phase>,
}

/// Samples with the same shares.
#[derive(Clone, Debug)]
struct Phase {
    /// Number of its first sample.
    first: u64,
    /// Of each source; all are [`PARTS`] together.
    shares: Vec<u64>,
    /// How many samples of each source the phases before have.
    before: Vec<u64>,
}

/// Where a sample is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub source: usize,
    /// How often the source was gone through before.
    pub epoch: u64,
    /// Row of the source.
    pub row: u64,
}

impl Order {
    /// One source of so many rows, gone through again and again, each time in another order.
    pub fn new(seed: u64, rows: u64, shuffle: Shuffle) -> Result<Order> {
        Order::mixed(seed, &[rows], &[(0, vec![1.0])], shuffle)
    }

    /// Several sources of so many rows each. A phase has its first sample and a weight for each source, in any scale; the first begins at 0.
    ///
    /// # Errors
    /// If a phase has not one weight for each source or all of them are 0, if one is negative, if phases are out of order, or if a source
    /// without rows has a weight.
    pub fn mixed(seed: u64, rows: &[u64], phases: &[(u64, Vec<f64>)], shuffle: Shuffle) -> Result<Order> {
        if phases.first().is_none_or(|(first, _)| *first != 0) || !phases.is_sorted_by(|(a, _), (b, _)| a < b) {
            bail!("the first phase must begin at 0, and each later one after the one before");
        }
        let mut order = Order { seed, shuffle, rows: rows.to_vec(), phases: Vec::new() };
        for (first, weights) in phases {
            if weights.len() != rows.len() {
                bail!("{} weights for {} sources", weights.len(), rows.len());
            }
            if let Some(empty) = (0..rows.len()).find(|source| rows[*source] == 0 && weights[*source] > 0.0) {
                bail!("source {empty} has a weight and no rows");
            }
            let shares = apportion(weights)?;
            let before = match order.phases.last() {
                None => vec![0; rows.len()],
                Some(last) => {
                    let number = order.phases.len() - 1;
                    let counts = Events::around(seed, number as u64, &last.shares, first - last.first).counts(rows.len());
                    last.before.iter().zip(counts).map(|(before, count)| before + count).collect()
                }
            };
            order.phases.push(Phase { first: *first, shares, before });
        }
        Ok(order)
    }

    /// Where sample number `sample` is read. The samples of a source go through its epochs one after another, each row once in each.
    pub fn place(&self, sample: u64) -> Place {
        let (source, index) = self.turn(sample);
        let rows = self.rows[source];
        let seed = self.seed.wrapping_add((source as u64).wrapping_mul(NEXT_SOURCE));
        Place { source, epoch: index / rows, row: self.shuffle.row(seed, index / rows, rows, index % rows) }
    }

    /// Which source sample number `sample` is of, and how many of that source come before it.
    pub fn turn(&self, sample: u64) -> (usize, u64) {
        let number = self.phases.partition_point(|phase| phase.first <= sample) - 1;
        let phase = &self.phases[number];
        let (source, index) = match phase.shares.iter().position(|share| *share == PARTS) {
            Some(only) => (only, sample - phase.first),
            None => Events::around(self.seed, number as u64, &phase.shares, sample - phase.first).nth(),
        };
        (source, phase.before[source] + index)
    }
}

/// Weights as whole parts of [`PARTS`]; those with the largest remainders are rounded up.
fn apportion(weights: &[f64]) -> Result<Vec<u64>> {
    let sum: f64 = weights.iter().sum();
    if weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0) || !sum.is_finite() || sum <= 0.0 {
        bail!("weights {weights:?}: they must be numbers from 0 on, and one above 0");
    }
    let exact: Vec<f64> = weights.iter().map(|weight| weight / sum * PARTS as f64).collect();
    let mut shares: Vec<u64> = exact.iter().map(|exact| *exact as u64).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).filter(|source| weights[*source] > 0.0).collect();
    by_remainder.sort_by(|a, b| (exact[*b].fract(), *a).partial_cmp(&(exact[*a].fract(), *b)).unwrap_or(std::cmp::Ordering::Equal));
    let missing = PARTS.saturating_sub(shares.iter().sum());
    for source in by_remainder.into_iter().cycle().take(missing as usize) {
        shares[source] += 1;
    }
    Ok(shares)
}

/// The samples of a phase are events in time: a source of share s has its j-th one at (j + jitter) / s, with a jitter of 0..1 that hangs on
/// seed, phase, source and j. Sample n is event n of all. At any time t a source has had s · t events, give or take one; so among n samples
/// each source has its share, give or take a few, and event n lies within the number of sources around t = n, where it is looked for.
struct Events {
    /// (time, source, j) around the wanted event, in order.
    around: Vec<(u128, usize, u64)>,
    /// How many events of each source come before those around.
    skipped: Vec<u64>,
    /// Index of the wanted event among those around.
    wanted: usize,
}

impl Events {
    fn around(seed: u64, phase: u64, shares: &[u64], n: u64) -> Events {
        let sources = shares.len() as u64;
        let of_time = |share: u64, time: u64| ((u128::from(share) * u128::from(time)) / u128::from(PARTS)) as u64;
        let mut around = Vec::with_capacity(4 * shares.len());
        let mut skipped = Vec::with_capacity(shares.len());
        for (source, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0) {
            skipped.resize(source, 0);
            let first = of_time(*share, n.saturating_sub(sources));
            skipped.push(first);
            for j in first..=of_time(*share, n.saturating_add(sources + 1)) {
                let jitter = random([seed, phase, source as u64, j]) >> 32;
                // Time in parts of 2^-32.
                let time = (((u128::from(j) << 32) + u128::from(jitter)) << 32) / u128::from(*share);
                around.push((time, source, j));
            }
        }
        around.sort_unstable();
        let wanted = (n - skipped.iter().sum::<u64>()) as usize;
        Events { around, skipped, wanted }
    }

    /// Source and number of the wanted event.
    fn nth(&self) -> (usize, u64) {
        let (_, source, j) = self.around[self.wanted];
        (source, j)
    }

    /// How many events of each source come before the wanted one.
    fn counts(mut self, sources: usize) -> Vec<u64> {
        self.skipped.resize(sources, 0);
        for (_, source, _) in &self.around[..self.wanted] {
            self.skipped[*source] += 1;
        }
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permute::Blocks;
    use proptest::prelude::*;

    fn places(order: &Order, samples: std::ops::Range<u64>) -> Vec<Place> {
        samples.map(|sample| order.place(sample)).collect()
    }

    #[test]
    fn the_order_is_fixed_for_all_time() {
        let phases = [(0, vec![3.0, 1.0]), (6, vec![0.0, 1.0]), (8, vec![1.0, 1.0])];
        let order = Order::mixed(42, &[5, 3], &phases, Shuffle::Rows).unwrap();
        let found: Vec<(usize, u64, u64)> = places(&order, 0..12).into_iter().map(|place| (place.source, place.epoch, place.row)).collect();
        let expected = [
            (0, 0, 4),
            (0, 0, 0),
            (0, 0, 3),
            (1, 0, 2),
            (0, 0, 2),
            (0, 0, 1),
            (1, 0, 0),
            (1, 0, 1),
            (0, 1, 0),
            (1, 1, 1),
            (0, 1, 1),
            (1, 1, 0),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn one_source_is_read_as_the_permutation_says() {
        let order = Order::new(7, 10, Shuffle::Rows).unwrap();
        for sample in 0..40 {
            let row = crate::permute(7, sample / 10, 10, sample % 10);
            assert_eq!(order.place(sample), Place { source: 0, epoch: sample / 10, row });
        }
    }

    #[test]
    fn bad_mixtures_are_refused() {
        let check = |rows: &[u64], phases: &[(u64, Vec<f64>)], expected: &str| {
            let error = Order::mixed(1, rows, phases, Shuffle::Rows).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&[1], &[], "first phase must begin at 0");
        check(&[1], &[(3, vec![1.0])], "first phase must begin at 0");
        check(&[1], &[(0, vec![1.0]), (0, vec![1.0])], "each later one after the one before");
        check(&[1, 2], &[(0, vec![1.0])], "1 weights for 2 sources");
        check(&[1, 0], &[(0, vec![1.0, 0.5])], "source 1 has a weight and no rows");
        check(&[1, 1], &[(0, vec![0.0, 0.0])], "one above 0");
        check(&[1, 1], &[(0, vec![1.0, -0.5])], "numbers from 0 on");
        check(&[1, 1], &[(0, vec![1.0, f64::NAN])], "numbers from 0 on");
    }

    fn weights() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(prop_oneof![Just(0.0), 0.001..1.0f64, Just(1.0)], 3).prop_filter("none", |w| w.iter().sum::<f64>() > 0.0)
    }

    proptest! {
        #[test]
        fn every_source_is_gone_through_row_by_row_in_its_share(
            seed: u64, phases in prop::collection::vec((1u64..400, weights()), 1..4), rows in prop::collection::vec(1u64..60, 3), blocks: bool,
        ) {
            let shuffle = if blocks { Shuffle::Blocks(Blocks { rows: 4, window: 3 }) } else { Shuffle::Rows };
            let mut first = 0;
            let mut firsts = Vec::new();
            for (length, weights) in &phases {
                firsts.push((first, weights.clone()));
                first += length;
            }
            let order = Order::mixed(seed, &rows, &firsts, shuffle).unwrap();
            let mut seen = vec![Vec::new(); 3];
            let mut sample = 0;
            for (length, weights) in &phases {
                let before: Vec<usize> = seen.iter().map(Vec::len).collect();
                for n in 1..=*length {
                    let place = order.place(sample);
                    seen[place.source].push(place);
                    sample += 1;
                    for source in 0..3 {
                        let share = weights[source] / weights.iter().sum::<f64>() * n as f64;
                        let found = (seen[source].len() - before[source]) as f64;
                        prop_assert!((found - share).abs() <= 3.0, "{found} of {share}");
                        prop_assert!(weights[source] > 0.0 || found == 0.0);
                    }
                }
            }
            for (source, places) in seen.iter().enumerate() {
                for (epoch, places) in places.chunks(rows[source] as usize).enumerate() {
                    let mut found: Vec<u64> = places.iter().map(|place| place.row).collect();
                    found.sort_unstable();
                    found.dedup();
                    prop_assert_eq!(found.len(), places.len());
                    prop_assert!(places.iter().all(|place| place.epoch == epoch as u64 && place.row < rows[source]));
                }
            }
        }

        #[test]
        fn samples_far_out_are_found_at_once(seed: u64, sample in 0u64..1 << 50) {
            let order = Order::mixed(seed, &[1 << 30, 7, 1 << 40], &[(0, vec![0.9, 0.0001, 0.1]), (1 << 45, vec![1.0, 2.0, 3.0])], Shuffle::Rows);
            let place = order.unwrap().place(sample);
            prop_assert!(place.row < [1 << 30, 7, 1 << 40][place.source]);
        }
    }
}
