//! WARC files: the pages and texts that a crawler stored, one document for each `response`, `resource` or `conversion` record that holds one
//! (Common Crawl's WET files are conversions).
//!
//! Records of other types, and look-ups of names, hold no document by their nature and are counted (`records_skipped`); other content
//! (pictures, scripts) is a reject. A broken record is a reject with its byte position, and reading goes on at the next line that begins a
//! record.

use anyhow::Result;
use serde_json::Value;

use super::charset;
use super::fields::{self, Fields};
use super::http::{self, Response};
use super::rows::{Fault, Place, Rows, excerpt};
use super::stream::{Stream, fault};
use super::window::Window;
use super::{Shape, html, plain};

/// The fields of a record, besides those of its page.
pub const FIELDS: &[&str] = &["url", "date", "content_type", "http_status", "record_id", "truncated"];

const BEGIN: &[u8] = b"WARC/";
const HEAD_BYTES_MAX: usize = 1 << 16;

/// Reads all records of a stream.
pub fn read(stream: Stream, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let mut window = Window::new(stream);
    loop {
        skip_blank(&mut window);
        let place = Place { position: window.offset(), line: None };
        if !window.fill(1) {
            return match window.failure() {
                Some(error) => rows.reject(place, fault(window.name(), error)?),
                None => Ok(()),
            };
        }
        match record(&mut window, shape) {
            Ok(Found::Document(text, fields)) => fields::document(&text, fields, place, shape, rows)?,
            Ok(Found::Other) => rows.skip(),
            Ok(Found::Unusable(fault)) => rows.reject(place, fault)?,
            Err(found) => {
                resume(&mut window);
                // A record that is cut off by a break of the archive is one reject.
                if window.bytes().is_empty()
                    && let Some(error) = window.failure()
                {
                    return rows.reject(place, fault(window.name(), error)?);
                }
                rows.reject(place, found)?;
            }
        }
    }
}

enum Found {
    Document(String, Fields),
    /// A record that by its nature holds no document.
    Other,
    /// The record is whole and its content is broken.
    Unusable(Fault),
}

/// Takes one record. An error leaves the window where the next record is to be looked for.
fn record(window: &mut Window, shape: &Shape) -> Result<Found, Fault> {
    window.fill(BEGIN.len());
    if !window.bytes().starts_with(BEGIN) {
        let found = excerpt(&window.bytes()[..window.bytes().len().min(60)]);
        return Err(Fault::new("broken_warc", format!("a record should begin here with `WARC/1.1`, found {found}")));
    }
    let head_end = head_end(window)?;
    let head = String::from_utf8_lossy(&window.bytes()[..head_end]).into_owned();
    let headers = http::headers(head.lines().skip(1));
    let header = |name: &str| http::header(&headers, name);
    let length = header("content-length").and_then(|length| length.parse::<u64>().ok());
    let Some(length) = length else {
        window.take(head_end);
        return Err(Fault::new("broken_warc", "the record has no Content-Length that is a number"));
    };
    let wanted = matches!(header("warc-type"), Some("response" | "resource" | "conversion"))
        && !header("warc-target-uri").is_some_and(|uri| uri.trim_start_matches('<').starts_with("dns:"));
    if length > shape.record_bytes_max as u64 {
        window.take(head_end);
        return pass_long(window, length, wanted, shape);
    }
    let end = head_end + length as usize;
    if !window.fill(end) {
        let found = window.bytes().len() - head_end.min(window.bytes().len());
        window.take(head_end);
        return Err(Fault::new("truncated_record", format!("Content-Length is {length}, the file ends after {found} bytes")));
    }
    window.fill(end + 4);
    if !ends_here(&window.bytes()[end..]) {
        let found = excerpt(&window.bytes()[end..(end + 40).min(window.bytes().len())]);
        window.take(head_end);
        return Err(Fault::new("broken_warc", format!("Content-Length is {length}, but what follows is no end of a record: {found}")));
    }
    let found =
        if wanted { document(&headers, &window.bytes()[head_end..end], shape).unwrap_or_else(Found::Unusable) } else { Found::Other };
    window.take(end);
    Ok(found)
}

