//! Layout `pairs`: BERT's pre-training rows of two segments, `[CLS] a [SEP] b [SEP]`, made from the sentences of documents.
//!
//! As `create_pretraining_data.py` of BERT has it: sentences are gathered until they fill a row (one document in ten, by `short_probability`, aims
//! at a shorter one), and are cut into two segments at a random sentence. With `next-sentence` (BERT), half of the rows take their second segment
//! from another document instead, and the sentences that were to be there begin the next row. With `sentence-order` (ALBERT), half of the rows have
//! their segments swapped. What is too long is cut token by token, at either end of the longer segment.
//!
//! A sentence that is left alone can only get another document's behind it. BERT's script lets such rows come on top of the half, which short
//! documents turn into two thirds; here each of them is made good by the next row of the same file and split that can keep its own sentences.
//!
//! Choices are functions of the seed, the document's id, the row's number within the document, and what is chosen, but for that balance. Other
//! documents are those of the same file and split within some hundreds of documents, so that nothing but them is kept in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use anyhow::{Result, bail};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shards::examples::{Column, Example, Kind, Value};
use shards::{below, random, unit};

use super::{Job, Outcome, Stored, framed_pair, write};
use crate::documents::{Documents, id};
use crate::tokenize::Tokenize;

const COLUMNS: [Column; 3] = [("segments", Kind::UInt8s), ("label", Kind::Int32), ("other", Kind::Id)];
/// [CLS] and two [SEP].
const FRAME: usize = 3;
/// Documents before a batch that second segments may come from, and their tokens.
const OTHERS_MAX: usize = 256;
const OTHERS_TOKENS_MAX: usize = 1 << 22;

/// What is to be said of the second segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Whether it follows the first or comes from another document (BERT): half and half. A single sentence that is left always gets another
    /// document's behind it, and a later row its own in return, as far as there are such.
    #[default]
    NextSentence,
    /// Whether the two follow one another in this order or were swapped (ALBERT).
    SentenceOrder,
}

impl Objective {
    /// The classes 0 and 1, as BERT numbers them.
    fn classes(self) -> [&'static str; 2] {
        match self {
            Objective::NextSentence => ["next", "random"],
            Objective::SentenceOrder => ["in-order", "swapped"],
        }
    }
}

/// What is chosen at random.
#[derive(Clone, Copy)]
enum Choice {
    Short,
    Length,
    Cut,
    Label,
    Other,
    Sentence,
    End,
}

pub(super) fn prepare(settings: &mut Tokenize, seed: u64) -> Result<()> {
    if !(0.0..=1.0).contains(&settings.short_probability) {
        bail!("`short_probability` is {}: it must be from 0 to 1", settings.short_probability);
    }
    settings.seed = Some(seed);
    Ok(())
}

/// The sentences of a document, encoded.
struct Sentences {
    id: [u8; 16],
    sentences: Vec<Vec<u32>>,
}

impl Sentences {
    fn tokens(&self) -> usize {
        self.sentences.iter().map(Vec::len).sum()
    }
}

/// What is remembered of a split within a file.
#[derive(Default)]
struct Before {
    /// The documents that second segments come from.
    others: VecDeque<Arc<Sentences>>,
    /// Rows that had to borrow their second segment and are not made good yet.
    owed: u64,
}

pub(super) fn run(job: &Job) -> Result<()> {
    job.draft.fact("classes", job.settings.objective.classes())?;
    job.draft.fact("objective", job.settings.objective)?;
    job.draft.fact("segments", true)?;
    write(job, &[&job.settings.text], &COLUMNS, |splits: &mut BTreeMap<String, Before>, batch| {
        let documents = encode(job, batch)?;
        for (row, document) in documents.iter().enumerate() {
            let before = splits.entry(batch.split(row).to_string()).or_default();
            before.others.extend((!document.sentences.is_empty()).then(|| document.clone()));
        }
        let outcome = |(row, document): (usize, &Arc<Sentences>)| {
            let Before { others, owed } = splits.entry(batch.split(row).to_string()).or_default();
            Ok(Pairs { job, document, others, owed, row: 0 }.outcome())
        };
        let outcomes = documents.iter().enumerate().map(outcome).collect();
        for Before { others, .. } in splits.values_mut() {
            let mut tokens: usize = others.iter().map(|document| document.tokens()).sum();
            while others.len() > OTHERS_MAX || (tokens > OTHERS_TOKENS_MAX && others.len() > 1) {
                tokens -= others.pop_front().map_or(0, |document| document.tokens());
            }
        }
        outcomes
    })
}

