//! Heads: logits of transformers' models, losses that do not depend on batches, and whole jobs on small artifacts.

use arrow::array::{Array, AsArray, FixedSizeBinaryArray, ListArray, StringArray};
use arrow::datatypes::{Float64Type, Int64Type};
use engine::Kind as ArtifactKind;
use model::{LabelType, Predict, Task};
use serde_json::{Value, json};
use shards::examples::{Column as ShardColumn, Example, Kind as Of, Value as Held, Writer};
use shards::{IGNORE, Width};

use super::jobs::{World, artifact, floats, read, strings, worker};
use super::*;
use crate::objective::{Mode, Targets};
use crate::tables::{self, Column};
use crate::{parameters, predict};

fn classes() -> Vec<String> {
    ["B-X", "I-X", "O"].map(String::from).into()
}

/// A head with the tokens it learns from.
fn cases() -> Vec<(&'static str, Family, Head, Facts)> {
    let some = |layout: &str, label_type, segments| Facts { label_type, segments, classes: Some(classes()), ..facts(layout) };
    let causal = |facts: Facts| Facts { model: "causal".into(), segments: false, ..facts };
    let decoded = |facts: Facts| Facts { model: "encoder-decoder".into(), ..facts };
    let (class, several) = (Head::Classify { classes: classes() }, Head::MultiLabel { classes: classes() });
    let two = || vec!["next".to_string(), "random".to_string()];
    vec![
        ("pair of texts", Family::Bert, class.clone(), some("classify", LabelType::Class, true)),
        ("several classes", Family::Bert, several.clone(), some("classify", LabelType::MultiLabel, false)),
        ("number", Family::Bert, Head::Number, some("classify", LabelType::Number, false)),
        ("tags", Family::Bert, Head::Tag { classes: classes() }, some("tag", LabelType::Class, false)),
        ("answers", Family::Bert, Head::Answer, some("answer", LabelType::Class, true)),
        ("pairs", Family::Bert, Head::Pairs { classes: two() }, Facts { classes: Some(two()), ..some("pairs", LabelType::Class, true) }),
        ("class by gpt", Family::Gpt, class, causal(some("classify", LabelType::Class, false))),
        ("several by gpt", Family::Gpt, several, causal(some("classify", LabelType::MultiLabel, false))),
        ("answers by gpt", Family::Gpt, Head::Answer, causal(some("answer", LabelType::Class, true))),
        ("tags by gpt", Family::Gpt, Head::Tag { classes: classes() }, causal(some("tag", LabelType::Class, false))),
        ("pair by t5", Family::Seq2seq, Head::Classify { classes: classes() }, decoded(some("classify", LabelType::Class, true))),
        ("number by t5", Family::Seq2seq, Head::Number, decoded(some("classify", LabelType::Number, false))),
        ("tags by t5", Family::Seq2seq, Head::Tag { classes: classes() }, decoded(some("tag", LabelType::Class, false))),
        ("answers by t5", Family::Seq2seq, Head::Answer, decoded(some("answer", LabelType::Class, true))),
    ]
}

/// Rows with everything that a layout may ask for.
fn full_rows(count: usize, classes: i64) -> Vec<Row> {
    let mut all = rows(count);
    for (i, row) in all.iter_mut().enumerate() {
        let length = row.tokens.len();
        row.segments = (0..length).map(|place| i64::from(place > length / 2)).collect();
        row.class = (i as i64) % classes;
        row.classes = (0..3).filter(|class| (i + class) % 2 == 0).map(|class| class as i64).collect();
        row.number = i as f64 / 4.0;
        row.labels = (0..length).map(|place| if place % 3 == 1 { IGNORE } else { (row.tokens[place] + i as i64) % 3 }).collect();
        row.span = [(length / 2) as i64, (length / 2 + i % 3) as i64];
    }
    all
}

fn head_batch(facts: &Facts, rows: &[Row]) -> Batch {
    let masking = (facts.layout == "pairs").then(|| Masking::of_tokens(0.3, 5));
    filled(Collate { facts: facts.clone(), masking, denoising: None, documents: false }, rows)
}

fn rows_of(facts: &Facts, count: usize) -> Vec<Row> {
    full_rows(count, facts.classes.as_ref().map_or(1, Vec::len) as i64)
}

