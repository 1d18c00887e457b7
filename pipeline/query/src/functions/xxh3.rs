//! `xxh3(text)`: a fast hash, to group, sample or join by.

use datafusion::logical_expr::ScalarUDF;
use xxhash_rust::xxh3::xxh3_64;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function("xxh3", "XXH3 with 64 bits of the text's UTF-8 bytes, unsigned.", Kernel::Hash(|text| xxh3_64(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn agrees_with_the_reference() {
        check("xxh3(text)", &[("", "3244421341483603138"), ("abc", "8696274497037089104")]);
    }
}
