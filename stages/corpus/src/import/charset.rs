//! Which encoding bytes are in, and bytes as text.
//!
//! Names and tables are the WHATWG's (crate encoding_rs), guesses those of Firefox (chardetng). Records are decoded strictly: a byte that is
//! no text makes a reject. Pages are decoded as browsers do, with U+FFFD for what is broken, until too much is.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{DecoderResult, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};
use schemars::JsonSchema;
use serde::de::{Error as _, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use super::rows::{Fault, excerpt};

/// How bytes become characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// The byte order mark, then what the page or its server says, then a guess.
    Auto,
    #[default]
    #[serde(rename = "utf-8", alias = "utf8")]
    Utf8,
    /// Every byte is a character; for old mail.
    #[serde(rename = "latin-1", alias = "latin1", alias = "iso-8859-1")]
    Latin1,
    #[serde(alias = "gbk", alias = "gb2312")]
    Gb18030,
    Big5,
    #[serde(rename = "shift_jis", alias = "shift-jis", alias = "sjis")]
    ShiftJis,
    EucJp,
    #[serde(rename = "iso-2022-jp")]
    Iso2022Jp,
    EucKr,
    #[serde(rename = "windows-1250")]
    Windows1250,
    #[serde(rename = "windows-1251")]
    Windows1251,
    #[serde(rename = "windows-1252")]
    Windows1252,
    #[serde(rename = "windows-1253")]
    Windows1253,
    #[serde(rename = "windows-1254")]
    Windows1254,
    #[serde(rename = "windows-1255")]
    Windows1255,
    #[serde(rename = "windows-1256")]
    Windows1256,
    #[serde(rename = "windows-1258")]
    Windows1258,
    #[serde(rename = "windows-874")]
    Windows874,
    #[serde(rename = "iso-8859-2")]
    Iso88592,
    #[serde(rename = "iso-8859-15")]
    Iso885915,
    #[serde(rename = "koi8-r")]
    Koi8R,
}

/// The setting: any case, and for UTF-16, which files of records cannot be in, what to do.
pub fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Encoding>, D::Error> {
    let Some(name) = Option::<String>::deserialize(value)? else { return Ok(None) };
    let name = name.to_ascii_lowercase();
    if name.starts_with("utf-16") || name.starts_with("utf16") {
        return Err(D::Error::custom(
            "UTF-16 is no choice: `auto` reads text files and pages that begin with its byte order mark; convert other files: iconv -f \
             UTF-16 -t UTF-8 FILE > NEW",
        ));
    }
    Encoding::deserialize(name.into_deserializer()).map(Some)
}

/// A page with a greater share of broken characters (in percent) is rejected; one with fewer is kept, and they are counted.
const BROKEN_PERCENT: usize = 1;
/// The head of a page, where it names its encoding.
const HEAD_BYTES: usize = 4096;

/// A page as text.
pub struct Decoded<'a> {
    pub text: Cow<'a, str>,
    /// The encoding's name.
    pub encoding: &'static str,
    /// Broken characters, each U+FFFD in the text.
    pub broken: usize,
}

/// A record as text, or the place of the first byte that is none.
pub fn record(bytes: &[u8], encoding: Encoding) -> Result<Cow<'_, str>, Fault> {
    let (decoder, bytes) = match encoding {
        Encoding::Latin1 => return Ok(latin1(bytes)),
        Encoding::Auto => match marked(bytes) {
            Some((marked, length)) => (marked, &bytes[length..]),
            None if std::str::from_utf8(bytes).is_ok() => (UTF_8, bytes),
            None => (guess(bytes), bytes),
        },
        named => (named.table(), bytes),
    };
    if decoder == UTF_8 {
        if is_utf16(bytes) {
            return Err(Fault::new("invalid_utf8", UTF_16));
        }
        return std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| invalid("invalid_utf8", bytes, error.valid_up_to(), "utf-8"));
    }
    let text = decode(bytes, decoder);
    match text.first_broken {
        Some(at) => Err(invalid("invalid_encoding", bytes, at, decoder.name())),
        None => Ok(Cow::Owned(text.text)),
    }
}

