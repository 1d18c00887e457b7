//! CoNLL files: a line for each word with its tag, in columns, and a blank line after each sentence; a sentence is a document.
//!
//! A sentence with a malformed line is one reject, at that line: its other words and tags would be no sentence. Columns stand between tabs
//! in a line that has one, else between spaces.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use text::Script;

use super::rows::{Fault, Place, Rows, excerpt};
use super::stream::Stream;
use super::{Shape, fields, plain};

/// The fields of a sentence, both lists.
pub const FIELDS: &[&str] = &["words", "tags"];

/// The columns of CoNLL files, and how words become a text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Conll {
    /// Column of the words, counted from 1.
    pub word: usize,
    /// Column of the tags, counted from 1; by default the last.
    pub tag: Option<usize>,
    /// What stands between two words in the text; by default a space, but nothing before and after Chinese and Japanese characters. `""` for
    /// files with a character a line.
    pub join: Option<String>,
}

impl Default for Conll {
    fn default() -> Conll {
        Conll { word: 1, tag: None, join: None }
    }
}

impl Conll {
    pub fn check(&self) -> Result<()> {
        if self.word == 0 || self.tag == Some(0) {
            bail!("`conll`: columns are counted from 1, `word` is {} and `tag` {}", self.word, self.tag.unwrap_or(1));
        }
        if self.tag == Some(self.word) {
            bail!("`conll`: `word` and `tag` are both column {}", self.word);
        }
        Ok(())
    }

    /// The word and the tag among the columns of a line.
    fn word_and_tag<'l>(&self, columns: &[&'l str]) -> Option<(&'l str, &'l str)> {
        let tag = self.tag.unwrap_or(columns.len());
        let at = |column: usize| columns.get(column.wrapping_sub(1)).copied();
        at(self.word).zip(at(tag)).filter(|_| self.word != tag)
    }

    fn text(&self, words: &[String]) -> String {
        let mut text = String::new();
        for word in words {
            let joint = text.chars().next_back().zip(word.chars().next());
            match (&self.join, joint) {
                (_, None) => {}
                (Some(join), _) => text.push_str(join),
                (None, Some((before, after))) => text.push_str(if is_dense(before) || is_dense(after) { "" } else { " " }),
            }
            text.push_str(word);
        }
        text
    }
}

/// Characters of Chinese and Japanese, with their marks: no space stands between them.
fn is_dense(c: char) -> bool {
    let marks = matches!(c, '\u{3000}'..='\u{303f}' | '\u{ff01}'..='\u{ff65}');
    marks || matches!(text::script(c), Some(Script::Han | Script::Hiragana | Script::Katakana))
}

/// Reads all sentences. The one in which a stream breaks is lost with it.
pub fn read(stream: Stream, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let mut sentence = Sentence::default();
    let is_whole = plain::every_line(stream, shape, rows, |line, place, rows| match line {
        Ok(Some(line)) if !line.starts_with("-DOCSTART-") => {
            sentence.line(line, place, shape);
            Ok(())
        }
        Ok(_) => std::mem::take(&mut sentence).end(shape, rows),
        Err(fault) => {
            sentence.fault.get_or_insert((place, fault));
            Ok(())
        }
    })?;
    if is_whole { sentence.end(shape, rows) } else { Ok(()) }
}

/// What was read since the last blank line.
#[derive(Default)]
struct Sentence {
    /// Of the first word.
    place: Option<Place>,
    /// How many columns the lines have.
    width: usize,
    words: Vec<String>,
    tags: Vec<String>,
    bytes: usize,
    /// The first one; nothing is kept after it.
    fault: Option<(Place, Fault)>,
}

impl Sentence {
    fn line(&mut self, line: &str, place: Place, shape: &Shape) {
        if self.fault.is_some() {
            return;
        }
        let columns = columns(line);
        let found = shape.conll.word_and_tag(&columns);
        // A word may be `#`, or a hashtag.
        let is_comment = self.place.is_none() && line.starts_with('#') && !found.is_some_and(|(_, tag)| is_tag(tag));
        let is_span = shape.conll.word > 1 && columns.first().is_some_and(|id| is_span(id));
        if is_comment || is_span {
            return;
        }
        let first = *self.place.get_or_insert(place);
        self.bytes += line.len();
        if self.words.is_empty() {
            self.width = columns.len();
        }
        match found {
            _ if self.bytes > shape.record_bytes_max => {
                let what = format!("the sentence has no end within {} bytes, that", self.bytes);
                self.fault = Some((first, plain::too_long(line.as_bytes(), &what, shape)));
            }
            Some((word, tag)) if columns.len() == self.width && !word.is_empty() && !tag.is_empty() => {
                self.words.push(word.to_string());
                self.tags.push(tag.to_string());
            }
            _ => self.fault = Some((place, self.malformed(line, &columns, found, shape))),
        }
    }

