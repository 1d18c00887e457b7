//! `word2vec`: vectors of words from the words around them (Mikolov et al. 2013).
//!
//! Windows, subsampling, learning rate and starting weights are those of word2vec.c and gensim.

mod train;

use anyhow::{Result, bail};
use engine::{Context, Disk, Draft, Inputs, Kind, Port, Site, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::epochs::epochs;
use crate::kernel::groups;
use crate::matrix::Matrix;
use crate::output::{Format, Output};
use crate::random::Random;
use crate::words::{Splitter, Within, Words};

/// What is predicted from what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// A word from the mean of the words around it: fast.
    #[default]
    Cbow,
    /// A word from each of the words around it: better with few words.
    SkipGram,
}

/// How the probability of a word is approximated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// The word against a few others, drawn by their frequency.
    #[default]
    NegativeSampling,
    /// The word's way through a Huffman tree.
    HierarchicalSoftmax,
}

/// Learns word vectors.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Word2vec {
    /// `cbow` (a word from the mean of those around it) or `skip-gram` (a word from each of those around it; slower, better for rare words).
    #[serde(default)]
    pub architecture: Architecture,
    /// `negative-sampling` or `hierarchical-softmax`.
    #[serde(default)]
    pub objective: Objective,
    /// Words drawn against each true one, with negative sampling.
    #[serde(default = "default_negative")]
    pub negative: usize,
    /// They are drawn by their counts to this power; 0 draws all alike.
    #[serde(default = "default_negative_exponent")]
    pub negative_exponent: f64,
    /// Numbers in a vector.
    #[serde(default = "default_vector_size")]
    pub vector_size: usize,
    /// Most words on each side that a word is predicted from; each word draws how many from 1 to this.
    #[serde(default = "default_window")]
    pub window: usize,
    /// Passes over the corpus.
    #[serde(default = "default_epochs")]
    pub epochs: usize,
    /// The learning rate at the start.
    #[serde(default = "default_learning_rate")]
    pub learning_rate: f64,
    /// The learning rate at the end; it falls linearly with the words read.
    #[serde(default = "default_learning_rate_min")]
    pub learning_rate_min: f64,
    /// Words more frequent than this share of the corpus are left out at random, the more the more frequent; 0 keeps all.
    #[serde(default = "default_subsample")]
    pub subsample: f64,
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
    /// Files for other programs, below `files/`: `text` and `binary` as word2vec writes them, `glove`.
    #[serde(default = "default_files")]
    pub files: Vec<Format>,
    /// Train with one thread, so that every run gives the same bytes. Otherwise threads share the weights without locks (Hogwild), which gives
    /// other vectors in every run.
    #[serde(default)]
    pub deterministic: bool,
}

fn default_negative() -> usize {
    5
}

fn default_negative_exponent() -> f64 {
    0.75
}

fn default_vector_size() -> usize {
    100
}

fn default_window() -> usize {
    5
}

fn default_epochs() -> usize {
    5
}

fn default_learning_rate() -> f64 {
    0.025
}

fn default_learning_rate_min() -> f64 {
    1e-4
}

fn default_subsample() -> f64 {
    1e-3
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
    vec![Format::Text, Format::Binary]
}

impl Stage for Word2vec {
    const NAME: &'static str = "word2vec";
    const ABOUT: &'static str = "Learns word vectors from the words around each word (CBOW or skip-gram).";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Vectors;
    const SEEDED: bool = true;

    fn prepare(&mut self, _: &mut Site) -> Result<()> {
        self.check()
    }

    fn disk(&self, input_bytes: u64) -> Disk {
        // Four bytes a word twice, of texts that Parquet has packed to about half.
        Disk { kept: input_bytes / 2, scratch: input_bytes * 4, selected: 0 }
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let table = inputs.artifact("documents")?.table("documents")?;
        let corpus = self.settings_of_words().corpus(ctx, &table, draft)?;
        let vocabulary = &corpus.vocabulary;
        let stride = groups(self.vector_size);
        vocabulary.check_memory(2 * Matrix::bytes(vocabulary.len(), stride), ctx.memory)?;
        let task = train::Task::new(self, ctx, &corpus);
        let start = || {
            let mut random = Random::new(&[ctx.seed]);
            let input = Matrix::uniform(vocabulary.len(), self.vector_size, stride, &mut random);
            vec![input, Matrix::zeros(vocabulary.len(), stride)]
        };
        let state = epochs(ctx, draft, self.epochs, start, |weights, epoch| task.pass(&weights[0], &weights[1], epoch))?;
        let output = Output {
            vocabulary,
            size: self.vector_size,
            vector: &|word| state.weights[0].numbers(word, self.vector_size),
            losses: &state.losses,
            formats: &self.files,
            volatile: !self.deterministic,
        };
        output.write(ctx, draft)
    }
}

impl Word2vec {
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
        if self.objective == Objective::NegativeSampling && self.negative == 0 {
            bail!("`negative` must be above 0, or `objective` be `hierarchical-softmax`");
        }
        // None drawn is what hierarchical softmax does, so whoever says so is right.
        let idle = [
            ("negative", ![0, default_negative()].contains(&self.negative)),
            ("negative_exponent", self.negative_exponent != default_negative_exponent()),
        ];
        if let Some((name, _)) = idle.iter().find(|(_, given)| *given && self.objective == Objective::HierarchicalSoftmax) {
            bail!("`{name}` does something with objective = \"negative-sampling\" alone; leave it out");
        }
        if !(self.learning_rate > 0.0 && (0.0..=self.learning_rate).contains(&self.learning_rate_min)) {
            bail!("`learning_rate` must be above 0 and `learning_rate_min` between 0 and it");
        }
        if !(0.0..1.0).contains(&self.subsample) || !self.negative_exponent.is_finite() {
            bail!("`subsample` must be at least 0 and below 1, `negative_exponent` a number");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn settings_of_draws_are_for_negative_sampling() {
        let check = |settings: Value| {
            let stage: Word2vec = serde_json::from_value(settings).unwrap();
            stage.check().err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(check(json!({"negative": 9, "negative_exponent": 0.5})), "");
        assert_eq!(check(json!({"objective": "hierarchical-softmax", "negative": 0})), "");
        let expected = "`negative` does something with objective = \"negative-sampling\" alone; leave it out";
        assert_eq!(check(json!({"objective": "hierarchical-softmax", "negative": 9})), expected);
        let expected = expected.replacen("negative", "negative_exponent", 1);
        assert_eq!(check(json!({"objective": "hierarchical-softmax", "negative_exponent": 0.5})), expected);
    }
}
