//! A workspace made by the engine, opened as a catalog.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray, new_null_array};
use engine::stage::run_alone;
use engine::workspace::Workspace;
use engine::{Artifact, Context, Draft, Inputs, Kind, Part, Port, Quiet, Sql, Stage, schema};
use expect_test::{Expect, expect};
use query::{Catalog, Format, Session, Settings, run_queries, shipped, shipped_names};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shards::Width;
use shards::examples::{Example, Kind as ColumnKind, Value, Writer};

/// Stands for `import`: three texts, two files, one reject.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Texts {}

impl Stage for Texts {
    const NAME: &'static str = "texts";
    const ABOUT: &'static str = "Three texts.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Documents;

    fn run(&self, ctx: &Context, _: &Inputs, draft: &Draft) -> anyhow::Result<()> {
        draft.declare("documents", schema::documents(&[]))?;
        draft.declare("rejects", schema::rejects())?;
        draft.declare("clusters", schema::clusters())?;
        let plan = [Part { bytes: 1 }, Part { bytes: 1 }];
        draft.parts(ctx, &plan, |index, part| {
            let texts = [&["one two", "- three\n三"][..], &["four"][..]][index];
            part.write("documents", &documents(index as u8, texts))?;
            part.count("records", 2);
            if index == 1 {
                part.write("rejects", &reject())?;
            }
            Ok(())
        })
    }
}

fn documents(file: u8, texts: &[&str]) -> RecordBatch {
    let ids = |salt: u8| -> ArrayRef {
        let ids = (0..texts.len() as u8).map(|row| [file * 16 + row + salt; 16]);
        Arc::new(FixedSizeBinaryArray::try_from_iter(ids).unwrap())
    };
    let constant = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; texts.len()])) };
    let columns: Vec<ArrayRef> = vec![
        ids(0),
        ids(128),
        constant("web"),
        constant("a.jsonl"),
        Arc::new(Int64Array::from_iter_values((0..texts.len() as i64).map(|row| row * 10))),
        Arc::new(Int64Array::from(vec![None; texts.len()])),
        Arc::new(StringArray::from(texts.to_vec())),
        constant("{}"),
    ];
    RecordBatch::try_new(schema::documents(&[]), columns).unwrap()
}

