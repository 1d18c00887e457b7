//! The batches of an Arrow file as views into the mapped file, and the checks that a damaged file is refused by.
//!
//! Arrow checks offsets against values, not whether the pieces of the file lie where they were written: a changed bit in a footer could make it
//! read other bytes as tokens. Our writer leaves no gaps, so neither may the file: messages follow one another, and so do the buffers in each.
//! What stays unseen without its hash is a changed token.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::{Block, Endianness, Field, FieldNode, Precision, Type, root_as_footer, root_as_message};
use bytes::Bytes;
use memmap2::Mmap;

/// Buffers begin at multiples of this, at most.
const ALIGNMENT: usize = 64;
/// What stands after the last batch.
const END_MARKER: usize = 8;
/// Longer rows than any model reads.
const MAX_ROW_TOKENS: i32 = 1 << 24;
/// What stands before a message: a marker and its length.
const PREFIX: usize = 8;

/// Maps a shard into memory and checks all but its values; `bytes` is the length it must have.
pub(crate) fn map(path: &Path, bytes: Option<u64>) -> Result<Vec<RecordBatch>> {
    let file = File::open(path).context("opening the file")?;
    let length = file.metadata().context("reading its length")?.len();
    match bytes {
        Some(bytes) if bytes != length => bail!("has {length} bytes, the manifest says {bytes}"),
        _ => {}
    }
    // SAFETY: artifacts are never changed once they are finished, so the mapped bytes stay what they are.
    let mapped = unsafe { Mmap::map(&file) }.context("mapping the file into memory")?;
    read(Buffer::from(Bytes::from_owner(mapped)))
}

fn read(buffer: Buffer) -> Result<Vec<RecordBatch>> {
    let Some(trailer) = buffer.len().checked_sub(10) else { bail!("has {} bytes only", buffer.len()) };
    let length = read_footer_length(buffer[trailer..].try_into().expect("ten bytes were cut off"))?;
    let Some(start) = trailer.checked_sub(length) else { bail!("its footer is longer than the file") };
    let footer = root_as_footer(&buffer[start..trailer]).map_err(|error| anyhow::anyhow!("unreadable footer: {error}"))?;
    let schema = footer.schema().context("has no schema")?;
    if schema.endianness() != Endianness::Little || !schema.fields().context("has no columns")?.iter().all(|field| is_known(&field)) {
        bail!("has columns that no shard has");
    }
    let schema = fb_to_schema(schema);
    let widths: Vec<usize> = schema.fields().iter().flat_map(|field| buffer_widths(field.data_type())).collect();
    let schema = SchemaRef::new(schema);
    let decoder = FileDecoder::new(schema.clone(), footer.version());
    let blocks = footer.recordBatches().context("has no list of batches")?;
    let mut batches = Vec::with_capacity(blocks.len());
    let mut expected = None;
    for block in blocks {
        let (begin, end) = extent(block)?;
        if end > start || expected.is_some_and(|expected| expected != begin) {
            bail!("a batch lies where none was written");
        }
        let data = buffer.slice_with_length(begin, end - begin);
        check_message(block, &data, &schema, &widths)?;
        let batch = decoder.read_record_batch(block, &data)?.context("an empty batch")?;
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            check_column(column, field.is_nullable())?;
        }
        batches.push(batch);
        expected = Some(end);
    }
    if expected.is_some_and(|end| end + END_MARKER != start) {
        bail!("what follows the batches is not the footer");
    }
    Ok(batches)
}

/// Whether a column is of the kinds that shards have; arrow panics on some that a changed bit can make of them.
fn is_known(field: &Field) -> bool {
    let inner = || field.children().into_iter().flatten();
    let kind = match field.type_type() {
        Type::Utf8 | Type::Bool => true,
        Type::FloatingPoint => {
            field.type_as_floating_point().is_some_and(|float| [Precision::SINGLE, Precision::DOUBLE].contains(&float.precision()))
        }
        Type::Int => field.type_as_int().is_some_and(|int| matches!(int.bitWidth(), 8 | 16 | 32 | 64)),
        Type::FixedSizeBinary => field.type_as_fixed_size_binary().is_some_and(|binary| binary.byteWidth() == 16),
        Type::List => inner().count() == 1,
        Type::FixedSizeList => {
            inner().count() == 1 && field.type_as_fixed_size_list().is_some_and(|list| (1..=MAX_ROW_TOKENS).contains(&list.listSize()))
        }
        Type::Struct_ => inner().count() > 0,
        _ => false,
    };
    kind && field.dictionary().is_none() && field.name().is_some() && inner().all(|field| is_known(&field))
}

