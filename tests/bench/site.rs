//! The site that all of them stand in front of, so that each does the same work.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::LazyLock;

/// How many bytes its long page has: as many as the page on which WordPress edits a post. It comes in chunks.
const LONG: usize = 320 * 1024;
const CHUNK: usize = 8 * 1024;

static LONG_ANSWER: LazyLock<String> = LazyLock::new(|| {
    let chunk = format!("{CHUNK:x}\r\n{}\r\n", "Words. w".repeat(CHUNK / 8));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ntransfer-encoding: chunked\r\n\r\n";
    format!("{head}{}0\r\n\r\n", chunk.repeat(LONG / CHUNK))
});

/// A site that answers each request with one small page; where it is asked to, with a long one, or it names a user, or tells
/// as much that is nobody's name.
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
        let (mut user, mut tells, mut is_long) = (String::new(), None, false);
        loop {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                first if first.starts_with("GET ") => {
                    is_long = first.contains("?long");
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
        let answer = match is_long {
            true => LONG_ANSWER.clone(),
            false => format!("{head}{}\r\n{page}", told.unwrap_or_default()),
        };
        stream.write_all(answer.as_bytes()).ok()?;
    }
}
