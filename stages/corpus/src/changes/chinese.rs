//! Other ways to write the same: traditional or simplified characters, full-width or half-width forms.

use text::rewrites::{to_simplified, to_traditional};

use super::Tally;
use super::draws::{Draws, Edits, is_han};

/// Writes a share of the stretches between other characters in traditional characters that were in simplified ones, or the other way round.
/// A stretch that is the same in both stays.
pub fn script(text: &str, rate: f64, draws: Draws, tally: &mut Tally) -> Option<String> {
    let mut edits = Edits::of(text);
    for (start, end) in stretches(text, |c| is_han(c.encode_utf8(&mut [0; 4])).then_some(())) {
        if !draws.at(start).happens(rate) {
            continue;
        }
        let written = &text[start..end];
        let simplified = to_simplified(written);
        let other = if simplified == written { to_traditional(written) } else { simplified };
        if other != written {
            edits.replace(start..end, [other]);
            tally.add("script");
        }
    }
    edits.finish()
}

/// Writes a share of the words and marks of ASCII in full-width forms (U+FF01 to U+FF5E), and those in full-width forms in ASCII.
pub fn width(text: &str, rate: f64, draws: Draws, tally: &mut Tally) -> Option<String> {
    let mut edits = Edits::of(text);
    for (start, end) in stretches(text, |c| other_width(c).map(|_| (c.is_ascii(), c.is_alphanumeric()))) {
        let written = &text[start..end];
        // Marks one by one, letters and digits as they stand together.
        let joined = written.chars().next().is_some_and(char::is_alphanumeric);
        let pieces = written.char_indices().filter(|(at, _)| *at == 0 || !joined);
        for (at, first) in pieces {
            let piece = if joined { written } else { &written[at..at + first.len_utf8()] };
            if draws.at(start + at).happens(rate) {
                let other: String = piece.chars().filter_map(other_width).collect();
                edits.replace(start + at..start + at + piece.len(), [other]);
                tally.add("width");
            }
        }
    }
    edits.finish()
}

/// The form of the other width.
fn other_width(c: char) -> Option<char> {
    const APART: u32 = 0xff01 - '!' as u32;
    match c {
        '!'..='~' => char::from_u32(c as u32 + APART),
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - APART),
        _ => None,
    }
}

/// Begins and ends of the longest stretches of characters of one class; those without a class are in none.
fn stretches<K: PartialEq>(text: &str, class: impl Fn(char) -> Option<K>) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut last = None;
    for (at, c) in text.char_indices() {
        let class = class(c);
        match found.last_mut() {
            Some((_, end)) if class.is_some() && class == last => *end += c.len_utf8(),
            _ if class.is_some() => found.push((at, at + c.len_utf8())),
            _ => {}
        }
        last = class;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_change_to_the_other_script() {
        let change = |text: &str| script(text, 1.0, Draws::new(1, "script"), &mut Tally::default());
        assert_eq!(change("软件 GPU，发展。").unwrap(), "軟件 GPU，發展。");
        assert_eq!(change("軟件, 发展").unwrap(), "软件, 發展");
        assert_eq!(change("中文 abc"), None);
    }

    #[test]
    fn forms_change_to_the_other_width() {
        let mut tally = Tally::default();
        let mut change = |text: &str| width(text, 1.0, Draws::new(1, "width"), &mut tally);
        assert_eq!(change("GPU 3，好!?").unwrap(), "ＧＰＵ ３,好！？");
        assert_eq!(change("ＧＰＵa").unwrap(), "GPUａ");
        assert_eq!(change("中文。 "), None);
        assert_eq!(tally.iter().collect::<Vec<_>>(), [("width", 7)]);
        let some = width(&"中a,b".repeat(100), 0.5, Draws::new(1, "width"), &mut Tally::default()).unwrap();
        assert!(some.contains('ａ') && some.contains('a') && some.contains('，') && some.contains(','));
    }
}
