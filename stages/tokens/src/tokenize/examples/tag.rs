//! Layout `tag`: words with tags of entities become tokens with labels; a causal model tells a tag from what stands before it.
//!
//! Words are encoded each for itself, as transformers does with `is_split_into_words`. Entities are read in the scheme of the column and written
//! in the scheme of the settings; the classes are all tags of that scheme, sorted. A row that is cut stays a right sequence of tags.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use origins::lists::{Cell, words as lists_of_words};
use origins::{Entity, Scheme};
use rayon::prelude::*;
use shards::examples::{Example, Kind, Value};

use super::classify::CLASSES_MAX;
use super::{Fault, Job, Outcome, Stored, excerpt, framed, needed, write};
use crate::documents::{self, Documents, id};
use crate::tokenize::Tokenize;

pub(super) fn prepare(settings: &Tokenize) -> Result<()> {
    needed(settings, "words", &settings.words, "the list of words")?;
    needed(settings, "tags", &settings.tags, "the list of their tags").map(drop)
}

pub(super) fn run(job: &Job) -> Result<()> {
    let settings = job.settings;
    let words = needed(settings, "words", &settings.words, "the list of words")?;
    let tags = needed(settings, "tags", &settings.tags, "the list of their tags")?;
    for column in [words, tags] {
        job.table.column(column)?;
    }
    let (scheme, kinds) = look_through(job, words, tags)?;
    let classes = settings.scheme.tags(&kinds);
    job.draft.fact("classes", &classes)?;
    job.draft.fact("tag_scheme", scheme)?;
    job.draft.fact("scheme", settings.scheme)?;
    job.draft.fact("label_all", settings.label_all)?;
    write(job, &[words, tags], &[("labels", Kind::Int32s), ("words", Kind::Int32s)], |(), batch| {
        let ids = batch.ids("id")?;
        let rows: Vec<(Cell, Cell)> = both(batch, words, tags)?.collect();
        let outcome = |(row, (words, tags)): (usize, (Cell, Cell))| match sequence(words, tags) {
            Ok((words, tags)) => example(job, scheme, &classes, id(&ids, row), &words, &tags),
            Err((rule, detail)) => Ok(Outcome::because(rule, 0, detail)),
        };
        rows.into_par_iter().enumerate().map(outcome).collect()
    })
}

/// Words and tags, as many of these as of those; or the rule that is broken, and how.
fn sequence(words: Cell, tags: Cell) -> Result<(Vec<String>, Vec<String>), Fault> {
    let list = |cell, what: &str, missing| match cell {
        Cell::Null => Err((missing, None)),
        Cell::Broken(why) => Err(("broken_list", Some(format!("{what}: {why}")))),
        Cell::List(items) if items.is_empty() => Err((missing, None)),
        Cell::List(items) => Ok(items),
    };
    let (words, tags) = (list(words, "words", "no_words")?, list(tags, "tags", "no_tags")?);
    if words.len() != tags.len() {
        return Err(("lengths_differ", Some(format!("{} words, {} tags", words.len(), tags.len()))));
    }
    Ok((words, tags))
}

/// Words and tags of each document.
fn both(batch: &Documents, words: &str, tags: &str) -> Result<impl Iterator<Item = (Cell, Cell)> + use<>> {
    let lists = |name: &str| lists_of_words(batch.column(name)?, name);
    Ok(lists(words)?.into_iter().zip(lists(tags)?))
}

fn texts(items: &[String]) -> Vec<&str> {
    items.iter().map(String::as_str).collect()
}

/// The scheme of the tags, and all types of entities. Unless the settings name it, it is the one in which most rows are right.
fn look_through(job: &Job, words: &str, tags: &str) -> Result<(Scheme, BTreeSet<String>)> {
    let schemes: Vec<Scheme> = job.settings.tag_scheme.map_or(Scheme::ALL.to_vec(), |scheme| vec![scheme]);
    let mut found: Vec<(u64, BTreeSet<String>)> = vec![Default::default(); schemes.len()];
    for file in 0..job.table.files.len() {
        for batch in documents::read(job.table, file, &[words, tags])? {
            job.ctx.check_stop()?;
            let batch: Documents = batch?;
            for (words, cell) in both(&batch, words, tags)? {
                let Ok((_, sequence)) = sequence(words, cell) else { continue };
                let sequence = texts(&sequence);
                for (scheme, (right, kinds)) in schemes.iter().zip(&mut found) {
                    let Ok(entities) = scheme.decode(&sequence) else { continue };
                    *right += 1;
                    for entity in entities {
                        if !kinds.contains(entity.kind) {
                            kinds.insert(entity.kind.to_string());
                        }
                    }
                    if kinds.len() > CLASSES_MAX {
                        bail!("column `{tags}` has more than {CLASSES_MAX} types of entities; does it hold tags?");
                    }
                }
            }
        }
    }
    let most = found.iter().map(|(right, _)| *right).max().unwrap_or(0);
    let best = found.iter().position(|(right, _)| *right == most).unwrap_or(0);
    Ok((schemes[best], found.swap_remove(best).1))
}

