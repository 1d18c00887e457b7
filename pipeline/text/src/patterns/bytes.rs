//! 64 bytes compared at once: with SSE2, which every x86-64 has, elsewhere eight at a time in a word.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m128i, _mm_and_si128, _mm_cmpgt_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8};

/// 64 bytes; bit `i` of a mask stands for byte `i`.
#[cfg(target_arch = "x86_64")]
pub(super) struct Bytes([__m128i; 4]);

// SAFETY of all blocks here: every x86-64 has SSE2.
#[cfg(target_arch = "x86_64")]
impl Bytes {
    #[inline(always)]
    pub(super) fn new(bytes: &[u8; 64]) -> Bytes {
        let words = words(bytes);
        let part = |index: usize| unsafe { _mm_set_epi64x(words[2 * index + 1] as i64, words[2 * index] as i64) };
        Bytes([part(0), part(1), part(2), part(3)])
    }

    /// Bytes from `first` to `last`, which are ASCII. Other bytes are negative here, and in no such range.
    #[inline(always)]
    pub(super) fn between(&self, first: u8, last: u8) -> u64 {
        self.mask(|bytes| inside(bytes, first, last))
    }

    /// ASCII letters.
    #[inline(always)]
    pub(super) fn letters(&self) -> u64 {
        self.mask(|bytes| inside(unsafe { _mm_or_si128(bytes, _mm_set1_epi8(0x20)) }, b'a', b'z'))
    }

    /// Bytes that are not ASCII.
    #[inline(always)]
    pub(super) fn high(&self) -> u64 {
        self.mask(|bytes| bytes)
    }

    #[inline(always)]
    fn mask(&self, test: impl Fn(__m128i) -> __m128i) -> u64 {
        let part = |index: usize| u64::from(unsafe { _mm_movemask_epi8(test(self.0[index])) } as u16) << (16 * index);
        part(0) | part(1) | part(2) | part(3)
    }
}

/// `last` is below 0x7f.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn inside(bytes: __m128i, first: u8, last: u8) -> __m128i {
    let (below, above) = (first as i8 - 1, last as i8 + 1);
    unsafe { _mm_and_si128(_mm_cmpgt_epi8(bytes, _mm_set1_epi8(below)), _mm_cmpgt_epi8(_mm_set1_epi8(above), bytes)) }
}

/// 64 bytes; bit `i` of a mask stands for byte `i`.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[cfg_attr(target_arch = "x86_64", expect(dead_code, reason = "compared with the other in tests"))]
pub(super) struct Portable([u64; 8]);

#[cfg(not(target_arch = "x86_64"))]
pub(super) use Portable as Bytes;

#[cfg(any(test, not(target_arch = "x86_64")))]
impl Portable {
    #[inline(always)]
    pub(super) fn new(bytes: &[u8; 64]) -> Portable {
        Portable(words(bytes))
    }

    #[inline(always)]
    pub(super) fn between(&self, first: u8, last: u8) -> u64 {
        self.mask(|eight| inside_word(eight, first, last) & !eight)
    }

    #[inline(always)]
    pub(super) fn letters(&self) -> u64 {
        self.mask(|eight| inside_word(eight | splat(0x20), b'a', b'z') & !eight)
    }

    #[inline(always)]
    pub(super) fn high(&self) -> u64 {
        self.mask(|eight| eight)
    }

    /// The high bit of each byte.
    #[inline(always)]
    fn mask(&self, test: impl Fn(u64) -> u64) -> u64 {
        let part = |index: usize| ((test(self.0[index]) & splat(0x80)) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56 << (8 * index);
        (0..8).fold(0, |mask, index| mask | part(index))
    }
}

/// The high bit of each byte whose other bits are from `first` to `last`.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn inside_word(eight: u64, first: u8, last: u8) -> u64 {
    let at_least = |least: u8| (eight & !splat(0x80)) + splat(128 - least);
    at_least(first) & !at_least(last + 1)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
const fn splat(byte: u8) -> u64 {
    byte as u64 * 0x0101_0101_0101_0101
}

fn words(bytes: &[u8; 64]) -> [u64; 8] {
    std::array::from_fn(|index| bytes[8 * index..].first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_those_of_single_bytes() {
        for first in 0..=255u8 {
            let bytes: [u8; 64] = std::array::from_fn(|index| first.wrapping_mul(7).wrapping_add(index as u8 * 3));
            let expected = |test: &dyn Fn(u8) -> bool| (0..64).fold(0u64, |mask, index| mask | u64::from(test(bytes[index])) << index);
            let (fast, portable) = (Bytes::new(&bytes), Portable::new(&bytes));
            for (low, high) in [(b'0', b'9'), (b'A', b'Z'), (b' ', b' '), (b'\t', b'\r'), (b'!', b'~'), (0, 8)] {
                let mask = expected(&|byte| (low..=high).contains(&byte));
                assert_eq!((fast.between(low, high), portable.between(low, high)), (mask, mask));
            }
            let mask = expected(&|byte| byte.is_ascii_alphabetic());
            assert_eq!((fast.letters(), portable.letters()), (mask, mask));
            let mask = expected(&|byte| !byte.is_ascii());
            assert_eq!((fast.high(), portable.high()), (mask, mask));
        }
    }
}
