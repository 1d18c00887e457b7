//! Whole jobs on small artifacts: training, going on after a stop, predicting.

mod predicting;
mod robust;
mod sequences;
mod tasks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};
use engine::Kind;
use engine::manifest::{FORMAT, FileManifest, Manifest, TableManifest, Usage};
use model::{Job, Predict, Report, Task, Train};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use shards::testing::write_packed;
use shards::{Width, examples};

use crate::tables::{self, Column};
use crate::worker::Worker;
use crate::{folder, predict, train};

const VOCABULARY: u32 = 40;

/// A folder with a manifest that lists these files: (path, table, split, rows).
pub(super) fn artifact(dir: &Path, kind: Kind, files: &[(&str, &str, Option<&str>, u64)], facts: Value) {
    let file = |(path, table, split, rows): &(&str, &str, Option<&str>, u64)| FileManifest {
        path: path.to_string(),
        table: Some(table.to_string()),
        split: split.map(str::to_string),
        rows: *rows,
        of: None,
        bytes: std::fs::metadata(dir.join(path)).unwrap().len(),
        blake3: String::new(),
        volatile: false,
    };
    let mut tables = BTreeMap::new();
    for (_, table, _, rows) in files {
        let entry = tables.entry(table.to_string()).or_insert(TableManifest { rows: 0, bytes: 0, columns: Vec::new() });
        entry.rows += rows;
    }
    let manifest = Manifest {
        format: FORMAT,
        kind,
        step: kind.name().into(),
        stage: kind.name().into(),
        version: 1,
        key: String::new(),
        key_parts: json!({ "settings": facts }),
        fingerprint: String::new(),
        tables,
        files: files.iter().map(file).collect(),
        counts: BTreeMap::new(),
        facts: serde_json::from_value(facts).unwrap(),
        usage: Usage::default(),
        finished: 0,
        program: String::new(),
    };
    std::fs::write(dir.join("manifest.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
}

fn facts(layout: &str, model: &str) -> Value {
    json!({
        "layout": layout, "model": model, "sequence_length": 16, "vocab_size": VOCABULARY, "dtype": "u16", "classes": ["ham", "spam"],
        "pad_id": 0, "bos_id": 1, "eos_id": 1, "cls_id": 2, "sep_id": 3, "mask_id": 4,
    })
}

/// Documents in which every token is followed by its neighbour, from a start of their own; they hold the tokens 5 to 35.
fn document(n: u32) -> Vec<u32> {
    (0..7 + n % 5).map(|i| 5 + (n * 11 + i) % 31).collect()
}

pub(super) struct World {
    root: tempfile::TempDir,
}

impl World {
    pub(super) fn new() -> World {
        let world = World { root: tempfile::tempdir().unwrap() };
        let dir = world.dir("tokenizer");
        let vocabulary: serde_json::Map<String, Value> = (0..VOCABULARY).map(|id| (format!("w{id}"), json!(id))).collect();
        let tokenizer =
            json!({"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"}});
        std::fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
        std::fs::write(dir.join("tokenizer_config.json"), "{}").unwrap();
        artifact(&dir, Kind::Tokenizer, &[], json!({}));
        world
    }

    pub(super) fn dir(&self, name: &str) -> PathBuf {
        let dir = self.root.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    pub(super) fn packed(&self, name: &str, model: &str) {
        let dir = self.dir(name);
        let (row, causal) = if model == "causal" { (17, true) } else { (16, false) };
        let mut files = Vec::new();
        for (split, from, to) in [("test", 300, 330), ("train", 0, 200), ("valid", 200, 230)] {
            let path = format!("tokens/split={split}/shard-00000.arrow");
            std::fs::create_dir_all(dir.join(&path).parent().unwrap()).unwrap();
            let documents: Vec<_> = (from..to).map(|n| (u128::from(n).to_le_bytes(), [document(n), vec![1]].concat())).collect();
            let rows = write_packed(&dir.join(&path), &documents, row, if causal { 1 } else { 2 }, causal).unwrap();
            files.push((path, split, rows));
        }
        let counts: Vec<i64> = (0..VOCABULARY as i64).map(|token| 10 + token).collect();
        let columns = vec![
            Column(Field::new("split", DataType::Utf8, false), Arc::new(StringArray::from(vec!["train"; VOCABULARY as usize]))),
            Column(Field::new("token", DataType::Int64, false), Arc::new((0..VOCABULARY as i64).collect::<Int64Array>())),
            Column(Field::new("count", DataType::Int64, false), Arc::new(Int64Array::from(counts))),
        ];
        tables::write(&dir, "unigrams", columns).unwrap();
        let mut listed: Vec<_> = files.iter().map(|(path, split, rows)| (path.as_str(), "tokens", Some(*split), *rows)).collect();
        listed.push(("unigrams/part-00000.parquet", "unigrams", None, VOCABULARY as u64));
        artifact(&dir, Kind::Tokens, &listed, facts("packed", model));
    }

    fn examples(&self, name: &str, layout: &str) {
        let dir = self.dir(name);
        let classify = layout == "classify";
        let columns = [if classify { ("label", examples::Kind::Int32) } else { ("labels", examples::Kind::Int32s) }];
        let mut files = Vec::new();
        for (split, from, to) in [("test", 100, 120), ("train", 0, 100)] {
            let path = format!("tokens/split={split}/shard-00000.arrow");
            std::fs::create_dir_all(dir.join(&path).parent().unwrap()).unwrap();
            let mut writer = examples::Writer::create(&dir.join(&path), &columns, Width::U16).unwrap();
            for n in from..to {
                let body = document(n);
                // A mail is spam when it begins with the token 7; every prompt is completed by the same two tokens.
                let (tokens, value) = if classify {
                    let label = n % 2;
                    let tokens = [vec![2, if label == 1 { 7 } else { 9 }], body, vec![3]].concat();
                    (tokens, examples::Value::Int32(label as i32))
                } else {
                    let prompt = body[..4 + n as usize % 3].to_vec();
                    let labels = [vec![shards::IGNORE as i32; prompt.len()], vec![38, 39, 1]].concat();
                    ([prompt, vec![38, 39, 1]].concat(), examples::Value::Int32s(labels))
                };
                writer.push(examples::Example { id: u128::from(n).to_le_bytes(), tokens, values: vec![value] }).unwrap();
            }
            files.push((path, split, writer.finish().unwrap()));
        }
        let listed: Vec<_> = files.iter().map(|(path, split, rows)| (path.as_str(), "tokens", Some(*split), *rows)).collect();
        artifact(&dir, Kind::Tokens, &listed, facts(layout, if classify { "masked" } else { "causal" }));
    }

    pub(super) fn job(&self, draft: &str, task: Task, inputs: &[(&str, &str)]) -> Job {
        let mut folders: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for (port, name) in inputs {
            folders.entry(port.to_string()).or_default().push(self.dir(name));
        }
        let (draft, device, meeting) = (self.dir(draft), "cpu".into(), PathBuf::new());
        let job = Job { task, inputs: folders, draft, seed: 42, threads: 1, memory: 1 << 30, device, ranks: 1, meeting };
        std::fs::create_dir_all(job.scratch("")).unwrap();
        job
    }

    /// Trains without a break and makes the draft an artifact.
    pub(super) fn train(&self, draft: &str, settings: Value, inputs: &[(&str, &str)]) -> Report {
        let settings: Train = serde_json::from_value(settings).unwrap();
        let job = self.job(draft, Task::Train(Box::new(settings.clone())), inputs);
        let report = train::train(&job, &settings, &mut worker(false)).unwrap().unwrap();
        artifact(&job.draft, Kind::Model, &[], json!(report.facts));
        report
    }

    pub(super) fn predict(&self, draft: &str, settings: Value, inputs: &[(&str, &str)]) -> (RecordBatch, Report) {
        let settings: Predict = serde_json::from_value(settings).unwrap();
        let job = self.job(draft, Task::Predict(settings.clone()), inputs);
        let report = predict::predict(&job, &settings, &mut worker(false)).unwrap().unwrap();
        (read_parts(&job.draft.join("predictions")), report)
    }
}

pub(super) fn worker(stop: bool) -> Worker {
    Worker::new(Arc::new(AtomicBool::new(stop)))
}

pub(super) fn read(path: &Path) -> RecordBatch {
    let file = std::fs::File::open(path).unwrap();
    ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(1 << 20).build().unwrap().next().unwrap().unwrap()
}

/// All parts of a table.
pub(super) fn read_parts(folder: &Path) -> RecordBatch {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let parts: Vec<RecordBatch> = paths.iter().map(|path| read(path)).collect();
    arrow::compute::concat_batches(&parts[0].schema(), &parts).unwrap()
}

pub(super) fn floats(batch: &RecordBatch, name: &str) -> Vec<f64> {
    batch
        .column_by_name(name)
        .unwrap()
        .as_any()
        .downcast_ref::<Float64Array>()
        .unwrap()
        .iter()
        .map(|value| value.unwrap_or(f64::NAN))
        .collect()
}

pub(super) fn strings(batch: &RecordBatch, name: &str) -> Vec<String> {
    let array = batch.column_by_name(name).unwrap().as_any().downcast_ref::<StringArray>().unwrap().clone();
    array.iter().map(|value| value.unwrap().to_string()).collect()
}

fn tiny(family: &str) -> Value {
    json!({"family": family, "layers": 1, "width": 16, "heads": 2})
}

const CAUSAL: [(&str, &str); 2] = [("tokens", "causal"), ("tokenizer", "tokenizer")];
const MASKED: [(&str, &str); 2] = [("tokens", "masked"), ("tokenizer", "tokenizer")];

#[test]
fn stopped_at_every_step_equals_undisturbed() {
    let _alone = super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    world.packed("masked", "masked");
    for (family, tokens) in [("gpt", "causal"), ("bert", "masked")] {
        let inputs = [("tokens", tokens), ("tokenizer", "tokenizer")];
        let settings = json!({
            "model": tiny(family), "steps": 7, "batch_size": 4, "accumulate": 2, "dropout": 0.1, "eval_interval_steps": 3,
            "checkpoint_interval_steps": 2,
        });
        let whole = format!("{family}-whole");
        let report = world.train(&whole, settings.clone(), &inputs);
        assert_eq!(report.facts["steps"], 7);

        let settings: Train = serde_json::from_value(settings).unwrap();
        let job = world.job(&format!("{family}-pieces"), Task::Train(Box::new(settings.clone())), &inputs);
        let mut runs = 1;
        while train::train(&job, &settings, &mut worker(true)).unwrap().is_none() {
            runs += 1;
            // What a killed run wrote after its last checkpoint does not count.
            let path = job.scratch("metrics.jsonl");
            std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "{\"step\": 99").unwrap();
        }
        assert_eq!(runs, 8);
        for file in [
            "model/model.safetensors",
            "metrics/part-00000.parquet",
            "parameters/part-00000.parquet",
            "samples/part-00000.parquet",
            "model/config.json",
        ] {
            let read = |draft: &str| std::fs::read(world.dir(draft).join(file)).unwrap();
            assert!(read(&whole) == read(&format!("{family}-pieces")), "{family}: {file} differs");
        }
        let metrics = read(&world.dir(&whole).join("metrics/part-00000.parquet"));
        let valid = strings(&metrics, "split").iter().filter(|split| *split == "valid").count();
        assert_eq!((metrics.num_rows(), valid), (10, 3));
    }
}

#[test]
fn a_resume_with_other_threads_is_refused() {
    let _alone = super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    let settings: Train = serde_json::from_value(json!({"model": tiny("gpt"), "steps": 3})).unwrap();
    let mut job = world.job("draft", Task::Train(Box::new(settings.clone())), &CAUSAL);
    assert!(train::train(&job, &settings, &mut worker(true)).unwrap().is_none());
    job.threads = 2;
    let error = train::train(&job, &settings, &mut worker(true)).unwrap_err().to_string();
    assert!(error.contains("begun with threads 1 and would go on with 2"), "{error}");
}

#[test]
fn learned_text_is_likelier_than_its_unigrams() {
    let _alone = super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    world.packed("masked", "masked");
    for (family, tokens) in [("gpt", "causal"), ("bert", "masked")] {
        let inputs = [("tokens", tokens), ("tokenizer", "tokenizer")];
        let model = json!({"family": family, "layers": 1, "width": 32, "heads": 2});
        let settings = json!({"model": model, "steps": 500, "learning_rate": 1e-2, "warmup_steps": 20});
        world.train(family, settings, &inputs);
        let (batch, report) = world.predict(&format!("{family}-predict"), json!({}), &[("model", family), ("tokens", tokens)]);
        assert_eq!(report.facts["task"], "language-modelling");
        let sum = |name| floats(&batch, name).iter().sum::<f64>();
        assert!(sum("nll") < 0.9 * sum("unigram_nll"), "{family}: {} {}", sum("nll"), sum("unigram_nll"));
        assert_eq!(report.facts.contains_key("masks"), family == "bert");
        let tokens = batch.column_by_name("tokens").unwrap().as_any().downcast_ref::<Int64Array>().unwrap().iter().flatten().sum::<i64>();
        // 30 documents of 9 tokens on average and their ends; the first token of all is predicted from the context.
        let all: i64 = (300..330).map(|n| document(n).len() as i64 + 1).sum();
        if family == "gpt" { assert_eq!(tokens, all) } else { assert!(tokens > all / 20 && tokens < all / 3) }
    }
}

#[test]
fn fine_tuning_goes_on_from_a_model() {
    let _alone = super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    world.packed("masked", "masked");
    world.examples("mails", "classify");
    world.examples("pairs", "complete");
    let begin = |family: &str| json!({"model": {"family": family, "layers": 1, "width": 16, "heads": 2, "positions": 32}, "steps": 2});
    world.train("gpt", begin("gpt"), &CAUSAL);
    world.train("bert", begin("bert"), &[("tokens", "masked"), ("tokenizer", "tokenizer")]);
    let tuning = json!({"epochs": 25, "learning_rate": 1e-2});

    let report = world.train("tuned-bert", tuning.clone(), &[("tokens", "mails"), ("tokenizer", "tokenizer"), ("model", "bert")]);
    assert_eq!(report.facts["objective"], "classify");
    let (batch, report) = world.predict("classes", json!({"batch_size": 7}), &[("model", "tuned-bert"), ("tokens", "mails")]);
    assert_eq!(report.facts["classes"], json!(["ham", "spam"]));
    assert_eq!(strings(&batch, "gold"), strings(&batch, "prediction"));

    let report = world.train("tuned-gpt", tuning, &[("tokens", "pairs"), ("tokenizer", "tokenizer"), ("model", "gpt")]);
    assert_eq!(report.facts["objective"], "complete");
    let (batch, _) = world.predict("texts", json!({"batch_size": 7}), &[("model", "tuned-gpt"), ("tokens", "pairs")]);
    assert_eq!(strings(&batch, "prediction"), vec!["w38 w39"; 20]);
    assert_eq!(strings(&batch, "stopped"), vec!["eos"; 20]);
}

#[test]
fn what_does_not_fit_is_said() {
    let _alone = super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    world.packed("masked", "masked");
    world.examples("mails", "classify");
    let check = |settings: Value, tokens: &str, expected: &str| {
        let settings: Train = serde_json::from_value(settings).unwrap();
        let job = world.job("draft", Task::Train(Box::new(settings.clone())), &[("tokens", tokens), ("tokenizer", "tokenizer")]);
        let error = format!("{:#}", train::train(&job, &settings, &mut worker(false)).err().unwrap());
        assert!(error.contains(expected), "{error}");
    };
    check(json!({"model": tiny("gpt"), "steps": 1}), "mails", "needs tokens for causal models, these are for masked ones");
    check(json!({"model": tiny("gpt"), "steps": 1}), "masked", "needs tokens for causal models, these are for masked ones");
    check(
        json!({"model": tiny("gpt"), "steps": 1, "objective": "masked"}),
        "causal",
        "objective `masked` does not fit a model of the family gpt",
    );
    check(
        json!({"model": tiny("gpt"), "steps": 1, "split": "trian"}),
        "causal",
        "no rows in the split `trian`; splits with rows: test, train, valid",
    );
    check(json!({"model": {"family": "gpt", "positions": 8}, "steps": 1}), "causal", "takes at most 8 tokens, the rows have 16");
}

/// A smaller tokenizer would be an index out of range within LibTorch, a larger one goes unseen.
#[test]
fn tokens_of_another_tokenizer_are_refused() {
    let _alone = super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    let settings: Train = serde_json::from_value(json!({"model": tiny("gpt"), "steps": 1})).unwrap();
    for ids in [VOCABULARY - 1, VOCABULARY, VOCABULARY + 1] {
        artifact(&world.dir("tokenizer"), Kind::Tokenizer, &[], json!({"vocab_size": ids}));
        let job = world.job(&format!("draft-{ids}"), Task::Train(Box::new(settings.clone())), &CAUSAL);
        let error = train::train(&job, &settings, &mut worker(false)).err().map(|error| format!("{error:#}")).unwrap_or_default();
        let expected = format!("were made with another tokenizer than that of step `tokenizer` (40 and {ids} ids)");
        assert!(error.contains(&expected) || (ids == VOCABULARY && error.is_empty()), "{error}");
    }
    // As many ids, and another file.
    let dir = world.dir("causal");
    let manifest = std::fs::read_to_string(dir.join("manifest.json")).unwrap();
    std::fs::write(dir.join("manifest.json"), manifest.replace("\"facts\":{", "\"facts\":{\"tokenizer\":\"abc\",")).unwrap();
    artifact(&world.dir("tokenizer"), Kind::Tokenizer, &[("tokenizer.json", "files", None, 0)], json!({"vocab_size": VOCABULARY}));
    let job = world.job("draft", Task::Train(Box::new(settings.clone())), &CAUSAL);
    let error = format!("{:#}", train::train(&job, &settings, &mut worker(false)).err().unwrap());
    assert!(error.contains("were made with another tokenizer than that of step `tokenizer`, so their ids"), "{error}");
}

#[test]
fn a_shard_that_was_cut_names_itself() {
    let _alone = super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    let path = world.dir("causal").join("tokens/split=train/shard-00000.arrow");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(shards::rows_of(&path).is_err());
    let settings: Train = serde_json::from_value(json!({"model": tiny("gpt"), "steps": 1})).unwrap();
    let job = world.job("draft", Task::Train(Box::new(settings.clone())), &CAUSAL);
    let error = format!("{:#}", train::train(&job, &settings, &mut worker(false)).err().unwrap());
    assert!(error.contains("shard-00000.arrow"), "{error}");
}

/// The column of whole numbers of a table.
fn integers(batch: &RecordBatch, name: &str) -> Vec<i64> {
    batch.column_by_name(name).unwrap().as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
}

#[test]
fn weights_choose_among_sources_and_samples_tell_which() {
    let _alone = super::alone();
    let world = World::new();
    for name in ["web", "books"] {
        world.packed(name, "causal");
        let path = world.dir(name).join("manifest.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"step\":\"tokens\"", &format!("\"step\":\"{name}\""))).unwrap();
    }
    let inputs = [("tokens", "web"), ("tokens", "books"), ("tokenizer", "tokenizer")];
    let settings = json!({
        "model": tiny("gpt"), "steps": 20, "batch_size": 10, "shuffle": "blocks", "document_mask": true,
        "sources": ["web", "books"], "weights": {"web": 0.9, "books": 0.1}, "curriculum": [{"from_share": 0.5, "weights": {"books": 1}}],
    });
    let report = world.train("mixed", settings.clone(), &inputs);
    assert_eq!(report.facts["document_mask"], true);
    let samples = read(&world.dir("mixed").join("samples/part-00000.parquet"));
    assert_eq!(integers(&samples, "sample"), (0..200).collect::<Vec<i64>>());
    assert_eq!(integers(&samples, "step"), (0..200).map(|sample| 1 + sample / 10).collect::<Vec<i64>>());
    let sources = strings(&samples, "source");
    let books = |range: std::ops::Range<usize>| sources[range].iter().filter(|source| *source == "books").count();
    assert!((9..=11).contains(&books(0..100)), "{}", books(0..100));
    assert_eq!(books(100..200), 100);

    let settings = json!({"model": tiny("gpt"), "epochs": 1});
    world.train("whole", settings, &inputs);
    let samples = read(&world.dir("whole").join("samples/part-00000.parquet"));
    let mut seen: Vec<(String, i64)> = strings(&samples, "source").into_iter().zip(integers(&samples, "row")).collect();
    seen.truncate(seen.len() / 16 * 16);
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert!(all - seen.len() < 16, "{} of {all} rows twice", all - seen.len());
}

