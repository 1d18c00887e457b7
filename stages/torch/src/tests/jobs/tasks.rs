//! Several tasks on one body.

use super::*;
use crate::folder::load;

/// Mails to classify and masked text, as two steps.
fn world() -> World {
    let world = World::new();
    world.packed("masked", "masked");
    world.examples("mails", "classify");
    for name in ["masked", "mails"] {
        let path = world.dir(name).join("manifest.json");
        let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        manifest["step"] = json!(name);
        std::fs::write(&path, manifest.to_string()).unwrap();
    }
    world
}

const INPUTS: [(&str, &str); 3] = [("tokens", "mails"), ("tokens", "masked"), ("tokenizer", "tokenizer")];

#[test]
fn tasks_stopped_at_every_step_equal_undisturbed() {
    let _alone = crate::tests::alone();
    let world = world();
    let settings = json!({
        "model": tiny("bert"), "multi_task": true, "steps": 9, "batch_size": 4, "accumulate": 2, "dropout": 0.1, "valid_split": "test",
        "eval_interval_steps": 3, "checkpoint_interval_steps": 2, "best_metric": "loss", "keep_last": 1,
    });
    let report = world.train("whole", settings.clone(), &INPUTS);
    assert_eq!(report.facts["tasks"], json!(["mails", "masked"]));
    assert_eq!(report.facts["objectives"], json!(["classify", "masked"]));
    let settings: Train = serde_json::from_value(settings).unwrap();
    let job = world.job("pieces", Task::Train(Box::new(settings.clone())), &INPUTS);
    while train::train(&job, &settings, &mut worker(true)).unwrap().is_none() {}
    for file in [
        "model/model.safetensors",
        "models/mails/model.safetensors",
        "models/masked/model.safetensors",
        "checkpoints/step-00000009/masked/model.safetensors",
        "metrics/part-00000.parquet",
        "parameters/part-00000.parquet",
        "samples/part-00000.parquet",
    ] {
        let read = |draft: &str| std::fs::read(world.dir(draft).join(file)).unwrap();
        assert!(read("whole") == read("pieces"), "{file} differs");
    }
    // A try has a row for each task; a step has one, of its task.
    let metrics = read(&world.dir("whole").join("metrics/part-00000.parquet"));
    let count = |split: &str, task: &str| {
        let rows = strings(&metrics, "split").into_iter().zip(strings(&metrics, "task"));
        rows.filter(|row| *row == (split.to_string(), task.to_string())).count()
    };
    assert_eq!([count("test", "mails"), count("test", "masked")], [3, 3]);
    assert!(count("train", "mails") > 0 && count("train", "mails") + count("train", "masked") == 9);
    // Each folder opens by itself; the body is the same, the heads are not.
    let [mails, masked] = ["mails", "masked"].map(|task| load(&world.dir("whole").join("models").join(task), tch::Device::Cpu).unwrap());
    let masked: std::collections::HashMap<_, _> = masked.parameters.named().into_iter().collect();
    let (shared, own): (Vec<_>, Vec<_>) = mails.parameters.named().into_iter().partition(|(name, _)| masked.contains_key(name));
    assert!(shared.iter().all(|(name, tensor)| *tensor == masked[name]) && shared.len() > 10);
    let own: Vec<&str> = own.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(own, ["bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"]);
}

#[test]
fn every_task_is_learned_and_predicted_by_its_head() {
    let _alone = crate::tests::alone();
    let world = world();
    let model = json!({"family": "bert", "layers": 1, "width": 32, "heads": 2});
    let settings = json!({"model": model, "multi_task": true, "steps": 900, "learning_rate": 5e-3, "warmup_steps": 20,
        "weights": {"mails": 1, "masked": 2}, "sources": ["mails", "masked"]});
    world.train("both", settings, &INPUTS);
    let samples = read(&world.dir("both").join("samples/part-00000.parquet"));
    let mails = strings(&samples, "source").iter().filter(|source| *source == "mails").count();
    assert!(mails.abs_diff(300 * 16) <= 3 * 16, "{mails}");
    let (batch, _) = world.predict("classes", json!({}), &[("model", "both"), ("tokens", "mails")]);
    assert_eq!(strings(&batch, "gold"), strings(&batch, "prediction"));
    let (batch, report) = world.predict("masks", json!({}), &[("model", "both"), ("tokens", "masked")]);
    assert_eq!(report.facts["task"], "language-modelling");
    let sum = |name| floats(&batch, name).iter().sum::<f64>();
    assert!(sum("nll") < 0.9 * sum("unigram_nll"), "{} {}", sum("nll"), sum("unigram_nll"));
    // A training of one of the tasks goes on from its own head.
    world.train("on", json!({"steps": 1, "learning_rate": 1e-9}), &[("tokens", "masked"), ("tokenizer", "tokenizer"), ("model", "both")]);
    let (again, _) = world.predict("again", json!({}), &[("model", "on"), ("tokens", "masked")]);
    assert!((floats(&again, "nll").iter().sum::<f64>() - sum("nll")).abs() < 1e-2);
}
