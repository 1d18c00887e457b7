//! The whole stage: small documents against small evaluation sets.

use crate::testing::{Lab, jsonl};

const IMPORT: &str = "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\n";
const AGAINST: &str = "against = [{ name = \"quiz\", paths = [\"eval/*.jsonl\"], fields = [\"question\", \"answer\"] }]";
const QUESTION: &str = "Which river runs through the old town before it meets the sea at the harbour?";

fn lab(texts: &[&str], items: &[(&str, &str)]) -> Lab {
    let item = |(question, answer): &(&str, &str)| serde_json::json!({ "question": question, "answer": answer }).to_string() + "\n";
    Lab::new(&[("a.jsonl", &jsonl(texts)), ("eval/a.jsonl", items.iter().map(item).collect::<String>().as_bytes())])
}

fn run(texts: &[&str], items: &[(&str, &str)], settings: &str) -> Lab {
    let lab = lab(texts, items);
    lab.run(&format!("{IMPORT}[[step]]\nstage = \"decontaminate\"\n{AGAINST}\n{settings}"), 2).unwrap();
    lab
}

/// Which of the texts are rejected, by line, and with what overlap in per cent.
fn check(texts: &[&str], items: &[(&str, &str)], settings: &str, expected: &[(usize, i64)]) {
    let rows = run(texts, items, settings).rows("decontaminate", "rejects", &["line", "value"]);
    let found = rows.iter().map(|row| row.split_once('|').unwrap());
    let found: Vec<_> =
        found.map(|(line, value)| (line.parse().unwrap(), (value.parse::<f64>().unwrap() * 100.0).round() as i64)).collect();
    assert_eq!(found, expected, "{settings}");
}

const TEXTS: [&str; 5] = [
    "Nothing of the kind is here.",
    "Quiz: which RIVER runs through the old town, before it meets the sea at the harbour. Go!",
    "Which river runs through the old town before it meets the lake?",
    "Which river runs through the old town before it meets the sea, they asked.",
    "It was a person of no importance at all then.",
];
const ITEMS: [(&str, &str); 2] = [(QUESTION, "The Lea."), ("Who?", "A person of no importance at all then")];

#[test]
fn ngrams_and_short_fields_are_found() {
    // 15 words have 3 n-grams of 13; the answer of the second item is found as a whole, its question is too short to be searched.
    check(&TEXTS, &ITEMS, "", &[(2, 100), (5, 100)]);
    check(&TEXTS, &ITEMS, "ngram = 12", &[(2, 100), (4, 25), (5, 100)]);
    check(&TEXTS, &ITEMS, "ngram = 12\noverlap_min = 0.5", &[(2, 100), (5, 100)]);
    check(&TEXTS, &ITEMS, "ngram = 8", &[(2, 100), (3, 50), (4, 63), (5, 100)]);
    check(&TEXTS, &ITEMS, "ngram = 50", &[(2, 100), (5, 100)]);
    check(&TEXTS, &ITEMS, "field_words_min = 9", &[(2, 100)]);
    check(&["北京是中国的首都，人口众多。", "首都"], &[("北京是中国的首都", "")], "", &[(1, 100)]);
}

#[test]
fn tables_tell_what_was_found_where() {
    let lab = run(&TEXTS, &ITEMS, "");
    assert_eq!(lab.rows("decontaminate", "documents", &["line"]), ["1", "3", "4"]);
    let ids = lab.rows("import", "documents", &["id"]);
    assert_eq!(
        lab.rows("decontaminate", "matches", &["id", "set", "item", "field", "position", "words", "overlap", "text"]),
        [
            format!("{}|quiz|0|question|1|15|1.0|which RIVER runs through the old town, before it meets the sea at the harbour", ids[1]),
            format!("{}|quiz|1|answer|2|8|1.0|a person of no importance at all then", ids[4]),
        ]
    );
    assert_eq!(
        lab.rows("decontaminate", "items", &["set", "item", "path", "line", "words", "searched", "contaminated", "documents"]),
        ["quiz|0|a.jsonl|1|17|true|true|1", "quiz|1|a.jsonl|2|9|true|true|1"]
    );
    assert_eq!(
        lab.rows("decontaminate", "rejects", &["rule", "threshold", "detail"])[0],
        "contaminated|0.0|item 0 of `quiz` (a.jsonl:1), 15 words: which RIVER runs through the old town, before it meets the sea at the harbour"
    );
}

