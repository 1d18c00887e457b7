//! Tests of the whole stage.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::minhash::{jaccard, shingles, word_units};
use super::*;
use crate::testing::{Lab, jsonl};

const IMPORT: &str = "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\ncolumns = { score = \"float\" }\n";

/// Words that differ for every number.
fn prose(seed: usize, words: usize) -> String {
    (0..words)
        .map(|n| format!("w{}x ", char::from(b'a' + ((seed * 31 + n * 7 + seed * n) % 26) as u8)) + &letters(seed * 1009 + n))
        .collect::<Vec<_>>()
        .join(" ")
}

fn letters(mut n: usize) -> String {
    let mut word = String::new();
    while n > 0 {
        word.push(char::from(b'a' + (n % 26) as u8));
        n /= 26;
    }
    word
}

#[test]
fn one_of_each_cluster_survives_with_reasons() {
    let base = prose(1, 60);
    let near = format!("{base} and a few more words");
    let texts =
        [&base, &prose(2, 60), &base.to_uppercase().replace(' ', "\n"), &near, "short", "Short ", "!!!", "???", "中文也有重复的文本"];
    let lab = Lab::new(&[("a.jsonl", &jsonl(&texts.map(|text| text as &str)))]);
    let config = format!("{IMPORT}[[step]]\nstage = \"dedup\"\n[[step]]\nname = \"again\"\nstage = \"dedup\"\n");
    lab.run(&config, 2).unwrap();
    assert_eq!(lab.rows("dedup", "documents", &["line"]), ["2", "4", "6", "7", "8", "9"]);
    let lines = lines_by_id(&lab);
    let matched = |row: &String| row.rsplit_once('|').map(|(start, id)| format!("{start}|{}", lines[id])).unwrap();
    let rejects: Vec<String> = lab.rows("dedup", "rejects", &["line", "rule", "matched_id"]).iter().map(matched).collect();
    assert_eq!(rejects, ["1|minhash|4", "3|minhash|4", "5|exact|6"]);
    let clusters: Vec<String> = lab.rows("dedup", "clusters", &["size", "kept", "cluster_id"]).iter().map(matched).collect();
    assert_eq!(clusters, ["3|false|4", "3|false|4", "3|true|4", "2|false|6", "2|true|6"]);
    assert_eq!(lab.rows("again", "rejects", &["line"]).len(), 0);
}

fn lines_by_id(lab: &Lab) -> BTreeMap<String, u32> {
    let rows = lab.rows("import", "documents", &["id", "line"]);
    rows.iter().map(|row| row.split_once('|').unwrap()).map(|(id, line)| (id.to_string(), line.parse().unwrap())).collect()
}

#[test]
fn the_survivor_follows_the_order() {
    let line = |score: &str| format!("{{\"text\":\"the same text\",\"score\":{score}}}\n");
    let lab = Lab::new(&[("a.jsonl", [line("1"), line("null"), line("3"), line("2")].concat().as_bytes())]);
    for (survivor, expected) in [("score desc", "3"), ("score", "1"), ("char_count(text) desc\", \"score DESC", "3")] {
        lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup\"\nmethod = [\"exact\"]\nsurvivor = [\"{survivor}\"]"), 1).unwrap();
        assert_eq!(lab.rows("dedup", "documents", &["line"]), [expected], "{survivor}");
        assert_eq!(lab.rows("dedup", "rejects", &["rule", "similarity"]), ["exact|1.0"; 3]);
    }
}

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

#[test]
fn nothing_and_one_document() {
    for texts in [&[][..], &["one"]] {
        let lab = Lab::new(&[("a.jsonl", &jsonl(texts))]);
        lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup\"\n"), 2).unwrap();
        assert_eq!(lab.rows("dedup", "documents", &["text"]), texts);
    }
}

