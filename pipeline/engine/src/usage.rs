//! What a step took: CPU time and peak memory, from the operating system's own accounting.

use std::time::Instant;

use crate::manifest::Usage;

/// A running measurement of this process and its children.
pub struct Meter {
    started: Instant,
    cpu_before: f64,
}

impl Meter {
    /// Starts measuring; the peak of resident memory is reset where the system allows it.
    pub fn start() -> Meter {
        // Writing 5 resets VmHWM (proc(5)); where it is refused the peak is that of the whole run.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Meter { started: Instant::now(), cpu_before: cpu_seconds() }
    }

    pub fn stop(&self) -> Usage {
        Usage {
            wall_seconds: self.started.elapsed().as_secs_f64(),
            cpu_seconds: cpu_seconds() - self.cpu_before,
            peak_memory: peak_memory(),
            parts_resumed: 0,
        }
    }
}

/// Highest resident memory of this process in bytes; 0 where the system does not tell.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// CPU seconds of this process and of children that ended.
fn cpu_seconds() -> f64 {
    [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN].into_iter().map(cpu_seconds_of).sum()
}

fn cpu_seconds_of(who: libc::c_int) -> f64 {
    // SAFETY: getrusage fills the zeroed struct it is given; `who` is one of its constants.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Physical memory of the machine in bytes.
pub fn physical_memory() -> u64 {
    // SAFETY: sysconf reads two constants and touches no memory of ours.
    let (pages, size) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    (pages.max(0) as u64) * (size.max(0) as u64)
}

/// Free bytes on the file system of `path`, as an unprivileged user sees them.
pub fn free_disk(path: &std::path::Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: statvfs fills the zeroed struct; `path` is a NUL-terminated string that outlives the call.
    unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &mut stat) == 0).then(|| stat.f_bavail as u64 * stat.f_frsize as u64)
    }
}
