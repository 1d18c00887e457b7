//! Every packing, type of ids, file format and model gives back every document of real corpora, token by token and byte by byte.

use super::*;
use arrow::array::Array;
use arrow::datatypes::{Int32Type, UInt16Type, UInt32Type};
use shards::Span;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// The first texts of a file in data-samples/text/.
fn sample(name: &str, count: usize) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data-samples/text").join(name);
    let lines = String::from_utf8(zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap()).unwrap();
    let text = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_string();
    lines.lines().take(count).map(text).collect()
}

fn samples() -> Vec<Vec<Document>> {
    let texts = [("help-en.jsonl.zst", 60), ("help-zh.jsonl.zst", 60), ("tang-poems.jsonl.zst", 300), ("speeches.jsonl.zst", 3)];
    let splits = ["train", "train", "valid", "train", "train", "test"];
    let documents = |(name, count): (&str, usize)| {
        let texts = sample(name, count).into_iter().chain([String::new()]);
        texts.zip(splits.iter().cycle()).map(|(text, split)| document(&text, None, split)).collect()
    };
    texts.into_iter().map(documents).collect()
}

/// Documents and tokenizers to make tokens of.
struct World {
    dir: tempfile::TempDir,
    documents: Vec<Document>,
    inputs: BTreeMap<&'static str, Inputs>,
}

impl World {
    fn new(parts: Vec<Vec<Document>>) -> World {
        let (dir, ctx) = (tempfile::tempdir().unwrap(), context(2));
        let none = Inputs::new(Vec::new(), Vec::new());
        let made = run_alone(&Source { parts: parts.clone() }, &ctx, &none, &dir.path().join("documents")).unwrap();
        let inputs = [("causal", "byte-level-bpe", 1000), ("masked", "wordpiece", 6000)].map(|(model, kind, size)| {
            let learn = settings::<LearnTokenizer>(json!({"kind": kind, "vocabulary_size": size}));
            let inputs = Inputs::new(vec![("documents".into(), made.clone())], Vec::new());
            let tokenizer = run_alone(&learn, &ctx, &inputs, &dir.path().join(kind)).unwrap();
            (model, Inputs::new(vec![("documents".into(), made.clone()), ("tokenizer".into(), tokenizer)], Vec::new()))
        });
        World { dir, documents: parts.into_iter().flatten().collect(), inputs: inputs.into() }
    }

    fn tokenize(&self, threads: usize, settings: Value) -> anyhow::Result<Artifact> {
        self.tokenize_in(&self.folder(), &context(threads), &settings)
    }

    fn folder(&self) -> std::path::PathBuf {
        tempfile::tempdir_in(self.dir.path()).unwrap().keep().join("tokens")
    }

    fn tokenize_in(&self, folder: &Path, ctx: &Context, settings: &Value) -> anyhow::Result<Artifact> {
        let model = settings.get("model").map_or("causal", |model| model.as_str().unwrap());
        run_alone(&self::settings::<Tokenize>(settings.clone()), ctx, &self.inputs[model], folder)
    }

    fn tokenizer(&self, model: &str) -> text::Tokenizer {
        text::Tokenizer::load(&self.inputs[model].artifact("tokenizer").unwrap().dir).unwrap()
    }
}

type Rows = Vec<(Vec<u32>, Vec<Span>)>;

/// The rows of a split, from files of either format.
fn rows(artifact: &Artifact, split: &str) -> Rows {
    let table = artifact.table("tokens").unwrap();
    let mut rows = Vec::new();
    for (file, shard) in table.files.iter().enumerate().filter(|(_, file)| file.split.as_deref() == Some(split)) {
        if shard.path.extension().is_some_and(|extension| extension == "parquet") {
            let before = rows.len();
            table.read(file, None, 100).unwrap().for_each(|batch| rows.extend(rows_of_batch(&batch.unwrap())));
            assert_eq!((rows.len() - before) as u64, shard.rows);
            continue;
        }
        let reader = packed::Reader::new(&[ShardFile { path: shard.path.clone(), rows: shard.rows, bytes: Some(shard.bytes) }]);
        for row in 0..reader.rows() {
            let mut tokens = Vec::new();
            reader.append_tokens(row, &mut tokens).unwrap();
            rows.push((tokens.into_iter().map(|token| token as u32).collect(), reader.spans(row).unwrap()));
        }
    }
    rows
}

