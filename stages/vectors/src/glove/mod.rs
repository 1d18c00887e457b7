//! `glove`: vectors of words from how often words stand near each other (Pennington, Socher and Manning 2014).
//!
//! Windows, weights of distances, starting weights and AdaGrad are those of the reference program.

mod cooccur;
mod train;

use anyhow::{Result, bail};
use engine::{Context, Disk, Draft, Inputs, Kind, Port, Site, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::epochs::epochs;
use crate::output::{Format, Output};
use crate::words::{Splitter, Within, Words};

/// Learns word vectors.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Glove {
    /// Numbers in a vector.
    #[serde(default = "default_vector_size")]
    pub vector_size: usize,
    /// Words on each side that count; one at a distance of d counts 1/d.
    #[serde(default = "default_window")]
    pub window: usize,
    /// Passes over the table of co-occurrences.
    #[serde(default = "default_epochs")]
    pub epochs: usize,
    /// The learning rate at the start, which AdaGrad lowers.
    #[serde(default = "default_learning_rate")]
    pub learning_rate: f64,
    /// Pairs that co-occur so often have the full weight.
    #[serde(default = "default_x_max")]
    pub x_max: f64,
    /// Rarer pairs have the weight (x / `x_max`) to this power.
    #[serde(default = "default_alpha")]
    pub alpha: f64,
    /// Words that occur less often get no vector and are skipped.
    #[serde(default = "default_min_count")]
    pub min_count: u64,
    /// Keep so many of the most frequent words at most.
    #[serde(default)]
    pub vocabulary_max: Option<usize>,
    /// `unicode` (words with a letter or digit; each Han character is one) or `whitespace` (for texts that were cut into words before).
    #[serde(default)]
    pub words: Splitter,
    /// Words are taken in lower case.
    #[serde(default = "default_lowercase")]
    pub lowercase: bool,
    /// Windows stay within the `document`, `line` or `sentence`.
    #[serde(default)]
    pub within: Within,
    /// Column that holds the text.
    #[serde(default = "default_text")]
    pub text: String,
    /// The split to learn from; documents that were not split are all read.
    #[serde(default = "default_split")]
    pub split: String,
    /// Files for other programs, below `files/`: `glove`, or `text` and `binary` as word2vec writes them.
    #[serde(default = "default_files")]
    pub files: Vec<Format>,
    /// Train with one thread, so that every run gives the same bytes. Otherwise threads share the weights without locks (Hogwild), which gives
    /// other vectors in every run.
    #[serde(default)]
    pub deterministic: bool,
}

fn default_vector_size() -> usize {
    100
}

fn default_window() -> usize {
    15
}

fn default_epochs() -> usize {
    25
}

fn default_learning_rate() -> f64 {
    0.05
}

fn default_x_max() -> f64 {
    100.0
}

fn default_alpha() -> f64 {
    0.75
}

fn default_min_count() -> u64 {
    5
}

fn default_lowercase() -> bool {
    true
}

fn default_text() -> String {
    "text".to_string()
}

fn default_split() -> String {
    "train".to_string()
}

fn default_files() -> Vec<Format> {
    vec![Format::Glove]
}

impl Stage for Glove {
    const NAME: &'static str = "glove";
    const ABOUT: &'static str = "Learns word vectors from counts of words that stand near each other (GloVe).";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Vectors;
    const SEEDED: bool = true;

    fn prepare(&mut self, _: &mut Site) -> Result<()> {
        self.check()
    }

    fn disk(&self, input_bytes: u64) -> Disk {
        // A byte of Parquet holds about a third of a word, and a word brings about two pairs that did not stand near each other before, kept twice.
        Disk { kept: input_bytes / 2, scratch: input_bytes * 24, selected: 0 }
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let table = inputs.artifact("documents")?.table("documents")?;
        let corpus = self.settings_of_words().corpus(ctx, &table, draft)?;
        let vocabulary = &corpus.vocabulary;
        vocabulary.check_memory(train::bytes(vocabulary.len(), self.vector_size), ctx.memory)?;
        let cells = cooccur::cells(self, ctx, &corpus, draft)?;
        let start = || train::start(vocabulary.len(), self.vector_size, ctx.seed);
        let state = epochs(ctx, draft, self.epochs, start, |weights, epoch| train::pass(self, ctx, &cells, weights, epoch))?;
        let [words, contexts] = state.weights.as_slice() else { bail!("there are not two matrices of weights") };
        let sum = |word: usize| -> Vec<f32> {
            let (word, context) = (words.numbers(word, self.vector_size), contexts.numbers(word, self.vector_size));
            word.iter().zip(context).map(|(a, b)| a + b).collect()
        };
        draft.count("cells", cells.count as i64);
        let output = Output {
            vocabulary,
            size: self.vector_size,
            vector: &sum,
            losses: &state.losses,
            formats: &self.files,
            volatile: !self.deterministic,
        };
        output.write(ctx, draft)
    }
}

impl Glove {
    fn settings_of_words(&self) -> Words<'_> {
        Words {
            text: &self.text,
            split: &self.split,
            words: self.words,
            lowercase: self.lowercase,
            within: self.within,
            min_count: self.min_count,
            vocabulary_max: self.vocabulary_max,
        }
    }

    fn check(&self) -> Result<()> {
        self.settings_of_words().check()?;
        if self.vector_size == 0 || self.window == 0 || self.epochs == 0 {
            bail!("`vector_size`, `window` and `epochs` must be above 0");
        }
        let positive = |x: f64| x > 0.0 && x.is_finite();
        if !positive(self.learning_rate) || !positive(self.x_max) || !(0.0..=10.0).contains(&self.alpha) {
            bail!("`learning_rate` and `x_max` must be above 0, `alpha` at least 0");
        }
        Ok(())
    }
}