#[test]
fn every_head_overfits_a_batch() {
    let _alone = alone();
    for (name, family, head, facts) in cases() {
        let batch = head_batch(&facts, &rows_of(&facts, 8));
        for bf16 in [false, true] {
            let loaded = loaded(config(family, head.clone()), 1);
            let optimizer = optimizer(&settings(json!({})), &loaded.parameters).unwrap();
            let mut sums = Sums::default();
            for step in 1..=150 {
                let scale = Scale::of(batch.predicted, batch.ids.size()[0] as u64);
                sums = objective::learn(loaded.network.as_ref(), &batch, scale, Mode { bf16, ..Mode::default() }).unwrap();
                optimizer.clip().unwrap();
                optimizer.step(step, step, 1e-2).unwrap();
                optimizer.forget();
            }
            let loss = sums.nll / sums.count as f64;
            assert!(loss < 0.1, "{name}, bf16 {bf16}: {loss}");
            let scores = sums.tally.scores(true);
            assert!(scores.get("pair_loss").is_none_or(|loss| *loss < 0.1), "{name}: {scores:?}");
            let found = objective::evaluate(loaded.network.as_ref(), &batch, bf16).unwrap();
            if head != Head::Number {
                assert!(found.correct as f64 > 0.9 * found.count as f64, "{name}, bf16 {bf16}: {found:?}");
            }
            let scores = found.tally.scores(false);
            let expected: &[&str] = match head {
                Head::MultiLabel { .. } | Head::Tag { .. } => &["f1"],
                Head::Number => &["pearson"],
                Head::Pairs { .. } => &["pair_accuracy"],
                _ => &[],
            };
            assert!(expected.iter().all(|score| scores[*score] > 0.9), "{name}: {scores:?}");
        }
    }
}

#[test]
fn gradients_of_heads_do_not_depend_on_batches() {
    let _alone = alone();
    for (name, family, head, facts) in cases() {
        let rows = rows_of(&facts, 8);
        let gradients_of = |size: usize| {
            let loaded = loaded(config(family, head.clone()), 3);
            // Masks follow from the numbers of samples, so all rows are numbered once.
            let numbered: Vec<(usize, Row)> = rows.iter().cloned().enumerate().collect();
            let batches: Vec<Batch> = numbered
                .chunks(size)
                .map(|rows| {
                    let masking = (facts.layout == "pairs").then(|| Masking::of_tokens(0.3, 5));
                    let collate = Collate { facts: facts.clone(), masking, denoising: None, documents: false };
                    let mut buffers = Buffers::default();
                    let samples = rows.iter().map(|(sample, _)| *sample as u64);
                    buffers.fill(&collate, rows.iter().map(|(_, row)| row.clone()).collect(), samples).unwrap();
                    buffers.batch(Device::Cpu)
                })
                .collect();
            let scale = Scale::of(batches.iter().map(|batch| batch.predicted).sum(), rows.len() as u64);
            let mut sums = Sums::default();
            for batch in &batches {
                sums += objective::learn(loaded.network.as_ref(), batch, scale, Mode::default()).unwrap();
            }
            (sums, gradients(&loaded.parameters))
        };
        let ((whole, a), (parts, b)) = (gradients_of(8), gradients_of(2));
        assert_eq!(whole.count, parts.count, "{name}");
        assert!((whole.nll - parts.nll).abs() < 1e-3, "{name}: {} {}", whole.nll, parts.nll);
        for ((variable, a), (_, b)) in a.iter().zip(&b) {
            // Variables that this head does not use have no gradient.
            assert_eq!(a.defined(), b.defined(), "{name}: {variable}");
            assert!(!a.defined() || largest_difference(a, b) < 1e-6, "{name}: {variable}");
        }
    }
}

#[test]
fn the_losses_of_pairs_are_summed() {
    let _alone = alone();
    let (_, family, head, facts) = cases().remove(5);
    let batch = head_batch(&facts, &rows_of(&facts, 8));
    let Targets::Pairs { places: Some(places), labels, pairs } = &batch.targets else { panic!("pairs have places") };
    let ours = loaded(config(family, head.clone()), 3);
    objective::learn(ours.network.as_ref(), &batch, Scale::of(batch.predicted, 8), Mode::default()).unwrap();
    let plain = loaded(config(family, head), 3);
    let hidden = plain.network.hidden(&batch.ids, &batch.seen, 0.0);
    let output = plain.network.output();
    let features = plain.network.features(&hidden.reshape([-1, 16]).index_select(0, places));
    let tokens = features.linear(output.weight, output.bias).cross_entropy_for_logits(labels);
    (tokens + plain.network.classify(&hidden, 0.0).unwrap().cross_entropy_for_logits(pairs)).backward();
    for ((name, a), (_, b)) in gradients(&ours.parameters).iter().zip(&gradients(&plain.parameters)) {
        assert!(largest_difference(a, b) < 1e-6, "{name}");
    }
}

