//! `mill-model`: the process that holds a model. All of it is in the crate `torch`; here is only the way in.

use std::process::ExitCode;

fn main() -> ExitCode {
    torch::main()
}
