//! Tests of the stages, each alone, over documents written by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use engine::{Artifact, Context, Draft, Inputs, Kind, Part, Port, Stage, stage::run_alone, testing::context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shards::{ShardFile, examples, packed};

use crate::learn_tokenizer::LearnTokenizer;
use crate::tokenize::Tokenize;

mod exchange;
mod layouts;
mod learn;
mod packings;
mod tokenizers;

/// A document: text, label (or target), split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Document {
    text: String,
    label: Option<String>,
    split: String,
}

fn document(text: &str, label: Option<&str>, split: &str) -> Document {
    Document { text: text.into(), label: label.map(String::from), split: split.into() }
}

/// The id of document `n` of all parts.
fn id_of(n: usize) -> [u8; 16] {
    (n as u128 + 1).to_le_bytes()
}

/// Stands in for the stages that make documents.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Source {
    parts: Vec<Vec<Document>>,
}

impl Stage for Source {
    const NAME: &'static str = "source";
    const ABOUT: &'static str = "Documents of a test.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Documents;

    fn run(&self, ctx: &Context, _: &Inputs, draft: &Draft) -> anyhow::Result<()> {
        let mut fields: Vec<Field> =
            engine::schema::documents(&[Field::new("label", DataType::Utf8, true)]).fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.push(Field::new("split", DataType::Utf8, false));
        let schema = Arc::new(Schema::new(fields));
        draft.declare("documents", schema.clone())?;
        draft.count("records", self.parts.iter().map(|part| part.len() as i64).sum());
        draft.parts(ctx, &vec![Part { bytes: 1 }; self.parts.len()], |index, part| {
            let before: usize = self.parts[..index].iter().map(Vec::len).sum();
            let documents = &self.parts[index];
            let ids: Vec<[u8; 16]> = (0..documents.len()).map(|n| id_of(before + n)).collect();
            if ids.is_empty() {
                return Ok(());
            }
            let n = documents.len();
            let ids: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(ids.into_iter())?);
            let text = |value: fn(&Document) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(documents.iter().map(value))) };
            let columns = vec![
                ids.clone(),
                ids,
                Arc::new(StringArray::from(vec!["test"; n])),
                Arc::new(StringArray::from(vec!["a.jsonl"; n])),
                Arc::new(Int64Array::from_iter_values(0..n as i64)),
                new_null_array(&DataType::Int64, n),
                text(|document| &document.text),
                Arc::new(StringArray::from_iter(documents.iter().map(|document| document.label.as_deref()))),
                new_null_array(&DataType::Utf8, n),
                text(|document| &document.split),
            ];
            part.write("documents", &RecordBatch::try_new(schema.clone(), columns)?)
        })
    }
}

const TEXTS: [&str; 5] = [
    "The quick brown fox jumps over the lazy dog. The dog sleeps; the fox runs.",
    "In 2024 the foxes' den wasn't found: 12.5% of dogs slept.",
    "机器学习是人工智能的一个分支。机器学习的方法很多。",
    "naïve café, déjà vu — “quoted” … <|endoftext|>",
    "",
];

fn corpus(parts: usize, documents: usize) -> Vec<Vec<Document>> {
    let splits = ["train", "train", "train", "valid"];
    let one = |part: usize, n: usize| {
        let text = TEXTS[(part + n) % 5].repeat(1 + (part * 7 + n) % 4);
        document(&text, Some(["ham", "spam"][n % 2]), splits[(n / 2) % 4])
    };
    (0..parts).map(|part| (0..documents).map(|n| one(part, n)).collect()).collect()
}

fn settings<S: Stage>(value: Value) -> S {
    serde_json::from_value(value).unwrap()
}