#[test]
fn rows_without_labels_have_no_loss() {
    let _alone = alone();
    for (name, family, head, facts) in cases().into_iter().filter(|(.., facts)| ["tag", "pairs"].contains(&facts.layout.as_str())) {
        let mut rows = rows_of(&facts, 4);
        rows.iter_mut().for_each(|row| row.labels.fill(IGNORE));
        // The classes of pairs are learned all the same.
        let pairs = if facts.layout == "pairs" { 4 } else { 0 };
        for weights in [false, true] {
            let masking = (pairs > 0).then(|| Masking::of_tokens(1e-12, 5));
            let facts = Facts { weights, ..facts.clone() };
            let batch = filled(Collate { facts, masking, denoising: None, documents: false }, &rows);
            let loaded = loaded(config(family, head.clone()), 3);
            let learned = objective::learn(loaded.network.as_ref(), &batch, Scale::of(0, 4), Mode::default()).unwrap();
            let tried = objective::evaluate(loaded.network.as_ref(), &batch, false).unwrap();
            for sums in [learned, tried] {
                assert_eq!((sums.nll, sums.count, sums.tally.pairs), (0.0, 0, pairs), "{name}");
                assert_eq!(sums.tally.weighted, weights.then_some([0.0; 2]), "{name}");
            }
        }
    }
}

#[test]
fn every_head_learns_on_a_frozen_network() {
    let _alone = alone();
    for (name, _, head, facts) in cases().into_iter().filter(|(_, family, ..)| *family == Family::Bert) {
        let batch = head_batch(&facts, &rows_of(&facts, 4));
        for recompute in [false, true] {
            let loaded = loaded(config(Family::Bert, head.clone()), 3);
            let groups = json!([{"pattern": "bert.embeddings.*", "freeze": true}, {"pattern": "bert.encoder.*", "freeze": true}]);
            let settings = settings(json!({"groups": groups}));
            optimizer(&settings, &loaded.parameters).unwrap();
            let scale = Scale::of(batch.predicted, 4);
            objective::learn(loaded.network.as_ref(), &batch, scale, Mode { recompute, ..Mode::default() }).unwrap();
            for (variable, gradient) in gradients(&loaded.parameters) {
                let frozen = settings.groups.iter().any(|group| group.fits(&variable));
                assert_eq!(gradient.defined(), !frozen, "{name}: {variable}");
            }
        }
    }
}

#[test]
fn padding_changes_nothing_that_heads_say() {
    let _alone = alone();
    for (name, family, head, facts) in cases().into_iter().filter(|(.., facts)| facts.layout != "pairs") {
        let rows = rows_of(&facts, 6);
        let loaded = loaded(config(family, head), 4);
        let together = objective::evaluate(loaded.network.as_ref(), &head_batch(&facts, &rows), false).unwrap();
        let mut alone = Sums::default();
        for row in &rows {
            alone += objective::evaluate(loaded.network.as_ref(), &head_batch(&facts, std::slice::from_ref(row)), false).unwrap();
        }
        assert_eq!((together.count, together.correct, together.tally.hits), (alone.count, alone.correct, alone.tally.hits), "{name}");
        assert!((together.nll - alone.nll).abs() < 1e-3, "{name}");
    }
}

#[test]
fn adapters_of_every_head_learn_and_are_merged() {
    let _alone = alone();
    for (name, family, head, facts) in cases() {
        check_adapters(name, &config(family, head), &head_batch(&facts, &rows_of(&facts, 8)));
    }
}

#[test]
fn saved_heads_come_back() {
    let _alone = alone();
    let (dir, tokenizer) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::write(tokenizer.path().join(name), "{}").unwrap();
    }
    for (name, family, head, _) in cases() {
        let before = loaded(config(family, head), 4);
        folder::save(dir.path(), &before.config, &before.parameters, tokenizer.path()).unwrap();
        let after = folder::load(dir.path(), Device::Cpu).unwrap();
        assert_eq!(after.config, before.config, "{name}");
        for ((name, a), (_, b)) in before.parameters.named().iter().zip(&after.parameters.named()) {
            assert_eq!(a, b, "{name}");
        }
    }
}

