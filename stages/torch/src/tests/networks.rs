//! Every style of network, and options between them: against transformers, and the properties that all of them have.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use model::{Activation, Design, Head, ModelSettings, NetworkConfig, NormKind, PositionEmbedding, Style};
use serde_json::Value;
use tch::{Device, Tensor};

use super::{
    Collate, Masking, Row, VOCABULARY, alone, batch, config, facts, filled, greedy, greedy_plain, largest_difference, loaded, overfit, rows,
};
use crate::folder::{self, Loaded};
use crate::models::{self, Seen};
use crate::parameters::Parameters;
use crate::{logits, weights};

fn styled(style: Style) -> NetworkConfig {
    let head = if style.family() == model::Family::Gpt { Head::Causal } else { Head::Masked };
    NetworkConfig { design: Design::of(style, 2, 8), ..config(style.family(), head) }
}

/// Decoders of every option.
fn decoders() -> Vec<(&'static str, NetworkConfig)> {
    let llama = styled(Style::Llama);
    let with = |change: &dyn Fn(&mut Design)| {
        let mut network = llama.clone();
        (network.heads, network.design) = (4, Design::of(Style::Llama, 4, 4));
        change(&mut network.design);
        network
    };
    vec![
        ("gpt2", styled(Style::Gpt2)),
        ("llama", llama.clone()),
        ("qwen3", styled(Style::Qwen3)),
        ("shared keys", with(&|design| design.kv_heads = 2)),
        ("wide heads", with(&|design| (design.head_width, design.kv_heads) = (6, 1))),
        ("relu2", with(&|design| (design.activation, design.qk_norm) = (Activation::Relu2, true))),
        ("sinusoidal", with(&|design| (design.position_embedding, design.bias) = (PositionEmbedding::Sinusoidal, true))),
        (
            "learned",
            with(&|design| {
                design.position_embedding = PositionEmbedding::Learned;
                (design.norm, design.activation) = (NormKind::Layernorm, Activation::Geglu);
            }),
        ),
    ]
}

fn encoders() -> Vec<(&'static str, NetworkConfig)> {
    let mut modern = styled(Style::Modernbert);
    modern.layers = 3;
    modern.design.local = modern.design.local.map(|local| model::LocalAttention { window: 6, global_every: 2, ..local });
    vec![("bert", styled(Style::Bert)), ("modernbert", modern)]
}

/// The weights of tests/parity_networks.py.
pub(super) fn by_formula(parameters: &Parameters) {
    for (name, tensor) in parameters.named() {
        let start = name.bytes().enumerate().map(|(i, byte)| byte as usize * (i + 1)).sum::<usize>() % 1000;
        let one = if tensor.dim() == 1 && name.ends_with("weight") { 1.0 } else { 0.0 };
        let values: Vec<f32> = (0..tensor.numel()).map(|i| (one + 0.1 * (i as f64 * 0.7548776662 + start as f64).sin()) as f32).collect();
        tch::no_grad(|| tensor.shallow_clone().copy_(&Tensor::from_slice(&values).view(&tensor.size()[..])));
    }
}

fn check_golden(text: &str, style: Style) {
    let golden: Value = serde_json::from_str(text).unwrap();
    let config = NetworkConfig::from_json(&golden["config"]).unwrap();
    assert_eq!(config.style(), Some(style));
    let parameters = Parameters::new(Device::Cpu, 0);
    let network = models::build(&parameters.root(), &config);
    by_formula(&parameters);
    let ids: Vec<Vec<i64>> = serde_json::from_value(golden["ids"].clone()).unwrap();
    let expected: Vec<f32> = serde_json::from_value(golden["last_logits"].clone()).unwrap();
    let found = tch::no_grad(|| {
        let hidden = network.hidden(&Tensor::from_slice2(&ids), &Seen::default(), 0.0);
        let output = network.output();
        network.features(&hidden).linear(output.weight, output.bias)
    });
    let found = found.narrow(1, found.size()[1] - 3, 3).reshape([-1]);
    let difference = largest_difference(&found, &Tensor::from_slice(&expected));
    assert!(difference < 1e-5, "{style:?}: {difference}");
}

#[test]
fn logits_are_those_of_transformers() {
    let _alone = alone();
    check_golden(include_str!("../../../../tests/golden/models/gpt2.json"), Style::Gpt2);
    check_golden(include_str!("../../../../tests/golden/models/llama.json"), Style::Llama);
    check_golden(include_str!("../../../../tests/golden/models/qwen3.json"), Style::Qwen3);
    check_golden(include_str!("../../../../tests/golden/models/bert.json"), Style::Bert);
    check_golden(include_str!("../../../../tests/golden/models/modernbert.json"), Style::Modernbert);
}

