//! Seeds for everything random: pure functions of the run's seed, what it is for, and a number. No generator runs along.

/// What a seed is for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    Weights = 1,
    Dropout = 2,
    Order = 3,
    Masks = 4,
    ValidMasks = 5,
    PredictMasks = 6,
    /// Tokens that are drawn.
    Draws = 7,
    /// Solved examples before a prompt.
    Examples = 8,
    /// Whose turn a step is of several tasks, and the order of each one's rows.
    Turns = 9,
    Noise = 21,
}

/// The finalizer of SplitMix64 (Steele et al. 2014).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The seed for `purpose` number `number` of a run.
pub fn derive(seed: u64, purpose: Purpose, number: u64) -> u64 {
    let step = |state: u64, value: u64| mix(state.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_add(value));
    step(step(mix(seed), purpose as u64), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_by_seed_purpose_and_number() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..10 {
            for purpose in [Purpose::Weights, Purpose::Dropout, Purpose::Masks] {
                for number in 0..100 {
                    assert!(seen.insert(derive(seed, purpose, number)));
                }
            }
        }
    }
}