#[test]
fn the_body_of_a_t5_is_read_below_any_head() {
    let _alone = alone();
    let (dir, tokenizer) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::write(tokenizer.path().join(name), "{}").unwrap();
    }
    let t5 = |head: &Head| NetworkConfig { head: head.clone(), ..config(Family::Seq2seq, Head::Answer) };
    let heads = [Head::Causal, Head::Classify { classes: classes() }, Head::Answer];
    for (from, to) in heads.iter().flat_map(|from| heads.iter().map(move |to| (from, to))) {
        let before = loaded(t5(from), 4);
        folder::save(dir.path(), &before.config, &before.parameters, tokenizer.path()).unwrap();
        let after = loaded(t5(to), 5);
        let missing = folder::load_weights(dir.path(), &after.parameters).unwrap();
        assert!(missing.iter().all(|name| parameters::may_be_new(name)), "{from:?} {to:?}: {missing:?}");
        let body = |loaded: &Loaded| loaded.parameters.named().into_iter().find(|(name, _)| name.ends_with("shared.weight")).unwrap().1;
        assert_eq!(body(&before), body(&after), "{from:?} {to:?}");
    }
}

#[test]
fn padding_that_is_the_end_of_a_text_changes_no_class() {
    let _alone = alone();
    let head = Head::Classify { classes: classes() };
    let facts = Facts { model: "encoder-decoder".into(), pad_id: None, classes: Some(classes()), ..facts("classify") };
    let mut rows = full_rows(6, 3);
    rows.iter_mut().for_each(|row| row.tokens.push(2));
    let mut network = config(Family::Seq2seq, head);
    network.special.pad = Some(2);
    let loaded = loaded(network, 4);
    let said = |rows: &[Row]| {
        crate::heads::logits(loaded.network.as_ref(), &head_batch(&facts, rows), Mode::default(), &crate::tape::Tape::off()).unwrap()
    };
    let alone: Vec<Tensor> = rows.iter().map(|row| said(std::slice::from_ref(row))).collect();
    assert!(largest_difference(&said(&rows), &Tensor::cat(&alone, 0)) < 1e-5);
}

/// Examples of a layout in the splits train (100 rows) and test (20); `make` gives tokens and values of a row.
fn examples(world: &World, name: &str, columns: &[ShardColumn], facts: Value, make: impl Fn(u32) -> (Vec<u32>, Vec<Held>)) {
    let dir = world.dir(name);
    let mut files = Vec::new();
    for (split, from, to) in [("test", 100, 120), ("train", 0, 100)] {
        let path = format!("tokens/split={split}/shard-00000.arrow");
        std::fs::create_dir_all(dir.join(&path).parent().unwrap()).unwrap();
        let mut writer = Writer::create(&dir.join(&path), columns, Width::U16).unwrap();
        for n in from..to {
            let (tokens, values) = make(n);
            writer.push(Example { id: u128::from(n).to_le_bytes(), tokens, values }).unwrap();
        }
        files.push((path, split, writer.finish().unwrap()));
    }
    let listed: Vec<_> = files.iter().map(|(path, split, rows)| (path.as_str(), "tokens", Some(*split), *rows)).collect();
    let mut all = json!({
        "model": "masked", "sequence_length": 16, "vocab_size": 40, "dtype": "u16",
        "pad_id": 0, "bos_id": null, "eos_id": null, "cls_id": 2, "sep_id": 3, "mask_id": 4,
    });
    all.as_object_mut().unwrap().extend(facts.as_object().unwrap().clone());
    artifact(&dir, ArtifactKind::Tokens, &listed, all);
}

/// Trains on tokens and predicts their test split.
fn learn(world: &World, name: &str, epochs: u64) -> (arrow::array::RecordBatch, Value) {
    let model = json!({"family": "bert", "layers": 1, "width": 32, "heads": 2});
    let settings = json!({"model": model, "epochs": epochs, "learning_rate": 3e-3, "valid_split": "test", "eval_interval_steps": 0});
    let trained = format!("{name}-model");
    world.train(&trained, settings, &[("tokens", name), ("tokenizer", "tokenizer")]);
    let (batch, report) = world.predict(&format!("{name}-predict"), json!({"batch_size": 7}), &[("model", &trained), ("tokens", name)]);
    (batch, json!(report.facts))
}

fn lists(batch: &arrow::array::RecordBatch, name: &str) -> Vec<Vec<String>> {
    let lists: &ListArray = batch.column_by_name(name).unwrap().as_list();
    let texts = |row: usize| lists.value(row).as_string::<i32>().iter().map(|text| text.unwrap().to_string()).collect();
    (0..lists.len()).map(texts).collect()
}

