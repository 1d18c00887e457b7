//! Which rows every step of a training learns from: a pure function of the settings, the seed and the numbers of rows.
//!
//! So a resume is exact, `mill trace` can tell what any step saw, and no list is kept.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use shards::{Blocks, Order};

use crate::seeds::{Purpose, derive};
use crate::{Rows, Shuffle, Train};

/// Batches that are sorted by length together, so that examples of similar length meet and little is padded.
const SORTED_BATCHES: u64 = 16;
/// Tokens of a block of `shuffle = "blocks"`: about 1 MiB of a shard.
const BLOCK_TOKENS: u64 = 1 << 19;
/// Blocks whose rows are shuffled together: 64 MiB or so.
const WINDOW_BLOCKS: u64 = 64;

/// The rows of every batch.
pub struct Course {
    rows: Arc<Rows>,
    order: Order,
    /// With weights each artifact is a source of its own; without, all of them are one.
    mixed: bool,
    seed: u64,
    settings: Train,
    /// Batches of all steps.
    batches: u64,
    /// The last window that was sorted, with its number.
    sorted: Mutex<Option<(u64, Vec<Sample>)>>,
}

/// A row with its place in the training, which numbers its masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub sample: u64,
    pub row: u64,
}

impl Course {
    /// `seed` is that of the run, `sequence_length` the usual length of a row.
    pub fn new(settings: &Train, seed: u64, sequence_length: i64, rows: Arc<Rows>) -> Result<Course> {
        let seed = derive(seed, Purpose::Order, 0);
        let shuffle = match settings.shuffle {
            Shuffle::Rows => shards::Shuffle::Rows,
            Shuffle::Blocks => {
                let rows = (BLOCK_TOKENS / sequence_length.max(1) as u64).max(1);
                shards::Shuffle::Blocks(Blocks { rows, window: WINDOW_BLOCKS })
            }
        };
        let phases = phases(settings, rows.count())?;
        let order = match &phases[..] {
            [] => Order::new(seed, rows.count(), shuffle)?,
            phases => Order::mixed(seed, &rows.counts(), phases, shuffle).context("`weights` and the rows of the split do not fit")?,
        };
        let batches = settings.batches_before(settings.total_steps(rows.count()));
        Ok(Course { rows, order, mixed: !phases.is_empty(), seed, settings: settings.clone(), batches, sorted: Mutex::default() })
    }

    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The rows of batch number `batch`. Rows of equal length come in the order of samples. Of examples, the samples of a window of batches are
    /// sorted by length and cut into batches, and these come in another order; the last window ends where the training does, so that all of
    /// its samples are read.
    pub fn batch(&self, batch: u64) -> Result<Vec<Sample>> {
        let size = self.settings.batch_size;
        if self.settings.carry_state {
            return Ok(lanes(self.rows.count(), size, batch).collect());
        }
        if self.rows.equal_lengths() {
            return Ok((batch * size..(batch + 1) * size).map(|sample| self.sample(sample)).collect());
        }
        let (window, place) = (batch / SORTED_BATCHES, batch % SORTED_BATCHES);
        let batches = SORTED_BATCHES.min(self.batches.saturating_sub(window * SORTED_BATCHES));
        ensure!(place < batches, "batch {batch} is none of the {} batches of this training", self.batches);
        let chunk = (shards::permute(self.seed, window, batches, place) * size) as usize;
        let mut sorted = self.sorted.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = match &*sorted {
            Some((number, samples)) if *number == window => samples,
            _ => &sorted.insert((window, self.sort(window, batches)?)).1,
        };
        Ok(samples[chunk..chunk + size as usize].to_vec())
    }

    /// The samples of a window of so many batches.
    fn sort(&self, window: u64, batches: u64) -> Result<Vec<Sample>> {
        let (first, size) = (window * SORTED_BATCHES, self.settings.batch_size);
        let samples = (first * size..(first + batches) * size).map(|sample| self.sample(sample));
        let mut samples = samples.map(|sample| Ok((self.rows.length(sample.row)?, sample))).collect::<Result<Vec<_>>>()?;
        samples.sort_by_key(|(length, sample)| (*length, sample.sample));
        Ok(samples.into_iter().map(|(_, sample)| sample).collect())
    }

    fn sample(&self, sample: u64) -> Sample {
        let place = self.order.place(sample);
        Sample { sample, row: if self.mixed { self.rows.of_source(place.source, place.row) } else { place.row } }
    }
}

/// The rows of batch number `batch` where lane l of `size` begins at the l-th part of `rows` rows and goes on to the next row with each batch,
/// from the last one to the first. So every row is read once in rows / size batches, and a lane's row follows its row of the batch before.
pub fn lanes(rows: u64, size: u64, batch: u64) -> impl Iterator<Item = Sample> {
    let first = move |lane: u64| (u128::from(lane) * u128::from(rows) / u128::from(size)) as u64;
    (0..size).map(move |lane| Sample { sample: batch * size + lane, row: (first(lane) + batch % rows) % rows })
}

/// First samples of the phases with the weights of the sources; none when no weights are given.
fn phases(settings: &Train, rows: u64) -> Result<Vec<(u64, Vec<f64>)>> {
    let first = |steps| settings.batches_before(steps) * settings.batch_size;
    Ok(phases_of_steps(settings, rows)?.into_iter().map(|(steps, weights)| (first(steps), weights)).collect())
}

