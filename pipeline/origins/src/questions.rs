//! Documents that ask about a context, and the gold answers as `tokenize` reads them.

use anyhow::{Context as _, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use serde_json::Value;

/// Columns of documents with questions, as the tokens were made from them.
pub struct AnswerColumns {
    pub question: String,
    pub context: String,
    pub answer: String,
    pub answer_start: String,
}

impl AnswerColumns {
    /// Of the settings of a step `tokenize`; `None` unless its layout is `answer`.
    pub fn of(settings: &Value) -> Option<AnswerColumns> {
        let column = |name: &str| settings[name].as_str().unwrap_or_default().to_string();
        (settings["layout"] == "answer").then(|| AnswerColumns {
            question: column("question"),
            context: column("context"),
            answer: column("answer"),
            answer_start: column("answer_start"),
        })
    }

    pub(crate) fn names(&self) -> [&String; 4] {
        [&self.question, &self.context, &self.answer, &self.answer_start]
    }
}

/// Questions, as far as they are needed.
pub struct Questions {
    questions: StringArray,
    contexts: StringArray,
    answers: ArrayRef,
    /// `None` of columns that do not hold texts.
    answer_starts: Option<StringArray>,
}

impl Questions {
    /// Of documents that were found.
    pub fn of(documents: &RecordBatch, columns: &AnswerColumns) -> Result<Questions> {
        let column = |name: &str| documents.column_by_name(name).with_context(|| format!("the documents have no column `{name}`"));
        let text = |name: &str| -> Result<StringArray> { Ok(cast(column(name)?, &DataType::Utf8)?.as_string::<i32>().clone()) };
        let nested = column(&columns.answer_start)?.data_type().is_nested();
        Ok(Questions {
            questions: text(&columns.question)?,
            contexts: text(&columns.context)?,
            answers: column(&columns.answer)?.clone(),
            answer_starts: if nested { None } else { Some(text(&columns.answer_start)?) },
        })
    }

    pub fn question(&self, row: usize) -> &str {
        self.questions.value(row)
    }

    pub fn context(&self, row: usize) -> &str {
        self.contexts.value(row)
    }

    /// The gold answers of a row, each once: a text, a list, or a JSON list where their starts are one.
    pub fn gold(&self, row: usize) -> Result<Vec<String>> {
        if self.answers.is_null(row) {
            return Ok(Vec::new());
        }
        let all: Vec<String> = if self.answers.data_type().is_nested() {
            let lists = cast(&self.answers.slice(row, 1), &DataType::List(Field::new_list_field(DataType::Utf8, true).into()))?;
            lists.as_list::<i32>().value(0).as_string::<i32>().iter().flatten().map(str::to_string).collect()
        } else {
            let text = cast(&self.answers.slice(row, 1), &DataType::Utf8)?;
            let text = text.as_string::<i32>().value(0);
            let starts = self.answer_starts.as_ref().filter(|starts| starts.is_valid(row));
            match starts.is_none_or(|starts| starts.value(row).trim_start().starts_with('[')) {
                true if text.trim_start().starts_with('[') => serde_json::from_str(text).with_context(|| format!("reading {text}"))?,
                _ => vec![text.to_string()],
            }
        };
        let mut gold: Vec<String> = Vec::new();
        for answer in all {
            if !answer.is_empty() && !gold.contains(&answer) {
                gold.push(answer);
            }
        }
        Ok(gold)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn golds_are_read_as_tokenize_reads_them() {
        let check = |answer: &str, start: &str| {
            let questions = Questions {
                questions: StringArray::from(vec!["谁?"]),
                contexts: StringArray::from(vec!["今天 é李白写诗"]),
                answers: Arc::new(StringArray::from(vec![answer])),
                answer_starts: Some(StringArray::from(vec![start])),
            };
            questions.gold(0).unwrap()
        };
        assert_eq!(check("李白", "4"), ["李白"]);
        assert_eq!(check("[李白", "4"), ["[李白"]);
        assert_eq!(check(r#"["李白", "白", "李白"]"#, "[4, 5, 4]"), ["李白", "白"]);
        assert_eq!(check("", "0"), [""; 0]);
    }
}
