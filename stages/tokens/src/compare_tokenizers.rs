//! `compare-tokenizers`: how well tokenizers fit texts, as tables of exact counts: by language and source, and which tokens no text needs.
//!
//! It tells nothing of what a model would learn with them; for that, train and `score`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::{Context, Disk, Draft, Inputs, Kind, Part, PartWriter, Port, Site, Stage, Table, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use text::Tokenizer;

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
    const ABOUT: &'static str = "Counts what tokenizers make of the same texts: fertility, bytes per token, unknown and unused tokens.";
    const VERSION: u32 = 1;
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
    /// The tokenizers with the names of their steps.
    fn load(&self, inputs: &Inputs) -> Result<Vec<(&str, Tokenizer)>> {
        let artifacts = inputs.artifacts("tokenizers");
        if artifacts.len() != self.names.len() {
            bail!("{} tokenizers are connected, and {} have names", artifacts.len(), self.names.len());
        }
        let load = |(name, artifact): (&'_ String, &engine::Artifact)| {
            Tokenizer::load(&artifact.dir).with_context(|| format!("the tokenizer of step `{name}`"))
        };
        self.names.iter().zip(artifacts).map(|(name, artifact)| Ok((name.as_str(), load((name, artifact))?))).collect()
    }

    fn encode(&self, ctx: &Context, table: &Table, file: usize, sample: &Sample, tokenizers: &[(&str, Tokenizer)]) -> Result<Found> {
        let mut found = Found { used: vec![BTreeSet::new(); tokenizers.len()], ..Found::default() };
        let mut seen: Vec<Vec<bool>> = tokenizers.iter().map(|(_, tokenizer)| vec![false; tokenizer.vocabulary_size()]).collect();
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
            let encoded = tokenizers.iter().map(|(_, tokenizer)| tokenizer.encode_batch(&taken)).collect::<Result<Vec<_>>>()?;
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
                for (index, (_, tokenizer)) in tokenizers.iter().enumerate() {
                    let ids = &encoded[index][n];
                    let unknown = tokenizer.special().unk;
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

    fn report(&self, found: &Found, tokenizers: &[(&str, Tokenizer)], part: &mut PartWriter) -> Result<()> {
        let mut total = Counts::new(tokenizers.len());
        found.groups.values().for_each(|counts| total.add(counts));
        let mut scores: Vec<Score> = Vec::new();
        for (index, (name, tokenizer)) in tokenizers.iter().enumerate() {
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
        Counts { tokens: vec![0; tokenizers], unknown: vec![0; tokenizers], ..Counts::default() }
    }

    fn add(&mut self, other: &Counts) {
        self.documents += other.documents;
        self.words += other.words;
        self.characters += other.characters;
        self.bytes += other.bytes;
        for (sums, more) in [(&mut self.tokens, &other.tokens), (&mut self.unknown, &other.unknown)] {
            sums.resize(more.len(), 0);
            sums.iter_mut().zip(more).for_each(|(sum, n)| *sum += n);
        }
    }

    /// Metric, what is divided, by what, and what that counts. Fertility is tokens per word, as in Rust et al. 2021, "How Good is Your Tokenizer?".
    fn ratios(&self, tokenizer: usize) -> [(&'static str, i64, i64, &'static str); 4] {
        let tokens = self.tokens[tokenizer];
        [
            ("tokens_per_word", tokens, self.words, "words"),
            ("tokens_per_character", tokens, self.characters, "characters"),
            ("bytes_per_token", self.bytes, tokens, "tokens"),
            ("unknown_rate", self.unknown[tokenizer], tokens, "tokens"),
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

/// Rows of `texts` for one tokenizer, by language and source.
fn texts(name: &str, index: usize, groups: &BTreeMap<Group, Counts>) -> Result<RecordBatch> {
    let count = |value: &dyn Fn(&Counts) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(groups.values().map(value))) };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![name; groups.len()])),
        Arc::new(StringArray::from_iter(groups.keys().map(|(language, _)| language.as_deref()))),
        Arc::new(StringArray::from_iter_values(groups.keys().map(|(_, source)| source))),
        count(&|counts| counts.documents),
        count(&|counts| counts.words),
        count(&|counts| counts.characters),
        count(&|counts| counts.bytes),
        count(&|counts| counts.tokens[index]),
        count(&|counts| counts.unknown[index]),
    ];
    for metric in 0..4 {
        let values = groups.values().map(|counts| {
            let (_, over, under, _) = counts.ratios(index)[metric];
            ratio(over, under)
        });
        columns.push(Arc::new(Float64Array::from_iter(values)));
    }
    Ok(RecordBatch::try_new(texts_schema(), columns)?)
}

fn texts_schema() -> SchemaRef {
    let mut fields = vec![
        Field::new("tokenizer", DataType::Utf8, false),
        Field::new("language", DataType::Utf8, true),
        Field::new("source", DataType::Utf8, false),
    ];
    fields.extend(["documents", "words", "characters", "bytes", "tokens", "unknown"].map(|name| Field::new(name, DataType::Int64, false)));
    fields.extend(Counts::new(1).ratios(0).map(|(metric, ..)| Field::new(metric, DataType::Float64, true)));
    Arc::new(Schema::new(fields))
}

fn vocabularies_schema() -> SchemaRef {
    let mut fields = vec![Field::new("tokenizer", DataType::Utf8, false)];
    fields.extend(["tokens", "special", "used", "unused"].map(|name| Field::new(name, DataType::Int64, false)));
    Arc::new(Schema::new(fields))
}

fn unused_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("tokenizer", DataType::Utf8, false),
        Field::new("id", DataType::Int64, false),
        Field::new("token", DataType::Utf8, false),
    ]))
}

fn unused_batch(name: &str, unused: &[&(u32, String, bool)]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![name; unused.len()])),
        Arc::new(Int64Array::from_iter_values(unused.iter().map(|(id, _, _)| i64::from(*id)))),
        Arc::new(StringArray::from_iter_values(unused.iter().map(|(_, token, _)| token))),
    ];
    Ok(RecordBatch::try_new(unused_schema(), columns)?)
}

fn scores_batch(scores: &[Score], signature: &str) -> Result<RecordBatch> {
    let value = |score: &Score| ratio(score.over, score.under);
    let reason = |score: &Score| (score.under == 0).then(|| format!("there are no {}", score.what));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(scores.iter().map(|score| score.system))),
        Arc::new(StringArray::from_iter_values(scores.iter().map(|score| score.metric))),
        arrow::array::new_null_array(&DataType::Utf8, scores.len()),
        Arc::new(Float64Array::from_iter(scores.iter().map(value))),
        Arc::new(StringArray::from_iter(scores.iter().map(reason))),
        Arc::new(Int64Array::from_iter_values(scores.iter().map(|score| score.under))),
        Arc::new(StringArray::from(vec![signature; scores.len()])),
    ];
    Ok(RecordBatch::try_new(schema::scores(), columns)?)
}
