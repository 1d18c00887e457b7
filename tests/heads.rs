//! Every layout of examples from outside: it trains, is traced and predicted, and wrong combinations are refused while planning.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Site, import, questions, split, tokenizer, tokens};

fn config() -> String {
    let by_wordpiece = |name, layout, documents, lines: &str| tokens(name, layout, [documents, "learn_tokenizer"], lines);
    let masked = |name, layout, documents, lines: &str| by_wordpiece(name, layout, documents, &format!("model = \"masked\"\n{lines}"));
    let decoded =
        |name, layout, documents, lines: &str| by_wordpiece(name, layout, documents, &format!("model = \"encoder-decoder\"\n{lines}"));
    let answers =
        "question = \"question\"\nanswer = \"answer\"\nanswer_start = \"begin\"\nsequence_length = 32\nquestion_length = 8\nstride = 4";
    [
        import("sentences", "hironsan.jsonl.zst", &["words", "tags"]),
        split("sentences", 0.8),
        import("poems", "tang-poems.jsonl.zst", &["title", "author", "edition"]),
        split("poems", 0.8),
        import("squad", "squad.jsonl", &["question", "answer", "begin"]),
        tokenizer("learn_tokenizer", "wordpiece", 3000, "poems"),
        tokenizer("bpe", "byte-level-bpe", 1000, "poems"),
        masked("entities", "tag", "sentences_split", "words = \"words\"\ntags = \"tags\"\nsequence_length = 64"),
        masked("orders", "pairs", "poems_split", "objective = \"sentence-order\"\nsequence_length = 64"),
        masked("titles", "classify", "poems_split", "text_pair = \"title\"\nlabel = \"edition\"\nsequence_length = 64"),
        tokens("editions", "classify", ["poems_split", "bpe"], "model = \"causal\"\nlabel = \"edition\"\nsequence_length = 64"),
        masked("questions", "answer", "squad", answers),
        tokens("labels", "tag", ["sentences_split", "bpe"], "model = \"causal\"\nwords = \"words\"\ntags = \"tags\"\nsequence_length = 64"),
        tokens("replies", "answer", ["squad", "bpe"], &format!("model = \"causal\"\n{answers}")),
        decoded("volumes", "classify", "poems_split", "text_pair = \"title\"\nlabel = \"edition\"\nsequence_length = 192"),
        decoded("names", "tag", "sentences_split", "words = \"words\"\ntags = \"tags\"\nsequence_length = 64"),
        decoded("authors", "answer", "squad", answers),
    ]
    .concat()
}

/// Steps that train on tokens, and predict them; of the family seq2seq, its style is named.
fn training(tokens: &str, family: &str, more: &str) -> String {
    let (family, style) = match family {
        "t5" | "marian" => ("seq2seq", format!(", seq2seq = {{ style = \"{family}\" }}")),
        family => (family, String::new()),
    };
    let tokenizer = if family == "gpt" { "bpe" } else { "learn_tokenizer" };
    let predict =
        if more.is_empty() { String::new() } else { format!("[[step]]\nstage = \"predict\"\nname = \"{tokens}_predict\"\n{more}\n") };
    format!(
        r#"
[[step]]
stage = "train"
name = "{tokens}_model"
model = {{ family = "{family}", layers = 1, width = 16, heads = 2{style} }}
steps = 3
inputs = {{ tokens = "{tokens}", tokenizer = "{tokenizer}" }}

{predict}"#
    )
}

/// A step that scores predictions.
fn score(tokens: &str, more: &str) -> String {
    format!("[[step]]\nstage = \"score\"\nname = \"{tokens}_score\"\n{more}inputs = {{ predictions = \"{tokens}_predict\" }}\n\n")
}

fn site(steps: &str) -> Site {
    let site = Site::with_samples(&format!("{}{steps}", config()), &["tags/hironsan", "text/tang-poems"]);
    let context = ["春眠不觉晓，处处闻啼鸟。", "诗人", "写了这首诗。"];
    site.write("in/squad.jsonl", questions(40, ["李白", "杜甫"], "谁写的？", context));
    site
}