fn rows_of_batch(batch: &RecordBatch) -> Rows {
    let row = |row: usize| {
        let tokens = batch.column(0).as_fixed_size_list().value(row);
        let tokens = match tokens.as_primitive_opt::<UInt16Type>() {
            Some(tokens) => tokens.values().iter().map(|token| u32::from(*token)).collect(),
            None => tokens.as_primitive::<UInt32Type>().values().to_vec(),
        };
        let spans = batch.column(1).as_list::<i32>().value(row);
        let (documents, starts) = (spans.as_struct().column(0).as_fixed_size_binary(), spans.as_struct().column(1));
        let lengths = spans.as_struct().column(2).as_primitive::<Int32Type>();
        let span = |i: usize| Span {
            document: documents.value(i).try_into().unwrap(),
            start: starts.as_primitive::<Int64Type>().value(i),
            length: lengths.value(i),
            weight: 1.0,
        };
        (tokens, (0..spans.len()).map(span).collect())
    };
    (0..batch.num_rows()).map(row).collect()
}

/// Puts the documents of a split together; checks that spans tile their rows.
fn put_together(rows: &Rows, padding: u32) -> BTreeMap<[u8; 16], Vec<u32>> {
    let mut pieces: BTreeMap<([u8; 16], i64), Vec<u32>> = BTreeMap::new();
    for (tokens, spans) in rows {
        let mut position = 1;
        for span in spans {
            let end = position + span.length as usize;
            assert!(span.length > 0);
            assert_eq!(pieces.insert((span.document, span.start), tokens[position..end].to_vec()), None);
            position = end;
        }
        assert!(tokens[position..].iter().all(|token| *token == padding));
    }
    let mut documents: BTreeMap<[u8; 16], Vec<u32>> = BTreeMap::new();
    for ((id, start), tokens) in pieces {
        let document = documents.entry(id).or_default();
        assert_eq!(document.len() as i64, start);
        document.extend(tokens);
    }
    documents
}

/// Compares all rows with the texts; `frame` is what stands around each document.
fn check_documents(world: &World, artifact: &Artifact, model: &str, frame: (&[u32], &[u32]), padding: u32) {
    let tokenizer = world.tokenizer(model);
    let (mut found, mut cut, mut truncated) = (0, 0, 0);
    for split in ["train", "valid", "test"] {
        for (id, tokens) in put_together(&rows(artifact, split), padding) {
            let document = &world.documents[u128::from_le_bytes(id) as usize - 1];
            assert_eq!(document.split, split);
            let whole = [frame.0, &tokenizer.encode(&document.text).unwrap(), frame.1].concat();
            found += 1;
            if tokens.len() < whole.len() {
                (cut, truncated) = (cut + whole.len() - tokens.len(), truncated + 1);
                let kept = tokens.len() - usize::from(model == "masked");
                assert_eq!((&tokens[..kept], &tokens[kept..]), (&whole[..kept], &frame.1[..tokens.len() - kept]));
                continue;
            }
            assert_eq!(tokens, whole);
            if model == "causal" {
                let text = &tokens[frame.0.len()..tokens.len() - frame.1.len()];
                assert_eq!(tokenizer.decode(text).unwrap(), document.text);
            }
        }
    }
    assert_eq!(found, world.documents.len() - artifact.manifest.count("documents_rejected") as usize);
    assert_eq!((cut, truncated), (artifact.manifest.count("tokens_cut") as usize, artifact.manifest.count("documents_truncated")));
    for (table, column, count) in [
        ("unigrams", "count", "tokens_stored"),
        ("spans", "length", "tokens_stored"),
        ("statistics", "tokens", "tokens_stored"),
        ("statistics", "tokens_cut", "tokens_cut"),
        ("statistics", "padding", "padding"),
        ("statistics", "documents", "documents_stored"),
        ("statistics", "documents_divided", "documents_divided"),
    ] {
        assert_eq!(sum(artifact, table, column), artifact.manifest.count(count), "{table}.{column}");
    }
}