fn example(job: &Job, scheme: Scheme, classes: &[String], id: [u8; 16], words: &[String], tags: &[String]) -> Result<Outcome> {
    let (settings, encoder) = (job.settings, job.encoder);
    let encoded = words.iter().map(|word| encoder.tokenizer.encode(word)).collect::<Result<Vec<Vec<u32>>>>()?;
    let frame = framed(encoder, []).len();
    let whole = encoded.iter().map(Vec::len).sum::<usize>() + frame;
    let entities = match scheme.decode(&texts(tags)) {
        Ok(entities) => entities,
        Err(detail) => return Ok(Outcome::because("wrong_tags", whole, detail)),
    };
    if whole == frame {
        return Ok(Outcome::rejected("no_tokens", whole));
    }
    // Words that are but white space or control characters vanish, but no entity may.
    let tokens_of = |entity: &Entity| encoded[entity.range.clone()].iter().map(Vec::len).sum::<usize>();
    if let Some(entity) = entities.iter().find(|entity| tokens_of(entity) == 0) {
        let word = entity.range.start;
        let detail = format!("word {}, {}, has the tag `{}` and gives no token", word + 1, excerpt(&words[word]), tags[word]);
        return Ok(Outcome::because("entity_without_token", whole, detail));
    }
    let empty = encoded.iter().filter(|tokens| tokens.is_empty()).count();
    let aligned = align(&encoded, settings.sequence_length - frame);
    let labels = labels(settings, classes, &entities, &aligned);
    let held = aligned.last().map_or(0, |word| word + 1);
    let cut = encoded[held..].iter().filter(|tokens| !tokens.is_empty()).count();
    let tokens: Vec<u32> = encoded.into_iter().flatten().take(aligned.len()).collect();
    let framed_list = |values: Vec<i32>, outside: i32| {
        let before = encoder.begin.map(|_| outside);
        Value::Int32s(before.into_iter().chain(values).chain([outside]).collect())
    };
    let numbers = aligned.iter().map(|word| *word as i32).collect();
    let values = vec![framed_list(labels, shards::IGNORE as i32), framed_list(numbers, -1)];
    let tokens = framed(encoder, tokens);
    let stored = tokens.len();
    let counts = vec![("words_without_tokens", empty as i64), ("words_cut", cut as i64)];
    let rows = vec![Example { id, tokens, values }];
    Ok(Outcome::Stored(Stored { rows, tokens: stored, cut: whole - stored, counts, ..Stored::default() }))
}

/// The word of each token, as far as tokens fit.
fn align(encoded: &[Vec<u32>], room: usize) -> Vec<usize> {
    let words = encoded.iter().enumerate().flat_map(|(word, tokens)| std::iter::repeat_n(word, tokens.len()));
    words.take(room).collect()
}

/// The labels of tokens. Entities are laid over the places that have a label: the first token of each word, or all tokens.
fn labels(settings: &Tokenize, classes: &[String], entities: &[Entity], words: &[usize]) -> Vec<i32> {
    let is_first = |place: usize| place == 0 || words[place - 1] != words[place];
    let labelled: Vec<usize> = (0..words.len()).filter(|place| settings.label_all || is_first(*place)).collect();
    let of_places: Vec<usize> = labelled.iter().map(|place| words[*place]).collect();
    let mut labels = vec![shards::IGNORE as i32; words.len()];
    for (place, tag) in labelled.iter().zip(settings.scheme.encode_words(entities, &of_places)) {
        labels[*place] = classes.binary_search(&tag).expect("all tags of the types are classes") as i32;
    }
    labels
}
