//! What a training reads, from outside: sources by weights, `mill trace`, the join of steps to documents, shards that were altered.

use serde_json::Value;

use crate::harness::{Site, sample};

const CONFIG: &str = r#"
seed = 3

[[step]]
stage = "import"
paths = ["in/mails.jsonl.zst"]
columns = { label = "string" }

[[step]]
stage = "learn-tokenizer"
vocabulary_size = 600

[[step]]
name = "mails"
stage = "tokenize"
sequence_length = 64
inputs = { documents = "import", tokenizer = "learn_tokenizer" }

[[step]]
name = "again"
stage = "tokenize"
sequence_length = 64
inputs = { documents = "import", tokenizer = "learn_tokenizer" }

[[step]]
name = "gpt"
stage = "train"
model = { family = "gpt", layers = 1, width = 16, heads = 2 }
steps = 12
batch_size = 4
accumulate = 2
weights = { mails = 3, again = 1 }
curriculum = [{ from_step = 8, weights = { again = 1 } }]
document_mask = true
inputs = { tokens = ["mails", "again"], tokenizer = "learn_tokenizer" }
"#;

fn site() -> Site {
    let site = Site::new(CONFIG);
    std::fs::create_dir(site.path().join("in")).unwrap();
    std::fs::copy(sample("mails/mails.jsonl.zst"), site.path().join("in/mails.jsonl.zst")).unwrap();
    site
}

fn trace(site: &Site, args: &[&str]) -> Vec<Value> {
    let done = site.ok(&[&["trace", "x.toml", "gpt"], args, &["--format", "json"]].concat());
    serde_json::from_str(&done.stdout).unwrap()
}