#[test]
fn what_heads_say_is_what_those_of_transformers_say() {
    let _alone = alone();
    let cases: BTreeMap<String, Value> = serde_json::from_str(include_str!("../../../../tests/golden/models/heads.json")).unwrap();
    assert_eq!(cases.len(), 31);
    for (name, golden) in cases {
        let config = NetworkConfig::from_json(&golden["config"]).unwrap();
        let parameters = Parameters::new(Device::Cpu, 0);
        let network = models::build(&parameters.root(), &config);
        by_formula(&parameters);
        let input: logits::Input = serde_json::from_value(golden["input"].clone()).unwrap();
        let (found, pairs) = logits::logits(&Loaded { config, parameters, network }, &input).unwrap();
        for (found, expected) in [(Some(found), &golden["logits"]), (pairs, &golden["pairs"])] {
            let expected: Option<Vec<f32>> = serde_json::from_value(expected.clone()).unwrap();
            assert_eq!(found.is_some(), expected.is_some(), "{name}");
            let Some((found, expected)) = found.zip(expected) else { continue };
            let difference = largest_difference(&found.reshape([-1]), &Tensor::from_slice(&expected));
            assert!(difference < 1e-5, "{name}: {difference}");
        }
    }
}

#[test]
fn every_network_overfits_a_batch() {
    let _alone = alone();
    let rows = rows(8);
    for (name, config) in decoders() {
        for bf16 in [false, true] {
            let loss = overfit(config.clone(), &batch("packed", &rows, None), 120, bf16);
            assert!(loss < 0.1, "{name}, bf16 {bf16}: {loss}");
        }
    }
    for (name, config) in encoders() {
        let loss = overfit(config, &batch("packed", &rows, Some(Masking::of_tokens(0.3, 5))), 120, true);
        assert!(loss < 0.1, "{name}: {loss}");
    }
}

/// Folders need a tokenizer beside the weights.
fn save(dir: &Path, network: &Loaded) {
    let tokenizer = tempfile::tempdir().unwrap();
    std::fs::write(tokenizer.path().join("tokenizer.json"), "{}").unwrap();
    std::fs::write(tokenizer.path().join("tokenizer_config.json"), "{}").unwrap();
    folder::save(dir, &network.config, &network.parameters, tokenizer.path()).unwrap();
}

fn hidden(network: &Loaded, ids: &Tensor) -> Tensor {
    tch::no_grad(|| network.network.features(&network.network.hidden(ids, &Seen::default(), 0.0)))
}

#[test]
fn every_network_is_saved_and_read_back() {
    let _alone = alone();
    let ids = Tensor::from_slice2(&[[5i64, 6, 7, 8], [9, 10, 11, 12]]);
    for (name, config) in decoders().into_iter().chain(encoders()) {
        let (dir, before) = (tempfile::tempdir().unwrap(), loaded(config, 4));
        save(dir.path(), &before);
        let after = folder::load(dir.path(), Device::Cpu).unwrap();
        assert_eq!(after.config, before.config, "{name}");
        assert_eq!(hidden(&before, &ids), hidden(&after, &ids), "{name}");
    }
}

#[test]
fn weights_in_parts_and_without_a_common_beginning_are_read() {
    let _alone = alone();
    let ids = Tensor::from_slice2(&[[5i64, 6, 7, 8]]);
    for (name, config) in [("bert", styled(Style::Bert)), ("llama", styled(Style::Llama)), ("gpt2", styled(Style::Gpt2))] {
        let (dir, before) = (tempfile::tempdir().unwrap(), loaded(config, 4));
        save(dir.path(), &before);
        std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
        let bare =
            |name: &str| ["bert.", "model.", "transformer."].iter().find_map(|base| name.strip_prefix(base)).unwrap_or(name).to_string();
        let (mut map, mut parts) = (serde_json::Map::new(), [Vec::new(), Vec::new()]);
        for (i, (name, tensor)) in before.parameters.named().into_iter().enumerate() {
            map.insert(bare(&name), format!("model-{}.safetensors", i % 2).into());
            parts[i % 2].push((bare(&name), tensor));
        }
        for (i, part) in parts.iter().enumerate() {
            weights::save(&dir.path().join(format!("model-{i}.safetensors")), part, HashMap::new()).unwrap();
        }
        let index = serde_json::json!({"metadata": {}, "weight_map": map});
        std::fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
        assert_eq!(hidden(&before, &ids), hidden(&folder::load(dir.path(), Device::Cpu).unwrap(), &ids), "{name}");
    }
}

#[test]
fn cached_generation_is_plain_generation() {
    let _alone = alone();
    for (name, config) in decoders() {
        let loaded = loaded(config, 9);
        // Larger first weights make the choices differ.
        tch::no_grad(|| loaded.parameters.tensors().into_iter().filter(|x| x.dim() == 2).for_each(|mut x| drop(x.g_mul_scalar_(12.0))));
        let prompts: Vec<Vec<i64>> = rows(6).into_iter().map(|row| row.tokens[..3 + row.tokens.len() % 4].to_vec()).collect();
        let expected: Vec<_> = prompts.iter().map(|prompt| greedy_plain(&loaded, prompt, 2, 12)).collect();
        assert_eq!(greedy(&loaded, &prompts, 2, 12), expected, "{name}");
    }
}

