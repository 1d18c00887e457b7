//! Flat arrays of ids: `.bin` without any header, as nanoGPT maps it, and NumPy's `.npy`. One file for each split, documents one after another;
//! only the end-of-text id tells where one ends.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use engine::Draft;

use super::documents::{Document, Totals};
use super::files::{Input, Output};
use super::{Dtype, Found, Limits, Sink, Written};

/// Version 1.0 of NumPy's format: magic, version, length of the header (u16), and a Python dict that ends in a newline at a multiple of 64.
const NPY_MAGIC: &[u8; 8] = b"\x93NUMPY\x01\x00";
/// NumPy leaves room for this many digits of the length, so that an array can grow in place.
const NPY_DIGITS: usize = 21;
/// Most tokens of a vocabulary whose ids are uint16.
pub(super) const NANOGPT_TOKENS: usize = 1 << 16;
/// Ids that are read at once.
const CHUNK: usize = 1 << 18;

pub(super) struct Writer {
    dtype: Dtype,
    relative: String,
    output: Output,
    written: Totals,
    buffer: Vec<u8>,
}

/// A `.bin` of uint16, whose name for the split `valid` is `val.bin`: that is what nanoGPT's train.py opens.
pub(super) fn create_nanogpt(draft: &Draft, folder: &str, split: &str) -> Result<Writer> {
    let split = if split == "valid" { "val" } else { split };
    create(draft, format!("{folder}/{split}.bin"), Dtype::Uint16)
}

/// Refuses a vocabulary whose ids nanoGPT cannot hold.
pub(super) fn check_nanogpt(vocabulary_size: usize) -> Result<()> {
    if vocabulary_size > NANOGPT_TOKENS {
        bail!(
            "nanoGPT reads ids as uint16, and the vocabulary has {vocabulary_size} tokens; take format = \"npy\", or a tokenizer of at most {NANOGPT_TOKENS} tokens"
        );
    }
    Ok(())
}

/// An array of one dimension, of uint16 or uint32 by the vocabulary.
pub(super) fn create_npy(draft: &Draft, folder: &str, split: &str, totals: Totals, vocabulary_size: usize) -> Result<Writer> {
    let mut writer = create(draft, format!("{folder}/{split}.npy"), Dtype::unsigned_for(vocabulary_size))?;
    writer.output.write(&npy_header(writer.dtype, totals.tokens))?;
    Ok(writer)
}

fn create(draft: &Draft, relative: String, dtype: Dtype) -> Result<Writer> {
    let output = Output::create(&draft.file(&relative)?)?;
    Ok(Writer { dtype, relative, output, written: Totals::default(), buffer: Vec::new() })
}

fn npy_header(dtype: Dtype, length: u64) -> Vec<u8> {
    let digits = length.to_string().len();
    let mut text = format!("{{'descr': '<u{}', 'fortran_order': False, 'shape': ({length},), }}", dtype.size());
    text.extend(std::iter::repeat_n(' ', NPY_DIGITS.saturating_sub(digits)));
    let before = NPY_MAGIC.len() + 2;
    let padding = 64 - (before + text.len() + 1) % 64;
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    [NPY_MAGIC, (text.len() as u16).to_le_bytes().as_slice(), text.as_bytes()].concat()
}

impl Sink for Writer {
    fn push(&mut self, document: &Document) -> Result<()> {
        self.buffer.clear();
        self.dtype.encode(&document.tokens, &mut self.buffer);
        self.written.documents += 1;
        self.written.tokens += document.tokens.len() as u64;
        self.output.write(&self.buffer)
    }

    fn finish(self: Box<Self>) -> Result<Vec<Written>> {
        Ok(vec![Written::new(self.relative, self.written, self.output.finish()?)])
    }
}

/// Reads a `.bin` without header; a document ends after each `end`.
pub(crate) fn read_bin(path: &Path, dtype: Dtype, end: i64, limits: &Limits, sink: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
    let input = Input::open(path)?;
    if input.bytes % dtype.size() as u64 != 0 {
        bail!(
            "`{}` has {} bytes, which is no whole number of ids of the type {}; it is cut short, or `dtype` is another",
            path.display(),
            input.bytes,
            dtype.name()
        );
    }
    read(path, input, dtype, end, limits, sink)
}