/// The same by the steps before them.
pub(crate) fn phases_of_steps(settings: &Train, rows: u64) -> Result<Vec<(u64, Vec<f64>)>> {
    let weights = |weights: &std::collections::BTreeMap<String, f64>| -> Vec<f64> {
        settings.sources.iter().map(|source| weights.get(source).copied().unwrap_or(0.0)).collect()
    };
    let mut phases = Vec::new();
    if !settings.weights.is_empty() {
        phases.push((0, weights(&settings.weights)));
    }
    let steps = settings.total_steps(rows);
    settings.check_phases(Some(steps))?;
    for phase in &settings.curriculum {
        phases.push((phase.begin(Some(steps)).unwrap_or_default(), weights(&phase.weights)));
    }
    Ok(phases)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use engine::manifest::{FORMAT, FileManifest, Manifest, TableManifest, Usage};
    use engine::{Artifact, Kind};
    use serde_json::{Value, json};
    use shards::Width;
    use shards::examples::{self, Example, Writer};

    use super::*;
    use crate::Facts;

    /// So many texts of unequal lengths.
    fn texts(dir: &Path, count: u64) -> Arc<Rows> {
        let path = format!("texts-{count}.arrow");
        let mut writer = Writer::create(&dir.join(&path), &[("label", examples::Kind::Int32)], Width::U16).unwrap();
        for n in 0..count {
            let (id, tokens) = (u128::from(n).to_le_bytes(), vec![5; 1 + (n * 7 % 11) as usize]);
            writer.push(Example { id, tokens, values: vec![examples::Value::Int32(0)] }).unwrap();
        }
        let rows = writer.finish().unwrap();
        let (table, split) = (Some("tokens".to_string()), Some("train".to_string()));
        let (of, bytes, blake3) = (None, std::fs::metadata(dir.join(&path)).unwrap().len(), String::new());
        let manifest = Manifest {
            format: FORMAT,
            kind: Kind::Tokens,
            step: "tokens".into(),
            stage: "tokenize".into(),
            version: 1,
            key: String::new(),
            key_parts: Value::Null,
            fingerprint: String::new(),
            tables: BTreeMap::from([("tokens".to_string(), TableManifest { rows, bytes, columns: Vec::new() })]),
            files: vec![FileManifest { path, table, split, rows, of, bytes, blake3, volatile: false }],
            counts: BTreeMap::new(),
            facts: BTreeMap::new(),
            usage: Usage::default(),
            finished: 0,
            program: String::new(),
        };
        let (classes, splits) = (Some(vec!["ham".to_string()]), vec!["train".to_string()]);
        let facts = Facts { layout: "classify".into(), vocab_size: 10, classes, splits, ..Facts::default() };
        Arc::new(Rows::open(&[Artifact { dir: dir.to_path_buf(), manifest }], &facts, "train").unwrap())
    }

    #[test]
    fn epochs_read_every_text_as_often() {
        let dir = tempfile::tempdir().unwrap();
        for count in [1, 2, 15, 16, 17, 100, 255, 256, 257, 300, 513] {
            let rows = texts(dir.path(), count);
            for (epochs, size, accumulate, ramp) in [(1, 16, 1, 0), (1, 3, 1, 0), (2, 16, 1, 0), (3, 5, 4, 0), (2, 4, 3, 7), (1, 1, 1, 0)] {
                let case = json!({"epochs": epochs, "batch_size": size, "accumulate": accumulate, "batch_ramp_steps": ramp});
                let settings: Train = serde_json::from_value(case.clone()).unwrap();
                let course = Course::new(&settings, 7, 11, rows.clone()).unwrap();
                let batches = settings.batches_before(settings.total_steps(count));
                let samples: Vec<Sample> = (0..batches).flat_map(|batch| course.batch(batch).unwrap()).collect();
                let mut numbers: Vec<u64> = samples.iter().map(|sample| sample.sample).collect();
                numbers.sort_unstable();
                assert_eq!(numbers, (0..batches * size).collect::<Vec<u64>>(), "{count} rows, {case}");
                let mut read = vec![0; count as usize];
                // What fills up the last step is of the next epoch.
                samples.iter().filter(|sample| sample.sample < epochs * count).for_each(|sample| read[sample.row as usize] += 1);
                assert!(read.iter().all(|times| *times == epochs), "{count} rows, {case}: {read:?}");
                // A course that is begun anew in the middle is the same.
                let again = Course::new(&settings, 7, 11, rows.clone()).unwrap();
                let last = (batches - 1) * size;
                assert_eq!(again.batch(batches - 1).unwrap(), samples[last as usize..]);
                assert!(course.batch(batches).is_err());
            }
        }
    }

    #[test]
    fn whole_windows_are_the_same_in_courses_of_any_length() {
        let dir = tempfile::tempdir().unwrap();
        let rows = texts(dir.path(), 100);
        let course = |steps: u64| {
            let settings: Train = serde_json::from_value(json!({"steps": steps, "batch_size": 4})).unwrap();
            Course::new(&settings, 7, 11, rows.clone()).unwrap()
        };
        let (short, long) = (course(16), course(40));
        assert!((0..16).all(|batch| short.batch(batch).unwrap() == long.batch(batch).unwrap()));
    }

    #[test]
    fn lanes_read_on_and_read_every_row() {
        let (rows, size) = (23, 4);
        let batches: Vec<Vec<u64>> = (0..60).map(|batch| lanes(rows, size, batch).map(|sample| sample.row).collect()).collect();
        assert_eq!((batches[0].clone(), batches[22].clone()), (vec![0, 5, 11, 17], vec![22, 4, 10, 16]));
        for (before, after) in batches.iter().zip(&batches[1..]) {
            assert!(before.iter().zip(after).all(|(before, after)| *after == (before + 1) % rows));
        }
        let mut seen: Vec<u64> = batches[..6].iter().flatten().copied().collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, (0..rows).collect::<Vec<_>>());
        assert_eq!(lanes(rows, size, 7).map(|sample| sample.sample).collect::<Vec<_>>(), [28, 29, 30, 31]);
    }
}
