//! `compare-tokenizers`: how well tokenizers fit texts, as tables of exact counts: by language and source, and which tokens no text needs.
//!
//! It tells nothing of what a model would learn with them; for that, train and `score`.

mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use engine::{Context, Disk, Draft, Inputs, Kind, Part, PartWriter, Port, Site, Stage, Table, schema};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use text::Tokenizer;

use self::tables::{scores_batch, texts, texts_schema, unused_batch, unused_schema, vocabularies_schema};
use crate::documents::{self, Sample, TRAIN};

/// Counts what tokenizers make of the same texts.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareTokenizers {
    /// The split to read; documents that were not split are all read.
    #[serde(default = "default_split")]
    pub split: String,
    /// Column that holds the text.
    #[serde(default = "default_text")]
    pub text: String,
    /// Read about this many bytes of text, of documents chosen by the hash of their content.
    #[serde(default = "default_max_bytes")]
    pub max_bytes: u64,
    /// The steps that made the tokenizers: the tables name them.
    #[serde(default)]
    #[schemars(skip)]
    pub names: Vec<String>,
}

fn default_split() -> String {
    TRAIN.to_string()
}

fn default_text() -> String {
    "text".to_string()
}

fn default_max_bytes() -> u64 {
    32 << 20
}

/// Where the documents have it, the language is taken from this column.
const LANGUAGE: &str = "language";

/// What the texts of one language and source came to.
#[derive(Default, Serialize, Deserialize)]
struct Counts {
    documents: i64,
    /// As everywhere: UAX-29 words, each Han character one word.
    words: i64,
    characters: i64,
    bytes: i64,
    /// Of each tokenizer.
    tokens: Vec<i64>,
    unknown: Vec<i64>,
    /// Words of more than one token.
    continued: Vec<i64>,
}

/// A tokenizer with the name of its step.
struct Compared<'a> {
    name: &'a str,
    tokenizer: Tokenizer,
    /// Bytes that tokens stand for, where those of a text follow from its tokens.
    bytes: Option<Vec<u32>>,
}

/// A language, where one is known, and a source.
type Group = (Option<String>, String);

/// What is known of one file of documents, or of several.
#[derive(Default)]
struct Found {
    groups: BTreeMap<Group, Counts>,
    /// Ids of each tokenizer that occurred.
    used: Vec<BTreeSet<u32>>,
}

impl Stage for CompareTokenizers {
    const NAME: &'static str = "compare-tokenizers";
    const ABOUT: &'static str =
        "Counts what tokenizers make of the same texts: fertility, continued words, bytes per token, unknown and unused tokens.";
    const VERSION: u32 = 2;
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents), Port::many("tokenizers", Kind::Tokenizer)];
    const OUTPUT: Kind = Kind::Scores;
    // A report takes no input away from the steps below.
    const FOREIGN: bool = true;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        self.names = site.connected("tokenizers").to_vec();
        let mut seen = BTreeSet::new();
        if let Some(name) = self.names.iter().find(|name| !seen.insert(*name)) {
            bail!("the tokenizer of step `{name}` is named twice");
        }
        Ok(())
    }

    fn disk(&self, _input_bytes: u64) -> Disk {
        Disk::default()
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let table = inputs.artifact("documents")?.table("documents")?;
        let tokenizers = self.load(inputs)?;
        let files = documents::files_of_split(&table, &self.split);
        let sample = Sample::new(&table, &files, &self.text, self.max_bytes)?;
        let plan: Vec<Part> = files.iter().map(|file| Part { bytes: table.files[*file].bytes }).collect();
        draft.task(ctx, "encode", &plan, |index, path| {
            let found = self.encode(ctx, &table, files[index], &sample, &tokenizers)?;
            found.write(path)
        })?;
        draft.declare(Kind::Scores.main_table(), schema::scores())?;
        draft.declare("texts", texts_schema())?;
        draft.declare("vocabularies", vocabularies_schema())?;
        draft.declare("unused", unused_schema())?;
        draft.parts(ctx, &[Part { bytes: 0 }], |_, part| {
            let mut found = Found::default();
            for index in 0..files.len() {
                found.add(Found::read(&draft.scratch_path("encode", index))?);
            }
            if found.groups.is_empty() {
                bail!("there is no document to compare on in the split `{}`", self.split);
            }
            found.used.resize_with(tokenizers.len(), BTreeSet::new);
            self.report(&found, &tokenizers, part)
        })
    }
}

