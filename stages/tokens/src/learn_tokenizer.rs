//! `learn-tokenizer`: a vocabulary from the documents of the training split, or somebody else's tokenizer.json.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, StringArray};
use engine::{Context, Draft, Inputs, Kind, Part, Port, Site, Stage, Table, schema};
use parquet::file::reader::{FileReader, SerializedFileReader};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use text::{Tokenizer, WordCounts};

use crate::documents::{self, TRAIN};

/// How the tokenizer cuts text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TokenizerKind {
    /// As GPT-2: any text comes back exactly; `<|endoftext|>` ends a document.
    #[default]
    ByteLevelBpe,
    /// As BERT: each Han character is a word; `[PAD] [UNK] [CLS] [SEP] [MASK]`.
    #[serde(rename = "wordpiece")]
    WordPiece,
}

/// Learns a tokenizer.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LearnTokenizer {
    /// `byte-level-bpe` (for GPT) or `wordpiece` (for BERT).
    #[serde(default)]
    pub kind: TokenizerKind,
    /// Most tokens to learn, special ones included. Up to 65536, tokens are stored in two bytes.
    #[serde(default = "default_vocabulary_size")]
    pub vocabulary_size: usize,
    /// A pair is merged, and a character of `wordpiece` kept, from this many occurrences on.
    #[serde(default = "default_min_frequency")]
    pub min_frequency: u64,
    /// The split to learn from; documents that were not split are all read.
    #[serde(default = "default_split")]
    pub split: String,
    /// Column that holds the text.
    #[serde(default = "default_text")]
    pub text: String,
    /// Only for `wordpiece`: lower-case, and accents stripped.
    #[serde(default = "default_lowercase")]
    pub lowercase: bool,
    /// Learn from about this many bytes of text, of documents chosen by the hash of their content. Memory grows with it.
    #[serde(default = "default_max_bytes")]
    pub max_bytes: u64,
    /// A tokenizer.json of somebody else, below the config's root, to use instead of learning. The settings above then mean nothing.
    #[serde(default)]
    pub file: Option<String>,
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

fn default_lowercase() -> bool {
    true
}

fn default_max_bytes() -> u64 {
    32 << 20
}

impl Stage for LearnTokenizer {
    const NAME: &'static str = "learn-tokenizer";
    const ABOUT: &'static str = "Learns a byte-level BPE or WordPiece tokenizer, or takes over a tokenizer.json.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Tokenizer;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        if let Some(file) = &self.file {
            let found = site.files(std::slice::from_ref(file))?;
            if found.len() != 1 {
                bail!("`file` must name one tokenizer.json, `{file}` matches {} files", found.len());
            }
            // It tells which special token has which role, so it is part of the key where it exists.
            let beside = Path::new(file).with_file_name("tokenizer_config.json").to_string_lossy().into_owned();
            if site.text_file(&beside)?.is_some() {
                site.files(&[beside])?;
            }
        } else if self.kind == TokenizerKind::ByteLevelBpe && self.vocabulary_size < 257 {
            bail!(
                "`vocabulary_size` is {}: byte-level BPE needs at least 257, one for each byte and one for the end of text",
                self.vocabulary_size
            );
        } else if self.vocabulary_size < 64 {
            bail!("`vocabulary_size` is {}: at least 64 are needed", self.vocabulary_size);
        }
        Ok(())
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let tokenizer = match inputs.files().iter().find(|file| !file.path.ends_with("tokenizer_config.json")) {
            Some(file) => Tokenizer::load(&file.path)?,
            None => self.learn(ctx, &inputs.artifact("documents")?.table("documents")?, draft)?,
        };
        tokenizer.save(draft.dir(), None)?;
        draft.fact("vocab_size", tokenizer.vocabulary_size())?;
        draft.declare("vocabulary", schema::vocabulary())?;
        draft.parts(ctx, &[Part { bytes: 0 }], |_, part| {
            let vocabulary = tokenizer.vocabulary();
            let ids = Int64Array::from_iter_values(vocabulary.iter().map(|(id, _, _)| i64::from(*id)));
            let tokens = StringArray::from_iter_values(vocabulary.iter().map(|(_, token, _)| token));
            let special = BooleanArray::from_iter(vocabulary.iter().map(|(_, _, special)| Some(*special)));
            part.write("vocabulary", &RecordBatch::try_new(schema::vocabulary(), vec![Arc::new(ids), Arc::new(tokens), Arc::new(special)])?)
        })
    }
}

impl LearnTokenizer {
    fn learn(&self, ctx: &Context, table: &Table, draft: &Draft) -> Result<Tokenizer> {
        let text = self.text.as_str();
        table.column(text)?;
        let files: Vec<usize> =
            (0..table.files.len()).filter(|file| table.files[*file].split.as_ref().is_none_or(|split| *split == self.split)).collect();
        let sizes = files.iter().map(|file| bytes_of_column(table, *file, text)).collect::<Result<Vec<u64>>>()?;
        let total: u64 = sizes.iter().sum();
        // A document is taken when its hash lies below this share of all hashes, so the choice hangs on nothing but its content.
        let share = (self.max_bytes as f64 / total.max(1) as f64).min(1.0);
        let limit = (share * u64::MAX as f64) as u64;
        let mut counts = WordCounts::new(self.kind());
        let (mut read, mut taken_documents, mut taken_bytes) = (0, 0i64, 0i64);
        for (file, size) in files.iter().zip(sizes) {
            for batch in documents::read(table, *file, &[text, "content_hash"])? {
                ctx.check_stop()?;
                let batch = batch?;
                let (texts, hashes) = (batch.strings(text)?, batch.ids("content_hash")?);
                let taken: Vec<&str> = (0..batch.len())
                    .filter(|row| texts.is_valid(*row) && batch.split(*row) == self.split && head(hashes.value(*row)) <= limit)
                    .map(|row| texts.value(row))
                    .collect();
                taken_documents += taken.len() as i64;
                taken_bytes += taken.iter().map(|text| text.len() as i64).sum::<i64>();
                counts.add(&taken);
            }
            read += size;
            ctx.progress(read, total, "B");
        }
        if taken_documents == 0 {
            bail!("there is no document to learn from in the split `{}`", self.split);
        }
        draft.count("learned_documents", taken_documents);
        draft.count("learned_bytes", taken_bytes);
        draft.count("different_pieces", counts.different_pieces() as i64);
        counts.learn(self.vocabulary_size, self.min_frequency)
    }

    fn kind(&self) -> text::Kind {
        match self.kind {
            TokenizerKind::ByteLevelBpe => text::Kind::ByteLevelBpe,
            TokenizerKind::WordPiece => text::Kind::WordPiece { lowercase: self.lowercase },
        }
    }
}

fn head(hash: &[u8]) -> u64 {
    u64::from_le_bytes(hash[..8].try_into().expect("hashes have 16 bytes"))
}

/// The bytes of a column before compression, from the file's footer.
fn bytes_of_column(table: &Table, file: usize, column: &str) -> Result<u64> {
    let path = table.files[file].data();
    let reader = File::open(path).map_err(anyhow::Error::from).and_then(|file| Ok(SerializedFileReader::new(file)?));
    let reader = reader.with_context(|| format!("opening `{}`", path.display()))?;
    let groups = reader.metadata().row_groups().iter();
    let columns = groups.flat_map(|group| group.columns()).filter(|chunk| chunk.column_path().string() == column);
    Ok(columns.map(|chunk| chunk.uncompressed_size() as u64).sum())
}
