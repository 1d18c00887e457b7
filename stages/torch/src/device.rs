//! Where a job runs. The parts of LibTorch for CUDA are loaded only when a job may use them, so a processor needs neither them nor a driver.
//!
//! Nothing here was ever run on a GPU.

use std::ffi::{CStr, CString};

use anyhow::{Context as _, Result, bail};
use tch::Device;

use crate::shim;

/// Comes with the driver.
const DRIVER: &str = "libcuda.so.1";
const LIBRARY: &str = "libtorch_cuda.so";

/// The device that a job names: `auto`, `cpu`, `cuda` or `cuda:N`. With CUDA, each rank takes the one after that of the rank before. `note`
/// hears of a GPU that cannot be used.
pub fn device(name: &str, rank: usize, note: impl FnOnce(&str)) -> Result<Device> {
    let index = match (name, name.strip_prefix("cuda:").map(str::parse::<usize>)) {
        ("cpu", _) => return Ok(Device::Cpu),
        ("auto", _) if load(DRIVER).is_err() => return Ok(Device::Cpu),
        ("auto" | "cuda", _) => 0,
        (_, Some(Ok(index))) => index,
        _ => bail!("unknown device `{name}`; valid are auto, cpu, cuda and cuda:N"),
    };
    if let ("auto", Err(error)) = (name, cuda(0)) {
        note(&format!("going on without a GPU: {error:#}"));
        return Ok(Device::Cpu);
    }
    cuda(index + rank).with_context(|| format!("device `{name}`"))
}

fn cuda(index: usize) -> Result<Device> {
    load(DRIVER).context("this machine has no NVIDIA driver; use `cpu` or `auto`")?;
    load(LIBRARY).context(
        "the parts of LibTorch for CUDA cannot be loaded; install PyTorch 2.13.0 with all its packages (pip install torch==2.13.0) and let LIBTORCH name its folder",
    )?;
    let devices = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
    match devices {
        0 => bail!("LibTorch finds no CUDA device; use `cpu` or `auto`"),
        _ if index >= devices => {
            bail!("cuda:{index} is not there: LibTorch finds cuda:0 to cuda:{}; lower `ranks` or take another one", devices - 1)
        }
        _ => Ok(Device::Cuda(index)),
    }
}

/// Loads a library for as long as the process lives; LibTorch's own folder is searched too.
fn load(name: &str) -> Result<()> {
    let path = CString::new(name)?;
    // SAFETY: loading runs the library's constructors, which is what it is loaded for; the error text is copied at once.
    unsafe {
        if libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL).is_null() {
            let error = libc::dlerror();
            let text = if error.is_null() { "no reason given".into() } else { CStr::from_ptr(error).to_string_lossy() };
            bail!("{text}");
        }
    }
    Ok(())
}

/// Sets how a GPU multiplies: `tf32` for products in f32, `deterministic` for kernels that add in one order. The processor has its own ways.
pub fn switch(device: Device, tf32: bool, deterministic: bool) -> Result<()> {
    if device.is_cuda() { shim::cuda_switches(tf32, deterministic) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named() {
        assert_eq!(device("cpu", 0, |_| {}).unwrap(), Device::Cpu);
        for name in ["gpu", "cuda:", "cuda:x", "CPU"] {
            assert!(device(name, 0, |_| {}).unwrap_err().to_string().contains("valid are auto, cpu, cuda and cuda:N"), "{name}");
        }
    }

    #[test]
    fn a_library_that_is_not_there_is_an_error_with_its_name() {
        let error = load("libno-such-library.so").unwrap_err().to_string();
        assert!(error.contains("libno-such-library.so"), "{error}");
    }

    #[test]
    fn without_a_driver_cuda_is_refused_and_auto_is_the_processor() {
        if load(DRIVER).is_ok() {
            return; // a machine with a GPU
        }
        assert_eq!(device("auto", 1, |_| {}).unwrap(), Device::Cpu);
        for name in ["cuda", "cuda:3"] {
            let error = format!("{:#}", device(name, 0, |_| {}).unwrap_err());
            assert!(error.starts_with(&format!("device `{name}`: this machine has no NVIDIA driver; use `cpu` or `auto`")), "{error}");
        }
    }
}
