//! A counter-based random number: a function of a key and a counter, with no state to keep.
//!
//! The finalizer of SplitMix64 (Steele, Lea, Flood 2014), once for each input; its output passes as uniform for shuffling and masking.

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// What [`absorb`] starts from.
pub(crate) const START: u64 = STEP;

/// The finalizer of SplitMix64: every input bit changes every output bit with a chance of about one half.
#[inline]
fn finalize(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The random number for one more input: `random([a, b])` is `absorb(absorb(START, a), b)`, so that what many numbers share is mixed once.
#[inline]
pub(crate) fn absorb(state: u64, input: u64) -> u64 {
    finalize(state.wrapping_add(finalize(input.wrapping_add(STEP))).wrapping_add(STEP))
}

/// A random number as a function of `inputs`, uniform over all of u64.
#[inline]
pub fn random<const N: usize>(inputs: [u64; N]) -> u64 {
    inputs.into_iter().fold(START, absorb)
}

/// A number in 0..1 with 53 random bits.
pub fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// A number in 0..n, without division (Lemire 2019, without the rejection: the bias is below n / 2^64).
pub fn below(random: u64, n: u64) -> u64 {
    ((u128::from(random) * u128::from(n)) >> 64) as u64
}