#[test]
fn wrong_settings_are_refused() {
    let check = |settings: &str, expected: &str| {
        let lab = Lab::new(&[("a.jsonl", b"")]);
        let message = format!("{:#}", lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup\"\n{settings}"), 1).unwrap_err());
        assert!(message.contains(expected), "{message}");
    };
    check("method = []", "`method` is empty");
    check("similarity_min = 1.5", "it must be above 0 and at most 1");
    check("rows = 0", "`rows` is 0");
    check("bands = 500", "more than 1024 permutations");
    check("source_loss_max = 0.0", "`source_loss_max` is 0: it must be above 0 and at most 1");
    check("verify = \"none\"\nsource_loss_max = 1.0", "switches off the guard that this needs");
    check("preset = \"finewb\"", "did you mean `fineweb`?");
    check("method = [\"url\"]", "has no column `url`; columns: `id`, ");
}

/// A step `dedup` with these settings on these texts: the lines kept, and line, rule and similarity (two decimals) of the rejects.
fn check(texts: &[&str], settings: &str, kept: &[&str], rejects: &[&str]) {
    let lab = Lab::new(&[("a.jsonl", &jsonl(texts))]);
    lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup\"\n{settings}"), 2).unwrap();
    assert_eq!(lab.rows("dedup", "documents", &["line"]), kept, "{settings}");
    let rounded = |row: &String| match row.rsplit_once('|').map(|(start, similarity)| (start, similarity.parse::<f64>())) {
        Some((start, Ok(similarity))) => format!("{start}|{similarity:.2}"),
        _ => row.clone(),
    };
    let found: Vec<String> = lab.rows("dedup", "rejects", &["line", "rule", "similarity"]).iter().map(rounded).collect();
    assert_eq!(found, rejects, "{settings}");
}

#[test]
fn short_documents_are_handled_as_stated() {
    let texts = ["Version 1", "Version 2", "version  1", "one two three four five", "One, two: three four five!"];
    check(&texts, "method = [\"minhash\"]\nshort = \"keep\"", &["1", "2", "3", "5"], &["4|minhash|1.00"]);
    check(&texts, "method = [\"minhash\"]", &["2", "3", "5"], &["1|exact|1.00", "4|minhash|1.00"]);
    check(&texts, "short = \"keep\"", &["2", "3", "5"], &["1|exact|1.00", "4|minhash|1.00"]);
    // What FineWeb's normal form would make of them: one document.
    check(&texts, "short_words = 1", &["3", "5"], &["1|exact|1.00", "2|minhash|1.00", "4|minhash|1.00"]);
    check(&texts, "short = \"drop\"", &["5"], &["1|short|", "2|short|", "3|short|", "4|minhash|1.00"]);
    check(
        &texts,
        "short = \"drop\"\nshort_words = 0\nshort_characters = 19",
        &["5"],
        &["1|short|", "2|short|", "3|short|", "4|minhash|1.00"],
    );
    check(&texts, "preset = \"slimpajama\"", &[], &["1|short|", "2|short|", "3|short|", "4|short|", "5|short|"]);
    let lab = Lab::new(&[("a.jsonl", &jsonl(&["中文 a.", "one two three"]))]);
    lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup\"\nshort = \"drop\"\nshort_words = 3\nshort_characters = 5"), 1).unwrap();
    assert_eq!(
        lab.rows("dedup", "rejects", &["line", "value", "threshold", "detail"]),
        ["1|3.0|5.0|characters in normal form, without white space"]
    );
}

#[test]
fn pairs_are_verified_as_asked() {
    let long = prose(5, 400);
    let part: Vec<&str> = long.split(' ').take(560).collect();
    let (near, part) = (format!("{long} and a little"), part.join(" "));
    let texts = [&long as &str, &near, &part];
    check(&texts, "", &["2", "3"], &["1|minhash|1.00"]);
    let many = "bands = 100\nrows = 4";
    check(&texts, &format!("{many}\nverify = \"containment\""), &["2"], &["1|minhash|1.00", "3|minhash|1.00"]);
    check(&texts, &format!("{many}\nverify = \"none\""), &["2"], &["1|minhash|1.00", "3|minhash|0.70"]);
    check(&texts, many, &["2", "3"], &["1|minhash|1.00"]);
}

