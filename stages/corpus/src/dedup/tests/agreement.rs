//! What is found agrees: with the comparison of all pairs, with a run over old and new documents together, and with any threads and files.

use std::collections::BTreeSet;

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::dedup::minhash::{jaccard, shingles, word_units};

/// Real-like documents: families of texts that differ in some words.
fn families() -> Vec<String> {
    let mut texts = Vec::new();
    for family in 0..120 {
        let words: Vec<String> = prose(family, 80).split(' ').map(str::to_string).collect();
        for member in 0..6 {
            let mut words = words.clone();
            for change in 0..member * 2 {
                let at = (family * 17 + member * 29 + change * 41) % words.len();
                words[at] = letters(1 + family * 7919 + member * 31 + change);
            }
            texts.push(words.join(" "));
        }
    }
    texts
}

#[test]
fn agrees_with_all_pairs() {
    let texts = families();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let sets: Vec<Vec<u64>> = texts
        .iter()
        .map(|text| {
            let (mut units, mut set) = (Vec::new(), Vec::new());
            word_units(&text::dedup_normal(text), &mut units);
            shingles(&units, 5, &mut set);
            set
        })
        .collect();
    let mut exact = UnionFind::new(texts.len() as u32);
    for a in 0..texts.len() {
        for b in a + 1..texts.len() {
            if jaccard(&sets[a], &sets[b]) >= 0.8 {
                exact.join(a as u32, b as u32);
            }
        }
    }
    let lab = Lab::new(&[("a.jsonl", &jsonl(&texts))]);
    lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup\"\n[[step]]\nname = \"again\"\nstage = \"dedup\"\n"), 2).unwrap();
    let lines = lines_by_id(&lab);
    let clusters = lab.rows("dedup", "clusters", &["id", "cluster_id"]);
    // Precision 1: what is in one cluster is connected by pairs that are truly alike.
    for row in &clusters {
        let (id, cluster) = row.split_once('|').unwrap();
        assert_eq!(exact.find(lines[id] - 1), exact.find(lines[cluster] - 1));
    }
    let found = clusters.len() - clusters.iter().map(|row| row.split_once('|').unwrap().1).collect::<BTreeSet<_>>().len();
    let members = exact.sets();
    let expected = members.iter().filter(|(root, member)| root != member).count();
    assert!(expected > 100 && found as f64 >= 0.9 * expected as f64, "{found} of {expected}");
    assert_eq!(lab.rows("again", "rejects", &["line"]).len(), 0);
    let two = lab.fingerprint("dedup");
    lab.forget();
    lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup\"\n"), 1).unwrap();
    assert_eq!(lab.fingerprint("dedup"), two);
}

/// JSON Lines with a score each, from `first` on.
fn scored(texts: &[&str], first: usize) -> Vec<u8> {
    let line = |(n, text): (usize, &&str)| serde_json::json!({ "text": text, "score": (first + n) as f64 }).to_string() + "\n";
    texts.iter().enumerate().map(line).collect::<String>().into_bytes()
}

fn import(name: &str, file: &str) -> String {
    format!("[[step]]\nname = \"{name}\"\nstage = \"import\"\npaths = [\"{file}\"]\ncolumns = {{ score = \"float\" }}\n")
}

fn dedup(name: &str, inputs: &str, settings: &str) -> String {
    format!("[[step]]\nname = \"{name}\"\nstage = \"dedup\"\ninputs = {{ {inputs} }}\nsurvivor = [\"score\"]\n{settings}\n")
}

/// Deduplicates new texts against what a step keeps of the old ones, and both together with the old ones first: the same.
fn check_against(old: &[&str], new: &[&str], settings: &str, threads: usize) {
    let lab = Lab::new(&[("old.jsonl", &scored(old, 0)), ("new.jsonl", &scored(new, old.len()))]);
    let config = [
        import("old_import", "old.jsonl"),
        dedup("old", "documents = \"old_import\"", settings),
        dedup("stored", "documents = \"old_import\"", &format!("{settings}\nindex = true")),
        import("new_import", "new.jsonl"),
        dedup("new", "documents = \"new_import\", against = \"old\"", settings),
        dedup("new_stored", "documents = \"new_import\", against = \"stored\"", settings),
        dedup("joint", "documents = [\"old\", \"new_import\"]", settings),
    ];
    lab.run(&config.concat(), threads).unwrap();
    let joint = |table: &str, columns: &[&str]| -> Vec<String> {
        lab.rows("joint", table, columns).into_iter().filter(|row| row.contains("new.jsonl")).collect()
    };
    assert_eq!(lab.rows("new", "documents", &["path", "id", "text"]), joint("documents", &["path", "id", "text"]));
    // The same documents are matched unless the step before missed a pair among the old ones, in a bucket of more than 32.
    let kept = |step| lab.rows(step, "documents", &["id"]).len();
    if kept("joint") == kept("old") + kept("new") {
        let columns = ["path", "id", "rule", "matched_id", "similarity", "detail"];
        assert_eq!(lab.rows("new", "rejects", &columns), joint("rejects", &columns));
    }
    // Whether hashes are stored or computed again makes no difference.
    assert_eq!(lab.fingerprint("new_stored"), lab.fingerprint("new"));
    assert_eq!(lab.rows("stored", "index", &["id"]), lab.rows("old", "documents", &["id"]));
}

