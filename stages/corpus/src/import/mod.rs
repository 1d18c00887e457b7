//! `import`: reads files of text records into documents, each with its provenance.
//!
//! Records are parsed one by one by our own readers, so that a broken record is a reject with its file, byte position and line and never
//! stops the file. No text is changed here beyond decoding; that is `clean`'s work.

mod archive;
mod charset;
mod columns;
mod conll;
mod delimited;
mod fields;
mod frames;
mod html;
mod http;
mod ipc;
mod json;
mod lines;
mod mediawiki;
mod members;
mod parquet;
mod plain;
mod plan;
mod remote;
mod rows;
mod segments;
mod squad;
mod stdin;
mod stream;
mod tar;
mod warc;
mod window;
mod zip;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use engine::{Context, Disk, Draft, InputFile, Inputs, Kind, Part, Port, Site, Stage, list, schema, suggest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use archive::{Compression, Meter};
use charset::Encoding;
use conll::Conll;
use html::Html;
use plan::{Content, Format, Piece};
use rows::{Cell, Column, ColumnType, Rows, Seen};
use stream::Stream;

/// Reads JSON Lines, CSV, TSV, plain text, Markdown, Parquet, Arrow, HTML, WARC, MediaWiki, SQuAD and CoNLL files into documents, plain or packed, and as members of archives.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Files or globs below the config's root, such as `corpus/**/*.jsonl.zst`; the name of a file that exists is that file, whatever signs
    /// stand in it. Each may be compressed (.gz, .bz2, .xz, .zst); of .tar,
    /// .tar.gz (and so on) and .zip files every member is read, with the path `archive.tar.gz/member`.
    /// `-` is the standard input, plain or compressed, in the given `format`; it is kept in the workspace, and taken from there when nothing
    /// is piped in. `s3://`, `gs://`, `az://` and `http(s)://` addresses are downloaded into the workspace once (a build with `remote`).
    pub paths: Vec<String>,
    /// `jsonl`, `text` (a file per document), `markdown` (the same, with a YAML block at the beginning kept as `front_matter` in `extra`),
    /// `lines` (a line per document), `csv` (with a header line; a field in double quotes may hold commas, line ends and `""` for a quote), `tsv`
    /// (with a header line; quotes mean nothing, so no field can hold a tab or a line end), `parquet`, `arrow` (IPC file or stream, Feather version 2), `html` (a page per file),
    /// `warc` (pages, and the texts of WET files), `mediawiki` (XML dumps), `squad` (SQuAD's JSON, a document for each question) or `conll` (a line for each word with its tag, a document
    /// for each sentence); by default from the extension of the file or the archive's member.
    #[serde(default)]
    pub format: Option<Format>,
    /// Field of a record that holds the text.
    #[serde(default = "default_text")]
    pub text: String,
    /// Further columns and their types (`string`, `integer`, `float`, `boolean`): `{ label = "string", score = "float" }`.
    /// Pages have the fields `title`, `language`, `canonical_url`, `links`, `encoding` and `replaced`; WARC records besides them `url`, `date`,
    /// `content_type`, `http_status`, `record_id` and `truncated`; wiki pages `title`, `page_id`, `namespace`, `revision_id` and `timestamp`;
    /// questions of SQuAD `question`, `answer` and `answer_start` (lists), `id`, `title` and `is_impossible`; sentences of CoNLL files
    /// `words` and `tags`, lists for `tokenize layout = "tag"`.
    #[serde(default)]
    pub columns: BTreeMap<String, ColumnType>,
    /// Field that a column is read from where it has another name: `{ label = "Section" }`.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Name of the source of these documents; by default the last folder that all `paths` share before their wild cards, and `files` where
    /// they share none.
    #[serde(default)]
    pub source: Option<String>,
    /// Field of a record that names its source; records without it have the source above.
    #[serde(default)]
    pub source_field: Option<String>,
    /// `utf-8`, `latin-1` (every byte is a character; for old mail), a name of the WHATWG's (`gb18030`, `big5`, `shift_jis`, `euc-jp`, `euc-kr`,
    /// `windows-1252`, …) or `auto` (the byte order mark, what a page says, else a guess). By default `auto` for `html` and `warc`, `utf-8` for all others.
    #[serde(default, deserialize_with = "charset::given")]
    pub encoding: Option<Encoding>,
    /// `main` text of HTML pages, or `all` that a browser shows.
    #[serde(default)]
    pub html: Html,
    /// Namespaces of a MediaWiki dump whose pages are read; 0 holds the articles.
    #[serde(default = "default_namespaces")]
    pub namespaces: Vec<i64>,
    /// Of CoNLL files, where words and tags stand, and what joins words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conll: Option<Conll>,
    /// A longer record is rejected (bytes).
    #[serde(default = "default_record_bytes_max")]
    pub record_bytes_max: usize,
    /// A compressed file is rejected from where it unpacks to more than 64 MiB and this many times what was read of it: a bomb. Text rarely
    /// passes 100.
    #[serde(default = "default_expansion_max")]
    pub expansion_max: u64,
    /// A Zstandard or xz file that needs a larger window for unpacking is rejected (bytes, for each thread; up to 2147483648 for files made with `zstd --long=31`).
    #[serde(default = "default_window_bytes_max")]
    pub window_bytes_max: u64,
    /// What the artifact will take on disk, about.
    #[serde(skip)]
    artifact_bytes: u64,
}

fn default_text() -> String {
    "text".to_string()
}

fn default_namespaces() -> Vec<i64> {
    vec![0]
}

fn default_record_bytes_max() -> usize {
    32 << 20
}

fn default_expansion_max() -> u64 {
    1000
}

fn default_window_bytes_max() -> u64 {
    128 << 20
}

/// What the readers need to know of the settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub format: Option<Format>,
    pub text: String,
    pub columns: Vec<Column>,
    pub source_field: Option<String>,
    pub encoding: Encoding,
    /// That of pages, which can tell their own.
    pub page_encoding: Encoding,
    pub html: Html,
    pub namespaces: Vec<i64>,
    pub conll: Conll,
    pub record_bytes_max: usize,
    pub expansion_max: u64,
    pub window_bytes_max: u64,
    /// A folder for what must be unpacked before it can be read.
    pub scratch: PathBuf,
}