/// Runs the stages in a folder: documents, tokenizer, tokens.
fn tokenize(dir: &Path, threads: usize, parts: Vec<Vec<Document>>, learn: Value, tokenize: Value) -> anyhow::Result<Artifact> {
    let ctx = context(threads);
    let none = Inputs::new(Vec::new(), Vec::new());
    let documents = run_alone(&Source { parts }, &ctx, &none, &dir.join("documents"))?;
    let inputs = Inputs::new(vec![("documents".into(), documents.clone())], Vec::new());
    let tokenizer = run_alone(&settings::<LearnTokenizer>(learn), &ctx, &inputs, &dir.join("tokenizer"))?;
    let inputs = Inputs::new(vec![("documents".into(), documents), ("tokenizer".into(), tokenizer)], Vec::new());
    run_alone(&settings::<Tokenize>(tokenize), &ctx, &inputs, &dir.join("tokens"))
}

fn bpe() -> Value {
    json!({"kind": "byte-level-bpe", "vocabulary_size": 330})
}

fn wordpiece() -> Value {
    json!({"kind": "wordpiece", "vocabulary_size": 300})
}

fn shards_of(artifact: &Artifact, split: &str) -> Vec<ShardFile> {
    let table = artifact.table("tokens").unwrap();
    let files = table.files.into_iter().filter(|file| file.split.as_deref() == Some(split));
    files.map(|file| ShardFile { path: file.path, rows: file.rows, bytes: Some(file.bytes) }).collect()
}

/// All tokens of each document, from the spans of a split.
fn unpack(artifact: &Artifact, split: &str) -> BTreeMap<[u8; 16], Vec<i64>> {
    let reader = packed::Reader::new(&shards_of(artifact, split));
    let mut documents: BTreeMap<[u8; 16], Vec<i64>> = BTreeMap::new();
    for row in 0..reader.rows() {
        let mut tokens = Vec::new();
        reader.append_tokens(row, &mut tokens).unwrap();
        let mut position = 1;
        for span in reader.spans(row).unwrap() {
            let document = documents.entry(span.document).or_default();
            assert_eq!(document.len() as i64, span.start);
            document.extend(&tokens[position..position + span.length as usize]);
            position += span.length as usize;
        }
    }
    documents
}

fn decode(artifact: &Artifact, tokens: &[i64]) -> String {
    let tokenizer = text::Tokenizer::load(&artifact.dir.with_file_name("tokenizer")).unwrap();
    tokenizer.decode(&tokens.iter().map(|token| *token as u32).collect::<Vec<_>>()).unwrap()
}

#[test]
fn packed_shards_give_back_every_document() {
    let dir = tempfile::tempdir().unwrap();
    let parts = corpus(3, 40);
    let artifact = tokenize(dir.path(), 2, parts.clone(), bpe(), json!({"sequence_length": 16})).unwrap();
    let all: Vec<Document> = parts.into_iter().flatten().collect();
    let mut found = 0;
    for split in ["train", "valid"] {
        for (id, tokens) in unpack(&artifact, split) {
            let document = &all[u128::from_le_bytes(id) as usize - 1];
            assert_eq!(document.split, split);
            let (end, text) = tokens.split_last().unwrap();
            assert_eq!(*end, 0);
            assert!(!text.contains(&0));
            assert_eq!(decode(&artifact, text), document.text);
            found += 1;
        }
    }
    assert_eq!(found, all.len());
    let manifest = &artifact.manifest;
    assert_eq!(manifest.count("documents_stored"), all.len() as i64);
    let tokens: BTreeMap<String, i64> = artifact.fact("tokens").unwrap();
    assert_eq!(manifest.count("tokens_stored"), tokens.values().sum::<i64>());
    let rows: BTreeMap<String, u64> = artifact.fact("rows").unwrap();
    assert_eq!(rows["valid"], packed::Reader::new(&shards_of(&artifact, "valid")).rows());
    assert_eq!(artifact.fact::<Option<u32>>("mask_id").unwrap(), None);
    assert_eq!(artifact.fact::<String>("dtype").unwrap(), "u16");
    // The unigrams count each token of the spans once.
    assert_eq!(sum(&artifact, "unigrams", "count"), manifest.count("tokens_stored"));
    assert_eq!(sum(&artifact, "spans", "length"), manifest.count("tokens_stored"));
    assert_eq!(sum(&artifact, "statistics", "tokens"), manifest.count("tokens_stored"));
    assert_eq!(sum(&artifact, "statistics", "documents"), all.len() as i64);
}

