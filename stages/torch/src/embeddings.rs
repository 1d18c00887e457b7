//! The token embeddings of a network, and how they stand beside what people say of words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use model::{Job, Train};
use tch::{Device, Kind, Tensor};
use text::Tokenizer;
use vectors::judgements::Judgements;

use crate::parameters::Parameters;

/// What the families call them.
const NAMES: [&str; 6] =
    ["wte.weight", "word_embeddings.weight", "tok_embeddings.weight", "embed_tokens.weight", "shared.weight", "embedding.weight"];

/// The token embeddings (vocabulary, width) with their name; `None` when the family has none.
pub fn of(parameters: &Parameters) -> Option<(String, Tensor)> {
    parameters.named().into_iter().find(|(name, _)| NAMES.iter().any(|end| name.ends_with(end)))
}

/// Words that people have judged, as tokens.
pub struct Words {
    judgements: Judgements,
    /// Of all words, one after another.
    ids: Tensor,
    /// Tokens of each word.
    counts: Vec<i64>,
    threads: usize,
}

impl Words {
    /// `None` when the settings name no files.
    pub fn new(job: &Job, settings: &Train) -> Result<Option<Words>> {
        if settings.word_similarity.is_empty() && settings.word_analogies.is_empty() {
            return Ok(None);
        }
        let paths = |names: &[String]| names.iter().map(PathBuf::from).collect::<Vec<PathBuf>>();
        let judgements = Judgements::read(&paths(&settings.word_similarity), &paths(&settings.word_analogies))?;
        let tokenizer = Tokenizer::load(&job.artifact("tokenizer")?.dir)?;
        // In texts a word follows a space, which byte-level tokens hold.
        let space = if tokenizer.bytes_of_tokens().is_some() { " " } else { "" };
        let (mut ids, mut counts) = (Vec::new(), Vec::new());
        for word in judgements.words() {
            let tokens = tokenizer.encode(&format!("{space}{word}"))?;
            counts.push(tokens.len() as i64);
            ids.extend(tokens.into_iter().map(i64::from));
        }
        Ok(Some(Words { judgements, ids: Tensor::from_slice(&ids), counts, threads: job.threads_of_rank() }))
    }

    /// `word_similarity` and `analogy_accuracy`, where they are defined.
    pub fn scores(&self, parameters: &Parameters) -> Result<BTreeMap<String, f64>> {
        let (_, embeddings) =
            of(parameters).context("word_similarity, word_analogies: this family has no token embeddings; leave them out")?;
        let rows = embeddings.detach().index_select(0, &self.ids.to_device(embeddings.device())).to_device(Device::Cpu);
        // A text without tokens has zeros.
        let mean = |word: &Tensor| word.sum_dim_intlist(0, false, Kind::Float) / word.size()[0].max(1);
        let means: Vec<Tensor> = rows.split_with_sizes(&self.counts, 0).iter().map(mean).collect();
        self.judgements.scores(self.threads, &Vec::<f32>::try_from(Tensor::cat(&means, 0))?, rows.size()[1] as usize)
    }
}
