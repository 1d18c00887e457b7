//! Encoded documents on their way to shards: for each file of documents its tokens, one document after another, and beside them a list that says
//! which tokens are whose. Shards are planned from the lists alone.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::Encoder;
use super::packing::Frame;

/// Bytes of tokens that are written at once.
const WRITTEN_AT_ONCE: usize = 1 << 18;

/// The kind of an entry of a document with a weight; 0 is that of one without.
const WEIGHTED: u8 = 4;

/// One entry of a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    /// The next split; splits are numbered in the order in which they come.
    Split(String),
    Document(Document),
    Reject(Reject),
    /// How often each token occurs in a split, ids with their counts; several of a split add up.
    Counts {
        split: u32,
        counts: Vec<(u32, u64)>,
    },
}

/// Whose the next tokens are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Document {
    pub(super) id: [u8; 16],
    pub(super) split: u32,
    /// Tokens that were kept.
    pub(super) length: u32,
    /// Tokens that were cut off after them.
    pub(super) cut: u32,
    /// What it counts in the loss, where documents have weights.
    pub(super) weight: Option<f32>,
}

/// A document that no row holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reject {
    pub(crate) id: [u8; 16],
    pub(crate) source: String,
    pub(crate) path: String,
    pub(crate) position: i64,
    pub(crate) line: Option<i64>,
    pub(crate) stage: String,
    pub(crate) rule: String,
    /// Value and threshold, where the rule has them.
    pub(crate) value: Option<(f64, f64)>,
}

/// The list beside a file of tokens.
pub(super) fn list_of(tokens: &Path) -> PathBuf {
    tokens.with_extension("list")
}

/// Writes the tokens and the list of one file of documents.
pub(crate) struct EncodedWriter<'a> {
    path: PathBuf,
    tokens: File,
    list: BufWriter<File>,
    encoder: &'a Encoder,
    pub(super) frame: &'a Frame,
    splits: Vec<Split>,
    /// Tokens that are not written yet.
    bytes: Vec<u8>,
}

struct Split {
    name: String,
    /// How often each token occurred since the counts were written last.
    counts: Vec<u32>,
    counted: u32,
}

impl<'a> EncodedWriter<'a> {
    pub(super) fn create(path: &Path, encoder: &'a Encoder, frame: &'a Frame) -> Result<EncodedWriter<'a>> {
        let create = |path: &Path| File::create(path).with_context(|| format!("creating `{}`", path.display()));
        let (tokens, list) = (create(path)?, BufWriter::new(create(&list_of(path))?));
        Ok(EncodedWriter { path: path.to_path_buf(), tokens, list, encoder, frame, splits: Vec::new(), bytes: Vec::new() })
    }

    /// Appends a document, its framing tokens included. What a row of its own cannot hold is cut off; the end of a document for a masked model
    /// stays, because those have only seen rows that end in it.
    pub(crate) fn push(&mut self, id: &[u8; 16], split: &str, weight: Option<f32>, tokens: &[u32]) -> Result<()> {
        let number = self.split(split)?;
        let cut = tokens.len().saturating_sub(self.frame.document_tokens_max);
        let (kept, _) = tokens.split_at(tokens.len() - cut);
        let replaced = self.frame.eos.filter(|_| cut > 0 && !self.frame.causal);
        let (kept, last) = match (replaced, kept.split_last()) {
            (Some(eos), Some((_, kept))) => (kept, Some(eos)),
            _ => (kept, None),
        };
        let length = u32::try_from(tokens.len()).context("a document has more tokens than 32 bits can count")? - cut as u32;
        self.count(number, length, kept.iter().chain(&last))?;
        self.encoder.width.append_bytes(kept, &mut self.bytes);
        self.encoder.width.append_bytes(last.as_slice(), &mut self.bytes);
        if self.bytes.len() >= WRITTEN_AT_ONCE {
            self.write()?;
        }
        self.note(&Entry::Document(Document { id: *id, split: number as u32, length, cut: cut as u32, weight }))
    }

    fn count<'t>(&mut self, split: usize, length: u32, tokens: impl Iterator<Item = &'t u32>) -> Result<()> {
        if self.splits[split].counted.checked_add(length).is_none() {
            self.note_counts(split)?;
        }
        let Split { counts, counted, .. } = &mut self.splits[split];
        *counted += length;
        for token in tokens {
            match counts.get_mut(*token as usize) {
                Some(count) => *count += 1,
                None => {
                    let (name, most) = (&self.encoder.name, counts.len() - 1);
                    bail!("{name} made the id {token} and has ids from 0 to {most} alone; its files do not fit one another")
                }
            }
        }
        Ok(())
    }

    /// Writes the counts of a split and begins anew.
    fn note_counts(&mut self, split: usize) -> Result<()> {
        let Split { counts, counted, .. } = &mut self.splits[split];
        *counted = 0;
        let found = (0..).zip(counts.iter_mut()).filter(|(_, count)| **count > 0);
        let counts = found.map(|(token, count)| (token, std::mem::take(count).into())).collect();
        self.note(&Entry::Counts { split: split as u32, counts })
    }

    fn write(&mut self) -> Result<()> {
        self.tokens.write_all(&self.bytes).with_context(|| format!("writing `{}`", self.path.display()))?;
        self.bytes.clear();
        Ok(())
    }

    pub(crate) fn reject(&mut self, reject: Reject) -> Result<()> {
        self.note(&Entry::Reject(reject))
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> Result<()> {
        for split in 0..self.splits.len() {
            self.note_counts(split)?;
        }
        self.write()?;
        self.list.flush().with_context(|| format!("writing the list of `{}`", self.path.display()))
    }

    /// The number of a split.
    fn split(&mut self, name: &str) -> Result<usize> {
        if let Some(number) = self.splits.iter().rposition(|split| split.name == name) {
            return Ok(number);
        }
        self.note(&Entry::Split(name.to_string()))?;
        self.splits.push(Split { name: name.to_string(), counts: vec![0; self.encoder.vocabulary_size], counted: 0 });
        Ok(self.splits.len() - 1)
    }

    fn note(&mut self, entry: &Entry) -> Result<()> {
        write_entry(&mut self.list, entry).with_context(|| format!("writing the list of `{}`", self.path.display()))
    }
}

