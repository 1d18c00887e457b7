//! Mixes of three sources: shares, copies, order and messages.

use std::collections::BTreeMap;

use crate::testing::Lab;

const IMPORT: &str = "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\nsource_field = \"from\"\ncolumns = { tokens = \"integer\" }\n";

fn line(n: usize, from: &str) -> String {
    let text = format!("text {n} {}", "x".repeat(n * 7919 % 60));
    serde_json::json!({ "text": text, "from": from, "tokens": 1 + n % 7 }).to_string() + "\n"
}

/// 600 documents of web, 380 of books, 20 rare ones.
fn lab() -> Lab {
    let from = |n: usize| ["web", "books", "rare"][n % 10 / 6 + usize::from(n % 50 == 49)];
    let lines = |documents: std::ops::Range<usize>| documents.map(|n| line(n, from(n))).collect::<String>();
    Lab::new(&[("a.jsonl", lines(0..300).as_bytes()), ("b.jsonl", lines(300..1000).as_bytes())])
}

fn mix(lab: &Lab, settings: &str) -> Vec<String> {
    lab.run(&format!("{IMPORT}[[step]]\nstage = \"mix\"\n{settings}"), 2).unwrap();
    lab.rows("mix", "documents", &["id", "copy"])
}

/// Documents and the sum of a measure of every source.
fn sums(lab: &Lab, measure: &str) -> BTreeMap<String, (usize, usize)> {
    let measure_of = |row: &str| if measure == "text" { row.len() } else { row.parse().unwrap() };
    lab.rows("mix", "documents", &["source", measure]).iter().fold(BTreeMap::new(), |mut sums, row| {
        let (source, value) = row.split_once('|').unwrap();
        let sum: &mut (usize, usize) = sums.entry(source.to_string()).or_default();
        *sum = (sum.0 + 1, sum.1 + measure_of(value));
        sums
    })
}

#[test]
fn weights_are_reached_within_one_document() {
    let lab = lab();
    for (settings, measure, size) in [
        ("size = \"20kB\"", "text", Some(20_000.0)),
        ("size = 20000\nunit = \"bytes\"", "text", Some(20_000.0)),
        ("size = \"2k\"\nunit = \"tokens\"\ntokens = \"Tokens + 0\"", "tokens", Some(2000.0)),
        ("", "text", None),
    ] {
        mix(&lab, &format!("weights = {{ web = 6, books = 3, rare = 1 }}\nepochs_max = 20\n{settings}"));
        let sums = sums(&lab, measure);
        let all: usize = sums.values().map(|(_, sum)| sum).sum();
        let size = size.unwrap_or(all as f64);
        for (source, weight) in [("web", 0.6), ("books", 0.3), ("rare", 0.1)] {
            let off = (sums[source].1 as f64 - weight * size).abs();
            assert!(off <= 35.0, "{settings}: {source} is off by {off}");
        }
        let reached: f64 = lab.rows("mix", "sources", &["weight_reached"]).iter().map(|row| row.parse::<f64>().unwrap()).sum();
        assert!((reached - 1.0).abs() < 1e-9);
        let facts: BTreeMap<String, serde_json::Value> = lab.artifact("mix").fact("sources").unwrap();
        assert_eq!(facts["web"]["weight"], 0.6);
    }
}

#[test]
fn documents_count_alike_and_the_table_says_what_was_taken() {
    let lab = lab();
    mix(&lab, "weights = { web = 0.5, books = 0.38, rare = 0.12 }\nunit = \"documents\"\nsize = 500");
    let row = |row: &String| row.clone();
    let table =
        lab.rows("mix", "sources", &["source", "documents_in", "documents", "copies", "rejected", "amount", "weight", "weight_reached"]);
    assert_eq!(
        table.iter().map(row).collect::<Vec<_>>(),
        ["books|380|190|0|190|190|0.38|0.38", "rare|20|60|40|0|60|0.12|0.12", "web|600|250|0|350|250|0.5|0.5"]
    );
    assert_eq!(lab.rows("mix", "sources", &["epochs"]), ["0.5", "3.0", "0.4166666666666667"]);
    let rejects = lab.rows("mix", "rejects", &["rule", "detail"]);
    assert_eq!(rejects.iter().filter(|row| *row == "not_taken|web").count(), 350);
    assert_eq!(rejects.len(), 540);
}

#[test]
fn epochs_and_temperature_repeat_documents() {
    let lab = lab();
    let rows = mix(&lab, "epochs = { rare = 2.5, books = 0 }\nunit = \"documents\"");
    assert_eq!(rows.len(), 600 + 50);
    let copies = lab.rows("mix", "documents", &["source", "copy"]);
    let count = |wanted: &str| copies.iter().filter(|row| *row == wanted).count();
    assert_eq!([count("web|0"), count("web|1"), count("rare|0"), count("rare|1"), count("rare|2")], [600, 0, 20, 20, 10]);
    mix(&lab, "temperature = 1000000\nunit = \"documents\"\nsize = 120\nepochs_max = 2");
    assert_eq!(sums(&lab, "tokens").values().map(|(documents, _)| *documents).collect::<Vec<_>>(), [40; 3]);
}

