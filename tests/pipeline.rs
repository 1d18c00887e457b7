//! The data stages from files to shards: what a second run does, what a change reruns, and that no thread count changes a byte.

use crate::harness::Site;

const CONFIG: &str = r#"
[[step]]
stage = "import"
paths = ["in/*.jsonl.zst"]
columns = { title = "string" }

[[step]]
stage = "clean"
profile = "gopher@paper"

[[step]]
stage = "filter"

[[step]]
stage = "dedup"

[[step]]
stage = "split"
parts = { train = 0.8, valid = 0.1, test = 0.1 }

[[step]]
stage = "learn-tokenizer"
kind = "byte-level-bpe"
vocabulary_size = 1000

[[step]]
stage = "tokenize"
layout = "packed"
model = "causal"
sequence_length = 64
"#;

fn site() -> Site {
    Site::with_samples(CONFIG, &["text/help-en", "text/rust-doc", "text/speeches"])
}

fn names(steps: &[(String, String)]) -> Vec<&str> {
    steps.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn only_what_changed_runs_again() {
    let site = site();
    site.ok(&["run", "x.toml", "--quiet"]);
    assert_eq!(site.to_run(), []);

    let with_comment = CONFIG.replace("profile =", "# a comment\nprofile =");
    site.write("x.toml", &with_comment);
    assert_eq!(site.to_run(), [], "a comment in the config");

    let touched = site.path().join("in/help-en.jsonl.zst");
    let bytes = std::fs::read(&touched).unwrap();
    std::fs::write(&touched, bytes).unwrap();
    assert_eq!(site.to_run(), [], "a touched file");

    let profile = include_str!("../sql/profiles/gopher@paper.toml");
    site.write("sql/profiles/gopher@paper.toml", format!("# my copy\n{profile}\n# the end\n"));
    assert_eq!(site.to_run(), [], "a comment in the profile");

    site.write("x.toml", CONFIG.replace("stage = \"filter\"", "stage = \"filter\"\nrules = { word_count = { min = 60 } }"));
    let steps = site.to_run();
    assert_eq!(names(&steps), ["filter", "dedup", "split", "learn_tokenizer", "tokenize"]);
    assert!(steps[0].1.contains("word_count.min: 50") && steps[0].1.contains("60"), "{}", steps[0].1);
    assert_eq!(steps[1].1, "input step `filter` changed");
    site.ok(&["run", "x.toml", "--quiet"]);
    assert_eq!(site.to_run(), []);
    site.write("x.toml", CONFIG);
    site.ok(&["run", "x.toml", "--quiet"]);
    assert_eq!(
        site.value("select count(*) from filter.rejects where rule = 'word_count' and value >= 50"),
        0,
        "the first results are found again"
    );
}

#[test]
fn bytes_do_not_depend_on_threads_or_listing_order() {
    let first = site();
    first.ok(&["run", "x.toml", "--quiet", "--threads", "1"]);
    for threads in ["2", "4"] {
        let other = site();
        // The same files, listed the other way round.
        let listed = r#"paths = ["in/speeches.jsonl.zst", "in/rust-doc.jsonl.zst", "in/help-en.jsonl.zst"]"#;
        other.write("x.toml", CONFIG.replace(r#"paths = ["in/*.jsonl.zst"]"#, listed));
        other.ok(&["run", "x.toml", "--quiet", "--threads", threads]);
        assert_eq!(other.fingerprints(), first.fingerprints(), "{threads} threads");
    }
}

#[test]
fn every_document_and_token_is_accounted_for() {
    let site = site();
    site.ok(&["run", "x.toml", "--quiet"]);
    for (before, after) in [("import", "clean"), ("clean", "filter"), ("filter", "dedup")] {
        let lost = format!(
            "select count(*) from {before} where id not in (select id from {after}) and id not in (select id from {after}.rejects where id is not null)"
        );
        assert_eq!(site.value(&lost), 0, "documents lost between {before} and {after}");
    }
    assert_eq!(site.value("select count(*) from (select id from split group by id having count(*) > 1)"), 0);
    let of_spans = site.value("select sum(length) from tokenize.spans");
    assert_eq!(of_spans, site.manifest("tokenize")["counts"]["tokens_stored"]);
    assert_eq!(site.value("select count(distinct document) from tokenize.spans"), site.value("select count(*) from split"));
    // Near duplicates point to a survivor that is there.
    assert!(site.value("select count(*) from dedup.rejects").as_i64().unwrap() > 50);
    assert_eq!(site.value("select count(*) from dedup.rejects where matched_id is null or similarity < 0.8"), 0);
    assert_eq!(site.value("select count(*) from dedup.clusters where kept and id <> cluster_id"), 0);
    // An id compares with a hexadecimal string.
    let id = site.value("select id from split order by id limit 1");
    assert_eq!(site.value(&format!("select count(*) from import where id = '{}'", id.as_str().unwrap())), 1);
}

#[test]
fn other_tools_can_read_the_tables() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let site = site();
    site.ok(&["run", "x.toml", "--quiet", "--until", "import"]);
    let file = std::fs::File::open(site.path().join("runs/x/steps/import/documents/part-00000.parquet")).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let columns: Vec<String> =
        reader.metadata().file_metadata().schema_descr().columns().iter().map(|column| column.name().to_string()).collect();
    assert_eq!(columns, ["id", "content_hash", "source", "path", "position", "line", "text", "title", "extra"]);
    assert!(reader.metadata().file_metadata().num_rows() > 500);
}
