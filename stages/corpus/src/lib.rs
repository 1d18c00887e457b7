//! The corpus stages, from raw files to the documents that a model is trained on.
//!
//! Every stage maps parts of its input to parts of its output and names the reason for each document it drops.
//! SQL is evaluated by the crate `query` through [`engine::Sql`]; tokens and models are of no concern here.

mod augment;
mod bins;
mod changes;
mod clean;
mod decontaminate;
mod dedup;
mod dedup_lines;
mod documents;
mod draw;
mod fetch_documents;
mod filter;
mod import;
mod keep;
mod mix;
mod perturb;
mod profile;
mod rejects;
mod sample;
mod split;
mod substring;
#[cfg(test)]
mod testing;
mod weigh;

pub use augment::Augment;
pub use clean::Clean;
pub use decontaminate::Decontaminate;
pub use dedup::Dedup;
pub use dedup_lines::DedupLines;
pub use fetch_documents::FetchDocuments;
pub use filter::Filter;
pub use import::Import;
pub use mix::Mix;
pub use perturb::Perturb;
pub use sample::Sample;
pub use split::Split;
pub use substring::DedupSubstrings;

use engine::{StageEntry, entry};

/// All stages of this crate.
pub fn stages() -> Vec<StageEntry> {
    vec![
        entry::<Import>(),
        entry::<FetchDocuments>(),
        entry::<Clean>(),
        entry::<Filter>(),
        entry::<Dedup>(),
        entry::<DedupLines>(),
        entry::<DedupSubstrings>(),
        entry::<Decontaminate>(),
        entry::<Mix>(),
        entry::<Sample>(),
        entry::<Split>(),
        entry::<Augment>(),
        entry::<Perturb>(),
    ]
}

/// The content hash of a document: the first 16 bytes of BLAKE3 of its text.
pub(crate) fn content_hash(text: &str) -> [u8; 16] {
    first_16(blake3::hash(text.as_bytes()))
}

pub(crate) fn first_16(hash: blake3::Hash) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&hash.as_bytes()[..16]);
    first
}

#[cfg(test)]
mod tests {
    mod profiles;
}