#[test]
fn every_packing_dtype_format_and_model_gives_back_every_document() {
    let world = World::new(samples());
    for packing in ["pack", "best-fit", "one-per-row"] {
        for (format, dtype) in [("arrow", "u16"), ("arrow", "u32"), ("parquet", "u16"), ("parquet", "u32")] {
            for (model, context, end) in [("causal", 0, 0), ("masked", 2, 3)] {
                let artifact = world
                    .tokenize(2, json!({"packing": packing, "format": format, "dtype": dtype, "model": model, "sequence_length": 128, "shard_tokens": 10_000}))
                    .unwrap();
                assert_eq!(artifact.fact::<String>("dtype").unwrap(), dtype);
                assert!(artifact.table("tokens").unwrap().files.len() > 4);
                check_documents(&world, &artifact, model, (&[], &[end]), 0);
                check_contexts(&artifact, packing == "pack" && model == "causal", context);
                check_spans(&artifact);
                if packing == "best-fit" {
                    check_whole(&artifact, if model == "causal" { 128 } else { 127 });
                }
            }
        }
    }
}

/// Token 0 of every row.
fn check_contexts(artifact: &Artifact, overlap: bool, first: u32) {
    for split in ["train", "valid", "test"] {
        let mut expected = first;
        for (tokens, _) in rows(artifact, split) {
            assert_eq!(tokens[0], expected);
            expected = if overlap { *tokens.last().unwrap() } else { first };
        }
    }
}

/// The table `spans` says what the rows say.
fn check_spans(artifact: &Artifact) {
    let table = artifact.table("spans").unwrap();
    let mut found = Vec::new();
    for file in 0..table.files.len() {
        for batch in table.read(file, None, 1000).unwrap().map(Result::unwrap) {
            let number = |column: usize, row| batch.column(column).as_primitive::<Int64Type>().value(row);
            found.extend((0..batch.num_rows()).map(|row| {
                let split = batch.column(0).as_string::<i32>().value(row).to_string();
                let document: [u8; 16] = batch.column(2).as_fixed_size_binary().value(row).try_into().unwrap();
                (split, number(1, row), document, number(3, row), number(4, row))
            }));
        }
    }
    let of_rows = ["test", "train", "valid"].into_iter().flat_map(|split| {
        let rows = (0..).zip(rows(artifact, split));
        rows.flat_map(move |(row, (_, spans))| {
            spans.into_iter().map(move |span| (split.to_string(), row, span.document, span.start, i64::from(span.length)))
        })
    });
    assert_eq!(found, of_rows.collect::<Vec<_>>());
}

/// No document is in two rows that fits into one, and little is padding.
fn check_whole(artifact: &Artifact, room: i64) {
    let mut longest: BTreeMap<[u8; 16], (i64, i64)> = BTreeMap::new();
    for (_, spans) in ["train", "valid", "test"].into_iter().flat_map(|split| rows(artifact, split)) {
        for span in spans {
            let (pieces, tokens) = longest.entry(span.document).or_default();
            (*pieces, *tokens) = (*pieces + 1, *tokens + i64::from(span.length));
        }
    }
    assert!(longest.values().all(|(pieces, tokens)| *pieces == (tokens + room - 1) / room));
    let divided = longest.values().filter(|(pieces, _)| *pieces > 1).count();
    assert_eq!(artifact.manifest.count("documents_divided"), divided as i64);
    let padding: f64 = artifact.fact("share_padding").unwrap();
    assert!(padding > 0.0 && padding < 0.1, "{padding}");
}

#[test]
fn tokens_stand_around_documents_as_asked() {
    let world = World::new(corpus(2, 30));
    for packing in ["pack", "best-fit", "one-per-row"] {
        for (bos, eos) in [(true, true), (true, false), (false, false), (false, true)] {
            let settings = json!({"packing": packing, "bos": bos, "eos": eos, "sequence_length": 64});
            let artifact = world.tokenize(1, settings).unwrap();
            let around = |asked| if asked { &[0][..] } else { &[] };
            check_documents(&world, &artifact, "causal", (around(bos), around(eos)), 0);
            // Only what has no token at all is no document.
            let empty = world.documents.iter().filter(|document| document.text.is_empty()).count();
            let rejected = if bos || eos { vec![] } else { vec!["empty".to_string(); empty] };
            assert_eq!(rejects(&artifact), rejected);
        }
    }
    let artifact = world.tokenize(1, json!({"model": "masked", "eos": false, "sequence_length": 64})).unwrap();
    check_documents(&world, &artifact, "masked", (&[], &[]), 0);
}

