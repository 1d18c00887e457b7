//! `fix_mojibake(text)`: repairs UTF-8 that was read in a code page.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "fix_mojibake",
        "The text with mojibake repaired: UTF-8 read as Windows-1252 or Latin-1 (also several times over), Windows-1250, \
         Windows-1251 or Mac Roman, where that is beyond doubt, and C1 controls as characters of Windows-1252. Sound text \
         stays.",
        Kernel::Text(text::rewrites::fix_mojibake),
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn repairs_and_leaves_alone() {
        check(
            "fix_mojibake(text)",
            &[("", ""), ("cafÃ© â€œxâ€\u{9d}", "café “x”"), ("«CAFÉ» 中文", "«CAFÉ» 中文"), ("ä½\u{a0}å¥½", "你好")],
        );
    }
}
