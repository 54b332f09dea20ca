//! A request, its parts taken out once.

use super::headers::PlatformHeaders;
use crate::config::Config;
use crate::http::Headers;
use crate::http::host;
use crate::http::problem::Problem;
use crate::identity::Asker;
use crate::presence::id::SiteName;
use futures_util::StreamExt;
use worker::Request;

/// A request.
#[derive(Clone)]
pub struct Asked {
    /// As the platform gave it.
    pub raw: web_sys::Request,
    /// The method.
    pub method: String,
    /// Whether it came over https.
    pub secure: bool,
    /// The host, normalized, with its port where that is not the scheme's own.
    pub host: String,
    /// The path, percent-encoded.
    pub path: String,
    /// The query, without its question mark.
    pub query: String,
    /// The headers, as they came.
    pub headers: PlatformHeaders,
    /// A token that the query tells where it may.
    token: Option<String>,
}

impl Headers for Asked {
    fn get(&self, name: &'static str) -> Option<String> {
        let told = self.headers.get(name);
        match &self.token {
            Some(token) if told.is_none() && name == "authorization" => Some(format!("Bearer {token}")),
            _ => told,
        }
    }

    fn has(&self, name: &'static str) -> bool {
        self.headers.has(name) || (name == "authorization" && self.token.is_some())
    }
}

impl Asked {
    /// Takes a request apart. The platform's URLs are serialised by the WHATWG rules: scheme, `://`, authority, path.
    pub fn read(raw: web_sys::Request) -> Self {
        let url = raw.url();
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", &url));
        let rest = rest.split('#').next().unwrap_or_default();
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = address.split_once('/').unwrap_or((address, ""));
        let host = authority.rsplit('@').next().unwrap_or_default();
        Self {
            method: raw.method(),
            secure: scheme == "https",
            host: host::normalized(host, scheme == "https"),
            path: format!("/{path}"),
            query: query.to_owned(),
            headers: PlatformHeaders::of(raw.headers()),
            token: None,
            raw,
        }
    }

    /// With a token as if it stood in the `Authorization` header, unless that says something itself.
    pub fn with_token(&self, token: Option<String>) -> Self {
        Self { token, ..self.clone() }
    }

    /// The path and query as they stand in the URL.
    pub fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// Whose presence this is about.
    pub fn site(&self, config: &Config) -> Result<SiteName, Problem> {
        if let Some(site) = &config.site {
            return Ok(site.clone());
        }
        let wrong = || Problem::BadRequest("the Host header must be a host name, with or without a port".into());
        host::site_of(&self.host).ok_or_else(wrong)
    }

    /// What it says of its sender.
    pub fn asker(&self, site: SiteName, config: &Config) -> Asker {
        Asker::of(self, site, self.secure, &config.cookie_names)
    }

    /// The body, of at most `limit` bytes.
    pub async fn body(&self, limit: usize) -> Result<Vec<u8>, Problem> {
        let told = self.get("content-length").and_then(|length| length.parse::<usize>().ok());
        if told.is_some_and(|length| length > limit) {
            return Err(Problem::TooLarge(limit));
        }
        let mut body = Vec::new();
        if self.raw.body().is_none() {
            return Ok(body);
        }
        let broken = |_| Problem::BadRequest("the body ended before it was whole".into());
        let mut stream = Request::from(Clone::clone(&self.raw)).stream().map_err(broken)?;
        while let Some(chunk) = stream.next().await {
            body.extend(chunk.map_err(broken)?);
            if body.len() > limit {
                return Err(Problem::TooLarge(limit));
            }
        }
        Ok(body)
    }
}
