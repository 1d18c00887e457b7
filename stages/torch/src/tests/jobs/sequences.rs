//! Whole jobs of recurrent and encoder–decoder networks.

use super::*;

impl World {
    /// Each target is the source backwards, every token another one.
    pub(super) fn translations(&self, name: &str) {
        let dir = self.dir(name);
        let mut files = Vec::new();
        for (split, from, to) in [("test", 0, 20), ("train", 0, 60)] {
            let path = format!("tokens/split={split}/shard-00000.arrow");
            std::fs::create_dir_all(dir.join(&path).parent().unwrap()).unwrap();
            let mut writer = examples::Writer::create(&dir.join(&path), &[("labels", examples::Kind::Int32s)], Width::U16).unwrap();
            for n in from..to {
                let source = &document(n)[..3 + n as usize % 4];
                // Longer than the source.
                let target = source.iter().rev().map(|token| *token as i32 + 3).chain([9, 1]).collect();
                let tokens = [source, &[1]].concat();
                writer
                    .push(examples::Example { id: u128::from(n).to_le_bytes(), tokens, values: vec![examples::Value::Int32s(target)] })
                    .unwrap();
            }
            files.push((path, split, writer.finish().unwrap()));
        }
        let listed: Vec<_> = files.iter().map(|(path, split, rows)| (path.as_str(), "tokens", Some(*split), *rows)).collect();
        let mut facts = facts("translate", "encoder-decoder");
        facts["target_length"] = json!(18);
        artifact(&dir, Kind::Tokens, &listed, facts);
    }

    /// Gives the tokenizer sentinels.
    fn sentinels(&self) {
        let path = self.dir("tokenizer").join("tokenizer.json");
        let text =
            std::fs::read_to_string(&path).unwrap().replace("\"w39\":", "\"<extra_id_0>\":").replace("\"w38\":", "\"<extra_id_1>\":");
        std::fs::write(path, text).unwrap();
    }
}

fn seq2seq(style: &str) -> Value {
    json!({"family": "seq2seq", "layers": 1, "width": 32, "heads": 2, "seq2seq": {"style": style}})
}

