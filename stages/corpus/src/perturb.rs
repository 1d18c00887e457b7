//! `perturb`: changes the texts of some splits, so that it shows what a model bears. Documents keep their ids: predictions for them and for the
//! documents as they were are joined by id.

use anyhow::Result;
use engine::{Context, Draft, Inputs, Kind, Port, Site, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::changes::{Changes, Scope, Version, Wanted, changes_schema, rebuild, write_changes};
use crate::documents::Provenance;
use crate::weigh::seed_of;

const BATCH_ROWS: usize = 512;

/// Changes the texts of some splits; documents keep their ids.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Perturb {
    /// What is changed and how often, `{ typos = 0.1, case = 0.05 }`. A rate changes what lower ones do, and more.
    pub changes: Changes,
    /// Splits whose documents are changed; the others stay. Documents that were not split are all in `train`.
    #[serde(default = "default_splits")]
    pub splits: Vec<String>,
    /// Columns of text that are changed; labels and all others stay.
    #[serde(default = "default_columns")]
    pub columns: Vec<String>,
}

fn default_splits() -> Vec<String> {
    vec!["test".to_string()]
}

fn default_columns() -> Vec<String> {
    vec!["text".to_string()]
}

impl Stage for Perturb {
    const NAME: &'static str = "perturb";
    const ABOUT: &'static str = "Changes texts (typing errors, case, marks, synonyms, script …) to try what a model bears; ids stay.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Documents;
    const SEEDED: bool = true;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        self.scope().check(site)?;
        self.changes.prepare(site)
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let table = inputs.artifact("documents")?.table("documents")?;
        let (scope, changer, seed) = (self.scope(), self.changes.load(inputs)?, seed_of(ctx, Self::NAME));
        scope.check_table(&table)?;
        draft.declare("documents", table.schema.clone())?;
        draft.declare("changes", changes_schema())?;
        draft.count("documents_changed", 0);
        draft.parts(ctx, &table.plan(), |index, part| {
            for batch in table.read(index, None, BATCH_ROWS)? {
                ctx.check_stop()?;
                let batch = batch?;
                let (provenance, taken, chosen) = (Provenance::of(&batch)?, Scope::taken(&batch)?, scope.chosen(&batch)?);
                let rows = 0..batch.num_rows();
                let wanted = rows.clone().filter(|row| chosen[*row]).map(|row| {
                    let id = provenance.id(row);
                    Wanted { row, key: Scope::key(seed, &id, taken[row], 0), id, copy: 0 }
                });
                let mut versions: Vec<Version> = rows.clone().map(|row| Version::unchanged(row, provenance.id(row))).collect();
                for version in scope.change(&changer, &batch, wanted)? {
                    let row = version.row;
                    versions[row] = version;
                }
                write_changes(part, versions.iter())?;
                part.write("documents", &rebuild(&batch, &self.columns, &versions)?)?;
            }
            Ok(())
        })
    }
}

