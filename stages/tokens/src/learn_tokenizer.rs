//! `learn-tokenizer`: a vocabulary from the documents of the training split.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{Array, Int64Array, RecordBatch, StringArray};
use engine::{Context, Draft, Inputs, Kind, Port, Site, Stage, Table, schema};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use text::{Recipe, Tokenizer, WordCounts};

use crate::documents::{self, TRAIN};
use crate::vocabulary;

/// The kind of model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TokenizerKind {
    /// Merges of bytes, as GPT-2: any text comes back exactly.
    #[default]
    ByteLevelBpe,
    /// Merges of characters, and bytes of what is not in the vocabulary, as Llama 2.
    ByteFallbackBpe,
    /// Merges of characters within words, as BERT; each Han character is a word.
    #[serde(rename = "wordpiece")]
    WordPiece,
    /// Pieces with probabilities, as T5.
    Unigram,
    /// Single characters, those of `min_frequency` and more.
    Characters,
}

/// Learns a tokenizer.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LearnTokenizer {
    /// `byte-level-bpe` (for GPT), `byte-fallback-bpe`, `wordpiece` (for BERT), `unigram` or `characters`.
    #[serde(default)]
    pub kind: TokenizerKind,
    /// How text is normalized and cut. For `byte-level-bpe`: `gpt2` (the default), `cl100k`, `llama3`, `qwen2`, `o200k`; for `wordpiece`:
    /// `bert-uncased` (the default), `bert-cased`, `bert-chinese`; for `byte-fallback-bpe` and `unigram`: `llama2` (the default of the first),
    /// `sentencepiece` (the default of the second), `t5`; for `characters`: `plain`.
    #[serde(default)]
    pub style: Option<String>,
    /// Special tokens, which take the first ids; the style's own when not given. Roles go by name: `<s>`, `</s>`, `<|endoftext|>`, `[MASK]` …
    #[serde(default)]
    pub special_tokens: Option<Vec<String>>,
    /// Most tokens to learn, special ones included. Up to 65536, tokens are stored in two bytes.
    #[serde(default = "default_vocabulary_size")]
    pub vocabulary_size: usize,
    /// A pair is merged, a piece considered, and a character kept (but bytes), from this many occurrences on.
    #[serde(default = "default_min_frequency")]
    pub min_frequency: u64,
    /// The split to learn from; documents that were not split are all read.
    #[serde(default = "default_split")]
    pub split: String,
    /// Column that holds the text.
    #[serde(default = "default_text")]
    pub text: String,
    /// Learn from about this many bytes of text, of documents chosen by the hash of their content. Memory grows with it.
    #[serde(default = "default_max_bytes")]
    pub max_bytes: u64,
    /// Of each source no more than about this many bytes, so that a large one does not drown the others; `max_bytes` holds besides.
    #[serde(default)]
    pub max_bytes_per_source: Option<u64>,
}

fn default_vocabulary_size() -> usize {
    32_000
}

