//! The zip format: the central directory, and members as streams.
//!
//! Read by ourselves so that no member is held, sizes and checksums are checked, and members that share bytes (a bomb) are found before
//! anything is unpacked. Knows nothing of documents; encrypted members and rare methods are named, not read.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};

use super::archive::Compression;

const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
const ENTRY: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";

/// Where the list of members stands.
#[derive(Clone, Copy, Debug)]
pub struct Directory {
    pub start: u64,
    pub end: u64,
    /// Bytes before the archive, as in a program that unpacks itself; offsets do not count them.
    before: u64,
}

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub packed: u64,
    pub size: u64,
    /// Of its own header.
    pub offset: u64,
    /// Of its line in the list.
    pub entry: u64,
    checksum: u32,
    method: u16,
    pub obstacle: Option<Obstacle>,
}

/// Why a member holds no text for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    Folder,
    Link,
    Encrypted,
    Method(u16),
}

impl Directory {
    /// Finds the list from the end of the file.
    pub fn find(file: &mut File) -> io::Result<Directory> {
        let length = file.seek(SeekFrom::End(0))?;
        let tail_start = length.saturating_sub(22 + 0xffff);
        file.seek(SeekFrom::Start(tail_start))?;
        let mut tail = Vec::new();
        file.take(length - tail_start).read_to_end(&mut tail)?;
        let at = memchr::memmem::rfind_iter(&tail, &END)
            .find(|at| tail.len() >= at + 22 && tail.len() - at - 22 >= usize::from(u16_at(&tail, at + 20)))
            .ok_or_else(|| io::Error::new(ErrorKind::UnexpectedEof, "the list of members at the end of the zip file is missing"))?;
        let (mut size, mut start) = (u64::from(u32_at(&tail, at + 12)), u64::from(u32_at(&tail, at + 16)));
        let mut end = tail_start + at as u64;
        if let Some(locator) = at.checked_sub(20).map(|from| &tail[from..at]).filter(|locator| locator.starts_with(&LOCATOR_64)) {
            let record = u64_at(locator, 8);
            let mut bytes = [0; 56];
            file.seek(SeekFrom::Start(record))?;
            file.read_exact(&mut bytes)?;
            if !bytes.starts_with(&END_64) {
                return Err(broken("the zip64 record is not where it should be"));
            }
            (size, start, end) = (u64_at(&bytes, 40), u64_at(&bytes, 48), record);
        }
        let stands = end.checked_sub(size).ok_or_else(|| broken("the list of members is longer than the file"))?;
        let before = stands.checked_sub(start).ok_or_else(|| broken("the list of members is not where it should be"))?;
        Ok(Directory { start: stands, end, before })
    }

    /// The members whose lines stand from `start` to `end`, in the order of the list.
    pub fn members(&self, file: &File, start: u64, end: u64) -> io::Result<Vec<Member>> {
        let mut file = file;
        file.seek(SeekFrom::Start(start.max(self.start)))?;
        let mut reader = BufReader::new(file);
        let mut entry = start.max(self.start);
        let mut members = Vec::new();
        while entry < end.min(self.end) {
            let (member, length) = self.member(&mut reader, entry)?;
            entry += length;
            members.push(member);
        }
        Ok(members)
    }

    fn member(&self, reader: &mut impl Read, entry: u64) -> io::Result<(Member, u64)> {
        let mut fixed = [0; 46];
        reader.read_exact(&mut fixed)?;
        if !fixed.starts_with(&ENTRY) {
            return Err(broken("the list of members is broken"));
        }
        let lengths = [28, 30, 32].map(|at| usize::from(u16_at(&fixed, at)));
        let mut rest = vec![0; lengths.iter().sum()];
        reader.read_exact(&mut rest)?;
        let name = String::from_utf8_lossy(&rest[..lengths[0]]).into_owned();
        let mut numbers = [24, 20, 42].map(|at| u64::from(u32_at(&fixed, at)));
        read_zip64(&rest[lengths[0]..][..lengths[1]], &mut numbers);
        let [size, packed, offset] = numbers;
        let method = u16_at(&fixed, 10);
        let unix_link = fixed[5] == 3 && (u32_at(&fixed, 38) >> 16) & 0o170000 == 0o120000;
        let obstacle = match method {
            _ if name.ends_with('/') => Some(Obstacle::Folder),
            _ if unix_link => Some(Obstacle::Link),
            _ if u16_at(&fixed, 8) & 1 != 0 => Some(Obstacle::Encrypted),
            0 | 8 | 12 | 93 | 95 => None,
            method => Some(Obstacle::Method(method)),
        };
        let name = name.trim_start_matches("./").trim_matches('/').to_string();
        let offset = offset.checked_add(self.before).ok_or_else(|| broken("a member is beyond the end of the file"))?;
        let member = Member { name, packed, size, offset, entry, checksum: u32_at(&fixed, 16), method, obstacle };
        Ok((member, 46 + rest.len() as u64))
    }

