//! Megatron-LM: `NAME.bin` holds the ids, `NAME.idx` says where each sequence lies and at which sequence a document begins.
//!
//! As `megatron/core/datasets/indexed_dataset.py` has it: `MMIDIDX\0\0`, version 1 (u64), code of the type (u8), number of sequences (u64),
//! number of documents + 1 (u64), lengths (i32 each), byte offsets (i64 each), first sequence of each document and the number of sequences
//! (i64 each), and modes (i8 each) for several modalities. We write one sequence for each document.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use engine::Draft;

use super::documents::{Document, Totals};
use super::files::{Input, Output};
use super::{Dtype, Found, Limits, Sink, Written};

const MAGIC: &[u8; 9] = b"MMIDIDX\0\0";
const HEADER_BYTES: u64 = 34;
/// Types by their codes, from 1 on; 6 and 7 are floating point.
const CODES: [Option<Dtype>; 8] =
    [Some(Dtype::Uint8), Some(Dtype::Int8), Some(Dtype::Int16), Some(Dtype::Int32), Some(Dtype::Int64), None, None, Some(Dtype::Uint16)];
/// From this vocabulary on Megatron's own tools take int32.
const UINT16_BELOW: usize = 65_500;

pub(super) struct Writer {
    dtype: Dtype,
    totals: Totals,
    bin: Output,
    idx: Output,
    written: Totals,
    paths: [String; 2],
    draft_idx: std::path::PathBuf,
    buffer: Vec<u8>,
}

pub(super) fn create(draft: &Draft, folder: &str, split: &str, totals: Totals, vocabulary_size: usize) -> Result<Writer> {
    let dtype = if vocabulary_size < UINT16_BELOW { Dtype::Uint16 } else { Dtype::Int32 };
    let paths = [format!("{folder}/{split}.bin"), format!("{folder}/{split}.idx")];
    let draft_idx = draft.file(&paths[1])?;
    let mut idx = Output::create(&draft_idx)?;
    let code = CODES.iter().position(|known| *known == Some(dtype)).expect("both types have codes") as u8 + 1;
    idx.write(MAGIC)?;
    idx.write(&1u64.to_le_bytes())?;
    idx.write(&[code])?;
    idx.write(&totals.documents.to_le_bytes())?;
    idx.write(&(totals.documents + 1).to_le_bytes())?;
    let bin = Output::create(&draft.file(&paths[0])?)?;
    Ok(Writer { dtype, totals, bin, idx, written: Totals::default(), paths, draft_idx, buffer: Vec::new() })
}

impl Sink for Writer {
    fn push(&mut self, document: &Document) -> Result<()> {
        let length = i32::try_from(document.tokens.len()).context("a document has more tokens than Megatron's index can say")?;
        self.idx.write(&length.to_le_bytes())?;
        self.buffer.clear();
        self.dtype.encode(&document.tokens, &mut self.buffer);
        self.written.documents += 1;
        self.written.tokens += document.tokens.len() as u64;
        self.bin.write(&self.buffer)
    }

    fn finish(self: Box<Self>) -> Result<Vec<Written>> {
        assert_eq!(self.written, self.totals, "the header was written before");
        let bin = self.bin.finish()?;
        // The offsets follow from the lengths, which are read back rather than kept: an index of many documents is large.
        let lengths = self.idx.finish()?;
        debug_assert_eq!(lengths, HEADER_BYTES + 4 * self.totals.documents);
        let mut reader = Input::open(&self.draft_idx)?;
        reader.seek(HEADER_BYTES)?;
        let mut idx = Output::append(&self.draft_idx)?;
        let mut pointer = 0i64;
        for _ in 0..self.totals.documents {
            idx.write(&pointer.to_le_bytes())?;
            pointer += i64::from(i32::from_le_bytes(reader.array()?)) * self.dtype.size() as i64;
        }
        for document in 0..=self.totals.documents {
            idx.write(&document.to_le_bytes())?;
        }
        let idx = idx.finish()?;
        let [bin_path, idx_path] = self.paths;
        Ok(vec![Written::new(bin_path, self.written, bin), Written::new(idx_path, Totals::default(), idx)])
    }
}

/// Reads `NAME.bin` by `NAME.idx`.
pub(crate) fn read(bin: &Path, idx: &Path, limits: &Limits, sink: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
    let name = idx.display();
    let mut lengths = Input::open(idx)?;
    if lengths.bytes < HEADER_BYTES || lengths.array::<9>()? != *MAGIC {
        bail!("`{name}` is no index of Megatron: it does not begin with MMIDIDX");
    }
    let version = lengths.u64()?;
    if version != 1 {
        bail!("`{name}` has version {version}, this program reads version 1");
    }
    let [code] = lengths.array()?;
    let dtype = usize::from(code).checked_sub(1).and_then(|code| CODES.get(code).copied().flatten());
    let dtype = dtype.with_context(|| format!("`{name}` says that ids have the type {code}, which is no integer"))?;
    let (sequences, documents) = (lengths.u64()?, lengths.u64()?);
    let expected = || sequences.checked_mul(12)?.checked_add(documents.checked_mul(8)?)?.checked_add(HEADER_BYTES);
    let fits = |bytes: u64| bytes == lengths.bytes || bytes.checked_add(sequences) == Some(lengths.bytes);
    if !expected().is_some_and(fits) || documents == 0 {
        bail!(
            "`{name}` has {} bytes, which does not fit its {sequences} sequences and {documents} ends; it is cut short or altered, get it again",
            lengths.bytes
        );
    }
    let (mut pointers, mut ends) = (Input::open(idx)?, Input::open(idx)?);
    pointers.seek(HEADER_BYTES + 4 * sequences)?;
    ends.seek(HEADER_BYTES + 12 * sequences)?;
    let mut data = Input::open(bin)?;
    let altered = |what: String| anyhow::anyhow!("`{name}` is altered: {what}; get it again");
    let mut at = ends.u64()?;
    if at != 0 {
        return Err(altered(format!("the first document begins at sequence {at}")));
    }
    let (mut bytes, mut left) = (Vec::new(), data.bytes);
    for position in 0..documents - 1 {
        let end = ends.u64()?;
        if end < at || end > sequences {
            return Err(altered(format!("document {position} ends at sequence {end} of {sequences}, before it begins or after the last")));
        }
        let mut found = Found { position, ..Found::default() };
        for sequence in at..end {
            let length = i32::from_le_bytes(lengths.array()?);
            let length = usize::try_from(length).map_err(|_| altered(format!("sequence {sequence} has the length {length}")))?;
            limits.check(bin, position, found.tokens.len() + length)?;
            data.seek(pointers.u64()?)?;
            data.take(length * dtype.size(), &mut bytes)?;
            dtype.decode(&bytes, &mut found.tokens);
            left = left.saturating_sub(bytes.len() as u64);
        }
        at = end;
        sink(found)?;
    }
    if left > 0 {
        bail!("`{}` is longer by {left} bytes than `{name}` says; are they a pair?", bin.display());
    }
    if at != sequences {
        return Err(altered(format!("{} sequences belong to no document", sequences - at)));
    }
    Ok(())
}
