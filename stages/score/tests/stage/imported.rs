//! Predictions of other programs: they lack columns that ours have, and ids.

use super::*;

#[test]
fn texts_without_a_source_have_no_copy_of_it() {
    let files = json!([[["reference", ["a b c d"]], ["prediction", ["a b c d"]]]]);
    let (_folder, scores) = run(json!({"metrics": ["bleu"]}), json!({"task": "complete"}), files).unwrap();
    expect![[r#"
        +--------+--------+--------------------+
        | system | metric | value              |
        +--------+--------+--------------------+
        | model  | bleu   | 100.00000000000004 |
        +--------+--------+--------------------+"#]]
    .assert_eq(&show(&scores, "scores", &["system", "metric", "value"]));
}

#[test]
fn likelihoods_need_neither_bytes_nor_right_tokens() {
    check(
        json!({}),
        json!({"task": "language-modelling"}),
        json!([[["nll", [2.0]], ["tokens", [2]]]]),
        expect![[r#"
            +--------+----------------+-------+-------------------+-----------------------------------------------------+-------+
            | system | metric         | class | value             | reason                                              | count |
            +--------+----------------+-------+-------------------+-----------------------------------------------------+-------+
            | model  | perplexity     |       | 2.718281828459045 |                                                     | 2     |
            | model  | bits-per-byte  |       |                   | rows with an unknown number of bytes: 1             | 0     |
            | model  | token-accuracy |       |                   | rows with an unknown number of right predictions: 1 | 2     |
            +--------+----------------+-------+-------------------+-----------------------------------------------------+-------+"#]],
    );
}

/// The error of predictions beside others with other gold classes.
fn compared(ids: bool, gold: [&str; 3], classes: Value) -> String {
    let ctx = context(2);
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, gold: [&str; 3], classes: Value| {
        let mut columns = vec![["gold", "prediction"].map(|name| (name.to_owned(), gold.map(Value::from).to_vec())).to_vec()];
        if ids {
            columns[0].push(("id".to_owned(), ["x", "y", "z"].map(Value::from).to_vec()));
        }
        let predictions = Predictions { facts: json!({"task": "classify", "classes": classes}), files: columns };
        let mut artifact = run_alone(&predictions, &ctx, &Inputs::new(vec![], vec![]), &folder.path().join(name)).unwrap();
        artifact.manifest.step = name.to_owned();
        artifact
    };
    let [ours, theirs] = [of("ours", ["a", "b", "b"], json!(["a", "b"])), of("theirs", gold, classes)];
    let inputs = Inputs::new(vec![("predictions".into(), ours), ("against".into(), theirs)], vec![]);
    let score: Score = serde_json::from_value(json!({"metrics": ["accuracy"]})).unwrap();
    run_alone(&score, &ctx, &inputs, &folder.path().join("scores")).map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn rows_without_ids_are_compared_by_what_is_right() {
    assert_eq!(compared(false, ["a", "b", "b"], json!(["a", "b"])), "");
    let differs = "steps `ours` and `theirs` cannot be compared: row 1 has another `gold`";
    assert_eq!(compared(false, ["a", "a", "b"], json!(["a", "b"])), differs);
    assert_eq!(compared(true, ["a", "a", "b"], json!(["a", "b"])), "");
    let classes = "steps `ours` and `theirs` cannot be compared: the classes of one are `a`, `b`, of the other `a`, `b`, `c`";
    assert_eq!(compared(false, ["a", "b", "b"], json!(["a", "b", "c"])), classes);
}
