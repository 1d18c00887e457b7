//! Tests of the examples layouts: rows written by hand with a vocabulary written by hand, and properties over the sample corpora.

use std::collections::BTreeSet;

use arrow::array::{Float64Array, Int64Builder, ListBuilder, StringBuilder};
use engine::InputFile;
use shards::examples::Value as Cell;

use super::*;
use crate::import_tokenizer::ImportTokenizer;
use crate::tokenize::examples::prepare;

mod pairs;
mod spans;
mod weights;

/// Stands in for the stages that make documents, with any columns: objects of texts, numbers and lists of them.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Rows {
    parts: Vec<Vec<Value>>,
}

impl Stage for Rows {
    const NAME: &'static str = "rows";
    const ABOUT: &'static str = "Documents of a test.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Documents;

    fn run(&self, ctx: &Context, _: &Inputs, draft: &Draft) -> anyhow::Result<()> {
        let rows = || self.parts.iter().flatten();
        let names: BTreeSet<&String> = rows().flat_map(|row| row.as_object().unwrap().keys()).filter(|name| *name != "text").collect();
        let column = |name: &str, rows: &[Value]| column(name, self.parts.iter().flatten(), rows);
        let user: Vec<Field> = names.iter().map(|name| Field::new(*name, column(name, &[]).data_type().clone(), true)).collect();
        let schema = engine::schema::documents(&user);
        draft.declare("documents", schema.clone())?;
        draft.count("records", rows().count() as i64);
        draft.parts(ctx, &vec![Part { bytes: 1 }; self.parts.len()], |index, part| {
            let before: usize = self.parts[..index].iter().map(Vec::len).sum();
            let rows = &self.parts[index];
            let ids: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter((0..rows.len()).map(|n| id_of(before + n)))?);
            let columns = schema.fields().iter().map(|field| -> ArrayRef {
                match field.name().as_str() {
                    "id" | "content_hash" => ids.clone(),
                    "source" | "path" => Arc::new(StringArray::from(vec!["test"; rows.len()])),
                    "position" => Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)),
                    "text" => Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row["text"].as_str().unwrap_or_default()))),
                    name if user.iter().any(|field| field.name() == name) => column(name, rows),
                    _ => new_null_array(field.data_type(), rows.len()),
                }
            });
            part.write("documents", &RecordBatch::try_new(schema.clone(), columns.collect())?)
        })
    }
}

/// A column of some rows, of the type that its values have in all rows.
fn column<'a>(name: &str, mut all: impl Iterator<Item = &'a Value>, rows: &[Value]) -> ArrayRef {
    let sample = all.find_map(|row| Some(&row[name]).filter(|value| !value.is_null() && **value != json!([]))).cloned().unwrap_or_default();
    let values = rows.iter().map(|row| &row[name]);
    match &sample {
        Value::Number(_) => Arc::new(Float64Array::from_iter(values.map(Value::as_f64))),
        Value::Array(items) if items[0].is_number() => {
            let mut lists = ListBuilder::new(Int64Builder::new());
            values.for_each(|value| lists.append_option(value.as_array().map(|items| items.iter().map(Value::as_i64))));
            Arc::new(lists.finish())
        }
        Value::Array(_) => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            values.for_each(|value| lists.append_option(value.as_array().map(|items| items.iter().map(Value::as_str))));
            Arc::new(lists.finish())
        }
        _ => Arc::new(StringArray::from_iter(values.map(Value::as_str))),
    }
}

/// A WordPiece tokenizer of BERT's kind with these tokens behind the special ones.
fn vocabulary(tokens: &str) -> Value {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let added: Vec<Value> = (0..).zip(special).map(|(id, content)| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
    }).collect();
    let vocab: serde_json::Map<String, Value> =
        special.into_iter().chain(tokens.split(' ')).map(String::from).zip((0..).map(|id: u32| json!(id))).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "post_processor": null,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": false},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocab},
    })
}

const TOKENS: &str = "the fox ##es run ##s dog . 机 器 学 习 很 好 。 北 京 li ##ma";

