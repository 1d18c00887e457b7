//! The stage over tokens as `tokenize` writes them: beside scikit-learn, for any number of threads, and what it refuses.

mod documents;

use std::io::Read;

use anyhow::Result;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type};
use engine::stage::run_alone;
use engine::testing::context;
use engine::{Artifact, Context, Draft, Inputs, Kind, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use shards::Width;
use shards::examples::{Example, Kind as ColumnKind, Value, Writer};

use crate::Baseline;

/// A row: its tokens, and what its columns hold.
type Row = (Vec<u32>, Vec<Json>);

/// Writes tokens for tests: one shard for each list of rows.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Tokens {
    facts: Json,
    /// Names and types of the columns beside `id` and `tokens`.
    columns: Vec<(String, String)>,
    shards: Vec<(String, Vec<Row>)>,
}

impl Stage for Tokens {
    const NAME: &'static str = "tokenize";
    const ABOUT: &'static str = "Writes tokens for tests.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Tokens;

    fn run(&self, _: &Context, _: &Inputs, draft: &Draft) -> Result<()> {
        for (name, value) in self.facts.as_object().unwrap() {
            draft.fact(name, value)?;
        }
        let kind = |(name, kind): &(String, String)| match (name.as_str(), kind.as_str()) {
            ("label", "class") => ("label", ColumnKind::Int32),
            ("label", "multi-label") => ("label", ColumnKind::Int32s),
            ("label", _) => ("label", ColumnKind::Float64),
            ("segments", _) => ("segments", ColumnKind::UInt8s),
            ("words", _) => ("words", ColumnKind::Int32s),
            _ => ("labels", ColumnKind::Int32s),
        };
        let columns: Vec<_> = self.columns.iter().map(kind).collect();
        for (number, (split, rows)) in self.shards.iter().enumerate() {
            let path = format!("tokens/split={split}/shard-{number:05}.arrow");
            let mut writer = Writer::create(&draft.file(&path)?, &columns, Width::U16)?;
            for (row, (tokens, values)) in rows.iter().enumerate() {
                let values = columns.iter().zip(values).map(|((_, kind), value)| cell(*kind, value)).collect();
                writer.push(Example { id: u128::from((number * 1000 + row) as u64).to_le_bytes(), tokens: tokens.clone(), values })?;
            }
            draft.rows(&path, writer.finish()?);
        }
        Ok(())
    }
}

fn cell(kind: ColumnKind, value: &Json) -> Value {
    let numbers = || value.as_array().unwrap().iter().map(|number| number.as_i64().unwrap() as i32);
    match kind {
        ColumnKind::Int32 => Value::Int32(value.as_i64().unwrap() as i32),
        ColumnKind::Int32s => Value::Int32s(numbers().collect()),
        ColumnKind::UInt8s => Value::UInt8s(numbers().map(|number| number as u8).collect()),
        _ => Value::Float64(value.as_f64().unwrap()),
    }
}

/// The predictions of the stage, and their artifact.
fn run(tokens: &Tokens, settings: Json, threads: usize) -> Result<(Vec<RecordBatch>, Artifact)> {
    let (ctx, folder) = (context(threads), tempfile::tempdir()?);
    let tokens = run_alone(tokens, &ctx, &Inputs::new(vec![], vec![]), &folder.path().join("tokens"))?;
    let baseline: Baseline = serde_json::from_value(settings)?;
    let inputs = Inputs::new(vec![("tokens".into(), tokens)], vec![]);
    let predictions = run_alone(&baseline, &ctx, &inputs, &folder.path().join("predictions"))?;
    let table = predictions.table("predictions")?;
    let batches = (0..table.files.len()).flat_map(|file| table.read(file, None, 1000).unwrap()).collect::<Result<Vec<_>>>()?;
    Ok((batches, predictions))
}

/// Writes a tokenizer of three words for tests.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Words {
    words: [String; 3],
}

impl Stage for Words {
    const NAME: &'static str = "learn-tokenizer";
    const ABOUT: &'static str = "Writes a tokenizer for tests.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Tokenizer;

