//! Tensors in safetensors files: written whole or not at all, read through a memory map.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use memmap2::Mmap;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};

/// Headers end at a multiple of so many bytes.
const ALIGNMENT: usize = 8;

/// A tensor on the CPU, contiguous, in f32.
struct Contiguous(Tensor);

impl Contiguous {
    fn of(tensor: &Tensor) -> Contiguous {
        Contiguous(tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous())
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the tensor is contiguous f32 on the CPU (see `of`) and lives as long as the borrow.
        unsafe { std::slice::from_raw_parts(self.0.data_ptr().cast(), self.0.numel() * 4) }
    }
}

/// Writes f32 tensors with metadata: into a temporary file, synced, then renamed into place.
pub fn save(path: &Path, named: &[(String, Tensor)], metadata: HashMap<String, String>) -> Result<()> {
    let temporary = path.with_extension("tmp");
    let written = write(&temporary, named, metadata);
    if written.is_err() {
        // Half a file would hold what is left of a full disk.
        let _ = std::fs::remove_file(&temporary);
    }
    written.with_context(|| format!("writing `{}`", temporary.display()))?;
    replace(&temporary, path)
}

/// The bytes of safetensors' own `serialize_to_file`, whose temporary files have other names each time, so that those of killed runs would stay,
/// and which only their owner may read.
fn write(path: &Path, named: &[(String, Tensor)], metadata: HashMap<String, String>) -> Result<()> {
    let mut tensors: Vec<(&String, Contiguous)> = named.iter().map(|(name, tensor)| (name, Contiguous::of(tensor))).collect();
    tensors.sort_by_key(|(name, _)| *name);
    let mut end = 0;
    let infos = tensors.iter().map(|(name, tensor)| {
        let begin = end;
        end += tensor.bytes().len();
        let shape = tensor.0.size().iter().map(|length| *length as usize).collect();
        (name.to_string(), TensorInfo { dtype: Dtype::F32, shape, data_offsets: (begin, end) })
    });
    let mut header = serde_json::to_vec(&Metadata::new(Some(metadata), infos.collect())?)?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    tensors.iter().try_for_each(|(_, tensor)| file.write_all(tensor.bytes()))?;
    Ok(file.flush()?)
}

/// A checksum of the values of f32 tensors.
pub fn checksum(named: &[(String, Tensor)]) -> u32 {
    named.iter().fold(0, |sum, (_, tensor)| crc32c::crc32c_append(sum, Contiguous::of(tensor).bytes()))
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

/// A name, and how others write it: networks without a head have no common beginning, those below one for answers another one than elsewhere, a T5
/// has one below some heads alone, and old ones of TensorFlow call norms' values gamma and beta.
fn other_names(name: &str) -> Vec<String> {
    let mut names = vec![name.to_string()];
    names.extend(["bert.", "transformer.", "model."].iter().filter_map(|base| name.strip_prefix(base)).map(str::to_string));
    let swapped = [("transformer.", "model."), ("model.", "transformer.")];
    names.extend(swapped.iter().filter_map(|(own, other)| Some(format!("{other}{}", name.strip_prefix(own)?))));
    names.extend(["shared.", "encoder.", "decoder."].iter().any(|own| name.starts_with(own)).then(|| format!("transformer.{name}")));
    // An output of its own that has the values of the embedding, of a T5 that was never trained.
    names.extend((name == "lm_head.weight").then(|| "shared.weight".to_string()));
    let old = |name: &String| name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
    names.extend(names.iter().map(old).filter(|old| !names.contains(old)).collect::<Vec<_>>());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two small tensors, in an order that files do not have.
    fn named() -> Vec<(String, Tensor)> {
        let of = |name: &str, values: &[f32]| (name.to_string(), Tensor::from_slice(values));
        vec![of("b", &[1.5, -2.0]), of("a", &[0.25])]
    }

    #[test]
    fn a_file_has_the_bytes_that_safetensors_writes_and_nothing_stands_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        // What a killed run left.
        std::fs::write(dir.path().join("model.tmp"), "half").unwrap();
        save(&path, &named(), HashMap::from([("format".into(), "pt".into())])).unwrap();
        let tensors: Vec<(String, Contiguous)> = named().iter().map(|(name, tensor)| (name.clone(), Contiguous::of(tensor))).collect();
        let views = tensors.iter().map(|(name, tensor)| {
            let (bytes, shape) = (tensor.bytes(), vec![tensor.0.numel()]);
            (name, safetensors::tensor::TensorView::new(Dtype::F32, shape, bytes).unwrap())
        });
        let expected = safetensors::serialize(views, Some(HashMap::from([("format".into(), "pt".into())]))).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), expected);
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["model.safetensors"]);
        let other = dir.path().join("other");
        std::fs::write(&other, "").unwrap();
        let permissions = |path: &Path| std::fs::metadata(path).unwrap().permissions();
        assert_eq!(permissions(&path), permissions(&other));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_keeps_no_half_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, temporary) = (dir.path().join("checkpoint.safetensors"), dir.path().join("checkpoint.tmp"));
        save(&path, &named(), HashMap::new()).unwrap();
        let before = std::fs::read(&path).unwrap();
        std::os::unix::fs::symlink("/dev/full", &temporary).unwrap();
        let error = save(&path, &named(), HashMap::new()).unwrap_err();
        assert_eq!(format!("{error:#}"), format!("writing `{}`: No space left on device (os error 28)", temporary.display()));
        assert!(std::fs::symlink_metadata(&temporary).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn names_of_bare_and_old_networks_are_tried() {
        let names = ["bert.a.LayerNorm.weight", "a.LayerNorm.weight", "bert.a.LayerNorm.gamma", "a.LayerNorm.gamma"];
        assert_eq!(other_names("bert.a.LayerNorm.weight"), names);
        assert_eq!(other_names("transformer.h.0.ln_1.bias"), ["transformer.h.0.ln_1.bias", "h.0.ln_1.bias", "model.h.0.ln_1.bias"]);
        assert_eq!(other_names("model.norm.weight"), ["model.norm.weight", "norm.weight", "transformer.norm.weight"]);
        assert_eq!(other_names("shared.weight"), ["shared.weight", "transformer.shared.weight"]);
        assert_eq!(other_names("lm_head.weight"), ["lm_head.weight", "shared.weight"]);
        assert_eq!(other_names("score.weight"), ["score.weight"]);
    }
}
