//! Rows of the tables `matches` (passages of documents that evaluation items have too) and `items` (what became of each item).

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, BooleanBuilder, FixedSizeBinaryBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::schema::ID;

use super::evaluation::Items;
use super::ngram::Finding;

/// `position` is the number of words before the passage, `overlap` that of its item, `text` the begin of the passage.
pub fn matches_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", ID, false),
        Field::new("set", DataType::Utf8, false),
        Field::new("item", DataType::Int64, false),
        Field::new("field", DataType::Utf8, false),
        Field::new("position", DataType::Int64, false),
        Field::new("words", DataType::Int64, false),
        Field::new("overlap", DataType::Float64, false),
        Field::new("text", DataType::Utf8, false),
    ]))
}

/// `searched` is false where all fields of an item are too short, `documents` how many documents hold it.
pub fn items_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("set", DataType::Utf8, false),
        Field::new("item", DataType::Int64, false),
        Field::new("item_id", ID, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("line", DataType::Int64, true),
        Field::new("words", DataType::Int64, false),
        Field::new("searched", DataType::Boolean, false),
        Field::new("contaminated", DataType::Boolean, false),
        Field::new("documents", DataType::Int64, false),
        Field::new("text", DataType::Utf8, false),
    ]))
}

/// Passages of documents.
#[derive(Default)]
pub struct Matches {
    ids: Vec<[u8; 16]>,
    sets: StringBuilder,
    items: Int64Builder,
    fields: StringBuilder,
    positions: Int64Builder,
    words: Int64Builder,
    overlaps: Float64Builder,
    texts: StringBuilder,
}

impl Matches {
    pub fn push(&mut self, id: [u8; 16], items: &Items, finding: &Finding, text: &str) {
        let item = &items.items[finding.item as usize];
        self.ids.push(id);
        self.sets.append_value(&items.sets[usize::from(item.set)]);
        self.items.append_value(item.number);
        self.fields.append_value(&items.fields[usize::from(item.set)][usize::from(finding.field)]);
        self.positions.append_value(finding.position as i64);
        self.words.append_value(finding.words as i64);
        self.overlaps.append_value(finding.score);
        self.texts.append_value(text);
    }

    pub fn finish(mut self) -> Result<RecordBatch> {
        let mut ids = FixedSizeBinaryBuilder::with_capacity(self.ids.len(), 16);
        self.ids.iter().try_for_each(|id| ids.append_value(id))?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(ids.finish()),
            Arc::new(self.sets.finish()),
            Arc::new(self.items.finish()),
            Arc::new(self.fields.finish()),
            Arc::new(self.positions.finish()),
            Arc::new(self.words.finish()),
            Arc::new(self.overlaps.finish()),
            Arc::new(self.texts.finish()),
        ];
        Ok(RecordBatch::try_new(matches_schema(), columns)?)
    }
}

/// All items, with the number of documents that hold each and whether it was searched for.
pub fn items(items: &Items, documents: &[u64], searched: &[bool]) -> Result<RecordBatch> {
    let mut ids = FixedSizeBinaryBuilder::with_capacity(items.items.len(), 16);
    let (mut sets, mut paths, mut texts) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let (mut numbers, mut lines, mut words, mut counts) =
        (Int64Builder::new(), Int64Builder::new(), Int64Builder::new(), Int64Builder::new());
    let (mut were_searched, mut contaminated) = (BooleanBuilder::new(), BooleanBuilder::new());
    for ((item, documents), searched) in items.items.iter().zip(documents).zip(searched) {
        sets.append_value(&items.sets[usize::from(item.set)]);
        numbers.append_value(item.number);
        ids.append_value(item.id)?;
        paths.append_value(&item.path);
        lines.append_option(item.line);
        words.append_value(item.words);
        were_searched.append_value(*searched);
        contaminated.append_value(*documents > 0);
        counts.append_value(*documents as i64);
        texts.append_value(&item.excerpt);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(sets.finish()),
        Arc::new(numbers.finish()),
        Arc::new(ids.finish()),
        Arc::new(paths.finish()),
        Arc::new(lines.finish()),
        Arc::new(words.finish()),
        Arc::new(were_searched.finish()),
        Arc::new(contaminated.finish()),
        Arc::new(counts.finish()),
        Arc::new(texts.finish()),
    ];
    Ok(RecordBatch::try_new(items_schema(), columns)?)
}
