//! The tag that a word has most often in the train split; words that it does not have get the most frequent tag of all.
//!
//! A word is known by its tokens. Where all its tokens have labels, each place within the word is counted for itself.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow::array::{ArrayRef, Int32Builder, ListBuilder};

use crate::predictions::{self, Column, column, number_lists, text_lists};
use crate::rows::Split;
use crate::settings::Work;

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
    predictions::write(work, |rows, _| tagged(work, &known, &classes, rows))
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

fn tagged(work: &Work, known: &Known, classes: &[String], rows: &[u64]) -> Result<Vec<Column>> {
    let rows = rows.iter().map(|row| labelled(&work.rows, *row, classes.len())).collect::<Result<Vec<_>>>()?;
    let said: Vec<Vec<(usize, f32)>> = rows.iter().map(|row| row.iter().map(|place| known.tag(&place.key)).collect()).collect();
    let mut words = ListBuilder::new(Int32Builder::new());
    rows.iter().for_each(|row| words.append_value(row.iter().map(|place| Some(place.word))));
    let words: ArrayRef = Arc::new(words.finish());
    Ok(vec![
        column("words", words),
        column("gold", text_lists(rows.iter().map(|row| row.iter().map(|place| classes[place.gold].as_str()).collect()))),
        column("prediction", text_lists(said.iter().map(|row| row.iter().map(|(tag, _)| classes[*tag].as_str()).collect()))),
        column("probabilities", number_lists(said.iter().map(|row| row.iter().map(|(_, share)| *share).collect()))),
    ])
}
