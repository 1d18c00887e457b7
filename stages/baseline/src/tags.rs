//! The tag that a word has most often in the train split; words that it does not have get the most frequent tag of all.
//!
//! A word is known by its tokens. Where all its tokens have labels, each place within the word is counted for itself. Words that a row does not hold,
//! because it was cut, are said to be of no entity, as by `predict`.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use arrow::array::{ArrayRef, Int32Builder, Int64Array, ListBuilder};
use arrow::datatypes::{DataType, Field};
use origins::{TagColumn, Tags};

use crate::predictions::{self, Column, column, number_lists, text_lists};
use crate::rows::Split;
use crate::work::Work;

pub fn run(work: &Work) -> Result<()> {
    let classes = work.classes()?;
    let train = work.train()?;
    let mut known = Known { words: HashMap::new(), all: vec![0; classes.len()] };
    for range in train.all_batches() {
        work.ctx.check_stop()?;
        for row in range {
            labelled(&train, row, classes.len())?.into_iter().for_each(|place| known.count(place));
        }
    }
    ensure!(known.all.iter().any(|count| *count > 0), "no word of the split `{}` has a tag", work.settings.train_split);
    let scheme: Option<String> = work.tokens.fact("scheme").ok();
    let label_all: bool = work.tokens.fact("label_all").unwrap_or_default();
    work.draft.fact("task", "tag")?;
    work.draft.fact("classes", &classes)?;
    work.draft.fact("scheme", scheme)?;
    work.draft.fact("label_all", label_all)?;
    let column = TagColumn::of(work.tokens);
    let length: Option<usize> = work.tokens.fact("sequence_length").ok();
    predictions::write(work, |rows, documents| {
        let tags = column.as_ref().zip(documents).map(|(column, documents)| column.read(documents)).transpose()?;
        let of_row = |(place, row): (usize, &u64)| -> Result<Tagged> {
            let mut said = Tagged::of_row(&work.rows, *row, &known, &classes)?;
            let full = length.is_some_and(|length| said.tokens >= length);
            match (&tags, full) {
                (Some(tags), true) => said.add_cut_words(tags, place, &classes)?,
                (None, true) => said.cut = None,
                (_, false) => {}
            }
            Ok(said)
        };
        table(&rows.iter().enumerate().map(of_row).collect::<Result<Vec<Tagged>>>()?, &classes)
    })
}

/// A place with a label.
struct Labelled {
    /// Number of the word in the row.
    word: i32,
    /// The word's tokens, then the place among them.
    key: Box<[i64]>,
    gold: usize,
}

/// The labelled places of a row.
fn labelled(split: &Split, row: u64, classes: usize) -> Result<Vec<Labelled>> {
    let (tokens, labels, words) = (split.tokens(row)?, split.numbers(row, "labels")?, split.numbers(row, "words")?);
    let same = labels.len() == tokens.len() && words.len() == tokens.len();
    ensure!(same, "row {row}: {} tokens, {} labels, {} words; run `tokenize` again", tokens.len(), labels.len(), words.len());
    let mut places = Vec::new();
    let mut first = 0;
    for word in words.chunk_by(|a, b| a == b) {
        let range = first..first + word.len();
        first = range.end;
        for place in range.clone().filter(|place| i64::from(labels[*place]) != shards::IGNORE) {
            let gold = labels[place];
            ensure!((0..classes as i32).contains(&gold), "row {row}: the label {gold} is no class; run `tokenize` again");
            let key = tokens[range.clone()].iter().copied().chain([(place - range.start) as i64]).collect();
            places.push(Labelled { word: word[0], key, gold: gold as usize });
        }
    }
    Ok(places)
}

/// How often words and all words together had each tag.
struct Known {
    /// Tags with their counts, in the order in which they were met.
    words: HashMap<Box<[i64]>, Vec<(usize, u64)>>,
    all: Vec<u64>,
}

impl Known {
    fn count(&mut self, Labelled { key, gold, .. }: Labelled) {
        self.all[gold] += 1;
        let counts = self.words.entry(key).or_default();
        match counts.iter_mut().find(|(tag, _)| *tag == gold) {
            Some((_, count)) => *count += 1,
            None => counts.push((gold, 1)),
        }
    }

    /// The most frequent tag and its share; of equally frequent ones the first of the classes.
    fn tag(&self, key: &[i64]) -> (usize, f32) {
        let all = || self.all.iter().copied().enumerate().collect();
        let counts: Vec<(usize, u64)> = self.words.get(key).cloned().unwrap_or_else(all);
        let total: u64 = counts.iter().map(|(_, count)| count).sum();
        let (tag, count) =
            counts.into_iter().fold(
                (usize::MAX, 0),
                |best, (tag, count)| {
                    if count > best.1 || count == best.1 && tag < best.0 { (tag, count) } else { best }
                },
            );
        (tag, (count as f64 / total as f64) as f32)
    }
}

/// What is said of the words of a row.
struct Tagged {
    /// Of the row.
    tokens: usize,
    words: Vec<i32>,
    gold: Vec<String>,
    said: Vec<(usize, f32)>,
    /// How many of the words the row does not hold, if that is known.
    cut: Option<i64>,
}

impl Tagged {
    fn of_row(split: &Split, row: u64, known: &Known, classes: &[String]) -> Result<Tagged> {
        let places = labelled(split, row, classes.len())?;
        Ok(Tagged {
            tokens: split.tokens(row)?.len(),
            words: places.iter().map(|place| place.word).collect(),
            gold: places.iter().map(|place| classes[place.gold].clone()).collect(),
            said: places.iter().map(|place| known.tag(&place.key)).collect(),
            cut: Some(0),
        })
    }

    /// Adds the words that the row may not hold, which are said to be of no entity, with the gold tags of their document.
    fn add_cut_words(&mut self, tags: &Tags, document: usize, classes: &[String]) -> Result<()> {
        let outside = classes.iter().position(|class| class == "O").context("`O` is no class of the tokens; run `tokenize` again")?;
        let held = self.words.len();
        self.gold = tags.of_all(document, &mut self.words)?;
        self.said.resize(self.words.len(), (outside, 0.0));
        self.cut = Some((self.words.len() - held) as i64);
        Ok(())
    }
}

fn table(rows: &[Tagged], classes: &[String]) -> Result<Vec<Column>> {
    let mut words = ListBuilder::new(Int32Builder::new());
    rows.iter().for_each(|row| words.append_value(row.words.iter().copied().map(Some)));
    let words: ArrayRef = Arc::new(words.finish());
    let cut: ArrayRef = Arc::new(rows.iter().map(|row| row.cut).collect::<Int64Array>());
    Ok(vec![
        column("words", words),
        column("gold", text_lists(rows.iter().map(|row| row.gold.iter().map(String::as_str).collect()))),
        column("prediction", text_lists(rows.iter().map(|row| row.said.iter().map(|(tag, _)| classes[*tag].as_str()).collect()))),
        column("probabilities", number_lists(rows.iter().map(|row| row.said.iter().map(|(_, share)| *share).collect()))),
        (Field::new("words_cut", DataType::Int64, true), cut),
    ])
}
