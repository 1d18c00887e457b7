//! The words that get vectors, the most frequent first.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Words with their counts; a word's number is its place.
pub(crate) struct Vocabulary {
    words: Vec<String>,
    pub(crate) counts: Vec<u64>,
    /// Words of the corpus, those without vectors included.
    pub(crate) all: u64,
    /// Different ones of them.
    pub(crate) distinct: u64,
}

impl Vocabulary {
    /// One line each: totals, then count and word.
    pub(crate) fn write(path: &Path, words: &[(String, u64)], all: u64, distinct: u64) -> Result<()> {
        let mut text = format!("{all} {distinct}\n");
        words.iter().for_each(|(word, count)| text.push_str(&format!("{count} {word}\n")));
        std::fs::write(path, text).with_context(|| format!("writing `{}`", path.display()))
    }

    pub(crate) fn read(path: &Path) -> Result<Vocabulary> {
        let damaged = || format!("`{}` is damaged; remove it", path.display());
        let text = std::fs::read_to_string(path).with_context(|| format!("reading `{}`", path.display()))?;
        let mut lines = text.split_terminator('\n').map(|line| line.split_once(' ').with_context(damaged));
        let (all, distinct) = lines.next().with_context(damaged)??;
        let mut vocabulary = Vocabulary { words: Vec::new(), counts: Vec::new(), all: all.parse()?, distinct: distinct.parse()? };
        for line in lines {
            let (count, word) = line?;
            vocabulary.words.push(word.to_string());
            vocabulary.counts.push(count.parse()?);
        }
        Ok(vocabulary)
    }

    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(String::as_str)
    }

    /// Words of the corpus that have vectors.
    pub(crate) fn known(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Refuses weights that would not fit into the memory.
    pub(crate) fn check_memory(&self, bytes: u64, memory: u64) -> Result<()> {
        if bytes > memory {
            bail!(
                "vectors of {} words take {} MB, `--memory` allows {} MB: allow more, raise `min_count`, or set `vocabulary_max`",
                self.len(),
                bytes.div_ceil(1_000_000),
                memory / 1_000_000
            );
        }
        Ok(())
    }
}
