//! The examples layouts from outside: sample corpora become shards that SQL reads. What is learned from them is in `heads`.

use serde_json::{Value, json};

use crate::harness::{Site, sample};

const CONFIG: &str = r#"
seed = 5

[[step]]
stage = "import"
name = "sentences"
paths = ["in/hironsan.jsonl.zst"]
columns = { words = "string", tags = "string" }

[[step]]
stage = "import"
name = "poems"
paths = ["in/tang-poems.jsonl.zst"]
columns = { title = "string", author = "string" }

[[step]]
stage = "learn-tokenizer"
kind = "wordpiece"
vocabulary_size = 3000
inputs = { documents = "poems" }

[[step]]
stage = "tokenize"
name = "entities"
layout = "tag"
model = "masked"
words = "words"
tags = "tags"
scheme = "bilou"
inputs = { documents = "sentences", tokenizer = "learn_tokenizer" }

[[step]]
stage = "tokenize"
name = "orders"
layout = "pairs"
model = "masked"
objective = "sentence-order"
sequence_length = 64
inputs = { documents = "poems", tokenizer = "learn_tokenizer" }

[[step]]
stage = "tokenize"
name = "authors"
layout = "classify"
model = "masked"
text_pair = "title"
label = "author"
sequence_length = 64
inputs = { documents = "poems", tokenizer = "learn_tokenizer" }
"#;

fn site(config: &str) -> Site {
    let site = Site::new(config);
    std::fs::create_dir(site.path().join("in")).unwrap();
    for name in ["tags/hironsan", "text/tang-poems"] {
        let path = sample(&format!("{name}.jsonl.zst"));
        std::fs::copy(&path, site.path().join("in").join(path.file_name().unwrap())).unwrap();
    }
    site
}

#[test]
fn sql_reads_the_columns_of_every_layout() {
    let site = site(CONFIG);
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
    let changed = CONFIG.replace("seed = 5", "seed = 6");
    site.write("x.toml", changed);
    assert_eq!(site.to_run().into_iter().map(|(step, _)| step).collect::<Vec<_>>(), ["orders"]);
}
