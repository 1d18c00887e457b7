//! An HTTP response as an archive keeps it: head, and body freed of its transfer and content encodings.
//!
//! Crawlers store what servers send, so nothing is taken for granted; and some store the body decoded and leave the headers as they were.

use std::borrow::Cow;
use std::io::Read;

use super::rows::{Fault, excerpt};

pub struct Response<'a> {
    pub status: Option<u16>,
    headers: Vec<(String, String)>,
    body: &'a [u8],
}

impl<'a> Response<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Response<'a>, Fault> {
        let (head, body) = split_head(bytes).unwrap_or((bytes, &[]));
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default();
        let Some(status) = first.strip_prefix("HTTP/") else {
            return Err(Fault::new("broken_http", format!("expected a line `HTTP/1.1 200 OK`, found {}", excerpt(first.as_bytes()))));
        };
        let status = status.split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok());
        Ok(Response { status, headers: headers(lines), body })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The body as the server's page, at most `limit` bytes and one.
    pub fn body(&self, limit: usize) -> Result<Cow<'a, [u8]>, Fault> {
        let chunked = self.header("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
        let mut body = if chunked { unchunk(self.body)? } else { Cow::Borrowed(self.body) };
        let encodings = self.header("content-encoding").unwrap_or_default().to_ascii_lowercase();
        for encoding in encodings.split(',').rev().map(str::trim).filter(|encoding| !["", "identity", "none", "utf-8"].contains(encoding)) {
            body = Cow::Owned(unpack(&body, encoding, limit)?);
        }
        Ok(body)
    }
}

/// What stands before and after the first empty line.
pub fn split_head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        let end = at + memchr::memchr(b'\n', &bytes[at..])?;
        at = end + 1;
        match &bytes[at..] {
            [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] => return Some((&bytes[..end], rest)),
            _ => {}
        }
    }
}

/// Header lines with their names in lower case; a line that begins with white space continues the one before.
pub fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in lines {
        match (line.split_once(':'), found.last_mut()) {
            (_, Some((_, value))) if line.starts_with([' ', '\t']) => *value = format!("{value} {}", line.trim()),
            (Some((name, value)), _) => found.push((name.trim().to_ascii_lowercase(), value.trim().to_string())),
            (None, _) => {}
        }
    }
    found
}

/// The first value of a header.
pub fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

/// The encoding that a `Content-Type` names.
pub fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['"', '\'']))
    })
}

/// Joins the chunks of a body; one that has none is returned as it is.
fn unchunk(body: &[u8]) -> Result<Cow<'_, [u8]>, Fault> {
    let mut joined = Vec::with_capacity(body.len());
    let mut rest = body;
    loop {
        let line = memchr::memchr(b'\n', &rest[..rest.len().min(1024)]);
        let size = line.and_then(|end| {
            let digits = rest[..end].split(|byte| *byte == b';').next()?.trim_ascii();
            usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        });
        let (Some(end), Some(size)) = (line, size) else {
            if joined.is_empty() {
                return Ok(Cow::Borrowed(body));
            }
            return Err(Fault::new("broken_http", format!("a chunk should begin after {} bytes, found {}", joined.len(), excerpt(rest))));
        };
        rest = &rest[end + 1..];
        if size == 0 {
            return Ok(Cow::Owned(joined));
        }
        if rest.len() < size {
            return Err(Fault::new("broken_http", format!("a chunk of {size} bytes ends after {}", rest.len())));
        }
        joined.extend_from_slice(&rest[..size]);
        rest = rest[size..].strip_prefix(b"\r").unwrap_or(&rest[size..]);
        rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    }
}

fn unpack(body: &[u8], encoding: &str, limit: usize) -> Result<Vec<u8>, Fault> {
    let reader: Box<dyn Read + '_> = match encoding {
        "gzip" | "x-gzip" if body.starts_with(&[0x1f, 0x8b]) => Box::new(flate2::read::MultiGzDecoder::new(body)),
        "deflate" if body.first().is_some_and(|byte| byte & 0x0f == 8) => Box::new(flate2::read::ZlibDecoder::new(body)),
        "deflate" => Box::new(flate2::read::DeflateDecoder::new(body)),
        "br" if !looks_like_text(body) => Box::new(brotli_decompressor::Decompressor::new(body, 4096)),
        "zstd" if body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) => {
            Box::new(zstd::Decoder::with_buffer(body).map_err(|error| Fault::new("broken_http", format!("zstd body: {error}")))?)
        }
        "gzip" | "x-gzip" | "br" | "zstd" => return Ok(body.to_vec()),
        _ => return Err(Fault::new("broken_http", format!("content encoding `{encoding}` is none of gzip, deflate, br, zstd"))),
    };
    let mut unpacked = Vec::new();
    reader
        .take(limit as u64 + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| Fault::new("broken_http", format!("the {encoding} body breaks after {} bytes: {error}", unpacked.len())))?;
    Ok(unpacked)
}

/// Brotli has no mark of its own: a body that begins like a page was unpacked before.
fn looks_like_text(body: &[u8]) -> bool {
    let start = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    start.starts_with(b"<") && body[..body.len().min(256)].iter().all(|byte| *byte >= 0x20 || byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_out_of_their_encodings() {
        let check = |head: &str, body: &[u8], expected: &str| {
            let bytes = [format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes(), body].concat();
            let found = match Response::parse(&bytes).and_then(|response| response.body(1000).map(|body| body.into_owned())) {
                Ok(body) => String::from_utf8(body).unwrap(),
                Err(fault) => fault.detail,
            };
            assert_eq!(found, expected, "{head}");
        };
        check("A: b", b"text", "text");
        check("Transfer-Encoding: chunked", b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", "abcde");
        check("transfer-encoding:CHUNKED", b"<html>\nnot chunked", "<html>\nnot chunked");
        check("Transfer-Encoding: chunked", b"3\r\nabc\r\nff\r\nde", "a chunk of 255 bytes ends after 2");
        check("Transfer-Encoding: chunked", b"3\r\nabc\r\n", "a chunk should begin after 3 bytes, found \"\"");
        check("Content-Encoding: gzip", b"plain after all", "plain after all");
        check("Content-Encoding: br", b"<html>", "<html>");
        check("Content-Encoding: zstd", &zstd::encode_all(&b"packed"[..], 1).unwrap(), "packed");
        check("Content-Encoding: rot13", b"x", "content encoding `rot13` is none of gzip, deflate, br, zstd");
        // Brotli of "packed", stored.
        check("Content-Encoding: br", b"\x8b\x02\x80packed\x03", "packed");
        let error = Response::parse(b"nonsense").err().unwrap();
        assert_eq!(error.detail, "expected a line `HTTP/1.1 200 OK`, found \"nonsense\"");
    }

    #[test]
    fn heads_are_read() {
        let response = Response::parse(b"HTTP/1.0 404\nA: b\n c\nbad\nA: d\n\nbody").unwrap_or_else(|fault| panic!("{fault:?}"));
        assert_eq!((response.status, response.header("a"), response.body), (Some(404), Some("b c"), &b"body"[..]));
        assert_eq!(charset("text/html; x=y; Charset=\"GBK\""), Some("GBK"));
        assert_eq!(charset("text/html"), None);
    }
}
