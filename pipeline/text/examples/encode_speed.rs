//! How fast a tokenizer encodes: all texts of a JSON Lines file into memory, best of three for each number of threads.
//!
//! usage: encode_speed CORPUS.jsonl TOKENIZER [THREADS…]
//!
//! The last number printed is a hash of all ids in order, which tests/bench/peer_encode.py prints for other programs.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use rayon::prelude::*;
use text::Tokenizer;
use xxhash_rust::xxh3::xxh3_64;

const TEXTS_AT_ONCE: usize = 256;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [corpus, tokenizer, threads @ ..] = arguments.as_slice() else {
        eprintln!("usage: encode_speed CORPUS.jsonl TOKENIZER [THREADS…]");
        std::process::exit(2);
    };
    let texts = read(corpus)?;
    let bytes: usize = texts.iter().map(String::len).sum();
    let tokenizer = Tokenizer::load(Path::new(tokenizer))?;
    let threads: Vec<usize> = threads.iter().map(|count| count.parse().context("THREADS are numbers")).collect::<Result<_>>()?;
    for threads in if threads.is_empty() { vec![1, 2] } else { threads } {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let mut best = f64::INFINITY;
        let mut ids = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            ids = pool.install(|| encode(&tokenizer, &texts))?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        let ids: Vec<u8> = ids.into_iter().flatten().flat_map(u32::to_le_bytes).collect();
        println!(
            "{threads} threads: {:.1} MB/s, {} tokens, fast {}, ids {:016x}",
            bytes as f64 / 1e6 / best,
            ids.len() / 4,
            tokenizer.is_fast(),
            xxh3_64(&ids)
        );
    }
    if let Some(difference) = tokenizer.fell_back() {
        println!("fell back: {difference}");
    }
    Ok(())
}

fn encode(tokenizer: &Tokenizer, texts: &[String]) -> Result<Vec<Vec<u32>>> {
    let encode = |texts: &[String]| {
        let mut ids = Vec::with_capacity(texts.iter().map(String::len).sum::<usize>() / 2);
        texts.iter().try_for_each(|text| tokenizer.encode_into(text, &mut ids))?;
        Ok(ids)
    };
    texts.par_chunks(TEXTS_AT_ONCE).map(encode).collect()
}

/// The field `text` of each line.
fn read(corpus: &str) -> Result<Vec<String>> {
    let lines = std::fs::read_to_string(corpus).with_context(|| format!("reading `{corpus}`"))?;
    let text = |(line, record): (usize, &str)| -> Result<String> {
        let record: serde_json::Value = serde_json::from_str(record).with_context(|| format!("line {} of `{corpus}`", line + 1))?;
        let text = record["text"].as_str().with_context(|| format!("line {} of `{corpus}` has no `text`", line + 1))?;
        Ok(text.to_string())
    };
    lines.lines().enumerate().map(text).collect()
}