impl Perturb {
    fn scope(&self) -> Scope<'_> {
        Scope { splits: &self.splits, columns: &self.columns }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Lab, jsonl};

    const IMPORT: &str = "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\n";
    const TEXTS: [&str; 4] = ["Letters of words, and words.", "今天我们发展软件。", "12 34", "a of to"];

    fn perturb(changes: &str, more: &str) -> String {
        format!("{IMPORT}[[step]]\nstage = \"perturb\"\nchanges = {{ {changes} }}\n{more}\n")
    }

    #[test]
    fn texts_change_and_ids_stay() {
        let lab = Lab::new(&[("a.jsonl", &jsonl(&TEXTS))]);
        lab.run(&perturb("script = 1, case = 1", "splits = [\"train\"]"), 1).unwrap();
        let found = lab.rows("perturb", "documents", &["text"]);
        assert_eq!(found[1..3], ["今天我們發展軟件。", "12 34"]);
        assert!(found[0] != TEXTS[0] && found[0].to_lowercase() == TEXTS[0].to_lowercase());
        assert_eq!(lab.rows("perturb", "documents", &["id"]), lab.rows("import", "documents", &["id"]));
        assert_eq!(
            lab.sql("select line, change, count from perturb.changes join perturb using (id) order by line"),
            ["1|case|5", "2|script|1", "4|case|3"]
        );
        assert_eq!(lab.artifact("perturb").manifest.counts["documents_changed"], 3);
        let hashes = "select count(*) from perturb join import using (id) where (perturb.content_hash = import.content_hash) = (perturb.text = import.text)";
        assert_eq!(lab.sql(hashes), ["4"]);
    }

    #[test]
    fn the_seed_decides_and_threads_do_not() {
        let texts: Vec<String> = (0..300).map(|n| format!("document number {n} has several words, and 一些汉字")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let lab = Lab::new(&[("a.jsonl", &jsonl(&texts[..200])), ("b.jsonl", &jsonl(&texts[200..]))]);
        let config = perturb("typos = 0.2, punctuation = 0.2, white_space = 0.2, word_swaps = 0.1, width = 0.1", "splits = [\"train\"]");
        lab.run(&config, 1).unwrap();
        let (one, found) = (lab.fingerprint("perturb"), lab.rows("perturb", "documents", &["text"]));
        lab.forget();
        lab.run(&config, 3).unwrap();
        assert_eq!(lab.fingerprint("perturb"), one);
        lab.run(&format!("seed = 7\n{config}"), 2).unwrap();
        assert_ne!(lab.rows("perturb", "documents", &["text"]), found);
    }

    #[test]
    fn other_splits_stay_to_the_byte() {
        let texts: Vec<String> = (0..200).map(|n| format!("document number {n} has several words")).collect();
        let lab = Lab::new(&[("a.jsonl", &jsonl(&texts.iter().map(String::as_str).collect::<Vec<_>>()))]);
        let split = "[[step]]\nstage = \"split\"\nparts = { train = 0.5, test = 0.5 }\n";
        lab.run(&format!("{IMPORT}{split}[[step]]\nstage = \"perturb\"\nchanges = {{ typos = 1 }}\n"), 2).unwrap();
        let changed = "select split, count(*), sum(cast(perturb.text <> split.text as int)) from perturb join split using (id, split) group by split order by split";
        let rows = lab.sql(changed);
        assert!(rows[1].starts_with("train|") && rows[1].ends_with("|0"), "{rows:?}");
        let test: Vec<&str> = rows[0].split('|').collect();
        assert!(test[0] == "test" && test[1] == test[2], "{rows:?}");
    }

    #[test]
    fn named_columns_alone_are_changed() {
        let lab = Lab::new(&[(
            "a.jsonl",
            b"{\"text\":\"words stay\",\"other\":\"words change\",\"label\":\"words\"}\n{\"text\":\"more words\"}\n",
        )]);
        let import =
            "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\ncolumns = { other = \"string\", label = \"string\", n = \"integer\" }\n";
        let perturb = |columns: &str| {
            format!(
                "{import}[[step]]\nstage = \"perturb\"\nsplits = [\"train\"]\nchanges = {{ word_swaps = 1 }}\ncolumns = [\"{columns}\"]\n"
            )
        };
        lab.run(&perturb("other"), 1).unwrap();
        assert_eq!(lab.rows("perturb", "documents", &["text", "other", "label"]), ["words stay|change words|words", "more words||"]);
        assert_eq!(lab.rows("perturb", "documents", &["content_hash"]), lab.rows("import", "documents", &["content_hash"]));
        for (columns, expected) in [
            ("id", "`id` tells what a document is"),
            ("n", "`n` is Int64, only text can be changed"),
            ("othr", "has no column `othr`, did you mean `other`?"),
        ] {
            let message = format!("{:#}", lab.run(&perturb(columns), 1).unwrap_err());
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn synonyms_and_homophones_come_from_files() {
        let lab = Lab::new(&[
            ("a.jsonl", &jsonl(&["Big words", "做人"])),
            ("synonyms.txt", b"big\tlarge\n"),
            ("sounds.csv", "做,作\n".as_bytes()),
        ]);
        let changes =
            "synonyms = 1, synonyms_file = \"synonyms.txt\", typos = 1, typo_kinds = [\"drop\"], homophones_file = \"sounds.csv\"";
        lab.run(&perturb(changes, "splits = [\"train\"]"), 1).unwrap();
        let found = lab.rows("perturb", "documents", &["text"]);
        assert!(found[0].len() == "Large words".len() - 2 && found[0].starts_with('L'), "{found:?}");
        assert_eq!(found[1], "作人");
        let key = lab.artifact("perturb").manifest.key;
        lab.write("synonyms.txt", b"big\thuge\n");
        lab.run(&perturb(changes, "splits = [\"train\"]"), 1).unwrap();
        assert_ne!(lab.artifact("perturb").manifest.key, key);
        lab.write("synonyms.txt", b"big\thuge\nalone\n");
        let message = format!("{:#}", lab.run(&perturb(changes, ""), 1).unwrap_err());
        assert!(message.contains("changes.synonyms_file") && message.contains("line 2: `alone` is one word"), "{message}");
    }

    #[test]
    fn wrong_settings_are_refused_while_planning() {
        let check = |changes: &str, more: &str, expected: &str| {
            let lab = Lab::new(&[("a.jsonl", &jsonl(&TEXTS))]);
            let message = format!("{:#}", lab.run(&perturb(changes, more), 1).unwrap_err());
            assert!(message.contains(expected), "{message}");
        };
        check("typos = 1.5", "", "changes.typos = 1.5: a rate is a share from 0 to 1");
        check("typos = 0", "", "all rates are 0, so nothing would be changed: give `changes` one of `synonyms`");
        check("tpyos = 0.1", "", "tpyos");
        check("typos = 0.1, typo_kinds = []", "", "changes.typo_kinds is empty");
        check("synonyms = 0.1", "", "changes.synonyms and changes.synonyms_file go together");
        check("synonyms = 0.1, synonyms_file = \"none.txt\"", "", "changes.synonyms_file");
        check("case = 0.1, homophones_file = \"a.jsonl\"", "", "changes.homophones_file is for changes.typos");
        check("case = 0.1", "splits = []", "name at least one each");
        check("case = 0.1", "", "the documents have no splits, so all of them are `train`");
        let lab = Lab::new(&[("a.jsonl", &jsonl(&TEXTS))]);
        let config =
            format!("{IMPORT}[[step]]\nstage = \"split\"\n[[step]]\nstage = \"perturb\"\nchanges = {{ case = 1 }}\nsplits = [\"tests\"]\n");
        let message = format!("{:#}", lab.run(&config, 1).unwrap_err());
        assert!(message.contains("step `split` makes no split `tests`, did you mean `test`?; splits: "), "{message}");
    }
}
