//! `fetch`: brings the shards of a finished tokens artifact from another folder, such as a mounted share, into the workspace, and checks them.
//!
//! Readers map local files alone, so shards that lie behind a network are copied once. Object stores are not reached from here: their clients
//! need an asynchronous runtime, which this crate does not know.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use engine::{Context, Disk, Draft, Inputs, Kind, Manifest, Port, Site, Stage, manifest};
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
        let path = self.path.strip_prefix("file://").unwrap_or(&self.path);
        if path.contains("://") {
            bail!("`{path}`: shards are fetched from folders alone; mount the store, or copy the folder with its own client");
        }
        let folder = site.root().join(path);
        let Some(from) = Manifest::read(&folder)? else { bail!("`{}` is no artifact: it has no {}", folder.display(), manifest::FILE) };
        if from.kind != Kind::Tokens {
            bail!("`{}` holds {}, no tokens", folder.display(), from.kind.name());
        }
        self.bytes = from.files.iter().map(|file| file.bytes).sum();
        // The manifest holds the hashes of all files, so its own stands for theirs.
        site.file(folder.join(manifest::FILE), manifest::FILE)?;
        Ok(())
    }

    fn disk(&self, _input_bytes: u64) -> Disk {
        Disk { kept: self.bytes, ..Disk::default() }
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let Some(listed) = inputs.files().first() else { bail!("no manifest was found while planning") };
        let folder = listed.path.parent().unwrap_or(Path::new("."));
        let from = Manifest::read(folder)?.with_context(|| format!("`{}` is gone", listed.path.display()))?;
        let mut done = 0;
        for file in &from.files {
            ctx.check_stop()?;
            let (source, target) = (folder.join(&file.path), draft.file(&file.path)?);
            let wanted = (file.bytes, file.blake3.clone());
            // What an interrupted run brought is not brought again.
            if !target.exists() || engine::files::hash_file(&target)? != wanted {
                copy(&source, &target)?;
                if engine::files::hash_file(&target)? != wanted {
                    bail!("`{}` has other bytes than when it was written; make that artifact again", source.display());
                }
            }
            draft.rows(&file.path, file.rows);
            if file.volatile {
                draft.volatile(&file.path);
            }
            done += file.bytes;
            ctx.progress(done, self.bytes, "bytes");
        }
        from.facts.iter().try_for_each(|(name, value)| draft.fact(name, value))?;
        from.counts.iter().for_each(|(name, n)| draft.count(name, *n));
        Ok(())
    }
}

fn copy(source: &Path, target: &Path) -> Result<()> {
    std::fs::copy(source, target).with_context(|| format!("copying `{}` to `{}`", source.display(), target.display()))?;
    Ok(())
}
