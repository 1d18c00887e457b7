//! Files as users have them, from their lines to the table that `score` reads.

use arrow::json::WriterBuilder;
use arrow::json::writer::JsonArray;
use engine::Artifact;
use engine::stage::run_alone;
use engine::testing::context;
use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

/// Files as planning finds them: those of `paths` by their names, those of `lines` by their columns.
fn import(settings: Value, files: &[(&str, &str)]) -> Result<(tempfile::TempDir, Artifact)> {
    let settings: ImportPredictions = serde_json::from_value(settings)?;
    let folder = tempfile::tempdir()?;
    let mut found = Vec::new();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, content)?;
        let of_lines = settings.lines.iter().find_map(|(column, names)| {
            let number = names.iter().position(|other| other == name)?;
            Some(format!("{column}/{number:05}"))
        });
        found.push(InputFile { path, relative: of_lines.unwrap_or(name.to_string()), bytes: content.len() as u64, hash: String::new() });
    }
    settings.check()?;
    settings.check_fields(&crate::evaluate::columns(settings.records(&found)?)?)?;
    let artifact = run_alone(&settings, &context(1), &Inputs::new(Vec::new(), found), &folder.path().join("predictions"))?;
    Ok((folder, artifact))
}

/// The rows as JSON, a line each.
fn check(settings: Value, files: &[(&str, &str)], expected: Expect) {
    let (_folder, artifact) = import(settings, files).unwrap();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    for batch in artifact.table(TABLE).unwrap().read(0, None, 100).unwrap() {
        writer.write(&batch.unwrap()).unwrap();
    }
    writer.finish().unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&writer.into_inner()).unwrap();
    let facts = serde_json::to_string(&artifact.manifest.facts).unwrap();
    expected.assert_eq(&rows.iter().map(Value::to_string).chain([facts]).collect::<Vec<_>>().join("\n"));
}

fn check_error(settings: Value, files: &[(&str, &str)], expected: Expect) {
    expected.assert_eq(&format!("{:#}", import(settings, files).unwrap_err()));
}

