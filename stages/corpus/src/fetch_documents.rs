//! `fetch-documents`: brings the documents of an earlier run into the workspace, with their index for `dedup`, and checks them.

use anyhow::Result;
use engine::{Context, Disk, Draft, Inputs, Kind, Port, Site, Stage, fetched};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Copies documents of another workspace: those of an earlier month, say, that new ones are deduplicated against.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FetchDocuments {
    /// Folder of a finished artifact with documents, such as `runs/october/steps/dedup`; `file://` may stand before it. Its raw files are not
    /// needed any more.
    pub path: String,
    /// Bytes of its files, noted while planning.
    #[serde(default)]
    #[schemars(skip)]
    pub bytes: u64,
}

impl Stage for FetchDocuments {
    const NAME: &'static str = "fetch-documents";
    const ABOUT: &'static str = "Brings the documents of an earlier run into the workspace, with all their tables, and checks their hashes: what `dedup` has made with \
         `index = true` serves as its input `against`.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Documents;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        self.bytes = fetched::find(site, &self.path, Kind::Documents)?;
        Ok(())
    }

    fn disk(&self, _input_bytes: u64) -> Disk {
        Disk { kept: self.bytes, ..Disk::default() }
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        fetched::bring(ctx, inputs, draft, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Lab, jsonl};

    /// What was deduplicated against an earlier run's artifact is what would have been within one run, and nothing of the old files is needed.
    #[test]
    fn a_new_month_is_deduplicated_against_an_old_run() {
        let words = |n: usize| (0..30).map(|word| format!("w{}", n * 20 + word)).collect::<Vec<_>>().join(" ");
        let (old, new) = ([words(1), words(2), words(2)], [words(2), words(3), format!("{} and more", words(1))]);
        let texts = |texts: &[String]| jsonl(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let import = |name: &str| format!("[[step]]\nname = \"{name}\"\nstage = \"import\"\npaths = [\"{name}.jsonl\"]\n");
        let dedup =
            |name: &str, inputs: &str| format!("[[step]]\nname = \"{name}\"\nstage = \"dedup\"\nindex = true\ninputs = {{ {inputs} }}\n");
        let against = dedup("fresh", "documents = \"new\", against = \"kept\"");

        let lab = Lab::new(&[("old.jsonl", &texts(&old)), ("new.jsonl", &texts(&new))]);
        lab.run(&[import("old"), dedup("kept", "documents = \"old\""), import("new"), against.clone()].concat(), 2).unwrap();
        let columns = ["text", "path", "line"];
        let expected = (lab.rows("fresh", "documents", &columns), lab.rows("fresh", "rejects", &["path", "rule", "matched_id"]));
        assert_eq!((expected.0.len(), expected.1.len()), (1, 2));

        let later = Lab::new(&[("new.jsonl", &texts(&new))]);
        let fetch = format!("[[step]]\nname = \"kept\"\nstage = \"fetch-documents\"\npath = \"{}\"\n", lab.artifact("kept").dir.display());
        later.run(&[fetch, import("new"), against].concat(), 2).unwrap();
        let found = (later.rows("fresh", "documents", &columns), later.rows("fresh", "rejects", &["path", "rule", "matched_id"]));
        assert_eq!(found, expected);
        assert_eq!(later.fingerprint("kept"), lab.fingerprint("kept"));
    }

    #[test]
    fn other_artifacts_are_refused() {
        let lab = Lab::new(&[("a.jsonl", &jsonl(&["one text", "another text"]))]);
        let selected = "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\n[[step]]\nstage = \"split\"\nmaterialize = false\n";
        lab.run(selected, 1).unwrap();
        let refused = |path: &str| {
            let error = lab.run(&format!("[[step]]\nstage = \"fetch-documents\"\npath = \"{path}\"\n"), 1).unwrap_err();
            format!("{error:#}")
        };
        for (path, message) in [
            ("work/steps/split", "holds row numbers of another artifact and no rows"),
            ("nowhere", "is no artifact: it has no manifest.json"),
            ("s3://bucket/run", "artifacts are fetched from folders alone"),
        ] {
            let error = refused(path);
            assert!(error.contains(message), "{error}");
        }
    }
}