fn default_min_frequency() -> u64 {
    2
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

impl Stage for LearnTokenizer {
    const NAME: &'static str = "learn-tokenizer";
    const ABOUT: &'static str = "Learns a BPE, WordPiece, unigram or character tokenizer.";
    const VERSION: u32 = 2;
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Tokenizer;

    fn prepare(&mut self, _: &mut Site) -> Result<()> {
        let recipe = self.recipe()?;
        recipe.check_size(self.vocabulary_size)?;
        if self.max_bytes == 0 || self.max_bytes_per_source == Some(0) {
            bail!("`max_bytes` and `max_bytes_per_source` must be above 0");
        }
        self.style = Some(recipe.style().name().to_string());
        self.special_tokens = Some(recipe.special_tokens().to_vec());
        Ok(())
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let table = inputs.artifact("documents")?.table("documents")?;
        table.column(&self.text)?;
        let mut sources = self.weigh(ctx, &table)?;
        let tokenizer = self.learn(ctx, &table, &mut sources, draft)?;
        draft.declare("sample", schema::sample())?;
        vocabulary::write(&tokenizer, ctx, draft, |part| part.write("sample", &sample_table(&sources)?))
    }
}

/// What there is of a source, and what was taken of it.
#[derive(Clone, Copy, Default)]
struct Source {
    documents: i64,
    bytes: i64,
    taken_documents: i64,
    taken_bytes: i64,
    /// A document is taken when its hash does not lie above, so the choice hangs on nothing but its content.
    limit: u64,
}

impl LearnTokenizer {
    fn recipe(&self) -> Result<Recipe> {
        let kind = match self.kind {
            TokenizerKind::ByteLevelBpe => text::Kind::ByteLevelBpe,
            TokenizerKind::ByteFallbackBpe => text::Kind::ByteFallbackBpe,
            TokenizerKind::WordPiece => text::Kind::WordPiece,
            TokenizerKind::Unigram => text::Kind::Unigram,
            TokenizerKind::Characters => text::Kind::Characters,
        };
        Recipe::new(kind, self.style.as_deref(), self.special_tokens.as_deref())
    }

    /// Documents and bytes of each source, and which share of them will be taken.
    fn weigh(&self, ctx: &Context, table: &Table) -> Result<BTreeMap<String, Source>> {
        let weigh_file = |file: &usize| -> Result<BTreeMap<String, Source>> {
            let mut sources: BTreeMap<String, Source> = BTreeMap::new();
            for batch in documents::read(table, *file, &[&self.text, "source"])? {
                ctx.check_stop()?;
                let batch = batch?;
                let (texts, names) = (batch.strings(&self.text)?, batch.strings("source")?);
                for row in (0..batch.len()).filter(|row| texts.is_valid(*row) && batch.split(*row) == self.split) {
                    let source = entry(&mut sources, names.value(row));
                    source.documents += 1;
                    source.bytes += texts.value(row).len() as i64;
                }
            }
            Ok(sources)
        };
        let files = documents::files_of_split(table, &self.split);
        let mut sources: BTreeMap<String, Source> = BTreeMap::new();
        for found in files.par_iter().map(weigh_file).collect::<Result<Vec<_>>>()? {
            for (name, found) in found {
                let source = entry(&mut sources, &name);
                source.documents += found.documents;
                source.bytes += found.bytes;
            }
        }
        let capped = |source: &Source| self.max_bytes_per_source.map_or(source.bytes as f64, |most| (source.bytes as f64).min(most as f64));
        let total: f64 = sources.values().map(capped).sum();
        let share_of_all = (self.max_bytes as f64 / total.max(1.0)).min(1.0);
        for source in sources.values_mut() {
            let share = capped(source) / (source.bytes as f64).max(1.0) * share_of_all;
            source.limit = (share * u64::MAX as f64) as u64;
        }
        Ok(sources)
    }

    fn learn(&self, ctx: &Context, table: &Table, sources: &mut BTreeMap<String, Source>, draft: &Draft) -> Result<Tokenizer> {
        let total = sources.values().map(|source| source.bytes as u64).sum();
        let mut counts = WordCounts::new(self.recipe()?);
        let mut read = 0;
        for file in documents::files_of_split(table, &self.split) {
            for batch in documents::read(table, file, &[&self.text, "source", "content_hash"])? {
                ctx.check_stop()?;
                let batch = batch?;
                let (texts, names, hashes) = (batch.strings(&self.text)?, batch.strings("source")?, batch.ids("content_hash")?);
                let mut taken = Vec::new();
                for row in (0..batch.len()).filter(|row| texts.is_valid(*row) && batch.split(*row) == self.split) {
                    let (text, source) = (texts.value(row), entry(sources, names.value(row)));
                    read += text.len() as u64;
                    if documents::head(hashes.value(row)) <= source.limit {
                        source.taken_documents += 1;
                        source.taken_bytes += text.len() as i64;
                        taken.push(text);
                    }
                }
                counts.add(&taken);
                ctx.progress(read, total, "B");
            }
        }
        let sum = |of: fn(&Source) -> i64| sources.values().map(of).sum::<i64>();
        if sum(|source| source.documents) == 0 {
            bail!("there is no document to learn from in the split `{}`", self.split);
        }
        if sum(|source| source.taken_documents) == 0 {
            bail!("of {} documents none is taken: `max_bytes` or `max_bytes_per_source` is too small", sum(|source| source.documents));
        }
        draft.count("learned_documents", sum(|source| source.taken_documents));
        draft.count("learned_bytes", sum(|source| source.taken_bytes));
        draft.count("different_pieces", counts.different_pieces() as i64);
        counts.learn(self.vocabulary_size, self.min_frequency)
    }
}

fn entry<'a>(sources: &'a mut BTreeMap<String, Source>, name: &str) -> &'a mut Source {
    if !sources.contains_key(name) {
        sources.insert(name.to_string(), Source::default());
    }
    sources.get_mut(name).expect("it was inserted")
}

fn sample_table(sources: &BTreeMap<String, Source>) -> Result<RecordBatch> {
    let column = |of: fn(&Source) -> i64| -> Arc<dyn Array> { Arc::new(Int64Array::from_iter_values(sources.values().map(of))) };
    let columns = vec![
        Arc::new(StringArray::from_iter_values(sources.keys())) as Arc<dyn Array>,
        column(|source| source.documents),
        column(|source| source.bytes),
        column(|source| source.taken_documents),
        column(|source| source.taken_bytes),
    ];
    Ok(RecordBatch::try_new(schema::sample(), columns)?)
}
