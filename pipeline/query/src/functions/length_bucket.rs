//! `length_bucket(text)`: about how long a text is, for groups: between two powers of two, in digits that sort as text.

use std::borrow::Cow;

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

/// What begins with it has no end: 7 digits hold no more.
const LAST: usize = 1 << 23;

pub(super) fn function() -> ScalarUDF {
    text_function(
        "length_bucket",
        "The range of powers of two in which the number of characters lies, as text that sorts by length: `0000000`, `0000001-0000001`, \
         `0000002-0000003`, `0000004-0000007` to `8388608+`.",
        Kernel::Text(length_bucket),
    )
}

fn length_bucket(text: &str) -> Cow<'_, str> {
    let length = text.chars().count();
    Cow::Owned(match length {
        0 => "0000000".to_owned(),
        LAST.. => format!("{LAST}+"),
        _ => {
            let low = 1_usize << length.ilog2();
            format!("{low:07}-{:07}", 2 * low - 1)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::{check, evaluate};

    #[test]
    fn buckets_lie_between_powers_of_two() {
        let cases = [("", "0000000"), ("a", "0000001-0000001"), ("e\u{301}", "0000002-0000003"), ("中文中", "0000002-0000003")];
        check("length_bucket(text)", &cases);
        let long = |length| evaluate("length_bucket(text)", Some(&"中".repeat(length)));
        assert_eq!((long(63), long(64), long(127)), ("0000032-0000063".into(), "0000064-0000127".into(), "0000064-0000127".into()));
        assert_eq!((long((1 << 23) - 1), long(1 << 23)), ("4194304-8388607".into(), "8388608+".into()));
    }

    #[test]
    fn buckets_sort_by_length() {
        let mut length = 0;
        let mut before = String::new();
        while length <= 1 << 24 {
            let bucket = super::length_bucket(&"a".repeat(length)).into_owned();
            assert!(bucket >= before, "{bucket} after {before}");
            (before, length) = (bucket, length * 3 / 2 + 1);
        }
    }
}