/// A page as text. `said` is the encoding that its server gave.
pub fn page<'a>(bytes: &'a [u8], encoding: Encoding, said: Option<&str>) -> Result<Decoded<'a>, Fault> {
    match encoding {
        Encoding::Latin1 => Ok(Decoded { text: latin1(bytes), encoding: "latin-1", broken: 0 }),
        Encoding::Auto => {
            if let Some((marked, length)) = marked(bytes) {
                return tolerant(&bytes[length..], marked);
            }
            let said = said.and_then(table).or_else(|| declared(bytes));
            // Nothing but UTF-8 looks like it, whatever the page says; but ISO-2022-JP is ASCII with escapes.
            let escaped = || memchr::memchr(0x1b, bytes).is_some() && (said == Some(ISO_2022_JP) || guess(bytes) == ISO_2022_JP);
            if std::str::from_utf8(bytes).is_ok() {
                return tolerant(bytes, if escaped() { ISO_2022_JP } else { UTF_8 });
            }
            match said.map(|said| tolerant(bytes, said)) {
                Some(Ok(decoded)) => Ok(decoded),
                _ => tolerant(bytes, guess(bytes)),
            }
        }
        named => tolerant(bytes, named.table()),
    }
}

impl Encoding {
    fn table(self) -> &'static encoding_rs::Encoding {
        match self {
            Encoding::Auto | Encoding::Utf8 => UTF_8,
            Encoding::Gb18030 => encoding_rs::GB18030,
            Encoding::Big5 => encoding_rs::BIG5,
            Encoding::ShiftJis => encoding_rs::SHIFT_JIS,
            Encoding::EucJp => encoding_rs::EUC_JP,
            Encoding::Iso2022Jp => ISO_2022_JP,
            Encoding::EucKr => encoding_rs::EUC_KR,
            Encoding::Windows1250 => encoding_rs::WINDOWS_1250,
            Encoding::Windows1251 => encoding_rs::WINDOWS_1251,
            Encoding::Latin1 | Encoding::Windows1252 => WINDOWS_1252,
            Encoding::Windows1253 => encoding_rs::WINDOWS_1253,
            Encoding::Windows1254 => encoding_rs::WINDOWS_1254,
            Encoding::Windows1255 => encoding_rs::WINDOWS_1255,
            Encoding::Windows1256 => encoding_rs::WINDOWS_1256,
            Encoding::Windows1258 => encoding_rs::WINDOWS_1258,
            Encoding::Windows874 => encoding_rs::WINDOWS_874,
            Encoding::Iso88592 => encoding_rs::ISO_8859_2,
            Encoding::Iso885915 => encoding_rs::ISO_8859_15,
            Encoding::Koi8R => encoding_rs::KOI8_R,
        }
    }
}

/// The encoding of a byte order mark, and the mark's length.
fn marked(bytes: &[u8]) -> Option<(&'static encoding_rs::Encoding, usize)> {
    encoding_rs::Encoding::for_bom(bytes)
}

/// The encoding of a label, as a page or its server gives it.
fn table(label: &str) -> Option<&'static encoding_rs::Encoding> {
    encoding_rs::Encoding::for_label_no_replacement(label.trim().as_bytes())
}

/// The encoding that a page names in `<meta charset>`, `<meta http-equiv>` or its XML declaration. The WHATWG's prescan, and its two
/// corrections: a label that can be read byte by byte is not UTF-16.
fn declared(bytes: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let head = bytes[..bytes.len().min(HEAD_BYTES)].to_ascii_lowercase();
    let mut rest = &head[..];
    while let Some(at) = memchr::memchr(b'<', rest) {
        rest = &rest[at..];
        if rest.starts_with(b"<!--") {
            rest = memchr::memmem::find(rest, b"-->").map_or(&[], |end| &rest[end..]);
            continue;
        }
        let tag = &rest[..memchr::memchr(b'>', rest).unwrap_or(rest.len())];
        let label = match tag {
            [b'<', b'm', b'e', b't', b'a', ..] => attribute(tag, b"charset"),
            [b'<', b'?', b'x', b'm', b'l', ..] => attribute(tag, b"encoding"),
            _ => None,
        };
        if let Some(named) = label.and_then(|label| table(&String::from_utf8_lossy(label))) {
            return Some(match named {
                _ if named == UTF_16LE || named == UTF_16BE => UTF_8,
                _ if named == X_USER_DEFINED => WINDOWS_1252,
                named => named,
            });
        }
        rest = &rest[tag.len().max(1)..];
    }
    None
}

