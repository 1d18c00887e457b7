//! Tests of the stages, each alone, over documents written by hand.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, Schema};
use engine::{Artifact, Context, Draft, Inputs, Kind, Part, Port, Progress, Stage, stage::run_alone, testing::context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::glove::Glove;
use crate::random::Random;
use crate::score::ScoreVectors;
use crate::word2vec::Word2vec;

/// Stands in for the stages that make documents: text and split.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Source {
    files: Vec<Vec<(String, String)>>,
}

impl Stage for Source {
    const NAME: &'static str = "source";
    const ABOUT: &'static str = "Documents of a test.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Documents;

    fn run(&self, ctx: &Context, _: &Inputs, draft: &Draft) -> anyhow::Result<()> {
        let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, true), Field::new("split", DataType::Utf8, false)]));
        draft.declare("documents", schema.clone())?;
        draft.count("records", self.files.iter().map(|file| file.len() as i64).sum());
        draft.parts(ctx, &vec![Part { bytes: 1 }; self.files.len()], |index, part| {
            let (texts, splits): (Vec<_>, Vec<_>) = self.files[index].iter().cloned().unzip();
            let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(texts)), Arc::new(StringArray::from(splits))];
            part.write("documents", &RecordBatch::try_new(schema.clone(), columns)?)
        })
    }
}

/// Documents that each speak of one of two things; the words of a topic stand near each other, and no word of the others.
fn topics() -> Vec<Vec<(String, String)>> {
    let mut random = Random::new(&[7]);
    let mut document = |topic: usize| {
        let words: Vec<String> = (0..40).map(|_| format!("{}{}", ["animal", "number"][topic], random.below(10))).collect();
        (words.join(" "), "train".to_string())
    };
    (0..3).map(|_| (0..200).map(|n| document(n % 2)).collect()).collect()
}

fn inputs(dir: &Path, files: Vec<Vec<(String, String)>>) -> Inputs {
    let none = Inputs::new(Vec::new(), Vec::new());
    let documents = run_alone(&Source { files }, &context(2), &none, &dir.join("documents")).unwrap();
    Inputs::new(vec![("documents".into(), documents)], Vec::new())
}

fn settings<S: Stage>(value: Value) -> S {
    serde_json::from_value(value).unwrap()
}

/// Words with their counts and vectors.
fn vectors(artifact: &Artifact) -> Vec<(String, i64, Vec<f32>)> {
    let table = artifact.table("vectors").unwrap();
    let mut rows = Vec::new();
    for file in 0..table.files.len() {
        for batch in table.read(file, None, 1000).unwrap() {
            let batch = batch.unwrap();
            let (words, counts) = (batch.column(1).as_string::<i32>(), batch.column(2).as_primitive::<Int64Type>());
            let lists = batch.column(3).as_list::<i32>();
            for row in 0..batch.num_rows() {
                let vector = lists.value(row).as_primitive::<Float32Type>().values().to_vec();
                rows.push((words.value(row).to_string(), counts.value(row), vector));
            }
        }
    }
    rows
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Every word is nearer to each of its own topic than to any of the other.
fn topics_are_apart(artifact: &Artifact) {
    let rows = vectors(artifact);
    assert_eq!(rows.len(), 20);
    for (word, _, vector) in &rows {
        let near = |same: bool| rows.iter().filter(move |(other, ..)| other != word && (other[..6] == word[..6]) == same);
        let least = near(true).map(|(.., other)| cosine(vector, other)).fold(f32::INFINITY, f32::min);
        let most = near(false).map(|(.., other)| cosine(vector, other)).fold(f32::NEG_INFINITY, f32::max);
        assert!(least > most, "{word}: {least} {most}");
    }
}

#[test]
fn every_kind_of_word2vec_learns_which_words_go_together() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = inputs(dir.path(), topics());
    for (n, architecture) in ["cbow", "skip-gram"].into_iter().enumerate() {
        for (m, objective) in ["negative-sampling", "hierarchical-softmax"].into_iter().enumerate() {
            let stage: Word2vec = settings(json!({
                "architecture": architecture, "objective": objective, "vector_size": 20, "subsample": 0.0, "learning_rate": 0.05
            }));
            topics_are_apart(&run_alone(&stage, &context(2), &inputs, &dir.path().join(format!("{n}{m}"))).unwrap());
        }
    }
}

