//! Classes of characters, asked once of the regular expressions of the crate `tokenizers`, so that both always agree.

use std::sync::OnceLock;

use tokenizers::utils::SysRegex;

/// `\p{L}`
pub(super) const LETTER: u8 = 1;
/// `\p{N}`
pub(super) const NUMBER: u8 = 2;
/// `\s`
pub(super) const SPACE: u8 = 4;
/// `[\r\n]`, which are `SPACE` too.
pub(super) const NEWLINE: u8 = 8;
/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
pub(super) const UPPER: u8 = 16;
/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
pub(super) const LOWER: u8 = 32;
/// `[^\s\p{L}\p{N}]`; so a class is never 0, which stands for the end of the text.
pub(super) const OTHER: u8 = 64;

/// Classes without `UPPER` and `LOWER`.
pub(super) static KINDS: OnceLock<Box<[u8]>> = OnceLock::new();
/// All classes.
pub(super) static CASES: OnceLock<Box<[u8]>> = OnceLock::new();

/// The class of every character, by code point.
pub(super) fn classes(table: &'static OnceLock<Box<[u8]>>) -> &'static [u8] {
    table.get_or_init(|| {
        let mut classes = vec![0; char::MAX as usize + 1];
        let all: String = ('\0'..=char::MAX).collect();
        let mut mark = |pattern: &str, class: u8| {
            let regex = SysRegex::new(pattern).expect("the pattern is valid");
            for (start, end) in regex.find_iter(&all) {
                all[start..end].chars().for_each(|c| classes[c as usize] |= class);
            }
        };
        mark(r"\p{L}+", LETTER);
        mark(r"\p{N}+", NUMBER);
        mark(r"\s+", SPACE);
        mark(r"[\r\n]+", NEWLINE);
        if std::ptr::eq(table, &CASES) {
            mark(r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+", UPPER);
            mark(r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+", LOWER);
        }
        classes.iter_mut().filter(|class| **class & (LETTER | NUMBER | SPACE) == 0).for_each(|class| *class |= OTHER);
        classes.into_boxed_slice()
    })
}
