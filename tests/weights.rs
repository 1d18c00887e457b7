//! Weights of documents from outside: from a column and by source, into the loss.

use serde_json::json;

use crate::harness::Site;

const CONFIG: &str = r#"
seed = 1

[[step]]
stage = "import"
paths = ["in/help-zh.jsonl.zst", "in/tang-poems.jsonl.zst"]
source_field = "source"

[[step]]
stage = "clean"
signals = [{ name = "weight", sql = "case when line = 3 then -1 when line = 5 then null when line % 2 = 0 then 0.25 else 2 end" }]

[[step]]
stage = "split"
parts = { train = 0.9, valid = 0.1 }

[[step]]
stage = "learn-tokenizer"
kind = "byte-level-bpe"
vocabulary_size = 600

[[step]]
stage = "tokenize"
name = "plain"
sequence_length = 32

[[step]]
stage = "tokenize"
name = "equal"
sequence_length = 32
group_weights = { column = "source", weights = { tang-poems = 0.3, libreoffice-help = 0.3 } }
inputs = { documents = "split", tokenizer = "learn_tokenizer" }

[[step]]
stage = "tokenize"
name = "weighted"
sequence_length = 32
weight = "weight"
group_weights = { column = "source", weights = { tang-poems = 3 } }
inputs = { documents = "split", tokenizer = "learn_tokenizer" }
"#;

fn train(tokens: &str) -> String {
    format!(
        "[[step]]\nstage = \"train\"\nname = \"gpt_{tokens}\"\nmodel = {{ family = \"gpt\", layers = 1, width = 16, heads = 2 }}\nsteps = 3\n\
         batch_size = 4\neval_batches = 2\ninputs = {{ tokens = \"{tokens}\", tokenizer = \"learn_tokenizer\" }}\n"
    )
}

#[test]
fn documents_weigh_by_a_column_and_by_source() {
    let site = Site::with_samples(
        &format!("{CONFIG}{}", ["plain", "equal", "weighted"].map(train).concat()),
        &["text/help-zh", "text/tang-poems"],
    );
    let said = site.ok(&["run", "x.toml", "--quiet"]).stderr;
    assert!(!said.contains(": valid loss "), "{said}");
    let rejects = site
        .sql("select rule, count(*) as n, min(value) as value, min(threshold) as least from weighted.rejects group by rule order by rule");
    assert_eq!(
        rejects,
        [
            json!({"rule": "no_weight", "n": 2, "value": null, "least": null}),
            json!({"rule": "wrong_weight", "n": 2, "value": -1.0, "least": 0.0})
        ]
    );
    // Every piece of a document has its weight, in the shards too.
    let weight = "d.weight * case d.source when 'tang-poems' then 3 else 1 end";
    let wrong = |table: &str| {
        site.sql(&format!(
            "select count(*) as n, sum(cast(s.weight <> {weight} as int)) as wrong from {table} s join split d on s.document = d.id"
        ))
    };
    let found = wrong("weighted.spans");
    assert!(found[0]["n"].as_i64().unwrap() > 3000 && found[0]["wrong"] == 0, "{found:?}");
    assert_eq!(wrong("(select s['document'] as document, s['weight'] as weight from (select unnest(spans) as s from weighted))"), found);
    assert!(site.sql("select * from plain.spans limit 1")[0].get("weight").is_none());
    // Equal weights are none: the same losses and the same bytes of the model.
    let losses = |model: &str| site.sql(&format!("select step, split, loss, grad_norm from gpt_{model}.metrics order by step, split"));
    assert_eq!(losses("plain"), losses("equal"));
    let model = |name: &str| std::fs::read(site.path().join(format!("runs/x/steps/gpt_{name}/model/model.safetensors"))).unwrap();
    assert!(model("plain") == model("equal"));
    assert!(model("plain") != model("weighted"));
    let same = site.sql("select max(abs(loss - weighted_loss)) < 1e-5 as same, count(weighted_loss) as n from gpt_equal.metrics");
    assert_eq!(same, [json!({"same": true, "n": 4})]);
    assert_eq!(site.value("select min(abs(loss - weighted_loss)) > 1e-6 from gpt_weighted.metrics where split = 'train'"), true);
    assert!(!site.mill(&["sql", "x.toml", "-c", "select weighted_loss from gpt_plain.metrics"]).stderr.is_empty());
}

#[test]
fn names_that_are_no_group_are_refused() {
    let site = Site::with_samples(
        &CONFIG.replace("weights = { tang-poems = 3 }", "weights = { tang-poem = 3 }"),
        &["text/help-zh", "text/tang-poems"],
    );
    let done = site.mill(&["run", "x.toml", "--quiet"]);
    assert_eq!(done.code, 1);
    let expected = "group_weights: no document has `tang-poem` in the column `source`, did you mean `tang-poems`?";
    assert!(done.stderr.contains(expected), "{}", done.stderr);
    site.write("x.toml", CONFIG.replace("tang-poems = 0.3", "tang-poems = -0.3"));
    let done = site.mill(&["plan", "x.toml"]);
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("group_weights: `tang-poems` is -0.3: weights are numbers from 0 on"), "{}", done.stderr);
}
