//! The tar format: headers of members, and their contents as streams.
//!
//! Read by ourselves because members must be found again by their offset, a cut-off member must not pass for a whole one, and a header
//! must not make us hold what it claims to be long. Knows nothing of documents.

use std::io::{self, ErrorKind, Read};

const BLOCK: u64 = 512;
/// Longer names and attributes are no honest ones.
const ATTRIBUTES_MAX: u64 = 1 << 20;

/// Members from front to back.
pub struct Tar<R> {
    reader: R,
    /// Bytes read so far, counted from the beginning of the archive.
    offset: u64,
    /// Bytes of the current member that are not read yet, and the padding after them.
    left: u64,
    padding: u64,
    /// An end mark was seen after the last member.
    ended: bool,
}

/// What stands before a member's bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    pub size: u64,
    pub kind: Kind,
    /// Offset of the first header block.
    pub offset: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    /// Something that holds no text of its own, such as a link.
    Other(&'static str),
}

impl<R: Read> Tar<R> {
    /// `offset` is that of the reader's first byte, the beginning of a member.
    pub fn new(reader: R, offset: u64) -> Tar<R> {
        Tar { reader, offset, left: 0, padding: 0, ended: false }
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the end mark was read; without one the archive may have been cut off between two members.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The next member; `skip` passes over bytes of the one before that were not read.
    pub fn next(&mut self, skip: impl Fn(&mut R, u64) -> io::Result<()>) -> io::Result<Option<Header>> {
        let mut attributes = Attributes::default();
        let mut first = None;
        loop {
            let rest = self.left + self.padding;
            skip(&mut self.reader, rest)?;
            self.offset += rest;
            (self.left, self.padding) = (0, 0);
            let start = self.offset;
            let Some(block) = self.block()? else {
                return if first.is_none() { Ok(None) } else { Err(cut_off("the archive ends within a header")) };
            };
            if block.iter().all(|byte| *byte == 0) {
                self.ended = true;
                continue;
            }
            check_sum(&block, start)?;
            self.ended = false;
            let offset = *first.get_or_insert(start);
            let size = number(&block[124..136]).ok_or_else(|| broken(start, "no size"))?;
            match block[156] {
                b'L' => attributes.name = Some(lossy(&self.attribute(size)?)),
                b'x' | b'X' => attributes.read(&self.attribute(size)?),
                b'K' | b'g' | b'V' => self.set_left(size),
                kind => {
                    let name = attributes.name.take().unwrap_or_else(|| name_of(&block));
                    let kind = kind_of(kind, &name, attributes.sparse);
                    let size = if matches!(kind, Kind::File | Kind::Other(SPARSE)) { attributes.size.unwrap_or(size) } else { 0 };
                    self.set_left(size);
                    return Ok(Some(Header { name: plain(&name), size, kind, offset }));
                }
            }
        }
    }

    fn set_left(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK;
    }

    /// A whole block, `None` at the end.
    fn block(&mut self) -> io::Result<Option<[u8; 512]>> {
        let mut block = [0; 512];
        let mut filled = 0;
        while filled < block.len() {
            match self.reader.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(cut_off("the archive ends within a header")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.offset += BLOCK;
        Ok(Some(block))
    }

    /// The bytes of a member that describes the next one.
    fn attribute(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > ATTRIBUTES_MAX {
            return Err(broken(self.offset, "a name or attribute of more than 1 MiB"));
        }
        self.set_left(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Reads the current member; an archive that ends before it does is an error, never a short member.
impl<R: Read> Read for Tar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.reader.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(cut_off("the archive ends within this member"));
        }
        self.left -= count as u64;
        self.offset += count as u64;
        Ok(count)
    }
}

/// Passes over bytes of a stream that cannot seek.
pub fn skip(reader: &mut impl Read, count: u64) -> io::Result<()> {
    match io::copy(&mut reader.take(count), &mut io::sink())? {
        passed if passed == count => Ok(()),
        _ => Err(cut_off("the archive ends within this member")),
    }
}

/// What extended headers say of the next member.
#[derive(Default)]
struct Attributes {
    name: Option<String>,
    size: Option<u64>,
    sparse: bool,
}

impl Attributes {
    /// Records of the form `LENGTH KEY=VALUE\n`, the length counting the whole record.
    fn read(&mut self, mut bytes: &[u8]) {
        while let Some((record, rest)) = pax_record(bytes) {
            bytes = rest;
            let Some(at) = memchr::memchr(b'=', record) else { continue };
            let (key, value) = (&record[..at], &record[at + 1..]);
            match key {
                b"path" => self.name = Some(lossy(value)),
                b"size" => self.size = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()),
                _ => self.sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
    }
}

fn pax_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr::memchr(b' ', bytes)?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    Some((record, &bytes[length..]))
}

const SPARSE: &str = "a sparse file";

fn kind_of(kind: u8, name: &str, sparse: bool) -> Kind {
    match kind {
        b'5' | b'D' => Kind::Folder,
        b'1' => Kind::Other("a hard link"),
        b'2' => Kind::Other("a symbolic link"),
        b'3' | b'4' => Kind::Other("a device"),
        b'6' => Kind::Other("a pipe"),
        b'S' => Kind::Other(SPARSE),
        _ if sparse => Kind::Other(SPARSE),
        // Before the type was invented, a folder was a name that ends so.
        0 if name.ends_with('/') => Kind::Folder,
        _ => Kind::File,
    }
}

fn name_of(block: &[u8; 512]) -> String {
    let name = lossy(&block[..100]);
    let prefix = if &block[257..263] == b"ustar\0" { lossy(&block[345..500]) } else { String::new() };
    if prefix.is_empty() { name } else { format!("{prefix}/{name}") }
}

/// The name without what does not tell members apart.
fn plain(name: &str) -> String {
    name.trim_start_matches("./").trim_matches('/').to_string()
}

/// Text up to the first zero byte.
fn lossy(bytes: &[u8]) -> String {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Octal digits, or a binary number when the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let value = field[1..].iter().try_fold(0u64, |value, byte| value.checked_mul(256)?.checked_add(u64::from(*byte)));
        return value.filter(|value| field[0] == 0x80 && *value <= i64::MAX as u64);
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

/// The sum over the header with its own field taken as spaces.
fn check_sum(block: &[u8; 512], offset: u64) -> io::Result<()> {
    let sum: u64 = block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) }).sum();
    if number(&block[148..156]) == Some(sum) { Ok(()) } else { Err(broken(offset, "no tar header")) }
}

fn broken(offset: u64, what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("{what} at byte {offset} of the archive"))
}