/// Logits (time, vocabulary) of one row of documents that are kept apart, or of one that is whole.
fn of_row(loaded: &Loaded, tokens: &[i64], boundaries: Vec<usize>, causal: bool) -> Tensor {
    let (masking, documents) = ((!causal).then(|| Masking::of_tokens(0.0001, 1)), !boundaries.is_empty());
    // A causal batch leaves out the last token, which is a target alone.
    let tokens = if causal { [tokens, &[0]].concat() } else { tokens.to_vec() };
    let batch =
        filled(Collate { facts: facts("packed"), masking, denoising: None, documents }, &[Row { tokens, boundaries, ..Row::default() }]);
    let (network, output) = (&loaded.network, loaded.network.output());
    tch::no_grad(|| network.features(&network.hidden(&batch.ids, &batch.seen, 0.0)).squeeze_dim(0).linear(output.weight, output.bias))
}

#[test]
fn documents_of_a_row_are_as_alone_in_every_network() {
    let _alone = alone();
    let documents = [rows(6)[5].tokens[..13].to_vec(), rows(2)[1].tokens.clone()];
    let (all, first) = (documents.concat(), documents[0].len());
    for (name, config) in decoders().into_iter().chain(encoders()) {
        let causal = config.head == Head::Causal;
        let network = loaded(config, 11);
        let alone = Tensor::cat(&documents.each_ref().map(|document| of_row(&network, document, Vec::new(), causal)), 0);
        let together = of_row(&network, &all, vec![0, first, all.len()], causal);
        let bound = 1e-6 * alone.abs().max().double_value(&[]).max(1.0);
        let difference = largest_difference(&together, &alone);
        assert!(difference < bound, "{name}: {difference}");
        let whole = largest_difference(&of_row(&network, &all, Vec::new(), causal), &alone);
        assert!(whole > 100.0 * bound, "{name}: {whole}");
        // Another second document leaves the first one bit-equal.
        let mut changed = all.clone();
        changed[first..].iter_mut().for_each(|token| *token = (*token + 1) % VOCABULARY);
        let changed = of_row(&network, &changed, vec![0, first, all.len()], causal);
        assert_eq!(changed.narrow(0, 0, first as i64), together.narrow(0, 0, first as i64), "{name}");
    }
}

#[test]
fn padding_changes_no_class() {
    let _alone = alone();
    let head = Head::Classify { classes: vec!["a".into(), "b".into()] };
    for (name, config) in encoders() {
        let network = loaded(NetworkConfig { head: head.clone(), ..config }, 4);
        let rows = rows(6);
        let logits = |rows: &[Row]| {
            let batch = batch("classify", rows, None);
            tch::no_grad(|| network.network.classify(&network.network.hidden(&batch.ids, &batch.seen, 0.0), 0.0)).unwrap()
        };
        let one_by_one: Vec<Tensor> = rows.iter().map(|row| logits(std::slice::from_ref(row))).collect();
        assert!(largest_difference(&logits(&rows), &Tensor::cat(&one_by_one, 0)) < 1e-5, "{name}");
    }
}

#[test]
fn settings_are_what_is_built() {
    let settings: ModelSettings =
        serde_json::from_str(r#"{"family": "gpt", "style": "llama", "layers": 1, "width": 64, "heads": 4, "kv_heads": 2}"#).unwrap();
    let design = settings.design().unwrap();
    let mut config = styled(Style::Llama);
    (config.layers, config.width, config.heads, config.feed_forward) = (1, 64, 4, settings.inner_width(&design));
    config.design = design;
    let network = loaded(config, 1);
    let shapes: Vec<(String, Vec<i64>)> = network.parameters.named().into_iter().map(|(name, tensor)| (name, tensor.size())).collect();
    let expected = [
        ("model.embed_tokens.weight", vec![50, 64]),
        ("model.layers.0.input_layernorm.weight", vec![64]),
        ("model.layers.0.self_attn.q_proj.weight", vec![64, 64]),
        ("model.layers.0.self_attn.k_proj.weight", vec![32, 64]),
        ("model.layers.0.self_attn.v_proj.weight", vec![32, 64]),
        ("model.layers.0.self_attn.o_proj.weight", vec![64, 64]),
        ("model.layers.0.post_attention_layernorm.weight", vec![64]),
        ("model.layers.0.mlp.gate_proj.weight", vec![192, 64]),
        ("model.layers.0.mlp.up_proj.weight", vec![192, 64]),
        ("model.layers.0.mlp.down_proj.weight", vec![64, 192]),
        ("model.norm.weight", vec![64]),
        ("lm_head.weight", vec![50, 64]),
    ];
    assert_eq!(shapes, expected.map(|(name, shape)| (name.to_string(), shape)));
}