#[test]
fn several_classes_and_numbers_are_learned_and_predicted() {
    let _alone = alone();
    let world = World::new();
    // A text is of the class x when it holds the token 7, of y when it holds 9.
    let text = |n: u32| {
        [vec![2], vec![20 + n % 7; 3], vec![if n.is_multiple_of(2) { 7 } else { 8 }], vec![if n.is_multiple_of(3) { 9 } else { 10 }, 3]]
            .concat()
    };
    let facts = json!({"layout": "classify", "label_type": "multi-label", "classes": ["x", "y"]});
    examples(&world, "sets", &[("label", Of::Int32s)], facts, |n| {
        let classes =
            [(n.is_multiple_of(2), 0), (n.is_multiple_of(3), 1)].into_iter().filter(|(is, _)| *is).map(|(_, class)| class).collect();
        (text(n), vec![Held::Int32s(classes)])
    });
    let (batch, facts) = learn(&world, "sets", 60);
    assert_eq!((&facts["task"], &facts["classes"]), (&json!("multi-label"), &json!(["x", "y"])));
    assert_eq!(lists(&batch, "gold"), lists(&batch, "prediction"));
    assert_eq!(lists(&batch, "gold")[2], ["x", "y"]);
    let metrics = read(&world.dir("sets-model").join("metrics/part-00000.parquet"));
    assert!(floats(&metrics, "f1").last().unwrap() > &0.99);

    examples(&world, "numbers", &[("label", Of::Float64)], json!({"layout": "classify", "label_type": "number"}), |n| {
        (text(n), vec![Held::Float64(if n.is_multiple_of(2) { 1.5 } else { -0.5 })])
    });
    let (batch, facts) = learn(&world, "numbers", 60);
    assert_eq!(facts["task"], "number");
    for (gold, prediction) in floats(&batch, "gold").into_iter().zip(floats(&batch, "prediction")) {
        assert!((gold - prediction).abs() < 0.3, "{gold} {prediction}");
    }
    let metrics = read(&world.dir("numbers-model").join("metrics/part-00000.parquet"));
    assert!(floats(&metrics, "pearson").last().unwrap() > &0.95 && floats(&metrics, "accuracy").last().unwrap().is_nan());
}

#[test]
fn the_best_model_by_the_score_of_a_head_is_saved() {
    let _alone = alone();
    let world = World::new();
    let text = |n: u32| vec![2, 20 + n % 7, 7 + n % 2, 9 + n % 3, 3];
    let classes = json!({"layout": "classify", "label_type": "multi-label", "classes": ["x", "y"]});
    examples(&world, "sets", &[("label", Of::Int32s)], classes, |n| {
        (text(n), vec![Held::Int32s([(n % 2, 0), (n % 3, 1)].into_iter().filter(|(is, _)| *is == 0).map(|(_, class)| class).collect())])
    });
    examples(&world, "numbers", &[("label", Of::Float64)], json!({"layout": "classify", "label_type": "number"}), |n| {
        (text(n), vec![Held::Float64(f64::from(n % 2))])
    });
    let inputs = |tokens| [("tokens", tokens), ("tokenizer", "tokenizer")];
    let settings = |metric: &str| {
        json!({
            "model": {"family": "bert", "layers": 1, "width": 16, "heads": 2}, "steps": 60, "learning_rate": 1e-2, "valid_split": "test",
            "eval_interval_steps": 5, "best_metric": metric, "patience": 4, "min_improvement": 1e-3,
        })
    };
    for (tokens, metric) in [("sets", "f1"), ("numbers", "pearson")] {
        let name = format!("{tokens}-model");
        let report = world.train(&name, settings(metric), &inputs(tokens));
        let metrics = read(&world.dir(&name).join("metrics/part-00000.parquet"));
        let steps = metrics.column_by_name("step").unwrap().as_primitive::<Int64Type>().values().to_vec();
        let tries: Vec<(i64, f64)> = steps.into_iter().zip(floats(&metrics, metric)).filter(|(_, value)| !value.is_nan()).collect();
        let (best, value) = tries.iter().fold((0, f64::MIN), |best, tried| if tried.1 - best.1 > 1e-3 { *tried } else { best });
        assert_eq!(report.facts["best_step"], best, "{tries:?}");
        assert!(value > 0.6 && tries.len() < 12, "{metric} {value}; patience ends it: {tries:?}");
    }
    let refused: Train = serde_json::from_value(settings("f1")).unwrap();
    let job = world.job("refused", Task::Train(Box::new(refused.clone())), &inputs("numbers"));
    let error = crate::train::train(&job, &refused, &mut worker(false)).err().unwrap().to_string();
    assert_eq!(error, "best_metric = \"f1\": the objective classify with numbers has `loss`, `pearson`");
}