    fn run(&self, _: &Context, _: &Inputs, draft: &Draft) -> Result<()> {
        let [a, b, c] = &self.words;
        let model = json!({"type": "WordLevel", "vocab": {a: 0, b: 1, c: 2}, "unk_token": a});
        let text = json!({"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "model": model}).to_string();
        draft.fact("vocab_size", 3)?;
        Ok(std::fs::write(draft.file("tokenizer.json")?, text)?)
    }
}

fn facts(more: Json) -> Json {
    let mut facts = json!({"layout": "classify", "vocab_size": 40, "label_type": "class", "segments": false, "cls_id": 30, "sep_id": 31});
    facts.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    facts
}

#[derive(Deserialize)]
struct Case {
    kind: String,
    classes: usize,
    ngram_max: usize,
    texts_min: u32,
    regularization: f64,
    terms: usize,
    train: Vec<Vec<u32>>,
    labels: Vec<Json>,
    test: Vec<Vec<u32>>,
    expected: Vec<Vec<f64>>,
}

impl Case {
    fn tokens(&self) -> Tokens {
        let classes: Vec<String> = (0..self.classes).map(|class| class.to_string()).collect();
        let zip = |rows: &[Vec<u32>], labels: &[Json]| {
            rows.iter().cloned().zip(labels.iter().map(|label| vec![label.clone()])).collect::<Vec<Row>>()
        };
        let (first, rest) = self.train.split_at(self.train.len() / 3);
        Tokens {
            // No token is a special one: the reference knows none.
            facts: facts(json!({"label_type": self.kind, "classes": classes, "cls_id": null, "sep_id": null})),
            columns: vec![("label".into(), self.kind.clone())],
            shards: vec![
                ("train".into(), zip(first, &self.labels)),
                ("train".into(), zip(rest, &self.labels[first.len()..])),
                ("test".into(), zip(&self.test, &self.labels)),
            ],
        }
    }

    fn settings(&self) -> Json {
        json!({"ngram_max": self.ngram_max, "texts_min": self.texts_min, "regularization": self.regularization})
    }
}

fn cases() -> Vec<Case> {
    #[derive(Deserialize)]
    struct File {
        cases: Vec<Case>,
    }
    let mut text = String::new();
    let compressed: &[u8] = include_bytes!("../../../tests/golden/baseline.json.gz");
    flate2::read::GzDecoder::new(compressed).read_to_string(&mut text).unwrap();
    serde_json::from_str::<File>(&text).unwrap().cases
}

#[test]
fn linear_models_equal_scikit_learn() {
    let cases = cases();
    assert!(cases.len() >= 60);
    for (index, case) in cases.iter().enumerate() {
        let (batches, predictions) = run(&case.tokens(), case.settings(), 2).unwrap();
        let terms: usize = predictions.fact("terms").unwrap();
        assert_eq!(terms, case.terms, "case {index}");
        let mut row = 0;
        for batch in &batches {
            let column = |name: &str| batch.column_by_name(name).unwrap();
            for place in 0..batch.num_rows() {
                let said: Vec<f64> = if case.kind == "number" {
                    vec![column("prediction").as_primitive::<Float64Type>().value(place)]
                } else {
                    column("probabilities")
                        .as_list::<i32>()
                        .value(place)
                        .as_primitive::<Float32Type>()
                        .values()
                        .iter()
                        .map(|p| f64::from(*p))
                        .collect()
                };
                for (said, expected) in said.iter().zip(&case.expected[row]) {
                    assert!(
                        (said - expected).abs() < 1e-5 * expected.abs().max(1.0),
                        "case {index} {}, row {row}: {said} is not {expected}",
                        case.kind
                    );
                }
                assert_eq!(said.len(), case.expected[row].len());
                row += 1;
            }
        }
        assert_eq!(row, case.test.len());
    }
}

#[test]
fn the_bytes_are_the_same_for_any_number_of_threads() {
    for case in cases().iter().take(6) {
        let print = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(&case.tokens(), case.settings(), threads).unwrap().1.manifest.fingerprint)
        };
        assert_eq!((print(1), print(1)), (print(2), print(5)));
    }
}

fn strings(batch: &RecordBatch, name: &str) -> Vec<String> {
    batch.column_by_name(name).unwrap().as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect()
}