/// What the length of each buffer of a column is a multiple of: of its bitmap of nulls, of its own values, of those inside of it.
fn buffer_widths(kind: &DataType) -> Vec<usize> {
    let own: &[usize] = match kind {
        DataType::List(_) => &[1, 4],
        DataType::Utf8 => &[1, 4, 1],
        DataType::FixedSizeBinary(_) => &[1, 16],
        DataType::FixedSizeList(..) | DataType::Struct(_) => &[1],
        other => &[1, other.primitive_width().unwrap_or(1)],
    };
    let inner: Vec<usize> = match kind {
        DataType::List(field) | DataType::FixedSizeList(field, _) => buffer_widths(field.data_type()),
        DataType::Struct(fields) => fields.iter().flat_map(|field| buffer_widths(field.data_type())).collect(),
        _ => Vec::new(),
    };
    own.iter().copied().chain(inner).collect()
}

/// Whether a column has as many values as are wanted, and those inside of it as follow from that. Arrow itself would leave out the rest.
fn lengths_fit(kind: &DataType, wanted: Option<i64>, nodes: &mut dyn Iterator<Item = &FieldNode>) -> bool {
    let Some(length) = nodes.next().map(FieldNode::length) else { return false };
    wanted.is_none_or(|wanted| wanted == length)
        && match kind {
            DataType::FixedSizeList(inner, size) => lengths_fit(inner.data_type(), length.checked_mul(i64::from(*size)), nodes),
            DataType::List(inner) => lengths_fit(inner.data_type(), None, nodes),
            DataType::Struct(fields) => fields.iter().all(|field| lengths_fit(field.data_type(), Some(length), nodes)),
            _ => true,
        }
}

/// Begin and end of a batch in the file.
fn extent(block: &Block) -> Result<(usize, usize)> {
    let begin = usize::try_from(block.offset())?;
    let length = usize::try_from(block.bodyLength())?.checked_add(usize::try_from(block.metaDataLength())?);
    let end = length.and_then(|length| begin.checked_add(length)).context("a batch ends beyond all files")?;
    if !begin.is_multiple_of(PREFIX) || !(block.metaDataLength() as usize).is_multiple_of(PREFIX) {
        bail!("a batch begins beside its place");
    }
    Ok((begin, end))
}

/// The buffers of a message must follow one another and fill its body.
fn check_message(block: &Block, data: &[u8], schema: &Schema, widths: &[usize]) -> Result<()> {
    let metadata = usize::try_from(block.metaDataLength())?;
    let header = data.get(PREFIX..metadata).context("a batch without a header")?;
    let message = root_as_message(header).map_err(|error| anyhow::anyhow!("unreadable header of a batch: {error}"))?;
    let batch = message.header_as_record_batch().context("a batch that is none")?;
    if message.bodyLength() != block.bodyLength() || batch.compression().is_some() || batch.length() < 0 {
        bail!("the header of a batch does not fit it");
    }
    // No value takes less than a byte, so none of these numbers can overflow.
    let body = block.bodyLength();
    if batch.nodes().context("a batch without columns")?.iter().any(|node| !(0..=body).contains(&node.length()) || node.null_count() != 0) {
        bail!("a column of a batch has more values than it could hold, or missing ones");
    }
    let mut nodes = batch.nodes().into_iter().flatten();
    if !schema.fields().iter().all(|field| lengths_fit(field.data_type(), Some(batch.length()), &mut nodes)) {
        bail!("the columns of a batch are not of one length");
    }
    let mut end = 0usize;
    let buffers = batch.buffers().context("a batch without buffers")?;
    if buffers.len() != widths.len() {
        bail!("a batch has {} buffers, its columns need {}", buffers.len(), widths.len());
    }
    for (buffer, width) in buffers.iter().zip(widths) {
        let (offset, length) = (usize::try_from(buffer.offset())?, usize::try_from(buffer.length())?);
        if offset != end || length % width != 0 {
            bail!("a buffer of a batch lies where none was written");
        }
        end = offset.checked_add(length).context("a buffer ends beyond all files")?.next_multiple_of(ALIGNMENT);
    }
    let body = usize::try_from(block.bodyLength())?;
    if end.next_multiple_of(ALIGNMENT) != body.next_multiple_of(ALIGNMENT) || end > body.next_multiple_of(ALIGNMENT) {
        bail!("the buffers of a batch do not fill it");
    }
    Ok(())
}

