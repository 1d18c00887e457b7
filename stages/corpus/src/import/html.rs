//! HTML files: a page is a document, its text found by [`text::html`].

use std::io::Read;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use text::html::{Extent, TooDeep};

use super::charset;
use super::fields::{self, Fields};
use super::rows::{Fault, Rows};
use super::stream::{Stream, fault};
use super::{Shape, plain};

/// Which text of a page becomes the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Html {
    /// The main text, without navigation, side bars and footers.
    #[default]
    Main,
    /// All that a browser shows.
    All,
}

/// The fields of a page. `replaced` counts the characters that its encoding could not decode.
pub const FIELDS: &[&str] = &["title", "language", "canonical_url", "links", "encoding", "replaced"];

/// Reads the whole stream as one page.
pub fn read(stream: Stream, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let place = stream.place();
    let mut bytes = Vec::new();
    let limit = shape.record_bytes_max as u64;
    if let Err(error) = stream.reader.take(limit + 1).read_to_end(&mut bytes) {
        return rows.reject(place, fault(&stream.name, error)?);
    }
    if bytes.len() as u64 > limit {
        return rows.reject(place, plain::too_long(&bytes, "the file", shape));
    }
    match page(&bytes, None, shape) {
        Ok((text, fields)) => fields::document(&text, fields, place, shape, rows),
        Err(fault) => rows.reject(place, fault),
    }
}

/// The text and the fields of a page. `said` is the encoding that its server gave.
pub fn page(bytes: &[u8], said: Option<&str>, shape: &Shape) -> Result<(String, Fields), Fault> {
    let decoded = charset::page(bytes, shape.page_encoding, said)?;
    let extent = match shape.html {
        Html::Main => Extent::Main,
        Html::All => Extent::All,
    };
    let page = text::html::read(&decoded.text, extent)
        .map_err(|TooDeep| Fault::new("nested_too_deep", format!("elements nest deeper than {} levels", text::html::DEPTH_MAX)))?;
    let fields = vec![
        ("title", page.title.into()),
        ("language", page.language.into()),
        ("canonical_url", page.canonical_url.into()),
        ("links", page.links.into()),
        ("encoding", decoded.encoding.into()),
        ("replaced", if decoded.broken > 0 { decoded.broken.into() } else { Value::Null }),
    ];
    Ok((page.text, fields))
}

#[cfg(test)]
mod tests {
    use super::super::fields::tests::check;

    const PAGE: &str = "<html lang=de><head><title>Ein Titel</title><link rel=canonical href=https://a.b/c></head><body><nav><a href=/>Start</a></nav>\
        <main><h1>Kopf</h1><p>Ein Absatz.</main></body></html>";

    #[test]
    fn a_page_is_a_document_with_its_fields() {
        check(
            "a.html",
            PAGE.as_bytes(),
            "columns = { title = \"string\", links = \"integer\" }",
            &["position", "line", "text", "title", "links", "extra"],
            &["0|1|Kopf\n\nEin Absatz.|Ein Titel|1|{\"language\":\"de\",\"canonical_url\":\"https://a.b/c\",\"encoding\":\"utf-8\"}"],
            &[],
        );
        check("a.xhtml", PAGE.as_bytes(), "html = \"all\"", &["text"], &["Start\n\nKopf\n\nEin Absatz."], &[]);
        check("a.htm", b"<p>x", "source_field = \"language\"\ncolumns = { title = \"integer\" }", &["source", "title"], &["files|"], &[]);
        check("a.htm", b"<title>x</title>y", "columns = { title = \"integer\" }", &["text"], &[], &["0|1|wrong_type"]);
    }

    #[test]
    fn pages_that_are_none_are_rejected() {
        check("a.html", b"", "", &["text"], &[], &["0|1|empty_text"]);
        check("a.html", b"<nav>only</nav>", "", &["text"], &[], &["0|1|empty_text"]);
        check("a.html", "<div>".repeat(1_000_000).as_bytes(), "", &["text"], &[], &["0|1|nested_too_deep"]);
        check("a.html", "<p>x</p>".repeat(1000).as_bytes(), "record_bytes_max = 2000", &["text"], &[], &["0|1|record_too_long"]);
        check("a.html", b"\xff\xfe\xff\xdb", "", &["text"], &[], &["0|1|invalid_encoding"]);
    }
}
