//! Cutting text for learning, into what merges and pieces never reach across.
//!
//! Cuts come in two steps: texts become pieces that are counted as they are, and at the end each different piece is normalized and cut once more.

use std::borrow::Cow;

use unicode_normalization::char::is_combining_mark;

use super::recipe::{Kind, Recipe};
use crate::normal::nfc;
use crate::patterns::for_each_bert_piece;
use crate::scripts::{Script, script};
use crate::style::Style;

/// Calls `sink` with the pieces of a text.
///
/// In the metaspace styles a piece begins with the blanks before it, if any: ` word`.
pub(super) fn for_each_piece(recipe: &Recipe, text: &str, mut sink: impl FnMut(&str)) {
    match (recipe.style().pattern(), recipe.kind()) {
        (Some(pattern), _) => {
            let text = if recipe.style() == Style::Qwen2 { nfc(text) } else { Cow::Borrowed(text) };
            pattern.for_each(&text, sink);
        }
        (None, Kind::WordPiece) => for_each_bert_piece(text, true, |start, end| sink(&text[start..end])),
        (None, Kind::Characters) => text.char_indices().for_each(|(start, c)| sink(&text[start..start + c.len_utf8()])),
        (None, _) => metaspace_pieces(text, recipe.style() == Style::Llama2, &mut sink),
    }
}

/// What a character is for cutting: pieces never mix writing systems, as in SentencePiece (`split_by_unicode_script`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Punctuation, symbols, digits.
    Common,
    Digit,
    Letter(Script),
    /// A letter of a script that is not told apart.
    OtherLetter,
}

/// `None` for a mark on the character before.
fn class(c: char, single_digits: bool) -> Option<Class> {
    match script(c) {
        // Japanese mixes them within words.
        Some(Script::Hiragana | Script::Katakana) => Some(Class::Letter(Script::Han)),
        Some(script) => Some(Class::Letter(script)),
        None if c == 'ー' => Some(Class::Letter(Script::Han)),
        None if c.is_ascii() => Some(if single_digits && c.is_ascii_digit() { Class::Digit } else { Class::Common }),
        None if is_combining_mark(c) => None,
        None if c.is_alphabetic() => Some(Class::OtherLetter),
        None => Some(Class::Common),
    }
}

/// `as_is`: runs of blanks are kept and new lines stand alone, uncounted; else any white space is one blank. A blank is put before the text.
fn metaspace_pieces(text: &str, as_is: bool, sink: &mut impl FnMut(&str)) {
    if text.is_empty() {
        return;
    }
    let mut piece = String::from(" ");
    let mut last = None;
    for c in text.chars() {
        let blank = if as_is { c == ' ' } else { c.is_whitespace() };
        let line_end = as_is && matches!(c, '\n' | '\r');
        let next = if blank || line_end { None } else { class(c, as_is).or(last).or(Some(Class::Common)) };
        if line_end || last.is_some_and(|last| next != Some(last) || last == Class::Digit) {
            flush(&mut piece, last.is_some() || as_is, sink);
        }
        last = next;
        if blank && !as_is {
            piece.clear();
            piece.push(' ');
        } else if !line_end {
            piece.push(c);
        }
    }
    flush(&mut piece, last.is_some() || as_is, sink);
}

fn flush(piece: &mut String, counts: bool, sink: &mut impl FnMut(&str)) {
    if counts && !piece.is_empty() {
        sink(piece);
    }
    piece.clear();
}

/// Calls `sink` with the words of a metaspace piece, blanks as `▁`: those before it, then what is `normal` for the rest of it.
pub(super) fn for_each_metaspace_word(piece: &str, normal: &str, sink: &mut dyn FnMut(&str)) {
    let rest = piece.trim_start_matches(' ');
    let mut word = "▁".repeat(piece.len() - rest.len());
    if rest.is_empty() {
        return sink(&word);
    }
    for (index, part) in normal.split(' ').enumerate() {
        if index > 0 {
            word.replace_range(.., "▁");
        }
        let mut last = None;
        for c in part.chars() {
            let next = class(c, false).or(last).or(Some(Class::Common));
            if last.is_some() && next != last {
                sink(&word);
                word.clear();
            }
            last = next;
            word.push(c);
        }
        if last.is_some() {
            sink(&word);
            word.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(kind: Kind, style: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for_each_piece(&Recipe::new(kind, Some(style), None).unwrap(), text, |piece| found.push(piece.to_string()));
        found
    }

    #[test]
    fn llama2_keeps_blanks_and_cuts_digits_lines_and_scripts() {
        let found = pieces(Kind::ByteFallbackBpe, "llama2", "if x:\n    y = 12.5; 加速GPU");
        assert_eq!(found, [" if", " x", ":", "    y", " =", " 1", "2", ".", "5", ";", " 加速", "GPU"]);
        assert_eq!(pieces(Kind::ByteFallbackBpe, "llama2", "a  \n"), [" a", "  "]);
        assert!(pieces(Kind::ByteFallbackBpe, "llama2", "").is_empty());
    }

    #[test]
    fn sentencepiece_has_one_blank_and_cuts_scripts() {
        let found = pieces(Kind::Unigram, "sentencepiece", " if x:\n\t y = 12.5; カー加速GPU。e\u{301}a");
        assert_eq!(found, [" if", " x", ":", " y", " =", " 12.5;", " カー加速", "GPU", "。", "e\u{301}a"]);
    }

    #[test]
    fn normalized_pieces_are_cut_again() {
        let words = |piece: &str, normal: &str| {
            let mut found = Vec::new();
            for_each_metaspace_word(piece, normal, &mut |word| found.push(word.to_string()));
            found
        };
        assert_eq!(words(" ﬁx", "fix"), ["▁fix"]);
        assert_eq!(words("x", "a b1"), ["a", "▁b", "1"]);
        assert_eq!(words(" x", " a"), ["▁a"]);
        assert_eq!(words("    x", "x"), ["▁▁▁▁x"]);
        assert_eq!(words("  ", ""), ["▁▁"]);
        assert!(words(" x", "").is_empty());
    }
}
