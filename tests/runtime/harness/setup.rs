//! How a Worker is set up, and what `workerd` is told of that.

use super::origin::Origin;
use super::server::Server;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

/// Which build of the Worker.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Build {
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
    pub(super) build: Build,
    objects: Vec<(&'static str, &'static str, &'static str)>,
    vars: BTreeMap<String, String>,
    outbound: Option<u16>,
    pub(super) socket: Option<Arc<TcpListener>>,
    pub(super) beside: Option<&'static str>,
    pub(super) timed: bool,
}

/// What a test looks at: where people are, and guests one by one. A site's own default keeps these from strangers.
const OPEN: &str = r#"{"locations": "public", "guests": "public"}"#;

impl Setup {
    /// The shipped build with nothing configured but that everybody may see where people are, and guests; `ACCESS` set to nothing
    /// gives the default back.
    pub fn new() -> Self {
        let (objects, vars) = (OBJECTS.to_vec(), [("ACCESS".into(), OPEN.into())].into());
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

    pub(super) fn capnp(&self, storage: &Path) -> String {
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
