//! `tokenize`: documents become shards, either packed for pre-training or as examples with an answer.

pub(crate) mod encoded;
pub(crate) mod examples;
mod fill;
mod layouts;
pub(crate) mod packed;
mod packing;
mod plan;
mod special;
mod summary;
mod weights;

use anyhow::{Context as _, Result, bail};
use engine::{Artifact, Context, Disk, Draft, Inputs, Kind, Port, Site, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shards::Width;
use text::Tokenizer;

use packing::{Dtype, FileFormat, Packing};

/// What a row of a shard is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Documents one after another, cut into rows of one length.
    #[default]
    Packed,
    /// A text or a pair of texts with its label.
    Classify,
    /// A prompt with its target.
    Complete,
    /// Words with tags.
    Tag,
    /// A question and a window of its context, with the place of the answer.
    Answer,
    /// A source with its target.
    Translate,
    /// Two segments of sentences, for BERT's pre-training.
    Pairs,
}

impl Layout {
    fn name(self) -> &'static str {
        match self {
            Layout::Packed => "packed",
            Layout::Classify => "classify",
            Layout::Complete => "complete",
            Layout::Tag => "tag",
            Layout::Answer => "answer",
            Layout::Translate => "translate",
            Layout::Pairs => "pairs",
        }
    }
}

/// What the model predicts, and so which special tokens stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// The next token (GPT).
    #[default]
    Causal,
    /// Hidden tokens (BERT).
    Masked,
    /// A target, from a source that it reads as a whole (T5).
    EncoderDecoder,
}

impl Model {
    fn name(self) -> &'static str {
        match self {
            Model::Causal => "causal",
            Model::Masked => "masked",
            Model::EncoderDecoder => "encoder-decoder",
        }
    }
}

