//! `import-tokenizer` and `compare-tokenizers` as steps of a config.

use arrow::array::{Array, Float64Array};
use engine::config::Config;
use engine::plan::{Plan, PlannedStep, Selection, Status};
use engine::run::Observer;
use engine::testing::NoSql;
use engine::{Manifest, StageEntry, entry};
use text::Tokenizer;

use super::*;

/// Documents of three sources; the second lacks texts of the split `train`.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Texts {
    /// Whether they tell their language.
    #[serde(default)]
    languages: bool,
    /// Rows as (text, source, language, split).
    rows: Vec<(Option<String>, String, Option<String>, String)>,
    /// Rows of a file.
    file: usize,
}

impl Stage for Texts {
    const NAME: &'static str = "texts";
    const ABOUT: &'static str = "Documents of a test.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Documents;

    fn run(&self, ctx: &Context, _: &Inputs, draft: &Draft) -> anyhow::Result<()> {
        let text = |name: &str, nullable: bool| Field::new(name, DataType::Utf8, nullable);
        let mut fields =
            vec![Field::new("content_hash", engine::schema::ID, false), text("text", true), text("source", false), text("split", false)];
        if self.languages {
            fields.push(text("language", true));
        }
        let schema = Arc::new(Schema::new(fields));
        draft.declare("documents", schema.clone())?;
        draft.count("records", self.rows.len() as i64);
        let parts: Vec<_> = self.rows.chunks(self.file).collect();
        draft.parts(ctx, &vec![Part { bytes: 1 }; parts.len()], |index, part| {
            let rows = parts[index];
            let hashes = rows.iter().map(|row| blake3::hash(row.0.as_deref().unwrap_or_default().as_bytes()).as_bytes()[..16].to_vec());
            let mut columns: Vec<ArrayRef> = vec![
                Arc::new(FixedSizeBinaryArray::try_from_iter(hashes)?),
                Arc::new(StringArray::from_iter(rows.iter().map(|row| row.0.as_deref()))),
                Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.1))),
                Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.3))),
            ];
            if self.languages {
                columns.push(Arc::new(StringArray::from_iter(rows.iter().map(|row| row.2.as_deref()))));
            }
            part.write("documents", &RecordBatch::try_new(schema.clone(), columns)?)
        })
    }
}

struct Silent;

impl Observer for Silent {
    fn skipped(&self, _: &PlannedStep) {}
    fn started(&self, _: &PlannedStep, _: bool) {}
    fn finished(&self, _: &PlannedStep, _: &Manifest) {}
}

/// A folder with the golden tokenizers and a config.
struct Place(tempfile::TempDir);

impl Place {
    fn new(config: &str) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipeline/text/src/load/golden");
        for (from, to) in [("vocab.txt", "bert/vocab.txt"), ("small.tiktoken", "small.tiktoken"), ("bpe.model", "bpe.model")] {
            std::fs::create_dir_all(dir.path().join(to).parent().unwrap()).unwrap();
            std::fs::copy(golden.join(from), dir.path().join(to)).unwrap();
        }
        let place = Place(dir);
        place.write("x.toml", config);
        place
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn plan(&self) -> anyhow::Result<Plan> {
        let stages: Vec<StageEntry> = crate::stages().into_iter().chain([entry::<Texts>()]).collect();
        engine::plan::plan(&Config::read(&self.0.path().join("x.toml"))?, &stages, &NoSql, false)
    }

    fn run(&self, threads: usize) -> anyhow::Result<()> {
        engine::run::run(&self.plan()?, &Selection::default(), &context(threads), &Silent, "test").map(drop)
    }

    fn error(&self) -> String {
        let error = format!("{:#}", self.run(1).err().unwrap());
        error.replace(&self.0.path().display().to_string(), "DIR")
    }

    fn artifact(&self, step: &str) -> Artifact {
        Artifact::open(&self.0.path().join("runs/x/steps").join(step)).unwrap()
    }
}

fn step(lines: &str) -> String {
    format!("[[step]]\n{lines}\n")
}

