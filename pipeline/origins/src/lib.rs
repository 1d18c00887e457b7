//! The documents that tokens are of: what `predict` and `baseline` put beside predictions, and the questions and gold answers they read there.

mod documents;
mod questions;

use anyhow::{Result, bail};
use engine::Site;

pub use documents::{Documents, users_columns};
pub use questions::{AnswerColumns, Questions};

/// Refuses documents on the port `documents` that are not those of the tokens on the port `tokens`, and named columns without documents.
pub fn check(site: &Site, columns: bool) -> Result<()> {
    let (Some(tokens), documents) = (site.upstream("tokens"), site.connected("documents").first()) else { return Ok(()) };
    let used = tokens.inputs.iter().filter(|(port, _)| port == "documents").find_map(|(_, steps)| steps.first());
    match (documents, used) {
        (Some(documents), used) if Some(documents) != used => bail!(
            "step `{}` did not read the documents of step `{documents}`; leave out documents = \"{documents}\": those it read are found by themselves",
            tokens.name
        ),
        (None, _) if columns => bail!("`columns`: step `{}` read no documents that could have columns", tokens.name),
        _ => Ok(()),
    }
}
