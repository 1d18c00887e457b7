//! Ranks from outside: several processes learn what one learns, a dead one ends the step, and the next run goes on with any number of them.

use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;

use crate::harness::{Done, Site};
use crate::kill::{draft, steps_saved};

/// Trainings of every kind of network and target; `R` stands for a number of ranks, which is also part of the steps' names.
const TRAININGS: &str = r#"
[[step]]
stage = "train"
name = "gptR"
model = { family = "gpt", layers = 1, width = 32, heads = 2 }
optimizer = "muon"
ema = 0.9
label_smoothing = 0.1
adversarial = { method = "fgm", epsilon = 0.5 }
best_metric = "loss"
steps = 12
batch_size = 8
accumulate = 3
batch_ramp_steps = 6
eval_interval_steps = 5
eval_batches = 3
inputs = { tokens = "causal", tokenizer = "pieces" }
ranks = R

[[step]]
stage = "train"
name = "rnnR"
model = { family = "rnn", layers = 1, width = 32 }
carry_state = true
steps = 12
batch_size = 8
eval_batches = 3
checkpoint_interval_steps = 5
inputs = { tokens = "causal", tokenizer = "pieces" }
ranks = R

[[step]]
stage = "train"
name = "bertR"
model = { family = "bert", layers = 1, width = 32, heads = 2, positions = 64 }
token_noise = 0.05
steps = 12
batch_size = 8
accumulate = 2
eval_batches = 3
inputs = { tokens = "orders", tokenizer = "words" }
ranks = R

[[step]]
stage = "train"
name = "authorsR"
steps = 12
batch_size = 8
inputs = { model = "bertR", tokens = "authors", tokenizer = "words" }
ranks = R

[[step]]
stage = "train"
name = "marianR"
model = { family = "seq2seq", layers = 1, width = 32, heads = 2 }
steps = 12
batch_size = 8
inputs = { tokens = "translations", tokenizer = "pieces" }
ranks = R
"#;

const TOKENS: &str = r#"
seed = 3

[[step]]
stage = "import"
name = "poems"
paths = ["in/tang-poems.jsonl.zst"]
columns = { title = "string", author = "string" }

[[step]]
stage = "split"
parts = { train = 0.9, valid = 0.1 }

[[step]]
stage = "learn-tokenizer"
name = "pieces"
kind = "byte-level-bpe"
vocabulary_size = 500
inputs = { documents = "split" }

[[step]]
stage = "learn-tokenizer"
name = "words"
kind = "wordpiece"
vocabulary_size = 1000
inputs = { documents = "split" }

[[step]]
stage = "tokenize"
name = "causal"
layout = "packed"
model = "causal"
sequence_length = 32
inputs = { documents = "split", tokenizer = "pieces" }

[[step]]
stage = "tokenize"
name = "orders"
layout = "pairs"
model = "masked"
objective = "sentence-order"
sequence_length = 64
inputs = { documents = "split", tokenizer = "words" }

[[step]]
stage = "tokenize"
name = "authors"
layout = "classify"
model = "masked"
text_pair = "title"
label = "author"
sequence_length = 64
inputs = { documents = "split", tokenizer = "words" }

[[step]]
stage = "tokenize"
name = "translations"
layout = "translate"
model = "encoder-decoder"
source = "title"
target = "author"
sequence_length = 64
inputs = { documents = "split", tokenizer = "pieces" }
"#;

/// A site with a config and the poems.
fn site(config: &str) -> Site {
    Site::with_samples(config, &["text/tang-poems"])
}

/// (step, split, loss) of a training.
fn losses(site: &Site, step: &str) -> Vec<(u64, String, f64)> {
    let rows = site.sql(&format!("select step, split, loss from {step}.metrics order by step, split"));
    let row = |row: &Value| (row["step"].as_u64().unwrap(), row["split"].as_str().unwrap().to_string(), row["loss"].as_f64().unwrap());
    rows.iter().map(row).collect()
}

/// The largest difference of two courses of losses, which have the same steps.
fn difference(one: &[(u64, String, f64)], other: &[(u64, String, f64)]) -> f64 {
    let steps = |losses: &[(u64, String, f64)]| losses.iter().map(|(step, split, _)| (*step, split.clone())).collect::<Vec<_>>();
    assert_eq!(steps(one), steps(other));
    one.iter().zip(other).map(|(one, other)| (one.2 - other.2).abs()).fold(0.0, f64::max)
}

