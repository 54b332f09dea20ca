//! A load: connections that are kept alive, each of which asks again as soon as it is answered.

use crate::harness::FIREFOX;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How many visitors come to pages.
pub const VISITORS: usize = 1000;

/// A server that is to go has gone by then.
const LONGEST: Duration = Duration::from_secs(60);

/// What came of it.
pub struct Load {
    /// Answers other than 200.
    pub refused: usize,
    /// Answers of 200.
    pub answers: usize,
    /// How many of these a second.
    pub rate: f64,
    /// Half of the answers took no longer than this.
    pub median: Duration,
    /// All but a hundredth of them took no longer than this.
    pub late: Duration,
}

impl Load {
    fn of(mut taken: Vec<Duration>, refused: usize, time: Duration) -> Self {
        taken.sort_unstable();
        let at = |part: usize| taken.get(taken.len() * part / 100).copied().unwrap_or_default();
        Self {
            refused,
            answers: taken.len(),
            rate: taken.len() as f64 / time.as_secs_f64(),
            median: at(50),
            late: at(99),
        }
    }
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
        self.try_ask(request).unwrap()
    }

    /// The same where the server may be gone; the status is 0 where it went before it answered.
    fn try_ask(&mut self, request: &[u8]) -> io::Result<u16> {
        self.writer.write_all(request)?;
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut length = (status == 204).then_some(0);
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().ok();
            }
        }
        match length {
            Some(length) => self.skip(length)?,
            None => loop {
                line.clear();
                self.reader.read_line(&mut line)?;
                let chunk = usize::from_str_radix(line.trim_end(), 16).unwrap_or(0);
                self.skip(chunk + 2)?;
                if chunk == 0 {
                    break;
                }
            },
        }
        Ok(status)
    }

    fn skip(&mut self, length: usize) -> io::Result<()> {
        io::copy(&mut self.reader.by_ref().take(length as u64), &mut io::sink()).map(drop)
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

/// The requests of a thousand visitors for four pages in turn, so that each is news and none is spared: a target's query and
/// further headers, by visitor.
pub fn pages(of: impl Fn(usize) -> (&'static str, String)) -> Vec<Vec<u8>> {
    let one = |number: usize| {
        let (visitor, page) = (number % VISITORS, number / VISITORS);
        let (query, headers) = of(visitor);
        let address = format!("10.0.{}.{}", visitor / 250, visitor % 250);
        format!(
            "GET /page/{page}{query} HTTP/1.1\r\nhost: bench\r\nuser-agent: {FIREFOX}\r\naccept: text/html\r\n\
             sec-fetch-dest: document\r\ncf-connecting-ip: {address}\r\nx-user: {visitor}\r\n{headers}\r\n"
        )
        .into_bytes()
    };
    (0..VISITORS * 4).map(one).collect()
}

/// Sends requests, in turn, over and over, for some time.
pub fn run(port: u16, connections: usize, time: Duration, requests: &[Vec<u8>]) -> Load {
    let (next, start) = (AtomicUsize::new(0), Instant::now());
    let one = || {
        let mut connection = Connection::open(port);
        let (mut taken, mut refused) = (Vec::new(), 0);
        while start.elapsed() < time {
            let request = &requests[next.fetch_add(1, Ordering::Relaxed) % requests.len()];
            let sent = Instant::now();
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
    Load::of(taken, refused, start.elapsed())
}

/// Asks several servers in turns, one page at a time, and each at its moment: what else the machine does falls upon all of
/// them alike.
pub fn alternately(asked: &[(u16, &[Vec<u8>])], every: Duration, time: Duration) -> Vec<Load> {
    let start = Instant::now();
    let mut open: Vec<_> = asked.iter().map(|(port, _)| (Connection::open(*port), Vec::new(), 0)).collect();
    for number in 0.. {
        thread::sleep((every * number as u32).saturating_sub(start.elapsed()));
        if start.elapsed() >= time {
            break;
        }
        let (turn, which) = (number / asked.len(), number % asked.len());
        let ((connection, taken, refused), (_, requests)) = (&mut open[which], asked[which]);
        let sent = Instant::now();
        match connection.ask(&requests[turn % requests.len()]) {
            200 => taken.push(sent.elapsed()),
            _ => *refused += 1,
        }
    }
    let took = start.elapsed();
    open.into_iter().map(|(_, taken, refused)| Load::of(taken, refused, took)).collect()
}

/// Has each connection send its requests, by its own number and theirs, one after the other until the server is gone. Whoever
/// wants to know is told of each that was answered.
pub fn until_it_is_gone(
    port: u16,
    connections: usize,
    request: impl Fn(usize, usize) -> Vec<u8> + Sync,
    answered: impl Fn(usize, usize) + Sync,
) {
    let start = Instant::now();
    let one = |connection: usize| {
        let mut open = Connection::open(port);
        for number in 0.. {
            match open.try_ask(&request(connection, number)) {
                Ok(200) => answered(connection, number),
                Ok(0) | Err(_) => return,
                Ok(status) => panic!("answered {status}"),
            }
            assert!(start.elapsed() < LONGEST, "the server goes on and on");
        }
    };
    let one = &one;
    thread::scope(|scope| (0..connections).for_each(|connection| drop(scope.spawn(move || one(connection)))));
}
