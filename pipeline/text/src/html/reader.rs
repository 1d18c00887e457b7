//! Hands a page to html5gum so that no tag can overflow its stack.
//!
//! From one attribute in double quotes to the next, html5gum 0.9 calls itself (`machine.rs`: `AttributeName`, `BeforeAttributeValue`,
//! `AttributeValueDoubleQuoted`, `AfterAttributeValueQuoted`, `BeforeAttributeName`, `AttributeName`), and returns only where an attribute
//! is written otherwise. A space before `=` means nothing and makes it return, so every so often one is read that the page does not have.

use std::convert::Infallible;

use html5gum::{Readable, Reader, StringReader};

/// What html5gum looks for in the name of an attribute, and nowhere else.
const NAME_ENDS: &[u8] = b"\t\n\x0c />=";
/// Attributes between two such spaces; html5gum's stack takes thousands.
const ATTRIBUTES: u32 = 64;

pub struct PageReader<'a> {
    inner: StringReader<'a>,
    attributes: u32,
    /// A space was read instead of `=`, which comes next.
    held: bool,
}

impl<'a> PageReader<'a> {
    pub fn new(html: &'a str) -> PageReader<'a> {
        PageReader { inner: html.to_reader(), attributes: 0, held: false }
    }
}

impl Reader for PageReader<'_> {
    type Error = Infallible;

    fn read_byte(&mut self) -> Result<Option<u8>, Infallible> {
        if std::mem::take(&mut self.held) { Ok(Some(b'=')) } else { self.inner.read_byte() }
    }

    fn try_read_string(&mut self, text: &[u8], case_sensitive: bool) -> Result<bool, Infallible> {
        if self.held { Ok(false) } else { self.inner.try_read_string(text, case_sensitive) }
    }

    fn read_until<'b>(&'b mut self, needle: &[u8], buffer: &'b mut [u8; 4]) -> Result<Option<&'b [u8]>, Infallible> {
        if std::mem::take(&mut self.held) {
            return Ok(Some(b"="));
        }
        let read = self.inner.read_until(needle, buffer)?;
        if read == Some(b"=") && NAME_ENDS.iter().all(|end| needle.contains(end)) {
            self.attributes += 1;
            if self.attributes == ATTRIBUTES {
                (self.attributes, self.held) = (0, true);
                return Ok(Some(b" "));
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use html5gum::{Token, Tokenizer};

    use super::*;

    #[test]
    fn a_tag_may_have_a_million_attributes() {
        let page = |attribute: &str| format!("<p {}>text</p>", attribute.repeat(1_000_000));
        for attribute in ["a=\"1\" ", "a = \"1\" ", "a='1' ", "a=1 ", "a ", "a=\"1\"", "a=\"&amp;\" ", "=\"1\" ", "/ "] {
            let read = super::super::read(&page(attribute), super::super::Extent::All).unwrap();
            assert_eq!(read.text, "text", "{attribute}");
        }
    }

    #[test]
    fn the_spaces_change_nothing() {
        let kinds = ["a=\"1 = 2\" ", "b==\"3\" ", "=\"4\" ", "c=x=y ", "d\n=\"5\" ", "e=\"\"", "f=6 "];
        let attributes: String = (0..10_000).map(|n| kinds[n * n * n % 11 % kinds.len()]).collect();
        let html = format!("<p {attributes}>a = b</p><!-- c = d --><script>e = \"f\"</script>");
        let ours: Vec<Token> = Tokenizer::new(PageReader::new(&html)).map(|token| token.unwrap()).collect();
        let theirs: Vec<Token> = Tokenizer::new(&html[..]).map(|token| token.unwrap()).collect();
        assert_eq!(ours, theirs);
    }
}
