//! Simple systems on real data: rows of `baseline` are those of `predict`, and they are better than a guess.

use serde_json::Value;

use crate::harness::{Site, import, questions, split, step, tokenizer, tokens};

fn config() -> String {
    let answers = "question = \"question\"\nanswer = \"answer\"\nanswer_start = \"begin\"\nquestion_length = 16\nstride = 4";
    let masked = |name, layout, documents, lines: &str| {
        tokens(name, layout, [documents, "wordpiece"], &format!("model = \"masked\"\nsequence_length = 128\n{lines}"))
    };
    let baseline = |tokens: &str| step("baseline", &format!("{tokens}_baseline"), &format!("inputs = {{ tokens = \"{tokens}\" }}"));
    [
        "seed = 42\n".to_string(),
        import("mails", "mails.jsonl.zst", &["label"]),
        split("mails", 0.8),
        import("sentences", "hironsan.jsonl.zst", &["words", "tags"]),
        split("sentences", 0.8),
        import("pairs", "help-zh-en.jsonl.zst", &["en"]).replace("paths", "text = \"zh\"\npaths"),
        split("pairs", 0.9),
        import("squad", "squad.jsonl", &["question", "answer", "begin"]),
        split("squad", 0.5),
        tokenizer("wordpiece", "wordpiece", 4000, "mails_split"),
        tokenizer("bpe", "byte-level-bpe", 2000, "pairs_split"),
        masked("spam", "classify", "mails_split", "label = \"label\""),
        masked("entities", "tag", "sentences_split", "words = \"words\"\ntags = \"tags\""),
        masked("questions", "answer", "squad_split", answers).replace("= 128", "= 40"),
        tokens("translate", "complete", ["pairs_split", "bpe"], "prompt = \"text\"\ntarget = \"en\"\nsequence_length = 128"),
        tokens("packed", "packed", ["pairs_split", "bpe"], "sequence_length = 128"),
        baseline("spam"),
        baseline("entities"),
        baseline("questions"),
        step("baseline", "translate_baseline", "limit = 200\ninputs = { tokens = \"translate\", tokenizer = \"bpe\" }"),
    ]
    .concat()
}

fn score(name: &str, more: &str) -> String {
    step("score", &format!("{name}_score"), &format!("{more}inputs = {{ predictions = \"{name}_baseline\" }}"))
}

fn site(config: &str) -> Site {
    let site = Site::with_samples(config, &["mails/mails", "tags/hironsan", "translation/help-zh-en"]);
    let context = ["It is read in spring. ", "", " wrote this poem."];
    site.write("in/squad.jsonl", questions(60, ["Li Bai", "Du Fu"], "Who wrote this poem? ", context));
    site
}

