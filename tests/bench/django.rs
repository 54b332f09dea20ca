//! What community sites did before: Django with Redis, as `tests/bench/django/recipe.py` has it, under gunicorn with two
//! workers of sixteen threads each, which keep their connections.

use crate::harness::{eventually, worked};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A Redis with nothing in it, that writes nothing to disk.
pub struct Redis {
    pub port: u16,
    child: Child,
}

impl Redis {
    /// Starts one.
    pub fn start() -> Self {
        let port = free_port();
        let settings = ["--port", &port.to_string(), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"];
        let child = Command::new("redis-server").args(settings).stdout(Stdio::null()).spawn();
        let child = child.expect("redis-server, which `npm run bench` installs");
        eventually(true, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, child }
    }

    /// The number that a command is answered with.
    pub fn number(&self, command: &str) -> usize {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.trim().strip_prefix(':').and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Django site in front of another site, that tells Redis who was there.
pub struct Django {
    pub port: u16,
    pub redis: Redis,
    child: Child,
}

impl Django {
    /// Starts one with a recipe: `cache_key`, or `sorted_set`.
    pub fn start(recipe: &str, site: u16) -> Self {
        let (redis, port) = (Redis::start(), free_port());
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/django");
        let child = Command::new(folder.join(".venv/bin/gunicorn"))
            .args(["--workers", "2", "--worker-class", "gthread", "--threads", "16", "--keep-alive", "60"])
            .args(["--log-level", "warning", "--bind", &format!("127.0.0.1:{port}"), "recipe:application"])
            .envs([("RECIPE", recipe), ("REDIS_PORT", &redis.port.to_string()), ("ORIGIN_PORT", &site.to_string())])
            .current_dir(&folder)
            .spawn();
        let child = child.expect("gunicorn, which `npm run bench` installs");
        eventually(true, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, redis, child }
    }

    /// How long processors have worked for it, and for Redis.
    pub fn worked(&self) -> Duration {
        let id = self.child.id();
        let workers = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let workers = workers.split_whitespace().map(|id| id.parse().unwrap());
        workers.chain([id, self.redis.child.id()]).map(worked).sum()
    }
}

impl Drop for Django {
    fn drop(&mut self) {
        // Its workers end when it is asked to; when it is killed they are nobody's for a while.
        if let Some(id) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