#[test]
fn classes_come_from_fields_of_any_name() {
    let lines = "{\"label\": 1, \"prediction\": \"0\", \"language\": \"en\", \"gold\": 7}\n{\"label\": 0, \"prediction\": \"0\"}\n";
    check(
        json!({"task": "classify", "paths": ["a.jsonl"], "fields": {"gold": "label"}, "system": "mine"}),
        &[("a.jsonl", lines)],
        expect![[r#"
            {"gold":"1","prediction":"0","language":"en","document_gold":7}
            {"gold":"0","prediction":"0","language":null,"document_gold":null}
            {"classes":["0","1"],"system":"mine","task":"classify"}"#]],
    );
    check(
        json!({"task": "classify", "paths": ["a.csv"], "classes": ["spam", "ham"]}),
        &[("a.csv", "id,gold,prediction,probabilities\n7,ham,spam,\"[0.75, 0.25]\"\n8,spam,spam,\"[1, 0]\"\n")],
        expect![[r#"
            {"id":"7","gold":"ham","prediction":"spam","probabilities":[0.75,0.25]}
            {"id":"8","gold":"spam","prediction":"spam","probabilities":[1.0,0.0]}
            {"classes":["spam","ham"],"task":"classify"}"#]],
    );
}

#[test]
fn ids_of_documents_are_theirs() {
    let id = "000102030405060708090a0b0c0d0e0f";
    let (_folder, artifact) = import(
        json!({"task": "number", "paths": ["a.jsonl"]}),
        &[("a.jsonl", &format!("{{\"id\": \"{id}\", \"gold\": 1, \"prediction\": 2.5}}\n"))],
    )
    .unwrap();
    let batch = artifact.table(TABLE).unwrap().read(0, None, 100).unwrap().next().unwrap().unwrap();
    let ids: &arrow::array::FixedSizeBinaryArray = batch.column(0).as_any().downcast_ref().unwrap();
    assert_eq!(ids.value(0), std::array::from_fn::<u8, 16, _>(|place| place as u8));
}

#[test]
fn lists_are_lists_words_or_json() {
    check(
        json!({"task": "tag", "paths": ["a.tsv"]}),
        &[("a.tsv", "gold\tprediction\nB-PER O\t[\"B-PER\", \"O\"]\n\t\n")],
        expect![[r#"
            {"gold":["B-PER","O"],"prediction":["B-PER","O"]}
            {"gold":[],"prediction":[]}
            {"classes":["B-PER","O"],"task":"tag"}"#]],
    );
    let answers =
        r#"[{"gold": {"text": ["Li Bai", "Li"], "answer_start": [0, 0]}, "prediction": "Li"}, {"gold": "a b", "prediction": ""}]"#;
    check(
        json!({"task": "answer", "paths": ["a.json"]}),
        &[("a.json", answers)],
        expect![[r#"
            {"gold":["Li Bai","Li"],"prediction":"Li"}
            {"gold":["a b"],"prediction":""}
            {"task":"answer"}"#]],
    );
    let references = "{\"reference\": \"a\", \"prediction\": \"b\"}\n{\"reference\": [\"c\", \"d\"], \"prediction\": \"\"}\n";
    check(
        json!({"task": "complete", "paths": ["a.jsonl"]}),
        &[("a.jsonl", references)],
        expect![[r#"
            {"reference":["a"],"prediction":"b"}
            {"reference":["c","d"],"prediction":""}
            {"task":"complete"}"#]],
    );
}

#[test]
fn text_files_go_side_by_side() {
    let lines = json!({"prediction": ["hyp.txt"], "reference": ["a.txt", "b.txt"]});
    let settings = json!({"task": "complete", "lines": lines});
    check(
        settings.clone(),
        &[("hyp.txt", "x\r\n\ny"), ("a.txt", "1\n2\n3\n"), ("b.txt", "4\n5\n6\n")],
        expect![[r#"
            {"reference":["1","4"],"prediction":"x"}
            {"reference":["2","5"],"prediction":""}
            {"reference":["3","6"],"prediction":"y"}
            {"task":"complete"}"#]],
    );
    check_error(
        settings,
        &[("hyp.txt", "x\ny\n"), ("a.txt", "1\n"), ("b.txt", "4\n5\n")],
        expect!["`a.txt` has 1 lines, `hyp.txt` has more; they must be of the same rows"],
    );
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let classify = |more: Value| {
        let mut settings = json!({"task": "classify", "paths": ["a.jsonl"]});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    };
    let rows = |second: &str| format!("{{\"gold\": \"a\", \"prediction\": \"a\"}}\n{second}\n");
    let error = |settings: Value, second: &str, expected: Expect| check_error(settings, &[("a.jsonl", &rows(second))], expected);
    error(classify(json!({})), r#"{"gold": "a"}"#, expect!["`a.jsonl`, line 2: `prediction` is null or missing, not a text"]);
    error(
        classify(json!({})),
        r#"{"gold": "", "prediction": "a"}"#,
        expect!["`a.jsonl`, line 2: `gold` is empty, not the name of a class"],
    );
    error(
        classify(json!({"classes": ["a", "spam"]})),
        r#"{"gold": "spma", "prediction": "a"}"#,
        expect!["`a.jsonl`, line 2: `gold` is `spma`, did you mean `spam`?; classes: `a`, `spam`"],
    );
    error(
        classify(json!({"fields": {"gold": "lable"}})),
        r#"{"label": "a", "prediction": "a"}"#,
        expect!["there is no column `lable`, did you mean `label`?; columns: `gold`, `prediction`, `label`"],
    );
    error(
        classify(json!({"fields": {"golds": "label"}})),
        "",
        expect!["`fields`: the task has no column `golds`, did you mean `gold`?; columns: `gold`, `prediction`, `probabilities`, `id`"],
    );
    error(
        classify(json!({})),
        r#"{"gold": "a", "prediction": "a", "probabilities": [1]}"#,
        expect!["`probabilities` need `classes`, the names of the classes in their order"],
    );
    let of = |task: &str, row: &str, expected: Expect| {
        check_error(json!({"task": task, "paths": ["a.jsonl"]}), &[("a.jsonl", row)], expected);
    };
    of("number", r#"{"gold": "nan", "prediction": 1}"#, expect!["`a.jsonl`, line 1: `gold` is NaN, not a finite number"]);
    of("number", r#"{"gold": 1, "prediction": NaN}"#, expect!["`a.jsonl`: line 1 is no JSON: expected value at line 1 column 27"]);
    of(
        "choose",
        r#"{"gold": -1, "choices": ["a"], "log_likelihoods": [0]}"#,
        expect!["`a.jsonl`, line 1: `gold` is `-1`, not a whole number from 0 on"],
    );
    of("tag", r#"{"gold": ["O", "O"], "prediction": ["O"]}"#, expect!["`a.jsonl`, line 1: 2 words have gold tags, 1 have predicted ones"]);
    of(
        "tag",
        r#"{"gold": ["O", "PER"], "prediction": ["O", "O"]}"#,
        expect!["`a.jsonl`, line 1: `gold` has the tag `PER`; tags are `O` or one of B, I, E, S, L, U, a dash and a type, as `B-PER`"],
    );
    of("tag", r#"{"gold": "['O']", "prediction": "O"}"#, expect!["`a.jsonl`, line 1: `gold` is `['O']`, no JSON list"]);
    of(
        "complete",
        r#"{"target": "a", "prediction": "b"}"#,
        expect![[
            r#"there is no column `reference`; columns: `target`, `prediction`; where it has another name, set fields = { reference = "…" }"#
        ]],
    );
    of("complete", "", expect!["there are no rows"]);
    let settings: ImportPredictions = serde_json::from_value(classify(json!({}))).unwrap();
    let file = InputFile { path: "a.txt".into(), relative: "a.txt".into(), bytes: 0, hash: String::new() };
    let told = expect!["`a.txt` does not tell its format; set format to jsonl, json, csv, tsv or parquet, or give plain texts by `lines`"];
    told.assert_eq(&settings.format_of(&file).unwrap_err().to_string());
    check_error(
        json!({"task": "number", "paths": ["a.jsonl"], "classes": ["a"]}),
        &[],
        expect!["`classes` are for the tasks `classify`, `multi-label` and `tag`"],
    );
    check_error(
        json!({"task": "number"}),
        &[],
        expect!["give either `paths`, files with a row for each prediction, or `lines`, text files with a row a line"],
    );
}
