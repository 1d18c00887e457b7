//! How fast tokenizers are learned: `cargo run --release --example learn_speed -- CORPUS.jsonl [KIND [STYLE [VOCABULARY_SIZE]]]`.
//!
//! The texts are in memory before the clock starts, as for the peer (tests/bench/peer_tokenizers.py). Without KIND, all kinds in their default
//! styles. Set RAYON_NUM_THREADS to limit the threads.

use std::time::Instant;

use anyhow::{Context as _, Result};
use text::{Kind, Recipe, WordCounts};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().context("usage: learn_speed CORPUS.jsonl [KIND [STYLE [VOCABULARY_SIZE]]]")?;
    let size: usize = arguments.get(3).map_or(Ok(16_000), |size| size.parse())?;
    let corpus = std::fs::read_to_string(path).with_context(|| format!("reading `{path}`"))?;
    let texts = corpus
        .lines()
        .map(|line| Ok(serde_json::from_str::<serde_json::Value>(line)?["text"].as_str().unwrap_or_default().to_string()))
        .collect::<Result<Vec<String>>>()?;
    let bytes: usize = texts.iter().map(String::len).sum();
    for kind in Kind::ALL.into_iter().filter(|kind| arguments.get(1).is_none_or(|name| name == kind.name())) {
        let recipe = Recipe::new(kind, arguments.get(2).map(String::as_str), None)?;
        let start = Instant::now();
        let mut counts = WordCounts::new(recipe.clone());
        // As many at once as the stage reads.
        for batch in texts.chunks(256) {
            counts.add(&batch.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let counted = start.elapsed().as_secs_f64();
        let pieces = counts.different_pieces();
        let tokenizer = counts.learn(size, 2)?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{}",
            serde_json::json!({"kind": kind.name(), "style": recipe.style().name(), "MB": bytes as f64 / 1e6, "count_s": counted,
                "learn_s": seconds, "MBps": bytes as f64 / 1e6 / seconds, "pieces": pieces, "tokens": tokenizer.vocabulary_size()})
        );
    }
    Ok(())
}