    fn malformed(&self, line: &str, columns: &[&str], found: Option<(&str, &str)>, shape: &Shape) -> Fault {
        let (count, width) = (columns.len(), self.width);
        let what = match found {
            None => {
                let tag = shape.conll.tag.map_or("the last".to_string(), |tag| tag.to_string());
                format!("columns in the line: {count}; the word is column {}, the tag {tag}", shape.conll.word)
            }
            Some(_) if count != width => format!("columns in the line: {count}, in those before it: {width}"),
            Some(("", _)) => "the word is empty".to_string(),
            Some(_) => "the tag is empty".to_string(),
        };
        Fault::new("broken_conll", format!("{what}: {}", excerpt(line.as_bytes())))
    }

    fn end(self, shape: &Shape, rows: &mut Rows) -> Result<()> {
        if let Some((place, fault)) = self.fault {
            return rows.reject(place, fault);
        }
        let Some(place) = self.place else { return Ok(()) };
        let text = shape.conll.text(&self.words);
        fields::document(&text, vec![("words", self.words.into()), ("tags", self.tags.into())], place, shape, rows)
    }
}

/// The columns of a line; those at its end that are blank are none. Only tabs leave a word its spaces.
fn columns(line: &str) -> Vec<&str> {
    if !line.contains('\t') {
        return line.split_ascii_whitespace().collect();
    }
    let mut columns: Vec<&str> = line.split('\t').collect();
    while columns.last().is_some_and(|column| column.trim_ascii().is_empty()) {
        columns.pop();
    }
    if let Some(last) = columns.last_mut() {
        *last = last.trim_ascii_end();
    }
    columns
}

/// `O`, or a place in an entity with its type, in any scheme.
fn is_tag(tag: &str) -> bool {
    tag == "O" || matches!(tag.as_bytes(), [b'B' | b'I' | b'E' | b'S' | b'L' | b'U' | b'M', b'-', _, ..])
}

/// The number of a line of CoNLL-U that stands for several words (`1-2`), or for one that is not in the text (`1.1`).
fn is_span(id: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    id.split_once(['-', '.']).is_some_and(|(from, to)| is_number(from) && is_number(to))
}

#[cfg(test)]
mod tests {
    use super::super::fields::tests::check;
    use super::super::tests::gzip;
    use crate::testing::Lab;

    const COLUMNS: [&str; 5] = ["position", "line", "text", "words", "tags"];

    fn settings(more: &str) -> String {
        format!("format = \"conll\"\ncolumns = {{ words = \"string\", tags = \"string\" }}\n{more}")
    }

