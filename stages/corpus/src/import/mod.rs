//! `import`: reads files of text records into documents, each with its provenance.
//!
//! Records are parsed one by one by our own readers, so that a broken record is a reject with its file, byte position and line and never
//! stops the file. No text is changed here beyond decoding; that is `clean`'s work.

mod archive;
mod delimited;
mod json;
mod lines;
mod parquet;
mod plain;
mod plan;
mod rows;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use engine::{Context, Draft, InputFile, Inputs, Kind, Part, Port, Site, Stage, list, schema, suggest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use plan::{Format, Piece};
use rows::{Cell, Column, ColumnType, Rows};

/// Reads JSON Lines, CSV, TSV, plain text and Parquet files into documents.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Files or globs below the config's root, such as `corpus/**/*.jsonl.zst`.
    pub paths: Vec<String>,
    /// `jsonl`, `text` (a file per document), `lines` (a line per document), `csv`, `tsv` or `parquet`; by default from the file's extension.
    #[serde(default)]
    pub format: Option<Format>,
    /// Field of a record that holds the text.
    #[serde(default = "default_text")]
    pub text: String,
    /// Further columns and their types (`string`, `integer`, `float`, `boolean`): `{ label = "string", score = "float" }`.
    #[serde(default)]
    pub columns: BTreeMap<String, ColumnType>,
    /// Field that a column is read from where it has another name: `{ label = "Section" }`.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Name of the source of these documents; by default the folder in which the pattern's wild cards begin.
    #[serde(default)]
    pub source: Option<String>,
    /// Field of a record that names its source; records without it have the source above.
    #[serde(default)]
    pub source_field: Option<String>,
    /// `utf-8` or `latin-1` (every byte is a character; for old mail).
    #[serde(default)]
    pub encoding: Encoding,
    /// A longer record is rejected (bytes).
    #[serde(default = "default_record_bytes_max")]
    pub record_bytes_max: usize,
}

fn default_text() -> String {
    "text".to_string()
}

fn default_record_bytes_max() -> usize {
    32 << 20
}

/// How bytes become characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Encoding {
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "latin-1")]
    Latin1,
}

/// What the readers need to know of the settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub text: String,
    pub columns: Vec<Column>,
    pub source_field: Option<String>,
    pub encoding: Encoding,
    pub record_bytes_max: usize,
}

impl Shape {
    /// The user's columns of a document that has none of its own.
    fn no_cells(&self) -> Vec<Cell<'static>> {
        self.columns.iter().map(|_| Cell::Null).collect()
    }
}

impl Stage for Import {
    const NAME: &'static str = "import";
    const ABOUT: &'static str = "Reads JSON Lines, CSV, TSV, plain text and Parquet files into documents.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Documents;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        if self.paths.is_empty() {
            bail!("`paths` is empty: name at least one file or glob");
        }
        if !(1024..=1 << 30).contains(&self.record_bytes_max) {
            bail!("`record_bytes_max` is {}: it must be between 1024 and 1073741824", self.record_bytes_max);
        }
        self.check_columns()?;
        let files = site.files(&self.paths)?;
        for file in &files {
            Format::of(&file.path, self.format)?;
        }
        self.check_identities(&files)
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let shape = self.shape();
        let fields: Vec<_> = shape.columns.iter().map(Column::arrow_field).collect();
        draft.declare("documents", schema::documents(&fields))?;
        draft.declare("rejects", schema::rejects())?;
        let files = inputs.files();
        let plan = plan::pieces(ctx, files, self.format)?;
        let sizes: Vec<Part> = plan.iter().map(|part| Part { bytes: part.bytes }).collect();
        draft.parts(ctx, &sizes, |index, part| {
            let mut rows = Rows::new(ctx, part, &shape.columns);
            for piece in &plan[index].pieces {
                let file = &files[piece.file];
                rows.enter(&self.source_of(file), &file.relative);
                read(piece, &file.path, &shape, &mut rows)?;
            }
            rows.flush()
        })
    }
}

fn read(piece: &Piece, path: &Path, shape: &Shape, rows: &mut Rows) -> Result<()> {
    match piece.format {
        Format::Jsonl => plain::read_jsonl(piece, path, shape, rows),
        Format::Lines => plain::read_lines(piece, path, shape, rows),
        Format::Text => plain::read_file(piece, path, shape, rows),
        Format::Csv => delimited::read(piece, path, b',', shape, rows),
        Format::Tsv => delimited::read(piece, path, b'\t', shape, rows),
        Format::Parquet => parquet::read(piece, path, shape, rows),
    }
}

impl Import {
    fn shape(&self) -> Shape {
        let field = |name: &String| self.fields.get(name).unwrap_or(name).clone();
        let columns = self.columns.iter().map(|(name, kind)| Column { name: name.clone(), field: field(name), kind: *kind });
        Shape {
            text: self.text.clone(),
            columns: columns.collect(),
            source_field: self.source_field.clone(),
            encoding: self.encoding,
            record_bytes_max: self.record_bytes_max,
        }
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

    /// Two files may not give their records the same ids.
    fn check_identities(&self, files: &[InputFile]) -> Result<()> {
        let mut seen = BTreeMap::new();
        for file in files {
            let source = if self.source_field.is_some() { String::new() } else { self.source_of(file) };
            if let Some(other) = seen.insert((source, &file.relative), &file.path) {
                bail!(
                    "`{}` and `{}` are both `{}` of the same source: import them in two steps with different `source`",
                    other.display(),
                    file.path.display(),
                    file.relative
                );
            }
        }
        Ok(())
    }

    /// The given source, or the folder in which the wild cards of the file's pattern begin.
    /// It must follow from the settings and the relative path alone, because nothing else is in the key.
    fn source_of(&self, file: &InputFile) -> String {
        if let Some(source) = &self.source {
            return source.clone();
        }
        let depth = Path::new(&file.relative).components().count();
        let folder = file.path.ancestors().nth(depth).and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        folder
            .filter(|folder| self.paths.iter().any(|pattern| pattern.split('/').any(|part| part == folder)))
            .unwrap_or_else(|| "files".to_string())
    }
}