fn write_entry(out: &mut impl Write, entry: &Entry) -> Result<()> {
    match entry {
        Entry::Document(Document { id, split, length, cut, weight }) => {
            let mut bytes = [0; 33];
            bytes[0] = if weight.is_some() { WEIGHTED } else { 0 };
            bytes[1..17].copy_from_slice(id);
            let numbers = [*split, *length, *cut, weight.map_or(0, f32::to_bits)];
            for (place, number) in bytes[17..].as_chunks_mut().0.iter_mut().zip(numbers) {
                *place = number.to_le_bytes();
            }
            Ok(out.write_all(&bytes[..if weight.is_some() { 33 } else { 29 }])?)
        }
        Entry::Split(name) => write_bytes(out, 1, name.as_bytes()),
        Entry::Reject(reject) => write_bytes(out, 2, &serde_json::to_vec(reject)?),
        Entry::Counts { split, counts } => {
            let counts = counts.iter().flat_map(|(token, count)| token.to_le_bytes().into_iter().chain(count.to_le_bytes()));
            write_bytes(out, 3, &split.to_le_bytes().into_iter().chain(counts).collect::<Vec<u8>>())
        }
    }
}

fn write_bytes(out: &mut impl Write, kind: u8, bytes: &[u8]) -> Result<()> {
    out.write_all(&[kind])?;
    out.write_all(&u32::try_from(bytes.len())?.to_le_bytes())?;
    Ok(out.write_all(bytes)?)
}

/// Reads a list from any of its entries on.
pub(super) struct Entries {
    path: PathBuf,
    reader: BufReader<File>,
    position: u64,
}

impl Entries {
    /// The list of a file of tokens from a byte on, where an entry begins.
    pub(super) fn open(tokens: &Path, position: u64) -> Result<Entries> {
        let path = list_of(tokens);
        let failed = || format!("reading `{}`", path.display());
        let mut reader = BufReader::with_capacity(1 << 18, File::open(&path).with_context(failed)?);
        reader.seek(SeekFrom::Start(position)).with_context(failed)?;
        Ok(Entries { path, reader, position })
    }

