//! Members of tar and zip archives, each read like a file of its own; its path is the archive's, a slash and its name.
//!
//! Positions and lines of a member start anew. Archives within archives are not opened.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, Result};

use super::archive::{self, Compression, Meter, unpack};
use super::plan::{Format, PartPlan, Piece};
use super::rows::{Fault, Place, Rows};
use super::stream::{Stream, fault};
use super::tar::{self, Kind, Tar};
use super::zip::{Directory, Member, Obstacle};
use super::{Shape, read_stream};

const START: Place = Place { position: 0, line: None };

/// Reads the members of a tar archive, or of a piece of one.
pub fn read_tar(piece: &Piece, path: &Path, shape: &Shape, meter: &Rc<Meter>, rows: &mut Rows) -> Result<()> {
    let stream = archive::open(piece, path, meter)?;
    let broke = Cell::new(false);
    let mut tar = Tar::new(stream.reader, piece.start);
    loop {
        rows.leave_member();
        let header = match tar.next(tar::skip) {
            Ok(Some(header)) => header,
            Ok(None) => {
                let whole = tar.ended() || tar.offset() == 0 || piece.end != u64::MAX;
                let fault = Fault::new("truncated_archive", "the archive ends without its end mark: members may be missing");
                return if whole { Ok(()) } else { rows.reject(Place { position: tar.offset(), line: None }, fault) };
            }
            Err(error) => return rows.reject(Place { position: tar.offset(), line: None }, fault(&stream.name, error)?),
        };
        if header.kind == Kind::Folder {
            continue;
        }
        rows.enter_member(&header.name, header.offset);
        if let Kind::Other(what) = header.kind {
            rows.reject(START, Fault::new("not_a_file", format!("the member is {what}: it holds no text of its own")))?;
            continue;
        }
        let name = format!("{}/{}", stream.name, header.name);
        read_member(&header.name, name, Watched { inner: &mut tar, broke: &broke }, shape, meter, rows)?;
        if broke.get() {
            return Ok(());
        }
    }
}

/// Reads the members of a zip archive, or of a piece of one.
pub fn read_zip(piece: &Piece, path: &Path, shape: &Shape, meter: &Rc<Meter>, rows: &mut Rows) -> Result<()> {
    let name = path.display().to_string();
    let mut file = File::open(path).with_context(|| format!("reading `{name}`"))?;
    let list = Directory::find(&mut file).and_then(|list| Ok((list, list.members(&file, piece.start, piece.end)?)));
    let (list, members) = match list {
        Ok(found) => found,
        Err(error) => return rows.reject(START, fault(&name, error)?),
    };
    if piece.end == u64::MAX && list.overlaps(&members) {
        return rows
            .reject(START, Fault::new("archive_bomb", "members of the zip archive share bytes, so it unpacks to more than it holds"));
    }
    for member in members.iter().filter(|member| member.obstacle != Some(Obstacle::Folder)) {
        rows.enter_member(&member.name, member.entry);
        match (member.obstacle, member.open(&file)) {
            (Some(obstacle), _) => rows.reject(START, refused(obstacle))?,
            (None, Err(error)) => rows.reject(START, fault(&name, error)?)?,
            (None, Ok(packed)) => {
                let name = format!("{name}/{}", member.name);
                let unpacked = unpack(member.compression(), packed, meter).with_context(|| format!("reading `{name}`"))?;
                read_member(&member.name, name, member.check(unpacked), shape, meter, rows)?;
            }
        }
        rows.leave_member();
    }
    Ok(())
}

fn refused(obstacle: Obstacle) -> Fault {
    match obstacle {
        Obstacle::Folder | Obstacle::Link => Fault::new("not_a_file", "the member is a symbolic link: it holds no text of its own"),
        Obstacle::Encrypted => Fault::new("encrypted_member", "the member is encrypted; unpack the archive with its password"),
        Obstacle::Method(method) => Fault::new(
            "unknown_compression",
            format!("the member is packed by method {method}; stored, deflate, bzip2, zstd and xz can be read"),
        ),
    }
}

/// Reads one member in the format that the settings or its name tell.
fn read_member(member: &str, name: String, bytes: impl Read, shape: &Shape, meter: &Rc<Meter>, rows: &mut Rows) -> Result<()> {
    let (compression, unpacked_name) = Compression::split(member);
    if unpacked_name.ends_with(".tar") || unpacked_name.ends_with(".zip") {
        return rows.reject(START, Fault::new("nested_archive", "archives within archives are not opened; unpack the outer one first"));
    }
    let Some(format) = shape.format.or_else(|| Format::from_name(member)) else {
        return rows
            .reject(START, Fault::new("unknown_format", "the extension of the member names no format; `format` gives one to all members"));
    };
    let reader = unpack(compression, bytes, meter).with_context(|| format!("reading `{name}`"))?;
    read_stream(format, Stream::new(name, reader), shape, rows)
}

