//! The stage `evaluate` from outside: a task in a TOML file becomes predictions that `score` and SQL read; what is wrong is refused while planning.

use serde_json::{Value, json};

use crate::harness::{Site, split, step, tokenizer, tokens};

const TASK: &str = r#"
dataset = ["tasks/choose.jsonl"]
doc_to_text = "Question: {question}\nAnswer:"
num_fewshot = 2
"#;

const CHOICES: &str = r#"
output = "multiple-choice"
doc_to_choice = ["{choices}"]
doc_to_target = "{gold}"
unconditional = true
metrics = ["acc", "acc-mutual-info"]
"#;

const TEXTS: &str = r#"
output = "generate"
doc_to_target = "{choices[0]}"
max_new_tokens = 8
"#;

const ROLLING: &str = r#"
output = "rolling"
doc_to_target = "{text}"
split = "test"
limit = 20
"#;

const PAIRS: &str = r#"
dataset = ["tasks/pairs.csv"]
format = "crows-pairs"
"#;

/// A tiny model.
fn model() -> String {
    [
        step("import", "mails", "paths = [\"in/mails.jsonl.zst\"]"),
        split("mails", 0.9),
        tokenizer("bpe", "byte-level-bpe", 500, "mails_split"),
        tokens("tokens", "packed", ["mails_split", "bpe"], "sequence_length = 64"),
        step("train", "gpt", "model = { family = \"gpt\", layers = 1, width = 16, heads = 2 }\nsteps = 10\nbatch_size = 8"),
    ]
    .concat()
}

/// A step that asks the model, and its scores.
fn scored(name: &str, evaluate: &str, score: &str) -> String {
    let scores = step("score", &format!("{name}_score"), &format!("{score}\ninputs = {{ predictions = \"{name}\" }}"));
    step("evaluate", name, evaluate) + &scores
}

fn site() -> Site {
    // The keys of choices are no keys of texts, so the steps have them and not the file.
    let task = |keys: &str| format!("task = \"tasks/choose.toml\"\n{keys}inputs = {{ model = \"gpt\" }}");
    let config = [
        model(),
        scored("choose", &task(CHOICES), "slices = [\"subject\"]"),
        scored("written", &task(TEXTS), ""),
        scored(
            "rolled",
            &format!("{ROLLING}inputs = {{ model = \"gpt\", documents = \"mails_split\" }}"),
            "metrics = [\"bits-per-byte\", \"word-perplexity\", \"token-accuracy\"]",
        ),
        scored("pairs", &format!("{PAIRS}inputs = {{ model = \"gpt\" }}"), ""),
    ];
    let site = Site::with_samples(&config.concat(), &["mails/mails"]);
    site.write("tasks/choose.toml", TASK);
    site.write("tasks/choose.jsonl", include_str!("../configs/evaluate/choose-example.jsonl"));
    site.write(
        "tasks/pairs.csv",
        ",sent_more,sent_less,stereo_antistereo\n0,Women lie.,Men lie.,stereo\n1,He cooks well.,She cooks well.,antistereo\n",
    );
    site
}