impl Shape {
    /// The user's columns of a document that has none of its own.
    fn no_cells(&self) -> Vec<Cell<'static>> {
        self.columns.iter().map(|_| Cell::Null).collect()
    }
}

impl Stage for Import {
    const NAME: &'static str = "import";
    const ABOUT: &'static str = "Reads JSON Lines, CSV, TSV, plain text, Markdown, Parquet, Arrow, HTML, WARC, MediaWiki, SQuAD and CoNLL files into documents, plain or packed, and as members of archives.";
    const VERSION: u32 = 4;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Documents;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        if self.paths.is_empty() {
            bail!("`paths` is empty: name at least one file or glob");
        }
        if !(1024..=1 << 30).contains(&self.record_bytes_max) {
            bail!("`record_bytes_max` is {}: it must be between 1024 and 1073741824", self.record_bytes_max);
        }
        if self.expansion_max < 10 {
            bail!("`expansion_max` is {}: it must be at least 10, text alone reaches that", self.expansion_max);
        }
        if !(1 << 20..=1 << 31).contains(&self.window_bytes_max) {
            bail!("`window_bytes_max` is {}: it must be between 1048576 and 2147483648", self.window_bytes_max);
        }
        self.check_columns()?;
        let mut known = Some(BTreeSet::new());
        let mut may_be_conll = false;
        self.artifact_bytes = 0;
        for file in self.files(site)? {
            let (format, compression) = match Content::of(&file.path, self.format)? {
                Content::Records(format) => (Some(format), Compression::of(&file.path)),
                Content::Tar => (self.format, Compression::of(&file.path)),
                Content::Zip => (self.format, Compression::Deflate),
            };
            may_be_conll |= format.is_none_or(|format| format == Format::Conll);
            self.artifact_bytes += compression.artifact_bytes(file.bytes);
            known = known.zip(format.and_then(fields::of)).map(|(mut known, names)| {
                known.extend(names);
                known
            });
        }
        if let Some(conll) = &self.conll {
            conll.check()?;
            if !may_be_conll {
                bail!("`conll` is for CoNLL files, and `paths` names none; give `format = \"conll\"` if these are");
            }
        }
        self.check_fields(known.unwrap_or_default())
    }

    fn disk(&self, _: u64) -> Disk {
        Disk { kept: self.artifact_bytes, ..Disk::default() }
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let scratch = draft.dir().join("scratch");
        std::fs::create_dir_all(&scratch).with_context(|| format!("creating `{}`", scratch.display()))?;
        let shape = Shape { scratch, ..self.shape() };
        let fields: Vec<_> = shape.columns.iter().map(Column::arrow_field).collect();
        draft.declare("documents", schema::documents(&fields))?;
        draft.declare("rejects", schema::rejects())?;
        // Also stated when nothing is read.
        draft.count("records", 0);
        let files = inputs.files();
        let source = self.source();
        let plan = plan::pieces(ctx, draft, &shape, files)?;
        let sizes: Vec<Part> = plan.iter().map(|part| Part { bytes: part.bytes }).collect();
        let seen = Seen::default();
        draft.parts(ctx, &sizes, |index, part| {
            let mut rows = Rows::new(ctx, part, &shape.columns);
            for piece in &plan[index].pieces {
                let file = &files[piece.file];
                rows.enter(&source, &file.relative);
                read(piece, &file.path, &shape, &mut rows)?;
            }
            rows.finish(&seen)
        })?;
        seen.warn(ctx, plan.len(), &shape, &source);
        Ok(())
    }
}

/// Reads a piece of a file.
fn read(piece: &Piece, path: &Path, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let meter = Meter::new(shape);
    let plain = Compression::of(path) == Compression::None;
    match piece.content {
        Content::Records(Format::Parquet) if plain => parquet::read(piece, path, shape, rows),
        Content::Records(Format::Arrow) if plain => ipc::read(piece, path, shape, rows),
        Content::Records(format) => read_stream(format, archive::open(piece, path, &meter)?, shape, rows),
        Content::Tar => members::read_tar(piece, path, shape, &meter, rows),
        Content::Zip => members::read_zip(piece, path, shape, &meter, rows),
    }
}

/// Reads an opened stream in a format. Whoever opens a file, a member of an archive or a payload ends here.
fn read_stream(format: Format, stream: Stream, shape: &Shape, rows: &mut Rows) -> Result<()> {
    match format {
        Format::Jsonl => plain::read_jsonl(stream, shape, rows),
        Format::Lines => plain::read_lines(stream, shape, rows),
        Format::Text => plain::read_file(stream, shape, rows),
        Format::Markdown => plain::read_markdown(stream, shape, rows),
        Format::Csv => delimited::read(stream, b',', shape, rows),
        Format::Tsv => delimited::read(stream, b'\t', shape, rows),
        Format::Parquet => parquet::read_stream(stream, shape, rows),
        Format::Arrow => ipc::read_stream(stream, shape, rows),
        Format::Html => html::read(stream, shape, rows),
        Format::Warc => warc::read(stream, shape, rows),
        Format::Mediawiki => mediawiki::read(stream, shape, rows),
        Format::Squad => squad::read(stream, shape, rows),
        Format::Conll => conll::read(stream, shape, rows),
    }
}

impl Import {
    fn shape(&self) -> Shape {
        let field = |name: &String| self.fields.get(name).unwrap_or(name).clone();
        let columns = self.columns.iter().map(|(name, kind)| Column { name: name.clone(), field: field(name), kind: *kind });
        Shape {
            format: self.format,
            text: self.text.clone(),
            columns: columns.collect(),
            source_field: self.source_field.clone(),
            encoding: self.encoding.unwrap_or_default(),
            page_encoding: self.encoding.unwrap_or(Encoding::Auto),
            html: self.html,
            namespaces: self.namespaces.clone(),
            conll: self.conll.clone().unwrap_or_default(),
            record_bytes_max: self.record_bytes_max,
            expansion_max: self.expansion_max,
            window_bytes_max: self.window_bytes_max,
            scratch: PathBuf::new(),
        }
    }