#[test]
fn stopped_sequences_equal_undisturbed_ones() {
    let _alone = crate::tests::alone();
    let world = World::new();
    world.packed("causal", "causal");
    world.translations("pairs");
    world.sentinels();
    let lstm = json!({"family": "rnn", "layers": 2, "width": 16});
    for (name, tokens, more) in [
        ("lstm", "causal", json!({"model": lstm, "carry_state": true})),
        ("marian", "pairs", json!({"model": seq2seq("marian"), "valid_split": "test"})),
        ("t5", "causal", json!({"model": seq2seq("t5")})),
    ] {
        let inputs = [("tokens", tokens), ("tokenizer", "tokenizer")];
        let mut settings = json!({
            "steps": 6, "batch_size": 4, "accumulate": 2, "dropout": 0.1, "eval_interval_steps": 3, "checkpoint_interval_steps": 2,
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let whole = format!("{name}-whole");
        world.train(&whole, settings.clone(), &inputs);
        let settings: Train = serde_json::from_value(settings).unwrap();
        let job = world.job(&format!("{name}-pieces"), Task::Train(Box::new(settings.clone())), &inputs);
        while train::train(&job, &settings, &mut worker(true)).unwrap().is_none() {}
        for file in ["model/model.safetensors", "metrics/part-00000.parquet", "samples/part-00000.parquet"] {
            let read = |draft: &str| std::fs::read(world.dir(draft).join(file)).unwrap();
            assert!(read(&whole) == read(&format!("{name}-pieces")), "{name}: {file} differs");
        }
    }
    // Each of the four lanes reads on.
    let samples = read(&world.dir("lstm-whole").join("samples/part-00000.parquet"));
    let rows = integers(&samples, "row");
    assert!((4..rows.len()).all(|i| rows[i] == rows[i - 4] + 1), "{rows:?}");
}

#[test]
fn a_carried_state_predicts_better() {
    let _alone = crate::tests::alone();
    let world = World::new();
    world.packed("causal", "causal");
    let model = json!({"family": "rnn", "layers": 1, "width": 32, "rnn": {"cell": "gru"}});
    let settings = json!({"model": model, "steps": 300, "learning_rate": 1e-2, "warmup_steps": 20, "carry_state": true});
    let report = world.train("rnn", settings, &CAUSAL);
    assert_eq!(report.facts["carry_state"], true);
    let (batch, report) = world.predict("carried", json!({"batch_size": 2}), &[("model", "rnn"), ("tokens", "causal")]);
    assert_eq!(report.facts["carried_rows"], 128);
    let (tokens, nll) = (integers(&batch, "tokens").iter().sum::<i64>(), floats(&batch, "nll").iter().sum::<f64>());
    assert_eq!(tokens, (300..330).map(|n| document(n).len() as i64 + 1).sum::<i64>());
    // The same model as one that does not carry on: each row begins at zero.
    artifact(&world.dir("rnn"), Kind::Model, &[], json!({"carry_state": false}));
    let (apart, _) = world.predict("apart", json!({}), &[("model", "rnn"), ("tokens", "causal")]);
    assert!(nll < floats(&apart, "nll").iter().sum::<f64>(), "{nll}");
    assert!(nll < 0.6 * floats(&batch, "unigram_nll").iter().sum::<f64>(), "{nll}");
}

#[test]
fn recurrent_networks_go_on_with_prompts() {
    let _alone = crate::tests::alone();
    let world = World::new();
    world.packed("causal", "causal");
    let model = json!({"family": "rnn", "layers": 1, "width": 32, "rnn": {"cell": "gru"}});
    let settings = json!({
        "model": model, "steps": 300, "learning_rate": 1e-2, "warmup_steps": 20, "prompts": ["w7 w8 w9", "w20"], "prompt_tokens": 4,
        "eval_interval_steps": 0,
    });
    world.train("rnn", settings, &CAUSAL);
    let generations = read(&world.dir("rnn").join("generations/part-00000.parquet"));
    // In the documents every token is followed by its neighbour; any may be the last.
    let texts = strings(&generations, "text");
    let expected = ["w10 w11 w12 w13", "w21 w22 w23 w24"];
    assert!(texts.iter().zip(expected).all(|(text, expected)| expected.starts_with(text.as_str())), "{texts:?}");
    assert!(texts.iter().any(|text| !text.is_empty()), "{texts:?}");
    assert_eq!(integers(&generations, "step"), [300, 300]);
    // Behind what texts begin with, even an empty prompt has a token to go on from.
    let path = world.dir("causal").join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["facts"]["frame"] = json!([[1], []]);
    std::fs::write(&path, manifest.to_string()).unwrap();
    let model = json!({"family": "rnn", "layers": 1, "width": 8});
    world.train("framed", json!({"model": model, "steps": 1, "prompts": ["", "w7"], "prompt_tokens": 1}), &CAUSAL);
    assert_eq!(strings(&read(&world.dir("framed").join("generations/part-00000.parquet")), "prompt"), ["", "w7"]);
    world.translations("pairs");
    let refused: Train = serde_json::from_value(json!({"model": seq2seq("t5"), "steps": 1, "prompts": ["w7"]})).unwrap();
    let job = world.job("refused", Task::Train(Box::new(refused.clone())), &[("tokens", "pairs"), ("tokenizer", "tokenizer")]);
    let error = train::train(&job, &refused, &mut worker(false)).err().unwrap().to_string();
    assert_eq!(error, "prompts need a model of the family gpt or rnn, this is seq2seq; leave them out");
}

#[test]
fn translations_are_learned_and_searched() {
    let _alone = crate::tests::alone();
    let world = World::new();
    world.translations("pairs");
    let inputs = [("tokens", "pairs"), ("tokenizer", "tokenizer")];
    for style in ["marian", "t5"] {
        let settings = json!({"model": seq2seq(style), "steps": 400, "learning_rate": 5e-3, "warmup_steps": 40});
        let report = world.train(style, settings, &inputs);
        assert_eq!(report.facts["objective"], "translate");
        for beams in [1, 3] {
            let settings = json!({"batch_size": 7, "beams": beams});
            let (batch, report) = world.predict(&format!("{style}-{beams}"), settings, &[("model", style), ("tokens", "pairs")]);
            assert_eq!(report.facts["task"], "complete");
            let (found, expected) = (strings(&batch, "prediction"), strings(&batch, "reference"));
            let same = found.iter().zip(&expected).filter(|(found, expected)| expected.starts_with(found.as_str())).count();
            assert!(same >= 18, "{style}, {beams} beams: {same} of 20; {found:?} {expected:?}");
            assert!(strings(&batch, "stopped").iter().filter(|stopped| *stopped == "eos").count() >= 18);
        }
    }
}

#[test]
fn what_does_not_fit_sequences_is_said() {
    let _alone = crate::tests::alone();
    let world = World::new();
    world.packed("causal", "causal");
    world.translations("pairs");
    let check = |model: Value, tokens: &str, expected: &str| {
        let settings: Train = serde_json::from_value(json!({"model": model, "steps": 1})).unwrap();
        let job = world.job("draft", Task::Train(Box::new(settings.clone())), &[("tokens", tokens), ("tokenizer", "tokenizer")]);
        let error = format!("{:#}", train::train(&job, &settings, &mut worker(false)).err().unwrap());
        assert!(error.contains(expected), "{error}");
    };
    check(tiny("gpt"), "pairs", "tokens of the layout translate need a model of the family seq2seq, this is gpt");
    check(seq2seq("t5"), "causal", "the tokenizer has no token `<extra_id_0>`");
    let short = json!({"family": "seq2seq", "layers": 1, "width": 16, "heads": 2, "positions": 17});
    check(short, "pairs", "the model takes at most 17 tokens, the rows have 18");
}
