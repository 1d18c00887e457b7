//! Files of what people say of words: similarities and analogies. `score-vectors` holds word vectors against them, `train` its embeddings.

mod correlation;
mod files;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use engine::{Inputs, Site};

pub use correlation::{pearson, spearman};
pub use files::{Pair, Question, pairs, questions};

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
            pairs(&file.path)?;
        } else {
            questions(&file.path)?;
        }
    }
    Ok(())
}

/// Where such a file was found while planning.
pub fn found<'a>(inputs: &'a Inputs, name: &str) -> Result<&'a Path> {
    let file = inputs.files().iter().find(|file| file.relative == name);
    file.map(|file| file.path.as_path()).with_context(|| format!("the file `{name}` was not found while planning"))
}
