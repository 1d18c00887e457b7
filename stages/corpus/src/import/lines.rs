//! Lines of a byte stream with their byte offset and number, in bounded memory.
//!
//! Knows nothing of records or encodings: a line is what stands between two `\n`, a `\r` before it dropped.

use std::io::{self, Read};

const BUFFER_BYTES: usize = 1 << 18;

/// One line without its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// At most `limit` bytes of the line.
    pub bytes: &'a [u8],
    /// Offset of the first byte.
    pub offset: u64,
    /// Counted from 1 over the whole file.
    pub number: u64,
    /// Length in bytes without the line end; more than `bytes.len()` when the line is longer than the limit.
    pub length: u64,
}

/// Reads lines; a line longer than the limit is skipped over, never held.
pub struct Lines<R> {
    reader: R,
    limit: usize,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    offset: u64,
    number: u64,
    /// The beginning of a line that does not fit into what is left of the buffer.
    carried: Vec<u8>,
}

impl<R: Read> Lines<R> {
    /// `offset` and `number` are those of the first line that `reader` gives.
    pub fn new(reader: R, limit: usize, offset: u64, number: u64) -> Self {
        Lines { reader, limit, buffer: vec![0; BUFFER_BYTES].into(), start: 0, end: 0, offset, number, carried: Vec::new() }
    }

    /// Offset and number of the line that `next` would give: where a failed read happened.
    pub fn place(&self) -> (u64, u64) {
        (self.offset, self.number)
    }

    /// The next line, `None` at the end. An error of the reader loses the unfinished line only.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.carried.clear();
        let mut length = 0;
        loop {
            let window = &self.buffer[self.start..self.end];
            if let Some(at) = memchr::memchr(b'\n', window) {
                let from = self.start;
                self.start += at + 1;
                return Ok(Some(self.finish(from, at, length, 1)));
            }
            length += window.len() as u64;
            if length > 0 && !window.is_empty() {
                let room = (self.limit + 1).saturating_sub(self.carried.len());
                self.carried.extend_from_slice(&window[..window.len().min(room)]);
            }
            (self.start, self.end) = (0, 0);
            self.end = read_some(&mut self.reader, &mut self.buffer)?;
            if self.end == 0 {
                return if length == 0 { Ok(None) } else { Ok(Some(self.finish(0, 0, length, 0))) };
            }
        }
    }

    /// The line made of what was carried (`before` bytes in all) and `count` bytes of the buffer.
    fn finish(&mut self, from: usize, count: usize, before: u64, end_bytes: u64) -> Line<'_> {
        let (offset, number) = (self.offset, self.number);
        let mut length = before + count as u64;
        self.offset += length + end_bytes;
        self.number += 1;
        let whole = &self.buffer[from..from + count];
        let mut bytes = if before == 0 {
            whole
        } else {
            let room = (self.limit + 1).saturating_sub(self.carried.len());
            self.carried.extend_from_slice(&whole[..count.min(room)]);
            &self.carried[..]
        };
        if bytes.len() as u64 == length && bytes.ends_with(b"\r") {
            bytes = &bytes[..bytes.len() - 1];
            length -= 1;
        }
        Line { bytes: &bytes[..bytes.len().min(self.limit)], offset, number, length }
    }
}

fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn collect(bytes: &[u8], limit: usize) -> Vec<(Vec<u8>, u64, u64, u64)> {
        let mut lines = Lines::new(bytes, limit, 0, 1);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push((line.bytes.to_vec(), line.offset, line.number, line.length));
        }
        found
    }

    #[test]
    fn offsets_numbers_and_line_ends() {
        assert_eq!(collect(b"", 9), []);
        assert_eq!(collect(b"a\r\n\nbc", 9), [(b"a".to_vec(), 0, 1, 1), (b"".to_vec(), 3, 2, 0), (b"bc".to_vec(), 4, 3, 2)]);
        assert_eq!(collect(b"abcdef\nx\n", 3), [(b"abc".to_vec(), 0, 1, 6), (b"x".to_vec(), 7, 2, 1)]);
    }

    #[test]
    fn long_lines_are_cut_at_the_limit() {
        let mut bytes = vec![b'x'; 3 * BUFFER_BYTES];
        bytes.extend(b"\r\nend");
        let found = collect(&bytes, BUFFER_BYTES + 5);
        assert_eq!((found[0].0.len(), found[0].3), (BUFFER_BYTES + 5, 3 * BUFFER_BYTES as u64 + 1));
        assert_eq!(found[1], (b"end".to_vec(), 3 * BUFFER_BYTES as u64 + 2, 2, 3));
        let found = collect(&bytes, 4 * BUFFER_BYTES);
        assert_eq!((found[0].0.len(), found[0].3), (3 * BUFFER_BYTES, 3 * BUFFER_BYTES as u64));
    }

    proptest! {
        #[test]
        fn equals_a_split_at_newlines(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>()], 0..200)) {
            let mut expected: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
            if expected.last().is_some_and(|line| line.is_empty()) { expected.pop(); }
            let found = collect(&bytes, 1000);
            prop_assert_eq!(found.len(), expected.len());
            for ((line, offset, _, _), expected) in found.iter().zip(expected) {
                prop_assert_eq!(&line[..], expected.strip_suffix(b"\r").unwrap_or(expected));
                prop_assert!(bytes[*offset as usize..].starts_with(expected));
            }
        }
    }
}
