//! Whether the LibTorch that was loaded is of the version that this program was compiled against.

use anyhow::{Result, bail};

use crate::shim;

/// Refuses a library that came to lie where another one was: what its functions take and give may have changed.
pub fn check() -> Result<()> {
    compare(&shim::configuration(), &shim::version())
}

fn compare(configuration: &str, compiled: &str) -> Result<()> {
    match version(configuration) {
        Some(loaded) if loaded != compiled => bail!(
            "the LibTorch that was loaded is {loaded}, mill-model was compiled against {compiled}; put {compiled} back in its folder, or build again with LIBTORCH naming a folder of {compiled}"
        ),
        _ => Ok(()),
    }
}

/// The version among what LibTorch says of its build, `BLAS_INFO=mkl, …, TORCH_VERSION=2.13.0, …`.
fn version(configuration: &str) -> Option<&str> {
    let (_, rest) = configuration.split_once("TORCH_VERSION=")?;
    rest.split([',', '\n']).next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaded_library_tells_its_version() {
        assert_eq!(version(&shim::configuration()), Some(shim::version().as_str()));
        check().unwrap();
    }

    #[test]
    fn another_version_is_refused() {
        let configuration =
            |version: &str| format!("PyTorch built with:\n  - GCC 13.3\n  - BLAS_INFO=mkl, TORCH_VERSION={version}, USE_CUDA=0, \n");
        compare(&configuration("2.13.0"), "2.13.0").unwrap();
        let error = compare(&configuration("2.12.1"), "2.13.0").unwrap_err().to_string();
        let expected = "the LibTorch that was loaded is 2.12.1, mill-model was compiled against 2.13.0; put 2.13.0 back";
        assert!(error.starts_with(expected), "{error}");
    }
}
