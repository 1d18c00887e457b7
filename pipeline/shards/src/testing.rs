//! Shards for the tests of other crates.

use std::path::Path;

use anyhow::Result;

use crate::packed::Writer;
use crate::{Extent, Row, Span, Width, concatenate};

/// Writes documents one after another into a packed shard, as `tokenize` does by default; returns the number of rows. Token 0 of a row is
/// `first`, or from the second row on the last token of the row before (`overlap`).
pub fn write_packed(path: &Path, documents: &[([u8; 16], Vec<u32>)], row_tokens: usize, first: u32, overlap: bool) -> Result<u64> {
    let most = documents.iter().flat_map(|(_, tokens)| tokens).max().copied().unwrap_or(0);
    let mut writer = Writer::create(path, row_tokens, Width::for_vocabulary(most as usize + 1))?;
    let extents: Vec<Extent> = documents.iter().map(|(_, tokens)| Extent { start: 0, length: tokens.len() as u32 }).collect();
    let mut context = first;
    for pieces in concatenate(&extents, row_tokens as u32 - 1).iter() {
        let mut row = Row { tokens: vec![context], spans: Vec::new() };
        for piece in pieces {
            let (document, tokens) = &documents[piece.document as usize];
            row.tokens.extend(&tokens[piece.start as usize..(piece.start + piece.length) as usize]);
            row.spans.push(Span { document: *document, start: piece.start.into(), length: piece.length as i32, weight: 1.0 });
        }
        context = if overlap { row.tokens.last().copied().unwrap_or(first) } else { first };
        row.tokens.resize(row_tokens, 0);
        writer.push(row)?;
    }
    writer.finish()
}
