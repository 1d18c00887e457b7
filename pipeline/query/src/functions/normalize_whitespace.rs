//! `normalize_whitespace(text)`: one kind of space and of line end, no runs of them; lines and paragraphs stay.

use std::borrow::Cow;

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "normalize_whitespace",
        "Line ends become line feeds, other white space within a line becomes one space and none at its ends, more than one empty line \
         becomes one, and empty lines at both ends of the text go.",
        Kernel::Text(normalize_whitespace),
    )
}

fn normalize_whitespace(text: &str) -> Cow<'_, str> {
    if is_normal(text) {
        return Cow::Borrowed(text);
    }
    // A carriage return with its line feed is one line end.
    let unified = if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n")) } else { Cow::Borrowed(text) };
    let mut normal = String::with_capacity(text.len());
    let mut empty_lines = 0;
    for line in unified.split(is_line_end) {
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else {
            empty_lines += 1;
            continue;
        };
        if !normal.is_empty() {
            normal.push_str(if empty_lines > 0 { "\n\n" } else { "\n" });
        }
        normal.push_str(first);
        for word in words {
            normal.push(' ');
            normal.push_str(word);
        }
        empty_lines = 0;
    }
    Cow::Owned(normal)
}

/// Whether nothing would change, decided quickly for plain ASCII. False only costs time.
fn is_normal(text: &str) -> bool {
    let mut before = [b'\n', b'\n'];
    for &byte in text.as_bytes() {
        let space = byte == b' ' && (before[1] == b' ' || before[1] == b'\n');
        let line_end = byte == b'\n' && (before[1] == b' ' || before == [b'\n', b'\n']);
        let other = byte >= 0x80 || (byte < b' ' && byte != b'\n');
        if space || line_end || other {
            return false;
        }
        before = [before[1], byte];
    }
    !matches!(before[1], b' ' | b'\n') || text.is_empty()
}

/// The line ends of Unicode (UAX #14: BK, CR, LF, NL).
fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}' | '\u{85}' | '\u{b}' | '\u{c}')
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn lines_and_paragraphs_stay() {
        check(
            "normalize_whitespace(text)",
            &[
                ("", ""),
                (" \n \t", ""),
                ("a b\nc\n\nd", "a b\nc\n\nd"),
                ("a  b\t c \n d\n", "a b c\nd"),
                ("a\r\nb\r\n\r\nc\rd", "a\nb\n\nc\nd"),
                ("a\n\n\n \nb", "a\n\nb"),
                ("\n\na", "a"),
                ("全角\u{3000}空格\u{a0}x", "全角 空格 x"),
                ("é  é", "é é"),
            ],
        );
    }
}
