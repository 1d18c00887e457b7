//! How files of tokenizers write bytes.

use std::sync::OnceLock;

/// The character that stands for each byte in the vocabulary of a byte-level tokenizer: itself where it can be seen, else one from U+0100 on.
pub(crate) fn byte_characters() -> &'static [char; 256] {
    static CHARACTERS: OnceLock<[char; 256]> = OnceLock::new();
    CHARACTERS.get_or_init(|| {
        let mut next = 256u32;
        std::array::from_fn(|byte| match byte as u8 {
            visible @ (b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) => visible as char,
            _ => {
                next += 1;
                char::from_u32(next - 1).expect("far below the surrogates")
            }
        })
    })
}

/// RFC 4648 with padding.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}
