//! A small real Django site (`tests/django`), the Worker in front of it, and browsers.

use crate::harness::*;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const SITE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/django");
pub const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/django/.venv/bin/python");
pub const ONLINE: &str = "/_presence/v1/online.json";
/// By which the site is known to the Worker.
const ADMIN: &str = "only-for-tests-of-the-club";

/// The site, and the Worker in front of it.
pub fn site() -> (Django, Server) {
    site_behind(Setup::new())
}

/// The same with a Worker set up in some way. Each has to know where the other is before it starts: the Worker's
/// socket is there first.
pub fn site_behind(setup: Setup) -> (Django, Server) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let worker = format!("http://127.0.0.1:{}", socket.local_addr().unwrap().port());
    let django = Django::start(&worker);
    let server = setup.at(socket).var("ORIGIN", &django.url("")).var("ADMIN_TOKEN", ADMIN).start();
    let seeded = django.python(&["manage.py", "seed"]).status().expect("Python starts");
    assert!(seeded.success(), "the database was not made: {}", django.log());
    (django, server)
}

pub fn counts(server: &Server) -> Value {
    server.json(ONLINE)["counts"].clone()
}

/// Somebody who has the admin token.
pub fn admin(server: &Server) -> Client<'_> {
    server.by("10.0.0.99").with("authorization", &format!("Bearer {ADMIN}"))
}

/// The Django site, with a database of its own.
pub struct Django {
    worker: String,
    home: TempDir,
    served: Child,
    port: u16,
}

impl Django {
    fn start(worker: &str) -> Self {
        assert!(Path::new(PYTHON).is_file(), "{PYTHON} is missing: run `npm test`, which installs it");
        let home = tempfile::tempdir().unwrap();
        // Port 0 is a free one, which it then tells. Without the reloader there is one process to end.
        let serve = ["manage.py", "runserver", "--noreload", "--skip-checks", "127.0.0.1:0"];
        let served = python(&serve, worker, &home).spawn().expect("Python starts");
        let mut django = Self { worker: worker.to_owned(), home, served, port: 0 };
        django.port = told_port(&mut django.served, &django.home, "development server");
        django
    }

    /// A Python that knows of the site and of the Worker.
    pub fn python(&self, arguments: &[&str]) -> Command {
        python(arguments, &self.worker, &self.home)
    }

    /// Runs a program there, and gives what it prints.
    pub fn run(&self, arguments: &[&str]) -> String {
        let done = self.python(arguments).stdout(Stdio::piped()).output().expect("Python starts");
        assert!(done.status.success(), "{arguments:?} failed");
        String::from_utf8(done.stdout).unwrap()
    }

    /// The other application, of the same users.
    pub fn wiki(&self) -> Wiki {
        let mut served = self.python(&["wiki.py"]).spawn().expect("Python starts");
        let port = told_port(&mut served, &self.home, "wiki is");
        Wiki { served, port }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it answers when nobody stands in front of it.
    pub fn get(&self, path: &str) -> Answer {
        get(&self.url(path), "")
    }

    fn log(&self) -> String {
        log(&self.home)
    }
}

impl Drop for Django {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the site's log:\n{}", self.log());
        }
        let _ = self.served.kill();
        let _ = self.served.wait();
    }
}

/// Another application on the same host.
pub struct Wiki {
    served: Child,
    port: u16,
}

impl Wiki {
    /// What it says to somebody.
    pub fn greets(&self, browser: &Browser) -> String {
        get(&format!("http://127.0.0.1:{}/", self.port), &browser.cookie_header()).text()
    }
}

impl Drop for Wiki {
    fn drop(&mut self) {
        let _ = self.served.kill();
        let _ = self.served.wait();
    }
}