#[test]
fn ranks_lose_as_one() {
    let trainings = ["1", "2", "4"].map(|ranks| TRAININGS.replace('R', ranks)).concat();
    let site = site(&[TOKENS, &trainings].concat());
    site.ok(&["run", "x.toml", "--quiet", "--threads", "2"]);
    for step in ["gpt", "rnn", "bert", "authors", "marian"] {
        let [one, two, four] = ["1", "2", "4"].map(|ranks| losses(&site, &format!("{step}{ranks}")));
        assert!(one.len() > 12, "{step} was not tried on the valid split");
        let found = (difference(&one, &two), difference(&one, &four));
        assert!(found.0 < 1e-5 && found.1 < 1e-5, "{step}: {found:?}");
        let tokens = |ranks: u64| site.manifest(&format!("{step}{ranks}"))["facts"]["tokens"].clone();
        assert_eq!(tokens(1), tokens(2), "{step}");
        assert_eq!(site.manifest(&format!("{step}2"))["facts"]["environment"]["ranks"], 2, "{step}");
        // The number is no part of the key.
        let key = |ranks: u64| site.manifest(&format!("{step}{ranks}"))["key"].clone();
        assert_eq!(key(1), key(2), "{step}");
    }
}

const LONG: &str = r#"
[[step]]
stage = "train"
model = { family = "gpt", layers = 2, width = 32, heads = 2 }
steps = 60
batch_size = 8
learning_rate = 1e-3
checkpoint_interval_steps = 10
eval_interval_steps = 20
eval_batches = 2
inputs = { tokens = "causal", tokenizer = "pieces" }
ranks = 2
"#;

/// The process of a rank below `mill`.
fn process_of(mill: u32, rank: &str) -> Option<u32> {
    crate::kill::children_of(mill).into_iter().find(|pid| {
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.trim_end_matches('\0').rsplit('\0').next() == Some(rank)
    })
}

/// Runs `mill` until the training has saved `steps` steps, then kills a rank; gives what it left, and `None` when the moment was missed.
fn kill_rank(site: &Site, rank: &str, steps: u64) -> Option<Done> {
    let args = ["run", "x.toml", "--quiet", "--threads", "2"];
    let mut mill = site.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while draft(site, "train").and_then(|draft| steps_saved(&draft)).is_none_or(|saved| saved < steps) {
        if let Some(status) = mill.try_wait().unwrap() {
            assert!(status.success(), "the run failed by itself");
            return None;
        }
        assert!(started.elapsed().as_secs() < 300, "{steps} steps were never saved");
        std::thread::yield_now();
    }
    if let Some(pid) = process_of(mill.id(), rank) {
        // SAFETY: sends a signal to a child of our child.
        unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    }
    let done = Done::from(mill.wait_with_output().unwrap());
    (done.code != 0).then_some(done)
}

#[test]
fn a_dead_rank_ends_the_step_and_any_number_goes_on() {
    let whole = site(&[TOKENS, LONG].concat());
    whole.ok(&["run", "x.toml", "--quiet", "--threads", "2"]);
    let whole = losses(&whole, "train");

    let again = site(&[TOKENS, LONG].concat());
    let mut kills = 0;
    for (rank, steps) in [("1", 10), ("0", 30)] {
        if let Some(done) = kill_rank(&again, rank, steps) {
            kills += 1;
            assert_eq!(done.code, 1, "{}", done.stderr);
            assert!(done.stderr.contains(&format!("mill-model, rank {rank} of 2, was killed (signal 9)")), "{}", done.stderr);
        }
    }
    assert!(kills > 0, "no kill came in time");
    again.ok(&["run", "x.toml", "--quiet", "--threads", "2"]);
    assert_eq!(losses(&again, "train"), whole);

    let other = site(&[TOKENS, LONG].concat());
    let first = kill_rank(&other, "1", 10);
    other.write("x.toml", [TOKENS, LONG].concat().replace("ranks = 2", "ranks = 4"));
    let second = kill_rank(&other, "3", 30);
    assert!(first.is_some() || second.is_some(), "no kill came in time");
    other.write("x.toml", [TOKENS, LONG].concat().replace("ranks = 2", ""));
    other.ok(&["run", "x.toml", "--quiet", "--threads", "2"]);
    let found = losses(&other, "train");
    assert!(difference(&found, &whole) < 1e-5);
    if first.is_some() {
        // Its first steps are those that two ranks took.
        assert_eq!(found[..10], whole[..10]);
    }
}

#[test]
fn ranks_that_do_not_divide_the_batch_are_refused_while_planning() {
    let site = site(&[TOKENS, &LONG.replace("ranks = 2", "ranks = 3")].concat());
    let done = site.mill(&["run", "x.toml"]);
    assert_eq!(done.code, 2, "{}", done.stderr);
    assert!(done.stderr.contains("ranks = 3 must divide batch_size = 8"), "{}", done.stderr);
    assert!(done.stderr.contains("valid are 1, 2, 4, 8"), "{}", done.stderr);
    assert!(!site.path().join("runs/x/store").exists(), "something ran");
}
