//! Files of what people say of words: similarities and analogies. `score-vectors` holds word vectors against them, `train` its embeddings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use engine::{Inputs, Site};

use crate::score::analogies;
use crate::score::files::{self, Pair, Question};
use crate::score::similarity;
use crate::score::vectors::Vectors;

/// Reads the files while planning, so that broken ones are refused before anything runs, and makes them part of the key.
pub fn prepare(site: &mut Site, similarity: &[String], analogies: &[String]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in similarity.iter().chain(analogies) {
        if !seen.insert(name) {
            bail!("the file `{name}` is named twice");
        }
        let path = site.root().join(name);
        if !path.is_file() {
            bail!("there is no file `{}`; relative paths start at the config's `root`", path.display());
        }
        let file = site.file(path, name)?;
        if similarity.contains(name) {
            files::pairs(&file.path)?;
        } else {
            files::questions(&file.path)?;
        }
    }
    Ok(())
}

/// Where such a file was found while planning.
pub fn found<'a>(inputs: &'a Inputs, name: &str) -> Result<&'a Path> {
    let file = inputs.files().iter().find(|file| file.relative == name);
    file.map(|file| file.path.as_path()).with_context(|| format!("the file `{name}` was not found while planning"))
}

/// What the files say.
pub struct Judgements {
    /// The pairs of each file: people's numbers have a scale of their own in each.
    pairs: Vec<Vec<Pair>>,
    questions: Vec<Question>,
}

impl Judgements {
    pub fn read(similarity: &[PathBuf], analogies: &[PathBuf]) -> Result<Judgements> {
        let pairs = similarity.iter().map(|path| files::pairs(path)).collect::<Result<_>>()?;
        let questions: Vec<Vec<Question>> = analogies.iter().map(|path| files::questions(path)).collect::<Result<_>>()?;
        Ok(Judgements { pairs, questions: questions.concat() })
    }

    /// All words of the files, each once.
    pub fn words(&self) -> Vec<String> {
        let pairs = self.pairs.iter().flatten().flat_map(|pair| &pair.words);
        let questions = self.questions.iter().flat_map(|question| question.given.iter().chain([&question.expected]));
        pairs.chain(questions).cloned().collect::<BTreeSet<String>>().into_iter().collect()
    }

    /// `word_similarity`, the mean of the files' rank correlations (Spearman) of people's numbers with cosines, and `analogy_accuracy`, the share
    /// of questions whose answer is nearest (3CosAdd) among all words of the files. An undefined score is left out.
    /// `numbers`: those of [`Judgements::words`], `size` for each.
    pub fn scores(&self, threads: usize, numbers: &[f32], size: usize) -> Result<BTreeMap<String, f64>> {
        let vectors = Vectors::of(self.words(), numbers, size)?;
        let spearman = |pairs: &Vec<Pair>| similarity::spearman(pairs, &similarity::compare(&vectors, pairs)).ok();
        let correlations: Option<Vec<f64>> = self.pairs.iter().map(spearman).collect();
        let similarity = correlations.filter(|all| !all.is_empty()).map(|all| all.iter().sum::<f64>() / all.len() as f64);
        let answers = analogies::answer(threads, || Ok(()), &vectors, &self.questions)?;
        let right = answers.iter().flatten().filter(|(_, right)| *right).count();
        let accuracy = (!answers.is_empty()).then(|| right as f64 / answers.len() as f64);
        let scores = [("word_similarity", similarity), ("analogy_accuracy", accuracy)];
        Ok(scores.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_held_against_what_people_say() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name)
        };
        let similarity = [write("a.tsv", "king\tman\t9\nking\twoman\t5\nking\tqueen\t7\n"), write("b.csv", "man,tree,1\nman,queen,2\n")];
        let analogies = [write("c.txt", ": royal\nman king woman queen\nman woman queen king\n")];
        let judgements = Judgements::read(&similarity, &analogies).unwrap();
        assert_eq!(judgements.words(), ["king", "man", "queen", "tree", "woman"]);
        let numbers = [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, -1.0, 1.0], [0.0, 0.0, 1.0]].concat();
        let scores = judgements.scores(2, &numbers, 3).unwrap();
        // Cosines 0.71, 0 and 0.5 rank as 9, 5 and 7 do, and 0.58 and 0 the other way round than 1 and 2. To woman - man + queen the tree is nearest.
        let expected = [("analogy_accuracy", 0.5), ("word_similarity", 0.0)];
        assert_eq!(scores.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>(), expected);
        let alike = Judgements::read(&similarity, &[]).unwrap().scores(1, &[1.0; 15], 3).unwrap();
        assert!(alike.is_empty(), "equal cosines have no rank correlation, and there is no question: {alike:?}");
    }
}
