//! Simple systems on real data: rows of `baseline` are those of `predict`, and they are better than a guess.

use serde_json::Value;

use crate::harness::{Site, sample};

const CONFIG: &str = r#"
seed = 42

[[step]]
stage = "import"
name = "mails"
paths = ["in/mails.jsonl.zst"]
columns = { label = "string" }

[[step]]
stage = "split"
name = "mails_split"
parts = { train = 0.8, test = 0.2 }
inputs = { documents = "mails" }

[[step]]
stage = "import"
name = "sentences"
paths = ["in/hironsan.jsonl.zst"]
columns = { words = "string", tags = "string" }

[[step]]
stage = "split"
name = "sentences_split"
parts = { train = 0.8, test = 0.2 }
inputs = { documents = "sentences" }

[[step]]
stage = "import"
name = "pairs"
paths = ["in/help-zh-en.jsonl.zst"]
text = "zh"
columns = { en = "string" }

[[step]]
stage = "split"
name = "pairs_split"
parts = { train = 0.9, test = 0.1 }
inputs = { documents = "pairs" }

[[step]]
stage = "learn-tokenizer"
name = "wordpiece"
kind = "wordpiece"
vocabulary_size = 4000
inputs = { documents = "mails_split" }

[[step]]
stage = "learn-tokenizer"
name = "bpe"
vocabulary_size = 2000
inputs = { documents = "pairs_split" }

[[step]]
stage = "tokenize"
name = "spam"
layout = "classify"
model = "masked"
label = "label"
sequence_length = 128
inputs = { documents = "mails_split", tokenizer = "wordpiece" }

[[step]]
stage = "tokenize"
name = "entities"
layout = "tag"
model = "masked"
words = "words"
tags = "tags"
sequence_length = 128
inputs = { documents = "sentences_split", tokenizer = "wordpiece" }

[[step]]
stage = "tokenize"
name = "translate"
layout = "complete"
prompt = "text"
target = "en"
sequence_length = 128
inputs = { documents = "pairs_split", tokenizer = "bpe" }

[[step]]
stage = "tokenize"
name = "packed"
sequence_length = 128
inputs = { documents = "pairs_split", tokenizer = "bpe" }

[[step]]
stage = "baseline"
name = "spam_baseline"
inputs = { tokens = "spam" }

[[step]]
stage = "baseline"
name = "entities_baseline"
inputs = { tokens = "entities" }

[[step]]
stage = "baseline"
name = "translate_baseline"
limit = 200
inputs = { tokens = "translate", tokenizer = "bpe" }
"#;

fn score(name: &str, more: &str) -> String {
    format!("\n[[step]]\nstage = \"score\"\nname = \"{name}_score\"\n{more}inputs = {{ predictions = \"{name}_baseline\" }}\n")
}

fn site(more: &str) -> Site {
    let site = Site::new(&format!("{CONFIG}{more}"));
    std::fs::create_dir(site.path().join("in")).unwrap();
    for name in ["mails/mails", "tags/hironsan", "translation/help-zh-en"] {
        let path = sample(&format!("{name}.jsonl.zst"));
        std::fs::copy(&path, site.path().join("in").join(path.file_name().unwrap())).unwrap();
    }
    site
}

#[test]
fn baselines_are_better_than_a_guess_and_the_same_for_any_number_of_threads() {
    let scores = [
        score("spam", "positive = \"spam\"\nslices = [\"length(text) > 2000\"]\n").replace(" }", ", documents = \"mails\" }"),
        score("entities", ""),
        score("translate", "metrics = [\"bleu\"]\n"),
    ];
    let site = site(&scores.concat());
    site.ok(&["run", "x.toml", "--quiet", "--threads", "1"]);
    let value = |step: &str, system: &str, metric: &str| -> f64 {
        let query = format!("select value from {step} where system = '{system}' and metric = '{metric}' and class is null");
        site.value(&query).as_f64().unwrap_or_else(|| panic!("{step}: no {metric} of {system}"))
    };
    let accuracy = |system: &str| value("spam_score", system, "accuracy");
    assert!(
        accuracy("tf-idf + logistic regression") > 0.95 && accuracy("majority class") < 0.8,
        "{}",
        accuracy("tf-idf + logistic regression")
    );
    let f1 = value("entities_score", "most frequent tag", "f1");
    assert!(f1 > 0.1, "{f1}");
    // A copy beside the copy that `score` makes itself would be the same twice.
    assert_eq!(site.value("select count(*) as n from translate_score"), 1);
    assert_eq!(site.value("select count(*) as n from translate_baseline where source = prediction"), 200);
    assert_eq!(site.value("select count(*) as n from spam_score.gaps where metric = 'accuracy' and groups = 2"), 2);

    let before: Vec<(String, String)> = site.fingerprints();
    let force = ["--force", "spam_baseline", "--force", "entities_baseline", "--force", "translate_baseline"];
    site.ok(&[&["run", "x.toml", "--quiet", "--threads", "3"], &force[..]].concat());
    assert_eq!(site.fingerprints(), before);
}

