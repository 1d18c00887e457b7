//! Line feeds in a row, and lines and paragraphs that a document repeats.

use std::borrow::Cow;

use hashbrown::HashSet;
use memchr::memmem;

use super::kept::Kept;

/// At most `most` line feeds in a row (dclm: 2). Borrowed when nothing changes.
pub fn limit_newlines(text: &str, most: usize) -> Cow<'_, str> {
    let too_many = "\n".repeat(most + 1);
    let finder = memmem::Finder::new(&too_many);
    let mut out = String::new();
    let mut done = 0;
    while let Some(found) = finder.find(&text.as_bytes()[done..]) {
        let end = done + found + most;
        out.push_str(&text[done..end]);
        done = end + text.as_bytes()[end..].iter().take_while(|byte| **byte == b'\n').count();
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// The text without lines that stood before in it, compared trimmed and in lower case (dclm's `within_page_dedup`); empty lines stay.
pub fn remove_repeated_lines(text: &str) -> Cow<'_, str> {
    without_repeated(text, "\n")
}

/// The text without paragraphs (divided by `\n\n`) that stood before in it, compared as lines are.
pub fn remove_repeated_paragraphs(text: &str) -> Cow<'_, str> {
    without_repeated(text, "\n\n")
}

fn without_repeated<'a>(text: &'a str, separator: &str) -> Cow<'a, str> {
    let mut seen: HashSet<Cow<str>> = HashSet::new();
    let mut kept = Kept::of(text);
    for piece in text.split(separator) {
        let normal = piece.trim();
        if normal.is_empty() || seen.insert(lower_case(normal)) {
            kept.push(piece, separator);
        }
    }
    kept.finish()
}

fn lower_case(text: &str) -> Cow<'_, str> {
    let is_lower = |byte: &u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    if text.as_bytes().iter().all(is_lower) { Cow::Borrowed(text) } else { Cow::Owned(text.to_lowercase()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(rewrite: fn(&str) -> Cow<'_, str>, cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            assert_eq!(rewrite(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn newlines_repeated_lines_and_paragraphs() {
        check(
            |text| limit_newlines(text, 2),
            &[("", ""), ("a\n\nb", "a\n\nb"), ("\n\n\n\na\n\n\n", "\n\na\n\n"), ("a\n \n\n\nb", "a\n \n\nb")],
        );
        check(|text| limit_newlines(text, 1), &[("a\n\n\nb\n\nc", "a\nb\nc")]);
        check(|text| limit_newlines(text, 0), &[("a\nb\n", "ab")]);
        check(remove_repeated_lines, &[("", ""), ("a\nb\na\n\n\n A \nc", "a\nb\n\n\nc"), ("a\n", "a\n"), ("É\né", "É")]);
        check(
            remove_repeated_paragraphs,
            &[("a\nb\n\na\nb\n\nc\na", "a\nb\n\nc\na"), ("a\n\n\n\nb\n\nA", "a\n\n\n\nb"), ("a\n\n\nb", "a\n\n\nb")],
        );
    }

    proptest! {
        #[test]
        fn twice_equals_once_and_only_drops(text in "(a|B|b| |\n|\n\n|é|中){0,30}") {
            let limit: fn(&str) -> Cow<'_, str> = |text| limit_newlines(text, 2);
            for rewrite in [limit, remove_repeated_lines, remove_repeated_paragraphs] {
                let once = rewrite(&text).into_owned();
                prop_assert_eq!(rewrite(&once), &*once);
                prop_assert!(once.matches('\n').count() <= text.matches('\n').count());
            }
        }
    }
}
