//! Lists in columns: list columns, JSON lists in text, and words between spaces.

use anyhow::{Context as _, Result};
use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};

use crate::excerpt;

/// What a cell holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    List(Vec<String>),
    /// It is no list; the words say why.
    Broken(String),
}

/// The column `name`, of lists. Texts are JSON lists of texts, numbers or truth values.
pub fn lists(column: &ArrayRef, name: &str) -> Result<Vec<Cell>> {
    cells(column, json).with_context(|| format!("column `{name}` cannot be read as lists of texts"))
}

/// The column `name`, of lists of words. Texts are JSON lists of texts, or words between white space.
pub fn words(column: &ArrayRef, name: &str) -> Result<Vec<Cell>> {
    let read = |text: &str| {
        let rest = text.trim_start().strip_prefix('[').map(str::trim);
        match rest {
            // A text that begins with a bracket is usual, one that goes on with a quotation mark straight after it is not.
            Some(rest) if rest.starts_with('"') || rest == "]" => json(text),
            _ => Cell::List(text.split_ascii_whitespace().map(str::to_string).collect()),
        }
    };
    cells(column, read).with_context(|| format!("column `{name}` cannot be read as lists of texts"))
}

fn cells(column: &ArrayRef, read: impl Fn(&str) -> Cell) -> Result<Vec<Cell>> {
    match column.data_type() {
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => of_lists(column),
        _ => {
            let texts = cast(column, &DataType::Utf8)?;
            Ok(texts.as_string::<i32>().iter().map(|text| text.map_or(Cell::Null, &read)).collect())
        }
    }
}

fn of_lists(column: &ArrayRef) -> Result<Vec<Cell>> {
    let column = cast(column, &DataType::List(Field::new_list_field(DataType::Utf8, true).into()))?;
    let lists: &ListArray = column.as_list();
    let cell = |row: usize| {
        if lists.is_null(row) {
            return Cell::Null;
        }
        let items = lists.value(row);
        let items: &StringArray = items.as_string();
        match items.iter().position(|item| item.is_none()) {
            Some(place) => Cell::Broken(format!("item {} is null", place + 1)),
            None => Cell::List(items.iter().flatten().map(str::to_string).collect()),
        }
    };
    Ok((0..lists.len()).map(cell).collect())
}

fn json(text: &str) -> Cell {
    let items = match serde_json::from_str::<Vec<serde_json::Value>>(text) {
        Ok(items) => items,
        Err(_) => return Cell::Broken(format!("{} is no JSON list", excerpt(text))),
    };
    let item = |(place, item): (usize, serde_json::Value)| match item {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(_) | serde_json::Value::Bool(_) => Ok(item.to_string()),
        _ => Err(format!("item {} of {} is no text", place + 1, excerpt(text))),
    };
    match items.into_iter().enumerate().map(item).collect() {
        Ok(items) => Cell::List(items),
        Err(why) => Cell::Broken(why),
    }
}