/// Documents, a tokenizer, tokens. The tokenizer has the tokens given, or is learned from the texts by the settings given.
fn run(threads: usize, parts: &[Vec<Value>], tokenizer: &Value, tokenize: Value) -> anyhow::Result<(tempfile::TempDir, Artifact)> {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(threads);
    let none = Inputs::new(Vec::new(), Vec::new());
    let documents = run_alone(&Rows { parts: parts.to_vec() }, &ctx, &none, &dir.path().join("documents"))?;
    let folder = dir.path().join("tokenizer");
    let tokenizer = if tokenizer["model"].is_object() {
        let path = dir.path().join("tokenizer.json");
        std::fs::write(&path, tokenizer.to_string()).unwrap();
        let file = InputFile { path, relative: "tokenizer.json".into(), bytes: 1, hash: String::new() };
        let import = settings::<ImportTokenizer>(json!({"file": "tokenizer.json"}));
        run_alone(&import, &ctx, &Inputs::new(Vec::new(), vec![file]), &folder)?
    } else {
        let inputs = Inputs::new(vec![("documents".into(), documents.clone())], Vec::new());
        run_alone(&settings::<LearnTokenizer>(tokenizer.clone()), &ctx, &inputs, &folder)?
    };
    let inputs = Inputs::new(vec![("documents".into(), documents), ("tokenizer".into(), tokenizer)], Vec::new());
    let mut stage: Tokenize = serde_json::from_value(tokenize)?;
    prepare(&mut stage, ctx.seed)?;
    let artifact = run_alone(&stage, &ctx, &inputs, &dir.path().join("tokens"))?;
    Ok((dir, artifact))
}