impl CompareTokenizers {
    fn load(&self, inputs: &Inputs) -> Result<Vec<Compared<'_>>> {
        let artifacts = inputs.artifacts("tokenizers");
        if artifacts.len() != self.names.len() {
            bail!("{} tokenizers are connected, and {} have names", artifacts.len(), self.names.len());
        }
        let pairs = self.names.iter().zip(artifacts);
        let load = pairs.map(|(name, artifact)| {
            let tokenizer = Tokenizer::load(&artifact.dir).with_context(|| format!("the tokenizer of step `{name}`"))?;
            Ok(Compared { name: name.as_str(), bytes: tokenizer.bytes_of_tokens(), tokenizer })
        });
        load.collect()
    }

    fn encode(&self, ctx: &Context, table: &Table, file: usize, sample: &Sample, tokenizers: &[Compared]) -> Result<Found> {
        let mut found = Found { used: vec![BTreeSet::new(); tokenizers.len()], ..Found::default() };
        let mut seen: Vec<Vec<bool>> = tokenizers.iter().map(|compared| vec![false; compared.tokenizer.vocabulary_size()]).collect();
        let known = table.has_column(LANGUAGE).then_some(LANGUAGE);
        let columns: Vec<&str> = [self.text.as_str(), "content_hash", "source"].into_iter().chain(known).collect();
        for batch in documents::read(table, file, &columns)? {
            ctx.check_stop()?;
            let batch = batch?;
            let (texts, hashes, sources) = (batch.strings(&self.text)?, batch.ids("content_hash")?, batch.strings("source")?);
            let languages = known.map(|name| batch.strings(name)).transpose()?;
            let rows: Vec<usize> = (0..batch.len())
                .filter(|row| texts.is_valid(*row) && batch.split(*row) == self.split && sample.takes(hashes.value(*row)))
                .collect();
            let taken: Vec<&str> = rows.iter().map(|row| texts.value(*row)).collect();
            let encode = |compared: &Compared| taken.par_iter().map(|text| compared.encode(text)).collect::<Result<Vec<_>>>();
            let encoded = tokenizers.iter().map(encode).collect::<Result<Vec<_>>>()?;
            for (n, (row, text)) in rows.iter().zip(&taken).enumerate() {
                let language = match &languages {
                    Some(languages) => languages.is_valid(*row).then(|| languages.value(*row).to_string()),
                    None => text::language(text).map(|(code, _)| code.to_string()),
                };
                let counts =
                    found.groups.entry((language, sources.value(*row).to_string())).or_insert_with(|| Counts::new(tokenizers.len()));
                counts.documents += 1;
                counts.words += text::words(text).count() as i64;
                counts.characters += text.chars().count() as i64;
                counts.bytes += text.len() as i64;
                for (index, compared) in tokenizers.iter().enumerate() {
                    let (ids, continued) = &encoded[index][n];
                    let unknown = compared.tokenizer.special().unk;
                    counts.continued[index] += continued;
                    counts.tokens[index] += ids.len() as i64;
                    counts.unknown[index] += ids.iter().filter(|id| Some(**id) == unknown).count() as i64;
                    ids.iter().for_each(|id| seen[index][*id as usize] = true);
                }
            }
        }
        for (used, seen) in found.used.iter_mut().zip(seen) {
            used.extend((0u32..).zip(seen).filter(|(_, seen)| *seen).map(|(id, _)| id));
        }
        Ok(found)
    }

    fn report(&self, found: &Found, tokenizers: &[Compared], part: &mut PartWriter) -> Result<()> {
        let mut total = Counts::new(tokenizers.len());
        found.groups.values().for_each(|counts| total.add(counts));
        let mut scores: Vec<Score> = Vec::new();
        for (index, Compared { name, tokenizer, .. }) in tokenizers.iter().enumerate() {
            part.write("texts", &texts(name, index, &found.groups)?)?;
            let vocabulary = tokenizer.vocabulary();
            let special = vocabulary.iter().filter(|(_, _, special)| *special).count() as i64;
            let unused: Vec<&(u32, String, bool)> =
                vocabulary.iter().filter(|(id, _, special)| !special && !found.used[index].contains(id)).collect();
            part.write("unused", &unused_batch(name, &unused)?)?;
            let (size, unused) = (vocabulary.len() as i64, unused.len() as i64);
            let column = |n: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![n])) };
            let columns = vec![
                Arc::new(StringArray::from(vec![*name])) as ArrayRef,
                column(size),
                column(special),
                column(size - special - unused),
                column(unused),
            ];
            part.write("vocabularies", &RecordBatch::try_new(vocabularies_schema(), columns)?)?;
            scores.extend(total.ratios(index).map(|(metric, over, under, what)| Score { system: name, metric, over, under, what }));
            scores.push(Score {
                system: name,
                metric: "unused_rate",
                over: unused,
                under: size - special,
                what: "tokens that are not special",
            });
        }
        let signature =
            format!("text:{}|split:{}|max_bytes:{}|words:uax29-han|version:{}", self.text, self.split, self.max_bytes, Self::VERSION);
        part.write(Kind::Scores.main_table(), &scores_batch(&scores, &signature)?)
    }
}

