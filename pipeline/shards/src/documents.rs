//! Packed rows as sequences of their own: where each document begins, which tokens belong together, and positions that start anew.
//!
//! Token 0 of a row is context: it belongs to the document that follows it, as its begin.

/// Where each sequence of a row begins, and the number of tokens at the end: 0, 1 + l₀, 1 + l₀ + l₁, … for spans of the lengths l. This is what
/// attention kernels over variable lengths take as cumulative sequence lengths (FlashAttention's `cu_seqlens`, Dao et al. 2022).
pub fn boundaries(lengths: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut boundaries = vec![0];
    let mut end = 1;
    for length in lengths.into_iter().filter(|length| *length > 0) {
        end += length;
        boundaries.push(end);
    }
    if boundaries.len() == 1 {
        boundaries.push(end);
    }
    boundaries
}

/// The place of each of `time` tokens within its sequence, from 0. Padding behind the last boundary is counted on.
pub fn positions(boundaries: &[usize], time: usize) -> Vec<i64> {
    let mut positions = Vec::with_capacity(time);
    for (begin, end) in sequences(boundaries, time) {
        positions.extend(0..(end - begin) as i64);
    }
    positions
}

/// The number of the sequence that each of `time` tokens belongs to, from 0; padding has a number of its own. A token may look at those of
/// its own number.
pub fn sequence_numbers(boundaries: &[usize], time: usize) -> Vec<i64> {
    let mut numbers = Vec::with_capacity(time);
    for (number, (begin, end)) in (0..).zip(sequences(boundaries, time)) {
        numbers.resize(numbers.len() + end - begin, number);
    }
    numbers
}

/// Begin and end of each sequence within the first `time` tokens, the padding last.
fn sequences(boundaries: &[usize], time: usize) -> impl Iterator<Item = (usize, usize)> {
    let ends = boundaries.iter().skip(1).copied().chain([time]);
    boundaries.iter().copied().zip(ends).map(move |(begin, end)| (begin.min(time), end.min(time)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lengths: &[usize], time: usize, expected: (&[usize], &[i64], &[i64])) {
        let found = boundaries(lengths.iter().copied());
        assert_eq!((found.as_slice(), &*positions(&found, time), &*sequence_numbers(&found, time)), expected);
    }

    #[test]
    fn documents_begin_anew() {
        check(&[2, 1], 6, (&[0, 3, 4], &[0, 1, 2, 0, 0, 1], &[0, 0, 0, 1, 2, 2]));
        // Inputs of a causal model: the last token is a target alone.
        check(&[2, 1], 3, (&[0, 3, 4], &[0, 1, 2], &[0, 0, 0]));
        check(&[5], 6, (&[0, 6], &[0, 1, 2, 3, 4, 5], &[0; 6]));
        check(&[], 2, (&[0, 1], &[0, 0], &[0, 1]));
        check(&[0, 3], 4, (&[0, 4], &[0, 1, 2, 3], &[0; 4]));
    }
}
