//! What the systems share in a run.

use anyhow::{Context as _, Result};
use engine::{Artifact, Context, Draft};
use origins::Documents;

use crate::rows::Split;
use crate::settings::Baseline;

/// What a run works with.
pub struct Work<'a> {
    pub settings: &'a Baseline,
    pub ctx: &'a Context,
    pub tokens: &'a Artifact,
    pub layout: &'a str,
    /// Those that the tokens are of.
    pub documents: Option<&'a Artifact>,
    /// Those to predict.
    pub rows: Split,
    pub draft: &'a Draft,
}

impl Work<'_> {
    /// The documents that rows are of, from about where those of a part stand.
    pub fn documents(&self, part: usize) -> Result<Option<Documents>> {
        let Some(documents) = self.documents else { return Ok(None) };
        let documents = Documents::open(documents, &self.settings.split, self.settings.columns.as_deref(), self.tokens)?;
        Ok(Some(documents.begin_at(self.rows.share(part))))
    }

    /// All rows to learn from.
    pub fn train(&self) -> Result<Split> {
        Split::open(self.tokens, &self.settings.train_split, None).context("`train_split`")
    }

    /// The names of the classes, which labels are indices of.
    pub fn classes(&self) -> Result<Vec<String>> {
        self.tokens.fact("classes")
    }
}
