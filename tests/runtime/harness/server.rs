//! A Worker that runs on a `workerd` of its own, and can be killed and started again.

use super::client::Client;
use super::setup::{Build, Setup};
use super::{FIREFOX, PATIENCE, worked};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A Worker that runs.
pub struct Server {
    pub port: u16,
    /// The port of the one beside it.
    #[allow(dead_code, reason = "the bench drives objects by one")]
    pub beside: Option<u16>,
    setup: Setup,
    home: TempDir,
    child: Child,
}

impl Server {
    pub(super) fn start(setup: Setup, home: TempDir) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let built = match setup.build {
            Build::Shipped => vec!["build/index.js", "build/index_bg.wasm"],
            Build::TestHooks => vec!["build-test/index.js", "build-test/index_bg.wasm"],
            Build::Script(path) => vec![path],
        };
        for (file, name) in built.into_iter().zip(["index.js", "index_bg.wasm"]) {
            assert!(root.join(file).is_file(), "{file} is missing: run `npm run build`, or `npm test`");
            let _ = symlink(root.join(file), home.path().join(name));
        }
        if setup.timed {
            let _ = symlink(root.join("tests/runtime/timers.js"), home.path().join("timers.js"));
        }
        if let Some(path) = setup.beside {
            let _ = symlink(root.join(path), home.path().join("beside.js"));
        }
        let storage = home.path().join("storage");
        std::fs::create_dir_all(&storage).unwrap();
        std::fs::write(home.path().join("config.capnp"), setup.capnp(&storage)).unwrap();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(home.path().join("log")).unwrap();
        let mut command = Command::new(workerd(root));
        command.args(["serve", "--control-fd=1", "config.capnp"]).current_dir(home.path());
        if let Some(socket) = &setup.socket {
            command.arg("--socket-fd=http=0").stdin(OwnedFd::from(socket.try_clone().unwrap()));
        }
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("workerd starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut ports = BTreeMap::new();
        while ports.len() < 1 + usize::from(setup.beside.is_some()) {
            let line = lines.next().map_or_else(String::new, Result::unwrap);
            let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
                panic!("workerd did not start: {}", std::fs::read_to_string(home.path().join("log")).unwrap())
            });
            ports.extend(told["socket"].as_str().map(|name| (name.to_owned(), told["port"].as_u64().unwrap() as u16)));
        }
        Self { port: ports["http"], beside: ports.get("beside").copied(), setup, home, child }
    }

    /// Kills it at once, as a power cut would, and starts it again with the same storage.
    pub fn kill_and_restart(mut self) -> Self {
        self.power_cut();
        self
    }

    /// The same where it stands.
    pub fn power_cut(&mut self) {
        self.stop();
        let home = std::mem::replace(&mut self.home, tempfile::tempdir().unwrap());
        *self = Self::start(self.setup.clone(), home);
    }

    /// The same, with something done to its storage in between.
    pub fn kill_and_restart_after(mut self, work: impl FnOnce(&Path)) -> Self {
        self.stop();
        work(&self.storage());
        self.kill_and_restart()
    }

    /// The same with another set-up.
    pub fn kill_and_restart_as(mut self, setup: Setup) -> Self {
        self.setup = setup;
        self.kill_and_restart()
    }

    fn stop(&mut self) {
        // SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Where its storage is.
    pub fn storage(&self) -> PathBuf {
        self.home.path().join("storage")
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    /// How often the object that keeps the presence was built: at first, and when it woke from sleep. Known of the build
    /// with the test hooks alone.
    pub fn built(&self) -> usize {
        self.log().matches("the presence object is built").count()
    }

    /// The memory that it holds, in bytes.
    #[allow(dead_code, reason = "the bench wants to know")]
    pub fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim_end_matches("kB").trim().parse::<usize>().unwrap() * 1024
    }

    /// How long processors have worked for it.
    #[allow(dead_code, reason = "the bench wants to know")]
    pub fn worked(&self) -> Duration {
        worked(self.child.id())
    }

    /// How many bytes the wasm's memory has. Known of the build with the test hooks alone, as of when a request asked for
    /// the fault `memory`.
    #[allow(dead_code, reason = "the bench looks from outside")]
    pub fn wasm_memory(&self) -> usize {
        let log = self.log();
        let told = log.lines().filter_map(|line| line.split_once("bytes of memory: ")).next_back();
        told.and_then(|(_, bytes)| bytes.trim().parse().ok()).expect("the log tells it")
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// A request by somebody with a browser and an address of their own.
    pub fn by(&self, address: &str) -> Client<'_> {
        let headers = vec![("cf-connecting-ip".into(), address.into()), ("user-agent".into(), FIREFOX.into())];
        Client { server: self, headers }
    }

    /// A read, as JSON.
    pub fn json(&self, path: &str) -> Value {
        let answer = self.by("10.9.9.9").get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// The ids of a list.
    pub fn ids(&self, path: &str) -> Vec<String> {
        let list = self.json(path);
        list["users"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The pages with somebody on them, most first.
    #[allow(dead_code, reason = "the bench does not ask")]
    pub fn pages(&self) -> Vec<String> {
        let list = self.json("/_presence/v1/pages.json");
        list["pages"].as_array().unwrap().iter().map(|page| page["path"].as_str().unwrap().to_owned()).collect()
    }

    /// Bytes as they are, on a connection of their own; the answer as it is.
    pub fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// The same for a request that is never finished: the beginning of the answer.
    pub fn raw_begin(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = [0; 512];
        let read = stream.read(&mut answer).unwrap_or(0);
        String::from_utf8_lossy(&answer[..read]).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
        self.stop();
    }
}

fn workerd(root: &Path) -> PathBuf {
    let packages = root.join("node_modules/@cloudflare");
    let found =
        std::fs::read_dir(&packages).ok().into_iter().flatten().flatten().map(|entry| entry.path().join("bin/workerd"));
    found
        .into_iter()
        .find(|path| path.is_file() && path.to_string_lossy().contains("workerd-"))
        .unwrap_or_else(|| panic!("there is no workerd in {}: run `npm test`, which installs it", packages.display()))
}