#[test]
fn characters_and_presets_find_what_they_should() {
    let base = prose(7, 120);
    let texts = [&base as &str, &base.replace(' ', "  "), &prose(8, 120)];
    for preset in ["fineweb", "slimpajama", "redpajama2", "olmo"] {
        check(&texts, &format!("method = [\"minhash\"]\npreset = \"{preset}\""), &["2", "3"], &["1|minhash|1.00"]);
    }
    check(&texts, "method = [\"minhash\"]\npreset = \"dpk\"", &["2", "3"], &["1|minhash|1.00"]);
    // White space counts where the text is taken as it is.
    check(&texts, "method = [\"minhash\"]\npreset = \"curator\"", &["1", "2", "3"], &[]);
    check(&texts, "method = [\"minhash\"]\nshingle = \"character\"\nngram = 9", &["2", "3"], &["1|minhash|1.00"]);
}

#[test]
fn urls_join_documents_whatever_their_text() {
    let line = |url: &str, text: &str| format!("{{\"url\":{url},\"text\":\"{text}\"}}\n");
    let input = [
        line("\"https://www.a.org/x/?utm_source=m\"", "first version"),
        line("\"http://a.org/x#top\"", "second version, longer"),
        line("\"http://a.org/y\"", "other page"),
        line("null", "without"),
        line("\"\"", "empty address"),
        line("\"http://b.org\"", "SECOND  version, longer"),
    ];
    let lab = Lab::new(&[("a.jsonl", input.concat().as_bytes())]);
    let import = "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\ncolumns = { url = \"string\" }\n";
    lab.run(&format!("{import}[[step]]\nstage = \"dedup\"\nmethod = [\"url\"]"), 1).unwrap();
    assert_eq!(lab.rows("dedup", "rejects", &["line", "rule", "similarity", "detail"]), ["1|url||"]);
    assert_eq!(lab.rows("dedup", "clusters", &["size", "similarity", "kept"]), ["2|1.0|false", "2|1.0|true"]);
    lab.run(&format!("{import}[[step]]\nstage = \"dedup\"\nmethod = [\"url\", \"exact\"]"), 1).unwrap();
    let through = "1|url||alike through other documents of the cluster";
    assert_eq!(lab.rows("dedup", "rejects", &["line", "rule", "similarity", "detail"]), [through, "2|exact|1.0|"]);
}

#[test]
fn disasters_are_stopped() {
    // One template filled with one word each: alike in most n-grams of few characters.
    let filled =
        |n: usize| format!("The page about {} could not be found on this server, please try again later or go back.", letters(n + 700));
    let texts: Vec<String> = (0..1500).map(filled).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let lab = Lab::new(&[("bad.jsonl", &jsonl(&texts)), ("good.jsonl", &jsonl(&[&prose(1, 60), &prose(2, 60)]))]);
    let run = |settings: &str| {
        let config = format!("{IMPORT}[[step]]\nstage = \"dedup\"\nshingle = \"character\"\nverify = \"none\"\n{settings}");
        lab.run(&config, 2).map_err(|error| format!("{error:#}"))
    };
    let message = run("").unwrap_err();
    for expected in [
        "joined 1500 different documents into one cluster; `cluster_size_max` is 1000",
        "1500 documents, 1500 of them different:",
        "(bad.jsonl:",
        "\"The page about ",
        "set `verify = \"jaccard\"`, a higher `similarity_min` (it is 0.8), a longer `ngram` (it is 5)",
        "if they are, raise `cluster_size_max`",
    ] {
        assert!(message.contains(expected), "{message}");
    }
    let message = run("cluster_size_max = 2000").unwrap_err();
    let expected = "would remove 99.80 % of source `files` as near duplicates: 1499 of 1502 documents, besides 0 exact copies; \
                    `source_loss_max` is 0.9";
    assert!(message.contains(expected), "{message}");
    run("cluster_size_max = 2000\nsource_loss_max = 0.9999").unwrap();
    assert_eq!(lab.rows("dedup", "documents", &["id"]).len(), 3);
}

#[test]
fn exact_copies_are_no_disaster() {
    let text = prose(3, 40);
    let texts: Vec<&str> = (0..1200).map(|_| &text as &str).collect();
    for method in ["exact", "minhash"] {
        let lab = Lab::new(&[("a.jsonl", &jsonl(&texts))]);
        lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup\"\nmethod = [\"{method}\"]\ncluster_size_max = 1"), 2).unwrap();
        assert_eq!(lab.rows("dedup", "documents", &["id"]).len(), 1);
    }
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
