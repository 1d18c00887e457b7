//! Evaluation sets against lm-evaluation-harness and the script of CrowS-Pairs (tests/golden/evaluate.py), for any batch size and number of threads;
//! words that fill a blank against probabilities that are asked of the network one by one.

use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use engine::{InputFile, Inputs};
use model::{Evaluate, Job, NetworkConfig, Report, Task};
use serde_json::{Value, json};
use tch::{Device, Kind};

use super::alone;
use super::jobs::{floats, read_parts, strings, worker};
use super::networks::by_formula;
use crate::evaluate::rolling::windows;
use crate::evaluate::{evaluate, shared};
use crate::logits::{Input, logits};
use crate::parameters::Parameters;
use crate::{folder, models};

fn golden() -> Value {
    let packed: &[u8] = include_bytes!("../../../../tests/golden/evaluate.json.gz");
    serde_json::from_reader(flate2::read::GzDecoder::new(packed)).unwrap()
}

/// The model folder of a case.
fn model(dir: &Path, case: &Value, names: Value) -> PathBuf {
    let config = NetworkConfig::from_json(&case["config"]).unwrap();
    let parameters = Parameters::new(Device::Cpu, 0);
    let _network = models::build(&parameters.root(), &config);
    by_formula(&parameters);
    let tokenizer = dir.join("tokenizer");
    std::fs::create_dir_all(&tokenizer).unwrap();
    std::fs::write(tokenizer.join("tokenizer.json"), case["tokenizer"].to_string()).unwrap();
    std::fs::write(tokenizer.join("tokenizer_config.json"), names.to_string()).unwrap();
    folder::save(&dir.join("model"), &config, &parameters, &tokenizer).unwrap();
    dir.join("model")
}

fn masked(dir: &Path, case: &Value) -> PathBuf {
    let names = json!({"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]", "pad_token": "[PAD]", "unk_token": "[UNK]"});
    model(dir, case, names)
}

/// A job in a draft of its own, with its rows rendered.
fn job(dir: &Path, folder: &Path, settings: Value, rows: &[Value]) -> anyhow::Result<(Job, Evaluate)> {
    let path = dir.join("rows.jsonl");
    std::fs::write(&path, rows.iter().map(|row| format!("{row}\n")).collect::<String>())?;
    let mut settings: Evaluate = serde_json::from_value(settings)?;
    settings.from = Some(folder.to_str().unwrap().into());
    (settings.dataset, settings.files) = (vec!["rows.jsonl".into()], vec![["rows.jsonl".into(), "hash".into()]]);
    settings.complete()?;
    let draft = tempfile::tempdir_in(dir)?.keep();
    let task = Task::Evaluate(Box::new(settings.clone()));
    let job = Job {
        task,
        inputs: Default::default(),
        draft,
        seed: 42,
        threads: 1,
        memory: 1 << 30,
        device: "cpu".into(),
        ranks: 1,
        meeting: PathBuf::new(),
    };
    let file = InputFile { path, relative: "rows.jsonl".into(), bytes: 0, hash: "hash".into() };
    let inputs = Inputs::new(Vec::new(), vec![file]);
    settings.write_items(&engine::testing::context(1), &inputs, &job.scratch(model::evaluate::items::FILE))?;
    Ok((job, settings))
}

fn evaluated(dir: &Path, folder: &Path, settings: Value, rows: &[Value]) -> anyhow::Result<(RecordBatch, Report)> {
    let (job, settings) = job(dir, folder, settings, rows)?;
    let report = evaluate(&job, &settings, &mut worker(false))?.expect("nobody stopped it");
    Ok((read_parts(&job.draft.join("predictions")), report))
}

fn likelihoods(batch: &RecordBatch, name: &str) -> Vec<Vec<f64>> {
    let lists = batch.column_by_name(name).unwrap().as_list::<i32>();
    (0..lists.len()).map(|row| lists.value(row).as_primitive::<Float64Type>().values().to_vec()).collect()
}

/// Sums of f32 beside sums of f64.
fn assert_close(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{what}: {found} {expected}");
}

const CHOICES: &str = r#"{
    "output": "multiple-choice", "doc_to_text": "{context}", "doc_to_choice": ["{continuation}", "{other}"], "doc_to_target": "0", "target_delimiter": ""
}"#;

