//! `remove_urls(text)`: takes web addresses out.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "remove_urls",
        "The text without web addresses that begin with `http://`, `https://`, `ftp://` or `www.`, and without the brackets \
         around them; a Markdown link leaves its label. Bare domains stay.",
        Kernel::Text(text::rewrites::remove_urls),
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn addresses_go() {
        check("remove_urls(text)", &[("", ""), ("See https://a.b/c?d=e.", "See."), ("[x](http://a.b) example.com", "x example.com")]);
    }
}
