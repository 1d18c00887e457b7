//! One JSON record: the text, the user's columns, and all other fields verbatim.
//!
//! sonic-rs finds and checks the fields; what it lets through when it skips values (lone surrogates, broken `\u` escapes, nesting without
//! end) is checked here first, so that everything kept in `extra` can be parsed by any JSON reader.

use std::borrow::Cow;

use sonic_rs::{JsonValueTrait, LazyValue, to_object_iter};

use super::Shape;
use super::rows::{Cell, Column, ColumnType, Fault, Record, excerpt};

/// Deeper JSON is refused: parsers of others stop here too, and ours recurses.
const DEPTH_MAX: usize = 128;

/// Parses one line as a JSON object and hands the record on.
pub fn parse<T>(line: &str, shape: &Shape, scratch: &mut String, sink: impl FnOnce(Record) -> T) -> Result<T, Fault> {
    check_escapes(line.as_bytes())?;
    check_depth(line.as_bytes())?;
    let mut text: Option<LazyValue> = None;
    let mut source: Option<LazyValue> = None;
    let mut cells: Vec<Option<LazyValue>> = vec![None; shape.columns.len()];
    scratch.clear();
    let mut end = None;
    for entry in to_object_iter(line) {
        let (key, value) = entry.map_err(|error| broken(line, &error.to_string()))?;
        let raw = value.as_raw_str();
        end = Some(raw.as_ptr() as usize + raw.len() - line.as_ptr() as usize);
        let mut used = false;
        for (slot, column) in cells.iter_mut().zip(&shape.columns) {
            if column.field == key {
                *slot = Some(value.clone());
                used = true;
            }
        }
        if shape.source_field.as_deref() == Some(&*key) {
            source = Some(value.clone());
            used = true;
        }
        if key == shape.text {
            text = Some(value);
        } else if !used {
            push_field(scratch, &key, raw);
        }
    }
    check_end(line, end)?;
    if !scratch.is_empty() {
        scratch.push('}');
    }
    let text = text.filter(|text| !text.is_null()).ok_or_else(|| Fault::new("missing_text", format!("no field `{}`", shape.text)))?;
    let Some(text) = text.as_str() else {
        return Err(Fault::new("not_text", format!("field `{}` is no string: {}", shape.text, excerpt(text.as_raw_str().as_bytes()))));
    };
    let cells: Vec<Cell> =
        shape.columns.iter().zip(&cells).map(|(column, value)| cell(column, value.as_ref())).collect::<Result<_, _>>()?;
    Ok(sink(Record { text, cells: &cells, extra: scratch, source: source.as_ref().and_then(|value| value.as_str()) }))
}

fn push_field(extra: &mut String, key: &str, raw: &str) {
    extra.push(if extra.is_empty() { '{' } else { ',' });
    extra.push_str(&serde_json::to_string(key).expect("a string can always be written as JSON"));
    extra.push(':');
    extra.push_str(raw);
}

/// The value of a user's column; numbers may stand in a string column, as they are written.
fn cell<'a>(column: &Column, value: Option<&'a LazyValue>) -> Result<Cell<'a>, Fault> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(Cell::Null) };
    let raw = value.as_raw_str();
    let cell = match column.kind {
        ColumnType::String => match value.as_str() {
            Some(text) => Some(Cell::String(Cow::Borrowed(text))),
            None => Some(Cell::String(Cow::Borrowed(raw))),
        },
        ColumnType::Integer => value.as_i64().map(Cell::Integer),
        ColumnType::Float => value.as_f64().filter(|number| number.is_finite()).map(Cell::Float),
        ColumnType::Boolean => value.as_bool().map(Cell::Boolean),
    };
    cell.ok_or_else(|| Fault::wrong_type(column, raw.as_bytes()))
}

/// The iterator stops at the closing brace; what follows must be white space.
fn check_end(line: &str, last_value_end: Option<usize>) -> Result<(), Fault> {
    let rest = line[last_value_end.unwrap_or(0)..].trim_ascii();
    let rest = if last_value_end.is_none() { rest.strip_prefix('{').unwrap_or(rest).trim_ascii_start() } else { rest };
    match rest.strip_prefix('}') {
        Some("") => Ok(()),
        Some(after) => Err(Fault::new("broken_json", format!("something follows the object: {}", excerpt(after.trim_ascii().as_bytes())))),
        None => Err(broken(line, "expected the end of the object")),
    }
}

fn broken(line: &str, message: &str) -> Fault {
    let first = message.lines().next().unwrap_or_default();
    let start = line.trim_ascii();
    if !start.starts_with('{') || start == "{" {
        let how = match start.as_bytes() {
            [b'[', ..] => "; a file that is an array is converted by: jq -c '.[]' FILE > FILE.jsonl",
            b"{" => "; a file whose objects stand on several lines is converted by: jq -c . FILE > FILE.jsonl",
            _ => "",
        };
        return Fault::new("broken_json", format!("a record must be a JSON object on one line, found {}{how}", excerpt(line.as_bytes())));
    }
    let what = match first.split_once(" at line 1 column ") {
        Some((what, column)) => format!("{what} at byte {column}"),
        None => first.to_string(),
    };
    Fault::new("broken_json", format!("{what}: {}", excerpt(line.as_bytes())))
}