#[test]
fn tags_are_learned_and_predicted_word_by_word() {
    let _alone = alone();
    let world = World::new();
    let facts = json!({"layout": "tag", "classes": ["B-X", "I-X", "O"], "scheme": "iob2", "label_all": false});
    // The token 7 begins an entity and 8 goes on with it; 30 is a second piece of the word before.
    examples(&world, "tags", &[("labels", Of::Int32s), ("words", Of::Int32s)], facts, |n| {
        let tokens = [vec![2, 20 + n % 7, 7, 30], vec![8; (n % 3) as usize], vec![20 + n % 5, 3]].concat();
        let label = |token: &u32| match token {
            2 | 3 | 30 => IGNORE as i32,
            7 => 0,
            8 => 1,
            _ => 2,
        };
        let mut word = -1;
        let words = tokens.iter().map(|token| match token {
            2 | 3 => -1,
            30 => word,
            _ => {
                word += 1;
                word
            }
        });
        let values = vec![Held::Int32s(tokens.iter().map(label).collect()), Held::Int32s(words.collect())];
        (tokens, values)
    });
    let (batch, facts) = learn(&world, "tags", 30);
    assert_eq!(numbers_of_cut(&batch), [Some(0); 20]);
    assert_eq!((&facts["task"], &facts["scheme"]), (&json!("tag"), &json!("iob2")));
    assert_eq!(lists(&batch, "gold"), lists(&batch, "prediction"));
    assert_eq!(lists(&batch, "gold")[1], ["O", "B-X", "I-X", "I-X", "O"]);
    let words: &ListArray = batch.column_by_name("words").unwrap().as_list();
    assert_eq!(words.value(1).as_primitive::<arrow::datatypes::Int32Type>().values(), &[0, 1, 2, 3, 4]);
    let metrics = read(&world.dir("tags-model").join("metrics/part-00000.parquet"));
    assert_eq!((floats(&metrics, "f1").last().unwrap(), floats(&metrics, "accuracy").last().unwrap()), (&1.0, &1.0));
}

fn numbers_of_cut(batch: &arrow::array::RecordBatch) -> Vec<Option<i64>> {
    batch.column_by_name("words_cut").unwrap().as_primitive::<Int64Type>().iter().collect()
}

#[test]
fn words_that_a_row_does_not_hold_are_of_no_entity() {
    let _alone = alone();
    let world = World::new();
    let facts = json!({
        "layout": "tag", "classes": ["B-X", "I-X", "O"], "scheme": "iob2", "tag_scheme": "iobes", "label_all": false, "tags": "tags",
        "sequence_length": 6,
    });
    // Every third document has one word more than its row, the end of an entity.
    let cut = |n: u32| n.is_multiple_of(3);
    examples(&world, "tags", &[("labels", Of::Int32s), ("words", Of::Int32s)], facts, |n| {
        let tokens = if cut(n) { vec![2, 20, 21, 22, 7, 3] } else { vec![2, 20, 7, 8, 3] };
        let label = |token: &u32| match token {
            2 | 3 => IGNORE as i32,
            7 => 0,
            8 => 1,
            _ => 2,
        };
        let words = (0..tokens.len() as i32).map(|place| if place == 0 || place as usize + 1 == tokens.len() { -1 } else { place - 1 });
        (tokens.clone(), vec![Held::Int32s(tokens.iter().map(label).collect()), Held::Int32s(words.collect())])
    });
    let dir = world.dir("documents");
    let ids = FixedSizeBinaryArray::try_from_iter((0..120u128).map(u128::to_le_bytes)).unwrap();
    let tags = StringArray::from_iter_values((0..120).map(|n| if cut(n) { "O O O B-X E-X S-X" } else { "O B-X E-X" }));
    let columns = vec![
        Column(arrow::datatypes::Field::new("id", ids.data_type().clone(), false), std::sync::Arc::new(ids)),
        Column(arrow::datatypes::Field::new("tags", tags.data_type().clone(), false), std::sync::Arc::new(tags)),
    ];
    tables::write(&dir, "documents", columns).unwrap();
    artifact(&dir, ArtifactKind::Documents, &[("documents/part-00000.parquet", "documents", None, 120)], json!({}));

    // Without documents nothing is known of other words.
    let (alone, _) = learn(&world, "tags", 30);
    let row = (100..120).position(cut).unwrap();
    assert_eq!((numbers_of_cut(&alone)[row], lists(&alone, "gold")[row].len()), (None, 4));
    let inputs = [("model", "tags-model"), ("tokens", "tags"), ("documents", "documents")];
    let (batch, _) = world.predict("whole", json!({"batch_size": 7}), &inputs);
    assert_eq!(numbers_of_cut(&batch), (100..120).map(|n| Some(if cut(n) { 2 } else { 0 })).collect::<Vec<_>>());
    assert_eq!(lists(&batch, "gold")[row], ["O", "O", "O", "B-X", "I-X", "B-X"]);
    assert_eq!(lists(&batch, "prediction")[row], ["O", "O", "O", "B-X", "O", "O"]);
    assert_eq!(lists(&batch, "gold")[row + 1], ["O", "B-X", "I-X"]);
    let words: &ListArray = batch.column_by_name("words").unwrap().as_list();
    assert_eq!(words.value(row).as_primitive::<arrow::datatypes::Int32Type>().values(), &[0, 1, 2, 3, 4, 5]);
}

