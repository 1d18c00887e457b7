//! Where a compressed file can be entered: blocks of a BGZF file (gzip whose members tell their length), frames of a Zstandard file.
//!
//! Found from headers alone, nothing is unpacked. Other gzip files do not tell where their members end, bzip2 and xz are not looked at:
//! they have one entry, the beginning.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::archive::Compression;

const FRAME: u32 = 0xfd2f_b528;
const SEEK_TABLE: u32 = 0x184d_2a5e;
const SEEK_TABLE_END: u32 = 0x8f92_eab1;

/// Offsets in a file of `length` bytes at which a decoder can begin, 0 first, at least `apart` bytes from each other and from the end.
pub fn entries(file: &File, length: u64, compression: Compression, apart: u64) -> io::Result<Vec<u64>> {
    let mut chosen = vec![0];
    let mut take = |offset: u64| {
        if offset >= chosen[chosen.len() - 1] + apart && offset + apart <= length {
            chosen.push(offset);
        }
    };
    match compression {
        Compression::Gzip => walk(file, length, bgzf_block, &mut take)?,
        Compression::Zstd => match seek_table(file, length)? {
            Some(sizes) => {
                let mut offset = 0;
                for size in sizes {
                    offset += size;
                    take(offset);
                }
            }
            None => walk(file, length, zstd_frame, &mut take)?,
        },
        _ => {}
    }
    Ok(chosen)
}

/// Goes from one entry to the next, as far as the file is sound.
fn walk(file: &File, length: u64, size: fn(&File, u64) -> io::Result<Option<u64>>, take: &mut impl FnMut(u64)) -> io::Result<()> {
    let mut offset = 0;
    while let Some(size) = size(file, offset)? {
        offset += size;
        if offset >= length {
            break;
        }
        take(offset);
    }
    Ok(())
}

/// Size of the gzip member at `offset`, when it has the extra field of BGZF.
fn bgzf_block(file: &File, offset: u64) -> io::Result<Option<u64>> {
    let mut header = [0; 18];
    if !read_at(file, &mut header, offset)? || header[..4] != [0x1f, 0x8b, 8, 4] {
        return Ok(None);
    }
    let bytes = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    // The field is the first one in every file that bgzip and its like write.
    let is_bgzf = bytes(10) >= 6 && &header[12..14] == b"BC" && bytes(14) == 2;
    Ok(is_bgzf.then(|| u64::from(bytes(16)) + 1))
}

/// Size of the frame at `offset`, from the headers of its blocks.
fn zstd_frame(file: &File, offset: u64) -> io::Result<Option<u64>> {
    let mut start = [0; 8];
    if !read_at(file, &mut start, offset)? {
        return Ok(None);
    }
    let magic = u32_at(&start, 0);
    if magic & 0xffff_fff0 == 0x184d_2a50 {
        return Ok(Some(8 + u64::from(u32_at(&start, 4))));
    }
    if magic != FRAME {
        return Ok(None);
    }
    let descriptor = start[4];
    let single = descriptor & 0x20 != 0;
    let content_size = match descriptor >> 6 {
        0 => u64::from(single),
        flag => 1 << flag,
    };
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let mut at = offset + 5 + u64::from(!single) + dictionary + content_size;
    loop {
        let mut block = [0; 3];
        if !read_at(file, &mut block, at)? {
            return Ok(None);
        }
        let header = u32::from_le_bytes([block[0], block[1], block[2], 0]);
        let size = match (header >> 1) & 3 {
            1 => 1,
            3 => return Ok(None),
            _ => u64::from(header >> 3),
        };
        at += 3 + size;
        if header & 1 != 0 {
            let checksum = if descriptor & 4 != 0 { 4 } else { 0 };
            return Ok(Some(at + checksum - offset));
        }
    }
}

/// Compressed sizes of the frames, from the table that files in Zstandard's seekable format end with.
fn seek_table(file: &File, length: u64) -> io::Result<Option<Vec<u64>>> {
    let mut footer = [0; 9];
    if length < 17 || !read_at(file, &mut footer, length - 9)? || u32_at(&footer, 5) != SEEK_TABLE_END {
        return Ok(None);
    }
    let frames = u64::from(u32_at(&footer, 0));
    let entry: usize = if footer[4] & 0x80 != 0 { 12 } else { 8 };
    let Some(start) = length.checked_sub(17 + frames * entry as u64) else { return Ok(None) };
    let mut table = vec![0; (length - start) as usize];
    if !read_at(file, &mut table, start)? || u32_at(&table, 0) != SEEK_TABLE || u64::from(u32_at(&table, 4)) + 8 != length - start {
        return Ok(None);
    }
    let sizes: Vec<u64> = table[8..table.len() - 9].chunks_exact(entry).map(|entry| u64::from(u32_at(entry, 0))).collect();
    let mut offset = 0;
    for size in &sizes {
        let mut magic = [0; 4];
        if !read_at(file, &mut magic, offset)? || u32_at(&magic, 0) != FRAME {
            return Ok(None);
        }
        offset += size;
    }
    Ok((offset == start).then_some(sizes))
}

