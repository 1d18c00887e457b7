//! `export`: shards as files of other programs, documents put together again. One file here for each format, with its reader for `import-tokens`.

pub(crate) mod documents;
mod dtype;
mod files;
pub(crate) mod flat;
pub(crate) mod huggingface;
pub(crate) mod mds;
pub(crate) mod megatron;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::{Context, Draft, Inputs, Kind, Part, Port, Site, Stage, list};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shards::ShardFile;

use crate::documents::TRAIN;
use documents::{Document, Stored, Totals};
pub(crate) use dtype::Dtype;

/// Below the artifact's folder.
const FOLDER: &str = "files";

/// Whose files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Megatron-LM: `SPLIT.bin` and `SPLIT.idx`.
    Megatron,
    /// `SPLIT.bin` of uint16 without header, as nanoGPT reads.
    Nanogpt,
    /// `SPLIT.npy`, an array of NumPy.
    Npy,
    /// Shards of MosaicML Streaming.
    Mds,
    /// A folder of Hugging Face datasets.
    Huggingface,
}

/// Writes tokens as files of other programs.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// `megatron`, `nanogpt`, `npy`, `mds` or `huggingface`. All take packed tokens. Of examples, `huggingface` alone takes those of the layout
    /// classify (one text, with one class) and complete; other layouts are not exported. None has a place for the weights of documents.
    pub format: Format,
}

/// Takes the documents of one split, then finishes its files.
trait Sink {
    fn push(&mut self, document: &Document) -> Result<()>;
    fn finish(self: Box<Self>) -> Result<Vec<Written>>;
}

/// A file that was written.
struct Written {
    /// Below the artifact's folder.
    path: String,
    totals: Totals,
    bytes: u64,
}

impl Written {
    fn new(path: String, totals: Totals, bytes: u64) -> Written {
        Written { path, totals, bytes }
    }
}

/// A document that was read from somebody's file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// Where the file has one that looks like ours.
    pub(crate) id: Option<[u8; 16]>,
    /// Number of the document in its source.
    pub(crate) position: u64,
    /// Not checked yet.
    pub(crate) tokens: Vec<i64>,
}

/// What may be held in memory.
pub(crate) struct Limits {
    /// Most tokens of a document.
    pub(crate) document_tokens: usize,
}

impl Limits {
    /// Refuses a document before its tokens are read.
    pub(crate) fn check(&self, path: &Path, position: u64, tokens: usize) -> Result<()> {
        if tokens > self.document_tokens {
            bail!(
                "`{}`: document {position} has {tokens} tokens or more, and only {} fit into memory; give more with --memory",
                path.display(),
                self.document_tokens
            );
        }
        Ok(())
    }
}

pub(crate) fn hex(id: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

/// An id as we write it.
pub(crate) fn parse_id(text: &str) -> Option<[u8; 16]> {
    let is_ours = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    is_ours.then(|| u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)).flatten()
}