/// Length of a record's head with the empty line.
fn head_end(window: &mut Window) -> Result<usize, Fault> {
    let crlf = window.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX).map(|at| at + 4);
    let lf = window.find(b"\n\n", 0, crlf.unwrap_or(HEAD_BYTES_MAX)).map(|at| at + 2);
    let end = lf.or(crlf);
    // A head that never ends must not swallow the next record's.
    let next = window.find(b"\nWARC/", 0, end.unwrap_or(HEAD_BYTES_MAX));
    match (end, next) {
        (Some(end), None) => Ok(end),
        (_, next) => {
            let length = next.map_or(BEGIN.len().min(window.bytes().len()), |at| at + 1);
            let detail = if next.is_some() { "the head has no end before the next record" } else { "the head has no end" };
            window.take(length);
            Err(Fault::new("broken_warc", detail))
        }
    }
}

/// Whether a record may end before these bytes: two line ends, or the end of the file.
fn ends_here(after: &[u8]) -> bool {
    after.is_empty() || after.starts_with(b"\r\n") || after.starts_with(b"\n") || after.starts_with(BEGIN)
}

/// Passes a record over that is longer than `record_bytes_max`, and sees to it that none is swallowed.
fn pass_long(window: &mut Window, length: u64, wanted: bool, shape: &Shape) -> Result<Found, Fault> {
    const NEXT: &[u8] = b"\r\n\r\nWARC/1.";
    const STEP: usize = 1 << 16;
    let end = window.offset() + length;
    while window.offset() < end {
        let step = (end - window.offset()).min(STEP as u64) as usize;
        let there = window.fill(step + NEXT.len());
        let step = step.min(window.bytes().len());
        let look = (step + NEXT.len() - 1).min(window.bytes().len());
        let next = memchr::memmem::find(&window.bytes()[..look], NEXT);
        match next {
            Some(at) if window.offset() + (at as u64) < end => {
                window.take(at);
                return Err(Fault::new("broken_warc", format!("Content-Length is {length}, but another record begins before")));
            }
            _ => window.take(step),
        }
        if !there && window.bytes().is_empty() && window.offset() < end {
            return Err(Fault::new(
                "truncated_record",
                format!("Content-Length is {length}, the file ends {} bytes before", end - window.offset()),
            ));
        }
    }
    let detail = format!("the record has {length} bytes, that is more than record_bytes_max = {}", shape.record_bytes_max);
    Ok(if wanted { Found::Unusable(Fault::new("record_too_long", detail)) } else { Found::Other })
}

fn skip_blank(window: &mut Window) {
    while window.fill(1) && matches!(window.bytes()[0], b'\r' | b'\n') {
        window.take(1);
    }
}

/// Goes to the next line that begins a record.
fn resume(window: &mut Window) {
    window.fill(BEGIN.len());
    if !window.bytes().starts_with(BEGIN) && window.skip_to(b"\nWARC/", 0) {
        window.take(1);
    }
}

/// The document in the content of a record.
fn document(headers: &[(String, String)], content: &[u8], shape: &Shape) -> Result<Found, Fault> {
    let header = |name: &str| http::header(headers, name);
    let kind = header("content-type").unwrap_or_default().to_string();
    let mut status = None;
    let (kind, body) = if is(&kind, "application/http") {
        let response = Response::parse(content)?;
        status = response.status;
        let kind = response.header("content-type").or_else(|| header("warc-identified-payload-type")).unwrap_or_default().to_string();
        if !is_text(&kind) && !kind.is_empty() {
            return Err(no_page(&kind));
        }
        (kind, response.body(shape.record_bytes_max)?)
    } else {
        (kind, content.into())
    };
    if body.len() > shape.record_bytes_max {
        return Err(plain::too_long(&body, "the unpacked page", shape));
    }
    if let Some(status) = status.filter(|status| !(200..300).contains(status)) {
        return Err(Fault::new("http_status", format!("the server answered {status}, not with a page")));
    }
    let said = http::charset(&kind);
    let (text, mut fields) = if is_page(&kind) || kind.is_empty() && looks_like_page(&body) {
        html::page(&body, said, shape)?
    } else if is_text(&kind) {
        let decoded = charset::page(&body, shape.page_encoding, said)?;
        (decoded.text.into_owned(), vec![("encoding", decoded.encoding.into())])
    } else {
        return Err(no_page(&kind));
    };
    let mime = Some(media_type(&kind)).filter(|mime| !mime.is_empty());
    fields.extend([
        ("url", header("warc-target-uri").map(|url| url.trim_matches(['<', '>'])).into()),
        ("date", header("warc-date").into()),
        ("content_type", mime.into()),
        ("http_status", status.map_or(Value::Null, Value::from)),
        ("record_id", header("warc-record-id").into()),
        ("truncated", header("warc-truncated").into()),
    ]);
    Ok(Found::Document(text, fields))
}

