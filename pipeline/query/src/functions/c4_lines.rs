//! `c4_lines(text[, definition])`: the line rules of C4.

use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;
use text::rewrites::{C4, c4_lines};

use super::options::{Bound, Kind, Optioned, choice, function_with_options, text_of};

pub(super) fn function() -> ScalarUDF {
    function_with_options(Optioned {
        name: "c4_lines",
        about: "The text by the line rules of C4: lines that end in terminal punctuation and have enough words, without citation marks; none with \
                JavaScript, terms of use, privacy or cookies. By the definition of `paper` (default: 3 words), `datatrove` (3), `fineweb` (3, any \
                line end) or `dclm` (5, empty lines stay). A line with `{` or `lorem ipsum`, for which the originals drop the page, stays.",
        options: &[("definition", Kind::Text)],
        required: 0,
        returns: DataType::Utf8View,
        bind: Box::new(|options| {
            let by = options.first().map_or(Ok(C4::Paper), |name| choice("definition", text_of(name), &C4::NAMES))?;
            Ok(Bound::Rewrite(Box::new(move |text| c4_lines(text, by))))
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn definitions_differ() {
        check("c4_lines(text)", &[("", ""), ("One two three.[1]\nno end here", "One two three."), ("We use cookies here.", "")]);
        check("c4_lines(text, 'dclm')", &[("One two three.\n\nOne two three four five.", "\nOne two three four five.")]);
        check("c4_lines(text, 'fineweb')", &[("one two three\nx", "one two three")]);
    }
}
