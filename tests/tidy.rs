//! Rules about the tree itself: who may depend on whom, and how large things may grow.

use std::path::{Path, PathBuf};

const LINES_PER_FILE: usize = 400;
const LINES_PER_FUNCTION: usize = 70;
/// The training loop is one straight function.
const LINES_OF_THE_LOOP: usize = 90;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Rust sources of the program: everything below pipeline/ and stages/ but tests.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // Cargo's examples lie beside its file; a module may have the same name.
            let skipped = ["tests", "target"].contains(&name.as_str()) || name == "examples" && dir.join("Cargo.toml").exists();
            if path.is_dir() && !skipped {
                walk(&path, found);
            } else if name.ends_with(".rs") && !["tests.rs", "testing.rs"].contains(&name.as_str()) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in ["pipeline", "stages"] {
        walk(&root().join(folder), &mut found);
    }
    found.sort();
    assert!(found.len() > 40, "the sources were not found");
    found.into_iter().map(|path| (path.strip_prefix(root()).unwrap().to_path_buf(), std::fs::read_to_string(&path).unwrap())).collect()
}

/// The lines before the tests of a file.
fn code(text: &str) -> Vec<&str> {
    text.lines().take_while(|line| *line != "#[cfg(test)]").collect()
}

#[test]
fn every_file_introduces_itself_and_stays_small() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!") || text.starts_with("/*!"), "{} does not say what it is for", path.display());
        let lines = code(&text).len();
        assert!(lines <= LINES_PER_FILE, "{} has {lines} lines before its tests; split it by what it is about", path.display());
    }
}

#[test]
fn functions_stay_small() {
    for (path, text) in sources() {
        let mut open: Option<(usize, usize, String)> = None;
        for (number, line) in code(&text).into_iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let starts = line
                .trim_start()
                .trim_start_matches("pub ")
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("unsafe ")
                .starts_with("fn ");
            match &open {
                None if starts && !line.trim_end().ends_with(['}', ';']) => open = Some((number, indent, line.trim().to_string())),
                Some((start, depth, name)) if indent == *depth && line.trim_start().starts_with('}') => {
                    let limit = if path.ends_with("torch/src/train.rs") { LINES_OF_THE_LOOP } else { LINES_PER_FUNCTION };
                    let lines = number - start + 1;
                    assert!(lines <= limit, "{}:{}: {lines} lines: {name}", path.display(), start + 1);
                    open = None;
                }
                _ => {}
            }
        }
    }
}

#[test]
fn no_unwrap_and_nothing_left_to_do_outside_tests() {
    for (path, text) in sources() {
        for (number, line) in code(&text).into_iter().enumerate() {
            for banned in [".unwrap()", "todo!(", "unimplemented!(", "dbg!("] {
                assert!(!line.contains(banned) || line.trim_start().starts_with("//"), "{}:{}: {banned}", path.display(), number + 1);
            }
        }
    }
}

/// The dependencies of a crate, from its Cargo.toml, without those for tests.
fn dependencies(folder: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let section = text.split("[dependencies]").nth(1).unwrap_or("").split("\n[").next().unwrap_or("");
    section
        .lines()
        .filter_map(|line| Some(line.split_once(['.', '='])?.0.trim().to_string()))
        .filter(|name| !name.starts_with('#'))
        .collect()
}

const CRATES: [&str; 13] = [
    "pipeline/engine",
    "pipeline/text",
    "pipeline/shards",
    "pipeline/query",
    "pipeline/judgements",
    "pipeline/origins",
    "stages/corpus",
    "stages/tokens",
    "stages/model",
    "stages/torch",
    "stages/vectors",
    "stages/baseline",
    "stages/score",
];

#[test]
fn stages_speak_only_through_artifacts() {
    let stages: Vec<&str> = CRATES.iter().filter_map(|folder| folder.strip_prefix("stages/")).collect();
    for stage in &stages {
        let others = dependencies(&format!("stages/{stage}"));
        for other in others.iter().filter(|other| stages.contains(&other.as_str())) {
            // `torch` carries out what `model` describes.
            assert!((*stage, other.as_str()) == ("torch", "model"), "stage crate `{stage}` depends on `{other}`");
        }
    }
    for folder in CRATES.iter().filter(|folder| folder.starts_with("pipeline/")) {
        let names = dependencies(folder);
        assert!(!names.iter().any(|name| stages.contains(&name.as_str())), "{folder} depends on a stage crate");
    }
}

#[test]
fn heavy_libraries_live_behind_one_crate() {
    let allowed: [(&str, &[&str]); 6] = [
        ("datafusion", &["pipeline/query", "stages/corpus"]),
        ("tokio", &["pipeline/query", "stages/corpus"]),
        ("tokenizers", &["pipeline/text", "stages/tokens"]),
        ("tch", &["stages/torch"]),
        ("torch-sys", &["stages/torch"]),
        ("query", &["stages/corpus"]),
    ];
    for folder in CRATES {
        for name in dependencies(folder) {
            for (library, folders) in allowed {
                assert!(name != library || folders.contains(&folder), "{folder} depends on {library}");
            }
        }
    }
}
