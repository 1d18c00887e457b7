//! Whole predictions: resumed, in batches of any size, on any number of threads, and with the columns of documents.

use super::*;
use arrow::array::{AsArray, FixedSizeBinaryArray};

/// A small world with a model for each kind of prediction: model, tokens.
fn world() -> (World, [(&'static str, &'static str); 6]) {
    let world = World::new();
    world.packed("causal", "causal");
    world.packed("masked", "masked");
    world.examples("mails", "classify");
    world.examples("prompts", "complete");
    world.translations("pairs");
    let settings = |family: &str| json!({"model": {"family": family, "layers": 1, "width": 16, "heads": 2, "positions": 32}, "steps": 40, "learning_rate": 1e-2});
    let rnn = json!({"model": {"family": "rnn", "layers": 1, "width": 16}, "steps": 40, "learning_rate": 1e-2, "carry_state": true});
    let translation = json!({"model": {"family": "seq2seq", "layers": 1, "width": 16, "heads": 2}, "steps": 40, "learning_rate": 1e-2});
    world.train("gpt", settings("gpt"), &CAUSAL);
    world.train("bert", settings("bert"), &[("tokens", "masked"), ("tokenizer", "tokenizer")]);
    world.train("rnn", rnn, &CAUSAL);
    world.train("classes", settings("bert"), &[("tokens", "mails"), ("tokenizer", "tokenizer")]);
    world.train("completions", settings("gpt"), &[("tokens", "prompts"), ("tokenizer", "tokenizer")]);
    world.train("marian", translation, &[("tokens", "pairs"), ("tokenizer", "tokenizer")]);
    let cases =
        [("gpt", "causal"), ("bert", "masked"), ("rnn", "causal"), ("classes", "mails"), ("completions", "prompts"), ("marian", "pairs")];
    (world, cases)
}

fn ids(batch: &RecordBatch) -> Vec<u128> {
    let ids: &FixedSizeBinaryArray = batch.column_by_name("id").unwrap().as_fixed_size_binary();
    (0..ids.len()).map(|row| u128::from_le_bytes(ids.value(row).try_into().unwrap())).collect()
}

/// All numbers of a column, of lists one after another.
fn numbers(batch: &RecordBatch, name: &str) -> Vec<f64> {
    let column = batch.column_by_name(name).unwrap();
    let column = if column.data_type().is_nested() { column.as_list::<i32>().values() } else { column };
    let column = arrow::compute::cast(column, &DataType::Float64).unwrap();
    column.as_any().downcast_ref::<Float64Array>().unwrap().values().to_vec()
}

#[test]
fn a_killed_prediction_goes_on_at_the_next_part() {
    let _alone = crate::tests::alone();
    let (world, cases) = world();
    for (model, tokens) in cases {
        let inputs = [("model", model), ("tokens", tokens)];
        let settings = json!({"batch_size": 1, "max_new_tokens": 4});
        let whole = format!("{model}-whole");
        let (batch, _) = world.predict(&whole, settings.clone(), &inputs);
        let parts = |draft: &str| std::fs::read_dir(world.dir(draft).join("predictions")).map_or(0, |entries| entries.count());
        // A carried state goes through 128 rows, of which there are fewer.
        assert_eq!(parts(&whole), if model == "rnn" { 1 } else { 3 }, "{model}");
        assert!(batch.num_rows() >= 17, "{model}");

        let killed = format!("{model}-killed");
        let settings: Predict = serde_json::from_value(settings).unwrap();
        let job = world.job(&killed, Task::Predict(settings.clone()), &inputs);
        assert!(predict::predict(&job, &settings, &mut worker(true)).unwrap().is_none());
        assert_eq!(parts(&killed), 0, "{model}");
        // A part that stands is not made again: it may even be another one. A file that was begun is.
        let path = |draft: &str, part: usize| world.dir(draft).join(format!("predictions/part-{part:05}.parquet"));
        std::fs::create_dir_all(path(&killed, 0).parent().unwrap()).unwrap();
        std::fs::write(path(&killed, 0), "stands").unwrap();
        std::fs::write(job.scratch("part.parquet"), "begun").unwrap();
        predict::predict(&job, &settings, &mut worker(false)).unwrap().unwrap();
        assert_eq!(std::fs::read(path(&killed, 0)).unwrap(), b"stands");
        assert_eq!(parts(&killed), parts(&whole));
        for part in 1..parts(&whole) {
            assert!(std::fs::read(path(&killed, part)).unwrap() == std::fs::read(path(&whole, part)).unwrap(), "{model}, part {part}");
        }
        std::fs::remove_file(path(&killed, 0)).unwrap();
        predict::predict(&job, &settings, &mut worker(false)).unwrap().unwrap();
        assert!(std::fs::read(path(&killed, 0)).unwrap() == std::fs::read(path(&whole, 0)).unwrap(), "{model}");
    }
}