fn sum(artifact: &Artifact, table: &str, column: &str) -> i64 {
    let table = artifact.table(table).unwrap();
    let mut sum = 0;
    for file in 0..table.files.len() {
        for batch in table.read(file, Some(&[column]), 1000).unwrap() {
            sum += batch.unwrap().column(0).as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
        }
    }
    sum
}

#[test]
fn threads_change_no_byte() {
    for (learn, settings) in [
        (bpe(), json!({"sequence_length": 16})),
        (wordpiece(), json!({"sequence_length": 16, "model": "masked"})),
        (wordpiece(), json!({"sequence_length": 16, "model": "masked", "layout": "classify", "label": "label"})),
        (bpe(), json!({"sequence_length": 64, "layout": "complete", "target": "label"})),
    ] {
        let fingerprints: Vec<String> = [1, 2, 4]
            .into_iter()
            .map(|threads| {
                let dir = tempfile::tempdir().unwrap();
                let artifact = tokenize(dir.path(), threads, corpus(5, 100), learn.clone(), settings.clone()).unwrap();
                artifact.manifest.fingerprint
            })
            .collect();
        assert_eq!(fingerprints[0], fingerprints[1]);
        assert_eq!(fingerprints[0], fingerprints[2]);
    }
}

#[test]
fn masked_rows_begin_with_cls_and_documents_end_in_sep() {
    let dir = tempfile::tempdir().unwrap();
    let artifact = tokenize(dir.path(), 1, corpus(1, 20), wordpiece(), json!({"sequence_length": 12, "model": "masked"})).unwrap();
    let reader = packed::Reader::new(&shards_of(&artifact, "train"));
    for row in 0..reader.rows() {
        let mut tokens = Vec::new();
        reader.append_tokens(row, &mut tokens).unwrap();
        assert_eq!((tokens.len(), tokens[0]), (12, 2));
        assert!(tokens[reader.used(row).unwrap()..].iter().all(|token| *token == 0));
    }
    assert!(unpack(&artifact, "train").values().all(|tokens| tokens.last() == Some(&3)));
}

#[test]
fn classify_cuts_long_texts_and_rejects_what_has_no_label() {
    let dir = tempfile::tempdir().unwrap();
    let documents = vec![
        document("the fox", Some("spam"), "train"),
        document("the dog", None, "train"),
        document(TEXTS[0], Some("ham"), "train"),
        document("the dog runs", Some("ham"), "valid"),
        document(&TEXTS[0].repeat(3), Some("ham"), "test"),
    ];
    let settings = json!({"sequence_length": 10, "model": "masked", "layout": "classify", "label": "label"});
    let artifact = tokenize(dir.path(), 1, vec![documents], wordpiece(), settings).unwrap();
    assert_eq!(artifact.fact::<Vec<String>>("classes").unwrap(), ["ham", "spam"]);
    let train = examples::Reader::new(&shards_of(&artifact, "train"));
    assert_eq!((train.rows(), train.id(0).unwrap(), train.label(0).unwrap(), train.label(1).unwrap()), (2, id_of(0), 1, 0));
    for row in 0..2 {
        let mut tokens = Vec::new();
        train.append_tokens(row, &mut tokens).unwrap();
        assert_eq!((tokens.first(), tokens.last()), (Some(&2), Some(&3)));
        assert!(tokens.len() <= 10);
    }
    assert!(artifact.manifest.count("tokens_cut") > 0);
    assert_eq!(artifact.manifest.count("documents_rejected"), 1);
    assert_eq!(rejects(&artifact), ["no_label"]);
}

