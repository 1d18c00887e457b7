//! Arrow IPC files and streams (Feather version 2 among them), by record batches. The position of a document is its row number.
//!
//! A file is a stream between two marks, so both are read from front to back and what stands before a break is kept. The messages are
//! framed and measured here, because the library would take memory for whatever length a broken one claims.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{read_dictionary, read_record_batch};
use arrow::ipc::{Message, MessageHeader, root_as_message};

use super::columns::{check_columns, guarded, read_batch};
use super::plan::{Content, Format, PartPlan, Piece};
use super::rows::{Fault, Place, Rows};
use super::stream::{Stream, fault};
use super::{Shape, archive};

const MAGIC: &[u8; 8] = b"ARROW1\0\0";
/// A longer description of a batch is no honest one.
const DESCRIPTION_MAX: u64 = 64 << 20;

/// Parts of whole batches, each of about `part_bytes`; what cannot be cut is read whole.
pub fn cut(path: &Path, whole: Piece, part_bytes: u64, bytes: u64) -> Result<Vec<PartPlan>> {
    let file = File::open(path).with_context(|| format!("reading `{}`", path.display()))?;
    let mut messages = Messages::new(&file);
    let mut piece = whole;
    let mut parts = Vec::new();
    while let Ok(Some(description)) = messages.next() {
        let Ok(message) = root_as_message(&description) else { break };
        let start = messages.start;
        if message.header_type() == MessageHeader::RecordBatch && start >= piece.start + part_bytes {
            parts.push(PartPlan { pieces: vec![Piece { end: start, ..piece }], bytes: start - piece.start });
            piece.start = start;
        }
        let Ok(body) = i64::try_from(body_length(&message)) else { break };
        if messages.reader.seek_relative(body).is_err() {
            break;
        }
        messages.offset += body as u64;
    }
    parts.push(PartPlan { pieces: vec![piece], bytes: bytes.saturating_sub(piece.start) });
    Ok(parts)
}

/// Reads the batches of a piece of a plain file; those before it are passed over but for their number of rows.
pub fn read(piece: &Piece, path: &Path, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let file = File::open(path).with_context(|| format!("reading `{}`", path.display()))?;
    let pass = |file: &mut &File, count: u64| file.seek_relative(i64::try_from(count).map_err(io::Error::other)?);
    read_messages(&file, pass, piece, &path.display().to_string(), shape, rows)
}

/// Reads a whole stream.
pub fn read_stream(stream: Stream, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let whole = Piece::whole(0, Content::Records(Format::Arrow));
    read_messages(stream.reader, |_, _| Ok(()), &whole, &stream.name, shape, rows)
}

fn read_messages<R: Read>(
    reader: R,
    pass: impl Fn(&mut R, u64) -> io::Result<()>,
    piece: &Piece,
    name: &str,
    shape: &Shape,
    rows: &mut Rows,
) -> Result<()> {
    let mut messages = Messages::new(reader);
    let mut decoder = Decoder::default();
    let mut row = 0;
    loop {
        let place = Place { position: row, line: None };
        let description = match messages.next() {
            Ok(Some(description)) if messages.start < piece.end => description,
            Ok(_) => return Ok(()),
            Err(error) => return rows.reject(place, fault(name, error)?),
        };
        let message = match root_as_message(&description) {
            Ok(message) => message,
            Err(error) => return rows.reject(place, corrupt(&error.to_string())),
        };
        if messages.start < piece.start && message.header_type() == MessageHeader::RecordBatch {
            pass(&mut messages.reader, body_length(&message)).with_context(|| format!("reading `{name}`"))?;
            messages.offset += body_length(&message);
            row += message.header_as_record_batch().map_or(0, |batch| batch.length().max(0) as u64);
            continue;
        }
        let body = match messages.body(body_length(&message)) {
            Ok(body) => body,
            Err(error) => return rows.reject(place, fault(name, error)?),
        };
        match decoder.decode(&message, body, shape) {
            Ok(Decoded::Schema(schema)) => check_columns(&schema, shape).with_context(|| format!("`{name}`"))?,
            Ok(Decoded::Dictionary) => {}
            Ok(Decoded::Batch(batch)) => {
                read_batch(&batch, row, name, shape, rows)?;
                row += batch.num_rows() as u64;
            }
            Err(fault) => return rows.reject(place, fault),
        }
    }
}

fn body_length(message: &Message) -> u64 {
    message.bodyLength().max(0) as u64
}

fn corrupt(what: &str) -> Fault {
    Fault::new("corrupt_arrow", format!("nothing after this row can be read: {what}"))
}

/// Messages from front to back: a description, then a body of the length it tells.
struct Messages<R> {
    reader: R,
    offset: u64,
    /// Offset of the message that was read last.
    start: u64,
    is_file: bool,
}

impl<R: Read> Messages<R> {
    fn new(reader: R) -> Messages<R> {
        Messages { reader, offset: 0, start: 0, is_file: false }
    }

