//! The site that all of them stand in front of, so that each does the same work.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// A site that answers each request with one small page; where it is asked to, it names a user, or tells as much that is
/// nobody's name.
pub fn start() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

fn serve(mut stream: TcpStream) -> Option<()> {
    let page = format!("<!doctype html><title>A page</title><p>{}</p>", "Words. ".repeat(300));
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n", page.len());
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    loop {
        let (mut user, mut tells) = (String::new(), None);
        loop {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                first if first.starts_with("GET ") => {
                    tells = [("?user", "x-presence"), ("?else", "x-whatever")]
                        .into_iter()
                        .find(|(query, _)| first.contains(query));
                }
                header => user = header.strip_prefix("x-user: ").map_or(user, str::to_owned),
            }
        }
        let told = tells.map(|(_, name)| {
            format!("{name}-user: user-{user}\r\n{name}-name: A%20Visitor\r\ncache-control: private\r\n")
        });
        let answer = format!("{head}{}\r\n{page}", told.unwrap_or_default());
        stream.write_all(answer.as_bytes()).ok()?;
    }
}
