//! How long freed memory stays with the process: a page that is given back is cleared again at its next use, a quarter of what `import` costs.

use std::ffi::{c_int, c_long};

/// With this much memory allowed, nothing freed is given back: resident memory grows by about a third.
const KEEP_FROM: u64 = 4 << 30;

/// `mi_option_purge_delay` of mimalloc.h.
const PURGE_DELAY: c_int = 15;
const NEVER: c_long = -1;

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
}

/// Sets it by the memory that `--memory` allows.
pub fn keep_freed(memory: u64) {
    if memory >= KEEP_FROM {
        // SAFETY: sets a number that mimalloc, our global allocator, reads when it is about to give memory back.
        unsafe { mi_option_set(PURGE_DELAY, NEVER) };
    }
}