#[test]
fn everything_is_shuffled_and_the_input_order_has_no_say() {
    let lab = lab();
    let rows = mix(&lab, "");
    assert!(lab.files("mix", "documents") > 5, "the test has too few parts");
    assert_eq!((rows.len(), lab.rows("mix", "rejects", &["id"]).len()), (1000, 0));
    let imported = lab.rows("import", "documents", &["id"]);
    let place: BTreeMap<&str, usize> = imported.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
    let places: Vec<usize> = rows.iter().map(|row| place[row.split_once('|').unwrap().0]).collect();
    let apart: usize = places.windows(2).map(|pair| pair[0].abs_diff(pair[1])).sum::<usize>() / 999;
    // Two random places of 1000 are 333 apart.
    assert!((300..366).contains(&apart), "{apart}");
    let fingerprint = lab.fingerprint("mix");
    lab.forget();
    lab.run(&format!("{IMPORT}[[step]]\nstage = \"mix\"\n"), 4).unwrap();
    assert_eq!(lab.fingerprint("mix"), fingerprint);
    let steps = |order: &str| {
        let import =
            |name: &str| format!("[[step]]\nname = \"{name}\"\nstage = \"import\"\npaths = [\"{name}.jsonl\"]\nsource = \"{name}\"\n");
        let mix = format!("[[step]]\nstage = \"mix\"\nby = \"step\"\nweights = {{ a = 2, b = 1 }}\ninputs = {{ documents = [{order}] }}\n");
        lab.run(&format!("{}{}{mix}", import("a"), import("b")), 2).unwrap();
        (lab.rows("mix", "documents", &["id", "source", "copy"]), lab.rows("mix", "sources", &["source", "documents", "weight"]))
    };
    let ab = steps("\"a\", \"b\"");
    assert_eq!(ab, steps("\"b\", \"a\""));
    assert!(ab.1[0].starts_with("a|300|0.666"), "{ab:?}");
    lab.run(&format!("seed = 5\n{IMPORT}[[step]]\nstage = \"mix\"\n"), 2).unwrap();
    assert_ne!(lab.rows("mix", "documents", &["id", "copy"]), rows);
}

#[test]
fn documents_that_come_move_no_others() {
    let lab = lab();
    let before = mix(&lab, "epochs = { rare = 2 }\nunit = \"documents\"");
    lab.write("c.jsonl", (2000..2010).map(|n| line(n, "web")).collect::<String>().as_bytes());
    let after = mix(&lab, "epochs = { rare = 2 }\nunit = \"documents\"");
    let old: Vec<&String> = after.iter().filter(|row| before.contains(row)).collect();
    assert_eq!((old, after.len()), (before.iter().collect(), before.len() + 10));
}

#[test]
fn nothing_gives_nothing_and_a_mix_of_a_mix_is_refused() {
    let empty = Lab::new(&[("a.jsonl", b"")]);
    assert!(mix(&empty, "").is_empty());
    let again = format!("{IMPORT}[[step]]\nstage = \"mix\"\n[[step]]\nname = \"again\"\nstage = \"mix\"\n");
    let message = format!("{:#}", empty.run(&again, 1).unwrap_err());
    assert!(message.contains("they are mixed"), "{message}");
}

#[test]
fn wrong_settings_are_refused() {
    let check = |settings: &str, expected: &str| {
        let message = format!("{:#}", lab().run(&format!("{IMPORT}[[step]]\nstage = \"mix\"\n{settings}"), 1).unwrap_err());
        assert!(message.contains(expected), "{message}");
    };
    check("weights = { web = 1 }\nepochs = { web = 1 }", "three ways to say the same");
    check("weights = { web = -1 }", "numbers from 0 on");
    check("weights = { web = 0 }", "all 0");
    check("unit = \"tokens\"", "the unit `tokens` needs");
    check("tokens = \"1\"", "for `unit = \"tokens\"` alone");
    check("unit = \"tokens\"\ntokens = \"nullif(tokens, 3)\"", "gives null for a document");
    check("unit = \"documents\"\nsize = \"2GB\"", "`2GB` is no number of documents");
    check("size = true", "`true` is no size");
    check("weights = { web = 1, books = 1 }", "the source `rare` has none");
    check(
        "weights = { web = 1, books = 1, rare = 1 }\nunit = \"documents\"\nsize = 600",
        "would take `rare` 10.00 times, and `epochs_max` allows 4",
    );
}
