//! What the user wrote: a TOML file of ordered steps, with the place of every key for messages. Knows no stage; [`crate::plan`] does.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};
use toml_edit::{Document, Item, Key, TableLike, Value as TomlValue};

use crate::{ConfigError, list, suggest};

const TOP_KEYS: [&str; 6] = ["seed", "root", "workspace", "threads", "memory", "step"];
/// Names that mean something else in SQL.
const RESERVED: [&str; 6] = ["runs", "steps", "files", "public", "table", "information_schema"];

/// A parsed config.
pub struct Config {
    pub path: PathBuf,
    /// Where relative paths start.
    pub root: PathBuf,
    pub workspace: PathBuf,
    pub seed: u64,
    pub threads: Option<usize>,
    /// Bytes.
    pub memory: Option<u64>,
    pub steps: Vec<StepConfig>,
    text: String,
}

/// One `[[step]]`.
pub struct StepConfig {
    pub name: String,
    pub stage: String,
    /// Ports named by the user, with the names of steps.
    pub inputs: Vec<(String, Vec<String>)>,
    pub settings: Map<String, Value>,
    /// Byte offset of each key by its path (`model.layers`, `rules.word_count.min`).
    spans: HashMap<String, usize>,
    offset: usize,
}

impl Config {
    /// Reads and parses a config file.
    pub fn read(path: &Path) -> Result<Config> {
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError(format!("cannot read the config `{}`: {error}", path.display())))?;
        let config = Config {
            path: path.to_path_buf(),
            root: PathBuf::new(),
            workspace: PathBuf::new(),
            seed: 0,
            threads: None,
            memory: None,
            steps: Vec::new(),
            text,
        };
        config.parse()
    }

    fn parse(mut self) -> Result<Config> {
        let document =
            Document::parse(self.text.clone()).map_err(|error| self.error(error.span().map(|span| span.start), error.message()))?;
        let top = document.as_table();
        for (name, _) in top.iter() {
            if !TOP_KEYS.contains(&name) {
                let offset = top.key(name).and_then(key_offset);
                return Err(self.error(offset, &format!("unknown key `{name}`{}; valid: {}", suggest(name, TOP_KEYS), list(TOP_KEYS))));
            }
        }
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = std::path::absolute(folder).context("the working folder cannot be read")?;
        self.root = normalize(&folder.join(self.string(top, "root")?.unwrap_or_default()));
        let stem = self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_else(|| "config".to_string());
        self.workspace = normalize(&self.root.join(self.string(top, "workspace")?.unwrap_or_else(|| format!("runs/{stem}"))));
        self.seed = self.integer(top, "seed")?.unwrap_or(0);
        self.threads = self.integer(top, "threads")?.map(|threads| threads as usize);
        if let Some(item) = top.get("memory") {
            let text = item.as_str().map(str::to_string).or_else(|| item.as_integer().map(|n| n.to_string())).unwrap_or_default();
            self.memory = Some(parse_size(&text).map_err(|message| self.error(offset_of(item), &format!("`memory`: {message}")))?);
        }
        self.parse_steps(top)?;
        Ok(self)
    }

    fn parse_steps(&mut self, top: &toml_edit::Table) -> Result<()> {
        let Some(item) = top.get("step") else {
            return Err(self.error(None, "there is no `[[step]]`; a config is a list of steps, `mill stages` shows what they can be"));
        };
        let Some(tables) = item.as_array_of_tables() else {
            return Err(self.error(offset_of(item), "`step` must be written as `[[step]]`"));
        };
        for table in tables.iter() {
            let step = self.parse_step(table)?;
            if self.steps.iter().any(|other| other.name == step.name) {
                return Err(
                    self.error(Some(step.offset), &format!("two steps are named `{}`; give one of them a `name = \"…\"`", step.name))
                );
            }
            self.steps.push(step);
        }
        Ok(())
    }

    fn parse_step(&self, table: &toml_edit::Table) -> Result<StepConfig> {
        let offset = table.span().map(|span| span.start).unwrap_or(0);
        let Some(stage) = self.string(table, "stage")? else {
            return Err(self.error(Some(offset), "a step has no `stage = \"…\"`; `mill stages` lists them"));
        };
        let name = self.string(table, "name")?.unwrap_or_else(|| stage.replace('-', "_"));
        let mut characters = name.chars();
        let valid = characters.next().is_some_and(|first| first.is_ascii_lowercase())
            && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !valid || RESERVED.contains(&name.as_str()) {
            let message = format!("`{name}` cannot be a step's name: it must match [a-z][a-z0-9_]* and not be one of {}", list(RESERVED));
            return Err(self.error(Some(offset), &message));
        }
        let mut step = StepConfig { name, stage, inputs: Vec::new(), settings: Map::new(), spans: HashMap::new(), offset };
        for (key, item) in table.iter() {
            note_spans(key, table.key(key), item, &mut step.spans);
            match key {
                "stage" | "name" => {}
                "inputs" => step.inputs = self.parse_inputs(&step.name, item)?,
                _ => {
                    step.settings.insert(key.to_string(), to_json(item));
                }
            }
        }
        Ok(step)
    }

    fn parse_inputs(&self, step: &str, item: &Item) -> Result<Vec<(String, Vec<String>)>> {
        let wrong = || {
            self.error(
                offset_of(item),
                &format!("step `{step}`: `inputs` must look like {{ port = \"step\" }} or {{ port = [\"step\", …] }}"),
            )
        };
        let table = item.as_table_like().ok_or_else(wrong)?;
        let steps = |value: &Item| match value.as_array() {
            Some(array) => array.iter().map(|step| step.as_str().map(str::to_string)).collect::<Option<Vec<_>>>(),
            None => value.as_str().map(|step| vec![step.to_string()]),
        };
        table.iter().map(|(port, value)| steps(value).map(|steps| (port.to_string(), steps)).ok_or_else(wrong)).collect()
    }

    fn string(&self, table: &toml_edit::Table, key: &str) -> Result<Option<String>> {
        let Some(item) = table.get(key) else { return Ok(None) };
        match item.as_str() {
            Some(text) => Ok(Some(text.to_string())),
            None => Err(self.error(offset_of(item), &format!("`{key}` must be a string"))),
        }
    }

    fn integer(&self, table: &toml_edit::Table, key: &str) -> Result<Option<u64>> {
        let Some(item) = table.get(key) else { return Ok(None) };
        match item.as_integer().and_then(|n| u64::try_from(n).ok()) {
            Some(n) => Ok(Some(n)),
            None => Err(self.error(offset_of(item), &format!("`{key}` must be a whole number from 0"))),
        }
    }

    /// An error at a place of the file.
    fn error(&self, offset: Option<usize>, message: &str) -> anyhow::Error {
        let place = match offset {
            Some(offset) => {
                let before = &self.text[..self.text.floor_char_boundary(offset)];
                let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
                format!("{}:{}:{column}", self.path.display(), before.matches('\n').count() + 1)
            }
            None => self.path.display().to_string(),
        };
        ConfigError(format!("{place}: {message}")).into()
    }

    /// An error about a step, at the key `path` where the file has it.
    pub fn step_error(&self, step: &StepConfig, path: &str, message: &str) -> anyhow::Error {
        let mut path = path;
        let offset = loop {
            match step.spans.get(path) {
                Some(offset) => break *offset,
                None => match path.rfind(['.', '[']) {
                    Some(end) => path = &path[..end],
                    None => break step.offset,
                },
            }
        };
        self.error(Some(offset), &format!("step `{}`: {message}", step.name))
    }

    /// Applies one `--set step.key=value`; the value is read as TOML and taken as a string where it is none.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let wrong = |message: String| anyhow::Error::from(ConfigError(format!("--set {assignment}: {message}")));
        let Some((place, value)) = assignment.split_once('=') else {
            return Err(wrong("it must look like step.key=value".to_string()));
        };
        let value = match value.trim().parse::<TomlValue>() {
            Ok(value) => to_json(&Item::Value(value)),
            Err(_) => Value::String(value.to_string()),
        };
        let mut keys = place.trim().split('.');
        let name = keys.next().unwrap_or_default();
        let keys: Vec<&str> = keys.collect();
        if name == "seed" && keys.is_empty() {
            self.seed = value.as_u64().ok_or_else(|| wrong("`seed` must be a whole number from 0".to_string()))?;
            return Ok(());
        }
        let names: Vec<String> = self.steps.iter().map(|step| step.name.clone()).collect();
        let Some(step) = self.steps.iter_mut().find(|step| step.name == name) else {
            let names = || names.iter().map(String::as_str);
            return Err(wrong(format!("there is no step `{name}`{}; steps: {}", suggest(name, names()), list(names()))));
        };
        let Some((last, path)) = keys.split_last() else {
            return Err(wrong("it must look like step.key=value".to_string()));
        };
        let mut table = &mut step.settings;
        for key in path {
            let inner = table.entry(key.to_string()).or_insert_with(|| Value::Object(Map::new()));
            table = inner.as_object_mut().ok_or_else(|| wrong(format!("`{key}` is no table")))?;
        }
        table.insert(last.to_string(), value);
        Ok(())
    }
}