#[test]
fn complete_labels_the_target_alone() {
    let dir = tempfile::tempdir().unwrap();
    let documents = vec![
        document("the dog", Some("the fox"), "train"),
        document("the dog", None, "train"),
        document("", Some("the fox"), "train"),
        document(&TEXTS[0].repeat(3), Some("the fox"), "train"),
    ];
    let settings = json!({"sequence_length": 40, "layout": "complete", "target": "label", "separator": " => "});
    let artifact = tokenize(dir.path(), 1, vec![documents], bpe(), settings).unwrap();
    let reader = examples::Reader::new(&shards_of(&artifact, "train"));
    assert_eq!(reader.rows(), 1);
    let (mut tokens, mut labels) = (Vec::new(), Vec::new());
    reader.append_tokens(0, &mut tokens).unwrap();
    reader.append_labels(0, &mut labels).unwrap();
    let prompt = labels.iter().take_while(|label| **label == shards::IGNORE).count();
    assert_eq!(decode(&artifact, &tokens[..prompt]), "the dog => ");
    assert_eq!(decode(&artifact, &labels[prompt..]), "the fox");
    assert_eq!((labels.last(), &labels[prompt..]), (Some(&0), &tokens[prompt..]));
    assert_eq!(artifact.fact::<String>("separator").unwrap(), " => ");
    assert_eq!(rejects(&artifact), ["no_target", "no_prompt", "too_long"]);
}