fn python(arguments: &[&str], worker: &str, home: &TempDir) -> Command {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(home.path().join("log")).unwrap();
    let mut command = Command::new(PYTHON);
    command.args(["-B", "-u"]).args(arguments).current_dir(SITE);
    command.env("CLUB_DATABASE", home.path().join("club.sqlite3"));
    command.env("PRESENCE_URL", format!("{worker}/_presence")).env("PRESENCE_ADMIN_TOKEN", ADMIN);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command
}

fn log(home: &TempDir) -> String {
    std::fs::read_to_string(home.path().join("log")).unwrap_or_default()
}

/// The port that a server tells in the log when it is ready.
fn told_port(served: &mut Child, home: &TempDir, who: &str) -> u16 {
    let told = || {
        let (log, start) = (log(home), format!("{who} at http://127.0.0.1:"));
        let (_, rest) = log.split_once(&start)?;
        rest.split_once('/')?.0.parse().ok()
    };
    eventually(true, || {
        assert_eq!(served.try_wait().unwrap(), None, "it has ended: {}", log(home));
        told().is_some()
    });
    told().unwrap()
}

fn get(url: &str, cookies: &str) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    let mut response = agent.get(url).header("cookie", cookies).call().unwrap();
    let text = |value: &ureq::http::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let status = response.status().as_u16();
    Answer { status, headers, body: response.body_mut().read_to_vec().unwrap() }
}

/// Somebody's browser: it keeps cookies, and sends forms as they were served.
pub struct Browser {
    address: &'static str,
    jar: RefCell<BTreeMap<String, String>>,
}

impl Browser {
    pub fn at(address: &'static str) -> Self {
        Self { address, jar: RefCell::default() }
    }

    pub fn client<'a>(&self, server: &'a Server) -> Client<'a> {
        server.by(self.address).with("cookie", &self.cookie_header())
    }

    pub fn open(&self, server: &Server, path: &str) -> Answer {
        self.take_cookies(self.client(server).document().get(path))
    }

    /// Opens a page and sends the form on it.
    pub fn submit(&self, server: &Server, page: &str, action: &str, fields: &str) -> Answer {
        let page = self.open(server, page).text();
        let (_, rest) = page.split_once(r#"name="csrfmiddlewaretoken" value=""#).expect("a form");
        let (token, _) = rest.split_once('"').unwrap();
        let form = self.client(server).document().with("origin", &server.url(""));
        let form = form.with("content-type", "application/x-www-form-urlencoded");
        self.take_cookies(form.post(action, &format!("csrfmiddlewaretoken={token}&{fields}")))
    }

    pub fn try_to_log_in(&self, server: &Server, user: &str) -> Answer {
        self.submit(server, "/login/", "/login/", &format!("username={user}&password={user}-secret"))
    }

    pub fn log_in(&self, server: &Server, user: &str) -> Answer {
        let answer = self.try_to_log_in(server, user);
        assert_eq!((answer.status, answer.header("location")), (302, Some("/")), "{}", answer.text());
        answer
    }

    pub fn log_out(&self, server: &Server) -> Answer {
        self.submit(server, "/", "/logout/", "")
    }

    fn take_cookies(&self, answer: Answer) -> Answer {
        for set in answer.all("set-cookie") {
            let (pair, attributes) = set.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.to_ascii_lowercase().contains("max-age=0") {
                self.forget(name);
            } else {
                self.set(name, value);
            }
        }
        answer
    }

    pub fn set(&self, name: &str, value: &str) {
        self.jar.borrow_mut().insert(name.to_owned(), value.to_owned());
    }

    pub fn forget(&self, name: &str) {
        self.jar.borrow_mut().remove(name);
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> String {
        self.jar.borrow().get(name).unwrap_or_else(|| panic!("no cookie {name}")).clone()
    }

    /// The names of its cookies.
    pub fn cookies(&self) -> Vec<String> {
        self.jar.borrow().keys().cloned().collect()
    }

    fn cookie_header(&self) -> String {
        let cookies: Vec<_> = self.jar.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect();
        cookies.join("; ")
    }
}
