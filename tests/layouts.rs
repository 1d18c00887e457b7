//! The examples layouts from outside: sample corpora become shards that SQL reads. What is learned from them is in `heads`.

use serde_json::{Value, json};

use crate::harness::{Site, import, tokenizer, tokens};

fn config(seed: u32) -> String {
    [
        format!("seed = {seed}\n"),
        import("sentences", "hironsan.jsonl.zst", &["words", "tags"]),
        import("poems", "tang-poems.jsonl.zst", &["title", "author"]),
        tokenizer("wordpiece", "wordpiece", 3000, "poems"),
        tokens("entities", "tag", ["sentences", "wordpiece"], "model = \"masked\"\nwords = \"words\"\ntags = \"tags\"\nscheme = \"bilou\""),
        tokens("orders", "pairs", ["poems", "wordpiece"], "model = \"masked\"\nobjective = \"sentence-order\"\nsequence_length = 64"),
        tokens(
            "authors",
            "classify",
            ["poems", "wordpiece"],
            "model = \"masked\"\ntext_pair = \"title\"\nlabel = \"author\"\nsequence_length = 64",
        ),
    ]
    .concat()
}

#[test]
fn sql_reads_the_columns_of_every_layout() {
    let site = Site::with_samples(&config(5), &["tags/hironsan", "text/tang-poems"]);
    site.ok(&["run", "x.toml", "--quiet"]);
    let counts = |step: &str| {
        let counts = &site.manifest(step)["counts"];
        ["documents_in", "documents_stored", "documents_rejected"].map(|name| counts[name].as_i64().unwrap_or_default())
    };
    assert_eq!(counts("entities"), [500, 498, 2]);
    assert_eq!(
        site.sql("select rule, count(*) as n, min(left(detail, 5)) as detail from entities.rejects group by rule"),
        [json!({"rule": "wrong_tags", "n": 2, "detail": "word "})]
    );
    // Labels are as many as tokens, and -100 at both ends.
    let odd =
        "select count(*) as n from entities where array_length(tokens) <> array_length(labels) or labels[1] <> -100 or labels[-1] <> -100";
    assert_eq!(site.value(odd), 0);
    let kinds: Vec<Value> = site.sql("select label, count(*) as n from orders group by label order by label");
    let [ordered, swapped] = [0, 1].map(|label| kinds[label]["n"].as_i64().unwrap());
    assert!((ordered - swapped).abs() * 10 < ordered + swapped, "{ordered} {swapped}");
    assert_eq!(site.value("select count(*) as n from orders where other <> id"), 0);
    assert_eq!(site.value("select count(*) as n from authors where array_length(segments) <> array_length(tokens)"), 0);
    // The seed is part of the key of `pairs` alone.
    site.write("x.toml", config(6));
    assert_eq!(site.to_run().into_iter().map(|(step, _)| step).collect::<Vec<_>>(), ["orders"]);
}