    #[test]
    fn a_sentence_is_a_document() {
        let file =
            "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\r\n \n\nPeter NNP B-NP B-PER\n-DOCSTART- -X- O O\nNo RB B-NP O";
        let expected =
            [r#"22|3|EU rejects|["EU","rejects"]|["B-ORG","O"]"#, r#"63|7|Peter|["Peter"]|["B-PER"]"#, r#"103|9|No|["No"]|["O"]"#];
        check("eng.train", file.as_bytes(), &settings(""), &COLUMNS, &expected, &[]);
        let marked = ["\u{feff}", "EU\tB-ORG\n"].concat();
        check("a.bio", marked.as_bytes(), "", &["position", "extra"], &[r#"3|{"words":["EU"],"tags":["B-ORG"]}"#], &[]);
        let parts = settings("conll = { tag = 2 }");
        check("a.txt", file.as_bytes(), &parts, &["tags"], &[r#"["NNP","VBZ"]"#, r#"["NNP"]"#, r#"["RB"]"#], &[]);
        check("a.conll", b"\n\n", &settings(""), &COLUMNS, &[], &[]);
    }

    #[test]
    fn comments_are_no_words_but_hashtags_are() {
        let file = "# id 1f domain=en\n# text = a\tb\n#fun O\n# O\n\n# only this\n\n#\tO\n#x\tB-X\n\n# O\n";
        let expected = [r##"31|3|#fun #|["#fun","#"]|["O","O"]"##, r##"56|8|# #x|["#","#x"]|["O","B-X"]"##, r##"68|11|#|["#"]|["O"]"##];
        check("a.conll", file.as_bytes(), &settings(""), &COLUMNS, &expected, &[]);
        check("a.conll", b"a O\n# id 2\n\nb O\n", &settings(""), &["line"], &["4"], &["4|2|broken_conll"]);
    }

    #[test]
    fn a_malformed_line_rejects_its_sentence() {
        let file = b"a O\nb\n\nc O\nd B-X O\ne\n\nf O\n\n\tO\n\ng\t\n\nh\xff O\ni O\n\ntwo words\tO\nj\tO\t \n";
        let expected = [r#"22|8|f|["f"]|["O"]"#, r#"45|17|two words j|["two words","j"]|["O","O"]"#];
        let rejects = ["4|2|broken_conll", "11|5|broken_conll", "27|10|broken_conll", "31|12|broken_conll", "35|14|invalid_utf8"];
        check("a.conll", file, &settings(""), &COLUMNS, &expected, &rejects);
        let lab = Lab::new(&[("a.conll", &file[..])]);
        lab.run("[[step]]\nstage = \"import\"\npaths = [\"a.conll\"]\nconll = { tag = 3 }", 1).unwrap();
        let details = [
            r#"columns in the line: 2; the word is column 1, the tag 3: "a O""#,
            r#"columns in the line: 2; the word is column 1, the tag 3: "c O""#,
        ];
        assert_eq!(lab.rows("import", "rejects", &["detail"])[..2], details);
        lab.run("[[step]]\nstage = \"import\"\npaths = [\"a.conll\"]", 1).unwrap();
        let details = [
            r#"columns in the line: 1; the word is column 1, the tag the last: "b""#,
            r#"columns in the line: 3, in those before it: 2: "d B-X O""#,
            r#"the word is empty: "\tO""#,
        ];
        assert_eq!(lab.rows("import", "rejects", &["detail"])[..3], details);
    }

    #[test]
    fn what_joins_words() {
        let file = "北 B-LOC\n京 I-LOC\n， O\n1 O\n年 O\nA O\nB O\n";
        let text = |file: &str, more: &str, expected: &str| {
            check("a.conll", file.as_bytes(), &format!("conll = {{ {more} }}"), &["text"], &[expected], &[]);
        };
        text(file, "", "北京，1年A B");
        text(file, "join = \"\"", "北京，1年AB");
        text(file, "join = \"_\"", "北_京_，_1_年_A_B");
        text("New O\nYork O\n. O\n", "", "New York .");
    }

    #[test]
    fn columns_by_number() {
        let file = b"# sent_id = 1\n1-2\tdu\t_\n1\tde\tO\n2\tle\tO\n2.1\tnull\t_\n3\tParis\tB-LOC\n";
        let expected = [r#"23|3|de le Paris|["de","le","Paris"]|["O","O","B-LOC"]"#];
        check("a.conll", file, &settings("conll = { word = 2 }"), &COLUMNS, &expected, &[]);
        check("a.conll", file, &settings("conll = { word = 2, tag = 3 }"), &COLUMNS, &expected, &[]);
        let refused = |settings: &str, expected: &str| {
            let lab = Lab::new(&[("a.conll", b"a O"), ("a.txt", b"a O")]);
            let message = format!("{:#}", lab.run(&format!("[[step]]\nstage = \"import\"\n{settings}"), 1).unwrap_err());
            assert!(message.contains(expected), "{message}");
        };
        refused("paths = [\"a.conll\"]\nconll = { word = 0 }", "columns are counted from 1, `word` is 0");
        refused("paths = [\"a.conll\"]\nconll = { tag = 1 }", "`word` and `tag` are both column 1");
        refused("paths = [\"a.txt\"]\nconll = { tag = 2 }", "`paths` names none; give `format = \"conll\"`");
        refused("paths = [\"a.conll\"]\ncolumns = { tag = \"string\" }", "no field `tag`, did you mean `tags`?");
    }

    #[test]
    fn the_sentence_at_a_break_is_lost() {
        let file: String = (0..20_000).map(|n| format!("w{} O\nend O\n\n", n * 7919 % 10007)).collect();
        let packed = gzip(file.as_bytes());
        let lab = Lab::new(&[("a.conll.gz", &packed[..packed.len() / 2])]);
        let step = "[[step]]\nstage = \"import\"\npaths = [\"a.*\"]\ncolumns = { words = \"string\" }";
        lab.run(step, 1).unwrap();
        let kept = lab.rows("import", "documents", &["words"]);
        assert!(kept.len() > 1000 && kept.iter().all(|words| words.ends_with(r#","end"]"#)));
        assert_eq!(lab.rows("import", "rejects", &["rule"]), ["truncated_archive"]);
        let endless = "a O\n".repeat(1000);
        check("a.conll", format!("{endless}\nb O\n").as_bytes(), "record_bytes_max = 1024", &["line"], &["1002"], &["0|1|record_too_long"]);
    }

    #[test]
    fn a_large_file_is_one_part() {
        let file = format!("{} O\n\n", "word".repeat(250)).repeat(8500);
        let lab = Lab::new(&[("a.conll", file.as_bytes()), ("b.conll", b"a O\n")]);
        let step = "[[step]]\nstage = \"import\"\npaths = [\"*.conll\"]";
        lab.run(step, 2).unwrap();
        assert_eq!(lab.files("import", "documents"), 2);
        let two = lab.fingerprint("import");
        lab.forget();
        lab.run(step, 1).unwrap();
        assert_eq!(lab.fingerprint("import"), two);
    }
}
