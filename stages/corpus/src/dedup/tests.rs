//! Tests of the whole stage: what each setting finds and keeps.

mod agreement;

use std::collections::BTreeMap;

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