#[test]
fn pairs_of_segments_are_learned_and_predicted() {
    let _alone = alone();
    let world = World::new();
    let facts = json!({"layout": "pairs", "classes": ["next", "random"], "segments": true});
    let columns = [("segments", Of::UInt8s), ("label", Of::Int32), ("other", Of::Id)];
    // A second segment that follows is of the token 31.
    examples(&world, "pairs", &columns, facts, |n| {
        let random = n / 2 % 2;
        let tokens = vec![2, 20 + n % 2, 10 + n % 5, 3, 31 - random, 31 - random, 31 - random, 3];
        let id = if random == 1 { u128::from(n + 1000) } else { u128::from(n) };
        (tokens, vec![Held::UInt8s(vec![0, 0, 0, 0, 1, 1, 1, 1]), Held::Int32(random as i32), Held::Id(id.to_le_bytes())])
    });
    let (batch, facts) = learn(&world, "pairs", 150);
    assert_eq!((&facts["task"], &facts["classes"]), (&json!("classify"), &json!(["next", "random"])));
    let right = strings(&batch, "gold").iter().zip(strings(&batch, "prediction")).filter(|(gold, found)| *gold == found).count();
    assert!(right >= 18, "{right} of 20");
    let metrics = read(&world.dir("pairs-model").join("metrics/part-00000.parquet"));
    assert!(floats(&metrics, "pair_accuracy").last().unwrap() > &0.85);
    assert!(floats(&metrics, "pair_loss").iter().all(|loss| loss.is_finite()));
    assert!(floats(&metrics, "perplexity").iter().all(|perplexity| *perplexity > 1.0));
    // The pooler goes on into a classifier, the head of another task does not.
    let text = |n: u32| (vec![2, 20 + n % 2, 3], vec![Held::Int32(n as i32 % 2)]);
    examples(&world, "texts", &[("label", Of::Int32)], json!({"layout": "classify", "classes": ["next", "random"]}), text);
    let settings = json!({"steps": 1, "learning_rate": 1e-30});
    world.train("classifier", settings, &[("tokens", "texts"), ("tokenizer", "tokenizer"), ("model", "pairs-model")]);
    let weight = |draft: &str, name: &str| {
        let loaded = folder::load(&world.dir(draft).join(folder::MODEL), Device::Cpu).unwrap();
        loaded.parameters.named().into_iter().find(|(other, _)| other == name).unwrap().1
    };
    let pooler = "bert.pooler.dense.weight";
    assert_eq!(weight("classifier", pooler), weight("pairs-model", pooler));
    // As published, without names of the classes, it is the same head.
    let published = world.dir("pairs-model").join(folder::MODEL);
    let config = published.join("config.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    for key in ["id2label", "label2id"] {
        json.as_object_mut().unwrap().remove(key).unwrap();
    }
    std::fs::write(&config, json.to_string()).unwrap();
    let settings = json!({"from": published, "steps": 1, "learning_rate": 1e-30});
    world.train("again", settings, &[("tokens", "pairs"), ("tokenizer", "tokenizer")]);
    for name in ["cls.seq_relationship.weight", "cls.seq_relationship.bias"] {
        assert_eq!(weight("again", name), weight("pairs-model", name), "{name}");
    }
}

