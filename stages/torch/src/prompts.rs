//! What the model makes of the prompts of the settings while it trains: the table `generations`.

use anyhow::{Result, bail};
use model::{Facts, Head, Job, NetworkConfig, Train};
use text::Tokenizer;

use crate::folder::Loaded;
use crate::generate;
use crate::log::{Generation, Log};

/// Tokens that continue a prompt, unless the settings say how many.
const NEW_TOKENS: u64 = 64;

/// Prompts as tokens, behind those that texts begin with in the rows, as `mill generate` asks the saved model.
pub struct Prompts {
    tokenizer: Tokenizer,
    texts: Vec<String>,
    ids: Vec<Vec<i64>>,
    new_tokens: usize,
}

impl Prompts {
    /// Prompts that this network can continue; `None` when there are none.
    pub fn new(job: &Job, settings: &Train, config: &NetworkConfig, facts: &Facts) -> Result<Option<Prompts>> {
        if settings.prompts.is_empty() {
            return Ok(None);
        }
        settings.check_prompts(config.family, config.head == Head::Causal)?;
        let tokenizer = Tokenizer::load(&job.artifact("tokenizer")?.dir)?;
        let before = match &facts.frame {
            Some([before, _]) => before.clone(),
            None => tokenizer.frame()?.0,
        };
        let mut ids = Vec::new();
        for prompt in &settings.prompts {
            let text = tokenizer.encode(prompt)?;
            let tokens: Vec<i64> = before.iter().copied().chain(text).map(i64::from).collect();
            if tokens.is_empty() || tokens.len() as i64 > config.positions {
                bail!("prompts: `{prompt}` has {} tokens, the model takes 1 to {}", tokens.len(), config.positions);
            }
            ids.push(tokens);
        }
        let new_tokens = settings.prompt_tokens.unwrap_or(NEW_TOKENS) as usize;
        Ok(Some(Prompts { tokenizer, texts: settings.prompts.clone(), ids, new_tokens }))
    }

    /// Logs how the model goes on after `step` steps; `say` hears it as lines.
    pub fn go_on(&self, model: &Loaded, step: u64, log: &mut Log, say: impl Fn(&str)) -> Result<()> {
        // Without an end-of-text token only the length ends a continuation.
        let eos = model.config.special.eos.unwrap_or(-1);
        let found = generate::greedy(model, &self.ids, eos, self.new_tokens)?;
        for (prompt, completion) in self.texts.iter().zip(found) {
            let text = generate::decoded(&self.tokenizer, &completion.ids)?;
            let generation = Generation { step, prompt: prompt.clone(), text };
            say(&generation.line());
            log.generation(&generation)?;
        }
        Ok(())
    }
}