#[test]
fn rows_have_the_ids_and_labels_of_the_split_and_classes_that_are_not_learned_are_not_said() {
    let rows = |labels: &[i64]| {
        labels.iter().map(|label| (vec![30, *label as u32, *label as u32 + 5, 31], vec![json!(label)])).collect::<Vec<Row>>()
    };
    let tokens = Tokens {
        facts: facts(json!({"classes": ["a", "b", "never"]})),
        columns: vec![("label".into(), "class".into())],
        shards: vec![("train".into(), rows(&[0, 1, 0, 1])), ("test".into(), rows(&[1, 2])), ("test".into(), rows(&[0, 1]))],
    };
    let (batches, predictions) = run(&tokens, json!({"limit": 3}), 2).unwrap();
    let all = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    assert_eq!(
        (strings(&all, "gold"), strings(&all, "prediction")),
        (vec!["b".into(), "never".into(), "a".into()], vec!["b".into(), "a".into(), "a".into()])
    );
    let ids = all.column_by_name("id").unwrap().as_fixed_size_binary();
    assert_eq!([0, 1, 2].map(|row| u128::from_le_bytes(ids.value(row).try_into().unwrap())), [1000, 1001, 2000]);
    let probabilities = all.column_by_name("probabilities").unwrap().as_list::<i32>().value(0);
    assert_eq!(probabilities.as_primitive::<Float32Type>().value(2), 0.0);
    assert_eq!(predictions.fact::<String>("system").unwrap(), "tf-idf + logistic regression");
    assert_eq!(predictions.fact::<String>("task").unwrap(), "classify");
    assert_eq!(predictions.fact::<Vec<String>>("classes").unwrap(), ["a", "b", "never"]);
}

#[test]
fn pairs_are_told_apart_by_what_they_share() {
    let row = |a: u32, b: u32| (vec![30, a, a + 1, 31, b, b + 1, 31], vec![json!([0, 0, 0, 0, 1, 1, 1]), json!(i64::from(a == b))]);
    let all: Vec<Row> = (0..20).map(|n| row(n % 7, (n + n / 7 * 3) % 7)).collect();
    let tokens = Tokens {
        facts: facts(json!({"classes": ["other", "same"], "segments": true})),
        columns: vec![("segments".into(), String::new()), ("label".into(), "class".into())],
        shards: vec![("train".into(), all), ("test".into(), vec![row(8, 8), row(8, 1), row(3, 3)])],
    };
    let (batches, _) = run(&tokens, json!({"regularization": 0.01}), 1).unwrap();
    assert_eq!(strings(&batches[0], "gold"), ["same", "other", "same"]);
    assert_eq!(strings(&batches[0], "prediction")[1..], ["other", "same"]);
}

