//! A stretch of a byte stream that can be looked at before it is taken: for formats whose records tell their length, or have marks.
//!
//! Holds what is asked for and no more. A failed read ends the stream; what came before it can still be taken.

use std::io::{self, Read};

use super::rows::Place;
use super::stream::Stream;

const READ_BYTES: usize = 1 << 17;

pub struct Window<'a> {
    reader: Box<dyn Read + 'a>,
    name: String,
    buffer: Vec<u8>,
    start: usize,
    offset: u64,
    line: u64,
    ended: bool,
    failure: Option<io::Error>,
}

impl<'a> Window<'a> {
    pub fn new(stream: Stream<'a>) -> Self {
        let Stream { reader, name, position, line } = stream;
        Window { reader, name, buffer: Vec::new(), start: 0, offset: position, line, ended: false, failure: None }
    }

    /// Name of the stream, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the first byte stands that is not taken yet.
    pub fn place(&self) -> Place {
        Place { position: self.offset, line: Some(self.line) }
    }

    /// Offset of the first byte that is not taken yet.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What was read and is not taken yet.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// The error that ended the stream, once.
    pub fn failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Reads on until `length` bytes are there; false when the stream ends before.
    pub fn fill(&mut self, length: usize) -> bool {
        while self.bytes().len() < length && self.read_more() {}
        self.bytes().len() >= length
    }

    /// Passes `length` bytes over that are there.
    pub fn take(&mut self, length: usize) {
        let taken = &self.buffer[self.start..self.start + length];
        self.line += memchr::memchr_iter(b'\n', taken).count() as u64;
        self.offset += length as u64;
        self.start += length;
    }

    /// Where `mark` stands, looked for from `from` on in at most `limit` bytes.
    pub fn find(&mut self, mark: &[u8], from: usize, limit: usize) -> Option<usize> {
        let mut from = from;
        loop {
            let end = self.bytes().len().min(limit);
            if from < end
                && let Some(at) = memchr::memmem::find(&self.bytes()[from..end], mark)
            {
                return Some(from + at);
            }
            from = from.max(end.saturating_sub(mark.len() - 1));
            if end >= limit || !self.read_more() {
                return None;
            }
        }
    }

    /// Takes everything before the next `mark`; false when the stream ends before, of which the last `keep` bytes are left.
    pub fn skip_to(&mut self, mark: &[u8], keep: usize) -> bool {
        loop {
            if let Some(at) = memchr::memmem::find(self.bytes(), mark) {
                self.take(at);
                return true;
            }
            self.take(self.bytes().len().saturating_sub(keep.max(mark.len() - 1)));
            if !self.read_more() {
                self.take(self.bytes().len().saturating_sub(keep));
                return false;
            }
        }
    }

    fn read_more(&mut self) -> bool {
        if self.ended {
            return false;
        }
        if self.start > READ_BYTES.max(self.buffer.len() / 2) {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let length = self.buffer.len();
        self.buffer.resize(length + READ_BYTES, 0);
        let read = loop {
            match self.reader.read(&mut self.buffer[length..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let count = *read.as_ref().unwrap_or(&0);
        self.buffer.truncate(length + count);
        self.failure = read.err();
        self.ended = count == 0;
        count > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_across_reads() {
        struct Dribble<'a>(&'a [u8]);
        impl Read for Dribble<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = self.0.len().min(3);
                buffer[..count].copy_from_slice(&self.0[..count]);
                self.0 = &self.0[count..];
                Ok(count)
            }
        }
        let mut window = Window::new(Stream::new("test", Dribble(b"a\nb<page>cd</page>\n<page>")));
        assert!(window.skip_to(b"<page>", 0));
        assert_eq!(window.place(), Place { position: 3, line: Some(2) });
        assert_eq!(window.find(b"</page>", 0, 10), None);
        assert_eq!(window.find(b"</page>", 0, 100), Some(8));
        window.take(15);
        assert!(window.skip_to(b"<page>", 0));
        assert_eq!(window.place().line, Some(3));
        assert!(window.fill(6) && !window.fill(7));
        window.take(6);
        assert!(!window.skip_to(b"x", 2) && window.bytes().len() <= 2);
    }
}