    /// The description of the next message, `None` at the end.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.start = self.offset;
        let Some(mut word) = self.word()? else {
            // A stream may end so, a file has an end mark.
            return if self.is_file { Err(cut_off()) } else { Ok(None) };
        };
        if self.offset == 4 && word == MAGIC[..4] {
            self.is_file = true;
            if self.word()?.ok_or_else(cut_off)? != MAGIC[4..] {
                return Err(invalid("no Arrow file"));
            }
            // Some writers fill up to 64 bytes before the first message.
            word = [0; 4];
            while word == [0; 4] && self.offset <= 64 {
                self.start = self.offset;
                word = self.word()?.ok_or_else(cut_off)?;
            }
        }
        if self.offset == 4 && word == *b"FEA1" {
            return Err(invalid("Feather version 1 cannot be read; write it anew as version 2"));
        }
        // Before version 0.15 this mark was not written.
        if word == [0xff; 4] {
            word = self.word()?.ok_or_else(cut_off)?;
        }
        let length = i32::from_le_bytes(word);
        match u64::try_from(length) {
            Ok(0) => self.check_end().map(|()| None),
            Ok(length) if length <= DESCRIPTION_MAX => self.bytes(length).map(Some),
            _ => Err(invalid("no Arrow message")),
        }
    }

    /// After the end of a stream nothing follows; in a file its list of batches does, with its length and the mark. All else is a hole.
    fn check_end(&mut self) -> io::Result<()> {
        let rest = self.some(DESCRIPTION_MAX)?;
        let list = rest.strip_suffix(&MAGIC[..6]).and_then(|rest| rest.split_last_chunk::<4>());
        let sound = match list {
            Some((list, length)) if self.is_file => {
                let before = (list.len() as u64).checked_sub(u64::from(u32::from_le_bytes(*length)));
                before.is_some_and(|before| before <= 8 && list[..before as usize].iter().all(|byte| *byte == 0))
            }
            _ => rest.is_empty() && !self.is_file,
        };
        if sound { Ok(()) } else { Err(invalid("an end mark, and then no end")) }
    }

    fn word(&mut self) -> io::Result<Option<[u8; 4]>> {
        let bytes = self.some(4)?;
        match <[u8; 4]>::try_from(bytes.as_slice()) {
            Ok(word) => Ok(Some(word)),
            Err(_) if bytes.is_empty() => Ok(None),
            Err(_) => Err(cut_off()),
        }
    }

    fn body(&mut self, length: u64) -> io::Result<Buffer> {
        Ok(Buffer::from_vec(self.bytes(length)?))
    }

    fn bytes(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let bytes = self.some(length)?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(cut_off()) }
    }

    /// Takes memory for what is there, not for what is claimed.
    fn some(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length.min(1 << 20) as usize);
        self.reader.by_ref().take(length).read_to_end(&mut bytes)?;
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

fn cut_off() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the file ends within a message or without its end mark")
}

/// What earlier messages said.
#[derive(Default)]
struct Decoder {
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
}

enum Decoded {
    Schema(SchemaRef),
    Dictionary,
    Batch(RecordBatch),
}

impl Decoder {
    fn decode(&mut self, message: &Message, body: Buffer, shape: &Shape) -> Result<Decoded, Fault> {
        check_expansion(message, &body, shape)?;
        guarded("corrupt_arrow", || self.decode_sound(message, body))?.map_err(|error| corrupt(&error.to_string()))
    }

    fn decode_sound(&mut self, message: &Message, body: Buffer) -> Result<Decoded, ArrowError> {
        let missing = |what: &str| ArrowError::IpcError(format!("{what} is missing"));
        if let Some(schema) = message.header_as_schema() {
            let schema = Arc::new(fb_to_schema(schema));
            self.schema = Some(schema.clone());
            return Ok(Decoded::Schema(schema));
        }
        let schema = self.schema.clone().ok_or_else(|| missing("the schema"))?;
        if let Some(dictionary) = message.header_as_dictionary_batch() {
            read_dictionary(&body, dictionary, &schema, &mut self.dictionaries, &message.version())?;
            return Ok(Decoded::Dictionary);
        }
        let batch = message.header_as_record_batch().ok_or_else(|| missing("a record batch"))?;
        let batch = read_record_batch(&body, batch, schema, &self.dictionaries, None, &message.version())?;
        Ok(Decoded::Batch(batch))
    }
}

