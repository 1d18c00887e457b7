//! Lines as Python's `str.splitlines` cuts them, and the marks that end a sentence in any script.

use std::sync::LazyLock;

use regex::Regex;

/// The lines of `text`: cut at every line end of Unicode and at the separators U+001C to U+001E; a line end at the end begins no further line.
pub fn unicode_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(end) = rest.find(is_line_end) else { return Some(std::mem::take(&mut rest)) };
        let line = &rest[..end];
        let mark = &rest[end..];
        let length = if mark.starts_with("\r\n") { 2 } else { mark.chars().next().map_or(0, char::len_utf8) };
        rest = &mark[length..];
        Some(line)
    })
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What stands between runs of at least `least` line feeds; at the ends of the text it may be empty.
pub fn split_at_runs(text: &str, least: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let piece = rest?;
        let mut from = 0;
        loop {
            let Some(start) = piece[from..].find('\n').map(|at| from + at) else {
                rest = None;
                return Some(piece);
            };
            let run = piece[start..].bytes().take_while(|byte| *byte == b'\n').count();
            if run >= least {
                rest = Some(&piece[start + run..]);
                return Some(&piece[..start]);
            }
            from = start + run;
        }
    })
}

/// Whether the very last character ends a sentence in some script.
pub fn ends_in_terminal_mark(line: &str) -> bool {
    line.chars().next_back().is_some_and(is_terminal_mark)
}

/// Full stops, question and exclamation marks of all scripts: Unicode's property Sentence_Terminal, and the three signs of Khmer that
/// spaCy and datatrove count too.
pub fn is_terminal_mark(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, '.' | '!' | '?');
    }
    // Letters of the large scripts are settled without a look into the table.
    if c.is_alphabetic() || c < '\u{589}' {
        return false;
    }
    MARK.is_match(c.encode_utf8(&mut [0; 4]))
}

static MARK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\p{Sentence_Terminal}\u17d6\u17d9\u17da]").expect("a constant pattern"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_in_python() {
        let lines = |text: &'static str| unicode_lines(text).collect::<Vec<_>>();
        assert!(lines("").is_empty());
        assert_eq!(lines("a\r\nb\rc\n\nd\n"), ["a", "b", "c", "", "d"]);
        assert_eq!(lines("a\u{2028}b\u{85}\u{b}c"), ["a", "b", "", "c"]);
        assert_eq!(lines("\n"), [""]);
    }

    #[test]
    fn runs_of_line_feeds_cut_once() {
        let pieces = |text: &'static str, least| split_at_runs(text, least).collect::<Vec<_>>();
        assert_eq!(pieces("", 1), [""]);
        assert_eq!(pieces("\na\n\n\nb\n", 1), ["", "a", "b", ""]);
        assert_eq!(pieces("a\nb\n\nc\n\n\nd\n", 2), ["a\nb", "c", "d\n"]);
    }

    #[test]
    fn marks_of_many_scripts_end_a_sentence() {
        for mark in [".", "!", "?", "。", "！", "？", "।", "؟", "។", "៚", "‼"] {
            assert!(ends_in_terminal_mark(&format!("a{mark}")), "{mark}");
        }
        for other in ["", "a", "a,", "a. ", "a…", "a:", "中", "a\"", "；"] {
            assert!(!ends_in_terminal_mark(other), "{other}");
        }
    }
}