#[test]
fn wrong_combinations_are_refused_while_planning() {
    let check = |change: (&str, &str), expected: &str| {
        let site = site("");
        site.write("x.toml", CONFIG.replace(change.0, change.1));
        let done = site.mill(&["plan", "x.toml"]);
        assert!(done.code == 2 && done.stderr.contains(expected), "{}: {}", done.code, done.stderr);
    };
    let tokens = "inputs = { tokens = \"spam\" }";
    check(
        (tokens, "method = \"copy\"\ninputs = { tokens = \"spam\" }"),
        "method = \"copy\" does not fit tokens of the layout classify, which step `spam` makes; methods that do: `linear`",
    );
    check(
        (tokens, "inputs = { tokens = \"packed\" }"),
        "step `packed` makes tokens of the layout packed, for which there is no baseline; beside likelihoods, `score` shows the unigram model",
    );
    check(
        (tokens, "inputs = { tokens = \"spam\", tokenizer = \"bpe\" }"),
        "method = \"linear\" needs no tokenizer; leave out tokenizer = \"bpe\"",
    );
    check((tokens, "regularization = 0\ninputs = { tokens = \"spam\" }"), "regularization is 0, it must be a number above 0");
    let texts = "inputs = { tokens = \"translate\", tokenizer = \"bpe\" }";
    let expected = "method = \"copy\" writes texts with the tokenizer of step `translate`; add inputs = { tokenizer = \"bpe\" }";
    check((texts, "inputs = { tokens = \"translate\" }"), expected);
    check((texts, "inputs = { tokens = \"translate\", tokenizer = \"wordpiece\" }"), expected);
}

/// Rows, golds and texts of the model's predictions are the baseline's, so that `score` compares them.
#[cfg(feature = "model")]
#[test]
fn rows_are_those_of_predict() {
    let model = |tokens: &str, family: &str, tokenizer: &str, more: &str| {
        format!(
            r#"
[[step]]
stage = "train"
name = "{tokens}_model"
model = {{ family = "{family}", layers = 1, width = 16, heads = 2 }}
steps = 2
inputs = {{ tokens = "{tokens}", tokenizer = "{tokenizer}" }}

[[step]]
stage = "predict"
name = "{tokens}_predict"
limit = 200
max_new_tokens = 8
inputs = {{ model = "{tokens}_model", tokens = "{tokens}" }}

[[step]]
stage = "score"
name = "{tokens}_score"
inputs = {{ predictions = "{tokens}_predict", against = "{tokens}_baseline" }}
{more}"#
        )
    };
    let steps = [
        model("spam", "bert", "wordpiece", ""),
        model("entities", "bert", "wordpiece", ""),
        model("translate", "gpt", "bpe", "metrics = [\"bleu\", \"chrf\"]\n"),
    ];
    let config = format!("{CONFIG}{}", steps.concat());
    let site = site("");
    let limited = |name: &str| format!("name = \"{name}_baseline\"\nlimit = 200");
    let config = config.replace("name = \"spam_baseline\"", &limited("spam")).replace("name = \"entities_baseline\"", &limited("entities"));
    site.write("x.toml", config);
    site.ok(&["run", "x.toml", "--quiet"]);
    for (tokens, columns) in [("spam", "id, gold"), ("entities", "id, words, gold"), ("translate", "id, source, reference")] {
        let rows = |step: &str| -> Vec<Value> { site.sql(&format!("select {columns} from {tokens}_{step}")) };
        let (ours, theirs) = (rows("baseline"), rows("predict"));
        assert!(ours.len() > 50 && ours == theirs, "{tokens}: {} rows and {}", ours.len(), theirs.len());
        let system = site.manifest(&format!("{tokens}_baseline"))["facts"]["system"].as_str().unwrap().to_string();
        let beside =
            format!("select count(*) as n from {tokens}_score where system in ('model', '{system}') and class is null group by metric");
        assert!(site.sql(&beside).iter().all(|row| row["n"] == 2), "{tokens}");
        assert!(!site.sql(&format!("select metric from {tokens}_score.comparisons where p_value is not null")).is_empty(), "{tokens}");
    }
}
