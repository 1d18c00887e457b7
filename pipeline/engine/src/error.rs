//! The few errors that the command line tells apart by exit code. Everything else is an `anyhow::Error` with context.

use std::error::Error;
use std::io;

/// The config or the arguments are wrong (exit code 2). The message names line, step and key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// The run was asked to stop (exit code 130 or 143); finished parts are kept.
#[derive(Debug, thiserror::Error)]
#[error("stopped; finished parts are kept, run the same command again to go on")]
pub struct Stopped;

/// Scores of a step do not keep its gates (exit code 3). The step is done and its artifact stands.
#[derive(Debug, thiserror::Error)]
#[error("gate not passed: {}", .0.join("; "))]
pub struct GateFailed(pub Vec<String>);

/// Another live process works in this workspace (exit code 6).
#[derive(Debug, thiserror::Error)]
#[error("workspace `{workspace}` is in use by {holder}; wait for it to end or stop it, the lock ends with its process")]
pub struct Locked {
    pub workspace: String,
    pub holder: String,
}

/// The operating system's own error where there is one within another, which would say it twice: Parquet's, Arrow's, that of safetensors.
pub fn bare(error: impl Error + Send + Sync + 'static) -> anyhow::Error {
    let error = anyhow::Error::new(error);
    let number = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error());
    number.map_or(error, |number| io::Error::from_raw_os_error(number).into())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::ipc::writer::StreamWriter;
    use parquet::arrow::ArrowWriter;
    use parquet::errors::ParquetError;

    use super::*;

    #[test]
    fn a_full_disk_is_told_once() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000_000));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let full = || File::options().write(true).open("/dev/full").unwrap();
        let mut parquet = ArrowWriter::try_new(full(), batch.schema(), None).unwrap();
        let parquet = parquet.write(&batch).and_then(|()| parquet.flush()).unwrap_err();
        let arrow = StreamWriter::try_new(full(), &batch.schema()).err().unwrap();
        for error in [bare(parquet), bare(arrow)] {
            assert_eq!(format!("{error:#}"), "No space left on device (os error 28)");
        }
        // Others say what they say.
        let other = ParquetError::General("no disk".into());
        assert_eq!(format!("{:#}", bare(other)), "Parquet error: no disk");
    }
}
