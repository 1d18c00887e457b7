//! The command line: exit codes, what goes where, and errors that say what, where and what to do.

use std::io::Write;
use std::process::Stdio;

use expect_test::expect;

use crate::harness::{Site, sample};

/// Reads one file of texts.
const CONFIG: &str = "[[step]]\nstage = \"import\"\npaths = [\"in/*.jsonl\"]\n";

fn site(config: &str) -> Site {
    let site = Site::new(config);
    site.write("in/a.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
    site
}

#[test]
fn results_on_stdout_the_rest_on_stderr() {
    let site = site(CONFIG);
    let done = site.ok(&["run", "x.toml", "--quiet"]);
    assert_eq!(done.stdout, "");
    assert!(done.stderr.contains("import"), "{}", done.stderr);
    let done = site.ok(&["sql", "x.toml", "-c", "select text from import order by position", "--format", "csv"]);
    assert_eq!(done.stdout, "text\none\ntwo\n");
    assert_eq!(done.stderr, "");
}

#[test]
fn wrong_configs_exit_2_and_name_place_and_choices() {
    let check = |config: &str, expected: expect_test::Expect| {
        let site = site(config);
        let done = site.mill(&["run", "x.toml"]);
        assert_eq!(done.code, 2, "{}", done.stderr);
        assert_eq!(done.stdout, "");
        expected.assert_eq(&done.stderr.replace(&site.path().display().to_string(), "DIR"));
    };
    check(
        &CONFIG.replace("import", "improt"),
        expect![[r#"
            error: x.toml:2:1: step `improt`: unknown stage `improt`, did you mean `import`?; stages: `import`, `fetch-documents`, `clean`, `filter`, `dedup`, `dedup-lines`, `dedup-substrings`, `decontaminate`, `mix`, `sample`, `split`, `augment`, `perturb`, `learn-tokenizer`, `import-tokenizer`, `compare-tokenizers`, `tokenize`, `fetch`, `import-tokens`, `export`, `train`, `predict`, `evaluate`, `import-predictions`, `word2vec`, `glove`, `score-vectors`, `baseline`, `score`
        "#]],
    );
    check(
        &CONFIG.replace("in/*.jsonl", "in/*.csv"),
        expect![[r#"
            error: x.toml:1:1: step `import`: `in/*.csv` matches no file below `DIR`; check the path, relative ones start at the config's `root`
        "#]],
    );
}

/// What would else show after hours: special tokens, sizes, phases and settings that do not go together.
#[test]
fn what_settings_tell_is_said_while_planning() {
    let check = |tokenizer: &str, tokenize: &str, rest: &str, expected: &str| {
        let tokenizer = format!("[[step]]\nstage = \"learn-tokenizer\"\n{tokenizer}\n");
        let site = site(&format!("{CONFIG}{tokenizer}[[step]]\nstage = \"tokenize\"\n{tokenize}\n{rest}"));
        let done = site.mill(&["plan", "x.toml"]);
        assert!(done.stderr.contains(expected) && (done.code == 2) != expected.is_empty(), "{}", done.stderr);
    };
    let train = |more: &str| {
        format!("[[step]]\nstage = \"train\"\nsteps = 10\nmodel = {{ family = \"gpt\", layers = 1, width = 16, heads = 2 }}\n{more}\n")
    };
    check("", "", &train(""), "");
    check("special_tokens = [\"foo\"]", "", "", "the tokenizer of step `learn_tokenizer`: has no end-of-text token");
    check("", "model = \"masked\"", "", "the tokenizer of step `learn_tokenizer`: has no `[CLS]`, `[SEP]`, `[MASK]`, which");
    check("", "bos = true", "", "");
    check("special_tokens = [\"</s>\"]", "bos = true", "", "has no beginning-of-text token, which bos = true needs");
    check("", "label = \"x\"", "", "`label` is a setting of layout = \"classify\" alone");
    let export = "[[step]]\nstage = \"export\"\nformat = \"nanogpt\"\n";
    check("vocabulary_size = 65536", "", export, "");
    let too_many =
        "nanoGPT reads ids as uint16, and step `learn_tokenizer` may learn 65537 tokens; set its vocabulary_size to at most 65536";
    check("vocabulary_size = 65537", "", export, too_many);
    check("", "", &train("masking = \"words\""), "`masking` does something with objectives that hide tokens, `masked` and `pairs`, alone");
    check("", "", &train("momentum = 0.5"), "`momentum` does something with optimizer = \"sgd\" or \"muon\" alone; leave it out");
    check("", "", &train("best_metric = \"loss\""), "best_metric needs rows in the split `valid`, and the tokens have `train`; set");
    let predict = |split: &str| train("") + &format!("[[step]]\nstage = \"predict\"\nsplit = \"{split}\"\n");
    check("", "", &predict("train"), "");
    check("", "", &predict("test"), "step `predict`: step `tokenize` has no rows in the split `test`, but in `train`");
    let baseline = "[[step]]\nstage = \"baseline\"\nsplit = \"train\"\ntrain_split = \"trian\"\n";
    let lacks = "step `baseline`: `train_split`: step `tokenize` has no rows in the split `trian`, but in `train`";
    check("", "layout = \"classify\"\nlabel = \"title\"", baseline, lacks);
    let modern = "[[step]]\nstage = \"train\"\nsteps = 9\nmodel = { family = \"bert\", style = \"modernbert\" }\n";
    let pairs = "layout = \"pairs\"\nmodel = \"masked\"";
    check("kind = \"wordpiece\"", pairs, modern, "ModernBERT has no head for pairs of segments, as step `tokenize` makes them");
    let phases = "curriculum = [{ from_step = 0, weights = { tokenize = 1 } }, { from_step = 10, weights = { tokenize = 1 } }]";
    check("", "", &train(phases), "the phase with from_step = 10 never begins, the training has 10 steps");
}

#[test]
fn wrong_arguments_exit_2() {
    let site = site(CONFIG);
    for (args, part) in [
        (vec!["run", "y.toml"], "cannot read the config `y.toml`"),
        (vec!["run", "x.toml", "--set", "imprt.x=1"], "did you mean `import`?"),
        (vec!["run", "x.toml", "--from", "clean"], "there is no step `clean`"),
        (vec!["run", "x.toml", "--device", "tpu"], "valid are `auto`, `cpu`, `cuda` and `cuda:N`"),
        (vec!["run", "x.toml", "--memory", "1MB"], "at least 256MiB"),
        (vec!["run", "x.toml", "--memory", "lots"], "is no size"),
        (vec!["stages", "imprt"], "did you mean `import`?"),
        (vec!["sql", "x.toml", "-c", "select 1", "--format", "xml"], "`ndjson`"),
        (vec!["sql", "x.toml", "--stats", "funel"], "did you mean `funnel`?"),
        (vec!["frobnicate"], "unrecognized subcommand"),
    ] {
        let done = site.mill(&args);
        assert_eq!(done.code, 2, "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains(part), "{args:?}: {}", done.stderr);
    }
}

#[test]
fn a_wrong_query_exits_1_and_lists_what_there_is() {
    let site = site(CONFIG);
    site.ok(&["run", "x.toml", "--quiet"]);
    assert!(site.ok(&["sql", "x.toml", "-c", ".functions"]).stdout.contains("mask_pii"));
    for (query, part) in [
        ("select txt from import", "text"),
        ("select * from imprt", "import"),
        ("drop table import", "artifacts never change"),
        ("selec 1", "selec"),
    ] {
        let done = site.mill(&["sql", "x.toml", "-c", query]);
        assert_eq!(done.code, 1, "{query}: {}", done.stderr);
        assert!(done.stderr.starts_with("error: ") && done.stderr.contains(part), "{query}: {}", done.stderr);
    }
}

#[test]
fn broken_records_are_rejects_with_file_and_line() {
    let site = Site::new(CONFIG);
    std::fs::create_dir(site.path().join("in")).unwrap();
    std::fs::copy(sample("broken/records.jsonl"), site.path().join("in/broken.jsonl")).unwrap();
    site.ok(&["run", "x.toml", "--quiet"]);
    let rows = site.sql("select line, rule from import.rejects order by line");
    assert!(rows.len() >= 5, "{rows:?}");
    assert!(rows.iter().all(|row| row["line"].as_i64().is_some_and(|line| line > 0)), "{rows:?}");
    let records = site.manifest("import")["counts"]["records"].as_i64().unwrap();
    let kept = site.value("select count(*) from import").as_i64().unwrap();
    assert_eq!(records, kept + rows.len() as i64);
}

#[test]
fn the_standard_input_is_kept_for_later_runs() {
    let site = Site::new("[[step]]\nstage = \"import\"\npaths = [\"-\"]\nformat = \"lines\"\n");
    let pipe = |bytes: &[u8]| {
        let mut child = site.command(&["run", "x.toml", "--quiet"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        child.wait_with_output().unwrap()
    };
    let done = site.mill(&["run", "x.toml"]);
    assert!(done.code == 2 && done.stderr.contains("nothing is piped in"), "{}", done.stderr);
    assert!(pipe(b"one\ntwo\n").status.success());
    assert_eq!(site.value("select count(*) from import where path = 'stdin'"), 2);
    assert!(site.ok(&["plan", "x.toml"]).stdout.contains("0 of 1 steps would run"));
    let empty = pipe(b"");
    assert!(String::from_utf8_lossy(&empty.stderr).contains("the standard input is empty"));
}

#[test]
fn an_unwritable_workspace_is_named() {
    let site = site(CONFIG);
    // A file where the folder should be: holds for root too, who may write anywhere.
    site.write("runs", "in the way");
    let done = site.mill(&["run", "x.toml"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("runs/x/store`; is it writable?"), "{}", done.stderr);
}

#[test]
fn help_is_short_and_lists_exit_codes() {
    let site = site(CONFIG);
    let done = site.ok(&["--help"]);
    for part in ["run", "plan", "stages", "sql", "Exit codes: 0 done"] {
        assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
    }
    let score = site.ok(&["stages", "score"]).stdout;
    let mcc = "\n    metrics of the task classify; those with * unless given:\n        accuracy *: Share of rows";
    assert!(score.contains(mcc) && score.contains("\n        rouge-l: F1 of the longest common subsequence"), "{score}");
    let done = site.ok(&["stages"]);
    for part in ["import\n", "minhash", "sequence_length", "reads: documents"] {
        assert!(done.stdout.contains(part), "`{part}` is missing in {}", done.stdout);
    }
}