/// Notes whether the archive itself broke, not only what is packed in a member of it.
struct Watched<'a, R> {
    inner: &'a mut R,
    broke: &'a Cell<bool>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect_err(|error| self.broke.set(error.kind() != io::ErrorKind::Interrupted))
    }
}

/// Parts of whole members of a plain tar file; where a header is broken, the last part ends with it.
pub fn cut_tar(path: &Path, whole: Piece, part_bytes: u64) -> Result<Vec<PartPlan>> {
    let file = File::open(path).with_context(|| format!("reading `{}`", path.display()))?;
    let mut tar = Tar::new(&file, 0);
    let mut cuts = Cuts::new(whole, part_bytes);
    let seek = |file: &mut &File, count: u64| io::Seek::seek_relative(file, count as i64);
    while let Ok(Some(header)) = tar.next(seek) {
        cuts.at(header.offset, header.offset);
    }
    Ok(cuts.finish(tar.offset()))
}

/// Parts of whole members of a zip file; a broken one stays whole and becomes one reject.
pub fn cut_zip(path: &Path, whole: Piece, part_bytes: u64) -> Result<Vec<PartPlan>> {
    let mut file = File::open(path).with_context(|| format!("reading `{}`", path.display()))?;
    let mut cuts = Cuts::new(whole, part_bytes);
    let list = Directory::find(&mut file).and_then(|list| Ok((list, list.members(&file, 0, u64::MAX)?)));
    let Ok((list, members)) = list else { return Ok(cuts.finish(1)) };
    if list.overlaps(&members) {
        return Ok(cuts.finish(1));
    }
    let mut bytes = 0;
    for Member { entry, packed, .. } in members {
        cuts.at(entry, bytes);
        bytes += packed;
    }
    Ok(cuts.finish(bytes))
}

/// Closes a part at the first place that lies at least `part_bytes` after its beginning.
struct Cuts {
    piece: Piece,
    part_bytes: u64,
    from: u64,
    parts: Vec<PartPlan>,
}

impl Cuts {
    fn new(whole: Piece, part_bytes: u64) -> Cuts {
        Cuts { piece: whole, part_bytes, from: 0, parts: Vec::new() }
    }

    /// A member begins at `place`, after `bytes` bytes of the archive.
    fn at(&mut self, place: u64, bytes: u64) {
        if bytes >= self.from + self.part_bytes {
            self.parts.push(PartPlan { pieces: vec![Piece { end: place, ..self.piece }], bytes: bytes - self.from });
            self.piece.start = place;
            self.from = bytes;
        }
    }

    fn finish(mut self, bytes: u64) -> Vec<PartPlan> {
        self.parts.push(PartPlan { pieces: vec![self.piece], bytes: bytes.saturating_sub(self.from) });
        self.parts
    }
}

#[cfg(test)]
mod tests {
    use super::super::mediawiki::tests::{dump, page};
    use super::super::tar::tests::{end, member};
    use super::super::tests::{check, gzip};
    use super::super::warc::tests::record;
    use super::super::zip::tests::{Packed, zip};
    use crate::testing::{Lab, parquet};

    fn archive() -> Vec<u8> {
        let members = [
            member(b"d/", b'5', b""),
            member(b"d/a.jsonl", b'0', b"{\"text\":\"one\"}\nnot json\n"),
            member(b"d/b.txt.gz", b'0', &gzip(b"two")),
            member(b"d/c.png", b'0', b"\x89PNG"),
            member(b"d/d.tar.gz", b'0', b"x"),
            member(b"d/link.txt", b'2', b""),
            member(b"d/e.parquet", b'0', &parquet(&["three", "four"])),
            member(b"d/f.txt", b'0', b""),
            member(b"d/a.jsonl", b'0', b"{\"text\":\"newer\"}"),
        ];
        members.concat()
    }

    const DOCUMENTS: [&str; 5] =
        ["/d/a.jsonl|0|1|one", "/d/b.txt.gz|0|1|two", "/d/e.parquet|0||three", "/d/e.parquet|1||four", "/d/a.jsonl|0|1|newer"];
    const REJECTS: [&str; 5] = [
        "/d/a.jsonl|15|2|broken_json",
        "/d/c.png|0||unknown_format",
        "/d/d.tar.gz|0||nested_archive",
        "/d/link.txt|0||not_a_file",
        "/d/f.txt|0|1|empty_text",
    ];