#[test]
fn a_step_can_be_traced_to_its_documents() {
    let site = site();
    let done = site.mill(&["trace", "x.toml", "gpt", "3"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("step `mails` has not run with these settings; run `mill run --until mails` first"), "{}", done.stderr);
    // What a step will read is known before it does.
    site.ok(&["run", "x.toml", "--quiet", "--until", "mails"]);
    site.ok(&["run", "x.toml", "--quiet", "--until", "again"]);
    let before = trace(&site, &["3"]);
    site.ok(&["run", "x.toml", "--quiet"]);
    assert_eq!(trace(&site, &["3"]), before);
    // Steps join to documents in SQL, and give the same.
    let query = "select s.step, s.sample, s.source, s.row, p.document, p.start, p.length, left(d.text, 60) as text
        from gpt.samples s
        join (select 'mails' as source, * from mails.spans union all select 'again' as source, * from again.spans) p
            on p.source = s.source and p.row = s.row and p.split = 'train'
        join import d on d.id = p.document
        where s.step = 3 order by s.sample, p.document, p.start";
    let mut traced = trace(&site, &["3"]);
    for row in &mut traced {
        let shard = row.as_object_mut().unwrap().remove("shard").unwrap();
        assert!(shard.as_str().unwrap().ends_with("tokens/split=train/shard-00000.arrow"), "{shard}");
    }
    traced.sort_by_key(|row| (row["sample"].as_i64(), row["document"].to_string(), row["start"].as_i64()));
    assert_eq!(traced, site.sql(query));
    assert_eq!(site.value("select count(distinct sample) from gpt.samples where step = 3"), 8);
    // Three of four rows are of the first source, until the ninth step.
    let by_source = "select sum(case when source = 'mails' then 1 else 0 end) from gpt.samples where step";
    let mails = site.value(&format!("{by_source} <= 8")).as_i64().unwrap();
    assert!((47..=49).contains(&mails), "{mails}");
    assert_eq!(site.value(&format!("{by_source} > 8")), 0);

    let check = |args: &[&str], part: &str| {
        let done = site.mill(&[&["trace", "x.toml"], args].concat());
        assert_eq!(done.code, 2, "{}", done.stderr);
        assert!(done.stderr.contains(part), "{}", done.stderr);
    };
    check(&["gpt", "13"], "step `gpt` has no step 13: they are numbered from 1 to 12");
    check(&["mails", "1"], "is of the stage `tokenize` and learns nothing; steps that train: `gpt`");
    check(&["pgt", "1"], "there is no step `pgt`");
    check(&["gpt", "1", "--format", "xml"], "unknown format `xml`");
}

#[test]
fn an_altered_shard_is_found_by_its_length_and_by_its_hash() {
    let site = site();
    site.ok(&["run", "x.toml", "--quiet", "--until", "mails"]);
    site.ok(&["run", "x.toml", "--quiet", "--until", "again"]);
    let shard = site.path().join("runs/x/steps/mails/tokens/split=train/shard-00000.arrow");
    let whole = std::fs::read(&shard).unwrap();
    let check = |bytes: &[u8], args: &[&str], part: &str| {
        std::fs::write(&shard, bytes).unwrap();
        let done = site.mill(&[&["run", "x.toml", "--quiet"], args].concat());
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert!(done.stderr.contains("shard-00000.arrow") && done.stderr.contains(part), "{}", done.stderr);
    };
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    check(&flipped, &["--verify"], "has other bytes than when it was written; remove the folder");
    check(&whole[..whole.len() - 8], &["--verify"], &format!("has {} bytes, the manifest says {}", whole.len() - 8, whole.len()));
    // Without --verify too: the footer stands at the end.
    check(&[&whole[..], b"12345678"].concat(), &[], "is no readable Arrow file");
    std::fs::write(&shard, &whole).unwrap();
    site.ok(&["run", "x.toml", "--quiet", "--verify"]);
}

#[test]
fn shards_of_another_workspace_are_fetched_and_checked() {
    let site = site();
    site.ok(&["run", "x.toml", "--quiet", "--until", "mails"]);
    site.ok(&["run", "x.toml", "--quiet", "--until", "again"]);
    let fetch = "workspace = \"runs/y\"\n[[step]]\nname = \"mails\"\nstage = \"fetch\"\npath = \"file://runs/x/steps/mails\"\n";
    site.write("y.toml", fetch);
    let fetched = |name: &str| {
        let text = std::fs::read_to_string(site.path().join(format!("runs/{name}/steps/mails/manifest.json"))).unwrap();
        let manifest: Value = serde_json::from_str(&text).unwrap();
        ["fingerprint", "tables", "counts", "facts", "files"].map(|part| manifest[part].clone())
    };
    site.ok(&["run", "y.toml", "--quiet"]);
    assert_eq!(fetched("y"), fetched("x"));
    assert!(site.ok(&["run", "y.toml"]).stderr.contains("unchanged"));

    let shard = site.path().join("runs/x/steps/mails/tokens/split=train/shard-00000.arrow");
    let mut bytes = std::fs::read(&shard).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    site.write("z.toml", fetch.replace("runs/y", "runs/z"));
    let done = site.mill(&["run", "z.toml"]);
    assert!(done.code == 1 && done.stderr.contains("shard-00000.arrow` has other bytes than when it was written"), "{}", done.stderr);

    let listed = site.path().join("runs/x/steps/mails/manifest.json");
    let manifest = std::fs::read_to_string(&listed).unwrap();
    let escaping = manifest.replace("\"tokens/split=train/shard-00000.arrow\"", "\"../../../victim\"");
    assert_ne!(escaping, manifest);
    std::fs::write(&listed, escaping).unwrap();
    let done = site.mill(&["run", "z.toml"]);
    assert!(done.code == 1 && done.stderr.contains("`../../../victim` would be written outside of the artifact"), "{}", done.stderr);
    std::fs::write(&listed, manifest).unwrap();

    let check = |path: &str, part: &str| {
        site.write("z.toml", fetch.replace("file://runs/x/steps/mails", path));
        let done = site.mill(&["plan", "z.toml"]);
        assert!(done.code == 2 && done.stderr.contains(part), "{}", done.stderr);
    };
    check("s3://bucket/mails", "artifacts are fetched from folders alone");
    check("runs/x/steps/import", "holds documents, no tokens");
    check("runs/none", "is no artifact: it has no manifest.json");
}

#[test]
fn skipped_steps_are_said() {
    let site = site();
    let settings = ["gpt.steps=60", "gpt.learning_rate=1e-9", "gpt.on_spike=\"skip\"", "gpt.spike_factor=1.0005"];
    let settings: Vec<&str> = settings.into_iter().flat_map(|setting| ["--set", setting]).collect();
    let said = site.ok(&[&["run", "x.toml"], &settings[..]].concat()).stderr;
    let mut spikes = site.sql("select step, reason, document from gpt.spikes order by step, document");
    spikes.dedup_by_key(|spike| spike["step"].clone());
    let lines: Vec<&str> = said.lines().filter(|line| line.ends_with("; it was skipped")).collect();
    assert!(!spikes.is_empty() && lines.len() == spikes.len(), "{said}");
    for (line, spike) in lines.iter().zip(&spikes) {
        let of = |name: &str| spike[name].as_str().unwrap();
        let expected = format!("step {}: {}; its documents are {}", spike["step"], of("reason"), of("document"));
        assert!(line.contains(&expected), "{line}: {expected}");
    }
}
