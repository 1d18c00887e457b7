//! The characters that stand for bytes in the vocabulary of a byte-level tokenizer.

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
