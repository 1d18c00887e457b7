//! Tensors in safetensors files: written whole or not at all, read through a memory map.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors, View};
use tch::{Device, Kind, Tensor};

/// A tensor on the CPU, contiguous, as safetensors wants to see it.
struct Contiguous {
    tensor: Tensor,
    shape: Vec<usize>,
}

impl View for Contiguous {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        // SAFETY: the tensor is contiguous f32 on the CPU (see `save`) and lives as long as the borrow.
        Cow::Borrowed(unsafe { std::slice::from_raw_parts(self.tensor.data_ptr().cast(), self.data_len()) })
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * 4
    }
}

/// Writes f32 tensors with metadata: into a temporary file, synced, then renamed into place.
pub fn save(path: &Path, named: &[(String, Tensor)], metadata: HashMap<String, String>) -> Result<()> {
    let views = named.iter().map(|(name, tensor)| {
        let tensor = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
        let shape = tensor.size().iter().map(|length| *length as usize).collect();
        (name, Contiguous { tensor, shape })
    });
    let temporary = path.with_extension("tmp");
    safetensors::serialize_to_file(views, Some(metadata), &temporary).with_context(|| format!("writing `{}`", temporary.display()))?;
    replace(&temporary, path)
}

/// Syncs `temporary` and renames it to `path`, so that a kill leaves the old file or the new one.
pub fn replace(temporary: &Path, path: &Path) -> Result<()> {
    let synced = File::open(temporary).and_then(|file| file.sync_all()).and_then(|()| std::fs::rename(temporary, path));
    let folder = path.parent().context("a file has a folder")?;
    synced.and_then(|()| File::open(folder)?.sync_all()).with_context(|| format!("writing `{}`", path.display()))
}

/// A mapped safetensors file.
pub struct Weights {
    path: String,
    map: Mmap,
}

impl Weights {
    pub fn open(path: &Path) -> Result<Weights> {
        let file = File::open(path).with_context(|| format!("opening `{}`", path.display()))?;
        // SAFETY: artifacts are never changed once they stand, and checkpoints are replaced by rename.
        let map = unsafe { Mmap::map(&file) }.with_context(|| format!("mapping `{}`", path.display()))?;
        Ok(Weights { path: path.display().to_string(), map })
    }

    fn tensors(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.map).with_context(|| format!("`{}` is no readable safetensors file", self.path))
    }

    /// A value of the header's metadata.
    pub fn metadata(&self, key: &str) -> Result<Option<String>> {
        let (_, metadata) = SafeTensors::read_metadata(&self.map).with_context(|| format!("`{}` is no safetensors file", self.path))?;
        Ok(metadata.metadata().as_ref().and_then(|metadata| metadata.get(key).cloned()))
    }

    /// Copies the stored values into the named tensors; gives the names that the file does not have.
    pub fn load(&self, named: &[(String, Tensor)]) -> Result<Vec<String>> {
        let stored = self.tensors()?;
        let mut missing = Vec::new();
        for (name, tensor) in named {
            let Ok(view) = stored.tensor(name) else {
                missing.push(name.clone());
                continue;
            };
            let shape: Vec<i64> = view.shape().iter().map(|length| *length as i64).collect();
            if shape != tensor.size() {
                bail!("`{}` holds {name} as {shape:?}, the network has {:?}", self.path, tensor.size());
            }
            let kind = match view.dtype() {
                Dtype::F32 => Kind::Float,
                Dtype::BF16 => Kind::BFloat16,
                Dtype::F16 => Kind::Half,
                other => bail!("`{}` holds {name} as {other:?}, this program reads F32, BF16 and F16", self.path),
            };
            let values = Tensor::f_from_data_size(view.data(), &shape, kind)?;
            tch::no_grad(|| tensor.shallow_clone().f_copy_(&values))?;
        }
        Ok(missing)
    }
}
