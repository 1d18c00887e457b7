//! `blake3_hex(text)`: a cryptographic hash, to compare with other programs.

use std::borrow::Cow;

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "blake3_hex",
        "BLAKE3 of the text's UTF-8 bytes, 64 hexadecimal digits; the first 32 are `content_hash` of a document with this text.",
        Kernel::Text(|text| Cow::Owned(blake3::hash(text.as_bytes()).to_hex().to_string())),
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn agrees_with_the_reference() {
        // Test vectors of the BLAKE3 paper's repository (empty input) and of `b3sum` ("abc").
        check(
            "blake3_hex(text)",
            &[
                ("", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
                ("abc", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
            ],
        );
    }
}
