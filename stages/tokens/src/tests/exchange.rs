//! `export` and `import-tokens`: round trips, the originals' own bytes, and files that are damaged.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use engine::InputFile;
use shards::testing::write_packed;

use super::*;
use crate::export::{Dtype, Export, Limits, flat, huggingface, mds, megatron};
use crate::import_tokens::ImportTokens;

const FORMATS: [&str; 5] = ["megatron", "nanogpt", "npy", "mds", "huggingface"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/export/golden").join(name)
}

/// The documents of the golden files; ids are 1, 2, 3, 4 sixteen times.
fn golden_documents() -> Vec<Vec<i64>> {
    vec![vec![5, 6, 7, 0], vec![0], vec![300, 8, 0], (1..=300).chain([0]).collect()]
}

/// Stands in for `tokenize`: documents with the ids 1, 2 … sixteen times, packed for a causal model.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Packed {
    documents: Vec<Vec<i64>>,
    vocabulary_size: usize,
}

impl Stage for Packed {
    const NAME: &'static str = "packed";
    const ABOUT: &'static str = "Tokens of a test.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Tokens;

    fn run(&self, _: &Context, _: &Inputs, draft: &Draft) -> anyhow::Result<()> {
        let relative = "tokens/split=train/shard-00000.arrow";
        let tokens = |document: &Vec<i64>| document.iter().map(|id| *id as u32).collect();
        let documents: Vec<_> = (1..).zip(&self.documents).map(|(n, document)| ([n; 16], tokens(document))).collect();
        draft.rows(relative, write_packed(&draft.file(relative)?, &documents, 9, 0, true)?);
        draft.fact("layout", "packed")?;
        draft.fact("vocab_size", self.vocabulary_size)
    }
}

fn packed_tokens(dir: &Path, documents: Vec<Vec<i64>>, vocabulary_size: usize) -> Artifact {
    let none = Inputs::new(Vec::new(), Vec::new());
    run_alone(&Packed { documents, vocabulary_size }, &context(1), &none, &dir.join("packed")).unwrap()
}

fn export(tokens: &Artifact, threads: usize, format: &str, dir: &Path) -> anyhow::Result<Artifact> {
    let inputs = Inputs::new(vec![("tokens".into(), tokens.clone())], Vec::new());
    run_alone(&settings::<Export>(json!({"format": format})), &context(threads), &inputs, dir)
}

/// Files as `prepare` names them: (split, name, path).
fn import(tokenizer: &Artifact, threads: usize, more: Value, files: &[(&str, &str, PathBuf)], dir: &Path) -> anyhow::Result<Artifact> {
    let mut settings = json!({"paths": {}, "sequence_length": 16});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut found: Vec<InputFile> = files
        .iter()
        .map(|(split, name, path)| InputFile {
            path: path.clone(),
            relative: format!("{split}/00000/{name}"),
            bytes: 1,
            hash: String::new(),
        })
        .collect();
    found.sort_by(|a, b| a.relative.cmp(&b.relative));
    let inputs = Inputs::new(vec![("tokenizer".into(), tokenizer.clone())], found);
    run_alone(&self::settings::<ImportTokens>(settings), &context(threads), &inputs, dir)
}

fn tokenizer(dir: &Path) -> Artifact {
    let tokens = tokenize(dir, 1, corpus(1, 20), bpe(), json!({})).unwrap();
    Artifact::open(&tokens.dir.with_file_name("tokenizer")).unwrap()
}

fn files_of(exported: &Artifact, format: &str, split: &str) -> Vec<(&'static str, PathBuf)> {
    let folder = exported.dir.join("files");
    match format {
        "megatron" => vec![("bin", folder.join(format!("{split}.bin"))), ("idx", folder.join(format!("{split}.idx")))],
        "nanogpt" => vec![("ids", folder.join(if split == "valid" { "val.bin".into() } else { format!("{split}.bin") }))],
        "npy" => vec![("ids", folder.join(format!("{split}.npy")))],
        "mds" => vec![("index.json", folder.join(split).join("index.json"))],
        _ => vec![("state.json", folder.join(split).join("state.json"))],
    }
}