fn cut_off(what: &str) -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, what)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A member as `tar` writes it.
    pub fn member(name: &[u8], kind: u8, bytes: &[u8]) -> Vec<u8> {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name);
        block[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
        block[148..156].fill(b' ');
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let padding = vec![0; bytes.len().wrapping_neg() % 512];
        [&block[..], bytes, &padding].concat()
    }

    pub fn end() -> Vec<u8> {
        vec![0; 1024]
    }

    fn check(archive: &[u8], expected: &[&str]) {
        let mut tar = Tar::new(archive, 0);
        let mut found = Vec::new();
        loop {
            match tar.next(skip) {
                Ok(Some(header)) => {
                    let mut text = String::new();
                    let read = tar.read_to_string(&mut text).map_err(|error| error.kind());
                    found.push(format!("{} {:?} {:?} {} {text}", header.offset, header.name, header.kind, read.is_ok()));
                }
                Ok(None) => break found.push(format!("end mark: {}", tar.ended())),
                Err(error) => break found.push(error.to_string()),
            }
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn members_of_every_kind() {
        let pax = b"18 path=d/long.txt\n";
        let archive = [
            member(b"./a.txt", b'0', b"one"),
            member(b"d/", b'5', b""),
            member(b"././@LongLink", b'L', b"d/b.txt\0"),
            member(b"short", b'0', b"two"),
            member(b"pax", b'x', &[&b"19"[..], &pax[2..]].concat()),
            member(b"short", b'0', b"three"),
            member(b"l", b'2', b""),
            end(),
            member(b"/after", 0, b"four"),
            end(),
        ];
        check(
            &archive.concat(),
            &[
                "0 \"a.txt\" File true one",
                "1024 \"d\" Folder true ",
                "1536 \"d/b.txt\" File true two",
                "3584 \"d/long.txt\" File true three",
                "5632 \"l\" Other(\"a symbolic link\") true ",
                "7168 \"after\" File true four",
                "end mark: true",
            ],
        );
    }

    #[test]
    fn broken_archives() {
        let archive = [member(b"a", b'0', b"one"), end()].concat();
        check(&archive[..514], &["0 \"a\" File false on", "the archive ends within this member"]);
        check(&archive[..1024], &["0 \"a\" File true one", "end mark: false"]);
        check(&archive[..100], &["the archive ends within a header"]);
        check(b"", &["end mark: false"]);
        check(&[b'x'; 512], &["no tar header at byte 0 of the archive"]);
        let mut huge = member(b"a", b'L', b"");
        huge[124..136].copy_from_slice(b"77777777777\0");
        let sum: u32 = huge[..512].iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
        huge[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        check(&huge, &["a name or attribute of more than 1 MiB at byte 512 of the archive"]);
    }

    #[test]
    fn sizes() {
        assert_eq!(number(b"00000000017\0"), Some(15));
        assert_eq!(number(b"        17 \0"), Some(15));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(2 << 32));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(number(b"\x80234567\0"), Some(0x0032_3334_3536_3700));
        assert_eq!(number(b"0000000009x\0"), None);
    }
}