#[test]
fn glove_learns_which_words_go_together() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = inputs(dir.path(), topics());
    let stage: Glove = settings(json!({"vector_size": 10, "epochs": 40}));
    let artifact = run_alone(&stage, &context(2), &inputs, &dir.path().join("glove")).unwrap();
    topics_are_apart(&artifact);
    let losses = column::<Float64Type>(&artifact, "metrics", 1);
    assert!(losses.len() == 40 && losses.windows(2).take(10).all(|pair| pair[1] < pair[0]), "{losses:?}");
}

fn column<T: arrow::datatypes::ArrowPrimitiveType>(artifact: &Artifact, table: &str, column: usize) -> Vec<T::Native> {
    let table = artifact.table(table).unwrap();
    let batches = (0..table.files.len()).flat_map(|file| table.read(file, None, 1000).unwrap());
    batches.flat_map(|batch| batch.unwrap().column(column).as_primitive::<T>().values().to_vec()).collect()
}

#[test]
fn deterministic_vectors_are_the_same_for_any_threads() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = inputs(dir.path(), topics());
    let word2vec = |threads: usize| {
        let stage: Word2vec = settings(json!({"vector_size": 20, "epochs": 2, "deterministic": true}));
        run_alone(&stage, &context(threads), &inputs, &dir.path().join(format!("w{threads}"))).unwrap().manifest.fingerprint
    };
    assert_eq!(word2vec(1), word2vec(3));
    let glove = |threads: usize| {
        let stage: Glove = settings(json!({"vector_size": 20, "epochs": 2, "deterministic": true}));
        run_alone(&stage, &context(threads), &inputs, &dir.path().join(format!("g{threads}"))).unwrap().manifest.fingerprint
    };
    assert_eq!(glove(1), glove(3));
}

