//! `mill generate`, `fill` and `classify` from outside: a model says to a text what it says of it as a step, to arguments and in a pipe.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::harness::{Done, Site, sample};

/// Tiny models for each command. The translator is to write the label that it reads.
const CONFIG: &str = r#"
[[step]]
stage = "import"
paths = ["in/mails.jsonl.zst"]
columns = { label = "string" }

[[step]]
stage = "split"
parts = { train = 0.9, test = 0.1 }

[[step]]
stage = "learn-tokenizer"
name = "pieces"
kind = "wordpiece"
vocabulary_size = 500
inputs = { documents = "split" }

[[step]]
stage = "learn-tokenizer"
name = "bpe"
kind = "byte-level-bpe"
vocabulary_size = 500
inputs = { documents = "split" }

[[step]]
stage = "tokenize"
name = "labelled"
layout = "classify"
model = "masked"
label = "label"
sequence_length = 64
inputs = { documents = "split", tokenizer = "pieces" }

[[step]]
stage = "train"
name = "spam"
model = { family = "bert", layers = 1, width = 16, heads = 2 }
steps = 60
batch_size = 8
learning_rate = 5e-3
inputs = { tokens = "labelled", tokenizer = "pieces" }

[[step]]
stage = "predict"
name = "said"
batch_size = 4
limit = 60
inputs = { model = "spam", tokens = "labelled" }

[[step]]
stage = "tokenize"
name = "masked"
layout = "packed"
model = "masked"
sequence_length = 32
inputs = { documents = "split", tokenizer = "pieces" }

[[step]]
stage = "train"
name = "bert"
model = { family = "bert", layers = 1, width = 16, heads = 2 }
steps = 20
batch_size = 8
inputs = { tokens = "masked", tokenizer = "pieces" }

[[step]]
stage = "tokenize"
name = "causal"
layout = "packed"
model = "causal"
sequence_length = 32
inputs = { documents = "split", tokenizer = "bpe" }

[[step]]
stage = "train"
name = "gpt"
model = { family = "gpt", layers = 1, width = 16, heads = 2 }
steps = 20
batch_size = 8
inputs = { tokens = "causal", tokenizer = "bpe" }

[[step]]
stage = "predict"
name = "likely"
batch_size = 4
inputs = { model = "gpt", tokens = "causal" }

[[step]]
stage = "tokenize"
name = "copies"
layout = "translate"
model = "encoder-decoder"
source = "label"
target = "label"
sequence_length = 16
inputs = { documents = "split", tokenizer = "pieces" }

[[step]]
stage = "train"
name = "copier"
model = { family = "seq2seq", layers = 1, width = 16, heads = 2 }
steps = 40
batch_size = 8
learning_rate = 5e-3
inputs = { tokens = "copies", tokenizer = "pieces" }

[[step]]
stage = "predict"
name = "copied"
beams = 2
inputs = { model = "copier", tokens = "copies" }

[[step]]
stage = "learn-tokenizer"
name = "llama"
kind = "byte-level-bpe"
style = "llama3"
vocabulary_size = 400
inputs = { documents = "split" }

[[step]]
stage = "tokenize"
name = "answers"
layout = "complete"
model = "causal"
prompt = "label"
target = "label"
sequence_length = 32
inputs = { documents = "split", tokenizer = "llama" }

[[step]]
stage = "train"
name = "answerer"
model = { family = "gpt", layers = 1, width = 16, heads = 2 }
steps = 20
batch_size = 8
inputs = { tokens = "answers", tokenizer = "llama" }

[[step]]
stage = "predict"
name = "answered"
limit = 20
max_new_tokens = 4
inputs = { model = "answerer", tokens = "answers" }
"#;

/// All tests ask the same models.
fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| {
        let site = Site::new(CONFIG);
        std::fs::create_dir(site.path().join("in")).unwrap();
        std::fs::copy(sample("mails/mails.jsonl.zst"), site.path().join("in/mails.jsonl.zst")).unwrap();
        site.ok(&["run", "x.toml", "--quiet"]);
        site
    })
}

fn piped(args: &[&str], input: &str) -> Done {
    let mut child = site().command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Whoever refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap().into()
}