/// Turns documents into tokens.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tokenize {
    /// `packed` (for pre-training), `classify` (text or pair of texts, and label), `complete` (prompt and target), `tag` (words and tags), `answer`
    /// (question, context and answer), `translate` (source and target) or `pairs` (two segments of sentences, for pre-training).
    #[serde(default)]
    pub layout: Layout,
    /// `causal` (GPT): documents end in the end-of-text token. `masked` (BERT): rows begin with `[CLS]`, documents end in `[SEP]`.
    /// `encoder-decoder` (T5): texts end in the end-of-text token or `[SEP]`; for all layouts but `packed`, `complete` and `pairs`.
    #[serde(default)]
    pub model: Model,
    /// Most tokens of a row that the model reads at once. Token 0 of a packed row is context (for `causal` one more than these), so its spans
    /// begin at index 1.
    #[serde(default = "default_sequence_length")]
    pub sequence_length: usize,
    /// Column that holds the text, for `packed`, `classify` and `pairs`.
    #[serde(default = "default_text")]
    pub text: String,
    /// Column that holds the label, for `classify`. Documents without one are rejected.
    #[serde(default)]
    pub label: Option<String>,
    /// What the label is, for `classify`: `class`, `multi-label` (a list of classes, or a JSON list in text) or `number` (for regression).
    #[serde(default)]
    pub label_type: examples::LabelType,
    /// Column that holds a second text, for `classify`. Pairs that are too long are cut at the longer text.
    #[serde(default)]
    pub text_pair: Option<String>,
    /// Column that holds the prompt, for `complete`.
    #[serde(default = "default_text")]
    pub prompt: String,
    /// Column that holds the target, for `complete` and `translate`.
    #[serde(default)]
    pub target: Option<String>,
    /// What stands between prompt and target, for `complete`.
    #[serde(default = "default_separator")]
    pub separator: String,
    /// Which documents share a row, for `packed`: `pack` (one after another, cut where a row ends), `best-fit` (only documents longer than a row
    /// are cut) or `one-per-row` (the end of longer ones is dropped and counted in `tokens_cut`).
    #[serde(default)]
    pub packing: Packing,
    /// Whether each document begins with the tokenizer's beginning-of-text token, for `packed`; by default not.
    #[serde(default)]
    pub bos: Option<bool>,
    /// Whether each document ends in the end-of-text token or `[SEP]`, for `packed`; by default it does.
    #[serde(default)]
    pub eos: Option<bool>,
    /// `arrow` (memory-mapped by `train`) or `parquet` (for SQL and other tools alone), for `packed`.
    #[serde(default)]
    pub format: FileFormat,
    /// Tokens of a shard, about, for `packed`; by default a 32nd of all, at least 8 and at most 32 times 2^20 (64 MiB at two bytes each).
    #[serde(default)]
    pub shard_tokens: Option<usize>,
    /// `u16` or `u32`; by default the narrowest type that holds all ids of the tokenizer.
    #[serde(default)]
    pub dtype: Option<Dtype>,
    /// Longer texts are rejected (`too_long`), for `packed`: a text is encoded as a whole, which takes six times its length in memory.
    #[serde(default = "default_document_bytes_max")]
    pub document_bytes_max: usize,
    /// Column that holds the words, for `tag`: a list, a JSON list in text, or text with white space between words.
    #[serde(default)]
    pub words: Option<String>,
    /// Column that holds the tags of the words, written as they are, for `tag`.
    #[serde(default)]
    pub tags: Option<String>,
    /// How the column holds entities, for `tag`: `iob1`, `iob2`, `bilou` or `iobes`; unless given, the one in which most rows are right.
    #[serde(default)]
    pub tag_scheme: Option<examples::Scheme>,
    /// How labels hold entities, for `tag`.
    #[serde(default)]
    pub scheme: examples::Scheme,
    /// Whether all tokens of a word have a label and not only its first, for `tag`.
    #[serde(default)]
    pub label_all: bool,
    /// Column that holds the question, for `answer`.
    #[serde(default)]
    pub question: Option<String>,
    /// Column that holds the context in which the answer stands, for `answer`.
    #[serde(default = "default_text")]
    pub context: String,
    /// Column that holds the text of the answer, for `answer`; of lists the first. Empty where the context has none.
    #[serde(default)]
    pub answer: Option<String>,
    /// Column that holds the character of the context at which the answer begins, from 0 on, for `answer`.
    #[serde(default)]
    pub answer_start: Option<String>,
    /// Tokens that two windows of a long context share, for `answer`.
    #[serde(default = "default_stride")]
    pub stride: usize,
    /// Tokens at which a question is cut, for `answer`.
    #[serde(default = "default_question_length")]
    pub question_length: usize,
    /// Column that holds the source, for `translate`.
    #[serde(default)]
    pub source: Option<String>,
    /// Most tokens of a target, for `translate`; as of a source (`sequence_length`) unless given.
    #[serde(default)]
    pub target_length: Option<usize>,
    /// What becomes of a source or target that is too long, for `translate`: `reject` or `cut`.
    #[serde(default)]
    pub too_long: examples::TooLong,
    /// What is to be said of the second segment, for `pairs`: `next-sentence` (BERT) or `sentence-order` (ALBERT).
    #[serde(default)]
    pub objective: examples::Objective,
    /// Share of the documents whose rows aim at a random length instead of a full one, for `pairs`.
    #[serde(default = "default_short_probability")]
    pub short_probability: f64,
    /// Column that holds the weight of each document in the loss of `train`: a number from 0 on. Documents with another or none are rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// Weights by the values of a column, `{ column = "source", weights = { web = 0.5, books = 2 } }`; other documents weigh 1. With `weight` too,
    /// the product counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_weights: Option<weights::GroupWeights>,
    /// The run's seed, for `pairs` alone: the other layouts draw nothing.
    #[serde(default)]
    #[schemars(skip)]
    pub seed: Option<u64>,
}

fn default_document_bytes_max() -> usize {
    256 << 20
}

fn default_sequence_length() -> usize {
    512
}

fn default_text() -> String {
    "text".to_string()
}

fn default_separator() -> String {
    "\n".to_string()
}

fn default_stride() -> usize {
    128
}

fn default_question_length() -> usize {
    64
}

fn default_short_probability() -> f64 {
    0.1
}

impl Stage for Tokenize {
    const NAME: &'static str = "tokenize";
    const ABOUT: &'static str = "Turns documents into shards of tokens: packed, with labels or tags, questions with answers, sources with targets, or pairs of sentences.";
    const VERSION: u32 = 5;
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents), Port::one("tokenizer", Kind::Tokenizer)];
    const OUTPUT: Kind = Kind::Tokens;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        if !(8..=1 << 20).contains(&self.sequence_length) {
            bail!("`sequence_length` is {}: it must be from 8 to {}", self.sequence_length, 1 << 20);
        }
        layouts::check(self)?;
        packing::check(self)?;
        special::check(site, self.model, self.bos)?;
        self.check_weights()?;
        examples::prepare(self, site.seed())
    }

    fn disk(&self, input_bytes: u64) -> Disk {
        // Text is packed well, tokens are not; until rows are made they are there twice.
        Disk { kept: 2 * input_bytes, scratch: 2 * input_bytes, ..Disk::default() }
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let table = inputs.artifact("documents")?.table("documents")?;
        let artifact = inputs.artifact("tokenizer")?;
        let encoder = Encoder::load(artifact, self.model, self.dtype)?;
        self.facts(draft, &encoder)?;
        draft.fact("frame", self.frame(&encoder))?;
        match self.layout {
            Layout::Packed => packed::run(self, ctx, &table, &encoder, draft),
            _ => examples::run(&examples::Job { settings: self, ctx, table: &table, encoder: &encoder, draft }),
        }?;
        if let Some(difference) = encoder.tokenizer.fell_back() {
            ctx.warn(&format!(
                "the fast encoder differs from the crate `tokenizers`, which encoded everything: {difference}; please report this"
            ));
        }
        Ok(())
    }
}

