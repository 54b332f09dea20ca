//! A visitor who asks a Worker for something, and what is answered.

use super::PATIENCE;
use super::server::Server;
use serde_json::Value;

/// A request in the making.
#[derive(Clone)]
pub struct Client<'a> {
    pub(super) server: &'a Server,
    pub(super) headers: Vec<(String, String)>,
}

impl Client<'_> {
    /// With a header, in place of any other of that name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    /// As if the request had come over https.
    #[allow(dead_code, reason = "the bench needs none")]
    pub fn https(self) -> Self {
        self.with("x-test-proto", "https")
    }

    /// As a browser asks for a document.
    pub fn document(self) -> Self {
        self.with("accept", "text/html,application/xhtml+xml").with("sec-fetch-dest", "document")
    }

    /// A header as it will be sent.
    #[allow(dead_code, reason = "the bench does not ask")]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, Some(body.as_bytes()))
    }

    /// The cookie that it sends.
    #[allow(dead_code, reason = "the bench needs none")]
    pub fn cookie(&self) -> String {
        let cookie = self.headers.iter().find(|(name, _)| name == "cookie");
        cookie.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    pub fn touch(&self, body: &str) -> Answer {
        self.post("/_presence/v1/touch", body)
    }

    pub fn send(&self, method: &str, path: &str, body: Option<&[u8]>) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .allow_non_standard_methods(true)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let mut request = ureq::http::Request::builder().method(method).uri(self.server.url(path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = match body {
            Some(body) => agent.run(request.body(body).unwrap()),
            None => agent.run(request.body(()).unwrap()),
        };
        let mut response = response.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
        Answer { status, headers, body }
    }
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The cookie that it sets, as a browser would send it back.
    pub fn cookie(&self) -> Option<String> {
        let set = self.all("set-cookie").into_iter().find(|cookie| cookie.contains("presence="))?;
        Some(set.split(';').next().unwrap().to_owned())
    }

    /// Checks that it is a problem of a status, and gives its detail.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(!problem["title"].as_str().unwrap().is_empty());
        problem["detail"].as_str().unwrap().to_owned()
    }
}
