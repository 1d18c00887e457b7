//! What tokens do not hold whole is read from the documents.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray, StringArray};
use arrow::datatypes::{Field, Int64Type, Schema};
use engine::Part;

use super::*;

/// Writes documents for tests: columns of texts, with the ids that [`Tokens`] gives the rows of its shard.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Documents {
    shard: u64,
    columns: Vec<(String, Vec<String>)>,
}

impl Stage for Documents {
    const NAME: &'static str = "split";
    const ABOUT: &'static str = "Writes documents for tests.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Documents;

    fn run(&self, ctx: &Context, _: &Inputs, draft: &Draft) -> Result<()> {
        let rows = self.columns[0].1.len() as u64;
        let ids = (0..rows).map(|row| u128::from(self.shard * 1000 + row).to_le_bytes());
        let mut columns: Vec<(String, ArrayRef)> = vec![("id".into(), Arc::new(FixedSizeBinaryArray::try_from_iter(ids)?))];
        for (name, texts) in &self.columns {
            columns.push((name.clone(), Arc::new(StringArray::from_iter_values(texts))));
        }
        let fields: Vec<Field> = columns.iter().map(|(name, values)| Field::new(name, values.data_type().clone(), false)).collect();
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, values)| values).collect())?;
        draft.count("records", rows as i64);
        draft.declare("documents", schema)?;
        draft.parts(ctx, &[Part { bytes: 1 }], |_, part| part.write("documents", &batch))
    }
}

/// The predictions of the stage over tokens that a step with these settings made of these documents, if any, of the last shard.
fn run_with(tokens: &Tokens, made_with: Json, documents: Option<Vec<(&str, Vec<&str>)>>, tokenizer: Option<Words>) -> RecordBatch {
    let (ctx, folder) = (context(2), tempfile::tempdir().unwrap());
    let none = Inputs::new(vec![], vec![]);
    let mut artifact = run_alone(tokens, &ctx, &none, &folder.path().join("tokens")).unwrap();
    artifact.manifest.key_parts = json!({"settings": made_with});
    let mut inputs = vec![("tokens".to_string(), artifact)];
    if let Some(columns) = documents {
        let texts = |texts: Vec<&str>| -> Vec<String> { texts.into_iter().map(str::to_string).collect() };
        let columns = columns.into_iter().map(|(name, of)| (name.to_string(), texts(of))).collect();
        let documents = Documents { shard: tokens.shards.len() as u64 - 1, columns };
        inputs.push(("documents".into(), run_alone(&documents, &ctx, &none, &folder.path().join("documents")).unwrap()));
    }
    if let Some(words) = tokenizer {
        inputs.push(("tokenizer".into(), run_alone(&words, &ctx, &none, &folder.path().join("tokenizer")).unwrap()));
    }
    let baseline: Baseline = serde_json::from_value(json!({})).unwrap();
    let predictions = run_alone(&baseline, &ctx, &Inputs::new(inputs, vec![]), &folder.path().join("predictions")).unwrap();
    predictions.table("predictions").unwrap().read(0, None, 10).unwrap().next().unwrap().unwrap()
}

#[test]
fn words_that_a_row_does_not_hold_are_of_no_entity() {
    let row = |tokens: &[u32], labels: &[i64]| {
        let words: Vec<i64> = std::iter::once(-1).chain(0..tokens.len() as i64).chain([-1]).collect();
        let labels: Vec<i64> = std::iter::once(-100).chain(labels.iter().copied()).chain([-100]).collect();
        ([&[30][..], tokens, &[31]].concat(), vec![json!(labels), json!(words)])
    };
    let tokens = Tokens {
        facts: facts(json!({
            "layout": "tag", "classes": ["B-X", "I-X", "O"], "scheme": "iob2", "tag_scheme": "iob2", "label_all": false, "sequence_length": 4,
        })),
        columns: vec![("labels".into(), String::new()), ("words".into(), String::new())],
        shards: vec![("train".into(), vec![row(&[1, 2], &[0, 2])]), ("test".into(), vec![row(&[2, 1], &[2, 0]), row(&[1], &[0])])],
    };
    let settings = || json!({"layout": "tag", "words": "words", "tags": "tags"});
    let list = |batch: &RecordBatch, name: &str, row: usize| {
        let list = batch.column_by_name(name).unwrap().as_list::<i32>().value(row);
        list.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect::<Vec<_>>()
    };
    let cut = |batch: &RecordBatch| batch.column_by_name("words_cut").unwrap().as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
    let batch = run_with(&tokens, settings(), Some(vec![("tags", vec!["O B-X I-X O B-X", "B-X"])]), None);
    assert_eq!(list(&batch, "gold", 0), ["O", "B-X", "I-X", "O", "B-X"]);
    assert_eq!(list(&batch, "prediction", 0), ["O", "B-X", "O", "O", "O"]);
    assert_eq!((list(&batch, "gold", 1), cut(&batch)), (vec!["B-X".to_string()], vec![Some(3), Some(0)]));
    // Without documents nothing is known of what was cut off a full row.
    let batch = run_with(&tokens, settings(), None, None);
    assert_eq!((list(&batch, "gold", 0), cut(&batch)), (vec!["O".to_string(), "B-X".into()], vec![None, Some(0)]));
}

#[test]
fn texts_are_those_of_the_documents() {
    let tokens = Tokens {
        facts: json!({"layout": "translate", "vocab_size": 3}),
        columns: vec![("labels".into(), String::new())],
        shards: vec![("test".into(), vec![(vec![0, 2], vec![json!([1])])])],
    };
    let words = || Some(Words { words: ["one", "two", "three"].map(str::to_string) });
    let settings = || json!({"layout": "translate", "source": "zh", "target": "en"});
    let said = |batch: RecordBatch| ["source", "reference", "prediction"].map(|name| strings(&batch, name).remove(0));
    let batch = run_with(&tokens, settings(), Some(vec![("zh", vec!["One  three four"]), ("en", vec!["TWO"])]), words());
    assert_eq!(said(batch), ["One  three four", "TWO", "One  three four"]);
    assert_eq!(said(run_with(&tokens, settings(), None, words())), ["one three", "two", "one three"]);
    // What a prompt ends in is no part of its text.
    let prompts = Tokens {
        facts: json!({"layout": "complete", "vocab_size": 3, "separator": " three"}),
        columns: vec![("labels".into(), String::new())],
        shards: vec![("test".into(), vec![(vec![0, 2, 1], vec![json!([-100, -100, 1])])])],
    };
    assert_eq!(said(run_with(&prompts, json!({"layout": "complete"}), None, words())), ["one", "two", "one"]);
}