impl Tokenize {
    pub(crate) fn facts(&self, draft: &Draft, encoder: &Encoder) -> Result<()> {
        for name in
            ["documents_in", "documents_stored", "documents_rejected", "tokens_in", "tokens_stored", "tokens_cut", "tokens_rejected"]
        {
            draft.count(name, 0);
        }
        let special = encoder.tokenizer.special();
        draft.fact("layout", self.layout)?;
        draft.fact("model", self.model)?;
        draft.fact("sequence_length", self.sequence_length)?;
        draft.fact("vocab_size", encoder.vocabulary_size)?;
        draft.fact("dtype", encoder.width.name())?;
        // By which `train` and `predict` know whose ids these are.
        draft.fact("tokenizer", &encoder.hash)?;
        let ids = [
            ("pad", special.pad),
            ("bos", special.bos),
            ("eos", special.eos),
            ("cls", special.cls),
            ("sep", special.sep),
            ("mask", special.mask),
        ];
        for (name, id) in ids {
            draft.fact(&format!("{name}_id"), id)?;
        }
        if self.layout == Layout::Packed {
            draft.fact("packing", self.packing)?;
            draft.fact("format", self.format)?;
        }
        if self.layout == Layout::Complete {
            draft.fact("separator", &self.separator)?;
        }
        if self.has_weights() {
            draft.fact("weights", true)?;
        }
        Ok(())
    }

    /// What stands before and after a text that a model is to read, as in the rows it learns from.
    fn frame(&self, encoder: &Encoder) -> [Vec<u32>; 2] {
        let (before, after) = match (self.model, self.layout) {
            (Model::Masked, _) => (encoder.begin, Some(encoder.end)),
            (Model::EncoderDecoder, _) | (Model::Causal, Layout::Classify) => (None, Some(encoder.end)),
            // Rows that begin with a document have the token before it, too.
            (Model::Causal, Layout::Packed) if self.bos == Some(true) || self.packing != Packing::Pack => {
                (encoder.tokenizer.special().bos.or(Some(encoder.end)), None)
            }
            (Model::Causal, _) => (None, None),
        };
        [before.into_iter().collect(), after.into_iter().collect()]
    }

    /// Tokens of a packed row: one more than the model reads, where each predicts the next.
    fn row_tokens(&self) -> usize {
        match self.model {
            Model::Causal => self.sequence_length + 1,
            Model::Masked | Model::EncoderDecoder => self.sequence_length,
        }
    }
}

/// A tokenizer with the tokens that frame a document.
pub(crate) struct Encoder {
    /// What errors call it.
    name: String,
    /// Of the tokenizer.json.
    hash: Option<String>,
    pub(crate) tokenizer: Tokenizer,
    /// Ids are below this; to ask the tokenizer takes as long as its vocabulary is large.
    vocabulary_size: usize,
    width: Width,
    /// `[CLS]`, for masked models.
    begin: Option<u32>,
    /// End of text, or `[SEP]`.
    pub(crate) end: u32,
    padding: u32,
}

impl Encoder {
    pub(crate) fn load(artifact: &Artifact, model: Model, dtype: Option<Dtype>) -> Result<Encoder> {
        let name = format!("the tokenizer of step `{}`", artifact.manifest.step);
        let encoder = Encoder::new(Tokenizer::load(&artifact.dir)?, name.clone(), model, dtype).context(name)?;
        Ok(Encoder { hash: artifact.hash_of("tokenizer.json").map(str::to_string), ..encoder })
    }

    fn new(tokenizer: Tokenizer, name: String, model: Model, dtype: Option<Dtype>) -> Result<Encoder> {
        let (begin, end) = special::frame(tokenizer.special(), model)?;
        let vocabulary_size = tokenizer.vocabulary_size();
        let width = Dtype::width(dtype, vocabulary_size)?;
        Ok(Encoder { name, hash: None, vocabulary_size, width, begin, end, padding: tokenizer.pad_or_end(), tokenizer })
    }
}