fn key_offset(key: &Key) -> Option<usize> {
    key.span().map(|span| span.start)
}

fn offset_of(item: &Item) -> Option<usize> {
    item.span().map(|span| span.start)
}

fn note_spans(path: &str, key: Option<&Key>, item: &Item, spans: &mut HashMap<String, usize>) {
    if let Some(offset) = key.and_then(key_offset).or_else(|| offset_of(item)) {
        spans.insert(path.to_string(), offset);
    }
    if let Some(table) = item.as_table_like() {
        note_table(path, table, spans);
    } else if let Some(tables) = item.as_array_of_tables() {
        tables.iter().enumerate().for_each(|(index, table)| note_table(&format!("{path}[{index}]"), table, spans));
    } else if let Some(array) = item.as_array() {
        for (index, value) in array.iter().enumerate() {
            note_spans(&format!("{path}[{index}]"), None, &Item::Value(value.clone()), spans);
        }
    }
}

fn note_table(path: &str, table: &dyn TableLike, spans: &mut HashMap<String, usize>) {
    for (name, item) in table.iter() {
        note_spans(&format!("{path}.{name}"), table.key(name), item, spans);
    }
}

fn to_json(item: &Item) -> Value {
    let table = |table: &dyn TableLike| Value::Object(table.iter().map(|(key, item)| (key.to_string(), to_json(item))).collect());
    match item {
        Item::None => Value::Null,
        Item::Table(inner) => table(inner),
        Item::ArrayOfTables(tables) => tables.iter().map(|inner| table(inner)).collect(),
        Item::Value(TomlValue::InlineTable(inner)) => table(inner),
        Item::Value(TomlValue::Array(array)) => array.iter().map(|value| to_json(&Item::Value(value.clone()))).collect(),
        Item::Value(TomlValue::String(text)) => Value::from(text.value().as_str()),
        Item::Value(TomlValue::Integer(n)) => Value::from(*n.value()),
        // JSON has no such number, and null would be as if the setting were not given.
        Item::Value(TomlValue::Float(n)) if !n.value().is_finite() => Value::from(n.value().to_string()),
        Item::Value(TomlValue::Float(n)) => Value::from(*n.value()),
        Item::Value(TomlValue::Boolean(flag)) => Value::from(*flag.value()),
        Item::Value(TomlValue::Datetime(time)) => Value::from(time.value().to_string()),
    }
}

