//! `dedup-lines`: takes every line, or paragraph, that occurred before out of the texts, across the whole corpus and in its order.
//!
//! Exact: a set of hashes in bins on disk, no Bloom filter, so nothing is taken out by chance. A stage of its own, because it changes texts
//! and drops documents only when nothing is left of them; whole documents are the work of `dedup`. Dolma does the same to paragraphs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{ArrayRef, AsArray, BooleanArray, FixedSizeBinaryBuilder, Int64Builder, RecordBatch, StringArray, StringBuilder};
use arrow::compute::filter_record_batch;
use engine::{Context, Disk, Draft, Inputs, Kind, Part, PartWriter, Port, Site, Stage, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::bins::{Run, bins, read_range, read_u64s, write_u64s};
use crate::documents::{Corpus, Provenance, id_at};
use crate::rejects::{Reject, Rejects};

const BATCH_ROWS: usize = 2048;
/// Units of a run at most: 32 bytes each wait in memory for its end.
const RUN_UNITS: usize = 1 << 18;

/// Takes out what occurred before.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DedupLines {
    /// What is compared, with case and white space ignored: `line`, or `paragraph`, which ends at an empty line.
    #[serde(default = "default_unit")]
    pub unit: Unit,
    /// Lines or paragraphs of fewer words stay, however often they occur: headings, brackets and greetings repeat in sound texts. Each Han
    /// character is a word. Dolma's decontamination takes 13, for it must not miss by chance; here the whole unit is equal.
    #[serde(default = "default_words_min")]
    pub words_min: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Line,
    Paragraph,
}

fn default_unit() -> Unit {
    Unit::Line
}

fn default_words_min() -> usize {
    8
}

impl Stage for DedupLines {
    const NAME: &'static str = "dedup-lines";
    const ABOUT: &'static str = "Takes lines or paragraphs that occurred before in the corpus out of the texts.";
    const VERSION: u32 = 2;
    const INPUTS: &'static [Port] = &[Port::many("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Documents;

    fn prepare(&mut self, _site: &mut Site) -> Result<()> {
        if self.words_min == 0 {
            bail!("`words_min` is 0: it must be at least 1, for empty lines are no repetition");
        }
        Ok(())
    }

    fn disk(&self, input_bytes: u64) -> Disk {
        // Seen on 100 MB of English text: 0.4 of the input's files.
        Disk { kept: input_bytes, scratch: input_bytes, selected: 0 }
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let corpus = Corpus::of(&inputs.artifacts("documents"))?;
        draft.declare("documents", corpus.schema.clone())?;
        draft.declare("rejects", schema::rejects())?;
        draft.declare("edits", schema::edits())?;
        let plan = corpus.plan();
        let paths = |phase: &str, parts: usize| -> Vec<PathBuf> { (0..parts).map(|part| draft.scratch_path(phase, part)).collect() };
        draft.task(ctx, "units", &plan, |part, path| self.write_units(ctx, &corpus, part, path))?;
        let units = paths("units", plan.len()).iter().map(|path| Units::open(path)).collect::<Result<Vec<_>>>()?;
        let entries: u64 = units.iter().flat_map(|part| &part.runs).map(|run| run.entries).sum();
        let bins = vec![Part { bytes: 20 * entries / bins(entries) as u64 }; bins(entries)];
        draft.task(ctx, "repeats", &bins, |bin, path| write_repeats(ctx, &units, bin, bins.len(), path))?;
        let repeats = paths("repeats", bins.len());
        draft.parts(ctx, &plan, |part, writer| {
            let mut repeated = units[part].repeats()?;
            for path in &repeats {
                let first = (part as u64) << 32;
                repeated.extend(read_range(path, first, first + (1 << 32))?.into_iter().map(|repeat| repeat as u32));
            }
            repeated.sort();
            self.write_part(ctx, &corpus, part, &repeated, writer)
        })
    }
}

