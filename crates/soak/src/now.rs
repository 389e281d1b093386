/// Nanoseconds of the monotonic clock that all processes of a machine share, and by which recorders of histories go, too.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let parts = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    let (Ok(seconds), Ok(nanoseconds)) = parts else { unreachable!("the clock starts at 0") };
    seconds * 1_000_000_000 + nanoseconds
}
