//! The whole stage, against an oracle that compares every window with every earlier one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use engine::{Context, Quiet};
use proptest::prelude::*;

use super::anchors::{AnchorWriter, Winnower, read_repeated, write_repeated};
use super::repeats::{ContextWriter, read_marks, write_marks};
use crate::testing::{Lab, jsonl};

const IMPORT: &str = "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\n";

fn run(lab: &Lab, settings: &str, threads: usize) {
    lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup-substrings\"\n{settings}"), threads).unwrap();
}

fn check(texts: &[&str], settings: &str, expected: &[&str]) {
    let lab = Lab::new(&[("a.jsonl", &jsonl(texts))]);
    run(&lab, settings, 2);
    assert_eq!(lab.rows("dedup_substrings", "documents", &["text"]), expected);
}

const HEADER: &str = "This header stands on top of every page of the site. ";

#[test]
fn the_first_of_all_repeats_stays() {
    let texts = [format!("{HEADER}One."), "Short.".to_string(), format!("{HEADER}Two. {HEADER}"), HEADER.to_string()];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let lab = Lab::new(&[("a.jsonl", &jsonl(&texts))]);
    run(&lab, "bytes_min = 20", 2);
    assert_eq!(lab.rows("dedup_substrings", "documents", &["text"]), [texts[0], "Short.", "Two. "]);
    let ids = lab.rows("import", "documents", &["id"]);
    let spans = lab.rows("dedup_substrings", "spans", &["id", "start", "bytes", "first_id", "first_start"]);
    let length = HEADER.len();
    let expected = [(2, 0, length), (2, length + 5, length), (3, 0, length)];
    assert_eq!(spans, expected.map(|(row, start, bytes)| format!("{}|{start}|{bytes}|{}|0", ids[row], ids[0])));
    assert_eq!(
        lab.rows("dedup_substrings", "edits", &["rewrite", "count", "bytes_removed"]),
        [format!("substring|2|{}", 2 * length), format!("substring|1|{length}")]
    );
    let rejects = lab.rows("dedup_substrings", "rejects", &["line", "rule", "value", "threshold", "matched_id"]);
    assert_eq!(rejects, [format!("4|repeated_text|{length}.0|20.0|{}", ids[0])]);
    assert_eq!(lab.rows("dedup_substrings", "documents", &["content_hash"])[..2], lab.rows("import", "documents", &["content_hash"])[..2]);
}

#[test]
fn chinese_masks_and_texts_that_repeat_themselves() {
    let poem = "床前明月光，疑是地上霜。举头望明月，低头思故乡。";
    check(&[poem, &format!("李白：{poem}静夜思")], "bytes_min = 60", &[poem, "李白：静夜思"]);
    check(&[poem, &format!("李白：{poem}静夜思")], "bytes_min = 60\nmask = \"[…]\"", &[poem, "李白：[…]静夜思"]);
    let dashes = "-".repeat(500);
    check(&[&format!("a\n{dashes}\nb")], "bytes_min = 100", &[&format!("a\n{}\nb", &dashes[..100])]);
    check(&["x".repeat(150).as_str(), "x".repeat(150).as_str()], "", &["x".repeat(150).as_str()]);
    check(&["", "a"], "", &["a"]);
}

#[test]
fn wrong_settings_are_refused() {
    let lab = Lab::new(&[("a.jsonl", &jsonl(&["a"]))]);
    let error = lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup-substrings\"\nbytes_min = 3"), 1).unwrap_err();
    assert!(format!("{error:#}").contains("`bytes_min` is 3: it must be between 16 and 65536"));
}

/// What the definition says: a window that stands earlier, and does not overlap its first occurrence, is covered.
fn covered(texts: &[String], bytes_min: usize) -> Vec<Vec<bool>> {
    let mut firsts: HashMap<&[u8], (usize, usize)> = HashMap::new();
    let mut covered: Vec<Vec<bool>> = texts.iter().map(|text| vec![false; text.len()]).collect();
    for (document, text) in texts.iter().enumerate() {
        for (start, window) in text.as_bytes().windows(bytes_min).enumerate() {
            let first = *firsts.entry(window).or_insert((document, start));
            if first != (document, start) && (first.0 != document || first.1 + bytes_min <= start) {
                covered[document][start..start + bytes_min].fill(true);
            }
        }
    }
    covered
}