#[test]
fn batches_and_threads_change_no_prediction() {
    let _alone = crate::tests::alone();
    let (world, cases) = world();
    for (model, tokens) in cases {
        let predicted = |batch_size: u64, threads: i32| {
            tch::set_num_threads(threads);
            let draft = format!("{model}-{batch_size}-{threads}");
            world.predict(&draft, json!({"batch_size": batch_size, "max_new_tokens": 4}), &[("model", model), ("tokens", tokens)]).0
        };
        let expected = predicted(32, 1);
        let likely = match model {
            "classes" => "probabilities",
            "completions" | "marian" => "log_likelihood",
            _ => "nll",
        };
        for (batch_size, threads) in [(1, 1), (1, 2), (7, 1), (32, 2), (1000, 2)] {
            let found = predicted(batch_size, threads);
            assert_eq!(ids(&found), ids(&expected), "{model}");
            for (found, expected) in numbers(&found, likely).iter().zip(numbers(&expected, likely)) {
                assert!((found - expected).abs() < 1e-5, "{model}, {batch_size} rows, {threads} threads: {found} {expected}");
            }
            match likely {
                "nll" => assert_eq!(integers(&found, "correct"), integers(&expected, "correct"), "{model}"),
                _ => assert_eq!(strings(&found, "prediction"), strings(&expected, "prediction"), "{model}"),
            }
        }
    }
    tch::set_num_threads(1);
}

#[test]
fn pieces_count_each_token_of_each_document_once() {
    let _alone = crate::tests::alone();
    let (world, _) = world();
    let (batch, _) = world.predict("pieces", json!({}), &[("model", "gpt"), ("tokens", "causal")]);
    let mut counts: BTreeMap<u128, i64> = BTreeMap::new();
    ids(&batch).into_iter().zip(integers(&batch, "tokens")).for_each(|(id, tokens)| *counts.entry(id).or_default() += tokens);
    assert_eq!(counts, (300..330).map(|n| (u128::from(n), document(n).len() as i64 + 1)).collect());
    // The pieces of a row follow one another, and so do those of a document.
    let (rows, starts) = (integers(&batch, "row"), integers(&batch, "start"));
    assert!(rows.is_sorted() && rows.last() == Some(&(rows.iter().collect::<std::collections::BTreeSet<_>>().len() as i64 - 1)));
    let cut: Vec<usize> = (1..starts.len()).filter(|i| starts[*i] > 0).collect();
    assert!(!cut.is_empty() && cut.iter().all(|i| ids(&batch)[*i] == ids(&batch)[i - 1] && rows[*i] == rows[i - 1] + 1));
}

#[test]
fn columns_of_documents_stand_beside_predictions() {
    let _alone = crate::tests::alone();
    let (world, cases) = world();
    let dir = world.dir("documents");
    // In another order than the tokens, in two files.
    let colour = |id: u128| ["red", "green", "blue"][id as usize % 3].to_string();
    let mut files = Vec::new();
    for (part, range) in [(0, 110..400u128), (1, 0..110)] {
        let all: Vec<u128> = range.rev().collect();
        let texts = |of: &dyn Fn(u128) -> String| -> arrow::array::ArrayRef {
            Arc::new(all.iter().map(|id| Some(of(*id))).collect::<StringArray>())
        };
        let column = |name: &str, values: arrow::array::ArrayRef| Column(Field::new(name, values.data_type().clone(), false), values);
        let batch = tables::batch(vec![
            column("id", Arc::new(FixedSizeBinaryArray::try_from_iter(all.iter().map(|id| id.to_le_bytes())).unwrap())),
            column("source", texts(&|_| "mails".into())),
            column("text", texts(&|id| format!("text {id}"))),
            column("colour", texts(&colour)),
            column("gold", texts(&|id| format!("gold {id}"))),
            column("extra", texts(&|_| "{}".into())),
        ]);
        let job = world.job("documents", Task::Predict(serde_json::from_value(json!({})).unwrap()), &[]);
        tables::write_part(&job, "documents", part, &batch.unwrap()).unwrap();
        files.push((format!("documents/part-{part:05}.parquet"), all.len() as u64));
    }
    let files: Vec<_> = files.iter().map(|(path, rows)| (path.as_str(), "documents", None, *rows)).collect();
    artifact(&dir, Kind::Documents, &files, json!({}));
    for (model, tokens) in cases {
        let inputs = [("model", model), ("tokens", tokens), ("documents", "documents")];
        let (batch, _) = world.predict(&format!("{model}-columns"), json!({"batch_size": 1, "max_new_tokens": 4}), &inputs);
        let expected: Vec<String> = ids(&batch).into_iter().map(colour).collect();
        assert_eq!(strings(&batch, "colour"), expected, "{model}");
        let gold = if model == "classes" { "document_gold" } else { "gold" };
        assert_eq!(strings(&batch, gold)[2], format!("gold {}", ids(&batch)[2]), "{model}");
        assert!(batch.column_by_name("text").is_none() && batch.column_by_name("extra").is_none(), "{model}");
    }
    let some = |columns: Value| {
        let settings: Predict = serde_json::from_value(json!({"columns": columns})).unwrap();
        let inputs = [("model", "gpt"), ("tokens", "causal"), ("documents", "documents")];
        let job = world.job(&format!("some-{columns}").replace(['"', '[', ']'], ""), Task::Predict(settings.clone()), &inputs);
        let done = predict::predict(&job, &settings, &mut worker(false)).map_err(|error| error.to_string());
        done.map(|_| read(&job.draft.join("predictions/part-00000.parquet")))
    };
    let batch = some(json!(["text"])).unwrap();
    assert_eq!(strings(&batch, "text")[0], format!("text {}", ids(&batch)[0]));
    assert!(batch.column_by_name("colour").is_none());
    let error = some(json!(["color"])).unwrap_err();
    assert!(error.starts_with("table `documents` has no column `color`, did you mean `colour`?"), "{error}");
}
