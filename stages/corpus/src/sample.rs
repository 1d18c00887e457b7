//! `sample`: keeps some of the documents, by fraction, number or size, of all or of each stratum.
//!
//! Which documents are kept follows from a hash of the seed and their content, so that it is the same for any order of the input and adding
//! documents moves as few of the others as can be. The smaller sample of a corpus is part of the larger one.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use arrow::array::BooleanArray;
use engine::{Context, Disk, Draft, Inputs, Kind, PartWriter, Port, Site, Stage, config::parse_size, list, schema, suggest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::documents::Provenance;
use crate::draw::{Draw, Entry, Limit, place};
use crate::keep::{self, Keep, materialize};
use crate::rejects::{Reject, Rejects};
use crate::weigh::{Amount, Stratum, Weigher, seed_of, text_or_number};

const BATCH_ROWS: usize = 2048;

/// Keeps some of the documents.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Share of the documents that is kept: without `by` (or with `group`) those whose hash lies below it, so that adding documents moves
    /// none of the others; with `by` that share of each stratum, rounded.
    #[serde(default)]
    pub fraction: Option<f64>,
    /// Exact number of documents that is kept, of each stratum when there is `by`; all where there are fewer.
    #[serde(default)]
    pub count: Option<u64>,
    /// Bytes of text that are kept, such as `100MB`, to within one document; of each stratum when there is `by`.
    #[serde(default, deserialize_with = "text_or_number")]
    pub size: Option<String>,
    /// SQL expression over the documents, often a column: each of its values is a stratum and drawn from for itself. Null is the stratum without a name.
    #[serde(default)]
    pub by: Option<String>,
    /// What is kept of single strata in place of the above: `{ web = { fraction = 0.1 }, books = { count = 500 } }`.
    #[serde(default)]
    pub strata: BTreeMap<String, Share>,
    /// Least number of documents of each stratum that is kept; all where there are fewer.
    #[serde(default)]
    pub count_min: Option<u64>,
    /// SQL expression whose equal values are kept or rejected together, such as a key column; where it is null, equal texts are.
    #[serde(default)]
    pub group: Option<String>,
    /// `true` copies the kept documents, `false` keeps row numbers of the input, which must stay; `auto`, the default, copies inputs of up to
    /// 10 GB on disk.
    #[serde(default, deserialize_with = "materialize", skip_serializing_if = "Option::is_none")]
    pub materialize: Option<bool>,
    /// How many samples were drawn above: each draws anew.
    #[serde(default)]
    #[schemars(skip)]
    pub round: u64,
}

/// What is kept of a stratum: a fraction or a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Share of its documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f64>,
    /// Number of its documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl Stage for Sample {
    const NAME: &'static str = "sample";
    const ABOUT: &'static str = "Keeps some of the documents: a fraction, a number or a size, of all or of each stratum.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Documents;
    const SEEDED: bool = true;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        self.check()?;
        if let Some(size) = &mut self.size {
            *size = parse_size(size).map_err(|message| anyhow::anyhow!("`size`: {message}"))?.to_string();
        }
        for (name, expression) in [("by", &mut self.by), ("group", &mut self.group)] {
            if let Some(expression) = expression {
                *expression = site.sql().canonical(expression).with_context(|| format!("`{name}`"))?;
            }
        }
        self.round = site.nearest("sample").map_or(0, |step| step.settings["round"].as_u64().unwrap_or(0) + 1);
        Ok(())
    }

    fn disk(&self, input_bytes: u64) -> Disk {
        keep::disk(self.materialize, input_bytes)
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let table = inputs.artifact("documents")?.table("documents")?;
        draft.declare("documents", table.schema.clone())?;
        draft.declare("rejects", schema::rejects())?;
        let plan = table.plan();
        let weigher = Weigher {
            seed: seed_of(ctx, &format!("sample {}", self.round)),
            stratum: self.by.as_deref().map_or(Stratum::Named(""), Stratum::Sql),
            group: self.group.as_deref(),
            amount: if self.size.is_some() { Amount::Bytes } else { Amount::One },
            bytes: false,
        };
        draft.task(ctx, "weigh", &plan, |part, path| weigher.write(ctx, &table, part, path))?;
        let draw = Draw::open((0..plan.len()).map(|part| draft.scratch_path("weigh", part)).collect())?;
        let limits = self.limits(&draw)?;
        let keep = Keep::new(&table, self.materialize);
        draft.parts(ctx, &plan, |index, part| self.write(ctx, &keep, index, &draw, &limits, part))
    }
}

