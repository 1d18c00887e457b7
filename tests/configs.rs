//! Every config that is shipped can be planned: its settings, inputs and files fit together. What is fetched or trained beforehand is stubbed.

use std::path::Path;

use serde_json::json;

use crate::harness::Site;

/// Files of `data-samples/fetch.py`, as configs name them.
const FETCHED: &str = "data-samples/fetched/";
/// Where configs/tasks/pretrain.toml leaves its models.
const MODELS: &str = "runs/pretrain/steps/";

#[test]
fn every_shipped_config_can_be_planned() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let site = Site::new("");
    std::os::unix::fs::symlink(root.join("sql"), site.path().join("sql")).unwrap();
    std::fs::create_dir(site.path().join("data-samples")).unwrap();
    for folder in ["text", "mails", "translation", "tags"] {
        std::os::unix::fs::symlink(root.join("data-samples").join(folder), site.path().join("data-samples").join(folder)).unwrap();
    }
    let mut names: Vec<String> = Vec::new();
    for folder in ["configs", "configs/tasks"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let name = format!("{folder}/{}", entry.unwrap().file_name().into_string().unwrap());
            names.extend(name.ends_with(".toml").then_some(name));
        }
    }
    assert!(names.len() > 12, "the configs were not found: {names:?}");
    for name in &names {
        let text = std::fs::read_to_string(root.join(name)).unwrap();
        for file in text.split('"').filter(|part| part.starts_with(FETCHED)) {
            // Judgements of words are read while planning.
            let stub = if file.ends_with(".tsv") { "cat\tdog\t5\n" } else { ": animals\ncat cats dog dogs\n" };
            site.write(file, stub);
        }
        site.write(name, text);
    }
    models(&site);
    for name in &names {
        let done = site.mill(&["plan", name]);
        assert!(done.code == 0, "{name}: {}", done.stderr);
    }
}

/// Folders with a true config.json and files that are only there.
fn models(site: &Site) {
    let gpt = json!({"model_type": "gpt2", "vocab_size": 100, "n_positions": 128, "n_embd": 12, "n_layer": 1, "n_head": 2});
    let bert = json!({"model_type": "bert", "vocab_size": 100, "max_position_embeddings": 128, "hidden_size": 12, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 48, "type_vocab_size": 2});
    for (name, config) in [("gpt", gpt), ("bert", bert)] {
        site.write(&format!("{MODELS}{name}/model/config.json"), config.to_string());
        for file in ["model.safetensors", "tokenizer.json"] {
            site.write(&format!("{MODELS}{name}/model/{file}"), "");
        }
    }
}

/// A network from scratch that were another one than the pre-trained would be no comparison.
#[test]
fn networks_from_scratch_are_those_that_are_pre_trained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/tasks");
    let networks = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("model = {"));
        lines.map(|line| line.replace(", positions = 128", "")).collect()
    };
    let trained = networks(&std::fs::read_to_string(folder.join("pretrain.toml")).unwrap());
    assert_eq!(trained.len(), 2);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        for network in networks(&std::fs::read_to_string(&path).unwrap()) {
            assert!(trained.contains(&network), "{}: {network} is none of {trained:?}", path.display());
        }
    }
}