impl DedupLines {
    fn separator(&self) -> &'static str {
        match self.unit {
            Unit::Line => "\n",
            Unit::Paragraph => "\n\n",
        }
    }

    /// The lines or paragraphs of a text, and whether each is long enough to count.
    fn units<'a>(&self, text: &'a str) -> impl Iterator<Item = (&'a str, bool)> {
        let words_min = self.words_min;
        // A word has a byte and all but the last have something behind them, unless they are of Han or the like with 3 bytes each.
        let counts = move |unit: &str| unit.len() + 1 >= 2 * words_min && text::words(unit).take(words_min).count() == words_min;
        text.split(self.separator()).map(move |unit| (unit, counts(unit)))
    }

    /// Writes the hashes of a part's units in runs of those that differ, and which units repeat one of their own run.
    fn write_units(&self, ctx: &Context, corpus: &Corpus, part: usize, path: &Path) -> Result<()> {
        let mut writer = UnitWriter::create(path)?;
        let (table, file) = corpus.file(part);
        let mut folded = String::new();
        for batch in table.read(file, Some(&["text"]), BATCH_ROWS)? {
            ctx.check_stop()?;
            let batch = batch?;
            for text in batch.column(0).as_string::<i32>().iter().flatten() {
                for (unit, _) in self.units(text).filter(|(_, counts)| *counts) {
                    text::folded(unit, &mut folded);
                    writer.push(xxh3_128(folded.as_bytes()))?;
                }
            }
        }
        writer.finish()
    }

    /// Writes the documents of a part without the repeated units, whose numbers are sorted.
    fn write_part(&self, ctx: &Context, corpus: &Corpus, part: usize, repeated: &[u32], writer: &mut PartWriter) -> Result<()> {
        let mut repeated = repeated.iter().copied().peekable();
        let mut number = 0;
        for batch in corpus.read(part, BATCH_ROWS)? {
            ctx.check_stop()?;
            let batch = batch?;
            let texts = batch.column_by_name("text").context("the documents have no text")?.as_string::<i32>();
            let mut rest: Vec<Option<Rest>> = Vec::with_capacity(batch.num_rows());
            for text in texts.iter() {
                let mut removed = 0;
                let mut kept: Vec<&str> = Vec::new();
                for (unit, counts) in self.units(text.unwrap_or_default()) {
                    let repeats = counts && repeated.next_if_eq(&number).is_some();
                    number += u32::from(counts);
                    removed += i64::from(repeats);
                    if !repeats {
                        kept.push(unit);
                    }
                }
                // What is blank at the ends stood between what was taken out and the rest.
                let rest_of = |kept: Vec<&str>| kept.join(self.separator()).trim_matches('\n').to_string();
                rest.push((removed > 0).then(|| Rest { removed, text: rest_of(kept) }));
            }
            self.write_batch(&batch, texts, &rest, writer)?;
        }
        Ok(())
    }

    fn write_batch(&self, batch: &RecordBatch, texts: &StringArray, rest: &[Option<Rest>], writer: &mut PartWriter) -> Result<()> {
        let rewrite = if self.unit == Unit::Line { "repeated_lines" } else { "repeated_paragraphs" };
        let provenance = Provenance::of(batch)?;
        let mut rejects = Rejects::new("dedup-lines");
        let mut edits = (FixedSizeBinaryBuilder::new(16), StringBuilder::new(), Int64Builder::new(), Int64Builder::new());
        let (mut bytes_in, mut bytes_out) = (0, 0);
        let mut kept = vec![true; batch.num_rows()];
        for (row, rest) in rest.iter().enumerate() {
            let before = texts.value(row).len() as i64;
            bytes_in += before;
            bytes_out += before;
            let Some(rest) = rest else { continue };
            edits.0.append_value(provenance.id(row))?;
            edits.1.append_value(rewrite);
            edits.2.append_value(rest.removed);
            edits.3.append_value(before - rest.text.len() as i64);
            bytes_out += rest.text.len() as i64 - before;
            if rest.text.trim().is_empty() {
                bytes_out -= rest.text.len() as i64;
                kept[row] = false;
                let detail = Some("all of it occurred before");
                rejects.push(&Reject { rule: "empty_text", detail, ..provenance.reject(row) })?;
            }
        }
        for (name, bytes) in [("bytes_in", bytes_in), ("bytes_out", bytes_out), ("bytes_removed", bytes_in - bytes_out)] {
            writer.count(name, bytes);
        }
        rejects.write(writer)?;
        let edits: Vec<ArrayRef> =
            vec![Arc::new(edits.0.finish()), Arc::new(edits.1.finish()), Arc::new(edits.2.finish()), Arc::new(edits.3.finish())];
        writer.write("edits", &RecordBatch::try_new(schema::edits(), edits)?)?;
        let documents = with_rest(batch, texts, rest)?;
        writer.write("documents", &filter_record_batch(&documents, &BooleanArray::from(kept))?)
    }
}

/// What is left of a text, and how many units were taken out.
struct Rest {
    removed: i64,
    text: String,
}