impl Sample {
    fn check(&self) -> Result<()> {
        let given = [self.fraction.is_some(), self.count.is_some(), self.size.is_some()].into_iter().filter(|given| *given).count();
        if given != 1 {
            bail!("give one of `fraction`, `count` and `size`; it holds for every stratum that `strata` does not name");
        }
        let fractions = self.strata.iter().map(|(name, share)| (name.as_str(), share.fraction)).chain([("fraction", self.fraction)]);
        for (name, fraction) in fractions {
            if fraction.is_some_and(|fraction| !(0.0..=1.0).contains(&fraction)) {
                bail!("`{name}`: a fraction must be between 0 and 1");
            }
        }
        if let Some((name, _)) = self.strata.iter().find(|(_, share)| share.fraction.is_some() == share.count.is_some()) {
            bail!("`strata.{name}`: give `fraction` or `count`");
        }
        if self.by.is_none() && (!self.strata.is_empty() || self.count_min.is_some()) {
            bail!("`strata` and `count_min` need `by`, which says what the strata are");
        }
        if self.size.is_some() && (!self.strata.is_empty() || self.count_min.is_some()) {
            bail!("`strata` and `count_min` are of documents: they have no meaning beside `size`");
        }
        let counts = self.size.is_some() || self.count.is_some() || self.count_min.is_some();
        if self.group.is_some() && (counts || self.strata.values().any(|share| share.count.is_some())) {
            bail!("`group` keeps documents together, so their number cannot be exact: give `fraction` alone");
        }
        Ok(())
    }

    /// Where the kept documents of every stratum end.
    fn limits(&self, draw: &Draw) -> Result<Vec<Limit>> {
        if let Some(name) = self.strata.keys().find(|name| !draw.strata.iter().any(|(stratum, _)| stratum == *name)) {
            let names = || draw.strata.iter().take(50).map(|(name, _)| name.as_str());
            bail!("`strata`: no document is in `{name}`{}; strata: {}", suggest(name, names()), list(names()));
        }
        let share = |name: &str| self.strata.get(name).copied().unwrap_or(Share { fraction: self.fraction, count: self.count });
        if self.by.is_none() && self.fraction.is_some() || self.group.is_some() {
            return Ok(draw.strata.iter().map(|(name, _)| Limit::share(share(name).fraction.unwrap_or(1.0))).collect());
        }
        let size = self.size.as_ref().map(|size| size.parse::<u64>()).transpose().context("`size`")?;
        let wanted: Vec<u64> = draw
            .strata
            .iter()
            .map(|(name, total)| match (size, share(name)) {
                (Some(size), _) => size,
                (_, Share { count: Some(count), .. }) => count.max(self.count_min.unwrap_or(0)),
                (_, Share { fraction, .. }) => {
                    let part = (fraction.unwrap_or(1.0) * total.documents as f64).round() as u64;
                    part.max(self.count_min.unwrap_or(0))
                }
            })
            .collect();
        draw.limits(&wanted)
    }

