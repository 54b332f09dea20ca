//! Access logs in the combined format, and each line's request as the visitor sent it.

use chrono::DateTime;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;
use ureq::http::header::{ACCEPT, REFERER, USER_AGENT};
use ureq::http::{Error, HeaderValue, Request};

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The visitor's address.
    pub address: String,
    /// When, in seconds since the epoch.
    pub second: i64,
    /// The method.
    pub method: String,
    /// The path and the query.
    pub target: String,
    /// What it was answered with.
    pub status: u16,
    /// Where the visitor came from; empty where the browser did not say.
    pub referrer: Vec<u8>,
    /// The browser; empty where it did not say.
    pub agent: Vec<u8>,
}

impl Line {
    /// Reads a line: `address ident user [time] "request" status bytes "referrer" "user agent"`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = Fields(text);
        let address = fields.next()?;
        let (_ident, _user, time, request, status, _bytes) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (referrer, agent) = (fields.next()?, fields.next()?);
        let time = DateTime::parse_from_str(std::str::from_utf8(&time).ok()?, "%d/%b/%Y:%H:%M:%S %z").ok()?;
        let request = String::from_utf8(request).ok()?;
        let mut words = request.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        if !is_method || !target.starts_with('/') {
            return None;
        }
        Some(Self {
            address: String::from_utf8(address).ok()?,
            second: time.timestamp(),
            method: method.to_owned(),
            target: target.to_owned(),
            status: std::str::from_utf8(&status).ok()?.parse().ok()?,
            referrer: told(referrer),
            agent: told(agent),
        })
    }

    /// Whether this looks like a document rather than a part of one. The log does not tell what the browser accepted.
    pub fn is_document(&self) -> bool {
        let path = self.target.split('?').next().unwrap_or_default();
        let file = path.rsplit('/').next().unwrap_or_default();
        file.rsplit_once('.').is_none_or(|(_, kind)| matches!(kind, "html" | "htm" | "xhtml" | "php"))
    }

    /// The request to a Worker at `base`, which has no slash at its end.
    ///
    /// # Errors
    /// When the line holds what no request can.
    pub fn request(&self, base: &str) -> Result<Request<()>, Error> {
        let accept = if self.is_document() { "text/html,application/xhtml+xml,*/*;q=0.8" } else { "*/*" };
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(format!("{base}{}", self.target))
            .header("cf-connecting-ip", &self.address)
            .header(ACCEPT, accept);
        for (name, value) in [(USER_AGENT, &self.agent), (REFERER, &self.referrer)] {
            if !value.is_empty() {
                request = request.header(name, HeaderValue::from_bytes(value)?);
            }
        }
        request.body(())
    }
}

/// Opens a log, which may be compressed with gzip.
///
/// # Errors
/// When it cannot be opened or read.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::new(File::open(path)?);
    let compressed = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    file.seek(SeekFrom::Start(0))?;
    Ok(if compressed { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) })
}

/// A dash stands for nothing.
fn told(value: Vec<u8>) -> Vec<u8> {
    if value == b"-" { Vec::new() } else { value }
}

/// The fields of a line: words, or text between quotes or brackets.
struct Fields<'a>(&'a [u8]);

impl Iterator for Fields<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let rest = self.0.trim_ascii_start();
        let (end, rest) = match rest.split_first()? {
            (b'"', rest) => (Some(b'"'), rest),
            (b'[', rest) => (Some(b']'), rest),
            _ => (None, rest),
        };
        let mut value = Vec::new();
        let mut bytes = rest.iter().copied().enumerate();
        while let Some((index, byte)) = bytes.next() {
            match (byte, end) {
                (b'\\', Some(b'"')) => value.push(escaped(&mut bytes)?),
                (_, Some(end)) if byte == end => {
                    self.0 = rest.get(index + 1..)?;
                    return Some(value);
                }
                (b' ', None) => {
                    self.0 = rest.get(index..)?;
                    return Some(value);
                }
                _ => value.push(byte),
            }
        }
        self.0 = &[];
        // A quote that is never closed is a line that was cut off.
        end.is_none().then_some(value)
    }
}