#[test]
fn words_and_spans_are_masked() {
    let _alone = super::alone();
    let world = World::new();
    world.packed("masked", "masked");
    let inputs = [("tokens", "masked"), ("tokenizer", "tokenizer")];
    let settings = |masking: &str| json!({"model": tiny("bert"), "steps": 3, "masking": masking});
    let refused: Train = serde_json::from_value(settings("words")).unwrap();
    let job = world.job("refused", Task::Train(Box::new(refused.clone())), &inputs);
    let error = train::train(&job, &refused, &mut worker(false)).err().unwrap().to_string();
    assert!(error.contains("does not tell where words begin"), "{error}");
    // Every third word goes on with the one before.
    let path = world.dir("tokenizer").join("tokenizer.json");
    let text = (0..VOCABULARY)
        .step_by(3)
        .fold(std::fs::read_to_string(&path).unwrap(), |text, id| text.replace(&format!("\"w{id}\":"), &format!("\"##{id}\":")));
    std::fs::write(&path, text.replace("\"unk_token\":\"w0\"", "\"unk_token\":\"##0\"")).unwrap();
    for masking in ["words", "spans"] {
        world.train(masking, settings(masking), &inputs);
        let metrics = read(&world.dir(masking).join("metrics/part-00000.parquet"));
        assert!(floats(&metrics, "loss").iter().all(|loss| loss.is_finite()));
    }
}

