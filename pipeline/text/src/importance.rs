//! Importance of texts: how much more probable a text is under samples of what is wanted than under samples of what there is (DSIR, Xie et al. 2023,
//! "Data Selection for Language Models via Importance Resampling"; RedPajama v2's `rps_doc_*_importance`).

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use xxhash_rust::xxh3::Xxh3;

use crate::redpajama::raw_words;

/// As in DSIR and RedPajama v2.
const BUCKETS: usize = 10_000;
/// What RedPajama v2 adds to every share.
const FLOOR: f64 = 1e-8;

/// How often hashed words and pairs of words occur in samples.
pub struct HashedGrams {
    /// By bucket, the logarithm of its share of all.
    log_shares: Vec<f64>,
}

/// A line of samples in JSON Lines.
#[derive(Deserialize)]
struct Line {
    text: String,
}

impl HashedGrams {
    /// Counts the samples of a file: a text a line, or JSON Lines with a field `text` where the name ends in `.jsonl`; plain or gz.
    pub fn load(path: &Path) -> Result<HashedGrams> {
        let failed = || format!("`{}` is no readable file of samples", path.display());
        let name = path.to_string_lossy().to_lowercase();
        let file = File::open(path).with_context(failed)?;
        let reader: Box<dyn Read> = if name.ends_with(".gz") { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        HashedGrams::count(BufReader::new(reader), name.trim_end_matches(".gz").ends_with(".jsonl")).with_context(failed)
    }

    fn count(lines: impl BufRead, json: bool) -> Result<HashedGrams> {
        let (mut counts, mut all) = (vec![0u64; BUCKETS], 0u64);
        for (number, line) in (1..).zip(lines.lines()) {
            let line = line.with_context(|| format!("line {number}"))?;
            let text = match json {
                true if line.trim().is_empty() => continue,
                true => serde_json::from_str::<Line>(&line).with_context(|| format!("line {number}"))?.text,
                false => line,
            };
            for_each_bucket(&text, |bucket| {
                counts[bucket] += 1;
                all += 1;
            });
        }
        if all == 0 {
            bail!("it holds no word: samples have a text a line, or are JSON Lines with a field `text`, in a file that ends in `.jsonl`");
        }
        Ok(HashedGrams { log_shares: counts.into_iter().map(|count| (count as f64 / all as f64 + FLOOR).ln()).collect() })
    }

    /// The natural logarithm of how many times as probable the words and pairs of words of a text are here as in `other`. 0 without words.
    pub fn log_ratio(&self, other: &HashedGrams, text: &str) -> f64 {
        let mut sum = 0.0;
        for_each_bucket(text, |bucket| sum += self.log_shares[bucket] - other.log_shares[bucket]);
        sum
    }
}

/// The buckets of all words of a text and of all pairs of neighbours.
fn for_each_bucket(text: &str, mut visit: impl FnMut(usize)) {
    let bucket = |hash: u64| (hash % BUCKETS as u64) as usize;
    let mut before: Option<&str> = None;
    for word in raw_words(text) {
        let mut hash = Xxh3::new();
        hash.update(word.as_bytes());
        visit(bucket(hash.digest()));
        if let Some(before) = before {
            hash.reset();
            hash.update(before.as_bytes());
            // No word holds a space.
            hash.update(b" ");
            hash.update(word.as_bytes());
            visit(bucket(hash.digest()));
        }
        before = Some(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_like_the_samples_are_more_probable() {
        let grams = |samples: &str, json: bool| HashedGrams::count(samples.as_bytes(), json).unwrap();
        let books = grams("the old house\nthe old sea", false);
        let web = grams("{\"text\": \"click here\"}\n\n{\"text\": \"click the link\", \"id\": 1}\n", true);
        // Of the ten words and pairs of `books` three are `the`, `old` and `the old`, twice each; none but `the` is among the eight of `web`.
        let ln = |share: f64| (share + FLOOR).ln();
        let expected = ln(0.2) - ln(1.0 / 8.0) + ln(0.2) - ln(0.0) + ln(0.2) - ln(0.0);
        assert!((books.log_ratio(&web, "the old") - expected).abs() < 1e-9);
        assert!((web.log_ratio(&books, "the old") + expected).abs() < 1e-9);
        assert_eq!(books.log_ratio(&web, " "), 0.0);
        let broken = |samples: &str| format!("{:#}", HashedGrams::count(samples.as_bytes(), true).err().unwrap());
        assert!(broken("{\"text\": \"a\"}\n{\"title\": \"a\"}").starts_with("line 2: missing field `text`"));
        assert!(broken("{\"text\": \"\"}").starts_with("it holds no word"));
    }
}
