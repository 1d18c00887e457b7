//! `import-tokens`: shards from files of token ids that other programs made. It knows no text; the formats are those of `export`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use engine::{Context, Disk, Draft, InputFile, Inputs, Kind, Part, Port, Site, Stage, list};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::export::{Dtype, Format, Found, Limits, flat, huggingface, mds, megatron};
use crate::tokenize::encoded::{EncodedWriter, Reject};
use crate::tokenize::{Encoder, Model, Tokenize, packed};

/// Reads files of token ids.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportTokens {
    /// `megatron`, `nanogpt` (a file of ids without header), `npy`, `mds` or `huggingface`.
    pub format: Format,
    /// Lists of files by split, such as `{ train = ["data/train_text_document"] }`: for `megatron` the path without `.bin` and `.idx`, for `mds`
    /// and `huggingface` the folder that holds `index.json` or `state.json`.
    pub paths: BTreeMap<String, Vec<String>>,
    /// Type of the ids where the file does not tell it: `uint16` for `nanogpt`, `int64` for `mds` columns of bytes, unless given.
    #[serde(default)]
    pub dtype: Option<Dtype>,
    /// Column that holds the ids, for `mds` and `huggingface`; by default `tokens` or `input_ids`.
    #[serde(default)]
    pub column: Option<String>,
    /// `causal` (GPT) or `masked` (BERT): which model the ids are for. Ids are taken as they are, nothing is added or removed.
    #[serde(default)]
    pub model: Model,
    /// Most tokens of a row that the model reads at once.
    #[serde(default = "default_sequence_length")]
    pub sequence_length: usize,
}

fn default_sequence_length() -> usize {
    512
}

impl Stage for ImportTokens {
    const NAME: &'static str = "import-tokens";
    const ABOUT: &'static str = "Turns token ids of Megatron, nanoGPT, NumPy, MosaicML Streaming or Hugging Face datasets into shards.";
    const VERSION: u32 = 2;
    const INPUTS: &'static [Port] = &[Port::one("tokenizer", Kind::Tokenizer)];
    const OUTPUT: Kind = Kind::Tokens;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        if self.paths.values().all(Vec::is_empty) {
            bail!("`paths` is empty: give files by split, such as {{ train = [\"data/train\"] }}");
        }
        // Which refuses a tokenizer without the special tokens of the model, too.
        Stage::prepare(&mut self.packing()?, site)?;
        for (split, paths) in &self.paths {
            if split.is_empty() || !split.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
                bail!("`{split}` is no name of a split: take letters, digits, `_`, `-` and `.`");
            }
            for (index, path) in paths.iter().enumerate() {
                for (name, file) in files_of(self.format, path, &site.root().join(path))? {
                    site.file(file, &format!("{split}/{index:05}/{name}"))?;
                }
            }
        }
        Ok(())
    }

    fn disk(&self, input_bytes: u64) -> Disk {
        // Ids may come in two bytes; on their way to the packing they take four.
        Disk { kept: input_bytes, scratch: 2 * input_bytes, ..Disk::default() }
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let artifact = inputs.artifact("tokenizer")?;
        let step = &artifact.manifest.step;
        let encoder = Encoder::load(artifact, self.model, None)?;
        let sources = sources(inputs.files())?;
        let packing = self.packing()?;
        packing.facts(draft, &encoder)?;
        // A token takes 8 bytes as it is read and 4 as it is written, and each thread holds a document.
        let limits = Limits { document_tokens: ctx.memory as usize / 64 / ctx.threads.max(1) };
        let plan: Vec<Part> = sources.iter().map(|source| Part { bytes: source.files.iter().map(|file| file.bytes).sum() }).collect();
        packed::run_encoded(&packing, ctx, &plan, &encoder, draft, |index, out| {
            self.copy(ctx, &sources[index], &encoder, step, &limits, out)
        })
    }
}

impl ImportTokens {
    /// The settings of `tokenize` that make such rows.
    fn packing(&self) -> Result<Tokenize> {
        let settings = serde_json::json!({"model": self.model, "sequence_length": self.sequence_length});
        serde_json::from_value(settings).context("settings of the packing")
    }

    /// Checks the ids of one source and hands them to the packing.
    fn copy(&self, ctx: &Context, source: &Source, encoder: &Encoder, step: &str, limits: &Limits, out: &mut EncodedWriter) -> Result<()> {
        let known = encoder.tokenizer.vocabulary_size() as i64;
        let mut ids = Vec::new();
        self.read(source, i64::from(encoder.end), limits, &mut |found: Found| {
            ctx.check_stop()?;
            if let Some(id) = found.tokens.iter().find(|id| !(0..known).contains(*id)) {
                bail!(
                    "`{}`: document {} has the id {id}, and the tokenizer of step `{step}` has ids from 0 to {}; take the tokenizer that the file was made with{}",
                    source.path().display(),
                    found.position,
                    known - 1,
                    if self.format == Format::Nanogpt { ", or set `dtype`" } else { "" }
                );
            }
            ids.clear();
            ids.extend(found.tokens.iter().map(|id| *id as u32));
            let id = found.id.unwrap_or_else(|| source.id(found.position));
            if ids.is_empty() {
                return out.reject(Reject {
                    id,
                    source: ImportTokens::NAME.to_string(),
                    path: source.name.clone(),
                    position: found.position as i64,
                    line: None,
                    stage: ImportTokens::NAME.to_string(),
                    rule: "empty".to_string(),
                    value: None,
                });
            }
            out.push(&id, &source.split, None, &ids)
        })
    }

