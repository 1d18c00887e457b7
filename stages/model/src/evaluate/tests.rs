//! Rows as they are asked, from files to the file that `mill-model` reads.

use arrow::array::RecordBatch;
use arrow::json::WriterBuilder;
use arrow::json::writer::JsonArray;
use expect_test::{Expect, expect};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use super::*;

const CHOICES: &str =
    r#"{"output": "multiple-choice", "doc_to_text": "Q: {q}\nA:", "doc_to_choice": ["{c.text}"], "doc_to_target": "{gold}"}"#;

/// The rows of `items.parquet`, without ids.
fn items(settings: &str, file: &str, content: &str) -> Result<Vec<Value>> {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join(file), content)?;
    let mut settings: Evaluate = serde_json::from_str(settings)?;
    (settings.dataset, settings.files) = (vec![file.into()], vec![[file.into(), String::new()]]);
    settings.complete()?;
    let input = InputFile { path: dir.path().join(file), relative: file.into(), bytes: 0, hash: String::new() };
    let path = dir.path().join("scratch/items.parquet");
    settings.write_items(&engine::testing::context(1), &Inputs::new(Vec::new(), vec![input]), &path)?;
    let batches = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path)?)?.build()?;
    let mut writer = WriterBuilder::new().build::<_, JsonArray>(Vec::new());
    for batch in batches {
        let batch: RecordBatch = batch?;
        writer.write(&batch.project(&(1..batch.num_columns()).collect::<Vec<_>>())?)?;
    }
    writer.finish()?;
    Ok(serde_json::from_slice(&writer.into_inner())?)
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.jsonl");
    std::fs::write(&file, json!({"q": "?", "c": {"text": ["yes", "no"]}, "gold": 1}).to_string()).unwrap();
    let mut settings: Evaluate = serde_json::from_str(CHOICES).unwrap();
    (settings.dataset, settings.files) = (vec!["x.jsonl".into()], vec![["x.jsonl".into(), String::new()]]);
    settings.complete().unwrap();
    let input = InputFile { path: file, relative: "x.jsonl".into(), bytes: 0, hash: String::new() };
    let path = dir.path().join("items.parquet");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let error = settings.write_items(&engine::testing::context(1), &Inputs::new(Vec::new(), vec![input]), &path).unwrap_err();
    assert_eq!(format!("{error:#}"), format!("writing `{}`: No space left on device (os error 28)", path.display()));
}

fn check(settings: &str, file: &str, content: &str, expected: Expect) {
    let found = items(settings, file, content);
    let lines = found.map(|rows| rows.iter().map(|row| format!("{row}\n")).collect::<String>());
    expected.assert_eq(&lines.unwrap_or_else(|error| format!("error: {error:#}")));
}