/// The bytes that the phases before the cut mark, with the texts in two parts.
fn marked(texts: &[String], bytes_min: usize, bins: usize) -> Vec<Vec<bool>> {
    let sql = Arc::new(query::Session::new(&query::Settings::default()).unwrap());
    let (device, progress) = ("cpu".to_string(), Arc::new(Quiet));
    let ctx = Context { seed: 0, threads: 1, memory: 1 << 30, device, progress, stop: Arc::default(), sql };
    let folder = tempfile::tempdir().unwrap();
    let paths = |phase: &str, count: usize| (0..count).map(|n| folder.path().join(format!("{phase}-{n}"))).collect::<Vec<PathBuf>>();
    let (anchors, repeated, contexts, marks) = (paths("a", 2), paths("r", bins), paths("c", 2), paths("m", bins));
    let parts = texts.split_at(texts.len() / 2);
    let mut winnower = Winnower::new(bytes_min);
    for (texts, path) in [parts.0, parts.1].iter().zip(&anchors) {
        let mut writer = AnchorWriter::create(path, bins, bytes_min).unwrap();
        texts.iter().for_each(|text| winnower.runs(text.as_bytes(), |run| writer.push(run)).unwrap());
        writer.finish().unwrap();
    }
    (0..bins).for_each(|bin| write_repeated(&ctx, &anchors, bins, bin, &repeated[bin]).unwrap());
    for (part, (texts, path)) in [parts.0, parts.1].iter().zip(&contexts).enumerate() {
        let wanted = read_repeated(&repeated, 2, part).unwrap();
        let mut writer = ContextWriter::create(path, bins, bytes_min).unwrap();
        let mut number = 0;
        for (row, text) in texts.iter().enumerate() {
            let id = [(row + part * parts.0.len()) as u8; 16];
            let push = |run| {
                number += 1;
                if wanted.contains(&(number - 1)) { writer.push(id, row as u32, text.as_bytes(), run) } else { Ok(()) }
            };
            winnower.runs(text.as_bytes(), push).unwrap();
        }
        writer.finish().unwrap();
    }
    (0..bins).for_each(|bin| write_marks(&ctx, &contexts, bins, bin, bytes_min, &marks[bin]).unwrap());
    let mut found: Vec<Vec<bool>> = texts.iter().map(|text| vec![false; text.len()]).collect();
    for part in 0..2 {
        for mark in read_marks(&marks, 2, part).unwrap() {
            let (start, end, first) = (mark.start as usize, mark.end as usize, mark.first_start as usize);
            let document = mark.row as usize + part * parts.0.len();
            assert_eq!(texts[document][start..end], texts[mark.first_id[0] as usize][first..first + end - start]);
            found[document][start..end].fill(true);
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_byte_of_every_repeat_is_marked(
        pieces in proptest::collection::vec("[ab]{1,60}", 1..5),
        order in proptest::collection::vec((0_usize..5, 0_usize..8), 1..40),
        bytes_min in 16_usize..50,
        bins in 1_usize..4,
    ) {
        let mut texts = vec![String::new()];
        for (piece, end) in &order {
            texts.last_mut().unwrap().push_str(&pieces[piece % pieces.len()]);
            if *end == 0 {
                texts.push(String::new());
            }
        }
        prop_assert_eq!(marked(&texts, bytes_min, bins), covered(&texts, bytes_min));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Here every character is a word, so that nothing but halves of characters is drawn in.
    #[test]
    fn every_repeat_is_found(pieces in proptest::collection::vec("[中文。]{4,12}", 2..6), order in proptest::collection::vec((0_usize..6, 0_usize..4), 1..40)) {
        let mut texts = vec![String::new()];
        for (piece, end) in &order {
            texts.last_mut().unwrap().push_str(&pieces[piece % pieces.len()]);
            if *end == 0 {
                texts.push(String::new());
            }
        }
        texts.retain(|text| !text.is_empty());
        let lines: Vec<&str> = texts.iter().map(String::as_str).collect();
        let lab = Lab::new(&[("a.jsonl", &jsonl(&lines))]);
        run(&lab, "bytes_min = 30", 2);
        let ids = lab.rows("import", "documents", &["id"]);
        let mut found: Vec<Vec<bool>> = texts.iter().map(|text| vec![false; text.len()]).collect();
        for row in lab.rows("dedup_substrings", "spans", &["id", "start", "bytes"]) {
            let fields: Vec<&str> = row.split('|').collect();
            let (start, bytes): (usize, usize) = (fields[1].parse().unwrap(), fields[2].parse().unwrap());
            found[ids.iter().position(|id| id == fields[0]).unwrap()][start..start + bytes].fill(true);
        }
        // Spans begin and end between characters.
        let mut expected = covered(&texts, 30);
        for (text, expected) in texts.iter().zip(&mut expected) {
            for (at, c) in text.char_indices() {
                let whole = expected[at..at + c.len_utf8()].iter().all(|covered| *covered);
                expected[at..at + c.len_utf8()].fill(whole);
            }
        }
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn threads_do_not_matter_and_twice_is_once() {
    let word = |n: usize| ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"][n * n % 89 % 9];
    let texts: Vec<String> =
        (0..400).map(|n| (0..60 + n % 50).map(|k| word(n % 37 * 17 + k)).collect::<Vec<_>>().join(" ") + &format!(" {n}")).collect();
    let lines: Vec<&str> = texts.iter().map(String::as_str).collect();
    let lab = Lab::new(&[("a.jsonl", &jsonl(&lines[..150])), ("b.jsonl", &jsonl(&lines[150..]))]);
    run(&lab, "", 2);
    let two = lab.fingerprint("dedup_substrings");
    lab.forget();
    run(&lab, "", 1);
    assert_eq!(lab.fingerprint("dedup_substrings"), two);
    let removed = lab.artifact("dedup_substrings").manifest.count("bytes_removed");
    assert!(removed > 10_000, "{removed}");
}
