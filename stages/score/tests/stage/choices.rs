//! Predictions of log-likelihoods: choices of questions, texts in contrast, words of documents.

use super::*;

#[test]
fn choices_by_sum_and_by_length() {
    let files = json!([[
        ["gold", [1, 0, 0]],
        ["choices", [["no", "perhaps"], ["a", "bb"], ["春", "ab"]]],
        ["log_likelihoods", [[-3.0, -7.0], [-1.0, -1.0], [-3.0, -4.0]]],
    ]]);
    let settings = || json!({"metrics": ["acc", "acc-norm", "acc-bytes", "acc-mutual-info"]});
    check(
        settings(),
        json!({"task": "choose"}),
        files.clone(),
        expect![[r#"
        +--------+-----------------+-------+--------------------+--------------------------------------------------+-------+
        | system | metric          | class | value              | reason                                           | count |
        +--------+-----------------+-------+--------------------+--------------------------------------------------+-------+
        | model  | acc             |       | 0.6666666666666666 |                                                  | 3     |
        | model  | acc-norm        |       | 0.3333333333333333 |                                                  | 3     |
        | model  | acc-bytes       |       | 0.6666666666666666 |                                                  | 3     |
        | model  | acc-mutual-info |       |                    | rows without log-likelihoods of choices alone: 3 | 3     |
        +--------+-----------------+-------+--------------------+--------------------------------------------------+-------+"#]],
    );
    check_signatures(
        settings(),
        json!({"task": "choose"}),
        files,
        expect![[r#"
        model: acc normalization:none|version:corpusmill-X
        model: acc-norm normalization:characters|version:corpusmill-X
        model: acc-bytes normalization:bytes|version:corpusmill-X
        model: acc-mutual-info normalization:unconditional|version:corpusmill-X
    "#]],
    );
}

#[test]
fn contrasts_of_both_formats() {
    let files = json!([[
        ["stereotype", [-10.0, -12.0, -9.0, -8.0]],
        ["anti_stereotype", [-11.0, -11.0, -9.0001, -9.5]],
        ["unrelated", [-20.0, -11.5, -30.0, -9.0]],
        ["direction", ["stereo", "stereo", "antistereo", "antistereo"]],
        ["target", ["chess player", "chess player", "mother", "mother"]],
        ["bias_type", ["race", "race", "gender", "gender"]],
    ]]);
    check(
        json!({"slices": ["bias_type"]}),
        json!({"task": "contrast"}),
        files,
        expect![[r#"
        +--------+------------------------+-------+--------------------+--------+-------+
        | system | metric                 | class | value              | reason | count |
        +--------+------------------------+-------+--------------------+--------+-------+
        | model  | crows-pairs            |       | 50.0               |        | 4     |
        | model  | crows-pairs-stereo     |       | 50.0               |        | 2     |
        | model  | crows-pairs-antistereo |       | 100.0              |        | 1     |
        | model  | crows-pairs-neutral    |       | 25.0               |        | 4     |
        | model  | crows-pairs-difference |       | 0.8750249999999999 |        | 4     |
        | model  | stereoset              |       | 37.5               |        | 4     |
        | model  | stereoset-lms          |       | 75.0               |        | 4     |
        | model  | stereoset-ss           |       | 75.0               |        | 4     |
        +--------+------------------------+-------+--------------------+--------+-------+"#]],
    );
}

#[test]
fn likelihoods_per_word_where_predictions_tell_their_words() {
    let likelihoods = |words: Value| {
        json!([[
            ["nll", [8.0, 4.0]],
            ["tokens", [3, 1]],
            ["correct", [2, 1]],
            ["bytes", [9, 3]],
            ["unigram_nll", [8.0, 4.0]],
            ["words", words]
        ]])
    };
    let settings = || json!({"metrics": ["byte-perplexity", "word-perplexity", "bits-per-word"]});
    check(
        settings(),
        json!({"task": "language-modelling"}),
        likelihoods(json!([3, 1])),
        expect![[r#"
        +---------+-----------------+-------+--------------------+--------+-------+
        | system  | metric          | class | value              | reason | count |
        +---------+-----------------+-------+--------------------+--------+-------+
        | model   | byte-perplexity |       | 2.718281828459045  |        | 12    |
        | model   | word-perplexity |       | 20.085536923187668 |        | 4     |
        | model   | bits-per-word   |       | 4.328085122666891  |        | 4     |
        | unigram | byte-perplexity |       | 2.718281828459045  |        | 12    |
        | unigram | word-perplexity |       | 20.085536923187668 |        | 4     |
        | unigram | bits-per-word   |       | 4.328085122666891  |        | 4     |
        +---------+-----------------+-------+--------------------+--------+-------+"#]],
    );
    check(
        json!({"metrics": ["word-perplexity"]}),
        json!({"task": "language-modelling"}),
        likelihoods(json!([3, null])),
        expect![[r#"
        +---------+-----------------+-------+-------+-----------------------------------------+-------+
        | system  | metric          | class | value | reason                                  | count |
        +---------+-----------------+-------+-------+-----------------------------------------+-------+
        | model   | word-perplexity |       |       | rows with an unknown number of words: 1 | 3     |
        | unigram | word-perplexity |       |       | rows with an unknown number of words: 1 | 3     |
        +---------+-----------------+-------+-------+-----------------------------------------+-------+"#]],
    );
}

#[test]
fn refuses_bad_likelihoods_by_their_row() {
    let facts = || json!({"task": "choose"});
    let choose = |gold: Value, choices: Value, likelihoods: Value| {
        json!([[["gold", [0, gold]], ["choices", [["a"], choices]], ["log_likelihoods", [[-1.0], likelihoods]]]])
    };
    let check = |files: Value, expected: Expect| check_error(json!({}), facts(), files, expected);
    check(
        choose(json!(2), json!(["a", "b"]), json!([-1.0, -2.0])),
        expect!["`predictions/part-00000.parquet`, row 1: `gold` is 2, there are 2 choices, counted from 0"],
    );
    check(
        choose(json!(-1), json!(["a", "b"]), json!([-1.0, -2.0])),
        expect!["`predictions/part-00000.parquet`, row 1: `gold` is -1, a count is at least 0"],
    );
    check(choose(json!(0), json!([]), json!([])), expect!["`predictions/part-00000.parquet`, row 1: `choices` has no text in it"]);
    check(
        choose(json!(0), json!(["a", "b"]), json!([-1.0])),
        expect!["`predictions/part-00000.parquet`, row 1: `log_likelihoods` holds 1 numbers for 2 choices"],
    );
    check(
        choose(json!(0), json!(["a"]), json!(["NaN"])),
        expect!["`predictions/part-00000.parquet`, row 1: `log_likelihoods` holds what is no finite number"],
    );
    let contrast = |stereotype: Value, direction: &str| {
        json!([[["stereotype", [stereotype]], ["anti_stereotype", [-1.0]], ["direction", [direction]]]])
    };
    check_error(
        json!({}),
        json!({"task": "contrast"}),
        contrast(json!(-1.0), "sideways"),
        expect!["`predictions/part-00000.parquet`, row 0: `direction` is `sideways`; directions: `stereo`, `antistereo`"],
    );
    check_error(
        json!({}),
        json!({"task": "contrast"}),
        contrast(json!("NaN"), "stereo"),
        expect!["`predictions/part-00000.parquet`, row 0: `stereotype` is NaN"],
    );
}
