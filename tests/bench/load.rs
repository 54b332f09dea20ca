//! A load: connections that are kept alive, each of which asks again as soon as it is answered.

use crate::harness::FIREFOX;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What came of it.
pub struct Load {
    /// Answers other than 200.
    pub refused: usize,
    /// Answers of 200 a second.
    pub rate: f64,
    /// Half of the answers took no longer than this.
    pub median: Duration,
    /// All but a hundredth of them took no longer than this.
    pub late: Duration,
}

/// A connection that is kept.
pub struct Connection {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Connection {
    /// Opens one.
    pub fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { reader: BufReader::new(stream.try_clone().unwrap()), writer: stream }
    }

    /// Sends a request, reads the answer to its end, and gives its status.
    pub fn ask(&mut self, request: &[u8]) -> u16 {
        self.writer.write_all(request).unwrap();
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut length = (status == 204).then_some(0);
        loop {
            line.clear();
            self.reader.read_line(&mut line).unwrap();
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().ok();
            }
        }
        match length {
            Some(length) => self.skip(length),
            None => loop {
                line.clear();
                self.reader.read_line(&mut line).unwrap();
                let chunk = usize::from_str_radix(line.trim_end(), 16).unwrap_or(0);
                self.skip(chunk + 2);
                if chunk == 0 {
                    break;
                }
            },
        }
        status
    }

    fn skip(&mut self, length: usize) {
        std::io::copy(&mut self.reader.by_ref().take(length as u64), &mut std::io::sink()).unwrap();
    }
}

/// A touch over HTTP, as the request of somebody at an address, with further headers.
pub fn touch(address: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /_presence/v1/touch HTTP/1.1\r\nhost: bench\r\nuser-agent: {FIREFOX}\r\ncf-connecting-ip: {address}\r\n\
         {headers}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends requests, in turn, over and over, for some time.
pub fn run(port: u16, connections: usize, time: Duration, requests: &[Vec<u8>]) -> Load {
    sent(port, connections, time, None, requests)
}

/// Sends one each time, whether the one before is answered or not; as long as these are not more than a few that wait. The
/// time is told from when it was to be sent.
pub fn paced(port: u16, every: Duration, time: Duration, requests: &[Vec<u8>]) -> Load {
    const AT_ONCE: usize = 8;
    sent(port, AT_ONCE, time, Some(every), requests)
}

fn sent(port: u16, connections: usize, time: Duration, every: Option<Duration>, requests: &[Vec<u8>]) -> Load {
    let (next, start) = (AtomicUsize::new(0), Instant::now());
    let one = || {
        let mut connection = Connection::open(port);
        let (mut taken, mut refused) = (Vec::new(), 0);
        while start.elapsed() < time {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let request = &requests[number % requests.len()];
            let sent = every.map_or_else(Instant::now, |every| {
                let due = start + every * number as u32;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                due
            });
            match connection.ask(request) {
                200 => taken.push(sent.elapsed()),
                _ => refused += 1,
            }
        }
        (taken, refused)
    };
    let (mut taken, mut refused) = (Vec::new(), 0);
    thread::scope(|scope| {
        let all: Vec<_> = (0..connections).map(|_| scope.spawn(one)).collect();
        for connection in all {
            let (some, no) = connection.join().unwrap();
            taken.extend(some);
            refused += no;
        }
    });
    let rate = taken.len() as f64 / start.elapsed().as_secs_f64();
    taken.sort_unstable();
    let at = |part: usize| taken.get(taken.len() * part / 100).copied().unwrap_or_default();
    Load { refused, rate, median: at(50), late: at(99) }
}