    fn check_members(name: &str, bytes: &[u8], documents: &[&str], rejects: &[&str]) {
        let full = |rows: &[&str]| rows.iter().map(|row| format!("{name}{row}")).collect::<Vec<_>>();
        let (documents, rejects) = (full(documents), full(rejects));
        let lab = Lab::new(&[(name, bytes)]);
        lab.run(&format!("[[step]]\nstage = \"import\"\npaths = [\"{name}\"]"), 1).unwrap();
        assert_eq!(lab.rows("import", "documents", &["path", "position", "line", "text"]), documents);
        assert_eq!(lab.rows("import", "rejects", &["path", "position", "line", "rule"]), rejects);
        let mut ids = lab.rows("import", "documents", &["id"]);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), documents.len(), "ids are unique");
    }

    #[test]
    fn members_of_tar_files() {
        let whole = [archive(), end()].concat();
        check_members("a.tar", &whole, &DOCUMENTS, &REJECTS);
        check_members("a.tar.gz", &gzip(&whole), &DOCUMENTS, &REJECTS);
        check_members("a.tgz", &gzip(&whole), &DOCUMENTS, &REJECTS);
        check_members("a.tar.zst", &zstd::encode_all(&whole[..], 3).unwrap(), &DOCUMENTS, &REJECTS);
        check_members("a.tar", b"", &[], &[]);
    }

    #[test]
    fn members_of_zip_files() {
        let members = [
            ("d/", 0, &b""[..]),
            ("d/a.jsonl", 8, b"{\"text\":\"one\"}\nnot json\n"),
            ("d/b.txt.gz", 0, &gzip(b"two")),
            ("d/c.png", 0, b"\x89PNG"),
            ("d/d.tar.gz", 0, b"x"),
            ("d/e.parquet", 93, &parquet(&["three", "four"])),
            ("d/f.txt", 0, b""),
            ("d/a.jsonl", 12, b"{\"text\":\"newer\"}"),
        ];
        let packed: Vec<Packed> = members.iter().map(|(name, method, bytes)| Packed::new(name, *method, bytes)).collect();
        let rejects = [&REJECTS[..3], &REJECTS[4..]].concat();
        check_members("a.zip", &zip(&packed), &DOCUMENTS, &rejects);
        // A program before the archive, as in one that unpacks itself.
        check_members("a.zip", &[&b"#!/bin/sh\n"[..], &zip(&packed)].concat(), &DOCUMENTS, &rejects);
    }

    #[test]
    fn pages_records_and_dumps_as_members() {
        let one = record("resource", "text/html", b"<p>one");
        let warc = gzip(&[&one[..], b"broken\r\n\r\n", &one].concat());
        let wiki = dump(&[page("T", 0, "", "wiki")]);
        let members: [(&str, &[u8]); 4] =
            [("p.html", b"<title>T</title><main><p>page</main>"), ("e.htm", b""), ("w.warc.gz", &warc), ("m.xml", wiki.as_bytes())];
        let (broken, second) = (one.len(), one.len() + 10);
        let at = wiki.find("<page>").unwrap();
        let documents = [
            "/p.html|0|1|page".to_string(),
            "/w.warc.gz|0||one".to_string(),
            format!("/w.warc.gz|{second}||one"),
            format!("/m.xml|{at}|3|wiki"),
        ];
        let rejects = ["/e.htm|0|1|empty_text".to_string(), format!("/w.warc.gz|{broken}||broken_warc")];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        let rejects: Vec<&str> = rejects.iter().map(String::as_str).collect();
        let tar: Vec<Vec<u8>> = members.iter().map(|(name, bytes)| member(name.as_bytes(), b'0', bytes)).chain([end()]).collect();
        check_members("a.tar.gz", &gzip(&tar.concat()), &documents, &rejects);
        let packed: Vec<Packed> = members.iter().map(|(name, bytes)| Packed::new(name, 8, bytes)).collect();
        check_members("a.zip", &zip(&packed), &documents, &rejects);
    }

    #[test]
    fn the_format_of_members_can_be_set() {
        let whole = [member(b"a.txt", b'0', b"one\ntwo"), member(b"b", b'0', b"three"), end()].concat();
        check(
            &[("a.tar", &whole)],
            "paths = [\"a.tar\"]\nformat = \"lines\"",
            &["a.tar/a.txt|0|1|one", "a.tar/a.txt|4|2|two", "a.tar/b|0|1|three"],
            &[],
        );
    }

    #[test]
    fn broken_tar_files() {
        let whole = [archive(), end()].concat();
        let sound = archive().len();
        check_members("a.tar", &whole[..sound], &DOCUMENTS, &[&REJECTS[..], &[&format!("|{sound}||truncated_archive")]].concat());
        check_members("a.tar", &whole[..sound - 500], &DOCUMENTS[..4], &[&REJECTS[..], &["/d/a.jsonl|0|1|truncated_archive"]].concat());
        check_members("a.tar", &whole[..512 * 3 + 10], &DOCUMENTS[..1], &["/d/a.jsonl|15|2|broken_json", "|1536||truncated_archive"]);
        let mut wrong = whole.clone();
        wrong[512 * 3 + 3] ^= 1;
        check_members("a.tar", &wrong, &DOCUMENTS[..1], &["/d/a.jsonl|15|2|broken_json", "|2048||corrupt_archive"]);
        let mut inner = whole.clone();
        inner[512 * 4 + 12] ^= 0xff;
        let rejects = [&REJECTS[..1], &["/d/b.txt.gz|0|1|corrupt_archive"], &REJECTS[1..]].concat();
        check_members("a.tar", &inner, &[&DOCUMENTS[..1], &DOCUMENTS[2..]].concat(), &rejects);
        let cut = gzip(&whole);
        check_members("a.tar.gz", &cut[..30], &[], &["|0||truncated_archive"]);
    }

    #[test]
    fn broken_zip_files() {
        let a = Packed::new("a.txt", 8, b"one");
        let b = Packed::new("b.txt", 8, b"two");
        let sound = zip(&[a.clone(), b.clone()]);
        check_members("a.zip", &sound[..sound.len() - 1], &[], &["|0||truncated_archive"]);
        check_members("a.zip", b"", &[], &["|0||truncated_archive"]);
        check_members("a.zip", b"PK\x05\x06 and no more than that", &[], &["|0||truncated_archive"]);
        let wrong = Packed { checksum: 7, ..a.clone() };
        check_members("a.zip", &zip(&[wrong, b.clone()]), &["/b.txt|0|1|two"], &["/a.txt|0|1|corrupt_archive"]);
        let secret = Packed { flags: 1, ..a.clone() };
        check_members("a.zip", &zip(&[secret, b.clone()]), &["/b.txt|0|1|two"], &["/a.txt|0||encrypted_member"]);
        let rare = Packed { method: 98, ..a.clone() };
        check_members("a.zip", &zip(&[rare, b.clone()]), &["/b.txt|0|1|two"], &["/a.txt|0||unknown_compression"]);
        let short = Packed { size: 9, ..a.clone() };
        check_members("a.zip", &zip(&[short, b.clone()]), &["/b.txt|0|1|two"], &["/a.txt|0|1|truncated_archive"]);
        // Two lines of the list for the same bytes.
        let same = Packed { shares: true, ..b.clone() };
        check_members("a.zip", &zip(&[a, b, same]), &[], &["|0||archive_bomb"]);
    }

    #[test]
    fn large_archives_are_cut_between_members() {
        let long = "x".repeat(3 << 20);
        let expected: Vec<String> = (0..12).map(|n| format!("a.XXX/{n}.txt|{n}")).collect();
        let texts: Vec<String> = (0..12).map(|n| format!("{n}\n{long}")).collect();
        let tar: Vec<Vec<u8>> = (0..12).map(|n| member(format!("{n}.txt").as_bytes(), b'0', texts[n].as_bytes())).chain([end()]).collect();
        let packed: Vec<Packed> = (0..12).map(|n| Packed::new(&format!("{n}.txt"), 0, texts[n].as_bytes())).collect();
        for (extension, bytes) in [("tar", tar.concat()), ("zip", zip(&packed))] {
            let lab = Lab::new(&[(&format!("a.{extension}"), &bytes)]);
            let config = format!("[[step]]\nstage = \"import\"\npaths = [\"a.{extension}\"]");
            lab.run(&config, 2).unwrap();
            let found = lab.rows("import", "documents", &["path", "text"]);
            let found: Vec<String> = found.iter().map(|row| row.lines().next().unwrap_or_default().replace(extension, "XXX")).collect();
            assert_eq!(found, expected);
            assert!(lab.files("import", "documents") > 2);
            assert!(lab.rows("import", "rejects", &["rule"]).is_empty());
            let two = lab.fingerprint("import");
            lab.forget();
            lab.run(&config, 1).unwrap();
            assert_eq!(lab.fingerprint("import"), two);
        }
    }
}
