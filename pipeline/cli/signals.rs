//! Signals: the first asks the running step to stop after its current piece of work, the second ends the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

static RECEIVED: AtomicUsize = AtomicUsize::new(0);

/// Returns the flag that the first SIGINT or SIGTERM sets.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Registered first, so that it fires only when the flag was already set by an earlier signal.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop)).context("registering signals")?;
        flag::register(signal, Arc::clone(&stop)).context("registering signals")?;
        // SAFETY: the handler only stores into an atomic.
        unsafe { signal_hook::low_level::register(signal, move || RECEIVED.store(signal as usize, Ordering::Relaxed)) }
            .context("registering signals")?;
    }
    Ok(stop)
}

/// 128 plus the signal that was received; SIGINT where none was.
pub fn exit_code() -> u8 {
    match RECEIVED.load(Ordering::Relaxed) {
        0 => 128 + SIGINT as u8,
        signal => 128 + signal as u8,
    }
}