/// Reads a `.npy` of one dimension (or several, row by row); a document ends after each `end`.
pub(crate) fn read_npy(path: &Path, end: i64, limits: &Limits, sink: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
    let name = path.display();
    let mut input = Input::open(path)?;
    if input.bytes < 10 || input.array::<6>()? != NPY_MAGIC[..6] {
        bail!("`{name}` is no file of NumPy: it does not begin with its mark");
    }
    let length = match input.array()? {
        [1, _] => u32::from(u16::from_le_bytes(input.array()?)),
        [2 | 3, _] => u32::from_le_bytes(input.array()?),
        [major, minor] => bail!("`{name}` has version {major}.{minor} of NumPy's format, this program reads 1 to 3"),
    };
    let mut header = Vec::new();
    input.take(length as usize, &mut header)?;
    let header = String::from_utf8_lossy(&header);
    let (dtype, ids) = parse_header(&header).with_context(|| format!("`{name}` is no array of token ids"))?;
    let left = input.bytes - input.position();
    if ids.checked_mul(dtype.size() as u64) != Some(left) {
        bail!(
            "`{name}` has {left} bytes of ids where its header says {ids} of the type {}; it is cut short or altered, get it again",
            dtype.name()
        );
    }
    read(path, input, dtype, end, limits, sink)
}

/// Type and number of ids. NumPy's header is a Python dict of three keys, always spelled alike.
fn parse_header(header: &str) -> Result<(Dtype, u64)> {
    let value = |key: &str| header.split_once(key).map(|(_, rest)| rest.trim_start_matches([' ', ':']));
    let descr = value("'descr'").and_then(|rest| rest.strip_prefix('\'')?.split('\'').next()).context("its header has no `descr`")?;
    let dtype = Dtype::ALL.into_iter().find(|dtype| {
        let letter = if dtype.name().starts_with('u') { 'u' } else { 'i' };
        let mark = if dtype.size() == 1 { '|' } else { '<' };
        descr == format!("{mark}{letter}{}", dtype.size())
    });
    let dtype = dtype.with_context(|| format!("its type is {descr}; ids must be little-endian integers"))?;
    if value("'fortran_order'").is_some_and(|rest| rest.starts_with("True")) && header.matches(',').count() > 4 {
        bail!("it is stored column by column; save it with numpy.ascontiguousarray");
    }
    let shape = value("'shape'").and_then(|rest| rest.strip_prefix('(')?.split(')').next()).context("its header has no `shape`")?;
    let mut ids = 1u64;
    for size in shape.split(',').map(str::trim).filter(|size| !size.is_empty()) {
        let size: u64 = size.parse().with_context(|| format!("its shape is ({shape})"))?;
        ids = ids.checked_mul(size).with_context(|| format!("its shape is ({shape})"))?;
    }
    Ok((dtype, ids))
}

fn read(path: &Path, mut input: Input, dtype: Dtype, end: i64, limits: &Limits, sink: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
    let (mut bytes, mut ids) = (Vec::new(), Vec::new());
    let mut open = Found::default();
    while input.position() < input.bytes {
        let left = (input.bytes - input.position()) / dtype.size() as u64;
        input.take(left.min(CHUNK as u64) as usize * dtype.size(), &mut bytes)?;
        ids.clear();
        dtype.decode(&bytes, &mut ids);
        for piece in ids.split_inclusive(|id| *id == end) {
            limits.check(path, open.position, open.tokens.len() + piece.len()).with_context(|| {
                format!("documents end in the end-of-text id {end}; is the tokenizer the one the file was made with, and `dtype` right?")
            })?;
            open.tokens.extend_from_slice(piece);
            if piece.last() == Some(&end) {
                let position = open.position + 1;
                sink(std::mem::replace(&mut open, Found { position, ..Found::default() }))?;
            }
        }
    }
    // What follows the last end is a document whose end was not written.
    if open.tokens.is_empty() { Ok(()) } else { sink(open) }
}
