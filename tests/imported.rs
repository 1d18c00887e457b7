//! Predictions of other programs, from their files to scores and comparisons.

use serde_json::json;

use crate::harness::{Site, step};

const ROWS: [(&str, &str, &str, &str); 4] =
    [("spam", "spam", "ham", "en"), ("ham", "ham", "ham", "en"), ("spam", "ham", "ham", "zh"), ("ham", "ham", "ham", "zh")];

fn site() -> Site {
    let classes = "classes = [\"ham\", \"spam\"]";
    let imported = |name: &str, file: &str| {
        step("import-predictions", name, &format!("task = \"classify\"\npaths = [\"{file}\"]\nfields = {{ gold = \"label\" }}\n{classes}"))
    };
    let score =
        "metrics = [\"accuracy\"]\nslices = [\"language\"]\ninputs = { predictions = \"ours\", against = \"theirs\" }\ntest = \"mcnemar\"";
    let site = Site::new(&[imported("ours", "ours.jsonl"), imported("theirs", "theirs.csv"), step("score", "score", score)].concat());
    let ours = ROWS.map(|(gold, ours, _, language)| json!({"label": gold, "prediction": ours, "language": language}).to_string());
    site.write("ours.jsonl", ours.join("\n"));
    let theirs = ROWS.map(|(gold, _, theirs, _)| format!("{gold},{theirs}\n"));
    site.write("theirs.csv", format!("label,prediction\n{}", theirs.concat()));
    site
}

#[test]
fn files_of_other_programs_are_scored_and_compared() {
    let site = site();
    site.ok(&["run", "x.toml", "--quiet"]);
    let scores = site.sql("select system, value from score order by system");
    let row = |system: &str, value: f64| json!({"system": system, "value": value});
    assert_eq!(scores, [row("majority class", 0.5), row("model", 0.75), row("theirs", 0.5)]);
    assert_eq!(site.value("select value from score.slices where slice_value = 'zh' and system = 'model'"), 0.5);
    assert_eq!(site.value("select p_value from score.comparisons"), 1.0);
    assert!(site.to_run().is_empty());
}

#[test]
fn wrong_files_are_refused() {
    let site = site();
    let plan = |expected: &str| {
        let done = site.mill(&["plan", "x.toml"]);
        assert_eq!(done.code, 2, "{}{}", done.stdout, done.stderr);
        assert!(done.stderr.contains(expected), "{}", done.stderr);
    };
    site.write("theirs.csv", "lable,prediction\nspam,ham\n");
    plan("there is no column `label`, did you mean `lable`?; columns: `lable`, `prediction`");
    let rows = |rows: &str, expected: &str| {
        site.write("theirs.csv", format!("label,prediction\n{rows}"));
        let done = site.mill(&["run", "x.toml", "--quiet"]);
        assert_eq!(done.code, 1, "{}{}", done.stdout, done.stderr);
        assert!(done.stderr.contains(expected), "{}", done.stderr);
    };
    rows("spam,hamm\n", "`theirs.csv`, line 2: `prediction` is `hamm`, did you mean `ham`?; classes: `ham`, `spam`");
    rows("spam,ham\n", "steps `ours` and `theirs` cannot be compared: 4 rows and 1");
    rows("ham,ham\nspam,ham\nspam,ham\nham,ham\n", "steps `ours` and `theirs` cannot be compared: row 0 has another `gold`");
}