    /// Where the next entry begins.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next entry; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        self.read().with_context(|| format!("reading `{}`", self.path.display()))
    }

    fn read(&mut self) -> Result<Option<Entry>> {
        let mut kind = [0];
        if self.reader.read(&mut kind)? == 0 {
            return Ok(None);
        }
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
        if kind[0] == 0 || kind[0] == WEIGHTED {
            let (mut bytes, size) = ([0; 32], if kind[0] == WEIGHTED { 32 } else { 28 });
            self.reader.read_exact(&mut bytes[..size])?;
            self.position += 1 + size as u64;
            let id = bytes[..16].try_into().expect("sixteen bytes");
            let [split, length, cut, weight] = [16, 20, 24, 28].map(|at| number(&bytes[at..]));
            let weight = (kind[0] == WEIGHTED).then(|| f32::from_bits(weight));
            return Ok(Some(Entry::Document(Document { id, split, length, cut, weight })));
        }
        let mut length = [0; 4];
        self.reader.read_exact(&mut length)?;
        let mut bytes = vec![0; number(&length) as usize];
        self.reader.read_exact(&mut bytes)?;
        self.position += 5 + bytes.len() as u64;
        Ok(Some(match kind[0] {
            1 => Entry::Split(String::from_utf8(bytes)?),
            2 => Entry::Reject(serde_json::from_slice(&bytes)?),
            3 if bytes.len() >= 4 => {
                let counts = bytes[4..].chunks_exact(12);
                let count = |b: &[u8]| (number(b), u64::from_le_bytes(b[4..12].try_into().expect("eight bytes")));
                Entry::Counts { split: number(&bytes), counts: counts.map(count).collect() }
            }
            kind => bail!("an entry of the unknown kind {kind}"),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenize::{Model, Tokenize};
    use shards::TokenFile;

    fn encoder() -> Encoder {
        let mut counts = text::WordCounts::new(text::Kind::ByteLevelBpe);
        counts.add(&["a text, a word"]);
        Encoder::new(counts.learn(260, 1).unwrap(), "the tokenizer of step `bpe`".into(), Model::Causal, None).unwrap()
    }

    fn frame(encoder: &Encoder, packing: &str) -> Frame {
        let settings = serde_json::json!({"packing": packing, "sequence_length": 8});
        Frame::new(&serde_json::from_value::<Tokenize>(settings).unwrap(), encoder).unwrap()
    }

    fn entries(path: &Path, position: u64) -> Result<Vec<Entry>> {
        let mut entries = Entries::open(path, position)?;
        let mut found = Vec::new();
        while let Some(entry) = entries.next()? {
            found.push(entry);
        }
        Ok(found)
    }

    #[test]
    fn what_was_written_is_read_from_any_entry_on() {
        let folder = tempfile::tempdir().unwrap();
        let (path, encoder) = (folder.path().join("part-00000"), encoder());
        let frame = frame(&encoder, "one-per-row");
        let mut out = EncodedWriter::create(&path, &encoder, &frame).unwrap();
        let reject = Reject {
            id: [3; 16],
            source: "a".into(),
            path: "b.jsonl".into(),
            position: 7,
            line: Some(8),
            stage: "tokenize".into(),
            rule: "empty".into(),
            value: None,
        };
        out.push(&[1; 16], "train", None, &[5, 6, 0]).unwrap();
        out.push(&[2; 16], "valid", Some(0.1), &[9; 10]).unwrap();
        out.reject(reject.clone()).unwrap();
        out.push(&[4; 16], "train", Some(0.0), &[6, 0]).unwrap();
        out.finish().unwrap();
        let document = |n, split, length, cut, weight| Entry::Document(Document { id: [n; 16], split, length, cut, weight });
        let expected = [
            Entry::Split("train".into()),
            document(1, 0, 3, 0, None),
            Entry::Split("valid".into()),
            document(2, 1, 8, 2, Some(0.1)),
            Entry::Reject(reject),
            document(4, 0, 2, 0, Some(0.0)),
            Entry::Counts { split: 0, counts: vec![(0, 2), (5, 1), (6, 2)] },
            Entry::Counts { split: 1, counts: vec![(9, 8)] },
        ];
        assert_eq!(entries(&path, 0).unwrap(), expected);
        let mut list = Entries::open(&path, 0).unwrap();
        for read in 0..expected.len() {
            assert_eq!(entries(&path, list.position()).unwrap(), expected[read..]);
            list.next().unwrap();
        }
        let tokens = TokenFile::open(&path, encoder.width).unwrap();
        let expected: Vec<u8> = [&[5, 6, 0][..], &[9; 8], &[6, 0]].concat().iter().flat_map(|id: &u16| id.to_le_bytes()).collect();
        assert_eq!(tokens.bytes(0..13).unwrap(), expected);
        assert!(tokens.bytes(12..14).unwrap_err().to_string().contains("is shorter than 14 tokens"));
        let whole = std::fs::read(list_of(&path)).unwrap();
        std::fs::write(list_of(&path), &whole[..whole.len() - 1]).unwrap();
        assert!(entries(&path, 0).unwrap_err().to_string().contains("part-00000.list"));
    }

    #[test]
    fn an_id_beyond_the_vocabulary_names_the_tokenizer() {
        let folder = tempfile::tempdir().unwrap();
        let encoder = encoder();
        let frame = frame(&encoder, "pack");
        let mut out = EncodedWriter::create(&folder.path().join("part-00000"), &encoder, &frame).unwrap();
        let most = encoder.tokenizer.vocabulary_size() as u32 - 1;
        out.push(&[1; 16], "train", None, &[most]).unwrap();
        let error = out.push(&[1; 16], "train", None, &[most + 1]).unwrap_err().to_string();
        let expected = format!(
            "the tokenizer of step `bpe` made the id {} and has ids from 0 to {most} alone; its files do not fit one another",
            most + 1
        );
        assert_eq!(error, expected);
    }
}