    fn read(&self, source: &Source, end: i64, limits: &Limits, sink: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
        let column = self.column.as_deref();
        match self.format {
            Format::Megatron => megatron::read(source.file("bin")?, source.file("idx")?, limits, sink),
            Format::Nanogpt => flat::read_bin(source.path(), self.dtype.unwrap_or(Dtype::Uint16), end, limits, sink),
            Format::Npy => flat::read_npy(source.path(), end, limits, sink),
            Format::Mds => mds::read(source.folder()?, column, self.dtype.unwrap_or(Dtype::Int64), limits, sink),
            Format::Huggingface => huggingface::read(source.folder()?, column, limits, sink),
        }
    }
}

/// The files behind a path of the config, with their names in the key.
fn files_of(format: Format, written: &str, path: &Path) -> Result<Vec<(String, PathBuf)>> {
    let missing = |file: &Path, hint: &str| anyhow!("`{}` is missing; {hint}", file.display());
    match format {
        Format::Megatron => {
            let prefix = written.strip_suffix(".bin").or(written.strip_suffix(".idx"));
            let cut = prefix.map_or(0, |prefix| written.len() - prefix.len());
            let text = path.to_str().with_context(|| format!("path `{}` is not UTF-8", path.display()))?;
            let prefix = &text[..text.len() - cut];
            let files = ["bin", "idx"].map(|name| (name.to_string(), PathBuf::from(format!("{prefix}.{name}"))));
            match files.iter().find(|(_, file)| !file.is_file()) {
                Some((_, file)) => {
                    Err(missing(file, "Megatron's data is a pair of .bin and .idx; relative paths start at the config's `root`"))
                }
                None => Ok(files.into()),
            }
        }
        Format::Nanogpt | Format::Npy if path.is_file() => Ok(vec![("ids".to_string(), path.to_path_buf())]),
        Format::Nanogpt | Format::Npy => Err(missing(path, "relative paths start at the config's `root`")),
        Format::Mds | Format::Huggingface => {
            let index = path.join(if format == Format::Mds { "index.json" } else { "state.json" });
            if !index.is_file() {
                let hint = match format == Format::Huggingface && path.join("dataset_dict.json").is_file() {
                    true => "this folder holds several splits, name one of its folders for each",
                    false => "name the folder that holds it; relative paths start at the config's `root`",
                };
                return Err(missing(&index, hint));
            }
            let listing = || format!("listing `{}`", path.display());
            let mut files = Vec::new();
            for entry in std::fs::read_dir(path).with_context(listing)? {
                let entry = entry.with_context(listing)?;
                let name = entry.file_name().into_string().map_err(|name| anyhow!("file name {name:?} is not UTF-8"))?;
                if entry.path().is_file() && !name.starts_with('.') {
                    files.push((name, entry.path()));
                }
            }
            Ok(files)
        }
    }
}

/// What one path of the config names.
struct Source {
    /// Split and number of the path: part of the ids of documents.
    name: String,
    split: String,
    files: Vec<InputFile>,
}

/// The files were named `SPLIT/NUMBER/NAME` while planning, and come in the order of their names.
fn sources(files: &[InputFile]) -> Result<Vec<Source>> {
    let mut sources: Vec<Source> = Vec::new();
    for file in files {
        let (name, _) = file.relative.rsplit_once('/').with_context(|| format!("`{}` has no split", file.relative))?;
        let (split, _) = name.split_once('/').with_context(|| format!("`{}` has no split", file.relative))?;
        match sources.last_mut().filter(|source| source.name == name) {
            Some(source) => source.files.push(file.clone()),
            None => sources.push(Source { name: name.to_string(), split: split.to_string(), files: vec![file.clone()] }),
        }
    }
    Ok(sources)
}

impl Source {
    fn path(&self) -> &Path {
        &self.files[0].path
    }

    fn file(&self, name: &str) -> Result<&Path> {
        let found = self.files.iter().find(|file| file.relative.ends_with(&format!("/{name}")));
        Ok(&found.with_context(|| format!("`{}` has no {}", self.name, list(["bin", "idx"])))?.path)
    }

    fn folder(&self) -> Result<&Path> {
        self.path().parent().with_context(|| format!("`{}` lies in no folder", self.path().display()))
    }

    /// An id from where the document lies, as `import` makes them.
    fn id(&self, position: u64) -> [u8; 16] {
        let hash = blake3::hash(format!("{}\0{position}", self.name).as_bytes());
        hash.as_bytes()[..16].try_into().expect("a hash is longer than an id")
    }
}
