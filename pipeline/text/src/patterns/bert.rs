//! Text cut where BERT's words always end: at white space, around ASCII punctuation and around Han characters.
//!
//! The pieces can be normalized and cut into words one by one. White space belongs to none of them.

use super::bytes::Bytes;
use super::window::below;

/// Calls `sink` with the first byte of every piece and the byte after its last, in order. Han characters are pieces of their own if `han`.
#[inline(always)]
pub(crate) fn for_each_bert_piece(text: &str, han: bool, mut sink: impl FnMut(usize, usize)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let window = Window::at(&bytes[at..]);
        let (mut starts, mut ends) = (window.starts, window.ends);
        while ends != 0 {
            sink(at + starts.trailing_zeros() as usize, at + ends.trailing_zeros() as usize + 1);
            starts &= starts - 1;
            ends &= ends - 1;
        }
        // What begins here does not end in the window.
        let advanced = if starts == 0 { window.length } else { starts.trailing_zeros() as usize };
        at += advanced;
        if advanced == 0 {
            let end = scan(text, at, han);
            sink(at, end);
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
        let bytes = Bytes::new(bytes);
        let (words, visible) = (bytes.letters() | bytes.between(b'0', b'9'), bytes.between(b'!', b'~'));
        let white = bytes.between(b'\t', b'\n') | bytes.between(b'\r', b'\r') | bytes.between(b' ', b' ');
        let length = length.min((!(visible | white)).trailing_zeros() as usize);
        let (words, marks) = (words & below(length), visible & !words & below(length));
        // The word at the end of the window may go on.
        let open = (1 << length.saturating_sub(1)) & words;
        Window { length, starts: words & !(words << 1) | marks, ends: words & !(words >> 1) & !open | marks }
    }
}

/// The end of the piece that begins here, which is not white space.
fn scan(text: &str, at: usize, han: bool) -> usize {
    let ends = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r') || c.is_ascii_punctuation() || han && is_bert_han(c);
    match text[at..].char_indices().find(|(_, c)| ends(*c)) {
        Some((0, alone)) => at + alone.len_utf8(),
        Some((length, _)) => at + length,
        None => text.len(),
    }
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

    fn pieces(text: &str, han: bool) -> Vec<&str> {
        let mut found = Vec::new();
        for_each_bert_piece(text, han, |start, end| found.push(&text[start..end]));
        found
    }

    #[test]
    fn pieces_end_at_blanks_marks_and_han_characters() {
        assert_eq!(pieces(" The fox's,\tGPU加速\n", true), ["The", "fox", "'", "s", ",", "GPU", "加", "速"]);
        assert_eq!(pieces("GPU加速。Go!", false), ["GPU加速。Go", "!"]);
        assert_eq!(pieces("naïve a\u{1}b cafe\u{301}-x", true), ["naïve", "a\u{1}b", "cafe\u{301}", "-", "x"]);
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
                    let end = scan(&text, at, true);
                    expected.push(&text[at..end]);
                    at = end;
                }
            }
            prop_assert_eq!(pieces(&text, true), expected);
        }
    }
}
