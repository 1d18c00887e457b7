//! `fetch`: brings the shards of a finished tokens artifact from another folder, such as a mounted share, into the workspace, and checks them.
//!
//! Readers map local files alone, so shards that lie behind a network are copied once. Object stores are not reached from here: their clients
//! need an asynchronous runtime, which this crate does not know.

use anyhow::Result;
use engine::{Context, Disk, Draft, Inputs, Kind, Port, Site, Stage, fetched};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Copies tokens of another workspace.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// Folder of a finished tokens artifact, such as `/mnt/share/run/steps/tokenize`; `file://` may stand before it.
    pub path: String,
    /// Bytes of its files, noted while planning.
    #[serde(default)]
    #[schemars(skip)]
    pub bytes: u64,
}

impl Stage for Fetch {
    const NAME: &'static str = "fetch";
    const ABOUT: &'static str = "Brings the shards of a tokens artifact from another folder into the workspace and checks their hashes.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Tokens;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        self.bytes = fetched::find(site, &self.path, Kind::Tokens)?;
        Ok(())
    }

    fn disk(&self, _input_bytes: u64) -> Disk {
        Disk { kept: self.bytes, ..Disk::default() }
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        fetched::bring(ctx, inputs, draft, self.bytes)
    }
}