#[test]
fn shards_of_any_size_hold_the_same_rows() {
    let world = World::new(samples());
    let whole = world.tokenize(2, json!({"sequence_length": 100})).unwrap();
    for shard_tokens in [1024, 12_345] {
        let artifact = world.tokenize(2, json!({"sequence_length": 100, "shard_tokens": shard_tokens})).unwrap();
        for split in ["train", "valid", "test"] {
            assert_eq!(rows(&artifact, split), rows(&whole, split));
        }
        let rows_max = (shard_tokens as u64).div_ceil(101);
        let files = artifact.table("tokens").unwrap().files;
        assert!(files.len() > 20 && files.iter().all(|file| file.rows <= rows_max));
    }
}

#[test]
fn threads_change_no_byte_of_a_packing() {
    let world = World::new(samples());
    for settings in [
        json!({"packing": "best-fit", "shard_tokens": 10_000}),
        json!({"packing": "one-per-row", "sequence_length": 64, "shard_tokens": 20_000, "format": "parquet"}),
        json!({"shard_tokens": 10_000}),
    ] {
        let fingerprint = |threads| world.tokenize(threads, settings.clone()).unwrap().manifest.fingerprint;
        assert_eq!(fingerprint(1), fingerprint(4), "{settings}");
    }
}

/// Stops a run once some parts are finished.
struct StopAfter {
    parts: AtomicI64,
    stop: Arc<AtomicBool>,
}

impl engine::Progress for StopAfter {
    fn update(&self, _: u64, _: u64, _: &str) {
        if self.parts.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_stopped_packing_goes_on_with_the_next_shard() {
    let world = World::new(samples());
    for packing in ["pack", "best-fit"] {
        let settings = json!({"packing": packing, "shard_tokens": 20_000});
        let whole = world.tokenize(1, settings.clone()).unwrap();
        // Four files of documents, then shards; of `best-fit` their numbers of rows come before.
        for finished in [2, 4, 9, 12] {
            let folder = world.folder();
            let mut ctx = context(1);
            ctx.progress = Arc::new(StopAfter { parts: finished.into(), stop: ctx.stop.clone() });
            world.tokenize_in(&folder, &ctx, &settings).unwrap_err();
            let artifact = world.tokenize_in(&folder, &context(2), &settings).unwrap();
            // Parts that were finished before the stop was seen are kept too: one at work and two that waited for the disk.
            let resumed = artifact.manifest.usage.parts_resumed as i64;
            assert!((finished..=finished + 3).contains(&resumed), "{resumed} of {finished}");
            assert_eq!(artifact.manifest.fingerprint, whole.manifest.fingerprint);
        }
    }
}

#[test]
fn long_texts_are_rejected() {
    let world = World::new(corpus(1, 25));
    let artifact = world.tokenize(1, json!({"document_bytes_max": 200})).unwrap();
    let long = world.documents.iter().filter(|document| document.text.len() > 200).count();
    assert!(long > 3);
    assert_eq!(rejects(&artifact), vec!["too_long"; long]);
    assert_eq!(artifact.manifest.count("documents_rejected"), long as i64);
    assert_eq!(artifact.manifest.count("documents_stored"), (world.documents.len() - long) as i64);
}

#[test]
fn altered_shards_are_found_by_length_and_hash() {
    let world = World::new(corpus(1, 25));
    for format in ["arrow", "parquet"] {
        let artifact = world.tokenize(1, json!({"format": format})).unwrap();
        artifact.verify().unwrap();
        let path = artifact.table("tokens").unwrap().files[0].path.clone();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = artifact.verify().unwrap_err().to_string();
        assert!(error.contains(&format!("shard-00000.{format}` has other bytes than when it was written")), "{error}");
        std::fs::write(&path, &bytes[1..]).unwrap();
        let error = artifact.verify().unwrap_err().to_string();
        assert!(
            error.contains(&format!("shard-00000.{format}` has {} bytes, the manifest says {}", bytes.len() - 1, bytes.len())),
            "{error}"
        );
    }
    let artifact = world.tokenize(1, json!({"format": "parquet"})).unwrap();
    let error = packed::Reader::new(&shards_of(&artifact, "train")).used(0).unwrap_err().to_string();
    assert!(error.contains("is a Parquet file, which only SQL and other tools read; run `tokenize` with format = \"arrow\""), "{error}");
}
