//! Jobs with all that makes training robust: averages, early ends, spikes, kept models, a growing batch, noise.

use tch::{Kind as Numbers, Tensor};

use super::*;
use crate::weights::Weights;

fn metrics(world: &World, draft: &str) -> RecordBatch {
    read(&world.dir(draft).join("metrics/part-00000.parquet"))
}

/// All files below a folder of a draft with their content, by path.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(name, content)| (Path::new(path.file_name().unwrap()).join(name), content)));
        } else {
            found.insert(path.file_name().unwrap().into(), std::fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn all_at_once_stopped_at_every_step_equals_undisturbed() {
    let _alone = super::super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    std::fs::write(world.dir("tokenizer").join("tokenizer_config.json"), r#"{"unk_token": "w0"}"#).unwrap();
    let settings = json!({
        "model": tiny("gpt"), "steps": 8, "batch_size": 4, "accumulate": 3, "batch_ramp_steps": 4, "dropout": 0.1, "eval_interval_steps": 3,
        "optimizer": "muon", "ema": 0.9, "token_noise": 0.1, "word_dropout": 0.1, "label_smoothing": 0.1, "l1": 1e-5, "clip_value": 0.5,
        "adversarial": {"method": "pgd", "steps": 2}, "best_metric": "loss", "on_spike": "skip", "spike_factor": 1.5, "prompts": ["w7 w8"],
        "checkpoint_interval_steps": 2, "keep_last": 1, "keep_every_steps": 4, "schedule": "wsd", "warmup_steps": 2,
    });
    let report = world.train("whole", settings.clone(), &CAUSAL);
    // 1 + 1 + 2 + 2 batches of the ramp and 4 × 3 more, of 4 rows each.
    assert_eq!((&report.facts["steps"], &report.facts["rows"]), (&json!(8), &json!(4 * 18)));
    let settings: Train = serde_json::from_value(settings).unwrap();
    let job = world.job("pieces", Task::Train(Box::new(settings.clone())), &CAUSAL);
    while train::train(&job, &settings, &mut worker(true)).unwrap().is_none() {
        for name in ["metrics.jsonl", "generations.jsonl", "spikes.jsonl"] {
            let path = job.scratch(name);
            std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "{\"step\": 99").unwrap();
        }
    }
    for folder in ["model", "metrics", "parameters", "samples", "generations", "spikes", "checkpoints"] {
        let [whole, pieces] = ["whole", "pieces"].map(|draft| files(&world.dir(draft).join(folder)));
        assert!(!whole.is_empty() && whole.keys().eq(pieces.keys()), "{folder}: {:?} {:?}", whole.keys(), pieces.keys());
        for (name, content) in whole {
            assert!(content == pieces[&name], "{folder}/{} differs", name.display());
        }
    }
    let kept: Vec<String> = files(&world.dir("whole").join("checkpoints"))
        .keys()
        .filter(|path| path.ends_with("model.safetensors"))
        .map(|path| path.parent().unwrap().display().to_string())
        .collect();
    assert_eq!(kept, ["step-00000004", "step-00000008"]);
    let generations = read(&world.dir("whole").join("generations/part-00000.parquet"));
    assert_eq!(integers(&generations, "step"), [3, 6, 8]);
    assert_eq!(strings(&generations, "prompt"), vec!["w7 w8"; 3]);
}

#[test]
fn killed_twice_with_muon_equals_undisturbed() {
    let _alone = super::super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    let settings = json!({
        "model": tiny("gpt"), "steps": 9, "batch_size": 4, "dropout": 0.2, "optimizer": "muon", "ema": 0.95, "eval_interval_steps": 2,
        "checkpoint_interval_steps": 3, "best_metric": "loss",
    });
    world.train("whole", settings.clone(), &CAUSAL);
    let settings: Train = serde_json::from_value(settings).unwrap();
    let job = world.job("killed", Task::Train(Box::new(settings.clone())), &CAUSAL);
    // A run that is killed leaves the checkpoint of an earlier step and later files beside it.
    let mut before: Option<Vec<u8>> = None;
    for run in 0.. {
        let done = train::train(&job, &settings, &mut worker(true)).unwrap().is_some();
        let checkpoint = job.scratch("checkpoint.safetensors");
        match (run, &before) {
            (3 | 6, Some(before)) => std::fs::write(&checkpoint, before).unwrap(),
            _ => before = Some(std::fs::read(&checkpoint).unwrap()),
        }
        if done {
            break;
        }
    }
    for folder in ["model", "metrics", "samples"] {
        assert!(files(&world.dir("whole").join(folder)) == files(&world.dir("killed").join(folder)), "{folder} differs");
    }
}

#[test]
fn patience_ends_early_with_the_best_model() {
    let _alone = super::super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    let settings = |steps: u64, more: Value| {
        let mut settings = json!({"model": tiny("gpt"), "steps": steps, "batch_size": 4, "schedule": "constant", "eval_interval_steps": 2});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    };
    // No later try is better by as much, so the first one stays the best.
    let patient = json!({"best_metric": "loss", "patience": 2, "min_improvement": 10.0});
    let report = world.train("patient", settings(100, patient), &CAUSAL);
    assert_eq!((&report.facts["steps"], &report.facts["best_step"]), (&json!(6), &json!(2)));
    world.train("short", settings(2, json!({})), &CAUSAL);
    let model = |draft: &str| std::fs::read(world.dir(draft).join("model/model.safetensors")).unwrap();
    assert!(model("patient") == model("short"));
    let samples = read(&world.dir("patient").join("samples/part-00000.parquet"));
    assert_eq!(samples.num_rows(), 6 * 4);

    let refused: Train = serde_json::from_value(settings(3, json!({"best_metric": "loss", "valid_split": "dev"}))).unwrap();
    let job = world.job("refused", Task::Train(Box::new(refused.clone())), &CAUSAL);
    let error = train::train(&job, &refused, &mut worker(false)).err().unwrap().to_string();
    assert_eq!(error, "best_metric needs rows in the split `dev`; splits with rows: test, train, valid");
}

#[test]
fn embeddings_are_held_against_what_people_say() {
    let _alone = super::super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    let tokenizer = world.dir("tokenizer").join("tokenizer.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&tokenizer).unwrap()).unwrap();
    json["pre_tokenizer"] = json!({"type": "Split", "pattern": {"String": "+"}, "behavior": "Removed", "invert": false});
    std::fs::write(&tokenizer, json.to_string()).unwrap();
    let file = |name: &str, text: &str| {
        let path = world.root.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let settings = json!({
        "model": tiny("gpt"), "steps": 4, "batch_size": 4, "eval_interval_steps": 2,
        "word_similarity": [file("pairs", "w1 w2 3\nw1 w3+w4 1\nw5 w6 2\n")], "word_analogies": [file("analogies", "w1 w2 w5 w6\nw1 w2 w5 w7\n")],
    });
    world.train("judged", settings, &CAUSAL);

    let model = folder::load(&world.dir("judged/model"), tch::Device::Cpu).unwrap();
    let (_, embeddings) = crate::embeddings::of(&model.parameters).unwrap();
    let of = |id: i64| embeddings.get(id).detach();
    let cosine = |a: &Tensor, b: &Tensor| ((a * b).sum(Numbers::Float) / (a.norm() * b.norm())).double_value(&[]);
    // One word of two tokens has the mean of both.
    let cosines = [cosine(&of(1), &of(2)), cosine(&of(1), &((of(3) + of(4)) / 2)), cosine(&of(5), &of(6))];
    let rank = |value: f64| cosines.iter().filter(|other| **other < value).count() as f64;
    let [one, two, three] = cosines.map(rank);
    // Spearman of three pairs, 1 - 6 Σ d² / (n (n² - 1)).
    let expected = 1.0 - 6.0 * ((one - 2.0).powi(2) + two.powi(2) + (three - 1.0).powi(2)) / 24.0;
    let metrics = metrics(&world, "judged");
    let found = floats(&metrics, "word_similarity");
    assert!((found.last().unwrap() - expected).abs() < 1e-12, "{found:?}, not {expected}");
    let right = floats(&metrics, "analogy_accuracy");
    // Both questions have the same answer, so at most one is right.
    assert!([0.0, 0.5].contains(right.last().unwrap()), "{right:?}");
    let tried: Vec<String> =
        strings(&metrics, "split").into_iter().zip(&found).filter(|(_, value)| !value.is_nan()).map(|(split, _)| split).collect();
    assert_eq!(tried, ["valid", "valid"]);
}

#[test]
fn the_average_is_saved() {
    let _alone = super::super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    world.train("averaged", json!({"model": tiny("gpt"), "steps": 5, "ema": 0.9}), &CAUSAL);
    let saved = Weights::open(&world.dir("averaged").join("model/model.safetensors")).unwrap();
    let checkpoint = Weights::open(&world.dir("averaged").join("scratch/checkpoint.safetensors")).unwrap();
    let of = |weights: &Weights, name: &str| {
        let tensor = tch::Tensor::zeros([16], (tch::Kind::Float, tch::Device::Cpu));
        assert!(weights.load(&[(name.to_string(), tensor.shallow_clone())]).unwrap().is_empty(), "{name}");
        tensor
    };
    let name = "transformer.ln_f.weight";
    assert_eq!(of(&saved, name), of(&checkpoint, &format!("ema.{name}")));
    assert_ne!(of(&saved, name), of(&checkpoint, &format!("weight.{name}")));
}

#[test]
fn spikes_name_their_documents() {
    let _alone = super::super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    // Far too high a rate.
    let wild = |on_spike: &str| {
        json!({
            "model": tiny("gpt"), "steps": 50, "optimizer": "sgd", "weight_decay": 0.1, "learning_rate": 1e12, "grad_clip": 0, "batch_size": 2,
            "on_spike": on_spike,
        })
    };
    let error_of = |on_spike: &str| {
        let settings: Train = serde_json::from_value(wild(on_spike)).unwrap();
        let job = world.job(on_spike, Task::Train(Box::new(settings.clone())), &CAUSAL);
        train::train(&job, &settings, &mut worker(false)).err().unwrap().to_string()
    };
    let error = error_of("stop");
    assert!(error.contains("; its documents are ") && error.contains("lower learning_rate"), "{error}");
    assert!(error.contains("with which the training begins again at its first step"), "{error}");
    let listed = std::fs::read_to_string(world.dir("stop").join("scratch/spikes.jsonl")).unwrap();
    let named = error.split("its documents are ").nth(1).unwrap().split([',', ' ', ';']).next().unwrap();
    assert!(named.len() == 32 && listed.contains(named), "{error}");
    assert!(error_of("skip").contains("that were 10 such steps in a row"));

    let settings = json!({
        "model": tiny("gpt"), "steps": 60, "batch_size": 4, "learning_rate": 1e-9, "on_spike": "skip", "spike_factor": 1.001,
    });
    world.train("skipped", settings, &CAUSAL);
    let (spikes, samples) = (world.dir("skipped").join("spikes"), world.dir("skipped").join("samples"));
    let [spikes, samples] = [spikes, samples].map(|table| read(&table.join("part-00000.parquet")));
    let seen: Vec<(i64, i64)> = integers(&samples, "step").into_iter().zip(integers(&samples, "row")).collect();
    let found: Vec<(i64, i64)> = integers(&spikes, "step").into_iter().zip(integers(&spikes, "row")).collect();
    assert!(!found.is_empty() && found.iter().all(|place| place.0 > 20 && seen.contains(place)), "{found:?}");
    // Exactly the steps whose loss is above the mean of the good ones before.
    let losses = floats(&metrics(&world, "skipped"), "loss");
    let mut good: Vec<f64> = Vec::new();
    for step in 1..=60 {
        let usual = good.iter().sum::<f64>() / good.len() as f64;
        let loss = losses[step as usize - 1];
        let is_spike = good.len() >= 20 && loss > 1.001 * usual;
        assert_eq!(found.iter().any(|place| place.0 == step), is_spike, "step {step}: {loss} {usual}");
        if !is_spike {
            good.push(loss);
        }
    }
}

#[test]
fn where_nothing_is_hidden_nothing_is_learned_and_there_is_no_loss() {
    let _alone = super::super::alone();
    let world = World::new();
    world.packed("masked", "masked");
    let settings = |steps: u64| json!({"model": tiny("bert"), "steps": steps, "batch_size": 2, "masked_probability": 1e-12});
    world.train("few", settings(3), &MASKED);
    world.train("more", settings(9), &MASKED);
    let metrics = metrics(&world, "few");
    assert_eq!(strings(&metrics, "split"), ["train", "train", "train", "valid"]);
    assert_eq!(integers(&metrics, "tokens"), [0; 4]);
    for name in ["loss", "perplexity", "accuracy"] {
        assert!(floats(&metrics, name).iter().all(|value| value.is_nan()), "{name}");
    }
    let model = |draft: &str| std::fs::read(world.dir(draft).join("model/model.safetensors")).unwrap();
    assert!(model("few") == model("more"), "decay alone is no step");
    // One by one, some rows have nothing to predict.
    let predicted = |size: u64| {
        let settings = json!({"batch_size": size, "masked_probability": 0.1});
        let (batch, _) = world.predict(&format!("predicted-{size}"), settings, &[("model", "few"), ("tokens", "masked")]);
        (integers(&batch, "row"), integers(&batch, "tokens"))
    };
    assert_eq!(predicted(1), predicted(7));
}

#[test]
fn scores_that_are_no_numbers_do_not_end_a_training_that_skips_them() {
    let _alone = super::super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    let path = world.dir("causal").join("manifest.json");
    let manifest = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, manifest.replace("\"facts\":{", "\"facts\":{\"weights\":true,")).unwrap();
    world.train("good", json!({"model": tiny("gpt"), "steps": 1}), &CAUSAL);
    assert!(floats(&metrics(&world, "good"), "weighted_loss").iter().all(|loss| loss.is_finite()));
    let from = world.dir("good").join("model");
    let model = folder::load(&from, tch::Device::Cpu).unwrap();
    tch::no_grad(|| model.parameters.tensors().into_iter().for_each(|mut tensor| drop(tensor.fill_(f64::NAN))));
    folder::save(&from, &model.config, &model.parameters, &world.dir("tokenizer")).unwrap();
    world.train("skipped", json!({"from": from, "steps": 5, "on_spike": "skip"}), &CAUSAL);
    let metrics = metrics(&world, "skipped");
    assert_eq!(metrics.num_rows(), 6);
    assert!(floats(&metrics, "loss").iter().all(|loss| loss.is_nan()) && metrics.column_by_name("weighted_loss").is_none());
}

#[test]
fn a_carried_state_that_is_not_finite_begins_again() {
    let _alone = super::super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    let model = json!({"family": "rnn", "layers": 1, "width": 16});
    let settings = json!({"model": model, "steps": 4, "batch_size": 4, "carry_state": true, "on_spike": "skip"});
    let settings: Train = serde_json::from_value(settings).unwrap();
    let job = world.job("carried", Task::Train(Box::new(settings.clone())), &CAUSAL);
    assert!(train::train(&job, &settings, &mut worker(true)).unwrap().is_none());
    // What the first step left.
    let path = job.scratch("checkpoint.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..start]).unwrap();
    let [from, to]: [usize; 2] = serde_json::from_value(header["carried.0"]["data_offsets"].clone()).unwrap();
    bytes[start + from..start + to].chunks_exact_mut(4).for_each(|value| value.copy_from_slice(&f32::NAN.to_le_bytes()));
    // Under another name, so that the values are not held against it.
    let checksum = bytes.windows(8).position(|window| window == b"checksum").unwrap();
    bytes[checksum] = b'C';
    std::fs::write(&path, bytes).unwrap();
    train::train(&job, &settings, &mut worker(false)).unwrap().unwrap();
    let finite: Vec<bool> = floats(&metrics(&world, "carried"), "loss").iter().map(|loss| loss.is_finite()).collect();
    assert_eq!(finite, [true, false, true, true, true]);
}

#[test]
fn bits_per_byte_count_the_bytes_of_all_predictions() {
    let _alone = super::super::alone();
    let world = World::new();
    world.packed("causal", "causal");
    let path = world.dir("tokenizer").join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    tokenizer["decoder"] = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    world.train("bytes", json!({"model": tiny("gpt"), "steps": 2, "eval_batches": 100}), &CAUSAL);
    let batch = metrics(&world, "bytes");
    let valid = strings(&batch, "split").iter().position(|split| split == "valid").unwrap();
    // The tokens 0 to 9 are two characters long, the others three.
    let tokens: Vec<u32> = (200..230).flat_map(|n| [document(n), vec![1]].concat()).collect();
    let bytes: usize = tokens.iter().map(|token| if *token < 10 { 2 } else { 3 }).sum();
    assert_eq!(integers(&batch, "tokens")[valid], tokens.len() as i64);
    let expected = floats(&batch, "loss")[valid] * tokens.len() as f64 / std::f64::consts::LN_2 / bytes as f64;
    assert!((floats(&batch, "bits_per_byte")[valid] - expected).abs() < 1e-9);
    assert!(floats(&batch, "bits_per_byte")[0].is_nan());
    let timings = read(&world.dir("bytes").join("timings/part-00000.parquet"));
    assert!(floats(&timings, "flops_utilization").iter().all(|share| *share > 0.0 && *share < 1.0));
}