#[test]
fn prompts_hold_a_description_and_the_examples_of_other_rows() {
    let row = |q: &str, gold: usize| json!({"q": q, "c": {"text": ["yes", "no"]}, "gold": gold, "choices": 7, "level": null}).to_string();
    let settings =
        CHOICES.replace("{\"output\"", r#"{"description": "Answer.\n\n", "num_fewshot": 1, "fewshot_sampler": "first_n", "output""#);
    check(
        &settings,
        "x.jsonl",
        &[row("Is it?", 1), row("春天?", 0)].join("\n"),
        expect![[r#"
            {"prompt":"Answer.\n\nQ: 春天?\nA: yes\n\nQ: Is it?\nA:","gold":1,"choices":["yes","no"],"@place":"`x.jsonl`, line 1","q":"Is it?","c":{"text":["yes","no"]},"document_gold":1,"document_choices":7}
            {"prompt":"Answer.\n\nQ: Is it?\nA: no\n\nQ: 春天?\nA:","gold":0,"choices":["yes","no"],"@place":"`x.jsonl`, line 2","q":"春天?","c":{"text":["yes","no"]},"document_gold":0,"document_choices":7}
        "#]],
    );
}

#[test]
fn what_is_right_is_a_number_or_a_name() {
    let settings = r#"{"output": "multiple-choice", "doc_to_text": "{q}", "doc_to_choice": ["{a}", "{b}", "3"], "doc_to_target": "{gold}", "columns": []}"#;
    let csv = |golds: &[&str]| "q,a,b,gold\n".to_string() + &golds.iter().map(|gold| format!("x,2,y,{gold}\n")).collect::<String>();
    let golds = |settings: &str, golds: &[&str]| {
        items(settings, "x.csv", &csv(golds)).map(|rows| rows.iter().map(|row| row["gold"].as_u64().unwrap()).collect::<Vec<_>>())
    };
    // A choice's own text comes before its number.
    assert_eq!(golds(settings, &["y", "2", "1", "3"]).unwrap(), [1, 0, 1, 2]);
    let lettered = settings.replace("\"columns\"", r#""choice_labels": ["A", "B", "C"], "columns""#);
    assert_eq!(golds(&lettered, &["C", "A", "1"]).unwrap(), [2, 0, 1]);
    let error = |settings: &str, gold: &str| format!("{:#}", golds(settings, &["y", gold]).unwrap_err());
    assert_eq!(error(settings, "4"), "`x.csv`, line 3: gold is 4, there are 3 choices, counted from 0");
    assert_eq!(error(&lettered, "D"), "`x.csv`, line 2: gold is `y`, which is none of `A`, `B`, `C`");
    let short = settings.replace("\"columns\"", r#""choice_labels": ["A"], "columns""#);
    assert_eq!(error(&short, "A"), "`x.csv`, line 2: there are 1 choice_labels for 3 choices");
}

#[test]
fn texts_to_write_have_one_reference_or_several() {
    let settings = r#"{"output": "generate", "doc_to_text": "{q}", "doc_to_target": "{a}", "columns": []}"#;
    let one = "{\"q\": \"x\", \"a\": \"one\"}\n";
    check(
        settings,
        "x.jsonl",
        one,
        expect![[r#"
        {"source":"x","reference":"one","@place":"`x.jsonl`, line 1"}
    "#]],
    );
    check(
        settings,
        "x.jsonl",
        &[one, "{\"q\": \"y\", \"a\": [\"two\", \"three\"]}"].concat(),
        expect![[r#"
            {"source":"x","reference":["one"],"@place":"`x.jsonl`, line 1"}
            {"source":"y","reference":["two","three"],"@place":"`x.jsonl`, line 2"}
        "#]],
    );
}

#[test]
fn counterfactual_texts_may_have_a_direction() {
    let csv = "n,sent_more,sent_less,stereo_antistereo\n0,Women lie.,Men lie.,stereo\n1,a,b,antistereo\n";
    check(
        r#"{"format": "crows-pairs", "columns": []}"#,
        "x.csv",
        csv,
        expect![[r#"
            {"texts":["Women lie.","Men lie."],"direction":"stereo","@place":"`x.csv`, line 2"}
            {"texts":["a","b"],"direction":"antistereo","@place":"`x.csv`, line 3"}
        "#]],
    );
    check(
        r#"{"format": "crows-pairs"}"#,
        "x.csv",
        &csv.replace("b,antistereo", "b,both"),
        expect!["error: `x.csv`, line 3: `direction` is `both`; directions: `stereo`, `antistereo`"],
    );
}

#[test]
fn clusters_of_stereoset_come_with_the_text_around_the_word() {
    let sentences = |texts: [&str; 3]| {
        let labels = ["stereotype", "anti-stereotype", "unrelated"];
        labels.iter().zip(texts).map(|(label, text)| json!({"gold_label": label, "sentence": text})).collect::<Vec<_>>()
    };
    let cluster =
        |context: &str, texts| json!({"id": "1", "target": "he", "bias_type": "gender", "context": context, "sentences": sentences(texts)});
    let file = json!({"data": {
        "intersentence": [cluster("Who?", ["He.", "She.", "Fish."])],
        "intrasentence": [cluster("He is BLANK.", ["He is so.", "He is not.", "He is fish."])],
    }});
    check(
        r#"{"format": "stereoset", "split": "intrasentence", "columns": []}"#,
        "x.json",
        &file.to_string(),
        expect![[r#"
            {"texts":["He is so.","He is not.","He is fish."],"target":"he","@context":"He is BLANK.","@place":"`x.json`, item 1"}
        "#]],
    );
}

#[test]
fn masked_models_compare_two_texts_or_fill_a_blank() {
    let check = |settings: &str, expected: &str| {
        let mut settings: Evaluate = serde_json::from_str(settings).unwrap();
        settings.complete().unwrap();
        let found = settings.check_masked().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{found}");
    };
    check(r#"{"format": "crows-pairs"}"#, "");
    check(r#"{"format": "stereoset", "split": "intrasentence"}"#, "");
    let blank = "masked models are asked of the word at `BLANK`, which the split `intrasentence` of StereoSet has;";
    check(r#"{"format": "stereoset"}"#, blank);
    check(r#"{"format": "stereoset", "split": "intersentence"}"#, blank);
    let texts = r#"{"output": "contrast", "stereotype": "{a}", "anti_stereotype": "{b}", "unrelated": "{c}""#;
    check(&format!("{texts}}}"), "`unrelated`: masked models are scored as CrowS-Pairs scores them");
    check(&format!("{texts}, \"context\": \"{{d}}\"}}"), "");
}

#[test]
fn wrong_rows_are_named() {
    let refused = |content: &str, expected: Expect| check(CHOICES, "x.jsonl", content, expected);
    refused("", expect!["error: the dataset has no rows"]);
    refused(
        r#"{"c": {"text": ["a"]}, "gold": 0}"#,
        expect!["error: `x.jsonl`, line 1: `doc_to_text`: there is no `q`; columns: `c`, `gold`"],
    );
    refused(r#"{"q": null, "c": {"text": ["a"]}, "gold": 0}"#, expect!["error: `x.jsonl`, line 1: `doc_to_text`: `q` is null"]);
    refused(r#"{"q": "x", "c": {"text": []}, "gold": 0}"#, expect!["error: `x.jsonl`, line 1: there is no choice"]);
    refused(
        &[r#"{"q": "x", "c": {"text": ["a"]}, "gold": 0, "n": 1}"#, r#"{"q": "x", "c": {"text": ["a"]}, "gold": 0, "n": {}}"#].join("\n"),
        expect![
            "error: a column holds lists and others, or objects and others; name the columns to keep in `columns`: Json error: Expected object json type, found: Scalar({Int64})"
        ],
    );
    let few = CHOICES.replace("{\"output\"", r#"{"num_fewshot": 2, "output""#);
    let rows = [r#"{"q": "x", "c": {"text": ["a"]}, "gold": 0}"#; 2].join("\n");
    check(&few, "x.jsonl", &rows, expect!["error: num_fewshot is 2, but there are 1 other rows to take examples from"]);
}