#[test]
fn new_documents_are_deduplicated_against_old_ones() {
    let texts = families();
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for text in texts.iter().filter(|text| !xxh3_64(text.as_bytes()).is_multiple_of(3)) {
        if xxh3_64(text.as_bytes()) % 3 == 1 { old.push(text as &str) } else { new.push(text as &str) }
    }
    let copies: Vec<String> = old.iter().take(20).map(|text| text.to_uppercase()).collect();
    new.extend(copies.iter().map(String::as_str));
    new.extend(["short", "Short"]);
    old.push("SHORT");
    for settings in [
        "",
        "method = [\"exact\"]",
        "method = [\"minhash\"]",
        "preset = \"olmo\"\nshingle = \"character\"",
        "similarity_min = 0.5\nrows = 4",
    ] {
        check_against(&old, &new, settings, 2);
    }
    check_against(&old, &[], "", 1);
    check_against(&[], &new[..5], "", 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_old_and_new_documents_give_what_both_together_give(
        texts in proptest::collection::vec("[ab] [ab] [ab] [ab] [abc] [abcd] x( y z){0,2}", 1..50), cut in 0..50_usize, threads in 1..3_usize,
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (old, new) = texts.split_at(cut.min(texts.len()));
        // Buckets of one band and many documents, and chains of likeness.
        check_against(old, new, "ngram = 2\nbands = 20\nrows = 1\nsimilarity_min = 0.7", threads);
    }

    #[test]
    fn threads_and_files_change_nothing(
        texts in proptest::collection::vec("[ab] [ab] [ab] [ab] [abc] [abcd] x( y z){0,2}", 1..60), cut in 0..60_usize,
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let cut = cut.min(texts.len());
        let settings = "ngram = 2\nbands = 20\nrows = 1\nsimilarity_min = 0.7";
        let run = |files: &[(&str, &[u8])], threads: usize| {
            let lab = Lab::new(files);
            lab.run(&[import("import", "*.jsonl"), dedup("dedup", "documents = \"import\"", settings)].concat(), threads).unwrap();
            (lab.rows("dedup", "documents", &["score", "text"]), lab.rows("dedup", "clusters", &["size", "similarity", "kept"]), lab.fingerprint("dedup"))
        };
        let one = run(&[("a.jsonl", &scored(&texts, 0))], 1);
        prop_assert_eq!(&one, &run(&[("a.jsonl", &scored(&texts, 0))], 2));
        let cut = run(&[("a.jsonl", &scored(&texts[..cut], 0)), ("b.jsonl", &scored(&texts[cut..], cut))], 2);
        prop_assert_eq!((one.0, one.1), (cut.0, cut.1));
    }
}

/// Of all pairs with Jaccard 0.8 or more, how many there are, and how many share a band.
fn agreement(texts: &[String], settings: &str) -> (usize, usize) {
    let mut dedup: Dedup = toml::from_str(settings).unwrap();
    dedup.fill();
    let mut features = Features::new(&dedup);
    let read = |text: &String| {
        features.read(text);
        (features.shingles.clone(), features.bands.clone())
    };
    let read: Vec<(Vec<u64>, Vec<u64>)> = texts.iter().map(read).filter(|(shingles, _)| !shingles.is_empty()).collect();
    let (mut alike, mut found) = (0, 0);
    for (at, (a, bands)) in read.iter().enumerate() {
        for (b, others) in &read[..at] {
            let (fewer, more) = (a.len().min(b.len()), a.len().max(b.len()));
            if fewer as f64 >= 0.8 * more as f64 && jaccard(a, b) >= 0.8 {
                alike += 1;
                found += usize::from(bands.iter().zip(others).any(|(a, b)| a == b));
            }
        }
    }
    (alike, found)
}

/// The texts of a file in data-samples/, or of any other.
fn texts_of(path: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data-samples").join(path);
    let bytes = std::fs::read(&path).unwrap();
    let bytes = if path.extension().is_some_and(|extension| extension == "zst") { zstd::decode_all(&bytes[..]).unwrap() } else { bytes };
    let record = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_string();
    String::from_utf8(bytes).unwrap().lines().map(record).collect()
}

#[test]
fn bands_find_nine_of_ten_pairs_of_real_texts() {
    for file in ["text/tang-poems.jsonl.zst", "text/rust-doc.jsonl.zst", "mails/mails.jsonl.zst"] {
        let texts = texts_of(file);
        let (alike, found) = agreement(&texts[..texts.len().min(2500)], "");
        assert!(alike > 50 && found as f64 >= 0.9 * alike as f64, "{file}: {found} of {alike}");
    }
    // `CORPUS=FILE.jsonl` names a file of which every n-th document is compared, 5 000 in all.
    if let Ok(path) = std::env::var("CORPUS") {
        let texts = texts_of(&path);
        let step = texts.len().div_ceil(5000).max(1);
        let sample: Vec<String> = texts.into_iter().step_by(step).collect();
        let (alike, found) = agreement(&sample, "");
        eprintln!(
            "{} documents, {alike} pairs with Jaccard 0.8 or more, {found} found: recall {:.4}",
            sample.len(),
            found as f64 / alike as f64
        );
    }
}

#[test]
fn two_editions_of_poems_are_near_duplicates() {
    let texts = texts_of("text/tang-poems.jsonl.zst");
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let lab = Lab::new(&[("a.jsonl", &jsonl(&texts))]);
    lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup\"\n"), 2).unwrap();
    let rejects = lab.rows("dedup", "rejects", &["rule", "similarity"]);
    assert!((230..=260).contains(&rejects.len()), "{}", rejects.len());
    // Precision 1: whatever is not alike itself says so.
    let through = lab.rows("dedup", "rejects", &["detail"]);
    for (row, detail) in rejects.iter().zip(&through) {
        let similarity: f64 = row.rsplit_once('|').unwrap().1.parse().unwrap();
        assert_eq!(similarity < 0.8, !detail.is_empty(), "{row}");
    }
}
