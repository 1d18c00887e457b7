//! `remove_control_characters(text)`: takes out what is never text.

use std::borrow::Cow;

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "remove_control_characters",
        "The text without control characters (Unicode category Cc, except tab, line feed, carriage return and U+0085), byte order marks \
         (U+FEFF) and noncharacters.",
        Kernel::Text(remove_control_characters),
    )
}

fn remove_control_characters(text: &str) -> Cow<'_, str> {
    match text.find(is_removed) {
        None => Cow::Borrowed(text),
        Some(_) => Cow::Owned(text.chars().filter(|&c| !is_removed(c)).collect()),
    }
}

fn is_removed(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' | '\u{85}' => false,
        ' '..='~' => false,
        '\u{feff}' | '\u{fdd0}'..='\u{fdef}' => true,
        // The last two code points of each plane.
        _ => c.is_control() || c as u32 & 0xfffe == 0xfffe,
    }
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn keeps_white_space() {
        check(
            "remove_control_characters(text)",
            &[("", ""), ("a\tb\r\n", "a\tb\r\n"), ("\u{feff}a\u{0}b\u{7f}\u{9b}c", "abc"), ("中\u{fffe}文\u{200b}", "中文\u{200b}")],
        );
    }
}
