//! `filter`: keeps the documents whose signals lie within the rules.
//!
//! Computes nothing itself: signals are columns, made by `clean` or imported. Changing a limit reruns this stage and what follows, no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryBuilder, Float64Array, Float64Builder, RecordBatch, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use engine::{Context, Disk, Draft, Inputs, Kind, PartWriter, Port, Site, Stage, list, schema, suggest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::documents::Provenance;
use crate::keep::{self, Keep, Keeper, materialize};
use crate::profile::{Profile, Rule};
use crate::rejects::{Reject, Rejects};

const BATCH_ROWS: usize = 2048;

/// Keeps the documents whose signals lie within the rules.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Profile whose rules apply; by default that of the nearest `clean` above.
    #[serde(default)]
    pub profile: Option<String>,
    /// Limits by signal, `{ word_count = { min = 50, max = 100000 } }`: a given limit takes the place of the profile's, rules for other
    /// signals or numeric columns are added. A document whose signal is null or NaN fails the rule.
    #[serde(default)]
    pub rules: BTreeMap<String, Rule>,
    /// Signals of the profile whose rules are left out.
    #[serde(default)]
    pub without: Vec<String>,
    /// `true` copies the kept documents, `false` keeps row numbers of the input, which must stay; `auto`, the default, copies inputs of up to
    /// 10 GB on disk.
    #[serde(default, deserialize_with = "materialize", skip_serializing_if = "Option::is_none")]
    pub materialize: Option<bool>,
    /// The names of the rules in the order in which they are tried: that of the profile's signals, then by name.
    #[serde(default)]
    #[schemars(skip)]
    pub order: Vec<String>,
}

impl Stage for Filter {
    const NAME: &'static str = "filter";
    const ABOUT: &'static str = "Keeps the documents whose signals lie within the rules of a profile or the config.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Documents;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        let clean = site.nearest("clean").map(|step| step.settings.clone()).unwrap_or_default();
        let inherited = clean["profile"].as_str().map(str::to_string);
        let profile = match self.profile.take().or(inherited) {
            Some(name) => Profile::find(site, &name)?,
            None => Profile::default(),
        };
        self.resolve(profile)?;
        if self.rules.is_empty() {
            bail!("no rules: give `rules` or `profile`, or a profile to the `clean` above");
        }
        self.check_signals(site, &clean)
    }

    fn disk(&self, input_bytes: u64) -> Disk {
        keep::disk(self.materialize, input_bytes)
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let table = inputs.artifact("documents")?.table("documents")?;
        let signals: Vec<&str> = self.ordered().map(|(signal, _)| signal.as_str()).collect();
        for signal in &signals {
            table.column(signal)?;
        }
        draft.declare("documents", table.schema.clone())?;
        draft.declare("rejects", schema::rejects())?;
        draft.declare("failures", failures_schema())?;
        let keep = Keep::new(&table, self.materialize);
        draft.parts(ctx, &table.plan(), |index, part| {
            let mut keeper = keep.part(index);
            for batch in keep.read(index, &signals, BATCH_ROWS)? {
                ctx.check_stop()?;
                self.write(&batch?, &mut keeper, part)?;
            }
            Ok(())
        })
    }
}

impl Filter {
    /// Puts the profile's rules beside those of the config, and their order.
    fn resolve(&mut self, profile: Profile) -> Result<()> {
        let mut rules = profile.rules;
        if let Some(name) = self.without.iter().find(|name| !rules.contains_key(*name)) {
            let names = || rules.keys().map(String::as_str);
            bail!("`without`: the profile has no rule `{name}`{}; rules: {}", suggest(name, names()), list(names()));
        }
        rules.retain(|name, _| !self.without.contains(name));
        for (name, given) in &self.rules {
            let rule = rules.entry(name.clone()).or_default();
            rule.min = given.min.or(rule.min);
            rule.max = given.max.or(rule.max);
            rule.check(name)?;
        }
        rules.values_mut().for_each(|rule| rule.source.clear());
        let place = |name: &String| profile.signal.iter().position(|signal| signal.name == *name).unwrap_or(usize::MAX);
        self.order = rules.keys().cloned().collect();
        self.order.sort_by_key(place);
        self.rules = rules;
        self.without.clear();
        Ok(())
    }

    /// The rules with their signals, in order.
    fn ordered(&self) -> impl Iterator<Item = (&String, &Rule)> {
        self.order.iter().filter_map(|name| self.rules.get_key_value(name))
    }

    /// Refuses rules for columns that no step above can have made, before anything runs.
    fn check_signals(&self, site: &Site, clean: &Value) -> Result<()> {
        let names = |list: &Value| -> Vec<String> {
            list.as_array().into_iter().flatten().filter_map(|entry| Some(entry["name"].as_str()?.to_string())).collect()
        };
        let signals = names(&clean["signals"]);
        let imported: Vec<String> = site
            .nearest("import")
            .and_then(|step| step.settings["columns"].as_object())
            .map(|columns| columns.keys().cloned().collect())
            .unwrap_or_default();
        let valid = || signals.iter().chain(&imported).map(String::as_str);
        let fixed = ["position", "line"];
        for signal in &self.order {
            if !valid().chain(fixed).any(|name| name == signal) {
                if signals.is_empty() && imported.is_empty() {
                    bail!("there is no signal `{signal}`: no step `clean` above makes signals; add one with the profile of this step");
                }
                bail!(
                    "unknown rule `{signal}`{}; signals of the nearest `clean`: {}; columns of `import`: {}",
                    suggest(signal, valid()),
                    list(signals.iter().map(String::as_str)),
                    list(imported.iter().map(String::as_str))
                );
            }
        }
        Ok(())
    }