#[test]
fn what_is_exported_and_imported_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokenize(dir.path(), 2, corpus(4, 100), bpe(), json!({"sequence_length": 16})).unwrap();
    let tokenizer = Artifact::open(&tokens.dir.with_file_name("tokenizer")).unwrap();
    for format in FORMATS {
        let exports = [1, 4].map(|threads| export(&tokens, threads, format, &dir.path().join(format!("{format}-{threads}"))).unwrap());
        assert_eq!(exports[0].manifest.fingerprint, exports[1].manifest.fingerprint, "{format}");
        assert_eq!(sum(&exports[0], "tokens", "tokens"), tokens.manifest.count("tokens_stored"));
        assert_eq!(sum(&exports[0], "tokens", "documents"), 400);
        assert_eq!(exports[0].manifest.tables.keys().collect::<Vec<_>>(), ["tokens"], "{format}");
        let files: Vec<_> = ["train", "valid"]
            .into_iter()
            .flat_map(|split| files_of(&exports[0], format, split).into_iter().map(move |(name, path)| (split, name, path)))
            .collect();
        let imports = [1, 4].map(|threads| {
            import(&tokenizer, threads, json!({"format": format}), &files, &dir.path().join(format!("from-{format}-{threads}"))).unwrap()
        });
        assert_eq!(imports[0].manifest.fingerprint, imports[1].manifest.fingerprint, "{format}");
        assert_eq!(imports[0].manifest.count("documents_stored"), 400, "{format}");
        for split in ["train", "valid"] {
            let (before, after) = (unpack(&tokens, split), unpack(&imports[0], split));
            let sorted = |documents: &BTreeMap<[u8; 16], Vec<i64>>| {
                let mut all: Vec<Vec<i64>> = documents.values().cloned().collect();
                all.sort();
                all
            };
            assert_eq!(sorted(&before), sorted(&after), "{format}");
            // The two formats that have columns keep the ids.
            assert!(!["mds", "huggingface"].contains(&format) || before == after, "{format}");
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_originals() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = packed_tokens(dir.path(), golden_documents(), 330);
    let check = |format: &str, files: &[(&str, &str)]| {
        let exported = export(&tokens, 1, format, &dir.path().join(format)).unwrap();
        for (ours, theirs) in files {
            let read = |path: PathBuf| std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(read(exported.dir.join("files").join(ours)), read(golden(theirs)), "{ours}");
        }
        exported
    };
    check("megatron", &[("train.bin", "u16.bin"), ("train.idx", "u16.idx")]);
    check("nanogpt", &[("train.bin", "u16.bin")]);
    check("npy", &[("train.npy", "u16.npy")]);
    check("mds", &[("train/index.json", "mds/index.json"), ("train/shard.00000.mds", "mds/shard.00000.mds")]);
    // An Arrow stream has many spellings; what it says is compared.
    let exported = check("huggingface", &[]);
    let rows = |folder: &Path| {
        let mut rows = Vec::new();
        let mut sink = |found| -> anyhow::Result<()> {
            rows.push(found);
            Ok(())
        };
        huggingface::read(folder, None, &Limits { document_tokens: 1000 }, &mut sink).unwrap();
        rows
    };
    assert_eq!(rows(&exported.dir.join("files/train")), rows(&golden("hf")));
    let json = |path: PathBuf| serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap();
    let mut info = json(exported.dir.join("files/train/dataset_info.json"));
    assert_eq!(info["features"]["input_ids"]["_type"].take(), "Sequence");
    info["features"]["input_ids"]["_type"] = json!("List");
    assert_eq!(info, json(golden("hf/dataset_info.json")));
    let keys = |value: Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(json(exported.dir.join("files/train/state.json"))), keys(json(golden("hf/state.json"))));
}

#[test]
fn files_of_the_originals_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = tokenizer(dir.path());
    let check = |name: &str, more: Value, files: &[(&str, &str)]| {
        let files: Vec<_> = files.iter().map(|(name, file)| ("train", *name, golden(file))).collect();
        let artifact = import(&tokenizer, 1, more, &files, &dir.path().join(name)).unwrap();
        let mut found: Vec<Vec<i64>> = unpack(&artifact, "train").into_values().collect();
        let mut wanted = golden_documents();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{name}");
        assert_eq!(artifact.manifest.count("tokens_in"), 309);
        assert_eq!(artifact.fact::<String>("layout").unwrap(), "packed");
    };
    check("u16", json!({"format": "megatron"}), &[("bin", "u16.bin"), ("idx", "u16.idx")]);
    check("i64", json!({"format": "megatron"}), &[("bin", "i64.bin"), ("idx", "i64.idx")]);
    check("bin", json!({"format": "nanogpt"}), &[("ids", "u16.bin")]);
    check("bin64", json!({"format": "nanogpt", "dtype": "int64"}), &[("ids", "i64.bin")]);
    check("npy", json!({"format": "npy"}), &[("ids", "u16.npy")]);
    check("npy32", json!({"format": "npy"}), &[("ids", "u32.npy")]);
    check("mds", json!({"format": "mds"}), &[("index.json", "mds/index.json")]);
    check("hf", json!({"format": "huggingface", "column": "input_ids"}), &[("state.json", "hf/state.json")]);
}