impl Stage for Export {
    const NAME: &'static str = "export";
    const ABOUT: &'static str =
        "Writes tokens as files of other programs: Megatron, nanoGPT, NumPy, MosaicML Streaming, Hugging Face datasets.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("tokens", Kind::Tokens)];
    const OUTPUT: Kind = Kind::Tokens;
    const FOREIGN: bool = true;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        let Some(step) = site.upstream("tokens") else { return Ok(()) };
        if step.settings["format"] == "parquet" {
            bail!("step `{}` writes Parquet shards, which `export` does not read; tokenize with format = \"arrow\" for it", step.name);
        }
        let tokenizer = step.inputs.iter().find(|(port, _)| port == "tokenizer").and_then(|(_, steps)| site.step(steps.first()?));
        // A learned tokenizer never has more tokens than it was asked for; the size of others shows when the step runs.
        if let (Format::Nanogpt, Some(tokenizer)) = (self.format, tokenizer)
            && let Some(most) = tokenizer.settings["vocabulary_size"].as_u64().filter(|most| *most > flat::NANOGPT_TOKENS as u64)
        {
            bail!(
                "nanoGPT reads ids as uint16, and step `{}` may learn {most} tokens; set its vocabulary_size to at most {}, or take format = \"npy\"",
                tokenizer.name,
                flat::NANOGPT_TOKENS
            );
        }
        let layout = step.settings["layout"].as_str().unwrap_or("packed");
        self.check(layout, step.settings["label_type"].as_str(), step.settings["text_pair"].is_string())
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let tokens = inputs.artifact("tokens")?;
        let layout: String = tokens.fact("layout")?;
        let vocabulary_size: usize = tokens.fact("vocab_size")?;
        if self.format == Format::Nanogpt {
            flat::check_nanogpt(vocabulary_size)?;
        }
        let label_type: Option<String> = tokens.fact("label_type").unwrap_or_default();
        self.check(&layout, label_type.as_deref(), tokens.fact("segments").unwrap_or(false))?;
        if tokens.fact("weights").unwrap_or(false) {
            ctx.warn("the weights of documents are not exported: these formats have no place for them");
        }
        let classes: Vec<String> = if layout == "classify" { tokens.fact("classes")? } else { Vec::new() };
        let mut splits: BTreeMap<String, Vec<ShardFile>> = BTreeMap::new();
        for file in tokens.table("tokens")?.files {
            let split = file.split.unwrap_or_else(|| TRAIN.to_string());
            splits.entry(split).or_default().push(ShardFile { path: file.path, rows: file.rows, bytes: Some(file.bytes) });
        }
        let splits: Vec<(String, Vec<ShardFile>)> = splits.into_iter().collect();
        if self.format == Format::Nanogpt && ["val", "valid"].iter().all(|name| splits.iter().any(|(split, _)| split == name)) {
            bail!("the tokens have the splits `val` and `valid`, which both become nanoGPT's val.bin; take format = \"npy\"");
        }
        draft.declare("tokens", schema())?;
        draft.foreign(FOLDER);
        draft.fact("layout", self.format)?;
        draft.fact("vocab_size", vocabulary_size)?;
        let size = |files: &[ShardFile]| files.iter().filter_map(|file| Some(std::fs::metadata(&file.path).ok()?.len())).sum();
        let plan: Vec<Part> = splits.iter().map(|(_, files)| Part { bytes: size(files) }).collect();
        draft.parts(ctx, &plan, |index, part| {
            let (split, files) = &splits[index];
            let stored = Stored::open(ctx, &layout, files).with_context(|| format!("split `{split}`"))?;
            let mut sink = self.open(draft, split, &layout, stored.totals, vocabulary_size, &classes)?;
            stored.each(ctx, &mut |document| sink.push(document)).with_context(|| format!("split `{split}`"))?;
            let written = sink.finish()?;
            let sum = |value: fn(&Written) -> u64| written.iter().map(value).sum::<u64>() as i64;
            part.count("documents_in", stored.totals.documents as i64);
            part.count("documents_stored", sum(|file| file.totals.documents));
            part.count("tokens_in", stored.totals.tokens as i64);
            part.count("tokens_stored", sum(|file| file.totals.tokens));
            part.write("tokens", &rows(split, &written)?)
        })?;
        if self.format == Format::Huggingface {
            huggingface::write_dict(draft, FOLDER, &splits.iter().map(|(split, _)| split.as_str()).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

impl Export {
    fn check(&self, layout: &str, label_type: Option<&str>, segments: bool) -> Result<()> {
        let plain = label_type.is_none_or(|label_type| label_type == "class") && !segments;
        if !(matches!(layout, "packed" | "complete") || layout == "classify" && plain) {
            bail!(
                "the tokens have layout = \"{layout}\" with answers that cannot be exported; layouts that can: packed, classify (one text, label_type = \"class\") and complete"
            );
        }
        if layout != "packed" && self.format != Format::Huggingface {
            bail!(
                "the tokens have layout = \"{layout}\", whose answers only format = \"huggingface\" can hold; formats of packed tokens: {}",
                list(["megatron", "nanogpt", "npy", "mds", "huggingface"])
            );
        }
        Ok(())
    }

    fn open<'a>(
        &self,
        draft: &'a Draft,
        split: &str,
        layout: &str,
        totals: Totals,
        vocabulary_size: usize,
        classes: &[String],
    ) -> Result<Box<dyn Sink + 'a>> {
        Ok(match self.format {
            Format::Megatron => Box::new(megatron::create(draft, FOLDER, split, totals, vocabulary_size)?),
            Format::Nanogpt => Box::new(flat::create_nanogpt(draft, FOLDER, split)?),
            Format::Npy => Box::new(flat::create_npy(draft, FOLDER, split, totals, vocabulary_size)?),
            Format::Mds => Box::new(mds::create(draft, FOLDER, split, vocabulary_size)),
            Format::Huggingface => Box::new(huggingface::create(draft, FOLDER, split, layout, classes)),
        })
    }
}

/// One row for each file; what an index or a description says is counted at the files it speaks of.
fn schema() -> SchemaRef {
    let number = |name| Field::new(name, DataType::Int64, false);
    let text = |name| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![text("path"), text("split"), number("documents"), number("tokens"), number("bytes")]))
}

fn rows(split: &str, written: &[Written]) -> Result<RecordBatch> {
    let numbers =
        |value: fn(&Written) -> u64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(written.iter().map(|file| value(file) as i64))) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(written.iter().map(|file| &file.path))),
        Arc::new(StringArray::from_iter_values(written.iter().map(|_| split))),
        numbers(|file| file.totals.documents),
        numbers(|file| file.totals.tokens),
        numbers(|file| file.bytes),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