    fn write(&self, batch: &RecordBatch, keeper: &mut Keeper, part: &mut PartWriter) -> Result<()> {
        let values = self.ordered().map(|(signal, _)| numbers(signal, batch.column(batch.schema().index_of(signal)?)));
        let values = values.collect::<Result<Vec<Float64Array>>>()?;
        let provenance = Provenance::of(batch)?;
        let mut rejects = Rejects::new("filter");
        let mut failures = Failures::default();
        let mut kept = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let mut first = true;
            for ((signal, rule), values) in self.ordered().zip(&values) {
                let value = values.is_valid(row).then(|| values.value(row));
                let Some(threshold) = rule.broken_by(value) else { continue };
                if first {
                    let detail = value.is_none_or(f64::is_nan).then_some("the signal is undefined for this document");
                    let reject = Reject { rule: signal, value, threshold: Some(threshold), detail, ..provenance.reject(row) };
                    rejects.push(&reject)?;
                    first = false;
                }
                failures.push(provenance.id(row), signal, value, threshold)?;
            }
            kept.push(first);
        }
        rejects.write(part)?;
        part.write("failures", &failures.finish()?)?;
        keeper.write(part, batch, &BooleanArray::from(kept), &[])
    }
}

/// The values of a numeric column.
fn numbers(name: &str, column: &ArrayRef) -> Result<Float64Array> {
    if !column.data_type().is_numeric() && column.data_type() != &DataType::Boolean {
        bail!("rule `{name}`: the column is {}, a rule needs numbers", column.data_type());
    }
    Ok(cast(column, &DataType::Float64).with_context(|| format!("rule `{name}`"))?.as_primitive::<Float64Type>().clone())
}

/// All failing rules of every rejected document, not only the first.
fn failures_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", schema::ID, false),
        Field::new("rule", DataType::Utf8, false),
        Field::new("value", DataType::Float64, true),
        Field::new("threshold", DataType::Float64, false),
    ]))
}

struct Failures {
    ids: FixedSizeBinaryBuilder,
    rules: StringBuilder,
    values: Float64Builder,
    thresholds: Float64Builder,
}

impl Default for Failures {
    fn default() -> Self {
        Failures {
            ids: FixedSizeBinaryBuilder::new(16),
            rules: StringBuilder::new(),
            values: Float64Builder::new(),
            thresholds: Float64Builder::new(),
        }
    }
}

impl Failures {
    fn push(&mut self, id: [u8; 16], rule: &str, value: Option<f64>, threshold: f64) -> Result<()> {
        self.ids.append_value(id)?;
        self.rules.append_value(rule);
        self.values.append_option(value);
        self.thresholds.append_value(threshold);
        Ok(())
    }

    fn finish(mut self) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.ids.finish()),
            Arc::new(self.rules.finish()),
            Arc::new(self.values.finish()),
            Arc::new(self.thresholds.finish()),
        ];
        Ok(RecordBatch::try_new(failures_schema(), columns)?)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Lab, jsonl};

    fn lab() -> Lab {
        let lab = Lab::new(&[("a.jsonl", &jsonl(&["one two three four", "one", "one two", "x".repeat(300).as_str()]))]);
        lab.write(
            "sql/profiles/own.toml",
            b"[[signal]]\nname = \"words\"\nsql = \"word_count(text)\"\n[[signal]]\nname = \"chars\"\nsql = \"char_count(text)\"\n\
              [rules]\nchars = { max = 100 }\nwords = { min = 2 }",
        );
        lab
    }

    fn config(filter: &str) -> String {
        format!(
            "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\n[[step]]\nstage = \"clean\"\nprofile = \"own\"\n\
             [[step]]\nstage = \"filter\"\n{filter}"
        )
    }

    #[test]
    fn the_first_failing_rule_is_the_reason_and_all_are_kept() {
        let lab = lab();
        lab.run(&config(""), 2).unwrap();
        assert_eq!(lab.rows("filter", "documents", &["text"]), ["one two three four", "one two"]);
        assert_eq!(lab.rows("filter", "rejects", &["line", "rule", "value", "threshold"]), ["2|words|1.0|2.0", "4|words|1.0|2.0"]);
        assert_eq!(
            lab.rows("filter", "failures", &["rule", "value", "threshold"]),
            ["words|1.0|2.0", "words|1.0|2.0", "chars|300.0|100.0"]
        );
    }

    #[test]
    fn limits_of_the_config_take_the_place_of_the_profiles() {
        let lab = lab();
        lab.run(&config("rules = { words = { min = 3 } }\nwithout = [\"chars\"]"), 1).unwrap();
        assert_eq!(lab.rows("filter", "documents", &["text"]), ["one two three four"]);
        let clean = lab.artifact("clean").manifest.key;
        lab.run(&config("rules = { words = { min = 1 } }"), 1).unwrap();
        assert_eq!(lab.rows("filter", "rejects", &["line", "rule"]), ["4|chars"]);
        assert_eq!(lab.artifact("clean").manifest.key, clean);
    }

    #[test]
    fn unknown_rules_are_refused_while_planning() {
        let check = |filter: &str, expected: &str| {
            let message = format!("{:#}", lab().run(&config(filter), 1).unwrap_err());
            assert!(message.contains(expected), "{message}");
        };
        check(
            "rules = { wrods = { min = 1 } }",
            "unknown rule `wrods`, did you mean `words`?; signals of the nearest `clean`: `words`, `chars`",
        );
        check("rules = { words = { min = 5, max = 1 } }", "rule `words` keeps nothing");
        check("without = [\"line\"]", "the profile has no rule `line`");
    }
}
