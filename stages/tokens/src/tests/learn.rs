//! Tests of `learn-tokenizer`: settings, and what is taken of which source.

use super::*;

/// Documents of sources with the given numbers of documents of about 1000 bytes.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Sources {
    documents: Vec<(String, usize)>,
}

impl Stage for Sources {
    const NAME: &'static str = "sources";
    const ABOUT: &'static str = "Documents of a test.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Documents;

    fn run(&self, ctx: &Context, _: &Inputs, draft: &Draft) -> anyhow::Result<()> {
        let schema = engine::schema::documents(&[]);
        draft.declare("documents", schema.clone())?;
        draft.count("records", self.documents.iter().map(|(_, count)| *count as i64).sum());
        draft.parts(ctx, &vec![Part { bytes: 1 }; self.documents.len()], |index, part| {
            let (source, n) = &self.documents[index];
            let texts: Vec<String> = (0..*n).map(|row| format!("{source}{row} says something or other. ").repeat(1000 / 32)).collect();
            let hashes = texts.iter().map(|text| blake3::hash(text.as_bytes()).as_bytes()[..16].to_vec());
            let hashes: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(hashes)?);
            let columns = vec![
                hashes.clone(),
                hashes,
                Arc::new(StringArray::from(vec![source.as_str(); *n])),
                Arc::new(StringArray::from(vec!["a.jsonl"; *n])),
                Arc::new(Int64Array::from_iter_values(0..*n as i64)),
                new_null_array(&DataType::Int64, *n),
                Arc::new(StringArray::from(texts)),
                new_null_array(&DataType::Utf8, *n),
            ];
            part.write("documents", &RecordBatch::try_new(schema.clone(), columns)?)
        })
    }
}

/// A source, and its four numbers in the table `sample`.
type Sampled = (String, [i64; 4]);

/// Learns, and gives the table `sample`: source, documents, bytes, taken documents, taken bytes.
fn sample(dir: &Path, documents: &[(&str, usize)], learn: Value) -> anyhow::Result<(Artifact, Vec<Sampled>)> {
    let documents = documents.iter().map(|(name, count)| (name.to_string(), *count)).collect();
    let ctx = context(2);
    let documents = run_alone(&Sources { documents }, &ctx, &Inputs::new(Vec::new(), Vec::new()), &dir.join("documents"))?;
    let inputs = Inputs::new(vec![("documents".into(), documents)], Vec::new());
    let tokenizer = run_alone(&settings::<LearnTokenizer>(learn), &ctx, &inputs, &dir.join("tokenizer"))?;
    let batch = tokenizer.table("sample")?.read(0, None, 1000)?.next().unwrap()?;
    let sources = batch.column(0).as_string::<i32>().iter().map(|name| name.unwrap().to_string());
    let row = |row: usize| std::array::from_fn(|n| batch.column(n + 1).as_primitive::<Int64Type>().value(row));
    let rows = sources.enumerate().map(|(n, name)| (name, row(n))).collect();
    Ok((tokenizer, rows))
}

#[test]
fn each_source_gives_no_more_than_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let sources = [("books", 40), ("news", 2000), ("web", 4000)];
    let learn = json!({"vocabulary_size": 400, "max_bytes_per_source": 1_000_000});
    let (artifact, rows) = sample(dir.path(), &sources, learn).unwrap();
    assert_eq!(rows.iter().map(|(name, row)| (name.as_str(), row[0])).collect::<Vec<_>>(), [("books", 40), ("news", 2000), ("web", 4000)]);
    assert_eq!(rows[0].1[..2], rows[0].1[2..]);
    for (name, [_, _, _, taken]) in &rows[1..] {
        assert!((850_000..1_150_000).contains(taken), "{name}: {taken}");
    }
    assert_eq!(artifact.manifest.count("learned_bytes"), rows.iter().map(|(_, row)| row[3]).sum::<i64>());
    assert_eq!(artifact.manifest.count("learned_documents"), rows.iter().map(|(_, row)| row[2]).sum::<i64>());
}

#[test]
fn all_sources_together_give_no_more_than_max_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let learn = json!({"vocabulary_size": 400, "max_bytes_per_source": 1_000_000, "max_bytes": 1_000_000});
    let (_, rows) = sample(dir.path(), &[("news", 2000), ("web", 4000)], learn).unwrap();
    for (name, [_, _, _, taken]) in &rows {
        assert!((400_000..600_000).contains(taken), "{name}: {taken}");
    }
}

#[test]
fn other_documents_change_nothing_in_what_is_taken() {
    let taken = |sources: &[(&str, usize)]| {
        let dir = tempfile::tempdir().unwrap();
        let (_, rows) = sample(dir.path(), sources, json!({"vocabulary_size": 400, "max_bytes_per_source": 500_000})).unwrap();
        rows.into_iter().find(|(name, _)| name == "news").unwrap()
    };
    assert_eq!(taken(&[("news", 2000)]), taken(&[("books", 10), ("news", 2000), ("web", 300)]));
}

#[test]
fn too_small_a_sample_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = sample(dir.path(), &[("news", 20)], json!({"vocabulary_size": 400, "max_bytes": 1})).unwrap_err();
    assert_eq!(error.to_string(), "of 20 documents none is taken: `max_bytes` or `max_bytes_per_source` is too small");
}

#[test]
fn every_kind_and_style_is_learned() {
    for (kind, style, special) in [
        ("byte-level-bpe", "llama3", "<|begin_of_text|>"),
        ("byte-fallback-bpe", "llama2", "<unk>"),
        ("wordpiece", "bert-cased", "[PAD]"),
        ("unigram", "t5", "<pad>"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let learn = json!({"kind": kind, "style": style, "vocabulary_size": 400});
        let (artifact, _) = sample(dir.path(), &[("news", 50)], learn).unwrap();
        assert_eq!(text::Tokenizer::load(&artifact.dir).unwrap().vocabulary()[0], (0, special.to_string(), true));
    }
}
