//! Tensors in safetensors files: written whole or not at all, read through a memory map.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use engine::error::bare;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors, View};
use tch::{Device, Kind, Tensor};

/// A tensor on the CPU, contiguous, as safetensors wants to see it.
struct Contiguous {
    tensor: Tensor,
    shape: Vec<usize>,
}

impl Contiguous {
    fn of(tensor: &Tensor) -> Contiguous {
        let tensor = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
        let shape = tensor.size().iter().map(|length| *length as usize).collect();
        Contiguous { tensor, shape }
    }
}

impl View for Contiguous {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        // SAFETY: the tensor is contiguous f32 on the CPU (see `of`) and lives as long as the borrow.
        Cow::Borrowed(unsafe { std::slice::from_raw_parts(self.tensor.data_ptr().cast(), self.data_len()) })
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * 4
    }
}

/// Writes f32 tensors with metadata: into a temporary file, synced, then renamed into place.
pub fn save(path: &Path, named: &[(String, Tensor)], metadata: HashMap<String, String>) -> Result<()> {
    let views = named.iter().map(|(name, tensor)| (name, Contiguous::of(tensor)));
    let temporary = path.with_extension("tmp");
    let written = safetensors::serialize_to_file(views, Some(metadata), &temporary).map_err(bare);
    written.with_context(|| format!("writing `{}`", temporary.display()))?;
    replace(&temporary, path)
}

/// A checksum of the values of f32 tensors.
pub fn checksum(named: &[(String, Tensor)]) -> u32 {
    named.iter().fold(0, |sum, (_, tensor)| crc32c::crc32c_append(sum, &Contiguous::of(tensor).data()))
}

/// Syncs `temporary` and renames it to `path`, so that a kill leaves the old file or the new one.
pub fn replace(temporary: &Path, path: &Path) -> Result<()> {
    let synced = File::open(temporary).and_then(|file| file.sync_all()).and_then(|()| std::fs::rename(temporary, path));
    let folder = path.parent().context("a file has a folder")?;
    synced.and_then(|()| File::open(folder)?.sync_all()).with_context(|| format!("writing `{}`", path.display()))
}

/// A mapped safetensors file.
struct Mapped {
    path: PathBuf,
    map: Mmap,
}

impl Mapped {
    fn open(path: &Path) -> Result<Mapped> {
        let file = File::open(path).with_context(|| format!("opening `{}`", path.display()))?;
        // SAFETY: artifacts are never changed once they stand, checkpoints are replaced by rename, and others' folders are hashed as inputs.
        let map = unsafe { Mmap::map(&file) }.with_context(|| format!("mapping `{}`", path.display()))?;
        Ok(Mapped { path: path.to_path_buf(), map })
    }

    fn tensors(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.map).with_context(|| format!("`{}` is no readable safetensors file", self.path.display()))
    }
}

/// Stored tensors, in one file or several.
pub struct Weights {
    files: Vec<Mapped>,
}

impl Weights {
    pub fn open(path: &Path) -> Result<Weights> {
        Ok(Weights { files: vec![Mapped::open(path)?] })
    }

    /// The weights of a model folder.
    pub fn of_folder(folder: &Path) -> Result<Weights> {
        let files = model::Files::of(folder)?.weights;
        Ok(Weights { files: files.iter().map(|path| Mapped::open(path)).collect::<Result<_>>()? })
    }

    /// A value of the header's metadata.
    pub fn metadata(&self, key: &str) -> Result<Option<String>> {
        for Mapped { path, map } in &self.files {
            let (_, metadata) = SafeTensors::read_metadata(map).with_context(|| format!("`{}` is no safetensors file", path.display()))?;
            if let Some(value) = metadata.metadata().as_ref().and_then(|metadata| metadata.get(key)) {
                return Ok(Some(value.clone()));
            }
        }
        Ok(None)
    }

    /// Copies the stored values into the named tensors; gives the names that the files do not have.
    pub fn load(&self, named: &[(String, Tensor)]) -> Result<Vec<String>> {
        let stored = self.files.iter().map(|file| Ok((file.path.display(), file.tensors()?))).collect::<Result<Vec<_>>>()?;
        let find = |name: &str| stored.iter().find_map(|(path, tensors)| Some((path, tensors.tensor(name).ok()?)));
        let mut missing = Vec::new();
        for (name, tensor) in named {
            let Some((path, view)) = other_names(name).iter().find_map(|name| find(name)) else {
                missing.push(name.clone());
                continue;
            };
            let shape: Vec<i64> = view.shape().iter().map(|length| *length as i64).collect();
            if shape != tensor.size() {
                bail!("`{path}` holds {name} as {shape:?}, the network has {:?}", tensor.size());
            }
            let kind = match view.dtype() {
                Dtype::F32 => Kind::Float,
                Dtype::BF16 => Kind::BFloat16,
                Dtype::F16 => Kind::Half,
                other => bail!("`{path}` holds {name} as {other:?}, this program reads F32, BF16 and F16"),
            };
            let values = Tensor::f_from_data_size(view.data(), &shape, kind)?;
            tch::no_grad(|| tensor.shallow_clone().f_copy_(&values))?;
        }
        Ok(missing)
    }
}

/// A name, and how others write it: networks without a head have no common beginning, those below one for answers another one than elsewhere, and
/// old ones of TensorFlow call norms' values gamma and beta.
fn other_names(name: &str) -> Vec<String> {
    let mut names = vec![name.to_string()];
    names.extend(["bert.", "transformer.", "model."].iter().filter_map(|base| name.strip_prefix(base)).map(str::to_string));
    let swapped = [("transformer.", "model."), ("model.", "transformer.")];
    names.extend(swapped.iter().filter_map(|(own, other)| Some(format!("{other}{}", name.strip_prefix(own)?))));
    // An output of its own that has the values of the embedding, of a T5 that was never trained.
    names.extend((name == "lm_head.weight").then(|| "shared.weight".to_string()));
    let old = |name: &String| name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
    names.extend(names.iter().map(old).filter(|old| !names.contains(old)).collect::<Vec<_>>());
    names
}

#[cfg(test)]
mod tests {
    use super::other_names;

    #[test]
    fn names_of_bare_and_old_networks_are_tried() {
        let names = ["bert.a.LayerNorm.weight", "a.LayerNorm.weight", "bert.a.LayerNorm.gamma", "a.LayerNorm.gamma"];
        assert_eq!(other_names("bert.a.LayerNorm.weight"), names);
        assert_eq!(other_names("transformer.h.0.ln_1.bias"), ["transformer.h.0.ln_1.bias", "h.0.ln_1.bias", "model.h.0.ln_1.bias"]);
        assert_eq!(other_names("model.norm.weight"), ["model.norm.weight", "norm.weight", "transformer.norm.weight"]);
        assert_eq!(other_names("lm_head.weight"), ["lm_head.weight", "shared.weight"]);
        assert_eq!(other_names("score.weight"), ["score.weight"]);
    }
}