#[test]
fn documents_are_marked_or_pass() {
    let lab = run(&TEXTS, &ITEMS, "action = \"mark\"");
    let rows = lab.rows("decontaminate", "documents", &["line", "contaminated", "overlap"]);
    assert_eq!(rows, ["1|false|", "2|true|1.0", "3|false|", "4|false|", "5|true|1.0"]);
    let lab = run(&TEXTS, &[ITEMS[0], ("Is that so?", "no")], "action = \"mark-test\"");
    assert_eq!(lab.rows("decontaminate", "documents", &["line"]).len(), 5);
    assert_eq!(lab.rows("decontaminate", "items", &["item", "searched", "contaminated"]), ["0|true|true", "1|false|false"]);
    let counts = lab.artifact("decontaminate").manifest.counts;
    assert_eq!([counts["items"], counts["items_searched"], counts["items_contaminated"], counts["contaminated"]], [2, 1, 1, 1]);
}

#[test]
fn fuzzy_forgives_small_changes_of_long_items_alone() {
    let long = (0..60).map(|n| format!("w{n}a")).collect::<Vec<_>>().join(" ");
    let changed = long.replace("w30a", "other");
    let halved = long.split(' ').take(30).collect::<Vec<_>>().join(" ");
    let texts = [
        changed.as_str(),
        &format!("before it {long} and after"),
        &halved,
        QUESTION,
        "Which river runs through the new town before it meets the sea at the harbour?",
    ];
    check(&texts, &[(&long, ""), (QUESTION, "")], "method = \"fuzzy\"", &[(1, 91), (2, 100), (4, 100)]);
    // The answer counts a quarter, and has to stand near the question.
    let answered = format!("{QUESTION} Everyone knows that it is the Lea.");
    let far = format!("{QUESTION} {} The Lea.", "and so on ".repeat(60));
    check(&[&answered, &far, QUESTION], &[ITEMS[0]], "method = \"fuzzy\"", &[(1, 100)]);
    check(
        &["which river runs here", "a which river runs"],
        &[("Which river runs here", "")],
        "method = \"fuzzy\"\nfield_words_min = 4",
        &[(1, 100)],
    );
}

#[test]
fn documents_of_another_step_are_searched_for_but_not_in_themselves() {
    let long = |seed: usize| (0..40).map(|n| format!("w{}x{n}", seed * 7)).collect::<Vec<_>>().join(" ");
    let texts = [long(1), long(2), format!("so: {}", long(1)), long(3)];
    let splits = ["test", "test", "train", "train"];
    let line = |(text, split): (&String, &str)| serde_json::json!({ "text": text, "part": split }).to_string() + "\n";
    let lab = Lab::new(&[("a.jsonl", texts.iter().zip(splits).map(line).collect::<String>().as_bytes())]);
    let config = format!(
        "{IMPORT}columns = {{ part = \"string\" }}\n[[step]]\nstage = \"split\"\nfrom = \"part\"\n[[step]]\nstage = \"decontaminate\"\n\
         inputs = {{ documents = \"split\", against = \"split\" }}\nagainst_split = \"test\"\n"
    );
    lab.run(&config, 2).unwrap();
    let ids = lab.rows("import", "documents", &["id"]);
    assert_eq!(lab.rows("decontaminate", "rejects", &["line", "matched_id"]), [format!("3|{}", ids[0])]);
    assert_eq!(
        lab.rows("decontaminate", "items", &["set", "item_id", "documents"]),
        [format!("split|{}|1", ids[0]), format!("split|{}|0", ids[1])]
    );
    lab.run(&format!("{config}split = \"valid\""), 2).unwrap();
    assert_eq!(lab.rows("decontaminate", "documents", &["line"]).len(), 4);
    let message = format!("{:#}", lab.run(&config.replace("\"test\"", "\"tset\""), 1).unwrap_err());
    assert!(message.contains("step `split` has no documents of the split `tset`"), "{message}");
}

