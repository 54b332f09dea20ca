//! Many who watch at once. Each knows only what their own messages say; what follows from the same messages is worked
//! out once for all who got them, or thousands could not be followed.

use crate::harness::*;
use crate::live_socket::{connect, shown};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tungstenite::{Error, Message, Utf8Bytes, WebSocket};

/// So many connections one visitor has at the most.
const OF_ONE: usize = 30;
/// So many open their connections at once.
const AT_ONCE: usize = 16;

/// What somebody knows.
#[derive(Debug, Default, PartialEq)]
pub struct View {
    /// What they have asked for.
    pub query: Rc<str>,
    pub version: u64,
    pub counts: Value,
    /// Users by id; `last_seen` is left out, as it is no news.
    pub users: BTreeMap<Rc<str>, Rc<Value>>,
}

impl View {
    /// Whether it is the same, but for its version: what somebody does not see is no news to them.
    pub fn says(&self, other: &View) -> bool {
        (&self.query, &self.counts, &self.users) == (&other.query, &other.counts, &other.users)
    }
}

/// A message that one of them got.
pub struct Heard {
    pub at: Instant,
    pub bytes: usize,
    /// What it says; the same one for all who got it.
    pub news: Rc<News>,
}

/// What a message says.
pub struct News {
    pub kind: String,
    pub joins: Vec<Rc<str>>,
    pub updates: Vec<Rc<str>>,
    /// What is told of those members, in bytes.
    pub members: usize,
    to: usize,
}

/// All views that there have been, and which message led from one to another.
struct Views {
    views: Vec<View>,
    by_version: HashMap<u64, Vec<usize>>,
    steps: HashMap<(usize, Utf8Bytes), Rc<News>>,
}

struct Watching {
    socket: WebSocket<TcpStream>,
    address: String,
    view: usize,
    /// What it is told first may have come with the answer that opened it, and then nothing is to be seen of it.
    fresh: bool,
    /// With which code and reason the connection was closed.
    closed: Option<(u16, String)>,
}

/// How many may watch a server that is started after this: it has two files open for each of them. As many are allowed
/// from now on as the machine lets us allow.
pub fn most_watchers() -> usize {
    let allowed = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum, ..allowed }).unwrap();
    allowed.maximum.map_or(usize::MAX, |files| (files as usize).saturating_sub(500) / 2)
}

/// Everybody.
pub struct Crowd {
    watching: Vec<Watching>,
    views: Views,
    /// How often somebody was told everything.
    pub states: usize,
    /// So many have one address, and so are one visitor.
    of_one: usize,
}

impl Crowd {
    pub fn new() -> Self {
        let views = Views { views: Vec::new(), by_version: HashMap::new(), steps: HashMap::new() };
        Self { watching: Vec::new(), views, states: 0, of_one: OF_ONE }
    }

    /// The same, of visitors who have one connection each.
    pub fn of_many() -> Self {
        Self { of_one: 1, ..Self::new() }
    }

    pub fn len(&self) -> usize {
        self.watching.len()
    }

    /// Opens so many connections more.
    pub fn open(&mut self, server: &Server, count: usize, query: &str) {
        let first = self.len();
        let address = |number: usize| {
            let visitor = number / self.of_one;
            format!("10.{}.{}.{}", 100 + visitor / 62_500, visitor / 250 % 250, visitor % 250)
        };
        self.views.views.push(View { query: Rc::from(query), ..View::default() });
        let view = self.views.views.len() - 1;
        let wanted: Vec<_> = (first..first + count).map(|number| (address(number), query.to_owned(), view)).collect();
        self.connect(server, &wanted);
    }

    /// Connects all again that were cut off; each goes on where they were.
    pub fn resume(&mut self, server: &Server) {
        let again = |one: Watching| {
            let View { query, version, .. } = &self.views.views[one.view];
            (one.address, format!("{query}&since={version}"), one.view)
        };
        let wanted: Vec<_> = std::mem::take(&mut self.watching).into_iter().map(again).collect();
        self.connect(server, &wanted);
    }

