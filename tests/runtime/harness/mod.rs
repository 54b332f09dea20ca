//! Servers to test against: the Worker itself, and a site for it to stand in front of.

mod client;
mod origin;
mod server;
mod setup;

#[allow(unused_imports, reason = "the bench names neither")]
pub use client::{Answer, Client};
#[allow(unused_imports, reason = "the bench has sites of its own")]
pub use origin::{Origin, SiteRequest};
pub use server::Server;
pub use setup::Setup;

use std::path::Path;
use std::time::{Duration, Instant};

pub const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0";
const PATIENCE: Duration = Duration::from_secs(30);

/// How long processors have worked for a process.
#[allow(dead_code, reason = "the bench wants to know")]
pub fn worked(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // After the name, which stands in parentheses: user and system time are the 12th and 13th, in hundredths of a second
    // (proc_pid_stat(5)).
    let fields = stat.rsplit_once(')').unwrap().1.split(' ').skip(12).take(2);
    fields.map(|field| Duration::from_millis(10 * field.parse::<u64>().unwrap())).sum()
}

/// The files below a folder that hold some text, with their sizes.
pub fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_with(&path, text));
        } else if let Ok(bytes) = std::fs::read(&path) {
            let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            files.extend(found.then(|| format!("{} ({} bytes)", path.display(), bytes.len())));
        }
    }
    files
}

/// Waits until something is so.
pub fn eventually<T: PartialEq + std::fmt::Debug>(expected: T, mut found: impl FnMut() -> T) {
    let start = Instant::now();
    loop {
        let now = found();
        if now == expected {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "still {now:?}, not {expected:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Checks again and again, for so long.
#[allow(dead_code, reason = "the bench checks nothing")]
pub fn throughout(time: Duration, mut check: impl FnMut()) {
    let start = Instant::now();
    while start.elapsed() < time {
        check();
        std::thread::sleep(Duration::from_millis(20));
    }
}
