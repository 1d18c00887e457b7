//! Text cut where BERT's words always end: at white space, around ASCII punctuation and around Han characters.
//!
//! The pieces can be normalized and cut into words one by one. White space belongs to none of them.

use super::window::{HIGH, below, between, gather, splat};

/// Calls `sink` with each piece in order: its first byte, the byte after its last, and whether it is plain, that is ASCII letters and digits or
/// one ASCII punctuation character. Han characters are pieces of their own if `han`.
#[inline(always)]
pub(crate) fn for_each_bert_piece(text: &str, han: bool, mut sink: impl FnMut(usize, usize, bool)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let window = Window::at(&bytes[at..]);
        let (mut starts, mut ends) = (window.starts, window.ends);
        while ends != 0 {
            let piece = (at + starts.trailing_zeros() as usize, at + ends.trailing_zeros() as usize + 1);
            sink(piece.0, piece.1, true);
            starts &= starts - 1;
            ends &= ends - 1;
        }
        // What begins here does not end in the window.
        let advanced = if starts == 0 { window.length } else { starts.trailing_zeros() as usize };
        at += advanced;
        if advanced == 0 {
            let (end, plain) = scan(text, at, han);
            sink(at, end, plain);
            at = end;
        }
    }
}

/// Up to 64 bytes, as far as they are ASCII without control characters.
struct Window {
    length: usize,
    starts: u64,
    /// Last bytes of pieces.
    ends: u64,
}

impl Window {
    #[inline(always)]
    fn at(rest: &[u8]) -> Window {
        match rest.first_chunk::<64>() {
            Some(bytes) => Window::new(bytes, 64),
            None => {
                let mut bytes = [0; 64];
                bytes[..rest.len()].copy_from_slice(rest);
                Window::new(&bytes, rest.len())
            }
        }
    }

    #[inline(always)]
    fn new(bytes: &[u8; 64], length: usize) -> Window {
        let [mut words, mut visible, mut white, mut high] = [0u64; 4];
        for (index, eight) in bytes.chunks_exact(8).enumerate() {
            let eight = u64::from_le_bytes(eight.try_into().expect("eight bytes"));
            let low = eight & !HIGH;
            let bits = |mask: u64| gather(mask) << (8 * index);
            words |= bits(between(low | splat(0x20), b'a', b'z') | between(low, b'0', b'9'));
            visible |= bits(between(low, b'!', b'~'));
            white |= bits(between(low, b'\t', b'\n') | between(low, b'\r', b'\r') | between(low, b' ', b' '));
            high |= bits(eight & HIGH);
        }
        let length = length.min((high | !(visible | white)).trailing_zeros() as usize);
        let (words, marks) = (words & below(length), visible & !words & below(length));
        // The word at the end of the window may go on.
        let open = (1 << length.saturating_sub(1)) & words;
        Window { length, starts: words & !(words << 1) | marks, ends: words & !(words >> 1) & !open | marks }
    }
}

/// The end of the piece that begins here, which is not white space.
fn scan(text: &str, at: usize, han: bool) -> (usize, bool) {
    let mut plain = true;
    let mut rest = text[at..].char_indices();
    while let Some((place, c)) = rest.next() {
        if matches!(c, ' ' | '\t' | '\n' | '\r') || c.is_ascii_punctuation() || han && is_bert_han(c) {
            let end = if place > 0 { at + place } else { at + c.len_utf8() };
            return (end, plain && (place > 0 || c.is_ascii()));
        }
        plain &= c.is_ascii_alphanumeric();
    }
    (text.len(), plain)
}

/// The blocks around which BERT puts spaces, its gaps included.
fn is_bert_han(c: char) -> bool {
    matches!(
        c as u32,
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x20000..=0x2a6df | 0x2a700..=0x2b73f | 0x2b740..=0x2b81f | 0x2b920..=0x2ceaf
            | 0xf900..=0xfaff | 0x2f800..=0x2fa1f
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(text: &str, han: bool) -> Vec<(&str, bool)> {
        let mut found = Vec::new();
        for_each_bert_piece(text, han, |start, end, plain| found.push((&text[start..end], plain)));
        found
    }

    #[test]
    fn pieces_end_at_blanks_marks_and_han_characters() {
        let expected = [("The", true), ("fox", true), ("'", true), ("s", true), (",", true), ("GPU", true), ("加", false), ("速", false)];
        assert_eq!(pieces(" The fox's,\tGPU加速\n", true), expected);
        assert_eq!(pieces("GPU加速。Go!", false), [("GPU加速。Go", false), ("!", true)]);
        assert_eq!(
            pieces("naïve a\u{1}b cafe\u{301}-x", true),
            [("naïve", false), ("a\u{1}b", false), ("cafe\u{301}", false), ("-", true), ("x", true)]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn windows_and_scanner_agree(text in "([a-zA-Z0-9]{0,70}|[ \t\n\r]{0,3}|[!-/]{0,2}|[é中\u{1}\u{301}\u{b}]{0,2}){0,12}") {
            let mut expected = Vec::new();
            let mut at = 0;
            while at < text.len() {
                if matches!(text.as_bytes()[at], b' ' | b'\t' | b'\n' | b'\r') {
                    at += 1;
                } else {
                    let (end, plain) = scan(&text, at, true);
                    expected.push((&text[at..end], plain));
                    at = end;
                }
            }
            prop_assert_eq!(pieces(&text, true), expected);
        }
    }
}
