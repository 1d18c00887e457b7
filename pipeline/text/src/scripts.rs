//! Scripts of characters, for telling in which writing a text is. No language detection: English and French are both Latin.

use crate::script_ranges::RANGES;

/// A script that Corpusmill tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    Arabic,
    Cyrillic,
    Devanagari,
    Greek,
    Han,
    Hangul,
    Hebrew,
    Hiragana,
    Katakana,
    Latin,
    Thai,
}

impl Script {
    /// All scripts in order of their names.
    pub const ALL: [Script; 11] = [
        Script::Arabic,
        Script::Cyrillic,
        Script::Devanagari,
        Script::Greek,
        Script::Han,
        Script::Hangul,
        Script::Hebrew,
        Script::Hiragana,
        Script::Katakana,
        Script::Latin,
        Script::Thai,
    ];

    /// The lower-case name, as Unicode spells it.
    pub fn name(self) -> &'static str {
        match self {
            Script::Arabic => "arabic",
            Script::Cyrillic => "cyrillic",
            Script::Devanagari => "devanagari",
            Script::Greek => "greek",
            Script::Han => "han",
            Script::Hangul => "hangul",
            Script::Hebrew => "hebrew",
            Script::Hiragana => "hiragana",
            Script::Katakana => "katakana",
            Script::Latin => "latin",
            Script::Thai => "thai",
        }
    }

    /// The script with this name in any case.
    pub fn from_name(name: &str) -> Option<Script> {
        Script::ALL.into_iter().find(|script| script.name().eq_ignore_ascii_case(name))
    }
}

/// The script of a character; `None` for digits, punctuation, white space and scripts not listed.
pub fn script(c: char) -> Option<Script> {
    if c.is_ascii() {
        return c.is_ascii_alphabetic().then_some(Script::Latin);
    }
    let index = RANGES.partition_point(|(_, last, _)| *last < c as u32);
    RANGES.get(index).filter(|(first, _, _)| *first <= c as u32).map(|(_, _, script)| *script)
}

/// The share of `wanted` among the letters of `text`, 0 to 1; `None` when the text has no letter.
pub fn script_share(text: &str, wanted: Script) -> Option<f64> {
    let (mut letters, mut found) = (0u64, 0u64);
    for c in text.chars().filter(|c| c.is_alphabetic()) {
        letters += 1;
        found += u64::from(script(c) == Some(wanted));
    }
    (letters > 0).then(|| found as f64 / letters as f64)
}

/// The script with most letters in `text`, the first in order of names among equals; `None` without a letter of a listed script.
pub fn main_script(text: &str) -> Option<Script> {
    let mut counts = [0u64; Script::ALL.len()];
    for script in text.chars().filter(|c| c.is_alphabetic()).filter_map(script) {
        counts[script as usize] += 1;
    }
    let best = counts.iter().max().filter(|count| **count > 0)?;
    counts.iter().position(|count| count == best).map(|index| Script::ALL[index])
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    #[test]
    fn ranges_equal_the_script_property() {
        for wanted in Script::ALL {
            let property = Regex::new(&format!(r"^\p{{Script={}}}$", wanted.name())).unwrap();
            let mut buffer = [0; 4];
            for c in '\0'..=char::MAX {
                assert_eq!(script(c) == Some(wanted), property.is_match(c.encode_utf8(&mut buffer)), "{c:?} {wanted:?}");
            }
        }
    }

    #[test]
    fn shares_are_of_letters() {
        assert_eq!(script_share("中文 ab, 12!", Script::Han), Some(0.5));
        assert_eq!(script_share("12 !?", Script::Han), None);
        assert_eq!(main_script("Привет, world of words"), Some(Script::Latin));
        assert_eq!(main_script("。，1"), None);
        assert_eq!(Script::from_name("Han"), Some(Script::Han));
        assert_eq!(Script::from_name("klingon"), None);
    }
}
