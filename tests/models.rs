//! Models from outside: every objective trains, predicts and is scored, and the folders have the Hugging Face layout.

use serde_json::Value;

use crate::harness::{Site, sample};

/// A tiny BERT on mails, fine-tuned to tell spam, and a tiny GPT that completes translations.
const CONFIG: &str = r#"
seed = 1

[[step]]
stage = "import"
paths = ["in/mails.jsonl.zst"]
columns = { label = "string" }

[[step]]
stage = "split"
parts = { train = 0.8, valid = 0.1, test = 0.1 }
stratify = "label"

[[step]]
stage = "learn-tokenizer"
kind = "wordpiece"
vocabulary_size = 1000

[[step]]
stage = "tokenize"
name = "packed"
layout = "packed"
model = "masked"
sequence_length = 32

[[step]]
stage = "train"
name = "bert"
model = { family = "bert", layers = 1, width = 32, heads = 2, positions = 64 }
steps = 20
batch_size = 8

[[step]]
stage = "predict"
name = "bert_predict"
limit = 32

[[step]]
stage = "score"
name = "bert_score"

[[step]]
stage = "tokenize"
name = "labelled"
layout = "classify"
model = "masked"
label = "label"
sequence_length = 64
inputs = { documents = "split", tokenizer = "learn_tokenizer" }

[[step]]
stage = "train"
name = "spam"
steps = 150
batch_size = 16
learning_rate = 2e-3
inputs = { model = "bert", tokens = "labelled" }

[[step]]
stage = "predict"
name = "spam_predict"
inputs = { model = "spam", tokens = "labelled" }

[[step]]
stage = "score"
name = "spam_score"
positive = "spam"
inputs = { predictions = "spam_predict" }
"#;

fn site() -> Site {
    let site = Site::new(CONFIG);
    std::fs::create_dir(site.path().join("in")).unwrap();
    std::fs::copy(sample("mails/mails.jsonl.zst"), site.path().join("in/mails.jsonl.zst")).unwrap();
    site
}

#[test]
fn a_tiny_bert_learns_to_tell_spam() {
    let site = site();
    let said = site.ok(&["run", "x.toml"]).stderr;
    let tries: Vec<&str> = said.lines().filter(|line| line.contains(": valid loss ")).collect();
    assert!(tries.len() == 3 && tries.iter().all(|line| line.ends_with(" tokens/s")), "{said}");
    let (first, last) = ("bert               step 20: valid loss ", "spam               step 150: valid loss ");
    assert!(tries[0].starts_with(first) && tries[2].starts_with(last), "{said}");
    let score = |step: &str, system: &str, metric: &str| {
        let query = format!("select value from {step} where system = '{system}' and metric = '{metric}' and class is null");
        site.value(&query).as_f64().unwrap_or_else(|| panic!("{step}: no {metric} of {system}"))
    };
    let (accuracy, majority) = (score("spam_score", "model", "accuracy"), score("spam_score", "majority class", "accuracy"));
    assert!(accuracy > majority + 0.05, "accuracy {accuracy}, majority {majority}");
    // The score is what SQL says of the predictions.
    let by_sql = site.value("select avg(case when gold = prediction then 1.0 else 0.0 end) from spam_predict").as_f64().unwrap();
    assert!((accuracy - by_sql).abs() < 1e-12);
    let probabilities = "select max(abs(1.0 - (probabilities[1] + probabilities[2]))) from spam_predict";
    assert!(site.value(probabilities).as_f64().unwrap() < 1e-5);
    assert!(score("bert_score", "model", "perplexity") < 1000.0, "worse than guessing among all tokens");

    let folder = site.path().join("runs/x/steps/spam/model");
    let config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["architectures"], serde_json::json!(["BertForSequenceClassification"]));
    assert_eq!(config["label2id"], serde_json::json!({"ham": 0, "spam": 1}));
    for file in ["model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        assert!(folder.join(file).exists(), "{file} is missing");
    }
    let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&weights[8..8 + header]).unwrap();
    assert_eq!(header["__metadata__"]["format"], "pt");
    assert_eq!(header["bert.embeddings.word_embeddings.weight"]["shape"], serde_json::json!([1000, 32]));
}

#[test]
fn model_errors_come_before_any_work() {
    let check = |from: &str, to: &str, part: &str| {
        let site = site();
        site.write("x.toml", CONFIG.replace(from, to));
        let done = site.mill(&["run", "x.toml"]);
        assert_eq!(done.code, 2, "{}", done.stderr);
        assert!(done.stderr.contains(part), "{}", done.stderr);
        assert!(!site.path().join("runs/x/store").exists(), "something ran");
    };
    check("heads = 2", "heads = 3", "model.heads = 3 does not divide model.width = 32");
    check("family = \"bert\"", "family = \"brt\"", "did you mean `bert`?");
    check("steps = 20", "stpes = 20", "did you mean `steps`?");
    check("layers = 1,", "layer = 1,", "did you mean `layers`?");
}