fn reject() -> RecordBatch {
    let schema = schema::rejects();
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match (field.name().as_str(), field.is_nullable()) {
            ("position", _) => Arc::new(Int64Array::from(vec![7])),
            ("source", _) => Arc::new(StringArray::from(vec!["web"])),
            (_, false) => Arc::new(StringArray::from(vec![format!("some {}", field.name())])),
            _ => new_null_array(field.data_type(), 1),
        }
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

fn context(session: &Arc<Session>) -> Context {
    Context {
        seed: 0,
        threads: 2,
        memory: 1 << 30,
        device: "cpu".to_string(),
        progress: Arc::new(Quiet),
        stop: Arc::new(AtomicBool::new(false)),
        sql: session.clone(),
    }
}

/// A workspace with the one step `texts`.
fn workspace(dir: &Path, session: &Arc<Session>) -> (Workspace, Artifact) {
    let workspace = Workspace::new(dir.join("runs"));
    workspace.create().unwrap();
    let ctx = context(session);
    let store = workspace.artifact_dir("texts", "0123456789abcdef0123");
    let artifact = run_alone(&Texts {}, &ctx, &Inputs::new(Vec::new(), Vec::new()), &store).unwrap();
    workspace.link("texts", &store).unwrap();
    std::fs::write(workspace.dir.join("journal/r1.jsonl"), "{\"run\": \"r1\", \"event\": \"run_started\"}\n{\"run\":").unwrap();
    (workspace, artifact)
}

/// What `sql` prints in `format`, or its error.
fn check(sql: &str, format: &str, expected: Expect) {
    let dir = tempfile::tempdir().unwrap();
    // Characters that mean something in URLs and patterns.
    let dir = dir.path().join("a b%20[c]*?#d");
    let session = Arc::new(Session::new(&Settings::default()).unwrap());
    let (workspace, _) = workspace(&dir, &session);
    let catalog = Catalog::open(&session, &workspace).unwrap();
    let mut out = Vec::new();
    let shown = match run_queries(&catalog, sql, Format::parse(format).unwrap(), &mut out) {
        Ok(()) => String::from_utf8(out).unwrap(),
        Err(error) => format!("error: {error:#}\n"),
    };
    expected.assert_eq(&shown);
}

#[test]
fn tables_of_steps() {
    check(
        "select id, text, line from texts order by id",
        "csv",
        expect![[r#"
        id,text,line
        00000000000000000000000000000000,one two,
        01010101010101010101010101010101,"- three
        三",
        10101010101010101010101010101010,four,
    "#]],
    );
    check(
        "select count(*) as n from texts.documents",
        "json",
        expect![[r#"
        [{"n":3}]
    "#]],
    );
    check(
        "select * from texts.clusters",
        "csv",
        expect![[r#"
        id,cluster_id,size,similarity,kept
    "#]],
    );
    check(
        "select text from texts where id = '10101010101010101010101010101010'",
        "ndjson",
        expect![[r#"
        {"text":"four"}
    "#]],
    );
}

#[test]
fn tables_of_the_workspace() {
    check(
        "select number, step, stage, kind, inputs, rows from steps",
        "ndjson",
        expect![[r#"
        {"number":1,"step":"texts","stage":"texts","kind":"documents","inputs":"","rows":3}
    "#]],
    );
    check(
        "select step, table_name, path, rows from files order by path",
        "csv",
        expect![[r#"
        step,table_name,path,rows
        texts,clusters,clusters/part-00000.parquet,0
        texts,documents,documents/part-00000.parquet,2
        texts,documents,documents/part-00001.parquet,1
        texts,rejects,rejects/part-00001.parquet,1
    "#]],
    );
    check(
        "select run, event, error from runs",
        "ndjson",
        expect![[r#"
        {"run":"r1","event":"run_started","error":null}
    "#]],
    );
    check(
        "select step, rule, value from steps.rejects",
        "ndjson",
        expect![[r#"
        {"step":"texts","rule":"some rule","value":null}
    "#]],
    );
}

#[test]
fn numbers_keep_their_precision() {
    check(
        "select 0.1 + 0.2 as a, 9007199254740993 as b, cast('nan' as double) as c, x'0aff' as d, [1, null] as e",
        "ndjson",
        expect![[r#"
            {"a":0.30000000000000004,"b":9007199254740993,"c":null,"d":"0aff","e":[1,null]}
        "#]],
    );
    check(
        "select 1 as a, '' as b, null as c",
        "table",
        expect![[r#"
            +---+---+------+
            | a | b | c    |
            +---+---+------+
            | 1 |   | null |
            +---+---+------+
        "#]],
    );
    check(
        "select [1] as a",
        "csv",
        expect![[r#"
        error: column `a` is a List(Int64), which csv cannot hold; leave it out or use json
    "#]],
    );
}

#[test]
fn only_queries() {
    check(
        "drop table texts",
        "table",
        expect![[r#"
        error: `drop` would change something, and artifacts never change: only queries, explain, show and describe are possible
    "#]],
    );
    check(
        "create view v as select 1",
        "table",
        expect![[r#"
        error: `create` would change something, and artifacts never change: only queries, explain, show and describe are possible
    "#]],
    );
    check(
        "insert into texts select * from texts",
        "table",
        expect![[r#"
        error: `insert` would change something, and artifacts never change: only queries, explain, show and describe are possible
    "#]],
    );
    check(
        "set datafusion.execution.time_zone = 'Asia/Shanghai'",
        "table",
        expect![[r#"
        error: `set` would change something, and artifacts never change: only queries, explain, show and describe are possible
    "#]],
    );
    check(
        "copy texts to 'x.parquet'",
        "table",
        expect![[r#"
        error: `copy` would change something, and artifacts never change: only queries, explain, show and describe are possible
    "#]],
    );
    check(
        "select * from txets",
        "table",
        expect![[r#"
            error: unknown table `txets`, did you mean `texts`?; of 14 tables the nearest: `texts`, `texts.rejects`, `texts.clusters`, `texts.documents`, `steps`, `steps.examples`, `files`, `steps.spans`, `steps.counts`, `steps.scores` (`information_schema.tables` has all)
        "#]],
    );
    check(
        "select wrod_count(text) from texts",
        "table",
        expect![[r#"
            error: invalid function 'wrod_count', did you mean 'word_count'?
        "#]],
    );
    check(
        "select mask_pii(text) from texts",
        "table",
        expect![[r#"
            error: no function takes the arguments of `mask_pii(Utf8View)`; there are `mask_pii(String, String)`, `mask_pii(String, String, String)`
        "#]],
    );
    check(
        "select a.id from texts b",
        "table",
        expect![[r#"
            error: unknown column `a.id`, did you mean `b.id`?
        "#]],
    );
    check(
        "select 1; select 2",
        "json",
        expect![[r#"
        error: 2 queries given; this format holds the result of one, `table` and `ndjson` of many
    "#]],
    );
    check(
        "selec 1",
        "json",
        expect![[r#"
        error: expected: an SQL statement, found: selec at Line: 1, Column: 1
    "#]],
    );
}

#[test]
fn shipped_queries_run_on_any_workspace() {
    let dir = tempfile::tempdir().unwrap();
    let session = Arc::new(Session::new(&Settings::default()).unwrap());
    let (full, _) = workspace(dir.path(), &session);
    for workspace in [full, Workspace::new(dir.path().join("empty"))] {
        let catalog = Catalog::open(&session, &workspace).unwrap();
        for name in shipped_names() {
            run_queries(&catalog, shipped(name).unwrap(), Format::Csv, &mut Vec::new()).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
    }
    check(
        shipped("funnel").unwrap(),
        "csv",
        expect![[r#"
        number,step,source,documents,rejected,bytes,tokens
        1,texts,web,3,1,22,
    "#]],
    );
    check(
        shipped("lengths").unwrap(),
        "csv",
        expect![[r#"
        step,at_least,below,documents,percent
        texts,4,8,2,66.7
        texts,8,16,1,33.3
    "#]],
    );
    check(
        shipped("rejects").unwrap(),
        "csv",
        expect![[r#"
        step,rule,documents,percent,threshold,lowest,highest
        texts,some rule,1,100.0,,,
    "#]],
    );
}

/// Stands for `tokenize` with a layout of examples: a row of the first document, two of the third, which is divided, and a target in each.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Examples {}

impl Stage for Examples {
    const NAME: &'static str = "examples";
    const ABOUT: &'static str = "Three rows of two documents.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Tokens;

    fn run(&self, _: &Context, _: &Inputs, draft: &Draft) -> anyhow::Result<()> {
        let relative = "tokens/split=train/shard-00000.arrow";
        let mut writer = Writer::create(&draft.file(relative)?, &[("labels", ColumnKind::Int32s)], Width::U16)?;
        for (id, tokens, labels) in [(0, 5, 1), (16, 3, 1), (16, 4, 2)] {
            writer.push(Example { id: [id; 16], tokens: vec![7; tokens], values: vec![Value::Int32s(vec![7; labels])] })?;
        }
        draft.rows(relative, writer.finish()?);
        draft.fact("layout", "translate")
    }
}

#[test]
fn the_funnel_counts_documents_of_examples() {
    let dir = tempfile::tempdir().unwrap();
    let session = Arc::new(Session::new(&Settings::default()).unwrap());
    let (workspace, _) = workspace(dir.path(), &session);
    let ctx = context(&session);
    let store = workspace.artifact_dir("examples", "1123456789abcdef0123");
    run_alone(&Examples {}, &ctx, &Inputs::new(Vec::new(), Vec::new()), &store).unwrap();
    workspace.link("examples", &store).unwrap();
    let catalog = Catalog::open(&session, &workspace).unwrap();
    let csv = |sql: &str| {
        let mut out = Vec::new();
        run_queries(&catalog, sql, Format::Csv, &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    let out = csv(shipped("funnel").unwrap()).unwrap();
    assert!(out.contains(",texts,web,3,1,22,\n") && out.contains(",examples,web,2,0,,16\n"), "{out}");

    // The lengths are those of the lists.
    let rows = csv("select step, document, length from steps.examples").unwrap();
    let counted = "select 'examples' as step, id as document, cardinality(tokens) + cardinality(labels) as length from examples";
    assert_eq!(rows, csv(counted).unwrap());
    assert_eq!(rows.lines().map(|row| row.rsplit(',').next().unwrap()).collect::<Vec<_>>(), ["length", "6", "4", "6"]);
    assert_eq!(csv("select count(*) as n from steps.examples where length > 4").unwrap(), "n\n2\n");

    // A shard that was cut is named.
    let shard = store.join("tokens/split=train/shard-00000.arrow");
    let bytes = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &bytes[..bytes.len() - 8]).unwrap();
    let error = csv(shipped("funnel").unwrap()).unwrap_err().to_string();
    assert!(error.contains("shard-00000.arrow` is damaged or cut short; run `tokenize` again with --force"), "{error}");
}

#[test]
fn unknown_tables_have_near_ones_and_no_quotes() {
    check(
        "select rule from \"texts.rejects\"",
        "table",
        expect![[r#"
        error: unknown table "texts.rejects"; write texts.rejects without quotes
    "#]],
    );
}

#[test]
fn select_keeps_order_and_shares_work() {
    let dir = tempfile::tempdir().unwrap();
    let session = Arc::new(Session::new(&Settings::default()).unwrap());
    let (_, artifact) = workspace(dir.path(), &session);
    let table = artifact.table("documents").unwrap();
    let expressions = [("n", "word_count(text)"), ("m", "mean_word_length(text)"), ("text", "\"text\"")];
    let expressions = expressions.map(|(name, sql)| (name.to_string(), sql.to_string()));
    let mut shown = String::new();
    let mut sink = |batch: RecordBatch| {
        shown += &arrow::util::pretty::pretty_format_batches(&[batch]).unwrap().to_string();
        Ok(())
    };
    session.select(&table, 0, &expressions, Some("position >= 0"), &mut sink).unwrap();
    expect![[r#"
        +---+-----+---------+
        | n | m   | text    |
        +---+-----+---------+
        | 2 | 3.0 | one two |
        | 2 | 3.0 | - three |
        |   |     | 三      |
        +---+-----+---------+"#]]
    .assert_eq(&shown);
    let error = session.select(&table, 0, &[("x".to_string(), "word_count(txt)".to_string())], None, &mut |_| Ok(())).unwrap_err();
    expect!["expression `word_count(txt)`: unknown column `txt`, did you mean `text`?; columns: `id`, `content_hash`, `source`, `path`, `position`, `line`, `text`, `extra`"].assert_eq(&format!("{error:#}"));
    let error = session.select(&table, 0, &expressions, None, &mut |_| anyhow::bail!("the sink's own error")).unwrap_err();
    assert!(format!("{error:#}").ends_with("the sink's own error"), "{error:#}");
}
