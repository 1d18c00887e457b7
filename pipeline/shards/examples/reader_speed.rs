//! How fast packed shards are read at random with masks made, and how soon the first batch is there.
//!
//! usage: reader_speed [FOLDER | TOKENS] [SHARDS]. FOLDER holds a tokens artifact or other `*.arrow` shards of packed rows; without one, shards of
//! TOKENS random tokens (default 50 million) in rows of 256 are made in a temporary folder. One thread. Prints one JSON object.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use shards::packed::{Reader, Writer};
use shards::{Choose, Hidden, MaskSettings, Order, Prefetch, Row, ShardFile, Shuffle, Span, Width};

const ROW_TOKENS: usize = 256;
const BATCH_ROWS: u64 = 32;
const VOCABULARY: u32 = 16_000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().unwrap_or_else(|| "50000000".into());
    let shards: usize = arguments.next().map_or(Ok(8), |text| text.parse()).context("SHARDS")?;
    let folder = std::env::temp_dir().join(format!("reader-speed-{}", std::process::id()));
    let files = match first.parse::<usize>() {
        Ok(tokens) => make(&folder, tokens, shards)?,
        Err(_) => find(Path::new(&first))?,
    };
    let figures = measure(&files);
    let _ = std::fs::remove_dir_all(&folder);
    println!("{}", figures?);
    Ok(())
}

fn make(folder: &Path, tokens: usize, shards: usize) -> Result<Vec<ShardFile>> {
    std::fs::create_dir_all(folder)?;
    let rows = (tokens / ROW_TOKENS / shards).max(1);
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        5 + (state >> 33) as u32 % (VOCABULARY - 5)
    };
    (0..shards)
        .map(|shard| {
            let path = folder.join(format!("shard-{shard:05}.arrow"));
            let mut writer = Writer::create(&path, ROW_TOKENS, Width::U16)?;
            for row in 0..rows {
                let document = ((shard * rows + row) as u128).to_le_bytes();
                let span = |start: i64, length: i32| Span { document, start, length, weight: 1.0 };
                writer.push(Row { tokens: (0..ROW_TOKENS).map(|_| random()).collect(), spans: vec![span(0, 100), span(0, 155)] })?;
            }
            let rows = writer.finish()?;
            Ok(ShardFile { bytes: Some(std::fs::metadata(&path)?.len()), path, rows })
        })
        .collect()
}

/// The shards below a folder, sorted.
fn find(folder: &Path) -> Result<Vec<ShardFile>> {
    let (mut folders, mut paths) = (vec![folder.to_path_buf()], Vec::<PathBuf>::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("listing `{}`", folder.display()))? {
            let path = entry?.path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "arrow") => paths.push(path),
                false => {}
            }
        }
    }
    paths.sort();
    paths.into_iter().map(|path| Ok(ShardFile { rows: shards::rows_of(&path)?, bytes: None, path })).collect()
}

/// Reads batches of rows with masks: the whole of what a masked model's training reads.
struct Batches {
    reader: Reader,
    order: Order,
}

#[derive(Default)]
struct Batch {
    tokens: Vec<i64>,
    hidden: Vec<Hidden>,
}

impl Batches {
    fn new(files: &[ShardFile]) -> Result<Batches> {
        let reader = Reader::new(files);
        Ok(Batches { order: Order::new(1, reader.rows(), Shuffle::Rows)?, reader })
    }

    fn fill(&self, number: u64, batch: &mut Batch) -> Result<()> {
        let special_ids = [0, 1, 2, 3, 4];
        let settings =
            MaskSettings { probability: 0.15, mask_id: 4, vocabulary_size: VOCABULARY, special_ids: &special_ids, choose: Choose::Tokens };
        batch.tokens.clear();
        batch.hidden.clear();
        for sample in number * BATCH_ROWS..(number + 1) * BATCH_ROWS {
            let begin = batch.tokens.len();
            self.reader.append_used(self.order.place(sample).row, &mut batch.tokens)?;
            shards::hide(1, 0, sample, &mut batch.tokens[begin..], &settings, &mut batch.hidden);
        }
        Ok(())
    }
}

fn measure(files: &[ShardFile]) -> Result<String> {
    let begun = Instant::now();
    let batches = Batches::new(files)?;
    let mut batch = Batch::default();
    batches.fill(0, &mut batch)?;
    let start = begun.elapsed().as_secs_f64();

    let rows = batches.reader.rows();
    let last = (rows / BATCH_ROWS).max(2) - 1;
    let begun = Instant::now();
    Batches::new(files)?.fill(last, &mut batch)?;
    let resume = begun.elapsed().as_secs_f64();

    let (mut tokens, mut hidden) = (0, 0);
    let begun = Instant::now();
    for number in 0..last {
        batches.fill(number, &mut batch)?;
        tokens += batch.tokens.len();
        hidden += batch.hidden.len();
    }
    let first_epoch = tokens as f64 / begun.elapsed().as_secs_f64();
    let mut read = 0;
    let begun = Instant::now();
    for number in last..2 * last {
        batches.fill(number, &mut batch)?;
        read += batch.tokens.len();
    }
    let second_epoch = read as f64 / begun.elapsed().as_secs_f64();

    let mut ahead = Prefetch::start(1, 4, 0, last, move |number, batch: &mut Batch| batches.fill(number, batch))?;
    let begun = Instant::now();
    for _ in 0..last {
        let batch = ahead.take()?;
        ahead.give_back(batch);
    }
    let in_background = tokens as f64 / begun.elapsed().as_secs_f64();
    Ok(format!(
        "{{\"shards\": {}, \"rows\": {rows}, \"masked_share\": {:.4}, \"start_seconds\": {start:.6}, \"resume_seconds\": {resume:.6}, \
         \"first_epoch_tokens_per_second\": {first_epoch:.0}, \"second_epoch_tokens_per_second\": {second_epoch:.0}, \
         \"background_tokens_per_second\": {in_background:.0}}}",
        files.len(),
        hidden as f64 / tokens as f64,
    ))
}
