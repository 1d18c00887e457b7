//! Words and sentences: what every rule, signal and shingle of Corpusmill counts.
//!
//! A word is a segment of Unicode's default word boundaries (UAX #29) that holds a letter or a digit. Each Han character is one word, because
//! the default rules never join ideographs; so is each hiragana character and each Thai letter, while katakana and Hangul runs stay whole.
//! No dictionary, no stemming and no case folding happens here.

use unicode_segmentation::{UnicodeSegmentation, UnicodeWords};

/// The words of `text` in order: UAX-29 segments with at least one letter or digit; spaces and pure punctuation are left out.
///
/// `can't`, `3.14` and `snake_case` are one word each, `e-mail` is two and `中文` is two. One deviation from UAX #29, for broken text alone:
/// a combining mark straight after an ASCII space or punctuation is not joined to it, so no word ever begins with a space.
pub fn words(text: &str) -> Words<'_> {
    Words { text, position: 0, segment: "".unicode_words() }
}

/// The iterator of [`words`].
pub struct Words<'a> {
    text: &'a str,
    position: usize,
    /// Words of the current stretch when it is not plain ASCII.
    segment: UnicodeWords<'a>,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if let Some(word) = self.segment.next() {
            return Some(without_stray_mark(word));
        }
        let bytes = self.text.as_bytes();
        loop {
            let start = self.position + bytes[self.position..].iter().position(|&b| is_word_byte(b) || !b.is_ascii())?;
            let end = ascii_word_end(bytes, start);
            // ASCII white space always is a boundary, so a stretch with other characters can be segmented alone, the rest takes the fast way.
            if bytes.get(end).is_none_or(u8::is_ascii) && bytes[start].is_ascii() {
                self.position = end;
                if bytes[start..end].iter().any(u8::is_ascii_alphanumeric) {
                    return Some(&self.text[start..end]);
                }
                continue;
            }
            self.position = start + bytes[start..].iter().position(u8::is_ascii_whitespace).unwrap_or(bytes.len() - start);
            self.segment = self.text[start..self.position].unicode_words();
            if let Some(word) = self.segment.next() {
                return Some(without_stray_mark(word));
            }
        }
    }
}

/// Unicode joins a combining letter to whatever stands before it, be it a space; the word begins after that.
fn without_stray_mark(segment: &str) -> &str {
    segment.trim_start_matches(|c: char| c.is_ascii() && !is_word_byte(c as u8))
}

/// Letters, digits and `_`: the ASCII characters a word can begin with.
fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// End of the segment that begins at `start`, as far as ASCII decides it (UAX-29 WB5 to WB13b).
/// A non-ASCII byte at the end means that the slow way has to decide.
fn ascii_word_end(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    while let Some(&byte) = bytes.get(end) {
        if is_word_byte(byte) {
            end += 1;
            continue;
        }
        // A mark joins two letters or two digits; before a non-ASCII byte, it is not known here what it does.
        let (Some(&before), Some(&after)) = (bytes[start..end].last(), bytes.get(end + 1)) else { break };
        let joins_letters = matches!(byte, b'\'' | b'.' | b':');
        let joins_digits = matches!(byte, b'\'' | b'.' | b',' | b';');
        if (joins_letters || joins_digits) && !after.is_ascii() {
            return end + 1;
        }
        let joined = joins_letters && before.is_ascii_alphabetic() && after.is_ascii_alphabetic()
            || joins_digits && before.is_ascii_digit() && after.is_ascii_digit();
        if !joined {
            break;
        }
        end += 2;
    }
    end
}

/// The sentences of `text` in order, trimmed: UAX-29 sentences, cut further after the full-width semicolon `；`, which ends a clause that
/// reads as a sentence in Chinese (`。！？` already end one by UAX #29). Segments without a letter or a digit are left out.
pub fn sentences(text: &str) -> impl Iterator<Item = &str> {
    // A line end always is a boundary, so lines can be segmented alone; this keeps the state of the segmenter small.
    text.lines()
        .flat_map(|line| line.split_sentence_bounds())
        .flat_map(|sentence| sentence.split_inclusive('；'))
        .map(str::trim)
        .filter(|sentence| sentence.contains(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(words(text).collect::<Vec<_>>(), expected, "{text:?}");
    }

    #[test]
    fn words_follow_uax29_and_han_characters_stand_alone() {
        check("", &[]);
        check("  ... -- ?!", &[]);
        check(
            "The quick (\"brown\") fox can't jump 32.3 feet, right?",
            &["The", "quick", "brown", "fox", "can't", "jump", "32.3", "feet", "right"],
        );
        check("snake_case _ __x e-mail a.b. 1,000; 3:4 a:b", &["snake_case", "__x", "e", "mail", "a.b", "1,000", "3", "4", "a:b"]);
        check("中文分词 2024年", &["中", "文", "分", "词", "2024", "年"]);
        check("GPU加速。Don’t", &["GPU", "加", "速", "Don’t"]);
        check("カタカナとひらがな 한국어", &["カタカナ", "と", "ひ", "ら", "が", "な", "한국어"]);
        check("café cafe\u{301} naïve", &["café", "cafe\u{301}", "naïve"]);
        check("a'é 1.\u{301}2", &["a'é", "1.\u{301}2"]);
    }

    #[test]
    fn sentences_end_at_latin_and_chinese_marks() {
        let found = |text| sentences(text).collect::<Vec<_>>();
        assert_eq!(found("Dr. No came. He left!\nNew line"), ["Dr.", "No came.", "He left!", "New line"]);
        assert_eq!(found("今天下雨。我们走吧！好吗？先吃饭；再走。"), ["今天下雨。", "我们走吧！", "好吗？", "先吃饭；", "再走。"]);
        assert_eq!(found("他说：“走吧。”她笑了。 3.5 is a number. "), ["他说：“走吧。”", "她笑了。", "3.5 is a number."]);
        assert!(found(" … !! \n").is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn words_equal_the_reference(text in "[a-c0-1 _'.:,;\"\n\r\té中の\u{301}\u{200d}ア한’٣\u{1f1e9}א-]{0,24}") {
            let reference: Vec<&str> = text.unicode_words().map(without_stray_mark).collect();
            prop_assert_eq!(words(&text).collect::<Vec<_>>(), reference);
        }

        #[test]
        fn words_of_any_text_equal_the_reference(text in any::<String>()) {
            let reference: Vec<&str> = text.unicode_words().map(without_stray_mark).collect();
            prop_assert_eq!(words(&text).collect::<Vec<_>>(), reference);
        }

        #[test]
        fn sentences_lose_no_word(text in any::<String>()) {
            let alphanumeric = |s: &str| s.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(sentences(&text).map(alphanumeric).collect::<String>(), alphanumeric(&text));
        }
    }
}