    fn write(&self, ctx: &Context, keep: &Keep, index: usize, draw: &Draw, limits: &[Limit], part: &mut PartWriter) -> Result<()> {
        let mut entries = draw.entries(index)?;
        let mut keeper = keep.part(index);
        let mut row = 0;
        for batch in keep.read(index, &[], BATCH_ROWS)? {
            ctx.check_stop()?;
            let batch = batch?;
            let provenance = Provenance::of(&batch)?;
            let mut rejects = Rejects::new("sample");
            let mut kept = Vec::with_capacity(batch.num_rows());
            for at in 0..batch.num_rows() {
                let entry = entries.next().context("there are fewer keys than documents")??;
                let limit = limits[entry.stratum as usize];
                kept.push(limit.draws(entry.key, index as u32, row));
                if !kept[at] {
                    rejects.push(&reject("sampled_out", draw, &entry, limit, provenance.reject(at)))?;
                }
                row += 1;
            }
            rejects.write(part)?;
            keeper.write(part, &batch, &BooleanArray::from(kept), &[])?;
        }
        Ok(())
    }
}

/// Why a document was not drawn: its place in the order beside the last one's, and its stratum.
pub fn reject<'a>(rule: &'a str, draw: &'a Draw, entry: &Entry, limit: Limit, at: Reject<'a>) -> Reject<'a> {
    let stratum = draw.strata[entry.stratum as usize].0.as_str();
    let detail = (!stratum.is_empty()).then_some(stratum);
    Reject { rule, value: Some(place(entry.key)), threshold: Some(place(limit.0)), detail, ..at }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::testing::Lab;

    const IMPORT: &str = "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\ncolumns = { host = \"string\" }\nsource_field = \"from\"\n";

    fn lines(documents: std::ops::Range<usize>) -> String {
        let from = |n: usize| ["web", "books", "rare"][n % 10 / 6 + usize::from(n % 50 == 49)];
        let line = |n: usize| serde_json::json!({ "text": format!("text {n}"), "from": from(n), "host": format!("host {}", n % 40) });
        documents.map(|n| line(n).to_string() + "\n").collect()
    }

    fn lab(documents: usize) -> Lab {
        let half = documents / 2;
        Lab::new(&[("a.jsonl", lines(0..half).as_bytes()), ("b.jsonl", lines(half..documents).as_bytes())])
    }

    fn sample(lab: &Lab, settings: &str) -> Vec<String> {
        lab.run(&format!("{IMPORT}[[step]]\nstage = \"sample\"\n{settings}"), 2).unwrap();
        lab.rows("sample", "documents", &["text"])
    }

    fn counts(lab: &Lab, table: &str, column: &str) -> BTreeMap<String, usize> {
        lab.rows("sample", table, &[column]).into_iter().fold(BTreeMap::new(), |mut counts, row| {
            *counts.entry(row).or_default() += 1;
            counts
        })
    }

    #[test]
    fn a_fraction_lies_within_bounds_and_stays_when_documents_come() {
        let lab = lab(4000);
        let before = sample(&lab, "fraction = 0.25");
        // Five standard deviations.
        assert!(before.len().abs_diff(1000) < 5 * 28, "{}", before.len());
        let rejects = lab.rows("sample", "rejects", &["rule", "threshold"]);
        assert_eq!((rejects.len(), rejects[0].as_str()), (4000 - before.len(), "sampled_out|0.25"));
        lab.write("0.jsonl", lines(4000..5000).as_bytes());
        let after = sample(&lab, "fraction = 0.25");
        assert_eq!(after[after.len() - before.len()..], before);
        assert!(sample(&lab, "fraction = 0.5").len() > after.len());
        assert_eq!((sample(&lab, "fraction = 0").len(), sample(&lab, "fraction = 1.0").len()), (0, 5000));
    }

    #[test]
    fn counts_are_exact_and_the_smaller_sample_is_part_of_the_larger() {
        let lab = lab(1000);
        let large = sample(&lab, "count = 100");
        let small = sample(&lab, "count = 17");
        assert_eq!((large.len(), small.len()), (100, 17));
        assert!(small.iter().all(|text| large.contains(text)));
        assert_eq!(sample(&lab, "count = 2000").len(), 1000);
        // Documents that come push out no more than come in.
        lab.write("c.jsonl", lines(1000..1010).as_bytes());
        let more = sample(&lab, "count = 100");
        assert!(more.len() == 100 && large.iter().filter(|text| !more.contains(text)).count() <= 10);
        lab.run(&format!("seed = 9\n{IMPORT}[[step]]\nstage = \"sample\"\ncount = 100"), 2).unwrap();
        assert_ne!(lab.rows("sample", "documents", &["text"]), more);
    }

    #[test]
    fn strata_get_their_shares() {
        let lab = lab(1000);
        sample(&lab, "by = \"Source\"\nfraction = 0.1");
        assert_eq!(counts(&lab, "documents", "source"), [("books", 38), ("rare", 2), ("web", 60)].map(|(s, n)| (s.to_string(), n)).into());
        assert_eq!(counts(&lab, "rejects", "detail")["rare"], 18);
        sample(&lab, "by = \"source\"\nfraction = 0.1\ncount_min = 10\nstrata = { web = { count = 7 } }");
        assert_eq!(counts(&lab, "documents", "source"), [("books", 38), ("rare", 10), ("web", 10)].map(|(s, n)| (s.to_string(), n)).into());
        sample(&lab, "by = \"upper(source)\"\ncount = 3");
        assert_eq!(counts(&lab, "documents", "source").values().collect::<Vec<_>>(), [&3; 3]);
    }

    #[test]
    fn groups_stay_together_and_sizes_are_reached_within_a_document() {
        let lab = lab(1000);
        sample(&lab, "group = \"host\"\nfraction = 0.5");
        let groups = counts(&lab, "documents", "host");
        assert!((8..32).contains(&groups.len()) && groups.values().all(|n| *n == 25), "{groups:?}");
        let bytes: usize = sample(&lab, "size = \"1kB\"").iter().map(String::len).sum();
        assert!(bytes.abs_diff(1000) <= 4, "{bytes}");
    }

    #[test]
    fn a_second_sample_draws_anew() {
        let lab = lab(2000);
        lab.run(&format!("{IMPORT}{}{}", STEP.replace("NAME", "half"), STEP.replace("NAME", "quarter")), 1).unwrap();
        let found = lab.rows("quarter", "documents", &["id"]).len();
        assert!(found.abs_diff(500) < 100, "{found}");
    }

    const STEP: &str = "[[step]]\nname = \"NAME\"\nstage = \"sample\"\nfraction = 0.5\n";

    #[test]
    fn the_same_bytes_for_any_number_of_threads_and_nothing_of_nothing() {
        let lab = lab(500);
        let config = format!("{IMPORT}[[step]]\nstage = \"sample\"\nby = \"source\"\ncount = 20");
        lab.run(&config, 1).unwrap();
        let one = lab.fingerprint("sample");
        lab.forget();
        lab.run(&config, 4).unwrap();
        assert_eq!(lab.fingerprint("sample"), one);
        for settings in ["count = 3", "fraction = 0.5", "by = \"source\"\nfraction = 0.5"] {
            let empty = Lab::new(&[("a.jsonl", b"")]);
            assert!(sample(&empty, settings).is_empty());
        }
    }

    #[test]
    fn wrong_settings_are_refused() {
        let check = |settings: &str, expected: &str| {
            let message = format!("{:#}", lab(3).run(&format!("{IMPORT}[[step]]\nstage = \"sample\"\n{settings}"), 1).unwrap_err());
            assert!(message.contains(expected), "{message}");
        };
        check("", "give one of `fraction`, `count` and `size`");
        check("fraction = 1.5", "must be between 0 and 1");
        check("fraction = 0.5\ncount = 3", "give one of");
        check("count = 3\nstrata = { web = { count = 1 } }", "need `by`");
        check("count = 3\ngroup = \"host\"", "their number cannot be exact");
        check("size = \"much\"", "`much` is no size");
        check("fraction = 0.5\nby = \"soruce\"", "soruce");
        check("fraction = 0.5\nby = \"source\"\nstrata = { wbe = { count = 1 } }", "no document is in `wbe`; strata: `web`");
    }
}
