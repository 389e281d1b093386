use std::{fs, time::Duration};

/// How long this process has used processors so far; `None` where the system does not tell.
#[cfg(unix)]
pub(crate) fn cpu() -> Option<Duration> {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.try_into().ok()
}

#[cfg(not(unix))]
pub(crate) fn cpu() -> Option<Duration> {
    None
}

/// The same of those threads that have this name, to the nanosecond if they sleep.
pub(crate) fn cpu_of_threads(name: &str) -> Option<Duration> {
    let mut used = Duration::ZERO;
    for thread in fs::read_dir("/proc/self/task").ok()? {
        let folder = thread.ok()?.path();
        // A thread may end between two looks.
        let Ok(its_name) = fs::read_to_string(folder.join("comm")) else { continue };
        if its_name.trim_end() == name {
            let stat = fs::read_to_string(folder.join("schedstat")).ok()?;
            used += Duration::from_nanos(stat.split(' ').next()?.parse().ok()?);
        }
    }
    Some(used)
}
