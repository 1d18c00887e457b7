//! Finished artifacts of other workspaces, brought into this one and checked.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::manifest::{self, Manifest};
use crate::{Context, Draft, Inputs, Kind, Site};

/// Finds the artifact in a folder while planning and notes it as an input; gives the bytes of its files. `file://` may stand before the path.
pub fn find(site: &mut Site, path: &str, kind: Kind) -> Result<u64> {
    let path = path.strip_prefix("file://").unwrap_or(path);
    if path.contains("://") {
        bail!("`{path}`: artifacts are fetched from folders alone; mount the store, or copy the folder with its own client");
    }
    let folder = site.root().join(path);
    let Some(from) = Manifest::read(&folder)? else { bail!("`{}` is no artifact: it has no {}", folder.display(), manifest::FILE) };
    if from.kind != kind {
        bail!("`{}` holds {}, no {}", folder.display(), from.kind.name(), kind.name());
    }
    if from.files.iter().any(|file| file.of.is_some()) {
        bail!("`{}` holds row numbers of another artifact and no rows; make it with `materialize = true`", folder.display());
    }
    // The manifest holds the hashes of all files, so its own stands for theirs.
    site.file(folder.join(manifest::FILE), manifest::FILE)?;
    Ok(from.files.iter().map(|file| file.bytes).sum())
}

/// Copies the artifact that was found, with its counts and facts; `bytes` are those of its files.
pub fn bring(ctx: &Context, inputs: &Inputs, draft: &Draft, bytes: u64) -> Result<()> {
    let Some(listed) = inputs.files().first() else { bail!("no manifest was found while planning") };
    let folder = listed.path.parent().unwrap_or(Path::new("."));
    let from = Manifest::read(folder)?.with_context(|| format!("`{}` is gone", listed.path.display()))?;
    let mut done = 0;
    for file in &from.files {
        ctx.check_stop()?;
        let (source, target) = (folder.join(&file.path), draft.file(&file.path)?);
        let wanted = (file.bytes, file.blake3.clone());
        // What an interrupted run brought is not brought again.
        if !target.exists() || crate::files::hash_file(&target)? != wanted {
            std::fs::copy(&source, &target).with_context(|| format!("copying `{}` to `{}`", source.display(), target.display()))?;
            if crate::files::hash_file(&target)? != wanted {
                bail!("`{}` has other bytes than when it was written; make that artifact again", source.display());
            }
        }
        draft.rows(&file.path, file.rows);
        if file.volatile {
            draft.volatile(&file.path);
        }
        done += file.bytes;
        ctx.progress(done, bytes, "bytes");
    }
    from.facts.iter().try_for_each(|(name, value)| draft.fact(name, value))?;
    from.counts.iter().for_each(|(name, n)| draft.count(name, *n));
    Ok(())
}
