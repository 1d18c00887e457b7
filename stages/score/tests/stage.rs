//! The stage `score` from predictions written to disk: its tables, its baselines, and what it refuses.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "stage/choices.rs"]
mod choices;
#[path = "stage/groups.rs"]
mod groups;
#[path = "stage/imported.rs"]
mod imported;
#[path = "stage/kinds.rs"]
mod kinds;

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float32Builder, Float64Array, Float64Builder, Int64Array, ListBuilder, RecordBatch,
    StringArray, StringBuilder,
};
use arrow::datatypes::{Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use engine::stage::run_alone;
use engine::testing::context;
use engine::{Artifact, Context, Draft, Inputs, Kind, Part, Port, Stage};
use expect_test::{Expect, expect};
use schemars::JsonSchema;
use score::Score;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Writes predictions as `predict` would: one file per entry of `files`, each a list of columns.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
struct Predictions {
    facts: Value,
    files: Vec<Vec<(String, Vec<Value>)>>,
}

impl Stage for Predictions {
    const NAME: &'static str = "predict";
    const ABOUT: &'static str = "Writes predictions for tests.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Predictions;

    fn run(&self, ctx: &Context, _inputs: &Inputs, draft: &Draft) -> Result<()> {
        for (name, value) in self.facts.as_object().unwrap() {
            draft.fact(name, value)?;
        }
        let batches: Vec<RecordBatch> = self.files.iter().map(|columns| batch(columns)).collect();
        draft.declare("predictions", batches[0].schema())?;
        let plan: Vec<Part> = batches.iter().map(|_| Part { bytes: 1 }).collect();
        draft.parts(ctx, &plan, |index, part| part.write("predictions", &batches[index]))
    }
}

fn batch(columns: &[(String, Vec<Value>)]) -> RecordBatch {
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (name, values) in columns {
        let array = array(name, values);
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// A column of the type that its name or its first value has.
fn array(name: &str, values: &[Value]) -> ArrayRef {
    // JSON knows no NaN: it is written as text.
    let number = |value: &Value| value.as_f64().or(value.as_str().map(|text| text.parse().unwrap()));
    match (name, values.iter().find(|value| !value.is_null())) {
        ("gold", Some(Value::Number(number))) if number.is_i64() => Arc::new(Int64Array::from_iter(values.iter().map(Value::as_i64))),
        ("nll" | "unigram_nll" | "log_likelihood" | "stereotype" | "anti_stereotype" | "unrelated", _)
        | ("gold" | "prediction", Some(Value::Number(_))) => Arc::new(Float64Array::from_iter(values.iter().map(number))),
        ("tokens" | "correct" | "bytes" | "words" | "n", _) => Arc::new(Int64Array::from_iter(values.iter().map(Value::as_i64))),
        ("id" | "item_id", _) => Arc::new(BinaryArray::from_iter(values.iter().map(|value| value.as_str().map(str::as_bytes)))),
        ("probabilities", _) => {
            let mut lists = ListBuilder::new(Float32Builder::new());
            let numbers =
                |value: &Value| value.as_array().unwrap().iter().map(|value| number(value).map(|value| value as f32)).collect::<Vec<_>>();
            values.iter().for_each(|value| lists.append_value(numbers(value)));
            Arc::new(lists.finish())
        }
        ("contaminated", _) => Arc::new(BooleanArray::from_iter(values.iter().map(Value::as_bool))),
        ("log_likelihoods" | "unconditional", _) => {
            let mut lists = ListBuilder::new(Float64Builder::new());
            values.iter().for_each(|value| lists.append_value(value.as_array().unwrap().iter().map(number)));
            Arc::new(lists.finish())
        }
        (_, Some(Value::Array(_))) => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            values.iter().for_each(|value| lists.append_value(value.as_array().unwrap().iter().map(Value::as_str)));
            Arc::new(lists.finish())
        }
        _ => Arc::new(StringArray::from_iter(values.iter().map(Value::as_str))),
    }
}

fn run(settings: Value, facts: Value, files: Value) -> Result<(tempfile::TempDir, Artifact)> {
    let ctx = context(2);
    let folder = tempfile::tempdir()?;
    let predictions = Predictions { facts, files: serde_json::from_value(files)? };
    let predictions = run_alone(&predictions, &ctx, &Inputs::new(vec![], vec![]), &folder.path().join("predictions"))?;
    let inputs = Inputs::new(vec![("predictions".into(), predictions)], vec![]);
    let score: Score = serde_json::from_value(settings)?;
    let scores = run_alone(&score, &ctx, &inputs, &folder.path().join("scores"))?;
    Ok((folder, scores))
}

fn show(artifact: &Artifact, table: &str, columns: &[&str]) -> String {
    let table = artifact.table(table).unwrap();
    let batches: Result<Vec<RecordBatch>> =
        (0..table.files.len()).flat_map(|file| table.read(file, Some(columns), 1000).unwrap()).collect();
    pretty_format_batches(&batches.unwrap()).unwrap().to_string()
}

/// System, metric, class and signature of every score, one per line.
#[track_caller]
fn check_signatures(settings: Value, facts: Value, files: Value, expected: Expect) {
    let (_folder, scores) = run(settings, facts, files).unwrap();
    let table = scores.table("scores").unwrap();
    let mut lines = String::new();
    for batch in table.read(0, None, 1000).unwrap() {
        let batch = batch.unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap().as_any().downcast_ref::<StringArray>().unwrap().clone();
        let [system, metric, class, signature] = ["system", "metric", "class", "signature"].map(column);
        for row in 0..batch.num_rows() {
            let class = if class.is_null(row) { String::new() } else { format!("[{}]", class.value(row)) };
            lines += &format!("{}: {}{class} {}\n", system.value(row), metric.value(row), signature.value(row));
        }
    }
    expected.assert_eq(&lines.replace(env!("CARGO_PKG_VERSION"), "X"));
}

#[track_caller]
fn check(settings: Value, facts: Value, files: Value, expected: Expect) {
    let (_folder, scores) = run(settings, facts, files).unwrap();
    expected.assert_eq(&show(&scores, "scores", &["system", "metric", "class", "value", "reason", "count"]));
}

/// The error, with the path before the table's name cut off.
#[track_caller]
fn check_error(settings: Value, facts: Value, files: Value, expected: Expect) {
    let message = format!("{:#}", run(settings, facts, files).unwrap_err());
    let message = match (message.find("`/"), message.find("predictions/part")) {
        (Some(start), Some(end)) => format!("{}`{}", &message[..start], &message[end..]),
        _ => message,
    };
    expected.assert_eq(&message);
}

fn spam() -> (Value, Value) {
    let facts = json!({"task": "classify", "classes": ["ham", "spam"]});
    let files = json!([
        [["gold", ["ham", "ham", "spam"]], ["prediction", ["ham", "spam", "spam"]]],
        [["gold", ["ham", "spam"]], ["prediction", ["ham", "ham"]]],
    ]);
    (facts, files)
}

#[test]
fn classification_beside_the_majority_class() {
    let (facts, files) = spam();
    check(
        json!({"metrics": ["f1", "accuracy"], "positive": "spam"}),
        facts,
        files,
        expect![[r#"
            +----------------+-------------+-------+--------------------+--------+-------+
            | system         | metric      | class | value              | reason | count |
            +----------------+-------------+-------+--------------------+--------+-------+
            | model          | accuracy    |       | 0.6                |        | 5     |
            | model          | f1          |       | 0.5                |        | 5     |
            | model          | f1-micro    |       | 0.6                |        | 5     |
            | model          | f1-macro    |       | 0.5833333333333333 |        | 5     |
            | model          | f1-weighted |       | 0.6                |        | 5     |
            | model          | f1          | ham   | 0.6666666666666666 |        | 3     |
            | model          | f1          | spam  | 0.5                |        | 2     |
            | majority class | accuracy    |       | 0.6                |        | 5     |
            | majority class | f1          |       | 0.0                |        | 5     |
            | majority class | f1-micro    |       | 0.6                |        | 5     |
            | majority class | f1-macro    |       | 0.375              |        | 5     |
            | majority class | f1-weighted |       | 0.45               |        | 5     |
            | majority class | f1          | ham   | 0.75               |        | 3     |
            | majority class | f1          | spam  | 0.0                |        | 2     |
            +----------------+-------------+-------+--------------------+--------+-------+"#]],
    );
}

#[test]
fn the_confusion_table_counts_every_pair() {
    let (facts, files) = spam();
    let (_folder, scores) = run(json!({}), facts, files).unwrap();
    expect![[r#"
        +------+------------+-------+
        | gold | prediction | count |
        +------+------------+-------+
        | ham  | ham        | 2     |
        | ham  | spam       | 1     |
        | spam | ham        | 1     |
        | spam | spam       | 1     |
        +------+------------+-------+"#]]
    .assert_eq(&show(&scores, "confusion", &["gold", "prediction", "count"]));
}

#[test]
fn signatures_tell_how_the_scores_came_about() {
    let (facts, files) = spam();
    check_signatures(
        json!({"metrics": ["f1"], "positive": "spam"}),
        facts,
        files,
        expect![[r#"
        model: f1 average:binary|positive:spam|version:corpusmill-X
        model: f1-micro average:micro|labels:gold+predicted|undefined:0|version:corpusmill-X
        model: f1-macro average:macro|labels:gold+predicted|undefined:0|version:corpusmill-X
        model: f1-weighted average:weighted|labels:gold+predicted|undefined:0|version:corpusmill-X
        model: f1[ham] average:none|version:corpusmill-X
        model: f1[spam] average:none|version:corpusmill-X
        majority class: f1 guess:ham|guess_from:scored rows|average:binary|positive:spam|version:corpusmill-X
        majority class: f1-micro guess:ham|guess_from:scored rows|average:micro|labels:gold+predicted|undefined:0|version:corpusmill-X
        majority class: f1-macro guess:ham|guess_from:scored rows|average:macro|labels:gold+predicted|undefined:0|version:corpusmill-X
        majority class: f1-weighted guess:ham|guess_from:scored rows|average:weighted|labels:gold+predicted|undefined:0|version:corpusmill-X
        majority class: f1[ham] guess:ham|guess_from:scored rows|average:none|version:corpusmill-X
        majority class: f1[spam] guess:ham|guess_from:scored rows|average:none|version:corpusmill-X
    "#]],
    );
    let texts = json!([[["source", ["a"]], ["reference", ["b"]], ["prediction", ["c"]]]]);
    let settings = json!({"metrics": ["bleu"], "tokenize": "zh", "smoothing": "add-k", "lowercase": true});
    check_signatures(
        settings,
        json!({"task": "complete"}),
        texts,
        expect![[r#"
        model: bleu nrefs:1|case:lc|eff:no|tok:zh|smooth:add-k[1.00]|version:corpusmill-X
        copy of the source: bleu nrefs:1|case:lc|eff:no|tok:zh|smooth:add-k[1.00]|version:corpusmill-X
    "#]],
    );
}

#[test]
fn completion_beside_a_copy_of_the_source() {
    let files = json!([[
        ["source", ["你好。", "the cat sat on the mat"]],
        ["reference", ["Hello there , my friend .", "the cat sat on a mat"]],
        ["prediction", ["Hello there , friend .", "the cat sat on a mat"]],
    ]]);
    check(
        json!({"metrics": ["bleu"]}),
        json!({"task": "complete"}),
        files,
        expect![[r#"
        +--------------------+--------+-------+--------------------+--------+-------+
        | system             | metric | class | value              | reason | count |
        +--------------------+--------+-------+--------------------+--------+-------+
        | model              | bleu   |       | 71.73586782068507  |        | 2     |
        | copy of the source | bleu   |       | 25.307989573458563 |        | 2     |
        +--------------------+--------+-------+--------------------+--------+-------+"#]],
    );
}

#[test]
fn language_modelling_beside_the_unigram_model() {
    let files = json!([
        [["nll", [2.0, 0.0]], ["tokens", [3, 1]], ["correct", [2, 1]], ["bytes", [9, 1]], ["unigram_nll", [8.0, 2.0]]],
        [["nll", [2.0]], ["tokens", [4]], ["correct", [1]], ["bytes", [null]], ["unigram_nll", [6.0]]],
    ]);
    check(
        json!({}),
        json!({"task": "language-modelling"}),
        files,
        expect![[r#"
            +---------+----------------+-------+--------------------+-----------------------------------------------------+-------+
            | system  | metric         | class | value              | reason                                              | count |
            +---------+----------------+-------+--------------------+-----------------------------------------------------+-------+
            | model   | perplexity     |       | 1.6487212707001282 |                                                     | 8     |
            | model   | bits-per-byte  |       |                    | rows with an unknown number of bytes: 1             | 10    |
            | model   | token-accuracy |       | 0.5                |                                                     | 8     |
            | unigram | perplexity     |       | 7.38905609893065   |                                                     | 8     |
            | unigram | bits-per-byte  |       |                    | rows with an unknown number of bytes: 1             | 10    |
            | unigram | token-accuracy |       |                    | rows with an unknown number of right predictions: 3 | 8     |
            +---------+----------------+-------+--------------------+-----------------------------------------------------+-------+"#]],
    );
}

#[test]
fn signatures_of_masked_models_tell_the_masks() {
    let facts = json!({"task": "language-modelling", "masks": {"probability": 0.15, "seed": u64::MAX}});
    let files = json!([[["nll", []], ["tokens", []], ["correct", []], ["bytes", []], ["unigram_nll", []]]]);
    check_signatures(
        json!({"metrics": ["perplexity"]}),
        facts,
        files,
        expect![[r#"
        model: perplexity masked:0.15|mask_seed:18446744073709551615|per:token|version:corpusmill-X
        unigram: perplexity masked:0.15|mask_seed:18446744073709551615|per:token|version:corpusmill-X
    "#]],
    );
}

#[test]
fn no_rows_give_null_with_a_reason() {
    let facts = json!({"task": "classify", "classes": ["ham", "spam"]});
    check(
        json!({"metrics": ["accuracy", "recall"]}),
        facts,
        json!([[["gold", []], ["prediction", []]]]),
        expect![[r#"
            +--------+-----------------+-------+-------+--------------------------+-------+
            | system | metric          | class | value | reason                   | count |
            +--------+-----------------+-------+-------+--------------------------+-------+
            | model  | accuracy        |       |       | there are no rows        | 0     |
            | model  | recall          |       |       | there are no rows        | 0     |
            | model  | recall-micro    |       |       | there are no rows        | 0     |
            | model  | recall-macro    |       |       | there are no rows        | 0     |
            | model  | recall-weighted |       |       | there are no rows        | 0     |
            | model  | recall          | ham   |       | no row is `ham` in gold  | 0     |
            | model  | recall          | spam  |       | no row is `spam` in gold | 0     |
            +--------+-----------------+-------+-------+--------------------------+-------+"#]],
    );
}

#[test]
fn refuses_bad_rows_by_their_number() {
    let (facts, _) = spam();
    let good = json!([["gold", ["ham", "ham"]], ["prediction", ["ham", "spam"]]]);
    let labels = |gold: Value| json!([good, [["gold", gold], ["prediction", ["ham", "ham"]]]]);
    check_error(json!({}), facts.clone(), labels(json!(["ham", null])), expect!["`predictions/part-00001.parquet`, row 1: `gold` is null"]);
    check_error(
        json!({}),
        facts.clone(),
        labels(json!(["ham", "spma"])),
        expect!["`predictions/part-00001.parquet`, row 1: `gold` is `spma`, did you mean `spam`?; classes: `ham`, `spam`"],
    );
    check_error(
        json!({}),
        facts.clone(),
        json!([[["gold", [1]], ["prediction", ["ham"]]]]),
        expect!["`predictions/part-00000.parquet`: column `gold` is Int64, not text"],
    );
    check_error(
        json!({}),
        facts,
        json!([[["gold", ["ham"]], ["predicted", ["ham"]]]]),
        expect!["table `predictions` has no column `prediction`, did you mean `predicted`?; columns: `gold`, `predicted`"],
    );

    let row = |nll: Value, tokens: Value, correct: Value, bytes: Value| {
        json!([[
            ["nll", [1.0, nll]],
            ["tokens", [2, tokens]],
            ["correct", [1, correct]],
            ["bytes", [1, bytes]],
            ["unigram_nll", [1.0, 1.0]]
        ]])
    };
    let facts = || json!({"task": "language-modelling"});
    check_error(
        json!({}),
        facts(),
        row(json!("NaN"), json!(1), json!(1), json!(1)),
        expect!["`predictions/part-00000.parquet`, row 1: `nll` is NaN"],
    );
    check_error(
        json!({}),
        facts(),
        row(json!(1.0), json!(-1), json!(1), json!(1)),
        expect!["`predictions/part-00000.parquet`, row 1: `tokens` is -1, a count is at least 0"],
    );
    check_error(
        json!({}),
        facts(),
        row(json!(1.0), json!(1), json!(2), json!(1)),
        expect!["`predictions/part-00000.parquet`, row 1: 2 of 1 tokens are said to be right"],
    );
    check_error(
        json!({}),
        facts(),
        row(json!(1.0), json!(null), json!(2), json!(1)),
        expect!["`predictions/part-00000.parquet`, row 1: `tokens` is null"],
    );

    let texts = json!([[["source", ["a"]], ["reference", [null]], ["prediction", ["a"]]]]);
    check_error(json!({}), json!({"task": "complete"}), texts, expect!["`predictions/part-00000.parquet`, row 0: `reference` is null"]);
}

#[test]
fn refuses_settings_that_do_not_fit_the_predictions() {
    let (facts, files) = spam();
    check_error(
        json!({"metrics": ["bleu"]}),
        facts.clone(),
        files.clone(),
        expect![[
            r#"metric `bleu` does not apply to predictions of the task `classify`; metrics that do: `accuracy`, `balanced-accuracy`, `precision`, `recall`, `f1`, `mcc`, `kappa`, `roc-auc`, `average-precision`, `log-loss`, `brier`, `ece`, `ece-mass`, `selection-rate`, `selective-accuracy`"#
        ]],
    );
    check_error(
        json!({"positive": "spma"}),
        facts.clone(),
        files.clone(),
        expect!["positive: no class is `spma`, did you mean `spam`?; classes: `ham`, `spam`"],
    );
    check_error(
        json!({"smoothing_value": 0.1}),
        facts,
        files,
        expect!["smoothing_value is only for predictions of the task `complete`, these are of `classify`"],
    );
    check_error(
        json!({"positive": "spam"}),
        json!({"task": "complete"}),
        json!([[["source", []]]]),
        expect!["positive is only for predictions of the task `classify`, `multi-label`, these are of `complete`"],
    );
    check_error(json!({}), json!({"task": "rank"}), json!([[["source", []]]]), expect!["no metric is for predictions of the task `rank`"]);
}
