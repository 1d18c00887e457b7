//! Killed at any moment and run again, a pipeline ends with the same bytes, losses and weights as one that was left alone.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Instant;

use serde_json::Value;

use crate::harness::Site;

const CONFIG: &str = r#"
[[step]]
stage = "import"
paths = ["in/*.jsonl.zst"]

[[step]]
stage = "clean"
profile = "gopher@paper"

[[step]]
stage = "filter"

[[step]]
stage = "dedup"

[[step]]
stage = "split"
parts = { train = 0.8, valid = 0.1, test = 0.1 }

[[step]]
stage = "learn-tokenizer"
kind = "byte-level-bpe"
vocabulary_size = 500

[[step]]
stage = "tokenize"
layout = "packed"
model = "causal"
sequence_length = 32

[[step]]
stage = "train"
model = { family = "gpt", layers = 2, width = 32, heads = 2 }
steps = 60
batch_size = 8
dropout = 0.1
learning_rate = 1e-3
checkpoint_interval_steps = 10
eval_interval_steps = 20
eval_batches = 2

[[step]]
stage = "predict"
batch_size = 1
limit = 640

[[step]]
stage = "score"
"#;

fn site() -> Site {
    Site::with_samples(CONFIG, &["text/help-en", "text/help-zh", "text/rust-doc", "text/speeches", "text/tang-poems"])
}

/// The draft of a step, if one is being written.
pub fn draft(site: &Site, step: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(site.path().join("runs/x/store")).ok()?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "draft"))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().rsplit_once('-').is_some_and(|(name, _)| name == step)))
}

/// Parts noted in the journal of a draft.
fn parts(draft: &Path) -> usize {
    std::fs::read_to_string(draft.join("journal.jsonl")).unwrap_or_default().lines().count()
}

/// Lets `mill` run until `moment` comes, then kills it, or its child, as a power cut would. `false` when the moment was missed.
/// The run ends at `step`, so that a missed moment spoils no later one.
fn kill_at(site: &Site, step: &str, what: &str, victim: impl Fn(&Child) -> Option<u32>, moment: impl Fn() -> bool) -> bool {
    let mut mill = site.spawn(&["run", "x.toml", "--quiet", "--threads", "2", "--until", step]);
    let started = Instant::now();
    while !moment() {
        if let Some(status) = mill.try_wait().unwrap() {
            assert!(status.success(), "{what}: the run failed by itself");
            return false;
        }
        assert!(started.elapsed().as_secs() < 300, "this moment never came: {what}");
        std::thread::yield_now();
    }
    let Some(pid) = victim(&mill) else {
        mill.wait().unwrap();
        return false;
    };
    // SAFETY: sends a signal to a child of ours, or to its child.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    !mill.wait().unwrap().success()
}

/// The children of a process.
pub fn children_of(parent: u32) -> Vec<u32> {
    let child = |entry: std::io::Result<std::fs::DirEntry>| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let of: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        (of == parent).then_some(pid)
    };
    std::fs::read_dir("/proc").unwrap().filter_map(child).collect()
}

#[test]
fn killed_anywhere_ends_the_same() {
    let undisturbed = site();
    undisturbed.ok(&["run", "x.toml", "--quiet", "--threads", "2"]);

    let site = site();
    let mill = |mill: &Child| Some(mill.id());
    let model = |mill: &Child| children_of(mill.id()).pop();
    let at = |step: &'static str, n: usize| {
        let site = &site;
        move || draft(site, step).is_some_and(|draft| parts(&draft) >= n)
    };
    let saved = |steps: u64| {
        let site = &site;
        move || draft(site, "train").and_then(|draft| steps_saved(&draft)).is_some_and(|saved| saved >= steps)
    };
    let predicted = |n: usize| {
        let site = &site;
        move || {
            draft(site, "predict").is_some_and(|draft| std::fs::read_dir(draft.join("predictions")).is_ok_and(|parts| parts.count() >= n))
        }
    };
    let exists = |step: &'static str| {
        let site = &site;
        move || draft(site, step).is_some()
    };
    let kills = [
        kill_at(&site, "import", "mill, in import", mill, at("import", 1)),
        kill_at(&site, "import", "mill, in import again", mill, at("import", 2)),
        kill_at(&site, "clean", "mill, at the start of clean", mill, exists("clean")),
        kill_at(&site, "clean", "mill, in clean", mill, at("clean", 2)),
        kill_at(&site, "dedup", "mill, in dedup", mill, at("dedup", 2)),
        kill_at(&site, "tokenize", "mill, at the start of tokenize", mill, exists("tokenize")),
        kill_at(&site, "train", "mill-model, in train", model, saved(10)),
        kill_at(&site, "train", "mill, in train", mill, saved(30)),
        kill_at(&site, "train", "mill-model, in train again", model, saved(40)),
        kill_at(&site, "predict", "mill-model, in predict", model, predicted(1)),
        kill_at(&site, "predict", "mill, in predict", mill, predicted(2)),
    ];
    // On a busy machine a moment can pass unseen; six kills are what this test is about.
    let kills = kills.into_iter().filter(|killed| *killed).count();
    assert!(kills >= 6, "only {kills} kills came in time");
    site.ok(&["run", "x.toml", "--quiet", "--threads", "2"]);

    assert_eq!(site.fingerprints(), undisturbed.fingerprints());
    let losses = "select step, split, loss, grad_norm from train.metrics order by step, split";
    assert_eq!(site.sql(losses), undisturbed.sql(losses));
    assert_eq!(site.sql(losses).len(), undisturbed.sql(losses).len());
}

/// Optimizer steps in the newest checkpoint of a draft, by the header of its safetensors file.
pub fn steps_saved(draft: &Path) -> Option<u64> {
    let file = std::fs::read(draft.join("scratch/checkpoint.safetensors")).ok()?;
    let length = u64::from_le_bytes(file.get(..8)?.try_into().ok()?) as usize;
    let header: Value = serde_json::from_slice(file.get(8..8 + length)?).ok()?;
    let position: Value = serde_json::from_str(header["__metadata__"]["position"].as_str()?).ok()?;
    position["step"].as_u64()
}
