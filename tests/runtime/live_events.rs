//! Who has no WebSocket watches by events.

use crate::harness::*;
use crate::live::{setup, token, touch};
use crate::live_socket::*;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

const ONLINE: &str = "/_presence/v1/online.json";

/// The events of a stream, each as its type, its id and its data.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(server: &Server, query: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let request = format!(
            "GET /_presence/v1/live{query} HTTP/1.1\r\nhost: club\r\naccept: text/event-stream\r\n\
             user-agent: {FIREFOX}\r\ncf-connecting-ip: 10.8.8.8\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.to_lowercase().contains("content-type: text/event-stream\r\n"), "{head}");
        Self(reader)
    }

    fn next(&mut self) -> (String, u64, Value) {
        let (mut kind, mut id) = (String::new(), 0);
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream has ended");
            if let Some(text) = line.strip_prefix("event: ") {
                kind = text.trim().to_owned();
            } else if let Some(text) = line.strip_prefix("id: ") {
                id = text.trim().parse().unwrap();
            } else if let Some(text) = line.strip_prefix("data: ") {
                return (kind, id, serde_json::from_str(text).unwrap());
            }
        }
    }
}

#[test]
fn without_a_websocket_the_same_comes_as_events() {
    let server = setup().start();
    let mut events = Events::open(&server, "", "");
    let (kind, version, state) = events.next();
    assert_eq!((kind.as_str(), &state["users"]), ("state", &json!([])));
    touch(&server, "sally", json!({"path": "/", "title": "two lines"}));
    let (kind, id, diff) = events.next();
    assert_eq!((kind.as_str(), &diff["joins"][0]["id"], &diff["version"]), ("diff", &json!("sally"), &json!(id)));
    assert!(id > version);
    drop(events);
    // Who was cut off hears what they have missed.
    touch(&server, "bob", json!({"path": "/"}));
    eventually(2, || server.ids(ONLINE).len());
    // A stream that was opened with a version is asked for again with the same.
    let mut resumed = Events::open(&server, "?since=1", &format!("last-event-id: {id}\r\n"));
    let (kind, _, diff) = resumed.next();
    assert_eq!((kind.as_str(), &diff["joins"][0]["id"]), ("diff", &json!("bob")));
}

#[test]
fn who_listens_no_more_to_events_has_left() {
    let server = setup().start();
    let mut watcher = Watcher::open(&server, "", &[("cf-connecting-ip", "10.0.0.9")]);
    let mut events = Events::open(&server, &format!("?token={}", token("sally")), "");
    assert_eq!(events.next().2["users"][0]["id"], "sally");
    watcher.until(|watcher| watcher.ids() == ["sally"]);
    drop(events);
    // That the client has gone is noticed when there is something to tell.
    let mut number = 0;
    eventually(false, || {
        number += 1;
        touch(&server, "bob", json!({"path": format!("/{number}")}));
        server.ids(ONLINE).contains(&"sally".to_owned())
    });
    watcher.until(|watcher| watcher.ids() == ["bob"]);
}
