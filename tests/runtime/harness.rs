//! Servers to test against: the Worker itself, and a site for it to stand in front of.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0";
const PATIENCE: Duration = Duration::from_secs(30);

/// Which build of the Worker.
#[derive(Clone, Copy, PartialEq)]
pub enum Build {
    /// The one that ships.
    Shipped,
    /// The one whose clock a test can set, and in which it can make things go wrong.
    TestHooks,
    /// Another Worker: a script of one file.
    Script(&'static str),
}

/// The Worker's objects: their bindings, classes and keys.
const OBJECTS: [(&str, &str, &str); 4] = [
    ("PRESENCE", "PresenceObject", "presence"),
    ("RELAYS", "RelayObject", "relays"),
    ("LOGINS", "LoginObject", "logins"),
    ("ACCOUNTS", "AccountObject", "accounts"),
];

/// How a Worker is set up.
#[derive(Clone)]
pub struct Setup {
    build: Build,
    objects: Vec<(&'static str, &'static str, &'static str)>,
    vars: BTreeMap<String, String>,
    outbound: Option<u16>,
    socket: Option<Arc<TcpListener>>,
    beside: Option<&'static str>,
    timed: bool,
}

impl Setup {
    /// The shipped build with nothing configured.
    pub fn new() -> Self {
        let (objects, vars) = (OBJECTS.to_vec(), BTreeMap::new());
        Self { build: Build::Shipped, objects, vars, outbound: None, socket: None, beside: None, timed: false }
    }

    /// The build with the test hooks.
    pub fn hooked() -> Self {
        Self { build: Build::TestHooks, ..Self::new() }
    }

    /// Another Worker, from a script under the project's root.
    #[allow(dead_code, reason = "the bench compares with some")]
    pub fn script(path: &'static str) -> Self {
        Self { build: Build::Script(path), objects: Vec::new(), ..Self::new() }
    }

    /// With objects of a class, by the name of their binding.
    #[allow(dead_code, reason = "the bench compares with some")]
    pub fn object(mut self, binding: &'static str, class: &'static str) -> Self {
        self.objects.push((binding, class, binding));
        self
    }

    /// With a variable.
    pub fn var(mut self, name: &str, value: &str) -> Self {
        self.vars.insert(name.into(), value.into());
        self
    }

    /// In front of a site, by its address.
    pub fn before(self, origin: &Origin) -> Self {
        let url = format!("http://127.0.0.1:{}", origin.port);
        self.var("ORIGIN", &url)
    }

    /// In front of a site, as on a route: whatever the Worker fetches comes from there.
    pub fn on_route_of(mut self, origin: &Origin) -> Self {
        self.outbound = Some(origin.port);
        self.var("ORIGIN", "route")
    }

    /// At an address that is known before it starts, and that it keeps when it is started again.
    pub fn at(mut self, socket: TcpListener) -> Self {
        self.socket = Some(Arc::new(socket));
        self
    }

    /// With another Worker beside it, from a script under the project's root, that has the same objects.
    #[allow(dead_code, reason = "the bench drives objects by one")]
    pub fn beside(mut self, path: &'static str) -> Self {
        self.beside = Some(path);
        self
    }

    /// With timers that go by the clock that a test sets, as the rest of the build with the test hooks does.
    #[allow(dead_code, reason = "the bench sets no clock")]
    pub fn timed(mut self) -> Self {
        self.timed = true;
        self
    }

    /// Starts it.
    pub fn start(self) -> Server {
        let home = tempfile::tempdir().expect("a directory for the server");
        Server::start(self, home)
    }

    fn capnp(&self, storage: &Path) -> String {
        let mut bindings: Vec<_> =
            self.vars.iter().map(|(name, value)| format!("(name = {name:?}, text = {value:?})")).collect();
        let mut modules = r#"(name = "index.js", esModule = embed "index.js")"#.to_owned();
        let mut objects = String::new();
        if self.timed {
            modules = format!(r#"(name = "timers.js", esModule = embed "timers.js"), {modules}"#);
        }
        if !matches!(self.build, Build::Script(_)) {
            modules += r#", (name = "./index_bg.wasm", wasm = embed "index_bg.wasm")"#;
        }
        for (binding, class, key) in &self.objects {
            objects += &format!("(className = {class:?}, uniqueKey = {key:?}, enableSql = true), ");
            bindings.push(format!("(name = {binding:?}, durableObjectNamespace = {class:?})"));
        }
        let bindings = bindings.join(", ");
        let binding = |(binding, class, _): &(&str, &str, &str)| {
            format!("(name = {binding:?}, durableObjectNamespace = (className = {class:?}, serviceName = \"main\"))")
        };
        let shared: Vec<_> = self.objects.iter().map(binding).collect();
        let (other, socket, beside) = match self.beside {
            Some(_) => (
                r#", (name = "beside", worker = .beside)"#,
                r#", (name = "beside", address = "127.0.0.1:0", http = (), service = "beside")"#,
                format!(
                    r#"const beside :Workerd.Worker = (
  modules = [(name = "beside.js", esModule = embed "beside.js")],
  compatibilityDate = "2026-10-01",
  bindings = [{}],
);
"#,
                    shared.join(", ")
                ),
            ),
            None => ("", "", String::new()),
        };
        let (outbound, service) = match self.outbound {
            Some(port) => (
                "globalOutbound = \"site\",",
                format!(", (name = \"site\", external = (address = \"127.0.0.1:{port}\", http = ()))"),
            ),
            None => ("", ", (name = \"internet\", network = (allow = [\"public\", \"private\"]))".to_owned()),
        };
        format!(
            r#"using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .worker), (name = "disk", disk = (path = {storage:?}, writable = true)){service}{other}],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (forwardedProtoHeader = "x-test-proto"), service = "main"){socket}],
);
{beside}const worker :Workerd.Worker = (
  modules = [{modules}],
  compatibilityDate = "2026-10-01",
  compatibilityFlags = ["enable_request_signal"],
  durableObjectNamespaces = [{objects}],
  durableObjectStorage = (localDisk = "disk"), {outbound}
  bindings = [{bindings}],
);
"#
        )
    }
}

/// How long processors have worked for a process.
#[allow(dead_code, reason = "the bench wants to know")]
pub fn worked(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // After the name, which stands in parentheses: user and system time are the 12th and 13th, in hundredths of a second
    // (proc_pid_stat(5)).
    let fields = stat.rsplit_once(')').unwrap().1.split(' ').skip(12).take(2);
    fields.map(|field| Duration::from_millis(10 * field.parse::<u64>().unwrap())).sum()
}

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
    fn start(setup: Setup, home: TempDir) -> Self {
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

/// A request in the making.
#[derive(Clone)]
pub struct Client<'a> {
    server: &'a Server,
    headers: Vec<(String, String)>,
}

impl Client<'_> {
    /// With a header, in place of any other of that name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    /// As if the request had come over https.
    #[allow(dead_code, reason = "the bench needs none")]
    pub fn https(self) -> Self {
        self.with("x-test-proto", "https")
    }