/// The documents with what is left of their texts, and its hashes.
fn with_rest(batch: &RecordBatch, texts: &StringArray, rest: &[Option<Rest>]) -> Result<RecordBatch> {
    if rest.iter().all(Option::is_none) {
        return Ok(batch.clone());
    }
    let schema = batch.schema();
    let (hash, text) = (schema.index_of("content_hash")?, schema.index_of("text")?);
    let before = batch.column(hash).as_fixed_size_binary();
    let mut hashes = FixedSizeBinaryBuilder::with_capacity(batch.num_rows(), 16);
    let mut left = StringBuilder::with_capacity(batch.num_rows(), texts.value_data().len());
    for (row, rest) in rest.iter().enumerate() {
        match rest {
            Some(rest) => {
                hashes.append_value(crate::content_hash(&rest.text))?;
                left.append_value(&rest.text);
            }
            None => {
                hashes.append_value(id_at(before, row))?;
                left.append_value(texts.value(row));
            }
        }
    }
    let mut columns = batch.columns().to_vec();
    columns[hash] = Arc::new(hashes.finish());
    columns[text] = Arc::new(left.finish());
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// Writes the units of one part: runs; the repeats of each run; offset, units and repeats of every run; how many runs there are.
struct UnitWriter {
    file: BufWriter<File>,
    position: u64,
    next: u32,
    run: Vec<(u128, u32)>,
    repeats: Vec<u64>,
    tail: Vec<u64>,
}

impl UnitWriter {
    fn create(path: &Path) -> Result<UnitWriter> {
        let file = BufWriter::with_capacity(1 << 18, File::create(path).with_context(|| format!("creating `{}`", path.display()))?);
        Ok(UnitWriter { file, position: 0, next: 0, run: Vec::new(), repeats: Vec::new(), tail: Vec::new() })
    }

    fn push(&mut self, hash: u128) -> Result<()> {
        self.run.push((hash, self.next));
        self.next = self.next.checked_add(1).context("a part has more than 4 294 967 295 lines")?;
        if self.run.len() >= RUN_UNITS { self.close_run() } else { Ok(()) }
    }

    fn close_run(&mut self) -> Result<()> {
        self.run.sort_unstable();
        // A line that is everywhere leaves one entry a run, so no bin grows with it.
        self.run.dedup_by(|next, first| {
            let repeats = next.0 == first.0;
            self.repeats.extend(repeats.then_some(u64::from(next.1)));
            repeats
        });
        self.tail.extend([self.position, self.run.len() as u64, self.repeats.len() as u64]);
        Run::write(&mut self.run, &mut self.file)?;
        for repeat in &self.repeats {
            self.file.write_all(&repeat.to_le_bytes())?;
        }
        self.position += Run::bytes::<u128>(self.run.len() as u64) + 8 * self.repeats.len() as u64;
        self.run.clear();
        self.repeats.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.close_run()?;
        let runs = self.tail.len() as u64 / 3;
        for number in self.tail.iter().copied().chain([runs]) {
            self.file.write_all(&number.to_le_bytes())?;
        }
        Ok(self.file.flush()?)
    }
}

/// The units of one part.
struct Units {
    file: File,
    runs: Vec<Run>,
    /// Offset and number of every run's repeats.
    repeats: Vec<(u64, usize)>,
}

impl Units {
    fn open(path: &Path) -> Result<Units> {
        let open = || -> Result<Units> {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            let runs = read_u64s(&file, length.checked_sub(8).context("is too short")?, 1)?[0];
            let tail = read_u64s(&file, length.checked_sub(8 + 24 * runs).context("is too short")?, 3 * runs as usize)?;
            let runs: Vec<Run> = tail.chunks_exact(3).map(|run| Run { offset: run[0], entries: run[1] }).collect();
            let repeats = tail.chunks_exact(3).map(|run| (run[0] + Run::bytes::<u128>(run[1]), run[2] as usize)).collect();
            Ok(Units { file, runs, repeats })
        };
        open().with_context(|| format!("scratch file `{}`", path.display()))
    }

    /// The units that repeat one of their own run.
    fn repeats(&self) -> Result<Vec<u32>> {
        let mut repeats = Vec::new();
        for (offset, count) in &self.repeats {
            repeats.extend(read_u64s(&self.file, *offset, *count)?.into_iter().map(|repeat| repeat as u32));
        }
        Ok(repeats)
    }
}

/// Writes those units of one bin whose hash an earlier run has, as part and unit, sorted.
fn write_repeats(ctx: &Context, units: &[Units], bin: usize, bins: usize, path: &Path) -> Result<()> {
    let mut entries: Vec<(u128, u64)> = Vec::new();
    for (part, units) in units.iter().enumerate() {
        ctx.check_stop()?;
        for run in &units.runs {
            run.read(&units.file, bin, bins, |hash: u128, unit| entries.push((hash, (part as u64) << 32 | u64::from(unit))))?;
        }
    }
    // The stable sort makes use of the runs.
    entries.sort();
    let mut repeats: Vec<u64> = entries.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1).collect();
    repeats.sort_unstable();
    write_u64s(path, &repeats)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use crate::testing::{Lab, jsonl};

    const IMPORT: &str = "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\n";

    fn check(texts: &[&str], settings: &str, expected: &[&str], edits: &[&str], rejects: &[&str]) {
        let lab = Lab::new(&[("a.jsonl", &jsonl(texts))]);
        lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup-lines\"\n{settings}"), 2).unwrap();
        assert_eq!(lab.rows("dedup_lines", "documents", &["text"]), expected);
        assert_eq!(lab.rows("dedup_lines", "edits", &["rewrite", "count", "bytes_removed"]), edits);
        assert_eq!(lab.rows("dedup_lines", "rejects", &["line", "rule", "detail"]), rejects);
        let hashes: Vec<String> =
            expected.iter().map(|text| crate::content_hash(text).iter().map(|b| format!("{b:02x}")).collect()).collect();
        assert_eq!(lab.rows("dedup_lines", "documents", &["content_hash"]), hashes);
    }

    #[test]
    fn what_occurred_before_is_taken_out() {
        let line = "words_min = 2";
        check(
            &["a b\nc d", "x y\n A  B\nz", "c D\na b"],
            line,
            &["a b\nc d", "x y\nz"],
            &["repeated_lines|1|6", "repeated_lines|2|7"],
            &["3|empty_text|all of it occurred before"],
        );
        check(&["a b\nc d", "a b\n\nx\n\nc d"], line, &["a b\nc d", "x"], &["repeated_lines|2|10"], &[]);
        check(&["a b\nx\na b\nx"], line, &["a b\nx\nx"], &["repeated_lines|1|4"], &[]);
        check(&["one", "one", " one\n\n\none"], line, &["one", "one", " one\n\n\none"], &[], &[]);
        let paragraph = "words_min = 2\nunit = \"paragraph\"";
        check(&["a b\nc\n\nd e", "d e\n\na b\nc\n\nf"], paragraph, &["a b\nc\n\nd e", "f"], &["repeated_paragraphs|2|12"], &[]);
        check(&["这一行有八个汉字", "短行\n这一行有八个汉字"], "", &["这一行有八个汉字", "短行"], &["repeated_lines|1|25"], &[]);
        let eight = "one two three four five six seven eight";
        check(&[eight, eight], "words_min = 9", &[eight, eight], &[], &[]);
    }

    #[test]
    fn wrong_settings_are_refused() {
        let lab = Lab::new(&[("a.jsonl", b"")]);
        let message = format!("{:#}", lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup-lines\"\nwords_min = 0"), 1).unwrap_err());
        assert!(message.contains("`words_min` is 0"), "{message}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Any threads and any division into files give what a set of all lines in memory gives, and a second time takes nothing out.
        #[test]
        fn equals_a_set_in_memory(texts in proptest::collection::vec("([a-d] [a-d]\n){0,4}[a-d]", 0..40), cut in 0..40_usize) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let mut seen = HashSet::new();
            let expected: Vec<String> = texts
                .iter()
                .map(|text| text.split('\n').filter(|line| line.len() < 3 || seen.insert(*line)).collect::<Vec<_>>().join("\n"))
                .filter(|text| !text.is_empty())
                .collect();
            let (first, second) = texts.split_at(cut.min(texts.len()));
            let step = "[[step]]\nstage = \"dedup-lines\"\nwords_min = 2\n";
            let mut fingerprints = Vec::new();
            for threads in [1, 2] {
                let lab = Lab::new(&[("a.jsonl", &jsonl(first)), ("b.jsonl", &jsonl(second))]);
                lab.run(&format!("{IMPORT}{step}[[step]]\nname = \"again\"\nstage = \"dedup-lines\"\nwords_min = 2\n"), threads).unwrap();
                prop_assert_eq!(&lab.rows("dedup_lines", "documents", &["text"]), &expected);
                prop_assert_eq!(lab.rows("again", "edits", &["id"]).len(), 0);
                fingerprints.push(lab.fingerprint("dedup_lines"));
            }
            prop_assert_eq!(&fingerprints[0], &fingerprints[1]);
        }
    }
}