/// Reads a file or folder of a format and counts documents and tokens.
fn read(format: &str, dir: &Path) -> anyhow::Result<(usize, usize)> {
    let limits = Limits { document_tokens: 1000 };
    let mut count = (0, 0);
    let mut sink = |found: crate::export::Found| -> anyhow::Result<()> {
        count = (count.0 + 1, count.1 + found.tokens.len());
        Ok(())
    };
    match format {
        "megatron" => megatron::read(&dir.join("u16.bin"), &dir.join("u16.idx"), &limits, &mut sink),
        "npy" => flat::read_npy(&dir.join("u16.npy"), 0, &limits, &mut sink),
        "nanogpt" => flat::read_bin(&dir.join("u16.bin"), Dtype::Uint16, 0, &limits, &mut sink),
        "mds" => mds::read(dir, None, Dtype::Int64, &limits, &mut sink),
        _ => huggingface::read(dir, None, &limits, &mut sink),
    }?;
    Ok(count)
}

#[test]
fn damaged_files_are_named_and_never_a_panic() {
    for (format, folder, files) in [
        ("megatron", "", vec!["u16.idx", "u16.bin"]),
        ("npy", "", vec!["u16.npy"]),
        ("mds", "mds", vec!["shard.00000.mds", "index.json"]),
        ("huggingface", "hf", vec!["data-00000-of-00001.arrow", "state.json"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(golden(folder)).unwrap().map(Result::unwrap).filter(|file| file.path().is_file()) {
            std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
        }
        assert_eq!(read(format, dir.path()).unwrap(), (4, 309));
        for file in files {
            let path = dir.path().join(file);
            let whole = std::fs::read(&path).unwrap();
            for length in 0..whole.len() {
                std::fs::write(&path, &whole[..length]).unwrap();
                // Blank space at the end of JSON may go.
                let error = match read(format, dir.path()) {
                    Ok(_) if file.ends_with(".json") && whole[length..].trim_ascii().is_empty() => continue,
                    read => format!("{:#}", read.expect_err(&format!("{file} cut to {length} bytes"))),
                };
                assert!(error.contains(file) || error.contains("u16.idx"), "{error}");
            }
            // Arrow's panics are slow to print, so its bytes are tried with gaps.
            for at in (0..whole.len()).step_by(if format == "huggingface" { 11 } else { 1 }) {
                let mut altered = whole.clone();
                altered[at] ^= 0xff;
                std::fs::write(&path, &altered).unwrap();
                assert!(catch_unwind(AssertUnwindSafe(|| read(format, dir.path()))).is_ok(), "{file}, byte {at}");
            }
            std::fs::write(&path, &whole).unwrap();
            std::fs::remove_file(&path).unwrap();
            let error = format!("{:#}", read(format, dir.path()).unwrap_err());
            assert!(error.contains(file), "{error}");
            std::fs::write(&path, &whole).unwrap();
        }
    }
}

#[test]
fn wrong_ids_types_and_lengths_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = tokenizer(dir.path());
    let n = std::cell::Cell::new(0);
    let check = |more: Value, ids: Vec<u8>, expected: &str| {
        n.set(n.get() + 1);
        let path = dir.path().join(format!("{}.bin", n.get()));
        std::fs::write(&path, ids).unwrap();
        let error = import(&tokenizer, 1, more, &[("train", "ids", path)], &dir.path().join(n.get().to_string())).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(expected), "{error}");
    };
    let words = |ids: &[u16]| ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>();
    let nanogpt = || json!({"format": "nanogpt"});
    let beyond = "document 1 has the id 330, and the tokenizer of step `learn-tokenizer` has ids from 0 to 329; take the tokenizer";
    check(nanogpt(), words(&[1, 0, 2, 330, 0]), beyond);
    check(json!({"format": "nanogpt", "dtype": "int16"}), words(&[1, 0xffff]), "document 0 has the id -1");
    check(
        nanogpt(),
        vec![1, 0, 2],
        "has 3 bytes, which is no whole number of ids of the type uint16; it is cut short, or `dtype` is another",
    );
    check(json!({"format": "npy"}), words(&[1, 2, 3, 4, 5, 6]), "is no file of NumPy");
    let npy = String::from_utf8_lossy(&std::fs::read(golden("u16.npy")).unwrap()[..128]).replace("<u2", "<f2");
    check(
        json!({"format": "npy"}),
        [b"\x93NUMPY\x01\0\x76\0", npy.split_at(npy.find('{').unwrap()).1.as_bytes()].concat(),
        "its type is <f2",
    );
    let limits = Limits { document_tokens: 3 };
    let error = flat::read_bin(&golden("u16.bin"), Dtype::Uint16, 0, &limits, &mut |_| Ok(())).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("document 0 has 4 tokens or more, and only 3 fit into memory") && error.contains("end-of-text id 0"), "{error}");
}