#[test]
fn a_task_file_becomes_scores() {
    let site = site();
    site.ok(&["run", "x.toml", "--quiet"]);

    let rows = site.sql("select prompt, gold, prediction, choices, log_likelihoods, unconditional, subject, truncated from choose");
    assert_eq!(rows.len(), 8);
    let likely = |row: &Value, name: &str| -> Vec<f64> { serde_json::from_value(row[name].clone()).unwrap() };
    let best = |values: &[f64]| (0..values.len()).rev().max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap();
    let (mut right, mut right_by_information) = (0.0, 0.0);
    for row in &rows {
        let (after, alone) = (likely(row, "log_likelihoods"), likely(row, "unconditional"));
        assert_eq!((after.len(), alone.len()), (row["choices"].as_array().unwrap().len(), after.len()));
        assert_eq!(row["prediction"], best(&after));
        let information: Vec<f64> = after.iter().zip(&alone).map(|(after, alone)| after - alone).collect();
        right += f64::from(row["gold"] == best(&after)) / 8.0;
        right_by_information += f64::from(row["gold"] == best(&information)) / 8.0;
        assert!(
            row["prompt"].as_str().unwrap().starts_with("Question: ") && row["prompt"].as_str().unwrap().matches("Answer: ").count() == 2
        );
    }
    let scores = site.sql("select metric, value from choose_score order by metric");
    assert_eq!(scores, [json!({"metric": "acc", "value": right}), json!({"metric": "acc-mutual-info", "value": right_by_information})]);
    assert_eq!(site.value("select count(distinct slice_value) from choose_score.slices where slice = 'subject'"), 3);
    let subjects = site.sql("select distinct subject from choose order by subject");
    assert_eq!(subjects, ["animals", "chinese", "words"].map(|subject| json!({"subject": subject})));

    assert_eq!(site.value("select count(*) from written where tokens <= 8 and reference <> '' and starts_with(source, 'Question: ')"), 8);
    assert_eq!(site.value("select count(*) from written_score where metric = 'bleu'"), 2);

    // Documents keep their ids, so that predictions of them can be joined.
    assert_eq!(
        site.value(
            "select count(*) from rolled r join mails_split s on r.id = s.id where s.split = 'test' and r.bytes = octet_length(s.text)"
        ),
        20
    );
    let rates = site.sql("select sum(nll) / sum(bytes) / ln(2) as bits from rolled");
    let scored = site.value("select value from rolled_score where metric = 'bits-per-byte'");
    assert!((rates[0]["bits"].as_f64().unwrap() - scored.as_f64().unwrap()).abs() < 1e-9);
    assert_eq!(site.value("select count(*) from rolled_score where system = 'unigram'"), 0);

    let favoured = "select 50.0 * sum(case when round(stereotype, 3) > round(anti_stereotype, 3) then 1 else 0 end) from pairs";
    assert_eq!(site.value("select value from pairs_score where metric = 'crows-pairs'"), site.value(favoured));

    // A comment changes nothing, a template does; a folder is asked as its step is.
    site.write("tasks/choose.toml", format!("# mine\n{TASK}"));
    assert!(site.to_run().is_empty());
    site.write("tasks/choose.toml", TASK.replace("Question:", "Q:"));
    assert_eq!(site.to_run().into_iter().map(|(step, _)| step).collect::<Vec<_>>(), ["choose", "choose_score", "written", "written_score"]);
    let of_folder = format!("from = \"runs/x/steps/gpt/model\"\ntask = \"tasks/choose.toml\"\n{CHOICES}");
    site.write("y.toml", format!("workspace = \"runs/y\"\n{}", step("evaluate", "choose", &of_folder)));
    site.write("tasks/choose.toml", TASK);
    site.ok(&["run", "y.toml", "--quiet"]);
    let of = |config: &str| site.ok(&["sql", config, "--format", "json", "-c", "select id, log_likelihoods from choose"]).stdout;
    assert_eq!(of("y.toml"), of("x.toml"));
}

#[test]
fn wrong_tasks_are_refused_while_planning() {
    let site = site();
    let refused = |task: &str, expected: &str| {
        site.write("tasks/wrong.toml", task);
        site.write("z.toml", model() + &step("evaluate", "wrong", "task = \"tasks/wrong.toml\""));
        let done = site.mill(&["plan", "z.toml"]);
        assert_eq!(done.code, 2, "{}{}", done.stdout, done.stderr);
        assert!(done.stderr.contains(expected), "{}", done.stderr);
    };
    let task = format!("{TASK}{CHOICES}");
    refused(
        &task.replace("{question}", "{queston}"),
        "`doc_to_text`: there is no column `queston`, did you mean `question`?; columns: `question`, `choices`, `gold`, `subject`",
    );
    refused(
        &task.replace("multiple-choice", "choose"),
        "unknown variant `choose`, expected one of `multiple-choice`, `generate`, `rolling`, `contrast`",
    );
    refused(&task.replace("choose.jsonl", "nothing.jsonl"), "`tasks/nothing.jsonl` matches no file");
    refused(
        &task.replace("choose.jsonl", "choose.toml"),
        "does not tell its format; set format to jsonl, json, csv, tsv, parquet, crows-pairs or stereoset",
    );
    refused(&task.replace("[\"tasks/choose.jsonl\"]", "[]"), "`dataset` is missing");
    refused("[x", "task `tasks/wrong.toml`: TOML parse error at line 1");
    site.write("tasks/choose.jsonl", include_str!("../configs/evaluate/choose-example.jsonl").replace("\"gold\": 2", "\"gold\": 4"));
    let done = site.mill(&["run", "x.toml", "--until", "choose", "--quiet"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("`choose.jsonl`, line 3: gold is 4, there are 4 choices, counted from 0"), "{}", done.stderr);
}