    /// The files that `paths` name; what is no file yet becomes one in the workspace.
    fn files(&self, site: &mut Site) -> Result<Vec<InputFile>> {
        let mut files = Vec::new();
        let (streams, patterns): (Vec<_>, Vec<_>) = self.paths.iter().cloned().partition(|path| path == stdin::NAME);
        if !streams.is_empty() {
            if self.format.is_none() {
                bail!("`paths` names `-`, the standard input, which has no extension; give `format`: {}", plan::NAMES);
            }
            let path = stdin::take(site)?;
            files.push(site.file(path, "stdin")?);
        }
        let (addresses, patterns): (Vec<_>, Vec<_>) = patterns.into_iter().partition(|path| remote::is_address(path));
        for address in addresses {
            for (path, relative) in remote::fetch(&address, &site.inputs_folder()?)? {
                Content::of(&path, self.format)?;
                files.push(site.file(path, &relative)?);
            }
        }
        if !patterns.is_empty() {
            files.extend(site.files(&patterns)?);
        }
        Ok(files)
    }

    fn check_columns(&self) -> Result<()> {
        let fixed = schema::documents(&[]);
        for name in self.columns.keys() {
            if fixed.index_of(name).is_ok() || name == "split" {
                bail!("`columns`: `{name}` is a column of every document; name it otherwise and give its field in `fields`");
            }
            if name.is_empty() || name.chars().any(|c| c.is_uppercase() || c.is_whitespace() || c == '"') {
                bail!("`columns`: `{name}` must be lower-case without white space; name it otherwise and give its field in `fields`");
            }
        }
        if let Some(name) = self.fields.keys().find(|name| !self.columns.contains_key(*name)) {
            let names = || self.columns.keys().map(String::as_str);
            bail!("`fields`: `{name}` is not in `columns`{}; columns: {}", suggest(name, names()), list(names()));
        }
        Ok(())
    }

    /// `known` are the fields of all records, when the formats say them.
    fn check_fields(&self, known: BTreeSet<&str>) -> Result<()> {
        let shape = self.shape();
        let wanted = shape.columns.iter().map(|column| &column.field).chain(&shape.source_field);
        match wanted.into_iter().find(|name| !known.is_empty() && !known.contains(name.as_str())) {
            Some(name) => {
                bail!("these files have no field `{name}`{}; fields: {}", suggest(name, known.iter().copied()), list(known.iter().copied()))
            }
            None => Ok(()),
        }
    }

