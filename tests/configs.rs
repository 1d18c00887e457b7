//! Every config that is shipped can be planned: its settings, inputs and files fit together. What is fetched or trained beforehand is stubbed.

use std::path::Path;

use serde_json::json;

use crate::harness::Site;

/// Files of `data-samples/fetch.py`, as configs name them.
const FETCHED: &str = "data-samples/fetched/";
/// Where configs/tasks/pretrain.toml leaves its models.
const MODELS: &str = "runs/pretrain/steps/";
/// A published model among what is fetched, and its network.
const MINILM: &str = "data-samples/fetched/all-MiniLM-L6-v2";
const MINILM_NETWORK: &str = "{ family = \"bert\", layers = 6, width = 384, heads = 12, positions = 512 }";

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
        for file in text.split('"').filter(|part| part.starts_with(FETCHED) && !part.starts_with(MINILM)) {
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
    for (folder, config) in [(format!("{MODELS}gpt/model"), &gpt), (format!("{MODELS}bert/model"), &bert), (MINILM.into(), &bert)] {
        site.write(&format!("{folder}/config.json"), config.to_string());
        site.write(&format!("{folder}/tokenizer.json"), "");
        // The length of a header without tensors, and that header.
        site.write(&format!("{folder}/model.safetensors"), "\u{2}\0\0\0\0\0\0\0{}");
    }
}

/// A network from scratch that were another one than the pre-trained would be no comparison.
#[test]
fn networks_from_scratch_are_those_that_are_pre_trained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/tasks");
    let pretrain = std::fs::read_to_string(folder.join("pretrain.toml")).unwrap();
    let mut compared = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for step in text.split("[[step]]") {
            let name = setting(step, "name").unwrap_or_default().trim_matches('"');
            let Some((tuned, network)) = name.strip_suffix("_scratch").zip(setting(step, "model")) else { continue };
            let start = setting(named(&text, tuned), "from").unwrap().trim_matches('"');
            let expected = match start.strip_prefix(MODELS) {
                Some(model) => setting(named(&pretrain, model.trim_end_matches("/model")), "model").unwrap(),
                None if start == MINILM => MINILM_NETWORK,
                None => panic!("{}: the network of {start} is not known", path.display()),
            };
            let known = [expected.into(), expected.replace(" }", ", positions = 128 }")];
            assert!(known.contains(&network.to_string()), "{}: {name} is {network}, {tuned} {expected}", path.display());
            compared += 1;
        }
    }
    assert!(compared > 8, "only {compared} networks from scratch were found");
}

/// The step of this name.
fn named<'a>(config: &'a str, name: &str) -> &'a str {
    let line = format!("name = \"{name}\"");
    config.split("[[step]]").find(|step| step.lines().any(|found| found == line)).unwrap_or_else(|| panic!("no step {name}"))
}

/// What a line of a step sets.
fn setting<'a>(step: &'a str, key: &str) -> Option<&'a str> {
    step.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))
}
