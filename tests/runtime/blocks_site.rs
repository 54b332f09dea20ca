//! A site whose pages stand in the test, and the attacks upon blocks, which the browser is shown too.

use crate::harness::*;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde::Deserialize;
use std::io::Write;
use std::net::TcpStream;

pub const ADMIN: &str = "an-admin-token-of-some-length";
/// With a character that encoders change.
pub const KEY: &str = "Key-of_this-Answer42";
/// What of it no answer may hold, in whatever case.
pub const PART_OF_KEY: &str = "Answer42";

/// A page as a test writes it. `{key}` stands for the key, `{yes}` and `{no}` for tags that open a block for those who may, and
/// `{end}` for the tag that closes it; `{not}`, `{notyes}` and `{endnot}` are the other block's.
pub fn text(page: &str) -> String {
    page.replace("{yes}", "<if-permitted key=\"{key}\" can=\"yes\">")
        .replace("{no}", "<if-permitted key=\"{key}\" can=\"no\">")
        .replace("{end}", "</if-permitted key=\"{key}\">")
        .replace("{not}", "<if-not-permitted key=\"{key}\" can=\"no\">")
        .replace("{notyes}", "<if-not-permitted key=\"{key}\" can=\"yes\">")
        .replace("{endnot}", "</if-not-permitted key=\"{key}\">")
        .replace("{key}", KEY)
        .replace("{KEY}", &KEY.to_uppercase())
        .replace("{soft}", &KEY.replace("Answer", "An=\r\nswer"))
        .replace("{js}", &KEY.replace('-', "\\u002D"))
}

/// A page that shows what it should not, unless its blocks are cut.
#[derive(Clone, Deserialize)]
pub struct Attack {
    pub name: String,
    #[serde(rename = "type")]
    content_type: Option<String>,
    second_type: Option<String>,
    body: String,
    encoding: Option<String>,
    /// Whether the rest is cut off with it.
    #[serde(default)]
    pub cut: bool,
}

impl Attack {
    pub fn all() -> Vec<Self> {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/blocks.json");
        let attacks: Vec<Self> = serde_json::from_str(&std::fs::read_to_string(corpus).unwrap()).unwrap();
        assert!(attacks.iter().all(|attack| text(&attack.body).contains("SECRET")), "each has something to hide");
        attacks
    }

    fn headers(&self) -> String {
        let types = self.content_type.iter().chain(&self.second_type);
        types.map(|kind| format!("Content-Type: {kind}\r\n")).collect()
    }

    fn bytes(&self) -> Vec<u8> {
        let body = text(&self.body);
        match self.encoding.as_deref() {
            Some("utf-16le") => body.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            _ => body.into_bytes(),
        }
    }
}

pub fn compressed(body: &[u8], coding: &str) -> Vec<u8> {
    match coding {
        "gzip" | "GZIP" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        _ => body.to_vec(),
    }
}

/// Sends an answer; in chunks of so many bytes, if there are to be any.
pub fn send(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8], chunk: Option<usize>) {
    let length = match chunk {
        Some(_) => "Transfer-Encoding: chunked\r\n".to_owned(),
        None => format!("Content-Length: {}\r\n", body.len()),
    };
    let _ = write!(stream, "HTTP/1.1 {status}\r\n{headers}{length}Connection: close\r\n\r\n");
    let Some(chunk) = chunk else { return drop(stream.write_all(body)) };
    for chunk in body.chunks(chunk) {
        let sent = write!(stream, "{:x}\r\n", chunk.len())
            .and_then(|()| stream.write_all(chunk))
            .and_then(|()| stream.write_all(b"\r\n"));
        if sent.is_err() {
            return;
        }
    }
    let _ = stream.write_all(b"0\r\n\r\n");
}

/// What a request's query says of one name.
pub fn query(request: &SiteRequest, name: &str) -> Option<String> {
    let (_, query) = request.target.split_once('?')?;
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, v)| v.to_owned())
}

/// The headers that name a user as the query says: `User`, `Perms` and the like.
pub fn said(request: &SiteRequest) -> String {
    let names = ["User", "Perms", "Name"].into_iter();
    names.filter_map(|name| Some(format!("X-Presence-{name}: {}\r\n", query(request, name)?))).collect()
}

/// A site that sends the attacks by their number. The query says how: `announce`, `coding`, `chunk`.
pub fn attacked() -> Origin {
    let attacks = Attack::all();
    Origin::serving(move |request, stream| {
        let number = request.target.trim_start_matches('/').split('?').next().and_then(|number| number.parse().ok());
        let Some(attack) = number.and_then(|number: usize| attacks.get(number)) else {
            return send(stream, "200 OK", &said(request), b"a page", None);
        };
        let mut headers = attack.headers();
        if query(request, "announce").is_some() {
            headers += &format!("X-Presence-Blocks: {KEY}\r\n");
        }
        let coding = query(request, "coding");
        if let Some(coding) = &coding {
            headers += &format!("Content-Encoding: {coding}\r\n");
        }
        let body = compressed(&attack.bytes(), coding.as_deref().unwrap_or_default());
        send(stream, "200 OK", &headers, &body, query(request, "chunk").and_then(|chunk| chunk.parse().ok()));
    })
}

pub fn setup(origin: &Origin) -> Setup {
    Setup::new().before(origin).var("ADMIN_TOKEN", ADMIN)
}

/// Somebody whom the site has named by what the query says.
pub fn signed_in<'a>(server: &'a Server, address: &'a str, query: &str) -> Client<'a> {
    let client = server.by(address);
    let page = client.clone().document().get(&format!("/?{query}"));
    client.with("cookie", &page.cookie().expect("a cookie")).document()
}