    /// Opens connections, several at once, while those who are there already go on listening. Each has an address, a
    /// query, and a view to begin with.
    fn connect(&mut self, server: &Server, wanted: &[(String, String, usize)]) {
        let one = |(address, query, view): &(String, String, usize)| {
            let socket = connect(server, query, &[("cf-connecting-ip", address)]);
            let socket = socket.unwrap_or_else(|status| panic!("refused with {status}"));
            socket.get_ref().set_nonblocking(true).unwrap();
            Watching { socket, address: address.clone(), view: *view, fresh: true, closed: None }
        };
        for some in wanted.chunks(AT_ONCE) {
            let opened: Vec<_> = std::thread::scope(|scope| {
                let all: Vec<_> = some.iter().map(|some| scope.spawn(|| one(some))).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            self.watching.extend(opened);
            self.hear(Duration::ZERO);
        }
    }

    /// Takes in what has come, or comes within that time.
    pub fn hear(&mut self, patience: Duration) -> Vec<Heard> {
        let mut ready: Vec<_> = self
            .watching
            .iter()
            .map(|one| {
                PollFd::new(one.socket.get_ref(), if one.closed.is_none() { PollFlags::IN } else { PollFlags::empty() })
            })
            .collect();
        let patience = Timespec::try_from(patience).unwrap();
        poll(&mut ready, Some(&patience)).unwrap();
        let ready: Vec<_> = ready.iter().map(|one| !one.revents().is_empty()).collect();
        let mut heard = Vec::new();
        let of_news = |(one, ready): &(&mut Watching, bool)| (*ready || one.fresh) && one.closed.is_none();
        for (one, _) in self.watching.iter_mut().zip(ready).filter(of_news) {
            one.fresh = false;
            one.hear(&mut self.views, &mut heard);
        }
        self.states += heard.iter().filter(|heard| heard.news.kind == "state").count();
        heard
    }

    /// Says something to the server, each in turn.
    pub fn say(&mut self, what: impl Fn(usize) -> String) {
        for (number, one) in self.watching.iter_mut().enumerate() {
            match one.socket.send(Message::text(what(number))) {
                Ok(()) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// What each of them knows.
    pub fn views(&self) -> impl Iterator<Item = &View> {
        self.watching.iter().map(|one| &self.views.views[one.view])
    }

    /// All that any of them has known as of a version.
    pub fn of_version(&self, version: u64) -> impl Iterator<Item = &View> {
        self.views.by_version.get(&version).into_iter().flatten().map(|view| &self.views.views[*view])
    }

    /// With which code and reason connections were closed.
    pub fn closed(&self) -> Vec<&(u16, String)> {
        self.watching.iter().filter_map(|one| one.closed.as_ref()).collect()
    }

    /// Hears until each of those who asked for that knows what is so.
    pub fn converge(&mut self, query: &str, truth: impl Fn() -> View) {
        let start = Instant::now();
        loop {
            let truth = truth();
            let wrong = |view: &&View| &*view.query == query && !view.says(&truth);
            let Some(view) = self.views().find(wrong) else { return };
            assert!(start.elapsed() < Duration::from_secs(60), "closed: {:?}, {view:?}, {truth:?}", self.closed());
            self.hear(Duration::from_millis(50));
        }
    }
}

impl Watching {
    fn hear(&mut self, views: &mut Views, heard: &mut Vec<Heard>) {
        loop {
            let text = match self.socket.read() {
                Ok(Message::Text(text)) if text.as_str() == "pong" => continue,
                Ok(Message::Text(text)) => text,
                Ok(Message::Close(frame)) => {
                    let frame = frame.map(|frame| (u16::from(frame.code), frame.reason.to_string()));
                    self.closed = Some(frame.unwrap_or((1005, String::new())));
                    return;
                }
                Ok(other) => panic!("no message: {other:?}"),
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.closed = Some((1006, error.to_string()));
                    return;
                }
            };
            let (at, bytes) = (Instant::now(), text.len());
            let news = views.step(self.view, text);
            self.view = news.to;
            heard.push(Heard { at, bytes, news });
        }
    }
}

impl Views {
    /// What a message says to somebody who knows that.
    fn step(&mut self, from: usize, text: Utf8Bytes) -> Rc<News> {
        let key = (from, text);
        if let Some(news) = self.steps.get(&key) {
            return news.clone();
        }
        let message: Value = serde_json::from_str(&key.1).unwrap();
        let news = Rc::new(self.read(from, &message));
        self.steps.insert(key, news.clone());
        news
    }

    fn read(&mut self, from: usize, message: &Value) -> News {
        let list = |name: &str| message[name].as_array().into_iter().flatten();
        let member = |user: &Value| (Rc::from(user["id"].as_str().unwrap()), Rc::new(shown(user)));
        let kind = message["type"].as_str().unwrap().to_owned();
        let before = &self.views[from];
        let mut users = before.users.clone();
        let (mut joins, mut updates, mut members) = (Vec::new(), Vec::new(), 0);
        if kind == "state" {
            users = list("users").map(member).collect();
        }
        for user in list("joins") {
            let (id, user_shown): (Rc<str>, _) = member(user);
            assert!(users.insert(id.clone(), user_shown).is_none(), "{id} has joined already: {message}");
            joins.push(id);
            members += user.to_string().len();
        }
        for user in list("updates") {
            let (id, user_shown) = member(user);
            users.insert(id.clone(), user_shown);
            updates.push(id);
            members += user.to_string().len();
        }
        for id in list("leaves") {
            users.remove(id.as_str().unwrap());
        }
        let version = message["version"].as_u64().unwrap();
        assert!(version >= before.version, "{} and then {message}", before.version);
        let query = before.query.clone();
        let view = View { query, version, counts: message["counts"].clone(), users };
        let known = self.by_version.entry(version).or_default();
        let to = known.iter().copied().find(|known| self.views[*known] == view).unwrap_or_else(|| {
            self.views.push(view);
            known.push(self.views.len() - 1);
            self.views.len() - 1
        });
        News { kind, joins, updates, members, to }
    }
}
