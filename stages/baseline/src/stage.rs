//! The stage `baseline`: which system a run is of.

use anyhow::{Context as _, Result, bail};
use engine::{Context, Draft, Inputs, Kind, Port, Site, Stage};

use crate::rows::Split;
use crate::settings::{Baseline, Method};
use crate::work::Work;
use crate::{answers, labels, tags, texts};

impl Stage for Baseline {
    const NAME: &'static str = "baseline";
    const ABOUT: &'static str = "Predicts a split with a simple system that every model should beat: TF-IDF with a linear model, the most frequent tag, a sliding window over contexts of questions, a copy of the source, its first sentences.";
    const VERSION: u32 = 4;
    const INPUTS: &'static [Port] = &[
        Port::one("tokens", Kind::Tokens),
        Port::optional("tokenizer", Kind::Tokenizer),
        Port::through("documents", Kind::Documents, "tokens"),
    ];
    const OUTPUT: Kind = Kind::Predictions;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        self.check()?;
        origins::check(site, self.columns.is_some())?;
        let Some(tokens) = site.upstream("tokens") else { return Ok(()) };
        let layout = match tokens.settings["layout"].as_str() {
            Some(layout) => layout,
            // What `fetch` brings shows when it is there.
            None if tokens.stage == "fetch" => return Ok(()),
            None => "packed",
        };
        let method = self.method_for(&tokens.name, layout)?;
        let used = tokens.inputs.iter().filter(|(port, _)| port == "tokenizer").flat_map(|(_, steps)| steps).next();
        let ours = site.connected("tokenizer").first();
        match (method.writes_text(), ours, used) {
            (true, ours, Some(used)) if ours.is_none_or(|ours| differ(site, ours, used)) => bail!(writes_texts(method, &tokens.name, used)),
            (false, Some(ours), _) => {
                bail!("method = \"{}\" needs no tokenizer; leave out tokenizer = \"{ours}\"", method.name())
            }
            _ => {}
        }
        self.check_for(method)?;
        origins::known_split(site, &self.split)?;
        if matches!(method, Method::Linear | Method::FrequentTag) {
            origins::known_split(site, &self.train_split).context("`train_split`")?;
        }
        self.method = Some(method);
        Ok(())
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let tokens = inputs.artifact("tokens")?;
        let layout: String = tokens.fact("layout")?;
        let method = self.method_for(&tokens.manifest.step, &layout)?;
        self.check_for(method)?;
        let label_type: String = tokens.fact("label_type").unwrap_or_default();
        draft.fact("system", method.system(&label_type))?;
        draft.fact("split", &self.split)?;
        let rows = Split::open(tokens, &self.split, self.limit)?;
        let work = Work { settings: self, ctx, tokens, layout: &layout, documents: inputs.artifact_opt("documents"), rows, draft };
        let tokenizer = || {
            let step = &tokens.manifest.step;
            let tokenizer = inputs.artifact_opt("tokenizer").with_context(|| writes_texts(method, step, "STEP"))?;
            origins::check_tokenizer(std::slice::from_ref(tokens), tokenizer).map(|()| tokenizer)
        };
        match method {
            Method::Linear => labels::run(&work, &label_type),
            Method::FrequentTag => tags::run(&work),
            Method::SlidingWindow => answers::run(&work),
            Method::Copy => texts::run(&work, tokenizer()?, None),
            Method::Lead => texts::run(&work, tokenizer()?, Some(self.sentences)),
        }
    }
}

/// Whether two steps learn different tokenizers. Where one is imported, only its hash tells.
fn differ(site: &Site, one: &str, other: &str) -> bool {
    match (site.step(one), site.step(other)) {
        (Some(one), Some(other)) if one.stage == "learn-tokenizer" && other.stage == one.stage => {
            one.settings != other.settings || one.inputs != other.inputs
        }
        _ => false,
    }
}

/// What is said where the tokenizer of a step's tokens is not connected.
fn writes_texts(method: Method, step: &str, tokenizer: &str) -> String {
    let method = method.name();
    format!("method = \"{method}\" writes texts with the tokenizer of step `{step}`; add inputs = {{ tokenizer = \"{tokenizer}\" }}")
}