    /// Whether members share bytes with each other or with the list, as no program that packs files makes them.
    pub fn overlaps(&self, members: &[Member]) -> bool {
        let mut spans: Vec<(u64, u64)> =
            members.iter().map(|member| (member.offset, (member.offset + 30).saturating_add(member.packed))).collect();
        spans.sort_unstable();
        let ends = spans.iter().skip(1).map(|(start, _)| *start).chain([self.start]);
        spans.iter().zip(ends).any(|((_, end), next)| *end > next)
    }
}

/// Sizes and offset where 32 bits do not hold them, in this order and only those.
fn read_zip64(mut extra: &[u8], numbers: &mut [u64; 3]) {
    while extra.len() >= 4 {
        let length = usize::from(u16_at(extra, 2)).min(extra.len() - 4);
        if u16_at(extra, 0) == 1 {
            let mut field = &extra[4..4 + length];
            for number in numbers.iter_mut().filter(|number| **number == u64::from(u32::MAX)) {
                if field.len() < 8 {
                    return;
                }
                *number = u64_at(field, 0);
                field = &field[8..];
            }
        }
        extra = &extra[4 + length..];
    }
}

impl Member {
    /// The packed bytes.
    pub fn open(&self, file: &File) -> io::Result<impl Read + use<>> {
        let mut file = file.try_clone()?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut header = [0; 30];
        file.read_exact(&mut header)?;
        if !header.starts_with(&LOCAL) {
            return Err(broken("the member is not where the list says"));
        }
        let names = i64::from(u16_at(&header, 26)) + i64::from(u16_at(&header, 28));
        file.seek(SeekFrom::Current(names))?;
        Ok(file.take(self.packed))
    }

    /// How it is packed.
    pub fn compression(&self) -> Compression {
        match self.method {
            8 => Compression::Deflate,
            12 => Compression::Bzip2,
            93 => Compression::Zstd,
            95 => Compression::Xz,
            _ => Compression::None,
        }
    }

    /// The unpacked bytes with their length and checksum checked at the end.
    pub fn check<R: Read>(&self, unpacked: R) -> Checked<R> {
        Checked { inner: unpacked, left: self.size, checksum: self.checksum, crc: flate2::Crc::new() }
    }
}

/// A member that tells when it is not what the list says.
pub struct Checked<R> {
    inner: R,
    left: u64,
    checksum: u32,
    crc: flate2::Crc,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if buffer.is_empty() {
            return Ok(0);
        }
        self.crc.update(&buffer[..count]);
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| broken("the member is longer than the list says"))?;
        if count == 0 && self.left > 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the member is shorter than the list says"));
        }
        if count == 0 && self.crc.sum() != self.checksum {
            return Err(broken("the checksum of the member is wrong"));
        }
        Ok(count)
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
pub mod tests {
    use std::io::Write;

    /// A member as a zip file holds it, every number open to lies.
    #[derive(Clone)]
    pub struct Packed {
        pub name: String,
        pub method: u16,
        pub flags: u16,
        pub checksum: u32,
        pub size: u32,
        pub bytes: Vec<u8>,
        /// Has no bytes of its own but those of the member before.
        pub shares: bool,
    }

    impl Packed {
        pub fn new(name: &str, method: u16, bytes: &[u8]) -> Packed {
            let mut crc = flate2::Crc::new();
            crc.update(bytes);
            let packed = match method {
                8 => {
                    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
                    encoder.write_all(bytes).unwrap();
                    encoder.finish().unwrap()
                }
                12 => super::super::tests::bzip2(bytes),
                93 => zstd::encode_all(bytes, 3).unwrap(),
                _ => bytes.to_vec(),
            };
            Packed { name: name.to_string(), method, flags: 0, checksum: crc.sum(), size: bytes.len() as u32, bytes: packed, shares: false }
        }

        /// What both headers of a member hold.
        fn header(&self) -> Vec<u8> {
            let mut header = Vec::new();
            for number in [20, self.flags, self.method, 0, 0] {
                header.extend(number.to_le_bytes());
            }
            for number in [self.checksum, self.bytes.len() as u32, self.size] {
                header.extend(number.to_le_bytes());
            }
            header.extend((self.name.len() as u16).to_le_bytes());
            header.extend([0, 0]);
            header
        }
    }

    /// A zip file.
    pub fn zip(members: &[Packed]) -> Vec<u8> {
        let (mut file, mut list) = (Vec::new(), Vec::new());
        let mut offset = 0;
        for member in members {
            if !member.shares {
                offset = file.len() as u32;
                file.extend(b"PK\x03\x04");
                file.extend(member.header());
                file.extend(member.name.as_bytes());
                file.extend(&member.bytes);
            }
            list.extend(b"PK\x01\x02\x14\x00");
            list.extend(member.header());
            list.extend([0; 10]);
            list.extend(offset.to_le_bytes());
            list.extend(member.name.as_bytes());
        }
        let start = file.len() as u32;
        file.extend(&list);
        file.extend(b"PK\x05\x06\0\0\0\0");
        file.extend([members.len() as u16; 2].map(u16::to_le_bytes).concat());
        file.extend((list.len() as u32).to_le_bytes());
        file.extend(start.to_le_bytes());
        file.extend([0, 0]);
        file
    }
}