    /// As a browser asks for a document.
    pub fn document(self) -> Self {
        self.with("accept", "text/html,application/xhtml+xml").with("sec-fetch-dest", "document")
    }

    /// A header as it will be sent.
    #[allow(dead_code, reason = "the bench does not ask")]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, Some(body.as_bytes()))
    }

    pub fn touch(&self, body: &str) -> Answer {
        self.post("/_presence/v1/touch", body)
    }

    pub fn send(&self, method: &str, path: &str, body: Option<&[u8]>) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .allow_non_standard_methods(true)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let mut request = ureq::http::Request::builder().method(method).uri(self.server.url(path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = match body {
            Some(body) => agent.run(request.body(body).unwrap()),
            None => agent.run(request.body(()).unwrap()),
        };
        let mut response = response.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
        Answer { status, headers, body }
    }
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The cookie that it sets, as a browser would send it back.
    pub fn cookie(&self) -> Option<String> {
        let set = self.all("set-cookie").into_iter().find(|cookie| cookie.contains("presence="))?;
        Some(set.split(';').next().unwrap().to_owned())
    }

    /// Checks that it is a problem of a status, and gives its detail.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(!problem["title"].as_str().unwrap().is_empty());
        problem["detail"].as_str().unwrap().to_owned()
    }
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

/// A request as the site behind the Worker gets it.
#[derive(Clone, Debug)]
pub struct SiteRequest {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl SiteRequest {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

type Serve = dyn Fn(&SiteRequest, &mut TcpStream) + Send + Sync;

/// A site for the Worker to stand in front of. It answers as a test says, to the byte.
pub struct Origin {
    pub port: u16,
    seen: Arc<Mutex<Vec<SiteRequest>>>,
}

impl Origin {
    /// A site that answers each request with headers of its own, and a page.
    pub fn with_headers(headers: impl Fn(&SiteRequest) -> String + Send + Sync + 'static) -> Self {
        Self::serving(move |request, stream| {
            let head = headers(request);
            let body = "<h1>A page</h1>";
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n{head}Connection: close\r\n\r\n{body}",
                body.len()
            );
        })
    }

    /// A site that does as it is told with each connection.
    pub fn serving(serve: impl Fn(&SiteRequest, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, serve): (_, Arc<Serve>) = (seen.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, serve) = (log.clone(), serve.clone());
                std::thread::spawn(move || one_request(stream, &log, &*serve));
            }
        });
        Self { port, seen }
    }

    /// The requests that it got.
    pub fn seen(&self) -> Vec<SiteRequest> {
        self.seen.lock().unwrap().clone()
    }
}

fn one_request(mut stream: TcpStream, log: &Mutex<Vec<SiteRequest>>, serve: &Serve) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.trim_end().split_once(':') {
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    let mut request = SiteRequest { method, target, headers, body: Vec::new() };
    if let Some(length) = request.header("content-length").and_then(|length| length.parse().ok()) {
        request.body = vec![0; length];
        let _ = reader.read_exact(&mut request.body);
    } else if request.header("transfer-encoding").is_some() {
        request.body = read_chunks(&mut reader);
    }
    log.lock().unwrap().push(request.clone());
    serve(&request, &mut stream);
}

fn read_chunks(reader: &mut impl BufRead) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        let size = match reader.read_line(&mut line) {
            Ok(read) if read > 0 => usize::from_str_radix(line.trim(), 16).unwrap_or(0),
            _ => 0,
        };
        let mut chunk = vec![0; size + 2];
        if size == 0 || reader.read_exact(&mut chunk).is_err() {
            return body;
        }
        body.extend(&chunk[..size]);
    }
}
