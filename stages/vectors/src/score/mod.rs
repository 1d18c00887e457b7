//! `score-vectors`: word vectors beside people's judgements of similarity, and in analogies. Definitions are those of gensim's
//! `evaluate_word_pairs` and `evaluate_word_analogies`.

mod analogies;
mod similarity;
mod spelling;
mod table;
mod vectors;

use anyhow::{Result, bail};
use engine::{Context, Disk, Draft, Inputs, Kind, Part, Port, Site, Stage, schema};
use judgements::{Pair, Question};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use table::Score;
use vectors::Vectors;

/// Scores word vectors.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoreVectors {
    /// Files of word pairs with a similarity that people gave, such as WordSim-353: two words and a number in a line, between tabs, commas or
    /// spaces. Lines that begin with `#` are left out.
    #[serde(default)]
    pub similarity: Vec<String>,
    /// Files of analogies, such as questions-words.txt: four words in a line, `: NAME` begins a section.
    #[serde(default)]
    pub analogies: Vec<String>,
    /// Only so many of the most frequent words are looked at.
    #[serde(default = "default_vocabulary_max")]
    pub vocabulary_max: usize,
    /// Words are compared in upper case; of words that differ in case alone the most frequent counts.
    #[serde(default = "default_ignore_case")]
    pub ignore_case: bool,
    /// Scores a simple system beside the vectors on `similarity`, named `spelling`: the share of pairs of letters that two words have in common.
    #[serde(default)]
    pub spelling: bool,
    /// The steps that made the vectors: the tables name them.
    #[serde(default)]
    #[schemars(skip)]
    pub names: Vec<String>,
}

fn default_vocabulary_max() -> usize {
    300_000
}

fn default_ignore_case() -> bool {
    true
}

impl Stage for ScoreVectors {
    const NAME: &'static str = "score-vectors";
    const ABOUT: &'static str = "Scores word vectors by word similarity (Spearman, Pearson) and analogies (3CosAdd).";
    const VERSION: u32 = 3;
    const INPUTS: &'static [Port] = &[Port::many("vectors", Kind::Vectors)];
    const OUTPUT: Kind = Kind::Scores;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        self.names = site.connected("vectors").to_vec();
        if self.similarity.is_empty() && self.analogies.is_empty() {
            bail!("nothing to score by: give files to `similarity` or `analogies`");
        }
        if self.spelling && self.similarity.is_empty() {
            bail!("`spelling` is a system for word pairs: give files of them to `similarity`");
        }
        if self.vocabulary_max == 0 {
            bail!("`vocabulary_max` must be above 0");
        }
        judgements::prepare(site, &self.similarity, &self.analogies)
    }

    fn disk(&self, _input_bytes: u64) -> Disk {
        Disk::default()
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let artifacts = inputs.artifacts("vectors");
        if artifacts.len() != self.names.len() {
            bail!("{} steps are connected, and {} have names", artifacts.len(), self.names.len());
        }
        let similarity: Vec<(&String, Vec<Pair>)> =
            self.similarity.iter().map(|name| Ok((name, judgements::pairs(judgements::found(inputs, name)?)?))).collect::<Result<_>>()?;
        let analogies: Vec<(&String, Vec<Question>)> = self
            .analogies
            .iter()
            .map(|name| Ok((name, judgements::questions(judgements::found(inputs, name)?)?)))
            .collect::<Result<_>>()?;
        let main = Kind::Scores.main_table();
        draft.declare(main, schema::scores())?;
        draft.declare("similarity", table::similarity_schema())?;
        draft.declare("analogies", table::analogies_schema())?;
        let name_of = |file| (similarity.len() > 1).then_some(file);
        // One part: the search within it uses all threads.
        draft.parts(ctx, &[Part { bytes: 1 }], |_, part| {
            for (system, artifact) in self.names.iter().zip(&artifacts) {
                let vectors = Vectors::read(ctx, artifact, self.vocabulary_max, self.ignore_case)?;
                let mut scores: Vec<Score> = Vec::new();
                for (file, pairs) in &similarity {
                    let found = similarity::compare(&vectors, pairs);
                    part.write("similarity", &table::similarity(system, file, pairs, &found)?)?;
                    scores.extend(similarity::scores(name_of(file.as_str()), pairs, &found));
                }
                for (file, questions) in &analogies {
                    let found = analogies::answer(ctx, &vectors, questions)?;
                    part.write("analogies", &table::analogies(system, file, questions, &found)?)?;
                    scores.extend(analogies::scores((analogies.len() > 1).then_some(file), questions, &found));
                }
                part.write(main, &table::scores(system, &scores, &self.signature())?)?;
            }
            for (file, pairs) in similarity.iter().filter(|_| self.spelling) {
                let found = spelling::compare(pairs);
                part.write("similarity", &table::similarity(spelling::SYSTEM, file, pairs, &found)?)?;
                let scores = similarity::scores(name_of(file.as_str()), pairs, &found);
                part.write(main, &table::scores(spelling::SYSTEM, &scores, &self.signature())?)?;
            }
            Ok(())
        })
    }
}

impl ScoreVectors {
    fn signature(&self) -> String {
        let case = if self.ignore_case { "ignored" } else { "kept" };
        format!("oov:skipped|case:{case}|vocabulary:{}|version:corpusmill-{}", self.vocabulary_max, env!("CARGO_PKG_VERSION"))
    }
}