#[test]
fn a_tokenizer_is_taken_over_with_what_lies_beside_it() {
    let place = Place::new(&step("stage = \"import-tokenizer\"\nfile = \"bert/vocab.txt\"\nlowercase = true"));
    place.run(1).unwrap();
    let artifact = place.artifact("import_tokenizer");
    let tokenizer = Tokenizer::load(&artifact.dir).unwrap();
    assert_eq!(artifact.table("vocabulary").unwrap().rows as usize, tokenizer.vocabulary().len());
    assert_eq!(artifact.fact::<usize>("vocab_size").unwrap(), tokenizer.vocabulary_size());
    assert_eq!(tokenizer.encode("The state").unwrap(), tokenizer.encode("the STATE").unwrap());
    assert!(matches!(place.plan().unwrap().steps[0].status, Status::Cached(_)));
    // A file that comes to lie beside it is part of the key.
    place.write("x.toml", &step("stage = \"import-tokenizer\"\nfile = \"bert/vocab.txt\""));
    place.write("bert/tokenizer_config.json", "{\"do_lower_case\": false}");
    place.run(1).unwrap();
    let cased = Tokenizer::load(&place.artifact("import_tokenizer").dir).unwrap();
    assert_ne!(cased.encode("THE state").unwrap(), cased.encode("the state").unwrap());
    place.write("bert/special_tokens_map.json", "{\"eos_token\": \"[SEP]\"}");
    assert!(matches!(place.plan().unwrap().steps[0].status, Status::Run { .. }));
    place.run(1).unwrap();
    let sep = tokenizer.special().sep;
    assert_eq!(Tokenizer::load(&place.artifact("import_tokenizer").dir).unwrap().special().eos, sep);
}

#[test]
fn what_cannot_be_taken_over_is_told() {
    let place = Place::new("");
    place.write("bert/notes.md", "");
    place.write("cut.model", "\u{a}\u{7f}");
    for (settings, expected) in [
        ("file = \"none.model\"", "`none.model` matches no file below `DIR`; check the path, relative ones start at the config's `root`"),
        ("file = \"*/*\"", "`file` must name one file, `*/*` matches 2"),
        (
            "file = \"bert/notes.md\"",
            "`DIR/bert/notes.md` is no tokenizer file of a known kind; expected a tokenizer.json, a vocab.txt (BERT), a .tiktoken file or a .model (SentencePiece)",
        ),
        (
            "file = \"small.tiktoken\"",
            "the name of `DIR/small.tiktoken` does not tell how it cuts texts: set `pattern` to one of `gpt2`, `cl100k`, `o200k`, `qwen2`, `llama3`",
        ),
        (
            "file = \"small.tiktoken\"\npattern = \"cl10k\"",
            "unknown pattern `cl10k`, did you mean `cl100k`?; patterns: `gpt2`, `cl100k`, `o200k`, `qwen2`, `llama3`",
        ),
        ("file = \"bpe.model\"\nlowercase = true", "`lowercase` is for a vocab.txt alone, `bpe.model` is none; leave it out"),
        ("file = \"bert/vocab.txt\"\npattern = \"gpt2\"", "`pattern` is for tiktoken files alone, `bert/vocab.txt` is none; leave it out"),
        (
            "file = \"cut.model\"",
            "`DIR/cut.model` is no usable SentencePiece model: it is cut off: 127 bytes should follow byte 2 of a message, 0 do",
        ),
    ] {
        place.write("x.toml", &step(&format!("stage = \"import-tokenizer\"\n{settings}")));
        let error = place.error();
        assert!(error.ends_with(expected), "{error}");
    }
}

const TOKENIZERS: &str = r#"
[[step]]
name = "bert"
stage = "import-tokenizer"
file = "bert/vocab.txt"
lowercase = true
[[step]]
name = "gpt"
stage = "import-tokenizer"
file = "small.tiktoken"
pattern = "cl100k"
special_tokens = { "<|endoftext|>" = 600 }
[[step]]
stage = "compare-tokenizers"
inputs = { tokenizers = ["bert", "gpt"] }
"#;

/// (text, source, language, split)
const ROWS: [(&str, &str, Option<&str>, &str); 7] = [
    ("The state of the Union is strong, and the people know it.", "web", Some("en"), "train"),
    ("两仪常在手，万化不关心。", "poems", Some("zh"), "train"),
    ("Fellow citizens of the Senate!", "web", Some("en"), "train"),
    ("This text is for another time.", "web", Some("en"), "valid"),
    ("12 ... 34", "web", None, "train"),
    ("", "empty", Some("en"), "train"),
    ("☃", "poems", Some("zh"), "train"),
];