/// Asks to stop at the n-th sign of progress.
struct StopAt {
    left: AtomicUsize,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

impl Progress for StopAt {
    fn update(&self, _: u64, _: u64, _: &str) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_killed_training_goes_on_and_ends_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = inputs(dir.path(), topics());
    let killed = |stage: &dyn Fn(&Context, &Path) -> anyhow::Result<Artifact>, name: &str| {
        let whole = stage(&context(1), &dir.path().join(name)).unwrap();
        let resumed = dir.path().join(format!("{name}-resumed"));
        let mut kills = 0;
        let artifact = (5..).step_by(3).find_map(|left| {
            let mut ctx = context(2);
            ctx.progress = Arc::new(StopAt { left: AtomicUsize::new(left), stop: ctx.stop.clone() });
            kills += 1;
            stage(&ctx, &resumed).ok()
        });
        assert!(kills > 2, "nothing was killed");
        assert_eq!(artifact.unwrap().manifest.fingerprint, whole.manifest.fingerprint, "{name}");
    };
    let word2vec: Word2vec = settings(json!({"vector_size": 20, "epochs": 3, "deterministic": true}));
    killed(&|ctx, dir| run_alone(&word2vec, ctx, &inputs, dir), "word2vec");
    let glove: Glove = settings(json!({"vector_size": 20, "epochs": 3, "deterministic": true}));
    killed(&|ctx, dir| run_alone(&glove, ctx, &inputs, dir), "glove");
}

/// One file of documents of the train split.
fn texts(texts: &[&str]) -> Vec<Vec<(String, String)>> {
    vec![texts.iter().map(|text| (text.to_string(), "train".to_string())).collect()]
}

#[test]
fn words_are_counted_lowercased_and_ranked() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = texts(&["The cat, the CAT! 中文 Ünï", "the dog's 中 b-a a"]);
    files.push(vec![("hidden the".to_string(), "test".to_string()), ("The".to_string(), "train".to_string())]);
    let inputs = inputs(dir.path(), files);
    let words = |name: &str, value: Value| {
        let artifact = run_alone(&settings::<Word2vec>(value), &context(2), &inputs, &dir.path().join(name)).unwrap();
        vectors(&artifact).into_iter().map(|(word, count, _)| format!("{word} {count}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(words("a", json!({"min_count": 1, "vector_size": 3})), "the 4, a 2, cat 2, 中 2, b 1, dog's 1, ünï 1, 文 1");
    assert_eq!(words("b", json!({"min_count": 2, "vector_size": 3, "lowercase": false})), "The 2, a 2, the 2, 中 2");
    assert_eq!(words("c", json!({"min_count": 2, "vector_size": 3, "vocabulary_max": 2})), "the 4, a 2");
    let white = json!({"min_count": 1, "vector_size": 3, "words": "whitespace", "split": "test"});
    assert_eq!(words("d", white), "hidden 1, the 1");
}

#[test]
fn files_for_other_programs_hold_the_vectors_of_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = inputs(dir.path(), texts(&["one two three one two one", "中 one"]));
    let stage: Word2vec = settings(json!({"min_count": 1, "vector_size": 3, "files": ["text", "binary", "glove"]}));
    let artifact = run_alone(&stage, &context(1), &inputs, &dir.path().join("w")).unwrap();
    let rows = vectors(&artifact);
    let file = |name: &str| std::fs::read(artifact.dir.join("files").join(name)).unwrap();
    let lines: Vec<String> = rows
        .iter()
        .map(|(word, _, vector)| format!("{word} {}", vector.iter().map(f32::to_string).collect::<Vec<_>>().join(" ")))
        .collect();
    assert_eq!(String::from_utf8(file("glove.txt")).unwrap(), lines.join("\n") + "\n");
    assert_eq!(String::from_utf8(file("vectors.txt")).unwrap(), format!("4 3\n{}\n", lines.join("\n")));
    let mut binary = b"4 3\n".to_vec();
    for (word, _, vector) in &rows {
        binary.extend(word.as_bytes());
        binary.push(b' ');
        vector.iter().for_each(|x| binary.extend(x.to_le_bytes()));
        binary.push(b'\n');
    }
    assert_eq!(file("vectors.bin"), binary);
}

#[test]
fn what_cannot_work_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = inputs(dir.path(), texts(&["one two three", "one"]));
    let mut n = 0;
    let mut fails = |value: Value, memory: u64, expected: &str| {
        n += 1;
        let ctx = Context { memory, ..context(1) };
        let error = run_alone(&settings::<Word2vec>(value), &ctx, &inputs, &dir.path().join(format!("f{n}"))).unwrap_err();
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    };
    fails(json!({}), 1 << 30, "of 3 different words, 0 occur 5 times (`min_count`) or more");
    fails(json!({"split": "valid"}), 1 << 30, "the split `valid` has no words");
    fails(json!({"text": "txt"}), 1 << 30, "no column `txt`, did you mean `text`?");
    fails(json!({"min_count": 1}), 100, "vectors of 3 words take 1 MB");
    fails(json!({"min_count": 1, "learning_rate": 1e38, "learning_rate_min": 1e38, "subsample": 0.0}), 1 << 30, "smaller `learning_rate`");
}

/// Vectors written by hand.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Given {
    words: Vec<(String, Vec<f32>)>,
}

impl Stage for Given {
    const NAME: &'static str = "given";
    const ABOUT: &'static str = "Vectors of a test.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Vectors;

