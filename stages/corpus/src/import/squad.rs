//! SQuAD's JSON, versions 1.1 and 2.0: each question is a document whose text is its context.
//!
//! Articles are read one by one, so a file may be larger than memory. A file that breaks keeps what came before.

use std::io::{BufReader, Read};

use anyhow::Result;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::rows::{Fault, Place, Rows};
use super::stream::{Stream, fault};
use super::{Shape, fields};

/// The fields of a question. `answer` and `answer_start` are lists: of texts and of the characters of the context at which they begin, both empty
/// where the question has no answer.
pub const FIELDS: &[&str] = &["question", "answer", "answer_start", "id", "title", "is_impossible"];

#[derive(Deserialize)]
struct Article {
    #[serde(default)]
    title: Option<String>,
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    question: String,
    id: Value,
    #[serde(default)]
    answers: Vec<Answer>,
    #[serde(default)]
    is_impossible: bool,
}

#[derive(Deserialize)]
struct Answer {
    text: String,
    answer_start: i64,
}

/// Reads all questions of a file.
pub fn read(stream: Stream, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let (name, begin) = (stream.name, stream.position);
    let mut reader = BufReader::new(stream.reader);
    let mut found = Questions { shape, rows: &mut *rows, begin, count: 0, has_data: false, failure: None };
    let mut json = serde_json::Deserializer::from_reader(&mut reader as &mut dyn Read);
    let read = (&mut found).deserialize(&mut json).and_then(|()| json.end());
    let place = found.place();
    if let Some(failure) = found.failure {
        return Err(failure);
    }
    match read {
        Ok(()) => Ok(()),
        Err(error) if error.is_io() => rows.reject(place, fault(&name, error.into())?),
        Err(error) => rows.reject(place, Fault::new("broken_json", format!("no JSON of SQuAD: {error}"))),
    }
}

/// What reads the file's object, and takes its questions.
struct Questions<'a, 'r, 'c, 'w> {
    shape: &'a Shape,
    rows: &'r mut Rows<'c, 'w>,
    begin: u64,
    count: u64,
    has_data: bool,
    /// Of taking a question, which is no fault of the file.
    failure: Option<anyhow::Error>,
}

impl Questions<'_, '_, '_, '_> {
    /// Questions are numbered, as rows of Parquet files are.
    fn place(&self) -> Place {
        Place { position: self.begin + self.count, line: None }
    }

    fn article(&mut self, article: Article) -> Result<()> {
        for Paragraph { context, qas } in article.paragraphs {
            for Question { question, id, answers, is_impossible } in qas {
                let answers = if is_impossible { Vec::new() } else { answers };
                let fields = vec![
                    ("question", question.into()),
                    ("answer", answers.iter().map(|answer| answer.text.as_str()).collect()),
                    ("answer_start", answers.iter().map(|answer| answer.answer_start).collect()),
                    ("id", id),
                    ("title", article.title.clone().into()),
                    ("is_impossible", json!(is_impossible)),
                ];
                fields::document(&context, fields, self.place(), self.shape, self.rows)?;
                self.count += 1;
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &mut Questions<'_, '_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        if self.has_data { json.deserialize_seq(self) } else { json.deserialize_map(self) }
    }
}

/// First the file's object, then the list `data` in it.
impl<'de> Visitor<'de> for &mut Questions<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(if self.has_data { "the list `data` of articles" } else { "an object with a list `data` of articles" })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = object.next_key::<String>()? {
            if key == "data" && !self.has_data {
                self.has_data = true;
                object.next_value_seed(&mut *self)?;
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        if self.has_data { Ok(()) } else { Err(A::Error::missing_field("data")) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut articles: A) -> Result<(), A::Error> {
        while let Some(article) = articles.next_element::<Article>()? {
            if let Err(failure) = self.article(article) {
                let error = A::Error::custom(&failure);
                self.failure = Some(failure);
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::tests::check;

    const FILE: &str = r#"{"version": "v2.0", "data": [
        {"title": "Li Bai", "paragraphs": [{"context": "Li Bai was born in 701.", "qas": [
            {"question": "When?", "id": "q1", "answers": [{"text": "701", "answer_start": 19}, {"text": "in 701", "answer_start": 16}]},
            {"question": "Where?", "id": "q2", "is_impossible": true, "answers": [], "plausible_answers": [{"text": "701", "answer_start": 19}]}]}]},
        {"title": "Empty", "paragraphs": []},
        {"title": "Du Fu", "paragraphs": [{"context": "杜甫，唐代诗人。", "qas": [{"question": "谁？", "id": 3, "answers": [{"text": "杜甫", "answer_start": 0}]}]}]}]}"#;
    const SETTINGS: &str = "format = \"squad\"\ncolumns = { question = \"string\", answer = \"string\", answer_start = \"string\", key = \"string\" }\n\
        fields = { key = \"id\" }";
    const COLUMNS: [&str; 6] = ["position", "text", "question", "answer", "answer_start", "key"];
    const ROWS: [&str; 3] = [
        r#"0|Li Bai was born in 701.|When?|["701","in 701"]|[19,16]|q1"#,
        "1|Li Bai was born in 701.|Where?|[]|[]|q2",
        r#"2|杜甫，唐代诗人。|谁？|["杜甫"]|[0]|3"#,
    ];

    #[test]
    fn a_question_is_a_document() {
        check("dev-v2.0.json", FILE.as_bytes(), SETTINGS, &COLUMNS, &ROWS, &[]);
        check(
            "a.json",
            FILE.as_bytes(),
            "format = \"squad\"",
            &["extra"],
            &[
                r#"{"question":"When?","answer":["701","in 701"],"answer_start":[19,16],"id":"q1","title":"Li Bai","is_impossible":false}"#,
                r#"{"question":"Where?","answer":[],"answer_start":[],"id":"q2","title":"Li Bai","is_impossible":true}"#,
                r#"{"question":"谁？","answer":["杜甫"],"answer_start":[0],"id":3,"title":"Du Fu","is_impossible":false}"#,
            ],
            &[],
        );
        let boolean = "format = \"squad\"\ncolumns = { is_impossible = \"boolean\" }";
        check("b.json", FILE.as_bytes(), boolean, &["is_impossible"], &["false", "true", "false"], &[]);
    }

    #[test]
    fn what_came_before_a_break_stays() {
        let cut = &FILE.as_bytes()[..FILE.find("Empty").unwrap()];
        check("a.json", cut, SETTINGS, &COLUMNS, &ROWS[..2], &["2||broken_json"]);
        for file in ["", "[]", "{}", r#"{"data": {}}"#, r#"{"data": [{"title": "no paragraphs"}]}"#, r#"{"data": [], "data": 1} x"#] {
            check("a.json", file.as_bytes(), SETTINGS, &COLUMNS, &[], &["0||broken_json"]);
        }
        let latin: Vec<u8> = FILE.bytes().map(|byte| if byte == b'?' { 0xe9 } else { byte }).collect();
        check("a.json", &latin, SETTINGS, &COLUMNS, &[], &["0||broken_json"]);
    }
}
