//! What tokens are of: the tokenizer whose ids they hold, and the documents, of which `predict` and `baseline` put columns beside predictions and
//! read what tokens do not hold whole: questions and gold answers, texts, gold tags.

mod documents;
pub mod lists;
mod questions;
mod schemes;
mod splits;
mod tags;
mod texts;
mod whose;

use anyhow::{Result, bail};
use engine::Site;

pub use documents::{Documents, users_columns};
pub use questions::{AnswerColumns, Questions};
pub use schemes::{Entity, Scheme};
pub use splits::{known_split, splits};
pub use tags::{TagColumn, Tags};
pub use texts::{TextColumns, Texts};
pub use whose::{check_model, check_tokenizer, check_tokens};

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

/// How a text is quoted where it is found wrong.
pub fn excerpt(text: &str) -> String {
    const CHARACTERS_MAX: usize = 40;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}