#[test]
fn adapters_learn_and_the_rest_stays() {
    let _alone = super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    world.packed("masked", "masked");
    world.examples("mails", "classify");
    let begin = |model: Value| json!({"model": model, "steps": 30, "learning_rate": 1e-2});
    let llama = json!({"family": "gpt", "style": "llama", "layers": 1, "width": 16, "heads": 2, "positions": 32});
    world.train("llama", begin(llama), &CAUSAL);
    world.train("bert", begin(json!({"family": "bert", "layers": 1, "width": 16, "heads": 2, "positions": 32})), &MASKED);
    let weights = |name: &str| {
        let loaded = folder::load(&world.dir(name).join("model"), tch::Device::Cpu).unwrap();
        loaded.parameters.named().into_iter().collect::<BTreeMap<String, tch::Tensor>>()
    };
    let changed = |from: &str, to: &str| -> Vec<String> {
        let (from, to) = (weights(from), weights(to));
        to.into_iter().filter(|(name, tensor)| from.get(name) != Some(tensor)).map(|(name, _)| name).collect()
    };
    let lora = json!({"steps": 30, "learning_rate": 1e-2, "lora": {"rank": 2, "targets": ["q_proj", "v_proj"]}});
    world.train("adapted", lora, &[("tokens", "causal"), ("tokenizer", "tokenizer"), ("model", "llama")]);
    assert_eq!(changed("llama", "adapted"), ["model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.v_proj.weight"]);

    // From a folder; the new head is trained beside the adapters.
    let from = world.dir("bert").join("model");
    let lora = json!({"from": from, "epochs": 25, "learning_rate": 1e-2, "lora": {}});
    world.train("spam", lora, &[("tokens", "mails"), ("tokenizer", "tokenizer")]);
    let changed = changed("bert", "spam");
    assert!(changed.contains(&"bert.encoder.layer.0.attention.self.query.weight".to_string()), "{changed:?}");
    assert!(changed.contains(&"classifier.weight".to_string()), "{changed:?}");
    assert!(
        !changed.iter().any(|name| name.contains("lora") || name.contains("embeddings") || name.ends_with("query.bias")),
        "{changed:?}"
    );
    let (batch, _) = world.predict("classes", json!({}), &[("model", "spam"), ("tokens", "mails")]);
    assert_eq!(strings(&batch, "gold"), strings(&batch, "prediction"));

    let settings: Train = serde_json::from_value(json!({"from": from, "steps": 1, "lora": {"targets": ["q_proj"]}})).unwrap();
    let job = world.job("refused", Task::Train(Box::new(settings.clone())), &MASKED);
    let error = train::train(&job, &settings, &mut worker(false)).err().unwrap().to_string();
    assert!(error.contains("no projection is called `q_proj`; there are `dense`, `key`, `query`, `value`"), "{error}");
}

#[test]
fn a_folder_of_another_vocabulary_is_refused() {
    let _alone = super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    world.train("gpt", json!({"model": tiny("gpt"), "steps": 1}), &CAUSAL);
    let from = world.dir("gpt").join("model");
    let text = std::fs::read_to_string(from.join("tokenizer.json")).unwrap();
    std::fs::write(from.join("tokenizer.json"), text.replace("\"w7\"", "\"other\"")).unwrap();
    let settings: Train = serde_json::from_value(json!({"from": from, "steps": 1})).unwrap();
    let job = world.job("refused", Task::Train(Box::new(settings.clone())), &CAUSAL);
    let error = train::train(&job, &settings, &mut worker(false)).err().unwrap().to_string();
    assert!(error.contains("the run's tokenizer has other tokens than") && error.contains("import-tokenizer"), "{error}");
}
