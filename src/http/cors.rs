//! Who may call from where.
//!
//! Whatever is public may be read from anywhere. What records a visitor is taken from the site itself and from the
//! origins that the owner listed, as a page elsewhere could else put its readers on this site's list.

use super::Headers;
use super::host::normalized;
use super::problem::Problem;
use super::reply::Reply;

/// Where a request came from, found to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The site itself, or no browser at all.
    Same,
    /// A page of this listed origin.
    Listed(String),
}

impl Caller {
    /// Finds out who calls, for a request that records something. `host` is the request's own, normalized.
    ///
    /// # Errors
    /// 403 where it is a page of an origin that is not listed.
    pub fn of(request: &impl Headers, host: &str, allowed: &[String]) -> Result<Self, Problem> {
        match request.get("origin") {
            Some(origin) => Self::named(&origin, host, allowed),
            None => match request.get("sec-fetch-site").as_deref() {
                // An image has no `Origin`, but a page that it stands on.
                Some("cross-site" | "same-site") => {
                    let referrer = request.get("referer").unwrap_or_default();
                    Self::named(&origin_of(&referrer), host, allowed)
                }
                _ => Ok(Self::Same),
            },
        }
    }

    fn named(origin: &str, host: &str, allowed: &[String]) -> Result<Self, Problem> {
        let origin = origin.to_ascii_lowercase();
        // The scheme is not compared: whoever terminates TLS in front of the Worker changes it.
        let own = match origin.strip_prefix("https://") {
            Some(own) => Some(normalized(own, true)),
            None => origin.strip_prefix("http://").map(|own| normalized(own, false)),
        };
        if own.as_deref() == Some(host) {
            return Ok(Self::Same);
        }
        if allowed.contains(&origin) {
            return Ok(Self::Listed(origin));
        }
        Err(Problem::Forbidden(format!(
            "Visitors of {} are not recorded here. The owner of this site can list that origin in ALLOWED_ORIGINS.",
            if own.is_some() { origin.as_str() } else { "that page" }
        )))
    }

    /// Lets the page read the reply.
    pub fn allow(&self, reply: Reply) -> Reply {
        match self {
            Self::Same => reply.with("vary", "origin"),
            Self::Listed(origin) => reply
                .with("access-control-allow-origin", origin.clone())
                .with("access-control-allow-credentials", "true")
                .with("vary", "origin"),
        }
    }

    /// The reply to a preflight.
    pub fn preflight(&self) -> Reply {
        self.allow(Reply::no_content())
            .with("access-control-allow-methods", "GET, POST")
            .with("access-control-allow-headers", "content-type, authorization")
            .with("access-control-max-age", "86400")
    }
}

/// Lets anybody read the reply.
pub fn public(reply: Reply) -> Reply {
    reply.with("access-control-allow-origin", "*")
}

/// The reply to a preflight of what anybody may read.
pub fn public_preflight() -> Reply {
    public(Reply::no_content())
        .with("access-control-allow-methods", "GET, HEAD")
        .with("access-control-allow-headers", "if-none-match, authorization")
        .with("access-control-max-age", "86400")
}

fn origin_of(url: &str) -> String {
    let end = url.match_indices('/').nth(2).map_or(url.len(), |(index, _)| index);
    url.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn caller(headers: &[(&str, &str)]) -> Result<Caller, u16> {
        let allowed = ["https://forum.example.com".to_owned()];
        Caller::of(&headers, "example.com", &allowed).map_err(|problem| problem.status())
    }

    #[test]
    fn the_site_itself_and_servers_are_taken() {
        assert_eq!(caller(&[]), Ok(Caller::Same));
        assert_eq!(caller(&[("origin", "https://example.com")]), Ok(Caller::Same));
        assert_eq!(caller(&[("origin", "http://EXAMPLE.com")]), Ok(Caller::Same));
        assert_eq!(caller(&[("sec-fetch-site", "same-origin")]), Ok(Caller::Same));
        assert_eq!(caller(&[("sec-fetch-site", "none")]), Ok(Caller::Same));
    }

    #[test]
    fn a_listed_origin_is_taken_by_its_header_or_its_page() {
        let listed = Ok(Caller::Listed("https://forum.example.com".into()));
        assert_eq!(caller(&[("origin", "https://forum.example.com")]), listed);
        assert_eq!(caller(&[("sec-fetch-site", "same-site"), ("referer", "https://forum.example.com/a?b")]), listed);
    }

    #[test]
    fn any_other_page_is_refused() {
        for headers in [
            vec![("origin", "https://evil.example")],
            vec![("origin", "null")],
            vec![("origin", "https://example.com.evil.example")],
            vec![("origin", "https://forum.example.com, https://example.com")],
            vec![("origin", "http://forum.example.com")],
            vec![("origin", "")],
            vec![("sec-fetch-site", "cross-site")],
            vec![("sec-fetch-site", "cross-site"), ("referer", "https://evil.example/https://forum.example.com")],
        ] {
            assert_eq!(caller(&headers), Err(403), "{headers:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_passes_for_the_site_but_its_own_origin(origin in ".{0,60}", referrer in ".{0,60}") {
            let own = |text: &str| {
                let text = text.to_ascii_lowercase();
                ["https://example.com", "http://example.com", "https://forum.example.com"].iter().any(|own| text.starts_with(own))
            };
            prop_assert!(own(&origin) || caller(&[("origin", &origin)]) == Err(403));
            let from = [("sec-fetch-site", "cross-site"), ("referer", referrer.as_str())];
            prop_assert!(own(&referrer) || caller(&from) == Err(403));
        }
    }
}