fn encode(job: &Job, batch: &Documents) -> Result<Vec<Arc<Sentences>>> {
    let (ids, texts) = (batch.ids("id")?, batch.strings(&job.settings.text)?);
    let rows: Vec<(usize, &str)> = texts.iter().map(Option::unwrap_or_default).enumerate().collect();
    let document = |(row, text): (usize, &str)| {
        let tokens = pieces(text).into_iter().map(|piece| job.encoder.tokenizer.encode(piece));
        let sentences = tokens.filter(|tokens| tokens.as_ref().map_or(true, |tokens| !tokens.is_empty())).collect::<Result<_>>()?;
        Ok(Arc::new(Sentences { id: id(&ids, row), sentences }))
    };
    rows.into_par_iter().map(document).collect()
}

/// The sentences of a text, and with each what stands between it and the next: `text::sentences` leaves out what has no letter or digit, and here
/// nothing may be lost.
fn pieces(text: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = text::sentences(text).map(|sentence| sentence.as_ptr() as usize - text.as_ptr() as usize).collect();
    match starts.first_mut() {
        Some(first) => *first = 0,
        None => starts.push(0),
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(start, end)| text[*start..end].trim()).collect()
}

/// A document while its rows are made.
struct Pairs<'a> {
    job: &'a Job<'a>,
    document: &'a Sentences,
    others: &'a VecDeque<Arc<Sentences>>,
    owed: &'a mut u64,
    row: u64,
}