fn objects(done: &Done) -> Vec<Value> {
    done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_text_is_classified_as_by_the_step() {
    let rows = site().sql("select s.text, p.prediction, p.probabilities, p.label, p.source, p.gold from said p join split s using (id) where char_length(s.text) < 4000");
    assert!(rows.len() > 30, "{}", rows.len());
    // The user's columns stand beside predictions, without the text that was read.
    assert!(rows.iter().all(|row| row["label"] == row["gold"] && row["source"].is_string()));
    let texts: Vec<&str> = rows.iter().map(|row| row["text"].as_str().unwrap()).collect();
    let asked = site().ok(&[vec!["classify", "x.toml", "spam", "--json", "--"], texts].concat());
    for (row, said) in rows.iter().zip(objects(&asked)) {
        assert_eq!((&said["label"], &said["text"]), (&row["prediction"], &row["text"]));
        for (class, p) in ["ham", "spam"].into_iter().zip(row["probabilities"].as_array().unwrap()) {
            assert!((said["probabilities"][class].as_f64().unwrap() - p.as_f64().unwrap()).abs() < 1e-5, "{said} {row}");
        }
    }
    let lines = piped(&["classify", "runs/x/steps/spam"], "win money now\nthe list of patches\n");
    let alone = ["win money now", "the list of patches"].map(|text| site().ok(&["classify", "runs/x/steps/spam/model", text]).stdout);
    assert_eq!((lines.code, &lines.stdout), (0, &alone.concat()));
    assert_eq!(lines.stderr, "");
    // Of a text that is longer than the model, what was left out is told.
    let long = "the list of patches ".repeat(40);
    let said = objects(&site().ok(&["classify", "x.toml", "spam", "--json", &long, "the list"]));
    assert_eq!((&said[0]["truncated"], &said[1]["truncated"]), (&json!(true), &json!(false)));
    let lines = piped(&["classify", "runs/x/steps/spam"], &format!("the list\n{long}\n"));
    assert_eq!(lines.stderr, "note: line 2 of the standard input has more tokens than the model reads; it answers to the first ones\n");
}

#[test]
fn masks_are_filled_with_the_likeliest_tokens() {
    let done = site().ok(&["fill", "x.toml", "bert", "--json", "--candidates", "3", "the [MASK] of the [MASK]"]);
    let said = &objects(&done)[0];
    let masks = said["masks"].as_array().unwrap();
    assert_eq!(masks.len(), 2);
    for mask in masks {
        let p: Vec<f64> = mask.as_array().unwrap().iter().map(|candidate| candidate["probability"].as_f64().unwrap()).collect();
        assert!(p.len() == 3 && p.is_sorted_by(|a, b| a >= b) && p.iter().sum::<f64>() < 1.0, "{p:?}");
    }
    let plain = site().ok(&["fill", "x.toml", "bert", "the [MASK] of the [MASK]"]).stdout;
    assert_eq!(plain.trim_end(), said["filled"].as_str().unwrap());
    let done = piped(&["fill", "x.toml", "bert"], "a [MASK]\nno mask\n");
    assert_eq!((done.code, done.stdout.lines().count()), (1, 1));
    assert_eq!(
        done.stderr,
        "error: line 2 of the standard input: the text has no mask; write `[MASK]` for each token that is to be found\n"
    );
}

#[test]
fn texts_are_gone_on_with() {
    let generate = |more: &[&str]| objects(&site().ok(&[&["generate", "x.toml", "gpt", "--json", "--max-new-tokens", "7"], more].concat()));
    let greedy = generate(&["From the"]);
    assert_eq!((&greedy[0]["text"], &greedy[0]["tokens"], &greedy[0]["stopped"]), (&json!("From the"), &json!(7), &json!("length")));
    assert!(greedy[0]["log_likelihood"].as_f64().unwrap() < 0.0);
    assert_eq!(generate(&["--top-k", "1", "From the"])[0]["completion"], greedy[0]["completion"]);
    let drawn = |seed: &str| generate(&["--temperature", "1.5", "--seed", seed, "From the", "From the"]);
    for (one, other) in drawn("1").iter().zip(drawn("1")) {
        assert_eq!((&one["completion"], &one["stopped"]), (&other["completion"], &other["stopped"]));
        // Whether both texts were answered in one batch is a matter of chance.
        let [one, other] = [one, &other].map(|said| said["log_likelihood"].as_f64().unwrap());
        assert!((one - other).abs() < 1e-5, "{one} {other}");
    }
    assert_ne!(drawn("1")[0], drawn("2")[0]);
    // The number of a text counts too.
    assert_ne!(drawn("1")[0]["completion"], drawn("1")[1]["completion"]);
    let beams = generate(&["--beams", "50", "--length-penalty", "0", "From the"]);
    assert!(beams[0]["log_likelihood"].as_f64() >= greedy[0]["log_likelihood"].as_f64());
    let first = greedy[0]["completion"].as_str().unwrap().chars().nth(2).unwrap().to_string();
    let stopped = generate(&["--stop", &first, "From the"]);
    assert_eq!(stopped[0]["stopped"], "stop");
    assert!(greedy[0]["completion"].as_str().unwrap().starts_with(&format!("{}{first}", stopped[0]["completion"].as_str().unwrap())));
    let lines = piped(&["generate", "x.toml", "gpt", "--max-new-tokens", "7"], "From the\nSubject:\n");
    let expected = generate(&["From the", "Subject:"])
        .iter()
        .map(|said| said["completion"].as_str().unwrap().replace('\n', "\\n") + "\n")
        .collect::<String>();
    assert_eq!(lines.stdout, expected);
}

#[test]
fn answers_come_while_the_pipe_is_open() {
    let args = ["generate", "x.toml", "gpt", "--max-new-tokens", "3", "--json"];
    let mut child = site().command(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    for text in ["one", "two", "three"] {
        writeln!(stdin, "{text}").unwrap();
        stdin.flush().unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["text"], text);
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_source_is_translated_as_by_the_step() {
    let rows = site().sql("select source, min(prediction) as prediction, count(distinct prediction) as different, min(log_likelihood) as likely from copied group by source");
    assert_eq!(rows.len(), 2);
    for row in rows {
        let said = objects(&site().ok(&["generate", "x.toml", "copier", "--beams", "2", "--json", row["source"].as_str().unwrap()]));
        assert_eq!((&said[0]["completion"], &row["different"]), (&row["prediction"], &json!(1)));
        assert!((said[0]["log_likelihood"].as_f64().unwrap() - row["likely"].as_f64().unwrap()).abs() < 1e-5);
    }
    assert_eq!(site().manifest("copied")["facts"]["decoding"], json!({"beams": 2, "length_penalty": 1.0}));
}

/// Rows of completions do not begin with `<|begin_of_text|>`, which the tokenizer's own template puts before texts.
#[test]
fn a_prompt_is_framed_as_the_rows_that_were_learned() {
    let rows = site().sql("select source, min(prediction) as prediction, min(log_likelihood) as likely from answered group by source");
    assert!(!rows.is_empty());
    for row in rows {
        let source = row["source"].as_str().unwrap();
        let said = objects(&site().ok(&["generate", "x.toml", "answerer", "--max-new-tokens", "4", "--json", "--append", "\\n", source]));
        assert_eq!(said[0]["completion"], row["prediction"]);
        assert!((said[0]["log_likelihood"].as_f64().unwrap() - row["likely"].as_f64().unwrap()).abs() < 1e-5);
    }
    let read = |path: &str| -> Value { serde_json::from_slice(&std::fs::read(site().path().join(path)).unwrap()).unwrap() };
    let (learned, saved) = (read("runs/x/steps/llama/tokenizer.json"), read("runs/x/steps/answerer/model/tokenizer.json"));
    assert_eq!((&learned["post_processor"]["type"], &saved["post_processor"]["type"]), (&json!("Sequence"), &json!("ByteLevel")));
    assert_eq!(learned["model"], saved["model"]);
    assert!(read("runs/x/steps/answerer/model/config.json")["bos_token_id"].is_null());
}

#[test]
fn any_slice_of_likelihoods_is_a_query() {
    let slices = site().sql("select label, exp(sum(nll) / sum(tokens)) as perplexity from likely group by label order by label");
    assert_eq!(slices.iter().map(|row| &row["label"]).collect::<Vec<_>>(), ["ham", "spam"]);
    assert!(slices.iter().all(|row| row["perplexity"].as_f64().unwrap() > 1.0), "{slices:?}");
    let wrong = "select count(*) from likely p join split s using (id) where p.label <> s.label or p.source <> s.source";
    assert_eq!(site().value(wrong), 0);
}

#[test]
fn errors_say_what_to_ask_instead() {
    let site = site();
    for (args, code, part) in [
        (vec!["generate", "runs/x", "a"], 2, "`runs/x` has no config.json; give a model folder"),
        (vec!["generate", "nowhere", "a"], 2, "`nowhere` is neither a folder nor a file"),
        (vec!["generate", "x.toml", "bert", "a"], 2, "which predicts masked tokens; use `mill fill`"),
        (vec!["fill", "x.toml", "spam", "a"], 2, "which predicts one class; use `mill classify`"),
        (vec!["classify", "x.toml", "gpt", "a"], 2, "which predicts the next token; use `mill generate`"),
        (vec!["classify", "x.toml", "gtp", "a"], 2, "there is no step `gtp`; steps: `import`, `split`"),
        (vec!["classify", "x.toml"], 2, "behind the config `x.toml` comes a step that trains: `spam`, `bert`, `gpt`, `copier`"),
        (vec!["classify", "x.toml", "said", "a"], 2, "steps that train: `spam`, `bert`, `gpt`, `copier`"),
        (vec!["generate", "x.toml", "gpt", "a", "--beams", "2", "--top-k", "3"], 2, "beams search for the likeliest text"),
        (vec!["generate", "x.toml", "gpt", ""], 1, "an empty text has no token to go on from"),
        (vec!["generate", "x.toml", "gpt", "a", "--device", "tpu"], 2, "valid are `auto`, `cpu`"),
        (vec!["answer", "x.toml", "spam", "a"], 2, "give the question with --question"),
        (vec!["answer", "x.toml", "spam", "--null-threshold", "nan"], 2, "--null-threshold must be a number, not nan"),
    ] {
        let done = site.mill(&args);
        assert!(done.code == code && done.stderr.contains(part), "{args:?}: {} {}", done.code, done.stderr);
        assert_eq!(done.stdout, "");
    }
    let other = Site::new(CONFIG);
    std::fs::create_dir(other.path().join("in")).unwrap();
    std::fs::copy(sample("mails/mails.jsonl.zst"), other.path().join("in/mails.jsonl.zst")).unwrap();
    let done = other.mill(&["fill", "x.toml", "bert", "a"]);
    assert!(done.code == 1 && done.stderr.contains("run `mill run x.toml --until bert` first"), "{}", done.stderr);
}