fn compare_config(rows: &[(&str, &str, Option<&str>, &str)], languages: bool, file: usize, more: &str) -> String {
    let rows: Vec<String> = rows
        .iter()
        // TOML has no null: tests that need one leave the text out by an array of another length.
        .map(|(text, source, language, split)| json!([text, source, language.unwrap_or("und"), split]).to_string())
        .collect();
    let documents =
        format!("name = \"documents\"\nstage = \"texts\"\nlanguages = {languages}\nfile = {file}\nrows = [{}]", rows.join(", "));
    format!("{}{TOKENIZERS}{more}", step(&documents))
}

fn batches(artifact: &Artifact, name: &str) -> RecordBatch {
    let table = artifact.table(name).unwrap();
    table.read(0, None, 1 << 20).unwrap().next().unwrap().unwrap()
}

fn texts_of(batch: &RecordBatch, name: &str) -> Vec<String> {
    batch[name].as_string::<i32>().iter().map(|text| text.unwrap_or("null").to_string()).collect()
}

fn numbers(batch: &RecordBatch, name: &str) -> Vec<i64> {
    batch[name].as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn counts_are_exact_and_the_same_for_any_number_of_threads_and_files() {
    let mut fingerprints = Vec::new();
    for (threads, file) in [(1, 7), (2, 2), (3, 1)] {
        let place = Place::new(&compare_config(&ROWS, true, file, ""));
        place.run(threads).unwrap();
        fingerprints.push(place.artifact("compare_tokenizers").manifest.fingerprint);
    }
    assert!(fingerprints.iter().all(|fingerprint| *fingerprint == fingerprints[0]));

    let place = Place::new(&compare_config(&ROWS, true, 3, ""));
    place.run(2).unwrap();
    let artifact = place.artifact("compare_tokenizers");
    let texts = batches(&artifact, "texts");
    assert_eq!(texts_of(&texts, "tokenizer")[..4], ["bert"; 4]);
    assert_eq!(texts_of(&texts, "language")[..4], ["en", "en", "und", "zh"]);
    assert_eq!(texts_of(&texts, "source")[..4], ["empty", "web", "web", "poems"]);
    assert_eq!(numbers(&texts, "documents"), [1, 2, 1, 2, 1, 2, 1, 2]);
    assert_eq!(numbers(&texts, "words")[..4], [0, 17, 2, 10]);
    assert_eq!(numbers(&texts, "characters")[..4], [0, 87, 9, 13]);
    assert_eq!(numbers(&texts, "bytes")[..4], [0, 87, 9, 39]);
    let mut used: Vec<std::collections::BTreeSet<u32>> = Vec::new();
    for (index, name) in ["bert", "gpt"].iter().enumerate() {
        let tokenizer = Tokenizer::load(&place.artifact(name).dir).unwrap();
        let ids = |source: &str| -> Vec<u32> {
            let texts = ROWS.iter().filter(|row| row.3 == "train" && (source.is_empty() || row.1 == source));
            texts.flat_map(|row| tokenizer.encode(row.0).unwrap()).collect()
        };
        let row = index * 4 + 3;
        let poems = ids("poems");
        assert_eq!(numbers(&texts, "tokens")[row], poems.len() as i64);
        let unknown = poems.iter().filter(|id| Some(**id) == tokenizer.special().unk).count() as i64;
        assert_eq!(numbers(&texts, "unknown")[row], unknown);
        assert_eq!(unknown > 0, index == 0, "bytes are never unknown");
        let ratio = texts["tokens_per_word"].as_any().downcast_ref::<Float64Array>().unwrap();
        assert!(ratio.is_null(index * 4), "there are no words in the empty document");
        assert_eq!(ratio.value(row), poems.len() as f64 / 10.0);
        used.push(ids("").into_iter().collect());
        let unused = batches(&artifact, "unused");
        let expected: Vec<i64> = tokenizer
            .vocabulary()
            .iter()
            .filter(|(id, _, special)| !special && !used[index].contains(id))
            .map(|(id, _, _)| i64::from(*id))
            .collect();
        let found: Vec<i64> =
            numbers(&unused, "id").into_iter().zip(texts_of(&unused, "tokenizer")).filter(|(_, of)| of == name).map(|(id, _)| id).collect();
        assert_eq!(found, expected);
        let sizes = batches(&artifact, "vocabularies");
        let [tokens, special, in_use, not] = ["tokens", "special", "used", "unused"].map(|column| numbers(&sizes, column)[index]);
        assert_eq!((tokens, not), (tokenizer.vocabulary().len() as i64, expected.len() as i64));
        assert_eq!(tokens, special + in_use + not);
        let scores = batches(&artifact, "scores");
        let metrics = texts_of(&scores, "metric");
        assert_eq!(
            metrics[..6],
            ["tokens_per_word", "tokens_per_character", "bytes_per_token", "unknown_rate", "continued_rate", "unused_rate"]
        );
        let values = scores["value"].as_any().downcast_ref::<Float64Array>().unwrap();
        assert_eq!(values.value(index * 6 + 2), 135.0 / ids("").len() as f64);
        assert_eq!(numbers(&scores, "count")[index * 6], 29);
        assert_eq!(texts_of(&scores, "system")[index * 6], **name);
    }
}

#[test]
fn languages_are_recognized_and_empty_splits_told() {
    let rows = [ROWS[0], ROWS[1], ROWS[4]];
    let place = Place::new(&compare_config(&rows, false, 3, ""));
    place.run(1).unwrap();
    assert_eq!(texts_of(&batches(&place.artifact("compare_tokenizers"), "texts"), "language")[..3], ["null", "en", "zh"]);

    let place = Place::new(&compare_config(&rows, false, 3, "split = \"test\"\n"));
    assert!(place.error().ends_with("there is no document to compare on in the split `test`"), "{}", place.error());
    let place = Place::new(&compare_config(&rows, false, 3, "text = \"body\"\n"));
    assert!(place.error().contains("table `documents` has no column `body`"), "{}", place.error());
    let place = Place::new(&compare_config(&rows, false, 3, "").replace("\"bert\", \"gpt\"", "\"bert\", \"bert\""));
    assert!(place.error().ends_with("the tokenizer of step `bert` is named twice"), "{}", place.error());
}

#[test]
fn texts_without_words_and_tokens_have_no_ratios() {
    let place = Place::new(&compare_config(&[("", "web", None, "train")], true, 1, ""));
    place.run(1).unwrap();
    let scores = batches(&place.artifact("compare_tokenizers"), "scores");
    assert_eq!(
        texts_of(&scores, "reason")[..6],
        ["there are no words", "there are no characters", "there are no tokens", "there are no tokens", "there are no words", "null"]
    );
    let values = scores["value"].as_any().downcast_ref::<Float64Array>().unwrap();
    assert_eq!((values.null_count(), values.value(5)), (10, 1.0));
}

#[test]
fn a_sample_is_chosen_by_content_and_the_report_takes_no_input_away() {
    let rows: Vec<(String, &str)> = (0..400).map(|n| (format!("document {n} of four hundred that are here"), "web")).collect();
    let rows: Vec<(&str, &str, Option<&str>, &str)> = rows.iter().map(|(text, source)| (text.as_str(), *source, None, "train")).collect();
    let tokenize = "[[step]]\nstage = \"tokenize\"\nsequence_length = 16\ninputs = { tokenizer = \"gpt\" }\n";
    let documents = |rows: &[(&str, &str, Option<&str>, &str)], file: usize| {
        let place = Place::new(&compare_config(rows, true, file, &format!("max_bytes = 5000\n{tokenize}")));
        // Both tokenizers are still free, so a step that names none is told to choose.
        let config = std::fs::read_to_string(place.0.path().join("x.toml")).unwrap();
        place.write("y.toml", &config.replace("inputs = { tokenizer = \"gpt\" }\n", ""));
        let stages: Vec<StageEntry> = crate::stages().into_iter().chain([entry::<Texts>()]).collect();
        let error = engine::plan::plan(&Config::read(&place.0.path().join("y.toml")).unwrap(), &stages, &NoSql, false).err().unwrap();
        assert!(format!("{error:#}").contains("more than one step above could be the input `tokenizer`: `bert`, `gpt`"), "{error:#}");
        place.write("x.toml", &config.replace(tokenize, ""));
        place.run(2).unwrap();
        numbers(&batches(&place.artifact("compare_tokenizers"), "texts"), "bytes")[0]
    };
    let taken = documents(&rows, 400);
    assert!((2500..10_000).contains(&taken), "{taken}");
    let reversed: Vec<_> = rows.into_iter().rev().collect();
    assert_eq!(documents(&reversed, 400), taken);
}