fn with(settings: &str, more: Value) -> Value {
    let mut settings: Value = serde_json::from_str(settings).unwrap();
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

#[test]
fn log_likelihoods_are_those_of_lm_eval() {
    let _alone = alone();
    for case in golden()["causal"].as_array().unwrap() {
        let dir = tempfile::tempdir().unwrap();
        let folder = model(dir.path(), case, case["names"].clone());
        let pairs = case["pairs"].as_array().unwrap();
        // The other choice is that of another row, so that rows hold two.
        let row = |(pair, other): (&Value, &Value)| json!({"context": pair["context"], "continuation": pair["continuation"], "other": other["continuation"]});
        let rows: Vec<Value> = pairs.iter().zip(pairs.iter().skip(1).chain(pairs)).map(row).collect();
        for (batch_size, threads) in [(1, 1), (7, 2), (64, 1)] {
            tch::set_num_threads(threads);
            let settings = with(CHOICES, json!({"batch_size": batch_size, "unconditional": true}));
            let (found, report) = evaluated(dir.path(), &folder, settings, &rows).unwrap();
            for ((pair, found), alone) in pairs.iter().zip(likelihoods(&found, "log_likelihoods")).zip(likelihoods(&found, "unconditional"))
            {
                assert_close(found[0], &pair["log_likelihood"], &pair.to_string());
                if pair["context"] == "" {
                    assert_close(alone[0], &pair["log_likelihood"], &pair.to_string());
                }
            }
            assert_eq!((report.counts["rows"], report.counts["requests"]), (rows.len() as i64, 4 * rows.len() as i64));
            let cut = found.column_by_name("truncated").unwrap().as_primitive::<arrow::datatypes::Int64Type>();
            let rows_cut = cut.values().iter().filter(|cut| **cut > 0).count() as i64;
            assert!(rows_cut > 0 && rows_cut == report.counts["rows_truncated"], "{report:?}");
        }
        tch::set_num_threads(1);
    }
}

#[test]
fn rolling_log_likelihoods_are_those_of_lm_eval() {
    let _alone = alone();
    for case in golden()["causal"].as_array().unwrap() {
        let dir = tempfile::tempdir().unwrap();
        let folder = model(dir.path(), case, case["names"].clone());
        let rows = case["rolling"].as_array().unwrap();
        for batch_size in [1, 5, 40] {
            let settings = json!({"output": "rolling", "doc_to_target": "{text}", "batch_size": batch_size});
            let (found, report) = evaluated(dir.path(), &folder, settings, rows).unwrap();
            for ((row, nll), text) in rows.iter().zip(floats(&found, "nll")).zip(strings(&found, "text")) {
                assert_close(-nll, &row["log_likelihood"], &text);
                assert_eq!(row["text"], text);
            }
            assert_eq!(report.facts["task"], "language-modelling");
        }
    }
}

#[test]
fn texts_are_those_that_lm_eval_writes() {
    let _alone = alone();
    let mut cut = 0;
    for case in golden()["causal"].as_array().unwrap() {
        let dir = tempfile::tempdir().unwrap();
        let folder = model(dir.path(), case, case["names"].clone());
        let rows = case["written"].as_array().unwrap();
        for batch_size in [1, 4] {
            let settings = json!({
                "output": "generate", "doc_to_text": "{prompt}", "doc_to_target": "{text}", "target_delimiter": "", "stop": ["the"],
                "max_new_tokens": 9, "batch_size": batch_size,
            });
            let (found, report) = evaluated(dir.path(), &folder, settings, rows).unwrap();
            assert_eq!(strings(&found, "prediction"), strings(&found, "reference"));
            cut += report.counts["rows_truncated"];
        }
    }
    assert!(cut > 0, "no prompt was too long");
}

#[test]
fn pseudo_log_likelihoods_are_those_of_crows_pairs() {
    let _alone = alone();
    let case = &golden()["masked"];
    let dir = tempfile::tempdir().unwrap();
    let folder = masked(dir.path(), case);
    let pairs = case["pairs"].as_array().unwrap();
    for batch_size in [1, 6] {
        let settings = json!({"output": "contrast", "stereotype": "{more}", "anti_stereotype": "{less}", "batch_size": batch_size});
        let (found, _) = evaluated(dir.path(), &folder, settings, pairs).unwrap();
        for ((pair, more), less) in pairs.iter().zip(floats(&found, "stereotype")).zip(floats(&found, "anti_stereotype")) {
            assert_close(more, &pair["log_likelihoods"][0], &pair.to_string());
            assert_close(less, &pair["log_likelihoods"][1], &pair.to_string());
        }
    }
}

#[test]
fn a_word_that_fills_a_blank_has_the_mean_probability_of_its_tokens() {
    let _alone = alone();
    let mut case = golden()["masked"].clone();
    // With words of several tokens.
    let vocabulary = case["tokenizer"]["model"]["vocab"].clone();
    case["tokenizer"]["model"] = json!({"type": "WordPiece", "vocab": vocabulary, "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 99});
    let dir = tempfile::tempdir().unwrap();
    let folder = masked(dir.path(), &case);
    let loaded = folder::load(&folder, Device::Cpu).unwrap();
    let probability = |tokens: &str, token: &str| {
        let id = |token: &str| vocabulary[token].as_i64().unwrap();
        let place = tokens.split(' ').position(|token| token == "[MASK]").unwrap() as i64;
        let input = Input { ids: vec![tokens.split(' ').map(id).collect()], segments: None, target: None };
        logits(&loaded, &input).unwrap().0.softmax(-1, Kind::Double).double_value(&[0, place, id(token)])
    };
    let score = |probabilities: &[f64]| json!((probabilities.iter().sum::<f64>() / probabilities.len() as f64).ln());
    let expected = [
        score(&[
            probability("[CLS] the [MASK] is bad at home [SEP]", "doctor"),
            probability("[CLS] the doctor [MASK] is bad at home [SEP]", "##s"),
        ]),
        score(&[probability("[CLS] the [MASK] is bad at home [SEP]", "she")]),
        score(&[
            probability("[CLS] the [MASK] is bad at home [SEP]", "nurse"),
            probability("[CLS] the nurse [MASK] is bad at home [SEP]", "##s"),
            probability("[CLS] the nurse ##s [MASK] is bad at home [SEP]", "##ed"),
        ]),
    ];
    let row = |context: &str| json!({"context": context, "a": "the doctors is bad at home", "b": "the she is bad at home", "c": "the \"nursesed\" is bad"});
    let rows = [row("the BLANK is bad at home"), row("the BLANK is bad at home")];
    let settings = |batch_size: u64| json!({"output": "contrast", "stereotype": "{a}", "anti_stereotype": "{b}", "unrelated": "{c}", "context": "{context}", "batch_size": batch_size});
    for batch_size in [1, 5] {
        let (found, report) = evaluated(dir.path(), &folder, settings(batch_size), &rows).unwrap();
        for (name, expected) in ["stereotype", "anti_stereotype", "unrelated"].iter().zip(&expected) {
            floats(&found, name).into_iter().for_each(|found| assert_close(found, expected, name));
        }
        assert!(found.num_rows() == 2 && found.column_by_name("@context").is_none());
        assert_eq!(report.facts["likelihood"], "logarithm of the mean probability of the tokens at the blank, each without those after it");
    }
    let error = evaluated(dir.path(), &folder, settings(1), &[rows[0].clone(), row("the blank")]).unwrap_err();
    let expected = "`rows.jsonl`, line 2: masked models are asked of one `BLANK` in `context`, which is `the blank`";
    assert_eq!(format!("{error:#}"), expected);
}

#[test]
fn windows_are_those_of_lm_eval() {
    for case in golden()["windows"].as_array().unwrap() {
        let number = |name: &str| case[name].as_u64().unwrap() as usize;
        let tokens: Vec<i64> = (0..number("tokens") as i64).collect();
        assert_eq!(json!(windows(&tokens, 99, number("longest"), number("context"))), case["windows"], "{case}");
    }
}

#[test]
fn shared_tokens_are_those_of_difflib() {
    for case in golden()["shared"].as_array().unwrap() {
        let ids = |name: &str| serde_json::from_value::<Vec<i64>>(case[name].clone()).unwrap();
        assert_eq!(json!(shared(&ids("a"), &ids("b"))), case["shared"], "{case}");
    }
}

#[test]
fn a_killed_run_goes_on_and_wrong_rows_end_it_before_the_first_part() {
    let _alone = alone();
    let case = &golden()["causal"][0];
    let dir = tempfile::tempdir().unwrap();
    let folder = model(dir.path(), case, case["names"].clone());
    let row = |n: usize, choice: &str| json!({"context": format!("{n}"), "continuation": format!("{n} b"), "other": choice});
    let mut rows: Vec<Value> = (0..40).map(|n| row(n, "a")).collect();
    let (job, settings) = job(dir.path(), &folder, with(CHOICES, json!({"batch_size": 2})), &rows).unwrap();
    assert!(evaluate(&job, &settings, &mut worker(true)).unwrap().is_none());
    evaluate(&job, &settings, &mut worker(false)).unwrap().unwrap();
    let path = |part: usize| job.draft.join(format!("predictions/part-0000{part}.parquet"));
    let (first, second) = (std::fs::read(path(0)).unwrap(), std::fs::read(path(1)).unwrap());
    std::fs::write(path(0), "kept").unwrap();
    std::fs::remove_file(path(1)).unwrap();
    evaluate(&job, &settings, &mut worker(false)).unwrap().unwrap();
    assert_eq!((std::fs::read(path(0)).unwrap(), std::fs::read(path(1)).unwrap()), (b"kept".to_vec(), second));
    assert_ne!(first, b"kept");

    let refused = |rows: &[Value], more: Value| format!("{:#}", evaluated(dir.path(), &folder, with(CHOICES, more), rows).unwrap_err());
    rows[38] = row(38, "");
    let empty = "`rows.jsonl`, line 39: choice `` has no token of its own behind its prompt; change the choice or target_delimiter";
    assert_eq!(refused(&rows, json!({})), empty);
    rows[38] = row(38, &"的".repeat(40));
    assert!(refused(&rows, json!({})).ends_with("tokens, the model takes at most 32"));
    let draft = json!({"output": "generate", "doc_to_text": "{context}", "doc_to_target": "x", "max_new_tokens": 32});
    let error = format!("{:#}", evaluated(dir.path(), &folder, draft, &rows[..1]).unwrap_err());
    assert_eq!(error, "max_new_tokens = 32 leaves a prompt no room in the 32 tokens that the model takes; set it below 32");
}