/// What follows `name =`, with or without quotes.
fn attribute<'a>(tag: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = tag;
    while let Some(at) = memchr::memmem::find(rest, name) {
        rest = &rest[at + name.len()..];
        let Some(value) = rest.trim_ascii_start().strip_prefix(b"=") else { continue };
        let value = value.trim_ascii_start();
        let value = value.strip_prefix(b"\"").or_else(|| value.strip_prefix(b"'")).unwrap_or(value);
        let end = value.iter().position(|byte| matches!(byte, b'"' | b'\'' | b';' | b'>' | b'/') || byte.is_ascii_whitespace());
        return Some(&value[..end.unwrap_or(value.len())]);
    }
    None
}

fn guess(bytes: &[u8]) -> &'static encoding_rs::Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(bytes, true);
    detector.guess(None, Utf8Detection::Allow)
}

fn latin1(bytes: &[u8]) -> Cow<'_, str> {
    Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect())
}

fn tolerant<'a>(bytes: &'a [u8], table: &'static encoding_rs::Encoding) -> Result<Decoded<'a>, Fault> {
    if table == UTF_8
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return Ok(Decoded { text: Cow::Borrowed(text), encoding: "utf-8", broken: 0 });
    }
    let found = decode(bytes, table);
    match found.first_broken {
        Some(at) if found.broken * 100 > found.text.chars().count() * BROKEN_PERCENT => {
            Err(invalid("invalid_encoding", bytes, at, table.name()))
        }
        _ => Ok(Decoded { text: Cow::Owned(found.text), encoding: lower(table), broken: found.broken }),
    }
}

struct Text {
    text: String,
    broken: usize,
    first_broken: Option<usize>,
}

fn decode(bytes: &[u8], table: &'static encoding_rs::Encoding) -> Text {
    let mut decoder = table.new_decoder_without_bom_handling();
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 2);
    let (mut at, mut broken, mut first_broken) = (0, 0, None);
    loop {
        let room = decoder.max_utf8_buffer_length_without_replacement(bytes.len() - at).unwrap_or(bytes.len());
        text.reserve(room.clamp(16, 1 << 20));
        let (result, read) = decoder.decode_to_string_without_replacement(&bytes[at..], &mut text, true);
        at += read;
        match result {
            DecoderResult::InputEmpty => return Text { text, broken, first_broken },
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(length, after) => {
                first_broken = first_broken.or(Some(at.saturating_sub(usize::from(length) + usize::from(after))));
                broken += 1;
                text.push('\u{fffd}');
            }
        }
    }
}

/// What to do about UTF-16, for messages.
pub const UTF_16: &str = "the file is in UTF-16, where records cannot be told apart; convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW (a \
    .txt file with a byte order mark is also read with `encoding = \"auto\"`)";

/// Whether bytes begin with the mark of UTF-16, or like text of ASCII in it.
pub fn is_utf16(bytes: &[u8]) -> bool {
    let alternate = |bytes: &[u8]| bytes.len() >= 4 && bytes.chunks_exact(2).all(|pair| (pair[0] == 0) != (pair[1] == 0));
    let start = &bytes[..bytes.len().min(16)];
    let zeros = |from: usize| start.iter().skip(from).step_by(2).all(|byte| *byte == 0);
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) || alternate(start) && (zeros(0) || zeros(1))
}