/// Whether the file has all these bytes.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::io::Write;

    /// Gzip members that tell their length, as `bgzip` writes them.
    pub fn bgzf(bytes: &[u8], block: usize) -> Vec<u8> {
        let mut packed = Vec::new();
        for chunk in bytes.chunks(block).chain([&b""[..]]) {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(chunk).unwrap();
            let body = encoder.finish().unwrap();
            let mut crc = flate2::Crc::new();
            crc.update(chunk);
            packed.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 6, 0, b'B', b'C', 2, 0]);
            packed.extend((body.len() as u16 + 25).to_le_bytes());
            packed.extend(body);
            packed.extend(crc.sum().to_le_bytes());
            packed.extend((chunk.len() as u32).to_le_bytes());
        }
        packed
    }

    /// A Zstandard frame for each chunk.
    pub fn frames(bytes: &[u8], chunk: usize) -> Vec<Vec<u8>> {
        bytes.chunks(chunk).map(|chunk| zstd::encode_all(chunk, 1).unwrap()).collect()
    }

    /// The frames with the table of the seekable format.
    pub fn seekable(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut packed = frames.concat();
        packed.extend(SEEK_TABLE.to_le_bytes());
        packed.extend((frames.len() as u32 * 8 + 9).to_le_bytes());
        for frame in frames {
            packed.extend((frame.len() as u32).to_le_bytes());
            packed.extend((zstd::decode_all(&frame[..]).unwrap().len() as u32).to_le_bytes());
        }
        packed.extend((frames.len() as u32).to_le_bytes());
        packed.push(0);
        packed.extend(SEEK_TABLE_END.to_le_bytes());
        packed
    }

    pub fn find(packed: &[u8], compression: Compression) -> Vec<u64> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(packed).unwrap();
        entries(&file, packed.len() as u64, compression, 1).unwrap()
    }

    /// Bytes that hardly compress, so that frames have several blocks of every kind.
    fn noise(count: usize) -> Vec<u8> {
        let mut state = 7u32;
        (0..count)
            .map(|n| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if n / 100_000 % 2 == 0 { (state >> 24) as u8 } else { b'x' }
            })
            .collect()
    }

    #[test]
    fn entries_are_the_beginnings_of_blocks_and_frames() {
        let bytes = noise(900_000);
        let parts = frames(&bytes, 400_000);
        let starts = |parts: &[Vec<u8>]| -> Vec<u64> {
            parts.iter().scan(0, |offset, part| Some(std::mem::replace(offset, *offset + part.len() as u64))).collect()
        };
        assert_eq!(find(&parts.concat(), Compression::Zstd), starts(&parts));
        assert_eq!(find(&seekable(&parts), Compression::Zstd), [starts(&parts), vec![parts.concat().len() as u64]].concat());
        assert_eq!(find(&bgzf(&bytes, 60_000), Compression::Gzip).len(), 16);
        let cut = parts.concat();
        assert_eq!(find(&cut[..cut.len() - 5], Compression::Zstd), starts(&parts));
        for entry in find(&seekable(&parts), Compression::Zstd) {
            zstd::decode_all(&seekable(&parts)[entry as usize..]).unwrap();
        }
    }

    #[test]
    fn other_files_have_one_entry() {
        for bytes in [&b""[..], b"x", &[0; 40], &zstd::encode_all(&b"text"[..], 3).unwrap()] {
            assert_eq!(find(bytes, Compression::Zstd), [0]);
            assert_eq!(find(bytes, Compression::Gzip), [0]);
            assert_eq!(find(bytes, Compression::Xz), [0]);
        }
        let mut wrong = seekable(&frames(b"some text", 4));
        let at = wrong.len() - 9 - 8;
        wrong[at] ^= 1;
        assert_eq!(find(&wrong, Compression::Zstd).len(), 4, "a wrong table is not believed");
    }
}