impl Compared<'_> {
    /// The tokens of a text, and how many of its words are more than one of them.
    fn encode(&self, text: &str) -> Result<(Vec<u32>, i64)> {
        if let Some(bytes) = &self.bytes {
            let ids = self.tokenizer.encode(text)?;
            let mut end = 0;
            let place = |id: &u32| {
                let start = end;
                end += bytes[*id as usize] as usize;
                (start, end)
            };
            let places: Vec<(usize, usize)> = ids.iter().map(place).collect();
            // Normalization may have changed the text.
            if end == text.len() {
                return Ok((ids, continued(text, &places)));
            }
        }
        let encoded = self.tokenizer.encode_with_offsets(text)?;
        Ok((encoded.ids, continued(text, &encoded.offsets)))
    }
}

/// The words that more than one token has a part of; `places` are the first byte of each token and the byte after its last.
fn continued(text: &str, places: &[(usize, usize)]) -> i64 {
    let mut places = places.iter().filter(|(start, end)| start < end).peekable();
    let is_continued = |word: &&str| {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        let end = start + word.len();
        while places.next_if(|place| place.1 <= start).is_some() {}
        places.clone().take_while(|place| place.0 < end).nth(1).is_some()
    };
    text::words(text).filter(is_continued).count() as i64
}

/// A ratio over all texts; undefined where what it divides by is 0.
struct Score<'a> {
    system: &'a str,
    metric: &'static str,
    over: i64,
    under: i64,
    /// What `under` counts.
    what: &'static str,
}

impl Counts {
    fn new(tokenizers: usize) -> Counts {
        let zeros = || vec![0; tokenizers];
        Counts { tokens: zeros(), unknown: zeros(), continued: zeros(), ..Counts::default() }
    }

    fn add(&mut self, other: &Counts) {
        self.documents += other.documents;
        self.words += other.words;
        self.characters += other.characters;
        self.bytes += other.bytes;
        let lists = [(&mut self.tokens, &other.tokens), (&mut self.unknown, &other.unknown), (&mut self.continued, &other.continued)];
        for (sums, more) in lists {
            sums.resize(more.len(), 0);
            sums.iter_mut().zip(more).for_each(|(sum, n)| *sum += n);
        }
    }

    /// Metric, what is divided, by what, and what that counts. Fertility is tokens per word, and continued words are those of more than one token, as
    /// in Rust et al. 2021, "How Good is Your Tokenizer?".
    fn ratios(&self, tokenizer: usize) -> [(&'static str, i64, i64, &'static str); 5] {
        let tokens = self.tokens[tokenizer];
        [
            ("tokens_per_word", tokens, self.words, "words"),
            ("tokens_per_character", tokens, self.characters, "characters"),
            ("bytes_per_token", self.bytes, tokens, "tokens"),
            ("unknown_rate", self.unknown[tokenizer], tokens, "tokens"),
            ("continued_rate", self.continued[tokenizer], self.words, "words"),
        ]
    }
}

impl Found {
    fn add(&mut self, other: Found) {
        for (group, counts) in other.groups {
            self.groups.entry(group).or_default().add(&counts);
        }
        self.used.resize_with(other.used.len().max(self.used.len()), BTreeSet::new);
        self.used.iter_mut().zip(other.used).for_each(|(used, more)| used.extend(more));
    }

    fn write(&self, path: &Path) -> Result<()> {
        let groups: Vec<(&Group, &Counts)> = self.groups.iter().collect();
        let text = serde_json::to_vec(&(groups, &self.used))?;
        std::fs::write(path, text).with_context(|| format!("writing `{}`", path.display()))
    }

    fn read(path: &Path) -> Result<Found> {
        let bytes = std::fs::read(path).with_context(|| format!("reading `{}`", path.display()))?;
        let (groups, used): (Vec<(Group, Counts)>, _) =
            serde_json::from_slice(&bytes).with_context(|| format!("`{}` is damaged; remove it", path.display()))?;
        Ok(Found { groups: groups.into_iter().collect(), used })
    }
}

fn ratio(over: i64, under: i64) -> Option<f64> {
    (under != 0).then(|| over as f64 / under as f64)
}

#[cfg(test)]
mod tests {
    use super::continued;

    #[test]
    fn words_of_more_than_one_token() {
        let check = |text: &str, tokens: &[&str], expected: i64| {
            assert_eq!(tokens.concat(), text);
            let mut end = 0;
            let place = |token: &&str| {
                let start = end;
                end += token.len();
                (start, end)
            };
            assert_eq!(continued(text, &tokens.iter().map(place).collect::<Vec<_>>()), expected, "{text}");
        };
        check("to be, continued", &["to", " be", ",", " contin", "ued"], 1);
        check("to be, continued", &["to be", ", ", "c", "ontinue", "d"], 1);
        check("tokenizers cut", &["token", "izers c", "ut"], 2);
        check("(中文)", &["(中", "文)"], 0);
        check("", &[], 0);
        // Two tokens for the bytes of one character have the place of the character; tokens of no bytes are in no word.
        assert_eq!(continued("中文", &[(0, 0), (0, 3), (0, 3), (3, 6), (6, 6)]), 1);
    }
}