fn rejects(artifact: &Artifact) -> Vec<String> {
    let batches = artifact.table("rejects").unwrap().read(0, Some(&["rule"]), 100).unwrap();
    batches
        .flat_map(|batch| batch.unwrap().column(0).as_string::<i32>().iter().map(|rule| rule.unwrap().to_string()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn a_corpus_without_documents_makes_no_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(1);
    let learned = tokenize(dir.path(), 1, corpus(1, 10), bpe(), json!({})).unwrap();
    let none = Inputs::new(Vec::new(), Vec::new());
    let documents = run_alone(&Source { parts: vec![] }, &ctx, &none, &dir.path().join("empty")).unwrap();
    let tokenizer = Artifact::open(&learned.dir.with_file_name("tokenizer")).unwrap();
    let inputs = Inputs::new(vec![("documents".into(), documents), ("tokenizer".into(), tokenizer)], Vec::new());
    for (n, settings) in [json!({}), json!({"layout": "complete", "target": "label"})].into_iter().enumerate() {
        let error = run_alone(&self::settings::<Tokenize>(settings), &ctx, &inputs, &dir.path().join(format!("none-{n}"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no document came in, so there are no tokens; look at the files, or at what the step above rejected (`mill sql CONFIG -c \"select rule, detail from STEP.rejects\"`)"
        );
    }
    let error = run_alone(&self::settings::<LearnTokenizer>(bpe()), &ctx, &inputs, &dir.path().join("nothing")).unwrap_err();
    assert_eq!(error.to_string(), "there is no document to learn from in the split `train`");
}

#[test]
fn learning_reads_the_wanted_split_and_no_more_than_asked() {
    let dir = tempfile::tempdir().unwrap();
    let mut parts = corpus(1, 50);
    parts[0].push(document("zzzz zzzz zzzz zzzz", None, "valid"));
    let artifact = tokenize(dir.path(), 1, parts, bpe(), json!({})).unwrap();
    let tokenizer = Artifact::open(&artifact.dir.with_file_name("tokenizer")).unwrap();
    let vocabulary = text::Tokenizer::load(&tokenizer.dir).unwrap().vocabulary();
    assert!(!vocabulary.iter().any(|(_, token, _)| token.contains("zz")));
    assert_eq!(tokenizer.table("vocabulary").unwrap().rows, vocabulary.len() as u64);
}

#[test]
fn errors_say_what_is_missing_and_what_there_is() {
    let fails = |learn: Value, settings: Value| {
        let dir = tempfile::tempdir().unwrap();
        format!("{:#}", tokenize(dir.path(), 1, corpus(1, 10), learn, settings).unwrap_err())
    };
    let error = fails(bpe(), json!({"text": "txt"}));
    assert!(error.starts_with("table `documents` has no column `txt`") && error.contains("label"), "{error}");
    let error = fails(bpe(), json!({"model": "masked"}));
    assert!(error.contains("tokenizer of step `learn-tokenizer`: has no `[CLS]`, `[SEP]`, `[MASK]`, which"), "{error}");
    let error = fails(wordpiece(), json!({"model": "causal"}));
    assert!(error.contains("has no end-of-text token"), "{error}");
}

#[test]
fn tokens_know_their_tokenizer() {
    let dir = tempfile::tempdir().unwrap();
    let artifact = tokenize(dir.path(), 1, corpus(1, 10), bpe(), json!({})).unwrap();
    let tokenizer = Artifact::open(&artifact.dir.with_file_name("tokenizer")).unwrap();
    let hash: String = artifact.fact("tokenizer").unwrap();
    assert_eq!((hash.len(), Some(hash.as_str())), (64, tokenizer.hash_of("tokenizer.json")));
    // It is the same where the tokenizer is taken over from there.
    let path = tokenizer.dir.join("tokenizer.json");
    let file = engine::InputFile { path, relative: "tokenizer.json".into(), bytes: 1, hash: String::new() };
    let import = settings::<crate::import_tokenizer::ImportTokenizer>(json!({"file": "tokenizer.json"}));
    let inputs = Inputs::new(Vec::new(), vec![file]);
    let imported = run_alone(&import, &context(1), &inputs, &dir.path().join("imported")).unwrap();
    assert_eq!(imported.hash_of("tokenizer.json"), Some(hash.as_str()));
}

#[test]
fn tokens_know_what_stands_around_texts() {
    let check = |learn: Value, settings: Value, expected: [&[u32]; 2]| {
        let dir = tempfile::tempdir().unwrap();
        let artifact = tokenize(dir.path(), 1, corpus(1, 10), learn, settings).unwrap();
        assert_eq!(artifact.fact::<[Vec<u32>; 2]>("frame").unwrap(), expected.map(<[u32]>::to_vec));
    };
    let llama = || json!({"kind": "byte-level-bpe", "style": "llama3", "vocabulary_size": 300});
    check(llama(), json!({}), [&[], &[]]);
    check(llama(), json!({"bos": true}), [&[0], &[]]);
    check(llama(), json!({"packing": "best-fit"}), [&[0], &[]]);
    check(llama(), json!({"layout": "classify", "label": "label"}), [&[], &[1]]);
    check(wordpiece(), json!({"model": "masked"}), [&[2], &[3]]);
}

#[test]
fn tokens_without_a_row_are_an_error_that_counts_the_rules() {
    let fails = |parts, settings: Value| {
        let dir = tempfile::tempdir().unwrap();
        tokenize(dir.path(), 2, parts, json!({"kind": "byte-level-bpe", "vocabulary_size": 300}), settings).unwrap_err().to_string()
    };
    let unlabelled = vec![vec![document("a b", None, "train"); 3], vec![document("", None, "valid")]];
    let error = fails(unlabelled.clone(), json!({"layout": "classify", "label": "label"}));
    assert!(error.starts_with("no document is left, so there are no tokens: of 4 documents the rules rejected `no_label` 4;"), "{error}");
    let error = fails(unlabelled, json!({"document_bytes_max": 2, "eos": false}));
    assert!(error.contains("of 4 documents the rules rejected `too_long` 3, `empty` 1; look at what comes in"), "{error}");
    let words = vec![vec![document("a b", Some("x"), "train"); 3]];
    let error = fails(words, json!({"layout": "classify", "label": "label", "label_type": "number"}));
    assert!(error.contains("rejected `no_number` 3 (the first: column `label` holds `x`); look at what comes in"), "{error}");
}