/// A size in bytes: `600000`, `512MB`, `1.5GB`, `64KiB`. Decimal and binary units are what their names say.
pub fn parse_size(text: &str) -> std::result::Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "kib" | "k" => 1024.0,
        "mib" | "m" => 1024f64.powi(2),
        "gib" | "g" => 1024f64.powi(3),
        "tib" | "t" => 1024f64.powi(4),
        _ => return Err(format!("`{text}` is no size; write for example 512MB, 2GB or 1GiB")),
    };
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 => Ok((number * factor) as u64),
        _ => Err(format!("`{text}` is no size; write for example 512MB, 2GB or 1GiB")),
    }
}

/// Resolves `.` and `..` without asking the file system.
fn normalize(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn parse(text: &str) -> Result<Config> {
        let path = PathBuf::from("/data/configs/x.toml");
        Config {
            path,
            root: PathBuf::new(),
            workspace: PathBuf::new(),
            seed: 0,
            threads: None,
            memory: None,
            steps: Vec::new(),
            text: text.to_string(),
        }
        .parse()
    }

    fn check_error(text: &str, expected: Expect) {
        expected.assert_eq(&parse(text).err().expect("must fail").to_string());
    }

    #[test]
    fn reads_steps_in_order() {
        let config = parse("seed = 7\nroot = \"..\"\n[[step]]\nstage = \"learn-tokenizer\"\nsize = 2\n[[step]]\nstage = \"train\"\nname = \"gpt\"\ninputs = { tokens = \"tokenize\" }\nmodel = { layers = 2 }\n").unwrap();
        assert_eq!((config.seed, config.root.to_str().unwrap(), config.workspace.to_str().unwrap()), (7, "/data", "/data/runs/x"));
        assert_eq!(config.steps[0].name, "learn_tokenizer");
        assert_eq!(config.steps[1].inputs, [("tokens".to_string(), vec!["tokenize".to_string()])]);
        assert_eq!(config.steps[1].settings["model"]["layers"], 2);
        let error = config.step_error(&config.steps[1], "model.layers", "too few");
        assert_eq!(error.to_string(), "/data/configs/x.toml:10:11: step `gpt`: too few");
    }

    #[test]
    fn errors_name_line_and_column() {
        check_error(
            "sed = 1",
            expect![
                "/data/configs/x.toml:1:1: unknown key `sed`, did you mean `seed`?; valid: `seed`, `root`, `workspace`, `threads`, `memory`, `step`"
            ],
        );
        check_error(
            "[[step]]\nname = \"x\"",
            expect![[r#"/data/configs/x.toml:1:1: a step has no `stage = "…"`; `mill stages` lists them"#]],
        );
        check_error(
            "[[step]]\nstage = \"a\"\n[[step]]\nstage = \"a\"",
            expect![[r#"/data/configs/x.toml:3:1: two steps are named `a`; give one of them a `name = "…"`"#]],
        );
        check_error(
            "memory = \"much\"\n[[step]]\nstage = \"a\"",
            expect!["/data/configs/x.toml:1:10: `memory`: `much` is no size; write for example 512MB, 2GB or 1GiB"],
        );
    }

    #[test]
    fn set_overrides_nested_keys() {
        let mut config = parse("[[step]]\nstage = \"train\"\nmodel = { layers = 2 }\n").unwrap();
        config.set("train.model.layers=4").unwrap();
        config.set("train.precision=bf16").unwrap();
        assert_eq!(config.steps[0].settings["model"]["layers"], 4);
        assert_eq!(config.steps[0].settings["precision"], "bf16");
        // No setting that a step could take for one that is not given.
        config.set("train.dropout=nan").unwrap();
        assert_eq!(config.steps[0].settings["dropout"], "NaN");
        assert_eq!(
            config.set("trian.x=1").unwrap_err().to_string(),
            "--set trian.x=1: there is no step `trian`, did you mean `train`?; steps: `train`"
        );
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("512MB"), Ok(512_000_000));
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_size("0.5 kb"), Ok(500));
        assert!(parse_size("-1MB").is_err());
    }
}