#[test]
fn words_get_their_most_frequent_tag_and_unknown_ones_that_of_all() {
    let row = |words: &[(&[u32], i64)]| {
        let (mut tokens, mut labels, mut numbers) = (vec![30], vec![json!(-100)], vec![json!(-1)]);
        for (number, (pieces, tag)) in words.iter().enumerate() {
            for (place, token) in pieces.iter().enumerate() {
                tokens.push(*token);
                labels.push(json!(if place == 0 { *tag } else { -100 }));
                numbers.push(json!(number));
            }
        }
        (tokens, vec![json!(labels), json!(numbers)])
    };
    let train = vec![row(&[(&[1, 2], 0), (&[3], 2), (&[3], 1)]), row(&[(&[1, 2], 1), (&[1, 2], 0), (&[4], 2)])];
    let tokens = Tokens {
        facts: facts(json!({"layout": "tag", "classes": ["B-X", "I-X", "O"], "scheme": "iob2", "label_all": false})),
        columns: vec![("labels".into(), String::new()), ("words".into(), String::new())],
        shards: vec![("train".into(), train), ("test".into(), vec![row(&[(&[1, 2], 1), (&[3], 2), (&[1], 0)])])],
    };
    let (batches, predictions) = run(&tokens, json!({}), 2).unwrap();
    let list = |name: &str| {
        let row = batches[0].column_by_name(name).unwrap().as_list::<i32>().value(0);
        row.as_string_opt::<i32>().map(|texts| texts.iter().map(|text| text.unwrap().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(list("gold").unwrap(), ["I-X", "O", "B-X"]);
    // Of the tags of the word 3 the first class; of all words B-X and O are equally frequent.
    assert_eq!(list("prediction").unwrap(), ["B-X", "I-X", "B-X"]);
    let shares = batches[0].column_by_name("probabilities").unwrap().as_list::<i32>().value(0);
    assert_eq!(shares.as_primitive::<Float32Type>().values().to_vec(), [2.0 / 3.0, 0.5, 1.0 / 3.0]);
    assert_eq!(predictions.fact::<String>("scheme").unwrap(), "iob2");
}

/// As many words, so the hash alone tells tokenizers apart.
#[test]
fn copies_are_written_with_the_tokenizer_of_the_tokens() {
    let (ctx, folder) = (context(1), tempfile::tempdir().unwrap());
    let none = Inputs::new(vec![], vec![]);
    let tokenizer = |name: &str, words: [&str; 3]| {
        run_alone(&Words { words: words.map(str::to_string) }, &ctx, &none, &folder.path().join(name)).unwrap()
    };
    let (ours, other) = (tokenizer("ours", ["one", "two", "three"]), tokenizer("other", ["eins", "zwei", "drei"]));
    let tokens = Tokens {
        facts: json!({"layout": "translate", "vocab_size": 3, "tokenizer": ours.hash_of("tokenizer.json").unwrap()}),
        columns: vec![("labels".into(), String::new())],
        shards: vec![("test".into(), vec![(vec![0, 2], vec![json!([1])])])],
    };
    let tokens = run_alone(&tokens, &ctx, &none, &folder.path().join("tokens")).unwrap();
    let run = |name: &str, tokenizer: Option<Artifact>| {
        let connected = tokenizer.map(|tokenizer| ("tokenizer".to_string(), tokenizer));
        let inputs = Inputs::new([("tokens".to_string(), tokens.clone())].into_iter().chain(connected).collect(), vec![]);
        let baseline: Baseline = serde_json::from_value(json!({})).unwrap();
        run_alone(&baseline, &ctx, &inputs, &folder.path().join(name)).map_err(|error| format!("{error:#}"))
    };
    let predictions = run("right", Some(ours)).unwrap();
    let batch = predictions.table("predictions").unwrap().read(0, None, 10).unwrap().next().unwrap().unwrap();
    assert_eq!((strings(&batch, "prediction"), strings(&batch, "reference")), (vec!["one three".to_string()], vec!["two".to_string()]));
    assert_eq!(
        run("wrong", Some(other)).unwrap_err(),
        "the tokens of step `tokenize` were made with another tokenizer than that of step `learn-tokenizer`, so their ids stand for other texts; give theirs: inputs = { tokenizer = \"STEP\" }, and for tokens of another workspace first take its tokenizer.json over with stage = \"import-tokenizer\""
    );
    assert_eq!(
        run("none", None).unwrap_err(),
        "method = \"copy\" writes texts with the tokenizer of step `tokenize`; add inputs = { tokenizer = \"STEP\" }"
    );
}

#[test]
fn what_cannot_be_says_so() {
    let error = |facts_: Json, settings: Json| {
        let rows: Vec<Row> = vec![(vec![1], vec![json!(0)])];
        let shards = vec![("train".into(), rows.clone()), ("test".into(), rows)];
        let tokens = Tokens { facts: facts(facts_), columns: vec![("label".into(), "class".into())], shards };
        format!("{:#}", run(&tokens, settings, 1).unwrap_err())
    };
    let classes = || json!({"classes": ["a"]});
    assert_eq!(error(classes(), json!({"split": "dev"})), "step `tokenize` has no rows in the split `dev`; splits with rows: test, train");
    assert_eq!(
        error(classes(), json!({"train_split": "dev"})),
        "`train_split`: step `tokenize` has no rows in the split `dev`; splits with rows: test, train"
    );
    assert_eq!(error(classes(), json!({})), "no term stands in 2 texts of the split `train`; set texts_min lower");
    assert_eq!(
        error(classes(), json!({"method": "lead"})),
        "method = \"lead\" does not fit tokens of the layout classify, which step `tokenize` makes; methods that do: `linear`"
    );
    assert!(
        error(json!({"layout": "packed"}), json!({})).contains("there is no baseline; beside likelihoods, `score` shows the unigram model")
    );
}
