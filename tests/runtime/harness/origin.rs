//! A site for the Worker to stand in front of.

use super::PATIENCE;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

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
