//! The layout `pairs`.

use super::*;

/// Sentences of three tokens each, `wN 好 。`, numbered over all documents; documents of the given numbers of sentences, in two splits.
fn numbered(sizes: &[usize]) -> Vec<Value> {
    let mut next = 0;
    let document = |(n, size): (usize, &usize)| {
        let text: String = (next..next + size).map(|n| format!("w{n}好。")).collect();
        next += size;
        json!({"text": text, "split": if n % 4 == 3 { "valid" } else { "train" }})
    };
    sizes.iter().enumerate().map(document).collect()
}

fn words() -> Value {
    vocabulary(&(0..400).map(|n| format!("w{n}")).chain(["好".into(), "。".into()]).collect::<Vec<_>>().join(" "))
}

fn settings_of(objective: &str, more: Value) -> Value {
    let mut settings = json!({"layout": "pairs", "model": "masked", "objective": objective, "sequence_length": 15});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

/// A row: document, document of the second segment, whether its class is 1, both segments as they stand.
struct Row {
    id: usize,
    other: usize,
    label: bool,
    segments: [Vec<i64>; 2],
}

fn pairs(artifact: &Artifact, split: &str) -> Vec<Row> {
    let reader = examples::Reader::new(&shards_of(artifact, split));
    let number = |id: [u8; 16]| u128::from_le_bytes(id) as usize - 1;
    let row = |row: u64| {
        let (Cell::UInt8s(segments), Cell::Id(other)) = (reader.value(row, "segments").unwrap(), reader.value(row, "other").unwrap())
        else {
            panic!("other columns were written")
        };
        let tokens = tokens_of(&reader, row);
        let middle = segments.iter().position(|segment| *segment == 1).unwrap();
        assert!(segments[middle..].iter().all(|segment| *segment == 1));
        assert_eq!((tokens[0], tokens[middle - 1], tokens[tokens.len() - 1]), (2, 3, 3));
        let segments = [tokens[1..middle - 1].to_vec(), tokens[middle..tokens.len() - 1].to_vec()];
        assert!(segments.iter().all(|segment| !segment.is_empty()));
        Row { id: number(reader.id(row).unwrap()), other: number(other), label: reader.label(row).unwrap() == 1, segments }
    };
    (0..reader.rows()).map(row).collect()
}

#[test]
fn every_sentence_is_used_once_in_order() {
    // Documents of 1 to 9 sentences in several batches; the last one is of a split of its own in its file.
    let sizes: Vec<usize> = (0..80).map(|n| 1 + n * 5 % 9).collect();
    let documents = numbered(&sizes);
    for (objective, short) in [("next-sentence", 0.0), ("next-sentence", 0.5), ("sentence-order", 0.0), ("sentence-order", 0.5)] {
        let settings = settings_of(objective, json!({"short_probability": short}));
        let (_dir, artifact) = run(1, std::slice::from_ref(&documents), &words(), settings).unwrap();
        let tokenizer = text::Tokenizer::load(&artifact.dir.with_file_name("tokenizer")).unwrap();
        let tokens = |document: usize| -> Vec<i64> {
            tokenizer.encode(documents[document]["text"].as_str().unwrap()).unwrap().into_iter().map(i64::from).collect()
        };
        let mut own: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
        let (mut rows, mut borrowed, mut second_class) = (0, 0, 0);
        for split in ["train", "valid"] {
            for row in pairs(&artifact, split) {
                let [first, second] = &row.segments;
                assert_eq!(documents[row.other]["split"], split);
                assert!(first.len() + second.len() <= 12 && first.len() % 3 == 0 && second.len() % 3 == 0);
                rows += 1;
                second_class += usize::from(row.label);
                let own = own.entry(row.id).or_default();
                if objective == "next-sentence" {
                    assert_eq!(row.label, row.other != row.id);
                    own.extend(first);
                    if row.label {
                        borrowed += second.len() as i64;
                        let all = tokens(row.other);
                        assert!(all.windows(second.len()).any(|window| window == second));
                    } else {
                        own.extend(second);
                    }
                } else {
                    assert_eq!(row.id, row.other);
                    let [before, after] = if row.label { [second, first] } else { [first, second] };
                    own.extend(before.iter().chain(after));
                }
            }
        }
        let alone = sizes.iter().filter(|size| **size == 1).count();
        assert_eq!(own.len(), if objective == "next-sentence" { 80 } else { 80 - alone });
        for (document, own) in own {
            assert_eq!(own, tokens(document), "{objective} {short}: document {document}");
        }
        let all = sizes.iter().sum::<usize>() as i64 * 3 + 3 * rows;
        assert_eq!((count(&artifact, "tokens_cut"), count(&artifact, "tokens_repeated")), (0, borrowed));
        let rejected_tokens = if objective == "next-sentence" { 0 } else { 3 * alone as i64 };
        assert_eq!((count(&artifact, "tokens_stored"), count(&artifact, "tokens_rejected")), (all - rejected_tokens, rejected_tokens));
        assert!(second_class * 10 > rows as usize * 3 && second_class * 10 < rows as usize * 8, "{second_class} of {rows}");
    }
}

#[test]
fn documents_without_a_partner() {
    // The only document of its split has no other to borrow from; all its pairs are true ones.
    let (_dir, artifact) = run(1, &[numbered(&[9])], &words(), settings_of("next-sentence", json!({}))).unwrap();
    assert!(pairs(&artifact, "train").iter().all(|row| !row.label && row.other == 0));
    let error = run(1, &[numbered(&[1])], &words(), settings_of("next-sentence", json!({}))).unwrap_err().to_string();
    assert!(error.contains("of 1 documents the rules rejected `no_other_document` 1"), "{error}");
    let documents = vec![json!({"text": "w1好。"}), json!({"text": ""}), json!({"text": "w2好。w3好。"})];
    let (_dir, artifact) = run(1, std::slice::from_ref(&documents), &words(), settings_of("sentence-order", json!({}))).unwrap();
    assert_eq!(rejected(&artifact), ["one_sentence", "no_sentence"]);
    assert_eq!(pairs(&artifact, "train").len(), 1);
    let (_dir, artifact) = run(1, &[documents], &words(), settings_of("next-sentence", json!({}))).unwrap();
    assert_eq!(rejected(&artifact), ["no_sentence"]);
    // A single sentence goes with those of another document.
    let row = &pairs(&artifact, "train")[0];
    assert_eq!((row.id, row.other, row.label), (0, 2, true));
}

/// A document of one sentence always borrows; the next row that need not keeps its own sentences.
#[test]
fn what_must_borrow_is_made_good() {
    // Every fourth document is of the split `valid`.
    let sizes = [1, 2, 1, 9].repeat(30);
    let (_dir, artifact) = run(1, &[numbered(&sizes)], &words(), settings_of("next-sentence", json!({}))).unwrap();
    let rows = pairs(&artifact, "train");
    let labels: Vec<(usize, bool)> = rows.iter().map(|row| (sizes[row.id], row.label)).collect();
    // Two single sentences owe two true rows, of which each document of two sentences gives one: a third of the rows is true.
    assert_eq!(labels, [(1, true), (2, false), (1, true)].repeat(30));
    // Documents of nine sentences in the other split have choice enough.
    let rows = pairs(&artifact, "valid");
    let (borrowed, singles) = (rows.iter().filter(|row| row.label).count(), rows.iter().filter(|row| row.segments[0].len() == 3).count());
    assert!(rows.len() > 60 && singles > 20, "{singles} of {}", rows.len());
    assert!(borrowed * 100 > rows.len() * 40 && borrowed * 100 < rows.len() * 60, "{borrowed} of {}", rows.len());
}

/// Choices hang on the seed and the document alone, but for that balance: another document in front changes no pair of a document.
#[test]
fn choices_hang_on_seed_and_document() {
    let run_seeded = |seed: u64| {
        let mut stage: Tokenize = serde_json::from_value(settings_of("sentence-order", json!({}))).unwrap();
        prepare(&mut stage, seed).unwrap();
        let (dir, artifact) = run(1, &[numbered(&[8; 40])], &words(), settings_of("sentence-order", json!({}))).unwrap();
        let open = |name: &str| Artifact::open(&artifact.dir.with_file_name(name)).unwrap();
        let inputs = Inputs::new(vec![("documents".into(), open("documents")), ("tokenizer".into(), open("tokenizer"))], Vec::new());
        let again = run_alone(&stage, &context(1), &inputs, &dir.path().join("again")).unwrap();
        pairs(&again, "train").iter().map(|row| row.label).collect::<Vec<_>>()
    };
    assert_eq!(run_seeded(1), run_seeded(1));
    assert_ne!(run_seeded(1), run_seeded(2));
}

/// Real English and Chinese texts: nothing of a text is lost, half of the pairs are changed, and threads change no byte.
#[test]
fn real_documents_become_pairs() {
    let texts = |name: &str, n: usize| sample(name).into_iter().take(n).map(|row| json!({"text": row["text"]})).collect::<Vec<_>>();
    let parts = [texts("text/speeches", 300), texts("text/tang-poems", 300), texts("text/help-zh", 200)];
    let learn = json!({"kind": "wordpiece", "vocabulary_size": 3000});
    let mut shares = Vec::new();
    for objective in ["next-sentence", "sentence-order"] {
        let settings = settings_of(objective, json!({"sequence_length": 128}));
        let (_dir, artifact) = run(1, &parts, &learn, settings.clone()).unwrap();
        let tokenizer = text::Tokenizer::load(&artifact.dir.with_file_name("tokenizer")).unwrap();
        let rows = pairs(&artifact, "train");
        let whole: usize = parts.iter().flatten().map(|row| tokenizer.encode(row["text"].as_str().unwrap()).unwrap().len()).sum();
        assert_eq!(count(&artifact, "tokens_in"), (whole + 3 * rows.len()) as i64);
        let stored: usize = rows.iter().flat_map(|row| &row.segments).map(Vec::len).sum::<usize>() + 3 * rows.len();
        assert_eq!(stored as i64, count(&artifact, "tokens_stored") + count(&artifact, "tokens_repeated"));
        shares.push((rows.iter().filter(|row| row.label).count(), rows.len(), count(&artifact, "documents_rejected")));
        let (_dir, again) = run(4, &parts, &learn, settings).unwrap();
        assert_eq!(again.manifest.fingerprint, artifact.manifest.fingerprint);
    }
    assert_eq!(shares, [(2369, 4732, 0), (1733, 3471, 1)]);
}