    /// The given source, or the last folder before the first wild card of all patterns. Follows from the settings alone, because nothing
    /// else is in the key.
    fn source(&self) -> String {
        if let Some(source) = &self.source {
            return source.clone();
        }
        let fixed = |pattern: &str| -> Vec<String> {
            let mut folders: Vec<&str> = pattern.split('/').collect();
            folders.pop();
            folders.into_iter().take_while(|part| !part.contains(['*', '?', '['])).map(str::to_string).collect()
        };
        let mut shared = fixed(&self.paths[0]);
        for pattern in &self.paths[1..] {
            let equal = shared.iter().zip(fixed(pattern)).take_while(|(a, b)| **a == *b).count();
            shared.truncate(equal);
        }
        shared.pop().filter(|folder| !["", ".", ".."].contains(&folder.as_str())).unwrap_or_else(|| "files".to_string())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::Lab;
    use expect_test::expect;
    use std::io::Write;

    /// Imports `files` with `settings` and shows documents and rejects, one line each.
    pub fn check(files: &[(&str, &[u8])], settings: &str, expected_documents: &[&str], expected_rejects: &[&str]) {
        let lab = Lab::new(files);
        lab.run(&format!("[[step]]\nstage = \"import\"\n{settings}"), 2).unwrap();
        let columns: Vec<&str> = settings.lines().filter_map(|line| line.strip_prefix("# ")).collect();
        let columns = [&["path", "position", "line", "text"][..], &columns].concat();
        assert_eq!(lab.rows("import", "documents", &columns), expected_documents);
        assert_eq!(lab.rows("import", "rejects", &["path", "position", "line", "rule"]), expected_rejects);
    }

    pub fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    pub fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn any_compression_goes_with_any_format() {
        let parquet = crate::testing::parquet(&["one", "two"]);
        let page = |word: &str| format!("<main><p>{word}</main>").into_bytes();
        let warc: Vec<u8> = ["one", "two"].iter().flat_map(|word| warc::tests::record("resource", "text/html", &page(word))).collect();
        let dump = mediawiki::tests::dump(&["one", "two"].map(|word| mediawiki::tests::page("T", 0, "", word)));
        let formats: [(&str, &[u8]); 8] = [
            ("jsonl", b"{\"text\":\"one\"}\n{\"text\":\"two\"}\n"),
            ("csv", b"text\none\ntwo\n"),
            ("tsv", b"text\none\ntwo\n"),
            ("txt", b"one"),
            ("parquet", &parquet),
            ("html", &page("one")),
            ("warc", &warc),
            ("xml", dump.as_bytes()),
        ];
        for (format, bytes) in formats {
            for (extension, pack) in &PACKERS[1..] {
                // Two members that follow each other are read as one file.
                let (start, end) = bytes.split_at(bytes.len() / 3);
                let lab = Lab::new(&[(&format!("a.{format}{extension}"), &[pack(start), pack(end)].concat())]);
                lab.run("[[step]]\nstage = \"import\"\npaths = [\"a.*\"]", 1).unwrap();
                let expected: &[&str] = if ["txt", "html"].contains(&format) { &["one"] } else { &["one", "two"] };
                assert_eq!(lab.rows("import", "documents", &["text"]), expected, "{format} {extension}");
                assert!(lab.rows("import", "rejects", &["rule"]).is_empty());
            }
        }
    }

    #[test]
    fn json_lines_with_every_fault() {
        let file = b"\xef\xbb\xbf{\"text\":\"one\",\"n\":1}\r\n\n{\"text\":\"two\", \"x\": [1, 2]}\nnot json\n{\"text\":\"\xff\"}\n{\"text\":\"\\ud800\"}\n\
            {\"n\":2}\n{\"text\":7}\n{\"text\":\" \"}\n\0\0\n{\"text\":\"l\xc3\xa4st\",\"n\":\"q\"}\n{\"text\":\"end\"}";
        check(
            &[("d/a.jsonl", file)],
            "paths = [\"d/*.jsonl\"]\ncolumns = { n = \"integer\" }\n# n\n# extra\n# source",
            &["a.jsonl|3|1|one|1||d", "a.jsonl|26|3|two||{\"x\":[1, 2]}|d", "a.jsonl|154|12|end|||d"],
            &[
                "a.jsonl|54|4|broken_json",
                "a.jsonl|63|5|invalid_utf8",
                "a.jsonl|76|6|lone_surrogate",
                "a.jsonl|94|7|missing_text",
                "a.jsonl|102|8|not_text",
                "a.jsonl|113|9|empty_text",
                "a.jsonl|126|10|broken_json",
                "a.jsonl|129|11|wrong_type",
            ],
        );
    }

    #[test]
    fn empty_files_and_blank_lines_are_no_records() {
        check(
            &[("a.jsonl", b""), ("b.jsonl", b"\n \n\r\n"), ("c.jsonl", b"{\"text\":\"x\"}")],
            "paths = [\"*.jsonl\"]",
            &["c.jsonl|0|1|x"],
            &[],
        );
        check(&[("a.csv", b"")], "paths = [\"*.csv\"]", &[], &[]);
    }

    #[test]
    fn text_files_and_lines() {
        let files: &[(&str, &[u8])] = &[("t/a.txt", b"one\n\0two\n"), ("t/b.md", b""), ("t/c.txt", b"a\xffb")];
        check(files, "paths = [\"t/*\"]", &["a.txt|0|1|one\n\0two\n"], &["b.md|0|1|empty_text", "c.txt|0|1|invalid_utf8"]);
        check(files, "paths = [\"t/c.txt\"]\nencoding = \"latin-1\"", &["c.txt|0|1|a\u{ff}b"], &[]);
        check(files, "paths = [\"t/c.txt\"]\nencoding = \"GBK\"", &[], &["c.txt|0|1|invalid_encoding"]);
        check(files, "paths = [\"t/a.txt\"]\nformat = \"lines\"", &["a.txt|0|1|one", "a.txt|4|2|\0two"], &[]);
    }

    #[test]
    fn markdown_with_front_matter() {
        let files: &[(&str, &[u8])] = &[
            ("a.md", b"\xef\xbb\xbf---\r\ntitle: One\n# comment\ntags: [a]\n---\n# One\n"),
            ("b.md", b"---\n\nA rule above, a rule below.\n---\n"),
            ("c.md", b"---\ntitle: never closed\n"),
            ("d.md", b"---\nNo key: here is\nplain prose.\n---\nText"),
            ("e.markdown", b"---\ntitle: only this\n...\n"),
        ];
        check(
            files,
            "paths = [\"*.m*\"]\n# extra",
            &[
                "a.md|0|1|# One\n|{\"front_matter\":\"title: One\\n# comment\\ntags: [a]\\n\"}",
                "b.md|0|1|---\n\nA rule above, a rule below.\n---\n|",
                "c.md|0|1|---\ntitle: never closed\n|",
                "d.md|0|1|---\nNo key: here is\nplain prose.\n---\nText|",
            ],
            &["e.markdown|0|1|empty_text"],
        );
    }

    #[test]
    fn csv_and_tsv() {
        check(
            &[("a.csv", b"id,text,label\r\n1,\"two\nlines, \"\"quoted\"\"\",x\r\n2,short\r\n3,,y\r\n4,\xff,z\r\n5,last,w\r\n")],
            "paths = [\"a.csv\"]\ncolumns = { kind = \"string\" }\nfields = { kind = \"label\" }\n# kind\n# extra",
            &["a.csv|15|2|two\nlines, \"quoted\"|x|{\"id\":\"1\"}", "a.csv|66|7|last|w|{\"id\":\"5\"}"],
            &["a.csv|44|4|broken_csv", "a.csv|53|5|empty_text", "a.csv|59|6|invalid_utf8"],
        );
        check(&[("a.csv", b"text,n\none,1\n\"two,2\nthree,3\n")], "paths = [\"a.csv\"]", &["a.csv|7|2|one"], &["a.csv|13|3|broken_csv"]);
        check(
            &[("a.tsv", b"text\tn\nsay \"hi\"\t1.5\n")],
            "paths = [\"a.tsv\"]\ncolumns = { n = \"float\" }\n# n",
            &["a.tsv|7|2|say \"hi\"|1.5"],
            &[],
        );
        let lab = Lab::new(&[("a.csv", b"id,txet\n")]);
        let message = format!("{:#}", lab.run("[[step]]\nstage = \"import\"\npaths = [\"a.csv\"]", 1).unwrap_err());
        assert!(message.contains("has no field `text`, did you mean `txet`?; fields: `id`, `txet`"), "{message}");
    }

    #[test]
    fn broken_archives_keep_what_can_be_read() {
        let lines: String = (0..20_000).map(|n| format!("{{\"text\":\"line {n} {}\"}}\n", n * 7919 % 10007)).collect();
        let packed = [
            ("gz", gzip(lines.as_bytes())),
            ("zst", zstd::encode_all(lines.as_bytes(), 3).unwrap()),
            ("bz2", bzip2(lines.as_bytes())),
            ("xz", xz(lines.as_bytes())),
        ];
        for (extension, bytes) in packed {
            let name = format!("a.jsonl.{extension}");
            let lab = Lab::new(&[(&name, &bytes[..])]);
            let config = format!("[[step]]\nstage = \"import\"\npaths = [\"{name}\"]");
            lab.run(&config, 1).unwrap();
            assert_eq!(lab.rows("import", "documents", &["line"]).len(), 20_000);
            lab.write(&name, &bytes[..bytes.len() / 2]);
            lab.run(&config, 1).unwrap();
            let kept = lab.rows("import", "documents", &["line"]).len();
            let rejects = lab.rows("import", "rejects", &["line", "rule"]);
            assert!(kept > 1000 || extension != "gz", "{kept}");
            assert_eq!(rejects, [format!("{}|truncated_archive", kept + 1)]);
        }
        check(&[("a.jsonl.gz", b"no archive")], "paths = [\"a.jsonl.gz\"]", &[], &["a.jsonl.gz|0|1|corrupt_archive"]);
        check(&[("a.parquet", b"PAR1 no more")], "paths = [\"a.parquet\"]", &[], &["a.parquet|0||corrupt_parquet"]);
        let parquet = crate::testing::parquet(&["one", "two"]);
        check(&[("a.parquet", &parquet[..parquet.len() - 9])], "paths = [\"a.parquet\"]", &[], &["a.parquet|0||corrupt_parquet"]);
        check(&[("a.txt.gz", &gzip(b"whole")[..12])], "paths = [\"a.txt.gz\"]", &[], &["a.txt.gz|0|1|truncated_archive"]);
    }

    #[test]
    fn bombs_stop_where_they_grow_beyond_text() {
        // Bytes of the same value, after two sound records.
        let bomb = |extension: &str| {
            let mut bytes = b"{\"text\":\"one\"}\n{\"text\":\"two\"}\n".to_vec();
            bytes.resize(80 << 20, b' ');
            match extension {
                "bz2" => bzip2(&bytes),
                "xz" => xz(&bytes),
                _ => zstd::encode_all(&bytes[..], 1).unwrap(),
            }
        };
        for extension in ["bz2", "xz", "zst"] {
            let name = format!("a.jsonl.{extension}");
            check(
                &[(&name, &bomb(extension))],
                &format!("paths = [\"{name}\"]\nexpansion_max = 100"),
                &[&format!("{name}|0|1|one"), &format!("{name}|15|2|two")],
                &[&format!("{name}|30|3|archive_bomb")],
            );
        }
        check(&[("a.txt.zst", &bomb("zst"))], "paths = [\"*.zst\"]\nexpansion_max = 100", &[], &["a.txt.zst|0|1|record_too_long"]);
        check(&[("a.parquet.zst", &bomb("zst"))], "paths = [\"*.zst\"]\nexpansion_max = 100", &[], &["a.parquet.zst|0||archive_bomb"]);
    }

    #[test]
    fn large_windows_are_refused_unless_allowed() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(28).unwrap();
        encoder.write_all(b"{\"text\":\"one\"}").unwrap();
        encoder.flush().unwrap();
        let packed = encoder.finish().unwrap();
        check(&[("a.jsonl.zst", &packed)], "paths = [\"*.zst\"]", &[], &["a.jsonl.zst|0|1|window_too_large"]);
        check(&[("a.jsonl.zst", &packed)], "paths = [\"*.zst\"]\nwindow_bytes_max = 2147483648", &["a.jsonl.zst|0|1|one"], &[]);
        let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
        options.dict_size(256 << 20);
        let mut filters = liblzma::stream::Filters::new();
        filters.lzma2(&options);
        let stream = liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc32).unwrap();
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(b"{\"text\":\"one\"}").unwrap();
        let packed = encoder.finish().unwrap();
        check(&[("a.jsonl.xz", &packed)], "paths = [\"*.xz\"]", &[], &["a.jsonl.xz|0|1|window_too_large"]);
    }

    #[test]
    fn large_files_are_cut_into_parts_with_global_lines() {
        let mut file = Vec::new();
        let mut expected = Vec::new();
        for n in 0.. {
            if file.len() as u64 > 2 * plan::PART_BYTES_MIN + 100_000 {
                break;
            }
            expected.push(format!("{}|{}|{n}", file.len(), n + 1));
            writeln!(file, "{{\"text\":\"{n}\",\"filler\":\"{}\"}}", "x".repeat(n * 31 % 9000)).unwrap();
        }
        let lab = Lab::new(&[("a.jsonl", &file)]);
        lab.run("[[step]]\nstage = \"import\"\npaths = [\"a.jsonl\"]", 2).unwrap();
        assert_eq!(lab.rows("import", "documents", &["position", "line", "text"]), expected);
        assert_eq!(lab.files("import", "documents"), 3);
        let two = lab.fingerprint("import");
        lab.forget();
        lab.run("[[step]]\nstage = \"import\"\npaths = [\"a.jsonl\"]", 1).unwrap();
        assert_eq!(lab.fingerprint("import"), two);
    }

    /// Lines of all lengths, among them one that spans several frames.
    fn long_lines() -> Vec<u8> {
        let mut state = 1u64;
        let mut file = Vec::new();
        for n in 0.. {
            if file.len() as u64 > 5 * plan::PART_BYTES_MIN {
                break;
            }
            // Hexadecimal noise, so that the packed file is large too.
            let count = if n == 150 { 1 << 20 } else { n * 31 % 9000 };
            let filler: String = (0..count / 16)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    format!("{state:016x}")
                })
                .collect();
            writeln!(file, "{{\"text\":\"{n}\",\"filler\":\"{filler}\"}}").unwrap();
        }
        file
    }

    #[test]
    fn large_packed_files_are_cut_where_a_decoder_can_begin() {
        let file = long_lines();
        let config = |name: &str| format!("[[step]]\nstage = \"import\"\npaths = [\"{name}\"]");
        let lab = Lab::new(&[("a.jsonl", &file)]);
        lab.run(&config("a.jsonl"), 2).unwrap();
        let columns = ["position", "line", "text", "content_hash"];
        let expected = lab.rows("import", "documents", &columns);
        let frames = frames::tests::frames(&file, 300_000);
        let packed = [
            ("a.jsonl.gz", frames::tests::bgzf(&file, 60_000)),
            ("a.jsonl.zst", frames.concat()),
            ("b.jsonl.zst", frames::tests::seekable(&frames)),
        ];
        for (name, bytes) in packed {
            lab.write(name, &bytes);
            lab.run(&config(name), 2).unwrap();
            assert_eq!(lab.rows("import", "documents", &columns), expected, "{name}");
            assert!(lab.files("import", "documents") > 1, "{name}");
            let two = lab.fingerprint("import");
            lab.forget();
            lab.run(&config(name), 1).unwrap();
            assert_eq!(lab.fingerprint("import"), two);
            // What is read of a broken file is what stands before the break, however it is cut.
            let entries = frames::tests::find(&bytes, Compression::of(Path::new(name)));
            let at = entries[entries.len() / 2] as usize;
            let damaged = [&bytes[..at], &[0xaa; 64], &bytes[at + 64..]].concat();
            let breaks = [(damaged, "corrupt_archive"), (bytes[..at + 9].to_vec(), "truncated_archive")];
            for (broken, rule) in breaks {
                lab.write(name, &broken);
                lab.run(&config(name), 2).unwrap();
                let kept = lab.rows("import", "documents", &columns);
                assert_eq!(kept, expected[..kept.len()]);
                assert!(kept.len() > expected.len() / 3);
                assert_eq!(lab.rows("import", "rejects", &["line", "rule"]), [format!("{}|{rule}", kept.len() + 1)], "{name}");
            }
        }
    }

    #[test]
    fn parquet_comes_back() {
        let lab = Lab::new(&[("a.jsonl", b"{\"text\":\"one\",\"n\":1,\"z\":[1]}\n{\"text\":\"two\"}\n")]);
        let config = "[[step]]\nstage = \"import\"\npaths = [\"a.jsonl\"]\ncolumns = { n = \"integer\" }";
        lab.run(config, 1).unwrap();
        let artifact = lab.artifact("import");
        let bytes = std::fs::read(&artifact.table("documents").unwrap().files[0].path).unwrap();
        check(
            &[("b/x.parquet", &bytes)],
            "paths = [\"b/*.parquet\"]\ncolumns = { m = \"string\" }\nfields = { m = \"n\" }\n# m",
            &["x.parquet|0||one|1", "x.parquet|1||two|"],
            &[],
        );
        lab.write("x.parquet", &bytes);
        let message = format!("{:#}", lab.run("[[step]]\nstage = \"import\"\npaths = [\"x.parquet\"]\ntext = \"n\"", 1).unwrap_err());
        assert!(message.contains("x.parquet`: column `n` is Int64, not text"), "{message}");
    }

    #[test]
    fn columns_without_any_value_are_told() {
        let lab = Lab::new(&[("a.jsonl", b"{\"text\":\"one\",\"n\":1}\n{\"text\":\"two\"}\n")]);
        let step = "[[step]]\nstage = \"import\"\npaths = [\"a.jsonl\"]\ncolumns = { n = \"integer\", label = \"string\" }";
        lab.run(&format!("{step}\nfields = {{ label = \"lable\" }}"), 1).unwrap();
        let told = "`columns`: no record has a value in its field `lable`, so the column `label` is null in every document";
        assert_eq!(lab.warnings(), [told]);
    }

    #[test]
    fn a_source_that_no_record_names_is_told() {
        let check = |lines: &[u8], expected: &[&str]| {
            let lab = Lab::new(&[("web/a.jsonl", lines)]);
            lab.run("[[step]]\nstage = \"import\"\npaths = [\"web/a.jsonl\"]\nsource_field = \"from\"", 1).unwrap();
            assert_eq!(lab.warnings(), expected);
        };
        let told = "`source_field`: no record has text in its field `from`, so the source of every document is `web`";
        check(b"{\"text\":\"one\",\"form\":\"mail\"}\n{\"text\":\"two\",\"from\":7}\n", &[told]);
        check(b"{\"text\":\"one\"}\n{\"text\":\"two\",\"from\":\"mail\"}\n", &[]);
        // Where there is no document, nothing is missing.
        check(b"{\"text\":\"\"}\n", &[]);
    }

    #[test]
    fn too_long_records_are_rejected() {
        let long = format!("{{\"text\":\"{}\"}}\n{{\"text\":\"x\"}}\n", "y".repeat(3000));
        check(
            &[("a.jsonl", long.as_bytes())],
            "paths = [\"a.jsonl\"]\nrecord_bytes_max = 2000",
            &["a.jsonl|3012|2|x"],
            &["a.jsonl|0|1|record_too_long"],
        );
    }

    #[test]
    fn wrong_settings_are_refused_while_planning() {
        let check = |settings: &str, expected: &str| {
            let lab = Lab::new(&[("a.jsonl", b""), ("b.xyz", b""), ("p.html", b""), ("p.zip", b"")]);
            let message = format!("{:#}", lab.run(&format!("[[step]]\nstage = \"import\"\n{settings}"), 1).unwrap_err());
            assert!(message.contains(expected), "{message}");
        };
        check("paths = []", "`paths` is empty");
        check("paths = [\"a.jsonl\"]\nexpansion_max = 1", "`expansion_max` is 1");
        check("paths = [\"a.jsonl\"]\nwindow_bytes_max = 1000", "`window_bytes_max` is 1000");
        check("paths = [\"-\"]", "`paths` names `-`, the standard input, which has no extension; give `format`: jsonl,");
        #[cfg(not(feature = "remote"))]
        check("paths = [\"s3://bucket/a.jsonl\"]", "was built without object stores; build it with the feature `remote`");
        check("paths = [\"a.jsonl\"]\nencoding = \"UTF-16LE\"", "`auto` reads text files");
        check("paths = [\"a.jsonl\"]\nencoding = \"ebcdic\"", "expected one of `auto`, `utf-8`");
        check("paths = [\"*.xyz\"]", "the extension names no format");
        check("paths = [\"a.jsonl\"]\ncolumns = { id = \"string\" }", "`id` is a column of every document");
        check("paths = [\"a.jsonl\"]\ncolumns = { Id = \"string\" }", "`Id` must be lower-case");
        check("paths = [\"p.html\"]\ncolumns = { titel = \"string\" }", "no field `titel`, did you mean `title`?");
        check("paths = [\"p.zip\"]\nformat = \"html\"\ncolumns = { titel = \"string\" }", "no field `titel`, did you mean `title`?");
        check("paths = [\"a.jsonl\"]\nfields = { lable = \"x\" }\ncolumns = { label = \"string\" }", "did you mean `label`?");
    }

    #[test]
    fn packed_files_are_planned_with_what_they_unpack_to() {
        let lab = Lab::new(&[
            ("a.jsonl", &[b' '; 1000]),
            ("a.jsonl.zst", &[b' '; 1000]),
            ("a.jsonl.xz", &[b' '; 1000]),
            ("a.zip", &[b' '; 1000]),
        ]);
        let kept = |pattern: &str| lab.plan(&format!("[[step]]\nstage = \"import\"\npaths = [\"{pattern}\"]")).unwrap().steps[0].disk.kept;
        assert_eq!([kept("*.jsonl"), kept("*.zst"), kept("*.xz"), kept("*.zip"), kept("a.*")], [1000, 2000, 2500, 2000, 7500]);
    }

    #[test]
    fn the_source_follows_from_the_patterns() {
        let source = |paths: &[&str]| {
            let paths: Vec<String> = paths.iter().map(|path| path.to_string()).collect();
            serde_json::from_value::<Import>(serde_json::json!({ "paths": paths })).unwrap().source()
        };
        assert_eq!(source(&["data/web/*/x.jsonl"]), "web");
        assert_eq!(source(&["data/web/x.jsonl", "data/books/*.txt"]), "data");
        assert_eq!(source(&["../*.txt"]), "files");
        assert_eq!(source(&["a.jsonl"]), "files");
    }

    type Pack = fn(&[u8]) -> Vec<u8>;
    const PACKERS: [(&str, Pack); 5] = [
        ("", |bytes| bytes.to_vec()),
        (".gz", gzip),
        (".bz2", bzip2),
        (".xz", xz),
        (".zst", |bytes| zstd::encode_all(bytes, 3).unwrap_or_default()),
    ];

    /// Imports one file; a file that lacks a column may be refused, all else is documents and rejects. Returns their number.
    fn import_anything(name: &str, bytes: &[u8]) -> Option<usize> {
        let lab = Lab::new(&[(name, bytes)]);
        match lab.run("[[step]]\nstage = \"import\"\npaths = [\"a.*\"]\nexpansion_max = 10", 1) {
            Ok(()) => Some(lab.rows("import", "documents", &["position"]).len() + lab.rows("import", "rejects", &["rule"]).len()),
            Err(error) => {
                let message = format!("{error:#}");
                let refused = ["has no column", "has no field", "not text", "cannot be read as"];
                assert!(refused.iter().any(|part| message.contains(part)), "{name}: {message}");
                None
            }
        }
    }

    /// A sound file of every kind.
    fn sound_files() -> Vec<(&'static str, Vec<u8>)> {
        let parquet = crate::testing::parquet(&["one", "two", "three"]);
        let tar = [tar::tests::member(b"x.jsonl", b'0', b"{\"text\":\"one\"}"), tar::tests::end()].concat();
        let zip = zip::tests::zip(&[zip::tests::Packed::new("x.txt", 8, b"one"), zip::tests::Packed::new("y.md", 93, b"two")]);
        vec![
            ("jsonl", b"{\"text\":\"one\",\"n\":[1]}\n{\"text\":\"\\ud83d\\ude00\"}\n".to_vec()),
            ("csv", b"text,n\n\"one\n\",1\n\"two\"\"\",2\n".to_vec()),
            ("tsv", b"text\tn\none\t1\n".to_vec()),
            ("txt", b"one\ntwo".to_vec()),
            ("md", b"---\na: b\n---\ntext".to_vec()),
            ("parquet", parquet),
            ("arrow", ipc::tests::sample()),
            ("html", b"<html lang=en><title>T</title><main><p>one &amp; two</main></html>".to_vec()),
            ("warc", warc::tests::record("resource", "text/html", b"<p>one").repeat(2)),
            ("xml", mediawiki::tests::dump(&[mediawiki::tests::page("T", 0, "", "one")]).into_bytes()),
            ("conll", b"one B-X\ntwo O\n\n\xe4\xb8\x89\tO\n".to_vec()),
            ("tar", tar),
            ("zip", zip),
        ]
    }

    /// Documents and rules of the rejects, or why the file is refused.
    fn outcome(name: &str, bytes: &[u8]) -> String {
        let lab = Lab::new(&[(name, bytes)]);
        match lab.run("[[step]]\nstage = \"import\"\npaths = [\"a.*\"]\nexpansion_max = 10\nrecord_bytes_max = 1000000", 1) {
            Ok(()) => {
                let mut rules = lab.rows("import", "rejects", &["rule"]);
                rules.dedup();
                format!("{} {}", lab.rows("import", "documents", &["position"]).len(), rules.join(" ")).trim_end().to_string()
            }
            Err(error) => format!("refused: {}", format!("{error:#}").contains("has no")),
        }
    }

    #[test]
    fn every_format_with_every_fault() {
        let random: Vec<u8> = (0..5000u64).map(|i| ((i * i * 2_654_435_761) >> 13) as u8).collect();
        let utf16 = |bytes: &[u8]| [0xff, 0xfe].into_iter().chain(bytes.iter().flat_map(|byte| [*byte, 0])).collect::<Vec<u8>>();
        let with = |bytes: &[u8], more: &[u8]| [&bytes[..bytes.len() / 2], more, &bytes[bytes.len() / 2..]].concat();
        let deep = ["[".repeat(100_000), "<div>".repeat(100_000)].concat();
        type Damage<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
        let damages: [(&str, Damage); 9] = [
            ("empty", &|_| Vec::new()),
            ("cut", &|bytes| bytes[..bytes.len() * 2 / 3].to_vec()),
            ("zeros", &|_| vec![0; 1000]),
            ("zeros inside", &|bytes| with(bytes, &[0; 20])),
            ("wrong bytes", &|bytes| with(bytes, b"\xff\xfe\xc3\x28")),
            ("UTF-16", &|bytes| utf16(bytes)),
            ("random", &|_| random.clone()),
            ("deep", &|_| deep.clone().into_bytes()),
            ("a long line", &|bytes| with(bytes, &b"a b ".repeat(500_000))),
        ];
        let mut table = String::new();
        for (format, sound) in sound_files() {
            for (damage, of) in damages {
                table += &format!("{format}, {damage}: {}\n", outcome(&format!("a.{format}"), &of(&sound)));
            }
        }
        for (extension, pack) in &PACKERS[1..] {
            let packed = pack(&b"{\"text\":\"one\"}\n".repeat(1000));
            table += &format!("{extension}, cut: {}\n", outcome(&format!("a.jsonl{extension}"), &packed[..packed.len() - 12]));
            table += &format!("{extension}, a bomb: {}\n", outcome(&format!("a.txt{extension}"), &pack(&vec![b'a'; 2 << 20])));
            table += &format!("{extension}, not packed: {}\n", outcome(&format!("a.jsonl{extension}"), b"{\"text\":\"one\"}"));
        }
        expect![[r#"
            jsonl, empty: 0
            jsonl, cut: 1 broken_json
            jsonl, zeros: 0 broken_json
            jsonl, zeros inside: 1 broken_json
            jsonl, wrong bytes: 1 invalid_utf8
            jsonl, UTF-16: 0 invalid_utf8 broken_json
            jsonl, random: 0 invalid_utf8
            jsonl, deep: 0 broken_json
            jsonl, a long line: 1 record_too_long
            csv, empty: 0
            csv, cut: 1 broken_csv
            csv, zeros: refused: true
            csv, zeros inside: 1 binary_text
            csv, wrong bytes: 1 invalid_utf8
            csv, UTF-16: 0 invalid_utf8
            csv, random: refused: true
            csv, deep: refused: true
            csv, a long line: 0 record_too_long
            tsv, empty: 0
            tsv, cut: 0 broken_csv
            tsv, zeros: refused: true
            tsv, zeros inside: 1
            tsv, wrong bytes: 1
            tsv, UTF-16: 0 invalid_utf8
            tsv, random: refused: true
            tsv, deep: refused: true
            tsv, a long line: 0 record_too_long
            txt, empty: 0 empty_text
            txt, cut: 1
            txt, zeros: 0 binary_text
            txt, zeros inside: 0 binary_text
            txt, wrong bytes: 0 invalid_utf8
            txt, UTF-16: 0 invalid_utf8
            txt, random: 0 invalid_utf8
            txt, deep: 1
            txt, a long line: 0 record_too_long
            md, empty: 0 empty_text
            md, cut: 1
            md, zeros: 0 binary_text
            md, zeros inside: 1
            md, wrong bytes: 0 invalid_utf8
            md, UTF-16: 0 invalid_utf8
            md, random: 0 invalid_utf8
            md, deep: 1
            md, a long line: 0 record_too_long
            parquet, empty: 0 corrupt_parquet
            parquet, cut: 0 corrupt_parquet
            parquet, zeros: 0 corrupt_parquet
            parquet, zeros inside: 0 corrupt_parquet
            parquet, wrong bytes: 0 corrupt_parquet
            parquet, UTF-16: 0 corrupt_parquet
            parquet, random: 0 corrupt_parquet
            parquet, deep: 0 corrupt_parquet
            parquet, a long line: 0 corrupt_parquet
            arrow, empty: 0
            arrow, cut: 0 truncated_archive
            arrow, zeros: 0 corrupt_archive
            arrow, zeros inside: 0 corrupt_archive
            arrow, wrong bytes: 0 corrupt_archive
            arrow, UTF-16: 0 truncated_archive
            arrow, random: 0 corrupt_archive
            arrow, deep: 0 corrupt_archive
            arrow, a long line: 0 corrupt_archive
            html, empty: 0 empty_text
            html, cut: 1
            html, zeros: 0 binary_text
            html, zeros inside: 1
            html, wrong bytes: 1
            html, UTF-16: 1
            html, random: 0 binary_text
            html, deep: 0 nested_too_deep
            html, a long line: 0 record_too_long
            warc, empty: 0
            warc, cut: 1 broken_warc
            warc, zeros: 0 broken_warc
            warc, zeros inside: 1 broken_warc
            warc, wrong bytes: 1 broken_warc
            warc, UTF-16: 0 broken_warc
            warc, random: 0 broken_warc
            warc, deep: 0 broken_warc
            warc, a long line: 1 broken_warc
            xml, empty: 0
            xml, cut: 0 truncated_record
            xml, zeros: 0 broken_xml
            xml, zeros inside: 1
            xml, wrong bytes: 0 invalid_utf8
            xml, UTF-16: 0 broken_xml
            xml, random: 0 broken_xml
            xml, deep: 0 broken_xml
            xml, a long line: 0 record_too_long
            conll, empty: 0
            conll, cut: 1
            conll, zeros: 0 broken_conll
            conll, zeros inside: 1 binary_text
            conll, wrong bytes: 1 invalid_utf8
            conll, UTF-16: 0 invalid_utf8
            conll, random: 0 invalid_utf8
            conll, deep: 0 broken_conll
            conll, a long line: 1 record_too_long
            tar, empty: 0
            tar, cut: 1 truncated_archive
            tar, zeros: 0 truncated_archive
            tar, zeros inside: 1 truncated_archive
            tar, wrong bytes: 1 corrupt_archive
            tar, UTF-16: 0 corrupt_archive
            tar, random: 0 corrupt_archive
            tar, deep: 0 corrupt_archive
            tar, a long line: 1 corrupt_archive
            zip, empty: 0 truncated_archive
            zip, cut: 0 truncated_archive
            zip, zeros: 0 truncated_archive
            zip, zeros inside: 0 corrupt_archive
            zip, wrong bytes: 0 corrupt_archive
            zip, UTF-16: 0 truncated_archive
            zip, random: 0 truncated_archive
            zip, deep: 0 truncated_archive
            zip, a long line: 0 corrupt_archive
            .gz, cut: 998 truncated_archive
            .gz, a bomb: 0 record_too_long
            .gz, not packed: 0 corrupt_archive
            .bz2, cut: 0 truncated_archive
            .bz2, a bomb: 0 record_too_long
            .bz2, not packed: 0 corrupt_archive
            .xz, cut: 1000 truncated_archive
            .xz, a bomb: 0 record_too_long
            .xz, not packed: 0 corrupt_archive
            .zst, cut: 0 truncated_archive
            .zst, a bomb: 0 record_too_long
            .zst, not packed: 0 corrupt_archive
        "#]]
        .assert_eq(&table);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(3))]

        #[test]
        fn any_bytes_become_documents_and_rejects(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            for (format, _) in sound_files() {
                for (extension, pack) in PACKERS {
                    if format == "zip" && !extension.is_empty() { continue; }
                    let name = format!("a.{format}{extension}");
                    import_anything(&name, &bytes);
                    let found = import_anything(&name, &pack(&bytes));
                    if format == "jsonl" {
                        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
                        proptest::prop_assert_eq!(found, Some(lines), "{}", name);
                    }
                }
            }
        }

        #[test]
        fn damaged_files_become_documents_and_rejects(at in 0.0..1.0, flip in 1u8.., cut in 0.0..1.0) {
            for (format, sound) in sound_files() {
                for (extension, pack) in PACKERS {
                    if format == "zip" && !extension.is_empty() { continue; }
                    let name = format!("a.{format}{extension}");
                    let packed = pack(&sound);
                    let mut damaged = packed.clone();
                    damaged[(at * packed.len() as f64) as usize] ^= flip;
                    import_anything(&name, &damaged);
                    import_anything(&name, &packed[..(cut * packed.len() as f64) as usize]);
                }
            }
        }
    }
}
