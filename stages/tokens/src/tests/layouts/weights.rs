//! Weights of documents, in packed rows and in examples.

use super::*;

fn documents() -> Vec<Value> {
    vec![
        json!({"text": "the fox runs .", "weight": 0.5, "kind": "web", "label": "a", "other": "dog", "begin": "0", "tags": "O O O O"}),
        json!({"text": "foxes run", "weight": 2, "kind": "books", "label": "b", "other": "dog", "begin": "0", "tags": "O O"}),
        json!({"text": "the", "weight": null, "kind": "web", "label": "a", "other": "dog", "begin": "0", "tags": "O"}),
        json!({"text": "dog", "weight": -1, "kind": "web", "label": "a", "other": "dog", "begin": "0", "tags": "O"}),
        json!({"text": "run", "weight": 1e39, "kind": "books", "label": "a", "other": "dog", "begin": "0", "tags": "O"}),
        json!({"text": "机器", "weight": 0, "kind": null, "label": "b", "other": "dog", "begin": "0", "tags": "O"}),
    ]
}

fn weighted(layout: Value, weights: Value) -> anyhow::Result<(tempfile::TempDir, Artifact)> {
    let mut settings = layout;
    settings.as_object_mut().unwrap().extend(weights.as_object().unwrap().clone());
    run(2, &[documents()], &vocabulary(TOKENS), settings)
}

fn packed() -> Value {
    json!({"model": "masked", "sequence_length": 8})
}

/// Weight of each span of the rows, and of the table `spans`.
fn spans(artifact: &Artifact) -> (Vec<f32>, Vec<f32>) {
    let reader = packed::Reader::new(&shards_of(artifact, "train"));
    let in_rows = (0..reader.rows()).flat_map(|row| reader.spans(row).unwrap()).map(|span| span.weight).collect();
    let table = artifact.table("spans").unwrap().read(0, Some(&["weight"]), 100).unwrap();
    let in_table = table.flat_map(|batch| batch.unwrap().column(0).as_primitive::<arrow::datatypes::Float32Type>().values().to_vec());
    (in_rows, in_table.collect())
}

#[test]
fn weights_stand_beside_the_pieces_of_documents() {
    let (_dir, artifact) = weighted(packed(), json!({"weight": "weight"})).unwrap();
    // The second document goes on in the second row.
    let expected = vec![0.5, 2.0, 2.0, 0.0];
    assert_eq!(spans(&artifact), (expected.clone(), expected));
    assert_eq!(rejected(&artifact), ["no_weight", "wrong_weight", "wrong_weight"]);
    assert!(artifact.fact::<bool>("weights").unwrap());
    assert_eq!((count(&artifact, "documents_in"), count(&artifact, "documents_stored")), (6, 3));
    let reader = packed::Reader::new(&shards_of(&artifact, "train"));
    assert_eq!(reader.weights(0).unwrap().unwrap(), [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 2.0]);
}

#[test]
fn groups_weigh_by_a_column_and_others_1() {
    let groups = json!({"column": "kind", "weights": {"web": 0.25, "books": 3}});
    let (_dir, artifact) = weighted(packed(), json!({"group_weights": groups})).unwrap();
    assert_eq!(rejected(&artifact), Vec::<String>::new());
    let (mut found, _) = spans(&artifact);
    found.dedup();
    assert_eq!(found, [0.25, 3.0, 0.25, 3.0, 1.0]);
    let (_dir, artifact) = weighted(packed(), json!({"weight": "weight", "group_weights": groups})).unwrap();
    let (mut found, _) = spans(&artifact);
    found.dedup();
    assert_eq!(found, [0.125, 6.0, 0.0]);
    let check = |weights: Value, expected: &str| {
        let message = format!("{:#}", weighted(packed(), weights).unwrap_err());
        assert!(message.contains(expected), "{message}");
    };
    check(
        json!({"group_weights": {"column": "kind", "weights": {"web": 2, "book": 3}}}),
        "group_weights: no document has `book` in the column `kind`, did you mean `books`?; values without a weight: `books`",
    );
    check(json!({"group_weights": {"column": "knid", "weights": {"web": 2}}}), "has no column `knid`");
    check(json!({"weight": "wieght"}), "has no column `wieght`");
}

#[test]
fn every_layout_of_examples_has_a_weight_for_each_row() {
    let layouts = [
        json!({"layout": "classify", "label": "label", "model": "masked"}),
        json!({"layout": "tag", "words": "text", "tags": "tags", "model": "masked"}),
        json!({"layout": "answer", "question": "other", "answer": "text", "answer_start": "begin", "question_length": 16, "stride": 8, "model": "masked"}),
    ];
    for layout in layouts {
        let (_dir, artifact) = weighted(layout.clone(), json!({"weight": "weight"})).unwrap();
        let reader = reader(&artifact);
        let found: Vec<f64> = (0..reader.rows()).map(|row| reader.weight(row).unwrap().unwrap()).collect();
        assert!(!found.is_empty() && found.iter().all(|weight| [0.5, 2.0, 0.0].contains(weight)), "{layout}: {found:?}");
        let wrong = rejected(&artifact).iter().filter(|reject| reject.ends_with("_weight")).count();
        assert!(layout["layout"] != "classify" || (found == [0.5, 2.0, 0.0] && wrong == 3), "{found:?}");
        let (_dir, artifact) = weighted(layout, json!({})).unwrap();
        assert_eq!(super::reader(&artifact).weight(0).unwrap(), None);
        assert!(artifact.fact::<bool>("weights").is_err());
    }
}
