//! A text as tokens that know their places in it.

use anyhow::{Context as _, Result};

/// Text and the tokens it became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    pub ids: Vec<u32>,
    /// First byte of each token in the text and the byte after its last.
    pub offsets: Vec<(usize, usize)>,
}

impl Encoded {
    /// The characters of the text that each token stands for: its first, and the one after its last.
    pub fn characters(&self, text: &str) -> Result<Vec<(i32, i32)>> {
        if text.is_ascii() {
            return Ok(self.offsets.iter().map(|(start, end)| (*start as i32, *end as i32)).collect());
        }
        let starts: Vec<usize> = text.char_indices().map(|(byte, _)| byte).collect();
        let number = |byte: usize| starts.partition_point(|start| *start < byte) as i32;
        let all = self.offsets.iter().map(|(start, end)| (*end <= text.len()).then(|| (number(*start), number(*end))));
        all.collect::<Option<Vec<_>>>().context("the tokenizer placed a token outside of its text")
    }
}
