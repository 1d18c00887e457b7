//! Every kind of predictions, slices, other predictions and gates.

use super::*;

fn tags() -> (Value, Value) {
    let facts = json!({"task": "tag", "classes": ["B-LOC", "I-LOC", "B-PER", "I-PER", "O"], "scheme": "iob2"});
    let files = json!([[["gold", [["B-PER", "I-PER", "O"], ["B-LOC"], []]], ["prediction", [["B-PER", "I-PER", "I-LOC"], ["O"], []]],]]);
    (facts, files)
}

#[test]
fn tags_as_entities_of_both_modes() {
    let (facts, files) = tags();
    check(
        json!({"metrics": ["f1", "token-accuracy"]}),
        facts.clone(),
        files.clone(),
        expect![[r#"
        +--------+----------------+-------+-------+--------+-------+
        | system | metric         | class | value | reason | count |
        +--------+----------------+-------+-------+--------+-------+
        | model  | f1             |       | 0.5   |        | 2     |
        | model  | f1-micro       |       | 0.5   |        | 2     |
        | model  | f1-macro       |       | 0.5   |        | 2     |
        | model  | f1-weighted    |       | 0.5   |        | 2     |
        | model  | f1             | LOC   | 0.0   |        | 1     |
        | model  | f1             | PER   | 1.0   |        | 1     |
        | model  | token-accuracy |       | 0.5   |        | 4     |
        +--------+----------------+-------+-------+--------+-------+"#]],
    );
    let settings = json!({"metrics": ["precision"], "entities": "strict"});
    check(
        settings,
        facts.clone(),
        files.clone(),
        expect![[r#"
        +--------+--------------------+-------+-------+---------------------------------+-------+
        | system | metric             | class | value | reason                          | count |
        +--------+--------------------+-------+-------+---------------------------------+-------+
        | model  | precision          |       | 1.0   |                                 | 2     |
        | model  | precision-micro    |       | 1.0   |                                 | 2     |
        | model  | precision-macro    |       | 0.5   |                                 | 2     |
        | model  | precision-weighted |       | 0.5   |                                 | 2     |
        | model  | precision          | LOC   |       | no entity is predicted as `LOC` | 1     |
        | model  | precision          | PER   | 1.0   |                                 | 1     |
        +--------+--------------------+-------+-------+---------------------------------+-------+"#]],
    );
    let settings = json!({"metrics": ["precision"], "entities": "strict"});
    check_signatures(
        settings,
        facts,
        files,
        expect![[r#"
        model: precision mode:strict|scheme:IOB2|average:micro|labels:gold+predicted|undefined:0|version:corpusmill-X
        model: precision-micro mode:strict|scheme:IOB2|average:micro|labels:gold+predicted|undefined:0|version:corpusmill-X
        model: precision-macro mode:strict|scheme:IOB2|average:macro|labels:gold+predicted|undefined:0|version:corpusmill-X
        model: precision-weighted mode:strict|scheme:IOB2|average:weighted|labels:gold+predicted|undefined:0|version:corpusmill-X
        model: precision[LOC] mode:strict|scheme:IOB2|average:none|version:corpusmill-X
        model: precision[PER] mode:strict|scheme:IOB2|average:none|version:corpusmill-X
    "#]],
    );
}

#[test]
fn answers_with_and_without_one() {
    let files = json!([[["gold", [["the cat"], [], ["x", "black dog"]]], ["prediction", ["Cat!", "", "a dog"]]]]);
    check(
        json!({}),
        json!({"task": "answer"}),
        files.clone(),
        expect![[r#"
        +--------+-------------+------------+-------------------+--------+-------+
        | system | metric      | class      | value             | reason | count |
        +--------+-------------+------------+-------------------+--------+-------+
        | model  | exact-match |            | 66.66666666666667 |        | 3     |
        | model  | exact-match | has answer | 50.0              |        | 2     |
        | model  | exact-match | no answer  | 100.0             |        | 1     |
        | model  | f1          |            | 88.88888888888887 |        | 3     |
        | model  | f1          | has answer | 83.33333333333333 |        | 2     |
        | model  | f1          | no answer  | 100.0             |        | 1     |
        +--------+-------------+------------+-------------------+--------+-------+"#]],
    );
    check_error(
        json!({"squad": "1.1"}),
        json!({"task": "answer"}),
        files,
        expect![[r#"`predictions/part-00000.parquet`, row 1: `gold` has no answer, which squad = "1.1" does not know"#]],
    );
}

#[test]
fn numbers_and_sets() {
    let files = json!([[["gold", [1.0, 2.0, 4.0]], ["prediction", [1.0, 3.0, 2.0]]]]);
    check(
        json!({}),
        json!({"task": "number"}),
        files,
        expect![[r#"
        +--------+----------+-------+--------------------+--------+-------+
        | system | metric   | class | value              | reason | count |
        +--------+----------+-------+--------------------+--------+-------+
        | model  | pearson  |       | 0.3273268353539886 |        | 3     |
        | model  | spearman |       | 0.5                |        | 3     |
        | model  | mse      |       | 1.6666666666666667 |        | 3     |
        | model  | mae      |       | 1.0                |        | 3     |
        +--------+----------+-------+--------------------+--------+-------+"#]],
    );
    let files = json!([[["gold", [["a", "b"], [], ["b"]]], ["prediction", [["a"], [], ["a", "b"]]]]]);
    let settings = json!({"metrics": ["f1", "subset-accuracy", "hamming-loss"]});
    check(
        settings,
        json!({"task": "multi-label", "classes": ["a", "b"]}),
        files,
        expect![[r#"
        +--------+-----------------+-------+--------------------+--------+-------+
        | system | metric          | class | value              | reason | count |
        +--------+-----------------+-------+--------------------+--------+-------+
        | model  | f1              |       | 0.6666666666666666 |        | 3     |
        | model  | f1-micro        |       | 0.6666666666666666 |        | 3     |
        | model  | f1-macro        |       | 0.6666666666666666 |        | 3     |
        | model  | f1-weighted     |       | 0.6666666666666666 |        | 3     |
        | model  | f1-samples      |       | 0.4444444444444444 |        | 3     |
        | model  | f1              | a     | 0.6666666666666666 |        | 1     |
        | model  | f1              | b     | 0.6666666666666666 |        | 2     |
        | model  | subset-accuracy |       | 0.3333333333333333 |        | 3     |
        | model  | hamming-loss    |       | 0.3333333333333333 |        | 3     |
        +--------+-----------------+-------+--------------------+--------+-------+"#]],
    );
}

fn probable() -> (Value, Value) {
    let facts = json!({"task": "classify", "classes": ["ham", "spam"]});
    let files = json!([[
        ["id", ["a", "b", "c", "d"]],
        ["gold", ["ham", "ham", "spam", "spam"]],
        ["prediction", ["ham", "spam", "spam", "spam"]],
        ["probabilities", [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.0, 1.0]]],
        ["language", ["de", "en", "en", null]],
        ["n", [1, 1, 2, 3]],
    ]]);
    (facts, files)
}

#[test]
fn probabilities_have_scores_and_a_reliability_table() {
    let (facts, files) = probable();
    let settings = json!({"metrics": ["roc-auc", "average-precision", "log-loss", "brier", "ece"], "bins": 4});
    let (_folder, scores) = run(settings, facts, files).unwrap();
    expect![[r#"
        +----------------+-------------------+--------------------+-----------------------------------+-------+
        | system         | metric            | value              | reason                            | count |
        +----------------+-------------------+--------------------+-----------------------------------+-------+
        | model          | roc-auc           | 1.0                |                                   | 4     |
        | model          | average-precision | 1.0                |                                   | 4     |
        | model          | log-loss          | 0.3171278313658768 |                                   | 4     |
        | model          | brier             | 0.09375            |                                   | 4     |
        | model          | ece               | 0.25               |                                   | 4     |
        | majority class | roc-auc           |                    | the system gives no probabilities | 4     |
        | majority class | average-precision |                    | the system gives no probabilities | 4     |
        | majority class | log-loss          |                    | the system gives no probabilities | 4     |
        | majority class | brier             |                    | the system gives no probabilities | 4     |
        | majority class | ece               |                    | the system gives no probabilities | 4     |
        +----------------+-------------------+--------------------+-----------------------------------+-------+"#]]
    .assert_eq(&show(&scores, "scores", &["system", "metric", "value", "reason", "count"]));
    expect![[r#"
        +-------+-------+-------+-------+-------+------------+----------+
        | bins  | low   | high  | count | right | confidence | accuracy |
        +-------+-------+-------+-------+-------+------------+----------+
        | width | 0.0   | 0.25  | 0     | 0     |            |          |
        | width | 0.25  | 0.5   | 1     | 0     | 0.5        | 0.0      |
        | width | 0.5   | 0.75  | 2     | 2     | 0.75       | 1.0      |
        | width | 0.75  | 1.0   | 1     | 1     | 1.0        | 1.0      |
        | mass  | 0.0   | 0.625 | 1     | 0     | 0.5        | 0.0      |
        | mass  | 0.625 | 0.75  | 2     | 2     | 0.75       | 1.0      |
        | mass  | 0.75  | 0.875 | 0     | 0     |            |          |
        | mass  | 0.875 | 1.0   | 1     | 1     | 1.0        | 1.0      |
        +-------+-------+-------+-------+-------+------------+----------+"#]]
    .assert_eq(&show(&scores, "reliability", &["bins", "low", "high", "count", "right", "confidence", "accuracy"]));
}

#[test]
fn slices_are_groups_of_rows() {
    let (facts, files) = probable();
    let settings = json!({"metrics": ["accuracy"], "slices": ["n", "language"]});
    let (_folder, scores) = run(settings, facts, files).unwrap();
    expect![[r#"
        +----------+-------------+----------------+----------+-------+-------+
        | slice    | slice_value | system         | metric   | value | count |
        +----------+-------------+----------------+----------+-------+-------+
        | n        | 1           | model          | accuracy | 0.5   | 2     |
        | n        | 1           | majority class | accuracy | 1.0   | 2     |
        | n        | 2           | model          | accuracy | 1.0   | 1     |
        | n        | 2           | majority class | accuracy | 0.0   | 1     |
        | n        | 3           | model          | accuracy | 1.0   | 1     |
        | n        | 3           | majority class | accuracy | 0.0   | 1     |
        | language |             | model          | accuracy | 1.0   | 1     |
        | language |             | majority class | accuracy | 0.0   | 1     |
        | language | de          | model          | accuracy | 1.0   | 1     |
        | language | de          | majority class | accuracy | 1.0   | 1     |
        | language | en          | model          | accuracy | 0.5   | 2     |
        | language | en          | majority class | accuracy | 0.5   | 2     |
        +----------+-------------+----------------+----------+-------+-------+"#]]
    .assert_eq(&show(&scores, "slices", &["slice", "slice_value", "system", "metric", "value", "count"]));
}

#[test]
fn intervals_stand_beside_values() {
    let (facts, files) = probable();
    let settings = json!({"metrics": ["accuracy", "roc-auc"], "resamples": 100, "slices": ["language"]});
    let (_folder, scores) = run(settings, facts, files).unwrap();
    expect![[r#"
        +----------------+----------+-------+----------------------------------------+------+------+
        | system         | metric   | value | reason                                 | low  | high |
        +----------------+----------+-------+----------------------------------------+------+------+
        | model          | accuracy | 0.75  |                                        | 0.25 | 1.0  |
        | model          | roc-auc  | 1.0   | no interval: undefined in 14 resamples |      |      |
        | majority class | accuracy | 0.5   |                                        |      |      |
        | majority class | roc-auc  |       | the system gives no probabilities      |      |      |
        +----------------+----------+-------+----------------------------------------+------+------+"#]]
    .assert_eq(&show(&scores, "scores", &["system", "metric", "value", "low", "high", "reason"]));
    expect![[r#"
        +-------------+----------------+----------+-------+----------------------------------------+-----+------+
        | slice_value | system         | metric   | value | reason                                 | low | high |
        +-------------+----------------+----------+-------+----------------------------------------+-----+------+
        |             | model          | accuracy | 1.0   |                                        | 1.0 | 1.0  |
        |             | model          | roc-auc  |       | every row is gold `spam`               |     |      |
        |             | majority class | accuracy | 0.0   |                                        |     |      |
        |             | majority class | roc-auc  |       | the system gives no probabilities      |     |      |
        | de          | model          | accuracy | 1.0   |                                        | 1.0 | 1.0  |
        | de          | model          | roc-auc  |       | no row is gold `spam`                  |     |      |
        | de          | majority class | accuracy | 1.0   |                                        |     |      |
        | de          | majority class | roc-auc  |       | the system gives no probabilities      |     |      |
        | en          | model          | accuracy | 0.5   |                                        | 0.0 | 1.0  |
        | en          | model          | roc-auc  | 1.0   | no interval: undefined in 51 resamples |     |      |
        | en          | majority class | accuracy | 0.5   |                                        |     |      |
        | en          | majority class | roc-auc  |       | the system gives no probabilities      |     |      |
        +-------------+----------------+----------+-------+----------------------------------------+-----+------+"#]]
    .assert_eq(&show(&scores, "slices", &["slice_value", "system", "metric", "value", "low", "high", "reason"]));
    let (facts, files) = probable();
    check_signatures(
        json!({"metrics": ["accuracy"], "resamples": 100}),
        facts,
        files,
        expect![[r#"
        model: accuracy bs:100|seed:12345|rng:pcg64|version:corpusmill-X
        majority class: accuracy guess:ham|guess_from:scored rows|version:corpusmill-X
    "#]],
    );
}

/// Scores predictions against others of the same rows.
fn run_against(settings: Value, other: Value) -> Result<(tempfile::TempDir, Artifact)> {
    let (facts, files) = probable();
    let (ctx, folder) = (context(2), tempfile::tempdir()?);
    let write = |name: &str, files: Value| {
        let predictions = Predictions { facts: facts.clone(), files: serde_json::from_value(files)? };
        run_alone(&predictions, &ctx, &Inputs::new(vec![], vec![]), &folder.path().join(name))
    };
    let inputs = vec![("predictions".into(), write("ours", files)?), ("against".into(), write("theirs", other)?)];
    let score: Score = serde_json::from_value(settings)?;
    let scores = run_alone(&score, &ctx, &Inputs::new(inputs, vec![]), &folder.path().join("scores"))?;
    Ok((folder, scores))
}

fn theirs(ids: [&str; 4]) -> Value {
    json!([
        [["id", ids[..1]], ["gold", ["ham"]], ["prediction", ["spam"]]],
        [["id", ids[1..]], ["gold", ["ham", "spam", "spam"]], ["prediction", ["spam", "ham", "spam"]]],
    ])
}

#[test]
fn other_predictions_are_compared_and_tested() {
    let columns = ["metric", "class", "value", "against", "difference", "low", "high", "p_value", "reason", "test"];
    let compare = |test: &str, metric: &str| {
        let (_folder, scores) = run_against(json!({"metrics": [metric], "test": test}), theirs(["a", "b", "c", "d"])).unwrap();
        show(&scores, "comparisons", &columns)
    };
    expect![[r#"
        +----------+-------+-------+---------+------------+-----+------+----------------------+--------+------------------------------+
        | metric   | class | value | against | difference | low | high | p_value              | reason | test                         |
        +----------+-------+-------+---------+------------+-----+------+----------------------+--------+------------------------------+
        | accuracy |       | 0.75  | 0.25    | 0.5        | 0.0 | 1.0  | 0.060939060939060936 |        | bs:1000|seed:12345|rng:pcg64 |
        +----------+-------+-------+---------+------------+-----+------+----------------------+--------+------------------------------+"#]]
    .assert_eq(&compare("bootstrap", "accuracy"));
    expect![[r#"
        +--------+-------+--------------------+---------------------+--------------------+-----+------+------------------------+--------+-------------------------------+
        | metric | class | value              | against             | difference         | low | high | p_value                | reason | test                          |
        +--------+-------+--------------------+---------------------+--------------------+-----+------+------------------------+--------+-------------------------------+
        | mcc    |       | 0.5773502691896258 | -0.5773502691896258 | 1.1547005383792517 |     |      | 0.00009999000099990002 |        | ar:10000|seed:12345|rng:pcg64 |
        +--------+-------+--------------------+---------------------+--------------------+-----+------+------------------------+--------+-------------------------------+"#]].assert_eq(&compare("randomization", "mcc"));
    expect![[r#"
        +----------+-------+-------+---------+------------+-----+------+---------+--------+---------------+
        | metric   | class | value | against | difference | low | high | p_value | reason | test          |
        +----------+-------+-------+---------+------------+-----+------+---------+--------+---------------+
        | accuracy |       | 0.75  | 0.25    | 0.5        |     |      | 0.5     |        | mcnemar:exact |
        +----------+-------+-------+---------+------------+-----+------+---------+--------+---------------+"#]]
    .assert_eq(&compare("mcnemar", "accuracy"));
    expect![[r#"
        +----------+-------+--------------------+---------+------------+-----+------+---------+-----------------------------------+---------------+
        | metric   | class | value              | against | difference | low | high | p_value | reason                            | test          |
        +----------+-------+--------------------+---------+------------+-----+------+---------+-----------------------------------+---------------+
        | log-loss |       | 0.3171278313658768 |         |            |     |      |         | the system gives no probabilities | mcnemar:exact |
        +----------+-------+--------------------+---------+------------+-----+------+---------+-----------------------------------+---------------+"#]].assert_eq(&compare("mcnemar", "log-loss"));
    let error = |other: Value| run_against(json!({}), other).unwrap_err().to_string();
    expect!["steps `predict` and `predict` cannot be compared: row 2 is of another document"]
        .assert_eq(&error(theirs(["a", "b", "x", "d"])));
    expect!["steps `predict` and `predict` cannot be compared: 4 rows and 1"].assert_eq(&error(json!([[
        ["id", ["a"]],
        ["gold", ["ham"]],
        ["prediction", ["ham"]]
    ]])));
}

#[test]
fn failed_gates_are_facts_of_the_scores() {
    let failed = |gate: Value| {
        let settings = json!({"metrics": ["accuracy", "f1"], "gate": gate});
        run_against(settings, theirs(["a", "b", "c", "d"])).map(|(_folder, scores)| scores.manifest.facts.get("failed_gates").cloned())
    };
    assert_eq!(failed(json!({"accuracy": {"min": 0.75}, "f1[ham]": {"drop_max": 0.0}})).unwrap(), None);
    let why = failed(json!({"accuracy": {"min": 0.8}, "f1": {"max": 0.5}})).unwrap().unwrap();
    expect![[r#"["accuracy is 0.75, must be at least 0.8","f1 is 0.7333333333333334, must be at most 0.5"]"#]].assert_eq(&why.to_string());
    let error = |gate: &str| failed(json!({gate: {"min": 1.0}})).unwrap_err().to_string();
    expect!["gate: no metric gives a score `f2`; metrics: `accuracy`, `f1`"].assert_eq(&error("f2"));
    assert!(error("f1[egg]").starts_with("gate: there is no score `f1[egg]`") && error("f1[egg]").ends_with("`f1[ham]`, `f1[spam]`"));
}

#[test]
fn refuses_bad_rows_of_every_kind() {
    let (facts, _) = tags();
    let tagged = |gold: Value, prediction: Value| json!([[["gold", [["O"], gold]], ["prediction", [["O"], prediction]]]]);
    check_error(
        json!({}),
        facts.clone(),
        tagged(json!(["O"]), json!(["O", "O"])),
        expect!["`predictions/part-00000.parquet`, row 1: 1 words have gold tags, 2 have predicted ones"],
    );
    check_error(
        json!({}),
        facts.clone(),
        tagged(json!(["B-PRE"]), json!(["O"])),
        expect![
            "`predictions/part-00000.parquet`, row 1: `gold` is `B-PRE`, did you mean `B-PER`?; classes: `B-LOC`, `I-LOC`, `B-PER`, `I-PER`, `O`"
        ],
    );
    check_error(
        json!({}),
        facts.clone(),
        tagged(json!([null]), json!(["O"])),
        expect!["`predictions/part-00000.parquet`, row 1: `gold` has a null in it"],
    );
    check_error(
        json!({"entities": "strict", "scheme": "ioe2"}),
        facts.clone(),
        tagged(json!(["O"]), json!(["O"])),
        expect!["the tag `B-LOC` is not of the scheme IOE2, whose tags begin with I, E, O"],
    );
    check_error(
        json!({"entities": "strict", "scheme": "ioe2"}),
        facts,
        tagged(json!(["O", "O"]), json!(["O", "B-LOC"])),
        expect!["`predictions/part-00000.parquet`, row 1: the tag `B-LOC` is not of the scheme IOE2, whose tags begin with I, E, O"],
    );

    let (facts, _) = probable();
    let classified = |probabilities: Value| json!([[["gold", ["ham"]], ["prediction", ["ham"]], ["probabilities", [probabilities]]]]);
    check_error(
        json!({}),
        facts.clone(),
        classified(json!([1.0])),
        expect!["`predictions/part-00000.parquet`, row 0: there are 1 probabilities for 2 classes"],
    );
    check_error(
        json!({}),
        facts.clone(),
        classified(json!([0.5, "NaN"])),
        expect!["`predictions/part-00000.parquet`, row 0: `probabilities` are [0.5, NaN], they must be numbers from 0 to 1"],
    );
    check_error(
        json!({}),
        facts.clone(),
        classified(json!([0.5, 0.25])),
        expect!["`predictions/part-00000.parquet`, row 0: `probabilities` sum to 0.75, not to 1"],
    );

    let numbers = |prediction: Value| json!([[["gold", [1.0, 1.0]], ["prediction", [1.0, prediction]]]]);
    check_error(
        json!({}),
        json!({"task": "number"}),
        numbers(json!("NaN")),
        expect!["`predictions/part-00000.parquet`, row 1: `prediction` is NaN"],
    );
    check_error(
        json!({}),
        json!({"task": "number"}),
        numbers(json!(null)),
        expect!["`predictions/part-00000.parquet`, row 1: `prediction` is null"],
    );
    let sets = json!([[["gold", [["a", "a"]]], ["prediction", [["a"]]]]]);
    check_error(
        json!({}),
        json!({"task": "multi-label", "classes": ["a"]}),
        sets,
        expect!["`predictions/part-00000.parquet`, row 0: `gold` names a class twice: a, a"],
    );
    let texts = json!([[["source", ["a", "b"]], ["reference", [["x", "y"], []]], ["prediction", ["a", "b"]]]]);
    check_error(
        json!({}),
        json!({"task": "complete"}),
        texts,
        expect!["`predictions/part-00000.parquet`, row 1: `reference` has no text in it"],
    );
    check_error(
        json!({"slices": ["lang"]}),
        facts,
        probable().1,
        expect![
            "slices over the table `predictions` (columns of the documents, such as `text`, are there with inputs = { documents = \"STEP\" }): no SQL in this test"
        ],
    );
}

#[test]
fn written_texts_have_a_perplexity_where_likelihoods_are_known() {
    let files = json!([[
        ["source", ["a", "b"]],
        ["reference", ["a", "b"]],
        ["prediction", ["c c c", "d"]],
        ["tokens", [3, 1]],
        ["stopped", ["length", "eos"]],
        ["log_likelihood", [-4.0, -3.0]],
    ]]);
    // The token that ended the second text is a fifth one.
    check(
        json!({"metrics": ["perplexity", "repetition-1"]}),
        json!({"task": "complete"}),
        files,
        expect![[r#"
            +--------------------+--------------+-------+--------------------+----------------------------------+-------+
            | system             | metric       | class | value              | reason                           | count |
            +--------------------+--------------+-------+--------------------+----------------------------------+-------+
            | model              | repetition-1 |       | 0.3333333333333333 |                                  | 2     |
            | model              | perplexity   |       | 4.0551999668446745 |                                  | 5     |
            | copy of the source | repetition-1 |       | 0.0                |                                  | 2     |
            | copy of the source | perplexity   |       |                    | rows without a log-likelihood: 2 | 0     |
            +--------------------+--------------+-------+--------------------+----------------------------------+-------+"#]],
    );
}