impl Pairs<'_> {
    fn random(&self, choice: Choice, more: u64) -> u64 {
        let id = u128::from_le_bytes(self.document.id);
        let seed = self.job.settings.seed.unwrap_or(self.job.ctx.seed);
        random([seed, id as u64, (id >> 64) as u64, self.row, choice as u64, more])
    }

    fn outcome(mut self) -> Outcome {
        let (settings, sentences) = (self.job.settings, &self.document.sentences);
        let all = self.document.tokens();
        if sentences.is_empty() {
            return Outcome::rejected("no_sentence", 0);
        }
        let next = settings.objective == Objective::NextSentence;
        let has_others = next && self.others.iter().any(|other| other.id != self.document.id);
        if sentences.len() == 1 && !has_others {
            return Outcome::rejected(if next { "no_other_document" } else { "one_sentence" }, all);
        }
        let room = settings.sequence_length - FRAME;
        let target = match unit(self.random(Choice::Short, 0)) < settings.short_probability {
            true => 2 + below(self.random(Choice::Length, 0), room as u64 - 1) as usize,
            false => room,
        };
        let mut stored = Stored::default();
        let mut from = 0;
        while from < sentences.len() {
            let to = self.fill(from, target, has_others);
            let middle = match to - from {
                1 => to,
                length => from + 1 + below(self.random(Choice::Cut, 0), length as u64 - 1) as usize,
            };
            let second_class = unit(self.random(Choice::Label, 0)) < 0.5;
            let borrows = has_others && self.borrows(to - from == 1, second_class);
            from = self.push(&mut stored, [from, middle, to], target, borrows, second_class);
            self.row += 1;
        }
        stored.cut = all + FRAME * stored.rows.len() - stored.tokens;
        Outcome::Stored(stored)
    }

    /// Whether a row takes its second segment from another document: a row of one sentence must, which the next one that need not makes good.
    fn borrows(&mut self, must: bool, chosen: bool) -> bool {
        let makes_good = !must && *self.owed > 0;
        *self.owed = *self.owed + u64::from(must) - u64::from(makes_good);
        must || (chosen && !makes_good)
    }

    /// The sentence after the last one of the row that begins with sentence `from`. Where a row cannot borrow a second segment, it has two
    /// sentences or more, and leaves none alone at the end.
    fn fill(&self, from: usize, target: usize, single: bool) -> usize {
        let sentences = &self.document.sentences;
        let (mut to, mut length) = (from, 0);
        while to < sentences.len() && (length < target || (!single && to - from < 2)) {
            length += sentences[to].len();
            to += 1;
        }
        match sentences.len() - to {
            1 if !single && to - from > 2 => to - 1,
            1 if !single => to + 1,
            _ => to,
        }
    }

    /// Makes a row of the sentences `from..middle` and `middle..to` and returns the first sentence that it does not use.
    fn push(&self, stored: &mut Stored, [from, middle, to]: [usize; 3], target: usize, borrows: bool, second_class: bool) -> usize {
        let sentences = &self.document.sentences;
        let first = sentences[from..middle].concat();
        let (second, other) = match borrows {
            true => self.borrow(target.saturating_sub(first.len())),
            false => (sentences[middle..to].concat(), self.document.id),
        };
        let room = self.job.settings.sequence_length - FRAME;
        let [first, second] = self.cut(&first, &second, room);
        let swapped = !borrows && second_class && self.job.settings.objective == Objective::SentenceOrder;
        let (tokens, segments) = match swapped {
            true => framed_pair(self.job.encoder, second, first),
            false => framed_pair(self.job.encoder, first, second),
        };
        let borrowed = if borrows { second.len() } else { 0 };
        stored.tokens += tokens.len() - borrowed;
        stored.repeated += borrowed;
        let values = vec![Value::UInt8s(segments), Value::Int32(i32::from(borrows || swapped)), Value::Id(other)];
        stored.rows.push(Example { id: self.document.id, tokens, values });
        if borrows { middle } else { to }
    }

    /// Sentences of another document from a random one on, until there are `length` tokens; and the document's id.
    fn borrow(&self, length: usize) -> (Vec<u32>, [u8; 16]) {
        let count = self.others.len();
        let first = below(self.random(Choice::Other, 0), count as u64) as usize;
        // Copies of this document are no other documents; the next one behind them is.
        let mut turned = self.others.iter().cycle().skip(first).take(count);
        let other = turned.find(|other| other.id != self.document.id).expect("there is another document");
        let start = below(self.random(Choice::Sentence, 0), other.sentences.len() as u64) as usize;
        let mut tokens = Vec::new();
        for sentence in &other.sentences[start..] {
            tokens.extend_from_slice(sentence);
            if tokens.len() >= length {
                break;
            }
        }
        (tokens, other.id)
    }

    /// Takes tokens from the longer segment, at its beginning or end by chance, until both fit.
    fn cut<'a>(&self, mut first: &'a [u32], mut second: &'a [u32], room: usize) -> [&'a [u32]; 2] {
        let mut number = 0;
        while first.len() + second.len() > room {
            let longer = if first.len() > second.len() { &mut first } else { &mut second };
            *longer = if unit(self.random(Choice::End, number)) < 0.5 { &longer[1..] } else { &longer[..longer.len() - 1] };
            number += 1;
        }
        [first, second]
    }
}

#[cfg(test)]
mod tests {
    use super::pieces;
    use proptest::prelude::*;

    #[test]
    fn pieces_are_sentences_with_what_follows_them() {
        assert_eq!(pieces("今天下雨。我们走吧！好吗？……\n 先吃饭；再走。"), ["今天下雨。", "我们走吧！", "好吗？……", "先吃饭；", "再走。"]);
        assert_eq!(pieces("* * *\nIt rains. * * * We go!"), ["* * *\nIt rains.", "* * * We go!"]);
        assert_eq!(pieces("…"), ["…"]);
        assert_eq!(pieces(""), [""]);
    }

    proptest! {
        #[test]
        fn pieces_lose_white_space_alone(text in "[a-cA 。！.!?*\n]{0,40}|\\PC{0,40}") {
            let dense = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(pieces(&text).concat().as_str().chars().filter(|c| !c.is_whitespace()).collect::<String>(), dense(&text));
        }
    }
}
