use std::{
    io::IsTerminal,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a phase tells how far it is where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// Tells a person what goes on, on standard error: bars on a terminal, lines elsewhere.
pub(crate) struct Progress {
    terminal: bool,
    style: ProgressStyle,
}

/// One phase of the run: a bar of its own.
#[derive(Debug)]
pub(crate) struct Phase {
    name: &'static str,
    unit: &'static str,
    total: u64,
    done: AtomicU64,
    started: Instant,
    shown_ms: AtomicU64,
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let bar = if colour { "{bar:24.cyan/blue}" } else { "{bar:24}" };
        let template = format!("{{prefix:>10}} {bar} {{pos}}/{{len}} {{per_sec}} {{wide_msg}}");
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Progress { terminal, style }
    }

    /// One line.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        eprintln!("{}", line.as_ref());
    }

    /// Begins a phase of `total` steps, which are counted in `unit`s.
    pub(crate) fn phase(&self, name: &'static str, unit: &'static str, total: u64) -> Phase {
        let bar = if self.terminal {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.set_style(self.style.clone());
            bar.set_prefix(name);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        } else {
            eprintln!("{name}: {total} {unit}");
            ProgressBar::hidden()
        };
        Phase {
            name,
            unit,
            total,
            done: AtomicU64::new(0),
            started: Instant::now(),
            shown_ms: AtomicU64::new(0),
            bar,
            terminal: self.terminal,
        }
    }
}

impl Phase {
    /// One step more.
    pub(crate) fn step(&self) {
        self.reach(self.done.fetch_add(1, Ordering::Relaxed) + 1, "");
    }

    /// So many steps are done; `message` says more about it.
    pub(crate) fn reach(&self, done: u64, message: &str) {
        self.done.store(done, Ordering::Relaxed);
        if self.terminal {
            self.bar.set_position(done);
            if !message.is_empty() {
                self.bar.set_message(message.to_owned());
            }
            return;
        }
        let now_ms = millis(self.started.elapsed());
        let shown_ms = self.shown_ms.load(Ordering::Relaxed);
        let due = now_ms >= shown_ms + millis(LINE_INTERVAL);
        let mine = || self.shown_ms.compare_exchange(shown_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed);
        if due && mine().is_ok() {
            let gap = if message.is_empty() { "" } else { ": " };
            eprintln!("{}: {done} of {} {}{gap}{message}", self.name, self.total, self.unit);
        }
    }

    /// A line beside the bar.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        self.bar.suspend(|| eprintln!("{}", line.as_ref()));
    }

    /// The phase is over.
    pub(crate) fn finish(self) {
        let elapsed = self.started.elapsed();
        let done = self.done.load(Ordering::Relaxed);
        self.bar.finish_and_clear();
        let rate = done.saturating_mul(1_000) / millis(elapsed).max(1);
        let (name, unit) = (self.name, self.unit);
        eprintln!("{name}: {done} {unit} in {:.1} s, {rate} a second", elapsed.as_secs_f64());
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
