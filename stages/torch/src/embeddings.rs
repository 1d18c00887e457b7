//! The token embeddings of a network, and how they stand beside what people say of words.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Context as _, Result};
use judgements::{Pair, Question, spearman};
use model::{Job, Train};
use tch::{Device, Kind, Tensor};
use text::Tokenizer;

use crate::parameters::Parameters;

/// What the families call them.
pub const NAMES: [&str; 6] =
    ["wte.weight", "word_embeddings.weight", "tok_embeddings.weight", "embed_tokens.weight", "shared.weight", "embedding.weight"];

/// Analogies whose cosines with all words stand in memory.
const QUESTIONS_AT_ONCE: usize = 256;

/// The token embeddings (vocabulary, width) with their name; `None` when the family has none.
pub fn of(parameters: &Parameters) -> Option<(String, Tensor)> {
    parameters.named().into_iter().find(|(name, _)| NAMES.iter().any(|end| name.ends_with(end)))
}

/// Words that people have judged, as tokens.
pub struct Words {
    /// The pairs of each file: people's numbers have a scale of their own in each.
    pairs: Vec<Vec<Pair>>,
    questions: Vec<Question>,
    /// Rows of words in matrices.
    rows: HashMap<String, i64>,
    /// Of all words, one after another.
    ids: Tensor,
    /// Tokens of each word.
    counts: Vec<i64>,
}

impl Words {
    /// `None` when the settings name no files.
    pub fn new(job: &Job, settings: &Train) -> Result<Option<Words>> {
        if settings.word_similarity.is_empty() && settings.word_analogies.is_empty() {
            return Ok(None);
        }
        let pairs: Vec<Vec<Pair>> =
            settings.word_similarity.iter().map(|file| judgements::pairs(Path::new(file))).collect::<Result<_>>()?;
        let questions: Vec<Vec<Question>> =
            settings.word_analogies.iter().map(|file| judgements::questions(Path::new(file))).collect::<Result<_>>()?;
        let questions = questions.concat();
        let words: BTreeSet<&String> =
            pairs.iter().flatten().flat_map(|pair| &pair.words).chain(questions.iter().flat_map(words_of)).collect();
        let tokenizer = Tokenizer::load(&job.artifact("tokenizer")?.dir)?;
        // In texts a word follows a space, which byte-level tokens hold.
        let space = if tokenizer.bytes_of_tokens().is_some() { " " } else { "" };
        let (mut ids, mut counts) = (Vec::new(), Vec::new());
        for word in &words {
            let tokens = tokenizer.encode(&format!("{space}{word}"))?;
            counts.push(tokens.len() as i64);
            ids.extend(tokens.into_iter().map(i64::from));
        }
        let rows = words.into_iter().cloned().zip(0..).collect();
        Ok(Some(Words { pairs, questions, rows, ids: Tensor::from_slice(&ids), counts }))
    }

    /// `word_similarity`, the mean of the files' rank correlations (Spearman) of people's numbers with cosines, and `analogy_accuracy`, the share
    /// of questions whose answer is nearest (3CosAdd, Mikolov, Yih and Zweig 2013) among all words of the files. An undefined score is left out.
    pub fn scores(&self, parameters: &Parameters) -> Result<BTreeMap<String, f64>> {
        let (_, embeddings) =
            of(parameters).context("word_similarity, word_analogies: this family has no token embeddings; leave them out")?;
        let units = self.units(&embeddings);
        let similarity = self.similarity(&units)?;
        let accuracy = if self.questions.is_empty() { None } else { Some(self.accuracy(&units)?) };
        let scores = [("word_similarity", similarity), ("analogy_accuracy", accuracy)];
        Ok(scores.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))).collect())
    }

    /// Vectors of length one (words, width), a word of several tokens having the direction of their mean; zeros for one without tokens.
    fn units(&self, embeddings: &Tensor) -> Tensor {
        let rows = embeddings.detach().index_select(0, &self.ids.to_device(embeddings.device())).to_device(Device::Cpu);
        let sum = |word: &Tensor| word.sum_dim_intlist(0, false, Kind::Float);
        let sums: Vec<Tensor> = rows.split_with_sizes(&self.counts, 0).iter().map(sum).collect();
        let sums = Tensor::stack(&sums, 0);
        &sums / sums.norm_scalaropt_dim(2, 1, true).clamp_min(f64::from(f32::MIN_POSITIVE))
    }

    fn similarity(&self, units: &Tensor) -> Result<Option<f64>> {
        let mut correlations = Vec::new();
        for pairs in &self.pairs {
            let [a, b] = [0, 1].map(|side| units.index_select(0, &self.numbers(pairs.iter().map(|pair| &pair.words[side]))));
            let cosines = Vec::<f64>::try_from((a * b).sum_dim_intlist(1, false, Kind::Double))?;
            let gold: Vec<f64> = pairs.iter().map(|pair| pair.gold).collect();
            let Ok(correlation) = spearman(&gold, &cosines) else { return Ok(None) };
            correlations.push(correlation);
        }
        Ok((!correlations.is_empty()).then(|| correlations.iter().sum::<f64>() / correlations.len() as f64))
    }

    fn accuracy(&self, units: &Tensor) -> Result<f64> {
        let mut right = 0;
        for questions in self.questions.chunks(QUESTIONS_AT_ONCE) {
            let [a, b, c] = [0, 1, 2].map(|place| self.numbers(questions.iter().map(|question| &question.given[place])));
            let of = |numbers: &Tensor| units.index_select(0, numbers);
            let cosines = (of(&b) - of(&a) + of(&c)).matmul(&units.tr()); // (questions, words)
            let given = Tensor::stack(&[a, b, c], 1);
            let found = cosines.scatter_value(1, &given, f64::NEG_INFINITY).argmax(1, false);
            let expected = self.numbers(questions.iter().map(|question| &question.expected));
            right += found.eq_tensor(&expected).sum(Kind::Int64).int64_value(&[]);
        }
        Ok(right as f64 / self.questions.len() as f64)
    }

    fn numbers<'a>(&self, words: impl Iterator<Item = &'a String>) -> Tensor {
        Tensor::from_slice(&words.map(|word| self.rows[word]).collect::<Vec<i64>>())
    }
}

fn words_of(question: &Question) -> impl Iterator<Item = &String> {
    question.given.iter().chain([&question.expected])
}
