//! A temporary folder with a config, and the real `mill` run in it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

/// A folder with one config, `x.toml`; its results are below `runs/x`.
pub struct Site {
    dir: tempfile::TempDir,
}

/// What a run of `mill` left behind.
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Site {
    pub fn new(config: &str) -> Site {
        let dir = tempfile::Builder::new().prefix("mill-test-").tempdir().expect("a temporary folder");
        let site = Site { dir };
        site.write("x.toml", config);
        site
    }

    /// With files of data-samples/, such as `text/help-en`, in the folder `in`.
    pub fn with_samples(config: &str, names: &[&str]) -> Site {
        let site = Site::new(config);
        std::fs::create_dir(site.path().join("in")).unwrap();
        for path in names.iter().map(|name| sample(&format!("{name}.jsonl.zst"))) {
            std::fs::copy(&path, site.path().join("in").join(path.file_name().unwrap())).unwrap();
        }
        site
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mill"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        command
    }

    pub fn mill(&self, args: &[&str]) -> Done {
        Done::from(self.command(args).output().expect("mill starts"))
    }

    /// Runs `mill` and expects success.
    pub fn ok(&self, args: &[&str]) -> Done {
        let done = self.mill(args);
        assert_eq!(done.code, 0, "mill {args:?} failed:\n{}{}", done.stdout, done.stderr);
        done
    }

    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("mill starts")
    }

    /// The rows of a query.
    pub fn sql(&self, query: &str) -> Vec<Value> {
        let done = self.ok(&["sql", "x.toml", "--format", "json", "-c", query]);
        serde_json::from_str(&done.stdout).expect("rows as JSON")
    }

    /// The only value of a query's only row.
    pub fn value(&self, query: &str) -> Value {
        let rows = self.sql(query);
        let row = rows.first().and_then(Value::as_object).unwrap_or_else(|| panic!("no row: {query}"));
        row.values().next().cloned().unwrap_or_else(|| panic!("no column: {query}"))
    }

    pub fn manifest(&self, step: &str) -> Value {
        let path = self.path().join("runs/x/steps").join(step).join("manifest.json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap()
    }

    /// Content fingerprints of all current artifacts by step.
    pub fn fingerprints(&self) -> Vec<(String, String)> {
        let mut steps: Vec<String> = std::fs::read_dir(self.path().join("runs/x/steps"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        steps.sort();
        steps
            .into_iter()
            .map(|step| {
                let print = self.manifest(&step)["fingerprint"].as_str().unwrap().to_string();
                (step, print)
            })
            .collect()
    }

    /// Steps that `plan` would run, with the reason.
    pub fn to_run(&self) -> Vec<(String, String)> {
        let plan: Value = serde_json::from_str(&self.ok(&["plan", "x.toml", "--json"]).stdout).unwrap();
        let steps = plan["steps"].as_array().unwrap().iter().filter(|step| step["status"] == "run");
        let text = |value: &Value| value.as_str().unwrap().to_string();
        steps.map(|step| (text(&step["name"]), text(&step["reason"]))).collect()
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Done {
        Done {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
        }
    }
}

/// A file of data-samples/.
pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data-samples").join(name)
}

/// A step of a config; `lines` are its settings and inputs.
pub fn step(stage: &str, name: &str, lines: &str) -> String {
    format!("\n[[step]]\nstage = \"{stage}\"\nname = \"{name}\"\n{lines}\n")
}

/// Imports a file of `in`; its columns hold texts.
pub fn import(name: &str, file: &str, columns: &[&str]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| format!("{column} = \"string\"")).collect();
    step("import", name, &format!("paths = [\"in/{file}\"]\ncolumns = {{ {} }}", columns.join(", ")))
}

/// Splits documents into `NAME_split`: this share to train with, the rest to test.
pub fn split(name: &str, train: f64) -> String {
    let lines = format!("parts = {{ train = {train}, test = {:.1} }}\ninputs = {{ documents = \"{name}\" }}", 1.0 - train);
    step("split", &format!("{name}_split"), &lines)
}

/// Learns a tokenizer of documents.
pub fn tokenizer(name: &str, kind: &str, size: u32, documents: &str) -> String {
    let lines = format!("kind = \"{kind}\"\nvocabulary_size = {size}\ninputs = {{ documents = \"{documents}\" }}");
    step("learn-tokenizer", name, &lines)
}

/// Tokens of documents by a tokenizer; `lines` are more settings.
pub fn tokens(name: &str, layout: &str, [documents, tokenizer]: [&str; 2], lines: &str) -> String {
    let inputs = format!("inputs = {{ documents = \"{documents}\", tokenizer = \"{tokenizer}\" }}");
    step("tokenize", name, &format!("layout = \"{layout}\"\n{lines}\n{inputs}"))
}

/// Lines with a question, a context and its answer, as SQuAD has them: a name before which stand `before` and after which `after`.
pub fn questions(count: usize, names: [&str; 2], question: &str, [filler, before, after]: [&str; 3]) -> String {
    let line = |n: usize| {
        let (name, filler) = (names[n % 2], filler.repeat(n % 3));
        let begin = filler.chars().count() + before.chars().count();
        let text = format!("{filler}{before}{name}{after} {n}");
        json!({"text": text, "question": format!("{question}{n}"), "answer": [name, name], "begin": [begin, begin]}).to_string()
    };
    (0..count).map(line).collect::<Vec<_>>().join("\n")
}
