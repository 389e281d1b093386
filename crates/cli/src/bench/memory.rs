/// What this process occupies, in MiB; `None` where the system does not tell.
pub(crate) fn rss_mb() -> Option<u64> {
    rss_mb_of(std::process::id())
}

/// The same of another one.
pub(crate) fn rss_mb_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1_024)
}