fn invalid(rule: &'static str, bytes: &[u8], at: usize, encoding: &str) -> Fault {
    if is_utf16(bytes) {
        return Fault::new(rule, UTF_16);
    }
    let byte = bytes.get(at).copied().unwrap_or_default();
    let what = if rule == "invalid_utf8" { String::new() } else { format!(" is no {}", encoding.to_ascii_lowercase()) };
    Fault::new(rule, format!("byte 0x{byte:02x} at byte {at} of the record{what}: {}", excerpt(&bytes[context(bytes, at)..])))
}

/// Start of a short stretch before `at` that begins with a whole character.
fn context(bytes: &[u8], at: usize) -> usize {
    let start = at.saturating_sub(20);
    (start..at).find(|index| bytes[*index] & 0xc0 != 0x80).unwrap_or(at.min(bytes.len()))
}

/// The names that encoding_rs gives, as settings spell them.
fn lower(table: &'static encoding_rs::Encoding) -> &'static str {
    const NAMES: &[&str] = &[
        "utf-8",
        "gb18030",
        "gbk",
        "big5",
        "shift_jis",
        "euc-jp",
        "iso-2022-jp",
        "euc-kr",
        "windows-1250",
        "windows-1251",
        "windows-1252",
        "windows-1253",
        "windows-1254",
        "windows-1255",
        "windows-1256",
        "windows-1257",
        "windows-1258",
        "windows-874",
        "iso-8859-2",
        "iso-8859-15",
        "koi8-r",
        "koi8-u",
        "utf-16le",
        "utf-16be",
        "ibm866",
        "macintosh",
    ];
    NAMES.iter().copied().find(|name| name.eq_ignore_ascii_case(table.name())).unwrap_or(table.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIMPLIFIED: &str = "人工智能是研究如何使计算机模拟人的某些思维过程和智能行为的学科。";
    const TRADITIONAL: &str = "人工智慧是研究如何使電腦模擬人的某些思維過程和智慧行為的學科。";
    const JAPANESE: &str = "人工知能とは、計算という概念とコンピュータという道具を用いて知能を研究する学問である。";

    fn encode(text: &str, label: &str) -> Vec<u8> {
        encoding_rs::Encoding::for_label(label.as_bytes()).unwrap().encode(text).0.into_owned()
    }

    fn show(bytes: &[u8], encoding: Encoding, said: Option<&str>) -> String {
        match page(bytes, encoding, said) {
            Ok(page) => format!("{} {} {}", page.encoding, page.broken, page.text),
            Err(fault) => format!("{}: {}", fault.rule, fault.detail.split(": ").next().unwrap()),
        }
    }

    #[test]
    fn pages_say_their_encoding_or_it_is_guessed() {
        for (text, label) in
            [(SIMPLIFIED, "gb18030"), (TRADITIONAL, "big5"), (JAPANESE, "shift_jis"), (JAPANESE, "euc-jp"), (JAPANESE, "iso-2022-jp")]
        {
            let bytes = encode(text, label);
            assert_eq!(show(&bytes, Encoding::Auto, Some(label)), format!("{label} 0 {text}"));
            let guessed = if label == "gb18030" { "gbk" } else { label };
            assert_eq!(show(&bytes, Encoding::Auto, None), format!("{guessed} 0 {text}"));
            let head = format!("<!-- <meta charset=koi8-r> --><META http-equiv='Content-Type' content='text/html; Charset = {label}'>");
            let page = [head.as_bytes(), &bytes].concat();
            assert_eq!(show(&page, Encoding::Auto, None), format!("{label} 0 {head}{text}"));
        }
        let mut bytes = vec![0xff, 0xfe];
        bytes.extend(SIMPLIFIED.encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(show(&bytes, Encoding::Auto, Some("koi8-r")), format!("utf-16le 0 {SIMPLIFIED}"));
        assert_eq!(show(b"\xef\xbb\xbfx", Encoding::Auto, None), "utf-8 0 x");
    }

    #[test]
    fn wrong_labels_are_seen_through() {
        assert_eq!(show(SIMPLIFIED.as_bytes(), Encoding::Auto, Some("gb2312")), format!("utf-8 0 {SIMPLIFIED}"));
        assert_eq!(show(&encode(TRADITIONAL, "big5"), Encoding::Auto, Some("utf-8")), format!("big5 0 {TRADITIONAL}"));
        assert_eq!(show(b"caf\xe9 \x93x\x94", Encoding::Auto, Some("iso-8859-1")), "windows-1252 0 caf\u{e9} \u{201c}x\u{201d}");
        assert_eq!(
            show(b"<?xml version='1.0' encoding=\"koi8-r\"?>\xc1", Encoding::Auto, None),
            "koi8-r 0 <?xml version='1.0' encoding=\"koi8-r\"?>а"
        );
        assert_eq!(show(b"<meta charset=utf-16>x", Encoding::Auto, Some("nonsense")), "utf-8 0 <meta charset=utf-16>x");
    }

    #[test]
    fn few_broken_characters_are_replaced_and_many_are_a_fault() {
        let mut bytes = encode(&SIMPLIFIED.repeat(10), "gb18030");
        bytes.insert(0, 0xff);
        let shown = show(&bytes, Encoding::Gb18030, None);
        assert!(shown.starts_with("gb18030 1 \u{fffd}"), "{shown}");
        assert_eq!(show(b"a\xffb", Encoding::Gb18030, None), "invalid_encoding: byte 0xff at byte 1 of the record is no gb18030");
        assert_eq!(show(b"a\xffb", Encoding::Utf8, None), "invalid_encoding: byte 0xff at byte 1 of the record is no utf-8");
    }

    #[test]
    fn records_are_decoded_strictly() {
        let check = |bytes: &[u8], encoding, expected: &str| {
            let shown = record(bytes, encoding).map_or_else(|fault| fault.rule.to_string(), |text| text.into_owned());
            assert_eq!(shown, expected);
        };
        check(&encode(SIMPLIFIED, "gb18030"), Encoding::Gb18030, SIMPLIFIED);
        check(&encode(TRADITIONAL, "big5"), Encoding::Auto, TRADITIONAL);
        check(b"a\xff", Encoding::Utf8, "invalid_utf8");
        check(b"a\xff", Encoding::Latin1, "a\u{ff}");
        check(b"a\xff", Encoding::EucKr, "invalid_encoding");
        check("é".as_bytes(), Encoding::Auto, "é");
        let utf16: Vec<u8> = "{\"text\"".encode_utf16().flat_map(u16::to_le_bytes).collect();
        check(&[&b"\xff\xfe"[..], &utf16].concat(), Encoding::Auto, "{\"text\"");
        check("\u{feff}é".as_bytes(), Encoding::Auto, "é");
        for bytes in [&utf16[..], &utf16[1..], b"\0{\0\""] {
            let detail = record(bytes, Encoding::Utf8).unwrap_err().detail;
            assert!(detail.contains("iconv -f UTF-16"), "{detail}");
        }
        check(b"a\0b\0c", Encoding::Utf8, "invalid_utf8");
        check(b"a\0bc\0", Encoding::Utf8, "a\0bc\0");
        let marked = record(b"\xff\xfe{\0\"\0", Encoding::Utf8).unwrap_err();
        assert!(marked.rule == "invalid_utf8" && marked.detail.contains("iconv -f UTF-16"), "{}", marked.detail);
    }

    #[test]
    fn names_are_those_of_the_settings() {
        for name in [
            "auto",
            "utf-8",
            "latin-1",
            "gb18030",
            "big5",
            "shift_jis",
            "euc-jp",
            "iso-2022-jp",
            "euc-kr",
            "windows-874",
            "koi8-r",
            "iso-8859-15",
        ] {
            let encoding: Encoding = serde_json::from_value(name.into()).unwrap();
            if !["auto", "latin-1"].contains(&name) {
                assert_eq!(lower(encoding.table()), name);
            }
        }
    }
}
