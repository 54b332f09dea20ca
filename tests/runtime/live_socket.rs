//! Somebody who watches over a WebSocket, and knows what they were told alone.

use crate::harness::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::{Message, WebSocket};

const LIVE: &str = "/_presence/v1/live";

pub struct Watcher {
    pub socket: WebSocket<TcpStream>,
    pub users: BTreeMap<String, Value>,
    pub counts: Value,
    pub version: u64,
    /// What was told, in order: the types of the messages.
    pub told: Vec<String>,
}

impl Watcher {
    /// Opens a socket with a query and headers, and waits for how things are.
    pub fn open(server: &Server, query: &str, headers: &[(&str, &str)]) -> Self {
        let socket = connect(server, query, headers);
        let mut watcher = Self::of(socket.unwrap_or_else(|status| panic!("refused with {status}")));
        watcher.hear();
        watcher
    }

    /// Somebody with a socket who knows nothing yet.
    pub fn of(socket: WebSocket<TcpStream>) -> Self {
        Self { socket, users: BTreeMap::new(), counts: Value::Null, version: 0, told: Vec::new() }
    }

    /// A message, taken in.
    pub fn hear(&mut self) -> Value {
        let message = self.message();
        self.take(&message);
        message
    }

    /// The next message, as it is.
    pub fn message(&mut self) -> Value {
        match self.socket.read().unwrap_or_else(|error| panic!("{error} after {:?} {}", self.users, self.counts)) {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("no message: {other:?}"),
        }
    }

    /// With which code and reason it is closed, whatever is said before.
    pub fn closed(mut self) -> (u16, String) {
        loop {
            match self.socket.read() {
                Ok(Message::Close(Some(frame))) => return (frame.code.into(), frame.reason.to_string()),
                Ok(_) => {}
                Err(error) => panic!("not closed with a reason: {error}"),
            }
        }
    }

    pub fn say(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    /// Renews its lease, and waits until that is answered; what it is told meanwhile is left unread.
    pub fn ping(&mut self) {
        self.socket.send(Message::text("ping")).unwrap();
        while self.socket.read().unwrap().to_text().unwrap() != "pong" {}
    }

    /// Hears until that holds.
    pub fn until(&mut self, mut holds: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < Duration::from_secs(30), "still {:?} {}", self.users, self.counts);
            self.hear();
        }
    }

    /// The ids of those that it shows.
    pub fn ids(&self) -> Vec<&str> {
        self.users.keys().map(String::as_str).collect()
    }

    /// Hears until it shows what is so.
    pub fn converge(&mut self, server: &Server) {
        let truth = |server: &Server| {
            // An object that was silent is not asked again at once.
            let mut online = json!(null);
            eventually(false, || {
                online = server.json("/_presence/v1/online.json?limit=1000");
                online["partial"] == true
            });
            let users = online["users"].as_array().unwrap().iter();
            (users.map(|user| (text(&user["id"]), shown(user))).collect::<BTreeMap<_, _>>(), online["counts"].clone())
        };
        let start = Instant::now();
        loop {
            let own = self.users.iter().map(|(id, user)| (id.clone(), shown(user))).collect::<BTreeMap<_, _>>();
            let truth = truth(server);
            if (&own, &self.counts) == (&truth.0, &truth.1) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{own:?} {} is not {truth:?}", self.counts);
            self.hear();
        }
    }

    /// Hears until it shows how many there are.
    pub fn converge_counts(&mut self, server: &Server) {
        let mut truth = server.json("/_presence/v1/online.json?limit=0");
        while self.counts != truth["counts"] {
            self.hear();
            truth = server.json("/_presence/v1/online.json?limit=0");
        }
    }

    fn take(&mut self, message: &Value) {
        let list = |name: &str| message[name].as_array().cloned().unwrap_or_default();
        let version = message["version"].as_u64().expect("a version");
        assert!(version >= self.version, "{message}");
        (self.version, self.counts) = (version, message["counts"].clone());
        self.told.push(text(&message["type"]));
        match message["type"].as_str() {
            Some("state") => self.users = list("users").into_iter().map(|user| (text(&user["id"]), user)).collect(),
            Some("diff") => {
                for user in list("joins") {
                    assert!(self.users.insert(text(&user["id"]), user).is_none(), "{message}");
                }
                for user in list("updates") {
                    self.users.insert(text(&user["id"]), user);
                }
                list("leaves").iter().for_each(|id| drop(self.users.remove(id.as_str().unwrap())));
            }
            other => panic!("a message of type {other:?}"),
        }
    }
}

/// A socket, or the status of the refusal.
pub fn connect(server: &Server, query: &str, headers: &[(&str, &str)]) -> Result<WebSocket<TcpStream>, u16> {
    let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut request = format!("ws://127.0.0.1:{}{LIVE}{query}", server.port).into_client_request().unwrap();
    let own = [("cf-connecting-ip", "10.8.8.8"), ("user-agent", FIREFOX)];
    for (name, value) in own.iter().chain(headers) {
        let name = HeaderName::try_from(*name).unwrap();
        request.headers_mut().insert(name, HeaderValue::try_from(*value).unwrap());
    }
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => Err(answer.status().as_u16()),
        Err(error) => panic!("no answer: {error}"),
    }
}

/// What is told of a user, but for when they were touched last.
pub fn shown(user: &Value) -> Value {
    let mut user = user.clone();
    user["last_seen"] = json!(null);
    user
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