/// Records of a sample corpus.
fn sample(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data-samples").join(format!("{name}.jsonl.zst"));
    let text = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    std::str::from_utf8(&text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn reader(artifact: &Artifact) -> examples::Reader {
    examples::Reader::new(&shards_of(artifact, "train"))
}

fn tokens_of(reader: &examples::Reader, row: u64) -> Vec<i64> {
    let mut tokens = Vec::new();
    reader.append_tokens(row, &mut tokens).unwrap();
    tokens
}

/// Tokens as the vocabulary writes them.
fn spelled(artifact: &Artifact, tokens: impl IntoIterator<Item = i64>) -> String {
    let vocabulary = text::Tokenizer::load(&artifact.dir.with_file_name("tokenizer")).unwrap().vocabulary();
    tokens.into_iter().map(|token| vocabulary[token as usize].1.clone()).collect::<Vec<_>>().join(" ")
}

fn numbers<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

/// The rows of the training split: tokens as the vocabulary writes them, then the columns asked for.
fn rows(artifact: &Artifact, columns: &[&str]) -> Vec<String> {
    let reader = reader(artifact);
    let row = |row: u64| {
        let cells = columns.iter().map(|name| match reader.value(row, name).unwrap() {
            Cell::Id(id) => format!("document {}", u128::from_le_bytes(id) - 1),
            Cell::Int32(value) => value.to_string(),
            Cell::Float64(value) => value.to_string(),
            Cell::Boolean(value) => value.to_string(),
            Cell::Int32s(values) => numbers(&values),
            Cell::UInt8s(values) => numbers(&values),
        });
        std::iter::once(spelled(artifact, tokens_of(&reader, row))).chain(cells).collect::<Vec<_>>().join(" | ")
    };
    (0..reader.rows()).map(row).collect()
}

/// Rule and detail of each reject.
fn rejected(artifact: &Artifact) -> Vec<String> {
    let batches = artifact.table("rejects").unwrap().read(0, Some(&["rule", "detail"]), 1000).unwrap();
    let rows = batches.flat_map(|batch| {
        let batch = batch.unwrap();
        let text = |column: usize, row: usize| batch.column(column).as_string::<i32>().value(row).to_string();
        (0..batch.num_rows())
            .map(|row| format!("{}: {}", text(0, row), text(1, row)).trim_end_matches(": ").to_string())
            .collect::<Vec<_>>()
    });
    rows.collect()
}

fn count(artifact: &Artifact, name: &str) -> i64 {
    artifact.manifest.count(name)
}

/// Of the table `statistics`: documents, those divided, those truncated, and tokens that were cut.
fn statistics(artifact: &Artifact) -> [i64; 4] {
    let names = ["documents", "documents_divided", "documents_truncated", "tokens_cut"];
    let table = artifact.table("statistics").unwrap();
    let batches: Vec<RecordBatch> =
        (0..table.files.len()).flat_map(|file| table.read(file, None, 1000).unwrap().map(|batch| batch.unwrap())).collect();
    let sum = |name: &str| -> i64 {
        batches.iter().flat_map(|batch| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec()).sum()
    };
    let sums = names.map(sum);
    assert_eq!(sums[1..3], [count(artifact, "documents_divided"), count(artifact, "documents_truncated")]);
    sums
}

#[test]
fn pairs_of_texts_have_segments_and_are_cut_at_the_longer_one() {
    let documents = vec![
        json!({"text": "the fox runs", "other": "foxes run.", "label": "yes"}),
        json!({"text": "机器", "other": "学", "label": "no"}),
        json!({"text": "the", "other": null, "label": "no"}),
        json!({"text": "the", "other": "", "label": "no"}),
        json!({"text": "the", "other": "the dog runs . the dog runs .", "label": "no"}),
    ];
    let settings = json!({"layout": "classify", "model": "masked", "sequence_length": 10, "label": "label", "text_pair": "other"});
    let (_dir, artifact) = run(1, &[documents], &vocabulary(TOKENS), settings).unwrap();
    assert_eq!(
        rows(&artifact, &["segments", "label"]),
        [
            "[CLS] the fox run [SEP] fox ##es run . [SEP] | 0 0 0 0 0 1 1 1 1 1 | 1",
            "[CLS] 机 器 [SEP] 学 [SEP] | 0 0 0 0 1 1 | 0",
            "[CLS] the [SEP] [SEP] | 0 0 0 1 | 0",
            "[CLS] the [SEP] the dog run ##s . the [SEP] | 0 0 0 1 1 1 1 1 1 1 | 0",
        ]
    );
    assert_eq!(rejected(&artifact), ["no_text_pair"]);
    assert_eq!((count(&artifact, "tokens_cut"), count(&artifact, "tokens_stored"), count(&artifact, "tokens_rejected")), (1 + 4, 30, 4));
    assert_eq!(statistics(&artifact), [4, 0, 2, 5]);
    assert!(artifact.fact::<bool>("segments").unwrap());
}

#[test]
fn several_labels_are_lists_in_columns_or_in_text() {
    let lists = json!([["b", "a", "b"], [], null, ["c"]]);
    let texts = json!(["[\"b\", \"a\"]", "[]", null, "[\"c\"]"]);
    for column in [lists, texts] {
        let documents = column.as_array().unwrap().iter().map(|label| json!({"text": "the fox", "label": label})).collect();
        let settings = json!({"layout": "classify", "model": "masked", "label": "label", "label_type": "multi-label"});
        let (_dir, artifact) = run(1, &[documents], &vocabulary(TOKENS), settings).unwrap();
        assert_eq!(rows(&artifact, &["label"]), ["[CLS] the fox [SEP] | 0 1", "[CLS] the fox [SEP] | ", "[CLS] the fox [SEP] | 2"]);
        assert_eq!(artifact.fact::<Vec<String>>("classes").unwrap(), ["a", "b", "c"]);
        assert_eq!(rejected(&artifact), ["no_label"]);
    }
    let documents = ["[1, true]", "a", "[null]", "[\"a\""].map(|label| json!({"text": "the", "label": label})).to_vec();
    let settings = json!({"layout": "classify", "label": "label", "label_type": "multi-label", "model": "masked"});
    let (_dir, artifact) = run(1, &[documents], &vocabulary(TOKENS), settings).unwrap();
    assert_eq!(artifact.fact::<Vec<String>>("classes").unwrap(), ["1", "true"]);
    assert_eq!(
        rejected(&artifact),
        [
            "broken_list: column `label`: `a` is no JSON list",
            "broken_list: column `label`: item 1 of `[null]` is no text",
            "broken_list: column `label`: `[\"a\"` is no JSON list",
        ]
    );
}

#[test]
fn numbers_are_labels_of_regression() {
    let settings = json!({"layout": "classify", "model": "masked", "label": "label", "label_type": "number"});
    let documents = json!(["3.5", "-1e3", "many", null, "NaN"]);
    let documents = documents.as_array().unwrap().iter().map(|label| json!({"text": "很好", "label": label})).collect();
    let (_dir, artifact) = run(1, &[documents], &vocabulary(TOKENS), settings.clone()).unwrap();
    assert_eq!(rows(&artifact, &["label"]), ["[CLS] 很 好 [SEP] | 3.5", "[CLS] 很 好 [SEP] | -1000"]);
    assert_eq!(rejected(&artifact), ["no_number: column `label` holds `many`", "no_label", "no_number: column `label` holds `NaN`"]);
    assert!(artifact.fact::<Vec<String>>("classes").is_err());
    let (_dir, artifact) = run(1, &[vec![json!({"text": "the", "label": 2})]], &vocabulary(TOKENS), settings).unwrap();
    assert_eq!(rows(&artifact, &["label"]), ["[CLS] the [SEP] | 2"]);
}

#[test]
fn sources_and_targets_end_and_too_long_ones_are_rejected_or_cut() {
    let long = "the dog runs. ".repeat(3);
    let documents = vec![
        json!({"zh": "机器学习。", "en": "the fox runs."}),
        json!({"zh": null, "en": "the"}),
        json!({"zh": "好", "en": ""}),
        json!({"zh": "好", "en": long}),
        json!({"zh": long, "en": "the"}),
    ];
    let settings = |too_long: &str| {
        json!({"layout": "translate", "model": "encoder-decoder", "source": "zh", "target": "en", "sequence_length": 12, "target_length": 9,
            "too_long": too_long})
    };
    let (_dir, artifact) = run(1, std::slice::from_ref(&documents), &vocabulary(TOKENS), settings("reject")).unwrap();
    assert_eq!(rows(&artifact, &[]), ["机 器 学 习 。 [SEP]"]);
    let labels = |row: u64| {
        let mut labels = Vec::new();
        reader(&artifact).append_labels(row, &mut labels).unwrap();
        spelled(&artifact, labels)
    };
    assert_eq!(labels(0), "the fox run ##s . [SEP]");
    assert_eq!(rejected(&artifact), ["no_source", "no_target", "target_too_long", "source_too_long"]);
    assert_eq!((count(&artifact, "tokens_stored"), count(&artifact, "tokens_rejected")), (12, 3 + 3 + 18 + 18));

    let (_dir, artifact) = run(1, &[documents], &vocabulary(TOKENS), settings("cut")).unwrap();
    assert_eq!(rows(&artifact, &[])[1..], ["好 [SEP]", "the dog run ##s . the dog run ##s . the [SEP]"]);
    let mut labels = Vec::new();
    reader(&artifact).append_labels(1, &mut labels).unwrap();
    assert_eq!(spelled(&artifact, labels), "the dog run ##s . the dog run [SEP]");
    assert_eq!(count(&artifact, "tokens_cut"), (15 - 8) + (15 - 11));
    assert_eq!(statistics(&artifact), [3, 0, 2, (15 - 8) + (15 - 11)]);
    let stored = count(&artifact, "tokens_stored") as f64;
    assert!((artifact.fact::<f64>("share_cut").unwrap() - 11.0 / (stored + 11.0)).abs() < 1e-12);
}

/// Every pair of the sample corpus comes back from the ids.
#[test]
fn real_translations_come_back() {
    let pairs: Vec<Value> = sample("translation/help-zh-en")
        .into_iter()
        .take(600)
        .map(|pair| json!({"zh": pair["zh"], "en": pair["en"], "text": format!("{} {}", pair["zh"], pair["en"])}))
        .collect();
    let settings = json!({"layout": "translate", "model": "encoder-decoder", "source": "zh", "target": "en", "sequence_length": 64});
    let learn = json!({"kind": "byte-level-bpe", "vocabulary_size": 1500});
    let (_dir, artifact) = run(2, &[pairs[..400].to_vec(), pairs[400..].to_vec()], &learn, settings).unwrap();
    let reader = reader(&artifact);
    assert!(reader.rows() > 300 && count(&artifact, "documents_rejected") > 10, "{}", reader.rows());
    for row in 0..reader.rows() {
        let pair = &pairs[u128::from_le_bytes(reader.id(row).unwrap()) as usize - 1];
        let mut labels = Vec::new();
        reader.append_labels(row, &mut labels).unwrap();
        for (tokens, text) in [(tokens_of(&reader, row), &pair["zh"]), (labels, &pair["en"])] {
            let (end, tokens) = tokens.split_last().unwrap();
            assert_eq!((*end, decode(&artifact, tokens).as_str()), (0, text.as_str().unwrap()));
            assert!(tokens.len() < 64);
        }
    }
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let check = |settings: Value, expected: &str| {
        let error = prepare(&mut serde_json::from_value(settings).unwrap(), 1).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(json!({"layout": "classify"}), "layout = \"classify\" needs `label`, the column that holds the label");
    check(json!({"layout": "classify", "label": "l", "text_pair": "b"}), "`text_pair` needs model = \"masked\" or \"encoder-decoder\"");
    check(
        json!({"layout": "complete", "target": "t", "model": "masked"}),
        "layout = \"complete\" needs model = \"causal\": a masked model writes no text",
    );
    check(json!({"layout": "tag", "words": "w", "model": "masked"}), "needs `tags`, the column that holds the list of their tags");
    check(json!({"layout": "answer", "model": "masked", "question": "q"}), "needs `answer`");
    let answer =
        json!({"layout": "answer", "model": "masked", "question": "q", "answer": "a", "answer_start": "s", "sequence_length": 128});
    check(
        answer,
        "sequence_length = 128 has no room for question_length = 64, 3 special tokens and windows that go on by more than stride = 128",
    );
    check(json!({"layout": "translate", "source": "s", "target": "t"}), "layout = \"translate\" needs model = \"encoder-decoder\"");
    check(json!({"layout": "translate", "model": "encoder-decoder", "target": "t"}), "needs `source`");
    check(json!({"model": "encoder-decoder"}), "layout = \"packed\" needs model = \"causal\" or \"masked\"");
    check(json!({"layout": "pairs"}), "layout = \"pairs\" needs model = \"masked\"");
    check(json!({"layout": "pairs", "model": "masked", "short_probability": 2}), "`short_probability` is 2: it must be from 0 to 1");
    let mut pairs: Tokenize = serde_json::from_value(json!({"layout": "pairs", "model": "masked"})).unwrap();
    prepare(&mut pairs, 7).unwrap();
    assert_eq!(pairs.seed, Some(7));
}

#[test]
fn tokens_of_new_layouts_are_not_exported() {
    let documents = vec![json!({"text": "the fox", "label": 1})];
    let settings = json!({"layout": "classify", "model": "masked", "label": "label", "label_type": "number"});
    let (dir, artifact) = run(1, &[documents], &vocabulary(TOKENS), settings).unwrap();
    let inputs = Inputs::new(vec![("tokens".into(), artifact)], Vec::new());
    let export = self::settings::<crate::export::Export>(json!({"format": "huggingface"}));
    let error = run_alone(&export, &context(1), &inputs, &dir.path().join("exported")).unwrap_err().to_string();
    assert!(
        error.starts_with("the tokens have layout = \"classify\" with answers that cannot be exported; layouts that can: packed"),
        "{error}"
    );
}