#[test]
fn every_layout_trains_and_predicts_and_is_traced() {
    let predict = |tokens: &str| format!("split = \"test\"\ninputs = {{ model = \"{tokens}_model\", tokens = \"{tokens}\" }}");
    let answers = "split = \"train\"\nnull_threshold = 0.0\ninputs = { model = \"questions_model\", tokens = \"questions\" }";
    let steps = [
        training("entities", "bert", &predict("entities")),
        training("orders", "bert", &predict("orders")),
        training("titles", "bert", &predict("titles")),
        training("editions", "gpt", &predict("editions")),
        training("questions", "bert", answers),
        training("labels", "gpt", &predict("labels")),
        training("replies", "gpt", &answers.replace("questions", "replies")),
        score("orders", ""),
        score("entities", "entities = \"strict\"\n"),
        score("questions", "resamples = 50\n"),
        score("titles", "slices = [\"char_count(text) > 40\", \"length_bucket(text)\", \"author\"]\n")
            .replace(" }", ", documents = \"poems\" }"),
    ];
    let site = site(&steps.concat());
    site.ok(&["run", "x.toml", "--quiet"]);
    for tokens in ["entities", "orders", "titles", "editions", "questions", "labels", "replies"] {
        let traced = site.ok(&["trace", "x.toml", &format!("{tokens}_model"), "2", "--text", "10", "--format", "json"]);
        let rows: Vec<Value> = serde_json::from_str(&traced.stdout).unwrap();
        assert!(rows.len() >= 16 && rows.iter().all(|row| row["text"].is_string()), "{tokens}: {}", traced.stdout);
    }
    for (tags, answers) in [("entities", "questions"), ("labels", "replies")] {
        let lengths = format!("select count(*) as n from {tags}_predict where array_length(gold) <> array_length(prediction)");
        // An answer is what stands there.
        let wrong = format!(
            "select count(*) as n from {answers}_predict p join squad d using (id)
            where p.prediction <> coalesce(substr(d.text, p.start + 1, p.\"end\" - p.start), '') or array_length(gold) <> 1"
        );
        assert_eq!([site.value(&lengths), site.value(&wrong)], [0, 0]);
    }
    assert_eq!(site.value("select count(*) as n from questions_predict"), 40);
    answers_to_a_question(&site, "questions_model");
    assert_eq!(site.value("select count(*) as n from orders_score where metric = 'accuracy' and system = 'model'"), 1);
    assert_eq!(
        site.value("select count(*) as n from entities_score where class is null and signature like 'mode:strict|scheme:IOB2|%'"),
        12 // precision, recall and F1: plain, micro, macro and weighted
    );
    assert_eq!(site.value("select count(*) as n from questions_score where metric = 'f1' and class is null and low <= high"), 1);
    // A slice holds the rows that the join says it does.
    let slice = "select sum(count) as n from titles_score.slices where metric = 'accuracy' and system = 'model' and slice_value = 'true'";
    let joined = "select count(*) as n from titles_predict join poems using (id) where char_count(text) > 40";
    assert_eq!(site.value(slice), site.value(joined));
    let slices = "select count(distinct slice_value) as n from titles_score.slices where slice like 'length_bucket%'";
    let joined = "select count(distinct length_bucket(text)) as n from titles_predict join poems using (id)";
    assert_eq!(site.value(slices), site.value(joined));
    for _ in 0..2 {
        let done = site.mill(&["run", "x.toml", "--quiet", "--set", "orders_score.gate={ accuracy = { min = 2 } }"]);
        let expected = "step `orders_score`: gate not passed: accuracy is";
        assert!(done.code == 3 && done.stderr.contains(expected), "{}: {}", done.code, done.stderr);
    }
    for (step, architecture) in [
        ("entities", "BertForTokenClassification"),
        ("orders", "BertForPreTraining"),
        ("titles", "BertForSequenceClassification"),
        ("editions", "GPT2ForSequenceClassification"),
        ("questions", "BertForQuestionAnswering"),
        ("labels", "GPT2ForTokenClassification"),
        ("replies", "GPT2ForQuestionAnswering"),
    ] {
        let path = site.path().join(format!("runs/x/steps/{step}_model/model/config.json"));
        let config: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(config["architectures"], json!([architecture]));
    }
}

#[test]
fn t5_classifies_tags_and_finds_answers() {
    let predict =
        |tokens: &str, split: &str| format!("split = \"{split}\"\ninputs = {{ model = \"{tokens}_model\", tokens = \"{tokens}\" }}");
    // Goes on from the body that learned classes.
    let after = "inputs = { tokens = \"authors\", tokenizer = \"learn_tokenizer\"";
    let model = "model = { family = \"seq2seq\", layers = 1, width = 16, heads = 2, seq2seq = { style = \"t5\" } }\n";
    let authors = training("authors", "t5", &predict("authors", "train"));
    let authors = authors.replace(model, "").replace(after, &format!("{after}, model = \"volumes_model\""));
    let steps = [
        training("volumes", "t5", &predict("volumes", "test")),
        training("names", "t5", &predict("names", "test")),
        authors,
        score("volumes", ""),
        score("names", ""),
        score("authors", ""),
    ];
    let site = site(&steps.concat());
    site.ok(&["run", "x.toml", "--quiet"]);
    for (tokens, ending) in [("volumes", "SequenceClassification"), ("names", "TokenClassification"), ("authors", "QuestionAnswering")] {
        let path = site.path().join(format!("runs/x/steps/{tokens}_model/model/config.json"));
        let config: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(config["architectures"], json!([format!("T5For{ending}")]));
        assert!(site.value(&format!("select count(*) as n from {tokens}_score where metric in ('accuracy', 'f1')")).as_u64() > Some(0));
    }
    let lengths = "select count(*) as n from names_predict where array_length(gold) <> array_length(prediction)";
    let wrong = "select count(*) as n from authors_predict p join squad d using (id)
        where p.prediction <> substr(d.text, p.start + 1, p.\"end\" - p.start)";
    assert_eq!([lengths, wrong].map(|query| site.value(query)), [0, 0]);
    answers_to_a_question(&site, "authors_model");
    // What a step said of a pair is what is said of it when it is asked for.
    let row = &site.sql(
        "select d.text, d.title, p.probabilities from volumes_predict p join poems d using (id) order by char_count(d.text), id limit 1",
    )[0];
    let text = |name: &str| row[name].as_str().unwrap();
    let said = site.ok(&["classify", "x.toml", "volumes_model", "--json", "--pair", text("title"), "--", text("text")]).stdout;
    let said: Value = serde_json::from_str(&said).unwrap();
    let of_step: Vec<f64> = row["probabilities"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).collect();
    let asked: Vec<f64> = said["probabilities"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).collect();
    assert_eq!(asked.len(), of_step.len());
    assert!(asked.iter().zip(&of_step).all(|(a, b)| (a - b).abs() < 1e-5), "{said} {row}");
}

/// `mill answer` cuts its answers out of the context, however it is asked.
fn answers_to_a_question(site: &Site, model: &str) {
    let (question, context) = ("谁写诗?", "今天 é李白写诗 ".repeat(20));
    let ask = |args: &[&str], input: &str| -> Vec<Value> {
        let args = [&["answer", "x.toml", model, "--json"], args].concat();
        let mut child = site.command(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success());
        String::from_utf8(done.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let said = ask(&["--question", question, "--context", &context], "");
    let place = |name: &str| said[0][name].as_u64().unwrap() as usize;
    let cut: String = context.chars().skip(place("start")).take(place("end") - place("start")).collect();
    assert!(!cut.is_empty() && said[0]["answer"] == cut, "{said:?}");
    assert_eq!(said[0]["candidates"].as_array().unwrap().len(), 5);
    // However many answers are listed, what they share is the same.
    let one = ask(&["--question", question, "--context", &context, "--candidates", "1"], "");
    assert_eq!((one[0]["candidates"].as_array().unwrap().len(), &one[0]["probability"]), (1, &said[0]["probability"]));
    let line = json!({"question": question, "context": context}).to_string() + "\n";
    assert_eq!(ask(&[], &line.repeat(2)), [said.clone(), said.clone()].concat());
    assert_eq!(ask(&["--question", question], &(context.clone() + "\n")), said);
    assert_eq!(ask(&["--context", &context], &(question.to_string() + "\n")), said);
}

#[test]
fn several_tasks_are_trained_on_one_body_and_predicted() {
    let both = r#"
[[step]]
stage = "train"
name = "both"
model = { family = "bert", layers = 1, width = 16, heads = 2 }
multi_task = true
steps = 6
batch_size = 4
valid_split = "test"
inputs = { tokens = ["entities", "titles"], tokenizer = "learn_tokenizer" }
"#;
    let predict = |tokens: &str| {
        format!(
            "[[step]]\nstage = \"predict\"\nname = \"{tokens}_predict\"\nsplit = \"test\"\ninputs = {{ model = \"both\", tokens = \"{tokens}\" }}\n\n"
        )
    };
    let site = site(&[both.to_string(), predict("entities"), predict("titles")].concat());
    for (task, architecture) in [("entities", "BertForTokenClassification"), ("titles", "BertForSequenceClassification")] {
        site.ok(&["run", "x.toml", "--quiet", "--until", &format!("{task}_predict")]);
        let path = site.path().join(format!("runs/x/steps/both/models/{task}/config.json"));
        let config: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(config["architectures"], json!([architecture]));
        let rows = format!("select count(*) > 0 as n from {task}_predict");
        assert_eq!(site.value(&rows), true);
        let tries = format!("select count(*) as n from both.metrics where split = 'test' and task = '{task}' and accuracy is not null");
        assert_eq!(site.value(&tries), 1);
    }
    assert_eq!(site.value("select count(*) as n from both.metrics where split = 'train'"), 6);
    let steps = "select count(distinct source) as n from both.samples group by step having count(distinct source) > 1";
    assert_eq!(site.sql(steps).len(), 0);
    // The head that answers is found.
    let said = site.ok(&["classify", "x.toml", "both", "--json", "--", "春眠不觉晓"]);
    assert!(serde_json::from_str::<Value>(said.stdout.lines().next().unwrap()).is_ok(), "{}", said.stdout);
}

#[test]
fn wrong_combinations_are_refused_while_planning() {
    let check = |steps: &str, expected: &str| {
        let site = site(steps);
        let done = site.mill(&["plan", "x.toml"]);
        assert!(done.code == 2 && done.stderr.contains(expected), "{}: {}", done.code, done.stderr);
    };
    check(&training("orders", "gpt", ""), "step `orders`: tokens of the layout pairs need a model of the family bert, this is gpt");
    check(
        &training("orders", "bert", "").replace("steps = 3", "steps = 3\nobjective = \"classify\""),
        "objective `classify` does not fit a model of the family bert on tokens of the layout pairs; that is `pairs`",
    );
    check(&training("titles", "gpt", "").replace("\"bpe\"", "\"learn_tokenizer\""), "step `titles` made tokens with model = \"masked\"");
    check(
        &training("orders", "bert", "inputs = { model = \"orders_model\", tokens = \"titles\" }"),
        "step `orders_model` learned from tokens with layout = \"pairs\" and cannot predict those of step `titles` with layout = \"classify\"",
    );
    check(
        &training("volumes", "marian", ""),
        "step `volumes`: the style marian has no head for tokens of the layout classify, in transformers neither; gpt, bert and seq2seq = { style = \"t5\" } have one",
    );
    check(
        &training("titles", "t5", ""),
        "step `titles`: tokens of the layout classify for masked models; a model of the family seq2seq needs",
    );
    check(&training("orders", "t5", ""), "step `orders` makes tokens of the layout pairs; a model of the family seq2seq learns from");
    check(
        &training("volumes", "bert", ""),
        "step `volumes` made tokens with model = \"encoder-decoder\", a model of the family bert needs",
    );
    let others = |step: &str, documents: &str| {
        let inputs = format!("inputs = {{ model = \"{step}_model\", tokens = \"{step}\", documents = \"{documents}\" }}");
        check(
            &training(step, "bert", &inputs),
            &format!("step `{step}` did not read the documents of step `{documents}`; leave out documents"),
        );
    };
    others("questions", "poems_split");
    others("orders", "squad");
    check(
        &training("titles", "bert", "inputs = { model = \"titles_model\", tokens = \"titles\" }\nbeams = 2"),
        "beams, repetition_penalty, temperature, top_k, top_p and stop are for tokens of the layouts complete and translate, those of step `titles`",
    );
    check(
        &training("titles", "bert", "inputs = { model = \"titles_model\", tokens = \"titles\" }\ncandidates = 2"),
        "`candidates` is for tokens of the layout answer, those of step `titles` are of the layout classify; remove it",
    );
}