#[test]
fn wide_vocabularies_take_wide_types() {
    let check = |vocabulary_size: usize, npy: &str, megatron: u8| {
        let dir = tempfile::tempdir().unwrap();
        let last = vocabulary_size as i64 - 1;
        let tokens = packed_tokens(dir.path(), vec![vec![1, last, 0]], vocabulary_size);
        let exported = export(&tokens, 1, "npy", &dir.path().join("npy")).unwrap();
        let bytes = std::fs::read(exported.dir.join("files/train.npy")).unwrap();
        assert!(String::from_utf8_lossy(&bytes[..128]).contains(npy));
        let exported = export(&tokens, 1, "megatron", &dir.path().join("megatron")).unwrap();
        let (bin, idx) = (exported.dir.join("files/train.bin"), exported.dir.join("files/train.idx"));
        assert_eq!(std::fs::read(&idx).unwrap()[17], megatron);
        let mut sink = |found: crate::export::Found| {
            assert_eq!(found.tokens, [1, last, 0]);
            Ok(())
        };
        megatron::read(&bin, &idx, &Limits { document_tokens: 10 }, &mut sink).unwrap();
        for format in ["mds", "huggingface"] {
            let exported = export(&tokens, 1, format, &dir.path().join(format)).unwrap();
            assert_eq!(read(format, &exported.dir.join("files/train")).unwrap(), (1, 3));
        }
        // What does not go is said before anything is read.
        if vocabulary_size > 1 << 16 {
            std::fs::remove_file(&tokens.table("tokens").unwrap().files[0].path).unwrap();
        }
        export(&tokens, 1, "nanogpt", &dir.path().join("nanogpt")).map(drop)
    };
    check(65_499, "<u2", 8).unwrap();
    check(65_500, "<u2", 4).unwrap();
    let error = check(65_537, "<u4", 4).unwrap_err().to_string();
    assert_eq!(
        error,
        "nanoGPT reads ids as uint16, and the vocabulary has 65537 tokens; take format = \"npy\", or a tokenizer of at most 65536 tokens"
    );
}

#[test]
fn nothing_goes_out_and_is_refused_when_it_comes_in() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = packed_tokens(dir.path(), Vec::new(), 330);
    let tokenizer = tokenizer(dir.path());
    for format in FORMATS {
        let exported = export(&tokens, 1, format, &dir.path().join(format)).unwrap();
        assert_eq!(exported.manifest.count("documents_stored"), 0);
        let files: Vec<_> = files_of(&exported, format, "train").into_iter().map(|(name, path)| ("train", name, path)).collect();
        let error = import(&tokenizer, 1, json!({"format": format}), &files, &dir.path().join(format!("from-{format}"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no document came in, so there are no tokens; look at the files, or at what the step above rejected (`mill sql CONFIG -c \"select rule, detail from STEP.rejects\"`)",
            "{format}"
        );
    }
}

#[test]
fn documents_without_tokens_are_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = tokenizer(dir.path());
    // The second of four documents has no sequence.
    let mut idx = std::fs::read(golden("u16.idx")).unwrap();
    let ends = idx.len() - 5 * 8;
    idx[ends + 16] = 1;
    let path = dir.path().join("x.idx");
    std::fs::write(&path, idx).unwrap();
    let files = [("train", "bin", golden("u16.bin")), ("train", "idx", path)];
    let artifact = import(&tokenizer, 1, json!({"format": "megatron"}), &files, &dir.path().join("imported")).unwrap();
    let count = |name| artifact.manifest.count(name);
    assert_eq!((count("documents_in"), count("documents_stored"), count("documents_rejected"), count("tokens_stored")), (4, 3, 1, 309));
    assert_eq!(rejects(&artifact), ["empty"]);
}

#[test]
fn examples_go_to_datasets_alone() {
    for (learn, more, column) in [
        (wordpiece(), json!({"sequence_length": 16, "model": "masked", "layout": "classify", "label": "label"}), "label"),
        (bpe(), json!({"sequence_length": 64, "layout": "complete", "target": "label"}), "labels"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let tokens = tokenize(dir.path(), 1, corpus(1, 40), learn, more).unwrap();
        let exported = export(&tokens, 1, "huggingface", &dir.path().join("hf")).unwrap();
        assert_eq!(sum(&exported, "tokens", "tokens"), tokens.manifest.count("tokens_stored"));
        let info = std::fs::read_to_string(exported.dir.join("files/train/dataset_info.json")).unwrap();
        assert!(info.contains(&format!("\"{column}\": {{")), "{info}");
        for format in ["megatron", "mds"] {
            let error = export(&tokens, 1, format, &dir.path().join(format)).unwrap_err().to_string();
            assert!(error.contains("whose answers only format = \"huggingface\" can hold"), "{error}");
        }
    }
}