fn no_page(content_type: &str) -> Fault {
    let kind = if content_type.is_empty() { "of no stated media type".to_string() } else { format!("`{}`", media_type(content_type)) };
    Fault::new("media_type", format!("the content is {kind}, neither HTML nor plain text"))
}

fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is(content_type: &str, mime: &str) -> bool {
    media_type(content_type) == mime
}

fn is_page(content_type: &str) -> bool {
    ["text/html", "application/xhtml+xml"].iter().any(|mime| is(content_type, mime))
}

fn is_text(content_type: &str) -> bool {
    is_page(content_type) || ["text/plain", "text/markdown"].iter().any(|mime| is(content_type, mime))
}

fn looks_like_page(body: &[u8]) -> bool {
    let start = body[..body.len().min(1024)].to_ascii_lowercase();
    ["<!doctype html", "<html", "<head", "<body"].iter().any(|mark| memchr::memmem::find(&start, mark.as_bytes()).is_some())
}

#[cfg(test)]
pub mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::super::fields::tests::check;
    use crate::testing::Lab;

    pub fn record(kind: &str, mime: &str, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let head = format!(
            "WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://a.b/c\r\nWARC-Date: 2026-01-02T03:04:05Z\r\nContent-Type: {mime}\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        [head.as_bytes(), content, b"\r\n\r\n"].concat()
    }

    fn response(head: &str, body: &[u8]) -> Vec<u8> {
        record("response", "application/http; msgtype=response", &[format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body].concat())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Eleven records: five documents, four without any, one that is a picture, one error page.
    fn records() -> Vec<Vec<u8>> {
        let (gb, _, _) = encoding_rs::GB18030.encode("<title>题</title><p>简体中文网页");
        vec![
            record("warcinfo", "application/warc-fields", b"software: test\r\n"),
            response("200 OK\r\nContent-Type: text/html; charset=gb2312", &gb),
            response("200 OK\r\nContent-Type: image/png", b"\x89PNG"),
            response("200\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip", &{
                let packed = gzip("<p>chunks & gzip".as_bytes());
                [format!("{:x}\r\n", packed.len()).as_bytes(), &packed, b"\r\n0\r\n\r\n"].concat()
            }),
            response("404 Not Found\r\nContent-Type: text/html", b"<p>no page"),
            record("request", "application/http; msgtype=request", b"GET / HTTP/1.1\r\n\r\n"),
            record("resource", "text/plain", "plain text".as_bytes()),
            response("200 OK", b"<!DOCTYPE HTML><p>sniffed"),
            record("conversion", "text/plain", "as in a WET file".as_bytes()),
            record("revisit", "application/http; msgtype=response", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
            String::from_utf8(record("resource", "text/dns", b"20260102 1.2.3.4")).unwrap().replace("http://a.b/c", "dns:a.b").into_bytes(),
        ]
    }

    #[test]
    fn pages_come_out_of_their_records() {
        let file = records().concat();
        let starts: Vec<usize> = records().iter().scan(0, |at, record| Some(std::mem::replace(at, *at + record.len()))).collect();
        let documents = [
            format!("{}|简体中文网页|题|200|text/html", starts[1]),
            format!("{}|chunks & gzip||200|text/html", starts[3]),
            format!("{}|plain text|||text/plain", starts[6]),
            format!("{}|sniffed||200|", starts[7]),
            format!("{}|as in a WET file|||text/plain", starts[8]),
        ];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        let rejects = [format!("{}||media_type", starts[2]), format!("{}||http_status", starts[4])];
        let rejects: Vec<&str> = rejects.iter().map(String::as_str).collect();
        let settings = "columns = { title = \"string\", http_status = \"integer\", content_type = \"string\" }";
        let columns = ["position", "text", "title", "http_status", "content_type"];
        check("a.warc", &file, settings, &columns, &documents, &rejects);
        // As crawlers pack them: a gzip member for each record.
        let packed: Vec<u8> = records().iter().flat_map(|record| gzip(record)).collect();
        check("a.warc.gz", &packed, settings, &columns, &documents, &rejects);
        check("a.warc.zst", &zstd::encode_all(&file[..], 1).unwrap(), settings, &columns, &documents, &rejects);
        check("a.warc.wet.gz", &gzip(&records()[8]), "", &["text"], &["as in a WET file"], &[]);
        check(
            "a.warc",
            &records()[6],
            "columns = { url = \"string\", date = \"string\" }",
            &["url", "date", "extra", "line"],
            &["http://a.b/c|2026-01-02T03:04:05Z|{\"encoding\":\"utf-8\",\"content_type\":\"text/plain\"}|"],
            &[],
        );
    }

    #[test]
    fn what_holds_no_document_is_counted() {
        let lab = Lab::new(&[("a.warc", &records().concat())]);
        lab.run("[[step]]\nstage = \"import\"\npaths = [\"a.warc\"]", 1).unwrap();
        let manifest = &lab.artifact("import").manifest;
        assert_eq!((manifest.count("records"), manifest.count("records_skipped")), (7, 4));
        let details = lab.rows("import", "rejects", &["detail"]);
        assert_eq!(details[0], "the content is `image/png`, neither HTML nor plain text");
    }

    #[test]
    fn broken_records_are_rejected_and_the_next_is_found() {
        let good = response("200 OK\r\nContent-Type: text/html", b"<p>good");
        let check = |broken: &[u8], settings: &str, rejects: &[&str]| {
            let file = [broken, &good].concat();
            super::super::fields::tests::check("a.warc", &file, settings, &["text"], &["good"], rejects);
        };
        let with = |from: &str, to: &str| String::from_utf8(good.clone()).unwrap().replacen(from, to, 1).into_bytes();
        let length = format!("Content-Length: {}", good.len() - good.windows(4).position(|four| four == b"\r\n\r\n").unwrap() - 8);
        check(b"", "", &[]);
        check(b"garbage\r\n\r\n", "", &["0||broken_warc"]);
        check(&with(&length, "Content-Length: 5"), "", &["0||broken_warc"]);
        check(&with(&length, "Content-Length: 100000"), "", &["0||truncated_record"]);
        check(&with(&length, "Content-Length: 99999999999"), "", &["0||broken_warc"]);
        check(&with(&length, "Content-Length: many"), "", &["0||broken_warc"]);
        check(&with(&length, "No-Length: 1"), "", &["0||broken_warc"]);
        check(b"WARC/1.0\r\nWARC-Type: response\r\n", "", &["0||broken_warc"]);
        check(&response("200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip", b"\x1f\x8b broken"), "", &["0||broken_http"]);
        check(&record("response", "application/http", b"no head"), "", &["0||broken_http"]);
        check(
            &response("200 OK\r\nContent-Type: text/html", "<p>".repeat(1000).as_bytes()),
            "record_bytes_max = 1024",
            &["0||record_too_long"],
        );
        let bomb = gzip(&vec![b' '; 1 << 20]);
        check(
            &response("200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip", &bomb),
            "record_bytes_max = 4096",
            &["0||record_too_long"],
        );
    }

    #[test]
    fn a_truncated_archive_keeps_what_can_be_read() {
        let good = response("200 OK\r\nContent-Type: text/html", b"<p>good");
        let packed = [gzip(&good), gzip(&good)].concat();
        let second = format!("{}||truncated_archive", good.len());
        check("a.warc.gz", &packed[..packed.len() - 30], "", &["text"], &["good"], &[&second]);
        check("a.warc", &[&good[..], &good[..good.len() - 9]].concat(), "", &["text"], &["good"], &[&second.replace("archive", "record")]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn any_damage_leaves_a_balance(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20), cut in any::<prop::sample::Index>()) {
            let mut file = records().concat();
            for (at, byte) in changes {
                let at = at.index(file.len());
                file[at] = byte;
            }
            file.truncate(cut.index(file.len()) + 1);
            let lab = Lab::new(&[("a.warc", &file)]);
            lab.run("[[step]]\nstage = \"import\"\npaths = [\"a.warc\"]", 1).unwrap();
            let count = lab.rows("import", "documents", &["text"]).len() + lab.rows("import", "rejects", &["rule"]).len();
            prop_assert_eq!(lab.artifact("import").manifest.count("records"), count as i64);
        }
    }
}