/// Every `\u` escape has four hexadecimal digits, and surrogates come in pairs.
fn check_escapes(line: &[u8]) -> Result<(), Fault> {
    if memchr::memmem::find(line, br"\u").is_none() {
        return Ok(());
    }
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &line[at..]) {
        at += found;
        if line.get(at + 1) != Some(&b'u') {
            at += 2;
        } else {
            let unit = hex4(line, at + 2)?;
            at += 6;
            let pair = match unit {
                0xd800..=0xdbff if line[at..].starts_with(br"\u") => (0xdc00..=0xdfff).contains(&hex4(line, at + 2)?),
                0xd800..=0xdfff => false,
                _ => continue,
            };
            if !pair {
                return Err(Fault::new(
                    "lone_surrogate",
                    format!("\\u{unit:04x} stands alone at byte {}: {}", at - 6, excerpt(&line[at - 6..])),
                ));
            }
            at += 6;
        }
        if at >= line.len() {
            break;
        }
    }
    Ok(())
}

fn hex4(line: &[u8], at: usize) -> Result<u32, Fault> {
    line.get(at..at + 4)
        .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        .and_then(|digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
        .ok_or_else(|| Fault::new("broken_json", format!("bad \\u escape at byte {}: {}", at - 2, excerpt(&line[at - 2..]))))
}

fn check_depth(line: &[u8]) -> Result<(), Fault> {
    if memchr::memchr2_iter(b'[', b'{', line).nth(DEPTH_MAX).is_none() {
        return Ok(());
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(Fault::new("broken_json", format!("nested deeper than {DEPTH_MAX} levels")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        let column = |name: &str, kind| Column { name: name.into(), field: name.into(), kind };
        Shape {
            text: "text".into(),
            columns: vec![column("label", ColumnType::String), column("n", ColumnType::Integer)],
            source_field: Some("from".into()),
            ..Shape::default()
        }
    }

    fn check(line: &str, expected: &str) {
        let found = match parse(line, &shape(), &mut String::new(), |record| {
            format!("{:?} {:?} {} {:?}", record.text, record.cells, record.extra, record.source)
        }) {
            Ok(found) => found,
            Err(fault) => fault.rule.to_string(),
        };
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn records() {
        check(r#"{"text":"a\nb"}"#, r#""a\nb" [Null, Null]  None"#);
        check(r#" {"label":"x","n":-3,"text":"t","from":"web"} "#, r#""t" [String("x"), Integer(-3)]  Some("web")"#);
        check(
            r#"{"text":"t","a":{"b":[1, "\u00e9"]},"n":null,"c\"d":1.50}"#,
            r#""t" [Null, Null] {"a":{"b":[1, "\u00e9"]},"c\"d":1.50} None"#,
        );
        check(r#"{"text":"\ud83d\ude00","label":5}"#, r#""😀" [String("5"), Null]  None"#);
        check(r#"{"text":"first","text":"last"}"#, r#""last" [Null, Null]  None"#);
        check(r#"{"text":"\\ud800"}"#, r#""\\ud800" [Null, Null]  None"#);
    }

    #[test]
    fn faults() {
        check(r#"{}"#, "missing_text");
        check(r#"{"text":null}"#, "missing_text");
        check(r#"{"text":5}"#, "not_text");
        check(r#"{"text":"a","n":"five"}"#, "wrong_type");
        check(r#"{"text":"a","n":1.5}"#, "wrong_type");
        check(r#"{"text":"\ud800 x"}"#, "lone_surrogate");
        check(r#"{"text":"\udc00\ud800"}"#, "lone_surrogate");
        check(r#"{"text":"x","b":["\ud83d\u0041"]}"#, "lone_surrogate");
        check(r#"{"text":"x","b":"\uZZZZ"}"#, "broken_json");
        for line in
            ["", "[1]", "\"s\"", "{", r#"{"text":"x""#, r#"{"text":"x"}}"#, r#"{"text":"x"} {}"#, r#"{"text":"x",}"#, r#"{"text":NaN}"#]
        {
            check(line, "broken_json");
        }
        check("{\"text\":\"a\0b\"}", "broken_json");
        check(r#"{"text":"\u12"#, "broken_json");
        check(r#"{"text":"x\"#, "broken_json");
    }

    #[test]
    fn files_of_one_value_are_told_how_to_be_converted() {
        let detail = |line: &str| parse(line, &shape(), &mut String::new(), |_| ()).unwrap_err().detail;
        let array = "a record must be a JSON object on one line, found \"[\"; a file that is an array is converted by: jq -c '.[]' FILE > FILE.jsonl";
        assert_eq!(detail("["), array);
        assert!(detail("[{\"text\":\"a\"}]").ends_with(&array[array.len() - 20..]));
        assert!(detail("{").ends_with("jq -c . FILE > FILE.jsonl"));
        assert!(!detail("7").contains("jq"));
    }

    #[test]
    fn depth_is_bounded_but_brackets_in_text_are_not() {
        check(&format!(r#"{{"text":"x","a":{}1{}}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000)), "broken_json");
        check(&format!(r#"{{"a":{}"#, r#"{"a":"#.repeat(1_000_000)), "broken_json");
        let text = "[{\\\"".repeat(500);
        check(&format!(r#"{{"text":"{text}"}}"#), &format!("{:?} [Null, Null]  None", "[{\"".repeat(500)));
    }
}