/// Lists must use up their values, and nothing is missing but where it may be.
fn check_column(column: &dyn Array, nullable: bool) -> Result<()> {
    if column.null_count() > 0 && !nullable {
        bail!("a value is missing");
    }
    match column.data_type() {
        DataType::FixedSizeList(inner, length) => {
            let list = column.as_fixed_size_list();
            if list.values().len() != column.len() * *length as usize {
                bail!("{} rows of {length} tokens have {} tokens", column.len(), list.values().len());
            }
            check_column(list.values(), inner.is_nullable())
        }
        DataType::List(inner) => {
            let list = column.as_list::<i32>();
            let offsets = list.value_offsets();
            if offsets.first().is_none_or(|first| *first != 0) || offsets.last().is_none_or(|last| *last as usize != list.values().len()) {
                bail!("lists do not use up their values");
            }
            check_column(list.values(), inner.is_nullable())
        }
        DataType::Struct(fields) => {
            let mut columns = fields.iter().zip(column.as_struct().columns());
            columns.try_for_each(|(field, column)| check_column(column, field.is_nullable()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixing::{below, random};
    use crate::packed::{Reader, Writer};
    use crate::{Row, ShardFile, Span, Width};

    /// Rows as far as a reader gives them, or its first error.
    fn rows(path: &Path, count: u64) -> Result<Vec<(Vec<i64>, Vec<Span>)>> {
        let reader = Reader::new(&[ShardFile { path: path.to_path_buf(), rows: count, bytes: None }]);
        let row = |row| {
            let mut tokens = Vec::new();
            reader.append_tokens(row, &mut tokens)?;
            Ok((tokens, reader.spans(row)?))
        };
        (0..count).map(row).collect()
    }

    #[test]
    fn flipped_bits_are_an_error_or_the_same_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard-00000.arrow");
        let mut writer = Writer::create(&path, 9, Width::U16).unwrap();
        for n in 0..40u32 {
            let span = |i: u32| Span { document: u128::from(n + i).to_le_bytes(), start: i64::from(i), length: 2, weight: 1.0 };
            writer.push(Row { tokens: (n..n + 9).collect(), spans: (0..n % 4).map(span).collect() }).unwrap();
        }
        let count = writer.finish().unwrap();
        let whole = std::fs::read(&path).unwrap();
        let expected = rows(&path, count).unwrap();
        // Values lie in the body; what else there is decides how they are read.
        let footer = whole.len() - 10 - i32::from_le_bytes(whole[whole.len() - 10..whole.len() - 6].try_into().unwrap()) as usize;
        let block = *root_as_footer(&whole[footer..whole.len() - 10]).unwrap().recordBatches().unwrap().get(0);
        let (begin, end) = extent(&block).unwrap();
        let values = begin + block.metaDataLength() as usize..end;
        let (mut refused, mut same, mut tokens_changed) = (0, 0, 0);
        // Every bit of the description, and some of the values.
        let described = (0..whole.len()).filter(|at| !values.contains(at)).flat_map(|at| (0..8).map(move |bit| (at, bit)));
        let drawn = (0..2000).map(|n| (begin + below(random([n, 0]), (end - begin) as u64) as usize, below(random([n, 1]), 8)));
        for (at, bit) in described.chain(drawn) {
            let mut altered = whole.clone();
            altered[at] ^= 1 << bit;
            std::fs::write(&path, &altered).unwrap();
            match std::panic::catch_unwind(|| rows(&path, count)) {
                Err(_) => panic!("bit {bit} of byte {at} of {} makes a panic", whole.len()),
                Ok(Err(error)) => {
                    assert!(format!("{error:#}").contains("shard-00000.arrow"), "{error:#}");
                    refused += 1;
                }
                Ok(Ok(found)) if found == expected => same += 1,
                Ok(Ok(found)) => {
                    assert!(values.contains(&at), "bit {bit} of byte {at} changes rows");
                    assert_eq!(found.len(), expected.len());
                    tokens_changed += 1;
                }
            }
        }
        assert!(refused > 1000 && same > 1000 && tokens_changed > 100, "{refused} {same} {tokens_changed}");
    }
}
