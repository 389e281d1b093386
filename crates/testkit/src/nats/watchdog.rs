use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Reads process ids, one a line, and remembers the last. The end of its input means that the test process has
/// ended, in whatever way: it kills the process it remembers and removes the folder.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then kill -KILL "$pid" 2>/dev/null; fi
rm -rf -- "$1"
"#;

/// A shell that outlives this process just long enough to clean up behind it.
///
/// A process that is killed runs no destructors; but its end of a pipe is closed.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    /// Starts a watchdog that guards no process yet, and removes `folder` in the end.
    pub(crate) fn start(folder: &Path) -> io::Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "nats-server-watchdog"])
            .arg(folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { shell })
    }

    /// From now on `process_id` is what must not outlive this process; `None` after it has ended.
    pub(crate) fn guard(&mut self, process_id: Option<u32>) -> io::Result<()> {
        let line = process_id.map(|id| id.to_string()).unwrap_or_default() + "\n";
        self.shell.stdin.as_mut().map_or(Ok(()), |input| input.write_all(line.as_bytes()))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Closes the input, and so lets the shell clean up; `wait` does it too, but this is the point of it.
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