/// Compressed buffers begin with their unpacked length, for which the library takes memory.
fn check_expansion(message: &Message, body: &[u8], shape: &Shape) -> Result<(), Fault> {
    let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    let Some(batch) = message.header_as_record_batch().or(dictionary) else { return Ok(()) };
    if batch.compression().is_none() {
        return Ok(());
    }
    let length = |offset: i64| {
        let start = usize::try_from(offset).ok()?;
        let bytes = body.get(start..start.checked_add(8)?)?;
        u64::try_from(i64::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let buffers = batch.buffers();
    let claimed = buffers.iter().flatten().filter(|buffer| buffer.length() > 0).filter_map(|buffer| length(buffer.offset()));
    let claimed = claimed.fold(0, u64::saturating_add);
    if claimed > archive::allowed(body.len() as u64, shape.expansion_max) {
        return Err(Fault::new("archive_bomb", format!("{} bytes of a record batch claim to unpack to {claimed}", body.len())));
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::super::plan::PART_BYTES_MIN;
    use super::super::tests::{check, gzip};
    use crate::testing::Lab;
    use arrow::array::{ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray};
    use arrow::datatypes::Int32Type;
    use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
    use std::sync::Arc;

    fn batch(texts: &[&str]) -> RecordBatch {
        let text: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let label: ArrayRef = Arc::new(texts.iter().map(|text| Some(&text[..1])).collect::<DictionaryArray<Int32Type>>());
        let n: ArrayRef = Arc::new(Int32Array::from_iter_values(0..texts.len() as i32));
        RecordBatch::try_from_iter([("text", text), ("label", label), ("n", n)]).unwrap()
    }

    fn file(batches: &[RecordBatch]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = FileWriter::try_new(&mut bytes, &batches[0].schema()).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.finish().unwrap();
        bytes
    }

    fn stream(batches: &[RecordBatch]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let options = IpcWriteOptions::default().try_with_compression(Some(arrow::ipc::CompressionType::LZ4_FRAME)).unwrap();
        let mut writer = StreamWriter::try_new_with_options(&mut bytes, &batches[0].schema(), options).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.finish().unwrap();
        bytes
    }

    /// A small stream with compressed buffers and a dictionary.
    pub fn sample() -> Vec<u8> {
        stream(&[batch(&["one", "two"])])
    }

    #[test]
    fn files_and_streams() {
        let batches = [batch(&["one", "two"]), batch(&["three"])];
        let settings = "paths = [\"a.*\"]\ncolumns = { label = \"string\" }\n# label\n# extra";
        for (name, bytes) in [
            ("a.arrow", file(&batches[..1])),
            ("a.feather", file(&batches[..1])),
            ("a.arrows", stream(&batches[..1])),
            ("a.arrow.gz", gzip(&file(&batches[..1]))),
        ] {
            let rows = [format!("{name}|0||one|o|{{\"n\":0}}"), format!("{name}|1||two|t|{{\"n\":1}}")];
            check(&[(name, &bytes)], settings, &[&rows[0], &rows[1]], &[]);
        }
        // Dictionaries that change between batches are allowed in streams.
        check(&[("a.arrows", &stream(&batches))], "paths = [\"a.*\"]", &["a.arrows|0||one", "a.arrows|1||two", "a.arrows|2||three"], &[]);
    }

    #[test]
    fn broken_files() {
        let batches = [batch(&["one", "two"]), batch(&["one", "three"])];
        let whole = stream(&batches);
        let settings = "paths = [\"a.*\"]";
        let two = ["a.arrows|0||one", "a.arrows|1||two"];
        check(&[("a.arrows", &whole[..whole.len() - 20])], settings, &two, &["a.arrows|2||truncated_archive"]);
        check(&[("a.arrows", b"")], settings, &[], &[]);
        let mut hole = whole.clone();
        // The last message begins with this mark and a short length.
        let is_start = |at: &usize| (1..4096).contains(&u32::from_le_bytes(whole[at + 4..at + 8].try_into().unwrap()));
        let at = memchr::memmem::rfind_iter(&whole[..whole.len() - 8], &[0xff; 4]).find(is_start).unwrap();
        hole[at..at + 8].fill(0);
        check(&[("a.arrows", &hole)], settings, &two, &["a.arrows|2||corrupt_archive"]);
        check(&[("a.arrow", b"ARROW1\0\0")], settings, &[], &["a.arrow|0||truncated_archive"]);
        check(&[("a.arrow", b"FEA1....")], settings, &[], &["a.arrow|0||corrupt_archive"]);
        check(&[("a.arrow", b"{\"text\":\"one\"}")], settings, &[], &["a.arrow|0||corrupt_archive"]);
        check(&[("a.arrow", b"\xff\xff\xff\xff\x10\0\0\0not a flatbuffer, for sure")], settings, &[], &["a.arrow|0||corrupt_arrow"]);
    }

    #[test]
    fn large_files_are_cut_between_batches() {
        let long = "x".repeat(1 << 20);
        let texts: Vec<String> = (0..20).map(|n| format!("{n} {long}")).collect();
        let batches: Vec<RecordBatch> = texts.iter().map(|text| batch(&[text]).project(&[0, 2]).unwrap()).collect();
        let lab = Lab::new(&[("a.arrow", &file(&batches))]);
        let config = "[[step]]\nstage = \"import\"\npaths = [\"a.arrow\"]";
        lab.run(config, 2).unwrap();
        assert_eq!(lab.rows("import", "documents", &["position"]), (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
        assert_eq!(lab.files("import", "documents"), 20 / (PART_BYTES_MIN >> 20) as usize + 1);
        let two = lab.fingerprint("import");
        lab.forget();
        lab.run(config, 1).unwrap();
        assert_eq!(lab.fingerprint("import"), two);
    }
}