#[test]
fn columns_of_parquet_files_lists_and_archives_are_items() {
    let lab = Lab::new(&[
        ("a.jsonl", &jsonl(&TEXTS)),
        ("eval/b.jsonl.gz", &gzip(format!("{{\"q\":{{\"text\":[\"{QUESTION}\",\"x\"]}}}}\n\n").as_bytes())),
    ]);
    let set = |paths: &str, field: &str| format!("against = [{{ name = \"s\", paths = [\"{paths}\"], fields = [\"{field}\"] }}]");
    let run = |set: String| lab.run(&format!("{IMPORT}[[step]]\nstage = \"decontaminate\"\n{set}"), 2);
    run(set("eval/b.jsonl.gz", "q.text")).unwrap();
    assert_eq!(lab.rows("decontaminate", "items", &["words", "contaminated", "line"]), ["16|true|1"]);
    // The id that `evaluate` gives the row, too.
    let packed = gzip(format!("{{\"q\":{{\"text\":[\"{QUESTION}\",\"x\"]}}}}\n\n").as_bytes());
    let hash = blake3::hash(&packed).to_hex().to_string();
    let file = engine::InputFile { path: "b.jsonl.gz".into(), relative: "b.jsonl.gz".into(), bytes: 0, hash };
    let id = u128::from_be_bytes(file.row_id(0));
    assert_eq!(lab.rows("decontaminate", "items", &["item_id"]), [format!("{id:032x}")]);
    let matched = lab.rows("decontaminate", "rejects", &["matched_id"]);
    assert!(!matched.is_empty() && matched.iter().all(|matched| *matched == format!("{id:032x}")), "{matched:?}");
    let table = lab.artifact("import").table("documents").unwrap();
    lab.write("eval/c.parquet", &std::fs::read(&table.files[0].path).unwrap());
    run(set("eval/c.parquet", "text")).unwrap();
    assert_eq!(lab.rows("decontaminate", "items", &["line", "documents"]), ["1|0", "2|1", "3|1", "4|1", "5|1"]);
    let message = format!("{:#}", run(set("eval/c.parquet", "txt")).unwrap_err());
    assert!(message.contains("evaluation set `s`, `c.parquet`: has no column `txt`, did you mean `text`?"), "{message}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn bad_sets_and_settings_are_refused() {
    let refuse = |eval: &str, settings: &str, expected: &str| {
        let lab = Lab::new(&[("a.jsonl", &jsonl(&TEXTS)), ("eval/a.jsonl", eval.as_bytes())]);
        let message = format!("{:#}", lab.run(&format!("{IMPORT}[[step]]\nstage = \"decontaminate\"\n{settings}"), 1).unwrap_err());
        assert!(message.contains(expected), "{message}");
    };
    refuse(
        "{\"question\":\"x y\"}\n{\"qestion\":1}\n",
        AGAINST,
        "evaluation set `quiz`, `a.jsonl`: line 2 has no field `question`, `answer`, did you mean",
    );
    refuse("{\"question\":\"x y\"}\n", AGAINST, "evaluation set `quiz`: no item has the field `answer`");
    refuse("{\"question\"", AGAINST, "line 1 is no JSON");
    refuse("", "", "nothing to search for");
    refuse("", &format!("{AGAINST}\nngram = 0"), "`ngram` is 0: it must be between 1 and 1000");
    refuse("", &format!("{AGAINST}\noverlap_min = 1.5"), "`overlap_min` is 1.5");
    refuse("", &format!("{AGAINST}\nagainst_split = \"test\""), "`against_split` chooses among the documents");
    refuse("", &AGAINST.replace("eval/", "evil/"), "evaluation set `quiz`: `evil/*.jsonl` matches no file");
}

#[test]
fn threads_do_not_matter() {
    let texts: Vec<String> = (0..300).map(|n| (0..40).map(|k| format!("w{}", (n * n + k) % 97)).collect::<Vec<_>>().join(" ")).collect();
    let lines: Vec<&str> = texts.iter().map(String::as_str).collect();
    for method in ["ngram", "fuzzy"] {
        let lab = lab(&lines[..200], &[(lines[250], lines[3]), (lines[7], lines[260])]);
        lab.write("b.jsonl", &jsonl(&lines[200..]));
        let config = format!("{IMPORT}[[step]]\nstage = \"decontaminate\"\n{AGAINST}\nmethod = \"{method}\"");
        lab.run(&config, 2).unwrap();
        let two = lab.fingerprint("decontaminate");
        assert!(lab.artifact("decontaminate").manifest.rows("rejects") > 0);
        lab.forget();
        lab.run(&config, 1).unwrap();
        assert_eq!(lab.fingerprint("decontaminate"), two);
    }
}
