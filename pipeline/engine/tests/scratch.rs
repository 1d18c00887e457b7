//! Scratch is not synced: it is trusted after a kill, but not once the system was started anew.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::atomic::{AtomicUsize, Ordering};

use engine::testing::context;
use engine::{Draft, Part};

#[test]
fn scratch_of_another_start_of_the_system_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let worked = || {
        let works = AtomicUsize::new(0);
        let draft = Draft::open(folder.path(), "key").unwrap();
        let write = |index: usize, path: &std::path::Path| {
            works.fetch_add(1, Ordering::Relaxed);
            Ok(std::fs::write(path, index.to_string())?)
        };
        draft.task(&context(2), "count", &[Part { bytes: 1 }; 3], write).unwrap();
        works.into_inner()
    };
    assert_eq!((worked(), worked()), (3, 0));
    let journal = folder.path().join("journal.jsonl");
    let noted = std::fs::read_to_string(&journal).unwrap();
    let Ok(boot) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return };
    assert_eq!(noted.matches(boot.trim()).count(), 3);
    std::fs::write(&journal, noted.replacen(boot.trim(), "another", 2)).unwrap();
    assert_eq!((worked(), worked()), (2, 0));
}

#[test]
fn a_task_that_writes_nothing_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let draft = Draft::open(folder.path(), "key").unwrap();
    let error = draft.task(&context(1), "count", &[Part { bytes: 1 }], |_, _| Ok(())).unwrap_err();
    assert!(error.to_string().starts_with("phase `count` wrote no `"), "{error}");
}