/// What stands behind a backslash, as Apache and nginx write it.
fn escaped(bytes: &mut impl Iterator<Item = (usize, u8)>) -> Option<u8> {
    let mut next = || bytes.next().map(|(_, byte)| byte);
    Some(match next()? {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'x' => {
            let mut digit = || char::from(next()?).to_digit(16);
            u8::try_from(digit()? << 4 | digit()?).ok()?
        }
        byte => byte,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn parse(text: &str) -> Option<Line> {
        Line::parse(text.as_bytes())
    }

    fn line(request: &str, agent: &str) -> String {
        format!("10.0.0.1 - sally [17/May/2015:12:00:22 +0200] \"{request}\" 200 25 \"-\" \"{agent}\"")
    }

    #[test]
    fn a_line_is_taken_apart() {
        let text = r#"10.0.0.1 - - [17/May/2015:10:00:22 +0000] "GET /a.png?b=1 HTTP/1.1" 200 25230 "http://example.com/a" "Firefox""#;
        let line = parse(text).unwrap();
        assert_eq!((line.address.as_str(), line.second), ("10.0.0.1", 1_431_856_822));
        assert_eq!((line.method.as_str(), line.target.as_str()), ("GET", "/a.png?b=1"));
        assert_eq!((line.referrer.as_slice(), line.agent.as_slice()), (&b"http://example.com/a"[..], &b"Firefox"[..]));
    }

    #[test]
    fn a_time_is_read_in_its_zone() {
        assert_eq!(parse(&line("GET / HTTP/1.1", "a")).unwrap().second, 1_431_856_822);
    }

    #[test]
    fn what_is_escaped_is_read_as_it_was() {
        let agent = |text| parse(&line("GET / HTTP/1.1", text)).unwrap().agent;
        assert_eq!(agent(r#"a \"quoted\" \\ name"#), br#"a "quoted" \ name"#);
        assert_eq!(agent(r"\xc3\xa9 \t"), "é \t".as_bytes());
    }

    #[test]
    fn a_dash_is_nothing() {
        let line = parse(&line("GET / HTTP/1.1", "-")).unwrap();
        assert!(line.agent.is_empty() && line.referrer.is_empty());
    }

    #[test]
    fn a_bad_line_is_none() {
        let good = line("GET / HTTP/1.1", "a");
        for end in 0..good.len() {
            assert_eq!(parse(good.get(..end).unwrap()), None, "cut off at {end}");
        }
        for request in ["", "-", "GET", r"\x16\x03\x01", "get / HTTP/1.1", "OPTIONS * HTTP/1.0", "CONNECT a:1 HTTP/1.1"]
        {
            assert_eq!(parse(&line(request, "a")), None, "{request}");
        }
        for bad in ["17/May/2015", "31/Feb/2015:00:00:00 +0000"] {
            assert_eq!(parse(&good.replace("17/May/2015:12:00:22 +0200", bad)), None, "{bad}");
        }
        assert_eq!(Line::parse(&[0xff; 100]), None);
    }

    #[test]
    fn pages_are_documents_and_their_parts_are_not() {
        for (target, expected) in [
            ("/", true),
            ("/blog/tags/puppet?flav=rss20", true),
            ("/projects/xdotool/xdotool.xhtml", true),
            ("/v1.2/", true),
            ("/a.html?b=c.png", true),
            ("/style2.css", false),
            ("/a?b=/c.png", true),
            ("/images/a.png?b=/c", false),
        ] {
            assert_eq!(
                parse(&line(&format!("GET {target} HTTP/1.1"), "a")).unwrap().is_document(),
                expected,
                "{target}"
            );
        }
    }

    #[test]
    fn a_request_is_as_the_visitor_sent_it() {
        let line = parse(&line("HEAD /a HTTP/1.1", "caf\\xc3\\xa9")).unwrap();
        let request = line.request("http://127.0.0.1:8787").unwrap();
        assert_eq!((request.method().as_str(), request.uri().to_string()), ("HEAD", "http://127.0.0.1:8787/a".into()));
        let header = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
        assert_eq!(header("cf-connecting-ip"), Some(&b"10.0.0.1"[..]));
        assert_eq!(header("user-agent"), Some("café".as_bytes()));
        assert_eq!(header("referer"), None);
        assert!(header("accept").unwrap().starts_with(b"text/html"));
    }

    #[test]
    fn a_log_may_be_compressed() {
        let home = tempfile::tempdir().unwrap();
        let (plain, packed) = (home.path().join("plain"), home.path().join("packed"));
        std::fs::write(&plain, "a\n").unwrap();
        let mut gzip = flate2::write::GzEncoder::new(File::create(&packed).unwrap(), flate2::Compression::fast());
        gzip.write_all(b"a\n").unwrap();
        gzip.finish().unwrap();
        for path in [plain, packed] {
            let mut text = String::new();
            open(&path).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "a\n");
        }
    }
}