#[test]
fn answers_are_cut_out_of_their_contexts() {
    let _alone = alone();
    let world = World::new();
    let asked = json!({"question": "question", "context": "text", "answer": "answer", "answer_start": "begin"});
    let mut facts = json!({"layout": "answer", "segments": true});
    facts.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
    let columns = [
        ("segments", Of::UInt8s),
        ("has_answer", Of::Boolean),
        ("start_token", Of::Int32),
        ("end_token", Of::Int32),
        ("start", Of::Int32),
        ("starts", Of::Int32s),
        ("ends", Of::Int32s),
    ];
    // Words of two characters and a space; the answer is the word 7 with the one after it. Every fifth question has none.
    let answered = |n: u32| !n.is_multiple_of(5);
    let context = |n: u32| -> Vec<u32> {
        let mut words: Vec<u32> = (0..8).map(|i| 20 + (n * 3 + i) % 10).collect();
        if answered(n) {
            words[(n % 6) as usize] = 7;
        }
        words
    };
    examples(&world, "questions", &columns, facts, |n| {
        let words = context(n);
        let tokens = [vec![2, 6, 3], words.clone(), vec![3]].concat();
        let first = words.iter().position(|word| *word == 7).map(|place| place as i32 + 3);
        let places = |end: i32| [vec![-1; 3], (0..8).map(|i| i * 3 + end).collect(), vec![-1]].concat();
        let values = vec![
            Held::UInt8s([vec![0; 3], vec![1; 9]].concat()),
            Held::Boolean(first.is_some()),
            Held::Int32(first.unwrap_or(0)),
            Held::Int32(first.map_or(0, |first| first + 1)),
            Held::Int32(0),
            Held::Int32s(places(0)),
            Held::Int32s(places(2)),
        ];
        (tokens, values)
    });
    let dir = world.dir("documents");
    let text = |n: u32| context(n).iter().map(|word| format!("é{}", word % 10)).collect::<Vec<_>>().join(" ");
    let ids = FixedSizeBinaryArray::try_from_iter((0..120u128).map(u128::to_le_bytes)).unwrap();
    let gold = |n: u32| if answered(n) { text(n).chars().skip((n % 6) as usize * 3).take(5).collect() } else { String::new() };
    let texts = |of: &dyn Fn(u32) -> String| std::sync::Arc::new(StringArray::from_iter_values((0..120).map(of)));
    let column =
        |name: &str, values: arrow::array::ArrayRef| Column(arrow::datatypes::Field::new(name, values.data_type().clone(), false), values);
    let columns = vec![
        column("id", std::sync::Arc::new(ids)),
        column("question", texts(&|n| format!("{n}?"))),
        column("text", texts(&text)),
        column("answer", texts(&gold)),
        column("begin", texts(&|n| (n % 6 * 3).to_string())),
    ];
    tables::write(&dir, "documents", columns).unwrap();
    artifact(&dir, ArtifactKind::Documents, &[("documents/part-00000.parquet", "documents", None, 120)], json!({}));

    let model = json!({"family": "bert", "layers": 1, "width": 32, "heads": 2});
    let settings = json!({"model": model, "epochs": 60, "learning_rate": 1e-2, "valid_split": "test", "eval_interval_steps": 0});
    world.train("reader", settings, &[("tokens", "questions"), ("tokenizer", "tokenizer")]);
    let metrics = read(&world.dir("reader").join("metrics/part-00000.parquet"));
    assert!(floats(&metrics, "accuracy").last().unwrap() > &0.9);
    let predicted = |more: Value| {
        let mut settings = json!({"batch_size": 7, "max_answer_tokens": 3});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let settings: Predict = serde_json::from_value(settings).unwrap();
        let inputs = [("model", "reader"), ("tokens", "questions"), ("documents", "documents")];
        let job = world.job(&format!("answers-{more}"), Task::Predict(settings.clone()), &inputs);
        let report = predict::predict(&job, &settings, &mut worker(false)).unwrap().unwrap();
        assert_eq!(report.facts["task"], "answer");
        read(&job.draft.join("predictions/part-00000.parquet"))
    };
    let batch = predicted(json!({"null_threshold": 0.0}));
    let gold: Vec<String> = (100..120).map(gold).collect();
    let right = strings(&batch, "prediction").iter().zip(&gold).filter(|(found, gold)| found == gold).count();
    assert!(right >= 18, "{right} of 20: {:?}", strings(&batch, "prediction"));
    assert_eq!(lists(&batch, "gold")[..2], [vec![], vec![gold[1].clone()]]);
    assert_eq!(strings(&batch, "question")[3], "103?");
    let starts = batch.column_by_name("start").unwrap().as_primitive::<Int64Type>().clone();
    assert!(starts.is_null(0) && starts.is_valid(1));
    let batch = predicted(json!({"limit": 3, "candidates": 2}));
    assert_eq!((batch.num_rows(), lists(&batch, "candidates")[0].len()), (3, 2));
    assert!(strings(&batch, "prediction").iter().all(|found| !found.is_empty()), "every question is answered");
    assert!(batch.column_by_name("probability").unwrap().as_primitive::<Float64Type>().values().iter().all(|p| (0.0..=1.0).contains(p)));
}