#[test]
fn baselines_are_better_than_a_guess_and_the_same_for_any_number_of_threads() {
    let scores = [
        score("spam", "positive = \"spam\"\nslices = [\"length(text) > 2000\"]\n").replace(" }", ", documents = \"mails\" }"),
        score("entities", ""),
        score("questions", "slices = [\"source\"]\n"),
        score("translate", "metrics = [\"bleu\"]\n"),
    ];
    let site = site(&format!("{}{}", config(), scores.concat()));
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
    assert_eq!(value("questions_score", "sliding window", "exact-match"), 100.0);
    let wrong = "select count(*) as n from questions_baseline p join squad d using (id)
        where p.prediction <> substr(d.text, p.start + 1, p.\"end\" - p.start) or p.source <> d.source";
    assert_eq!(site.value(wrong), 0);
    let sliced = "select slice_value from questions_score.slices where metric = 'exact-match' and class is null and count > 20";
    assert_eq!(site.value(sliced), site.value("select source from squad limit 1"));
    // A copy beside the copy that `score` makes itself would be the same twice.
    assert_eq!(site.value("select count(*) as n from translate_score"), 1);
    assert_eq!(site.value("select count(*) as n from translate_baseline where source = prediction"), 200);
    assert_eq!(site.value("select count(*) as n from spam_score.gaps where metric = 'accuracy' and groups = 2"), 2);

    let before: Vec<(String, String)> = site.fingerprints();
    let force = ["spam", "entities", "questions", "translate"].map(|tokens| format!("--force={tokens}_baseline"));
    site.ok(&["run", "x.toml", "--quiet", "--threads", "3"].into_iter().chain(force.iter().map(String::as_str)).collect::<Vec<_>>());
    assert_eq!(site.fingerprints(), before);
}

#[test]
fn wrong_combinations_are_refused_while_planning() {
    let check = |change: (&str, &str), expected: &str| {
        let site = site(&config().replace(change.0, change.1));
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
    let copy = "inputs = { tokens = \"translate\", tokenizer = \"bpe\" }";
    let expected = "sentences is only for the method `lead`, this step has method = \"copy\"";
    check((copy, &format!("sentences = 1\n{copy}")), expected);
    check((tokens, "regularization = 0\ninputs = { tokens = \"spam\" }"), "regularization is 0, it must be a number above 0");
    let questions = "inputs = { tokens = \"questions\" }";
    check(
        (questions, "inputs = { tokens = \"questions\", documents = \"mails\" }"),
        "step `questions` did not read the documents of step `mails`; leave out documents",
    );
    let texts = "inputs = { tokens = \"translate\", tokenizer = \"bpe\" }";
    let expected = "method = \"copy\" writes texts with the tokenizer of step `translate`; add inputs = { tokenizer = \"bpe\" }";
    check((texts, "inputs = { tokens = \"translate\" }"), expected);
    check((texts, "inputs = { tokens = \"translate\", tokenizer = \"wordpiece\" }"), expected);
}

#[test]
fn wrong_scores_are_refused_while_planning() {
    let check = |name: &str, more: &str, expected: &str| {
        let site = site(&format!("{}{}", config(), score(name, more)));
        let done = site.mill(&["plan", "x.toml"]);
        assert!(done.code == 2 && done.stderr.contains(expected), "{}: {}", done.code, done.stderr);
    };
    check(
        "spam",
        "metrics = [\"bleu\"]\n",
        "metric `bleu` does not apply to predictions of the task `classify`; metrics that do: `accuracy`",
    );
    check("spam", "gate = { bleu = { min = 1 } }\n", "gate: no metric gives a score `bleu`");
    check("entities", "bins = 20\n", "bins is only for predictions of the task `classify`, these are of `tag`");
    check("translate", "stem = true\n", "stem is only for metrics that begin with `rouge`, and none is computed");
    check("spam", "seed = 7\n", "seed = 7 is for draws, and there are none; set resamples, or leave out seed");
    check("spam", "gate = { f1 = { drop_max = 0, baseline = \"old.json\" } }\n", "gate of `f1`: reading `");
}

#[test]
fn gates_compare_with_scores_of_a_file() {
    let lines = "model = \"masked\"\nsequence_length = 128\nlabel = \"label\"";
    let config = |file: &str| {
        [
            import("mails", "mails.jsonl.zst", &["label"]),
            split("mails", 0.8),
            tokenizer("wordpiece", "wordpiece", 4000, "mails_split"),
            tokens("spam", "classify", ["mails_split", "wordpiece"], lines),
            step("baseline", "spam_baseline", "inputs = { tokens = \"spam\" }"),
            score("spam", &format!("gate = {{ accuracy = {{ drop_max = 0.01, baseline = \"{file}\" }} }}\n")),
        ]
        .concat()
    };
    let site = site(&config("old.json"));
    site.write("old.json", "{\"metric\": \"accuracy\", \"value\": 0.5}");
    site.ok(&["run", "x.toml", "--quiet"]);
    // The scores as they are keep the bound, and a better one does not.
    let query = "select * from spam_score where system like 'tf-idf%'";
    site.write("old.json", Value::from(site.sql(query)).to_string());
    site.ok(&["run", "x.toml", "--quiet"]);
    site.write("old.json", "[{\"metric\": \"accuracy\", \"value\": 2}]");
    let done = site.mill(&["run", "x.toml", "--quiet"]);
    assert!(done.code == 3 && done.stderr.contains("must be at least 2 - 0.01 (`old.json`)"), "{}: {}", done.code, done.stderr);
    // Parquet holds the majority class too, which is not what is compared with.
    std::fs::copy(site.path().join("runs/x/steps/spam_score/scores/part-00000.parquet"), site.path().join("old.parquet")).unwrap();
    site.write("x.toml", config("old.parquet"));
    site.ok(&["run", "x.toml", "--quiet"]);
    let ours = site.value("select value from spam_score where metric = 'accuracy' and system like 'tf-idf%'");
    assert_eq!(site.manifest("spam_score")["key_parts"]["settings"]["stored"]["accuracy"], ours);
}

/// Names of steps say nothing of tokens that come from elsewhere.
#[test]
fn tokens_of_another_workspace_are_known_by_their_tokenizer() {
    let pairs = [import("pairs", "help-zh-en.jsonl.zst", &["en"]).replace("paths", "text = \"zh\"\npaths"), split("pairs", 0.9)].concat();
    let bpe = |size| tokenizer("bpe", "byte-level-bpe", size, "pairs_split");
    let lines = "prompt = \"text\"\ntarget = \"en\"\nsequence_length = 128";
    let site = site(&[pairs.clone(), bpe(2000), tokens("texts", "complete", ["pairs_split", "bpe"], lines)].concat());
    site.ok(&["run", "x.toml", "--quiet"]);
    let run = |steps: &[String], inputs: &str| {
        let fetch = step("fetch", "texts", "path = \"runs/x/steps/texts\"");
        let baseline = step("baseline", "copy", &format!("method = \"copy\"\nlimit = 20\ninputs = {{ tokens = \"texts\"{inputs} }}"));
        site.write("y.toml", [fetch, steps.concat(), baseline].concat());
        site.mill(&["run", "y.toml", "--quiet"])
    };
    let imported = step("import-tokenizer", "foreign", "file = \"runs/x/steps/bpe/tokenizer.json\"");
    let done = run(std::slice::from_ref(&imported), ", tokenizer = \"foreign\"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let done = run(&[pairs, bpe(1000)], ", tokenizer = \"bpe\"");
    let expected = "the tokens of step `texts` were made with another tokenizer than that of step `bpe` (2000 and 1000 ids), so their ids stand for other texts; give theirs";
    assert!(done.code == 1 && done.stderr.contains(expected), "{}: {}", done.code, done.stderr);
    let done = run(&[], "");
    let expected = "method = \"copy\" writes texts with the tokenizer of step `texts`; add inputs = { tokenizer = \"STEP\" }";
    assert!(done.code == 1 && done.stderr.contains(expected), "{}: {}", done.code, done.stderr);
}

/// Rows, golds and texts of the model's predictions are the baseline's, so that `score` compares them.
#[cfg(feature = "model")]
#[test]
fn rows_are_those_of_predict() {
    let model = |tokens: &str, family: &str, tokenizer: &str, more: &str| {
        let network = format!("model = {{ family = \"{family}\", layers = 1, width = 16, heads = 2 }}\nsteps = 2\n");
        let (model, predict) = (format!("{tokens}_model"), format!("{tokens}_predict"));
        let length = if family == "gpt" { "max_new_tokens = 8\n" } else { "" };
        let against = format!("inputs = {{ predictions = \"{predict}\", against = \"{tokens}_baseline\" }}");
        [
            step("train", &model, &format!("{network}inputs = {{ tokens = \"{tokens}\", tokenizer = \"{tokenizer}\" }}")),
            step("predict", &predict, &format!("limit = 200\n{length}inputs = {{ model = \"{model}\", tokens = \"{tokens}\" }}")),
            step("score", &format!("{tokens}_score"), &format!("{more}{against}")),
        ]
        .concat()
    };
    let steps = [
        model("spam", "bert", "wordpiece", "slices = [\"source\"]\n"),
        model("entities", "bert", "wordpiece", "slices = [\"source\"]\n"),
        model("questions", "bert", "wordpiece", "slices = [\"source\"]\n"),
        model("translate", "gpt", "bpe", "slices = [\"document_source\"]\nmetrics = [\"bleu\", \"chrf\"]\n"),
    ];
    let limited = |tokens: &str| format!("name = \"{tokens}_baseline\"\nlimit = 200");
    let config = ["spam", "entities"]
        .iter()
        .fold(config(), |config, tokens| config.replace(&format!("name = \"{tokens}_baseline\""), &limited(tokens)));
    let site = site(&format!("{config}{}", steps.concat()));
    site.ok(&["run", "x.toml", "--quiet"]);
    for (tokens, columns) in [
        ("spam", "id, gold, source, label"),
        ("entities", "id, words, gold, source"),
        ("questions", "id, question, gold, source"),
        ("translate", "id, source, reference, document_source"),
    ] {
        let rows = |step: &str| -> Vec<Value> { site.sql(&format!("select {columns} from {tokens}_{step}")) };
        let (ours, theirs) = (rows("baseline"), rows("predict"));
        assert!(ours.len() > 20 && ours == theirs, "{tokens}: {} rows and {}", ours.len(), theirs.len());
        let system = site.manifest(&format!("{tokens}_baseline"))["facts"]["system"].as_str().unwrap().to_string();
        for table in ["", ".slices"] {
            let beside = format!(
                "select count(*) as n from {tokens}_score{table} where system in ('model', '{system}') and class is null group by metric"
            );
            let counts = site.sql(&beside);
            assert!(!counts.is_empty() && counts.iter().all(|row| row["n"] == 2), "{tokens}{table}");
        }
        assert!(!site.sql(&format!("select metric from {tokens}_score.comparisons where p_value is not null")).is_empty(), "{tokens}");
    }
}