    fn run(&self, ctx: &Context, _: &Inputs, draft: &Draft) -> anyhow::Result<()> {
        let words: Vec<(String, u64)> = self.words.iter().map(|(word, _)| (word.clone(), 1)).collect();
        let path = draft.file("scratch/words")?;
        crate::vocabulary::Vocabulary::write(&path, &words, 10, 10)?;
        let output = crate::output::Output {
            vocabulary: &crate::vocabulary::Vocabulary::read(&path)?,
            size: 2,
            vector: &|word| self.words[word].1.clone(),
            losses: &[],
            formats: &[],
            volatile: false,
        };
        output.write(ctx, draft)
    }
}

#[test]
fn vectors_are_scored_by_pairs_and_analogies() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        engine::InputFile { path, relative: name.into(), bytes: 0, hash: String::new() }
    };
    let files = vec![
        write("pairs.tsv", "king\tqueen\t9\nKING\tman\t4\nman\twoman\t8\nking\tunseen\t1\n"),
        write("analogies.txt", ": royal\nman king woman queen\nman woman king queen\n: other\nman king unseen queen\nking man queen man\n"),
    ];
    let words = [
        ("king", [3.0, 1.0]),
        ("man", [1.0, 0.0]),
        ("woman", [0.1, 1.0]),
        ("Queen", [1.0, 3.0]),
        ("queen", [-1.0, -1.0]),
        ("far", [-1.0, 0.0]),
    ];
    let words = words.map(|(word, vector)| (word.to_string(), vector.to_vec())).to_vec();
    let none = Inputs::new(Vec::new(), Vec::new());
    let given = run_alone(&Given { words }, &context(1), &none, &dir.path().join("given")).unwrap();
    let inputs = Inputs::new(vec![("vectors".into(), given)], files);
    let stage: ScoreVectors =
        settings(json!({"similarity": ["pairs.tsv"], "analogies": ["analogies.txt"], "spelling": true, "names": ["given"]}));
    let artifact = run_alone(&stage, &context(2), &inputs, &dir.path().join("scores")).unwrap();

    let table = artifact.table("similarity").unwrap();
    let batch = table.read(0, None, 100).unwrap().next().unwrap().unwrap();
    let cosines = batch.column(5).as_primitive::<Float64Type>();
    // king · Queen, as the more frequent of two spellings; king · man; man · woman.
    for (row, expected) in [0.6, 3.0 / 10f64.sqrt(), 0.1 / 1.01f64.sqrt()].into_iter().enumerate() {
        assert!((cosines.value(row) - expected).abs() < 1e-6, "{row}: {}", cosines.value(row));
    }
    assert!(cosines.is_null(3));

    let table = artifact.table("scores").unwrap();
    let batch = table.read(0, None, 100).unwrap().next().unwrap().unwrap();
    let (metrics, classes) = (batch.column(1).as_string::<i32>(), batch.column(2).as_string::<i32>());
    let (values, counts) = (batch.column(3).as_primitive::<Float64Type>(), batch.column(5).as_primitive::<Int64Type>());
    let rows: Vec<String> = (0..batch.num_rows())
        .map(|row| format!("{} {} {:.3} {}", metrics.value(row), classes.value(row), values.value(row), counts.value(row)))
        .collect();
    assert_eq!(
        rows,
        [
            "spearman  -0.500 3",
            "pearson  -0.685 3",
            "similarity_oov_rate  0.250 4",
            "analogy_accuracy  0.667 3",
            "analogy_oov_rate  0.250 4",
            "analogy_accuracy other 0.000 1",
            "analogy_accuracy royal 1.000 2",
            // Of the pairs of letters, man and woman alone have some in common.
            "spearman  0.258 4",
            "pearson  0.451 4",
            "similarity_oov_rate  0.000 4",
        ]
    );
    assert_eq!(batch.column(0).as_string::<i32>().value(batch.num_rows() - 1), "spelling");
}
