//! The host that a request names, in one form, and the site that it stands for.

use crate::config::is_authority;
use crate::presence::id::SiteName;

/// A host with its port, in the form in which hosts are compared: in lower case, without a dot at the end, and without the
/// port that its scheme has anyway.
pub fn normalized(authority: &str, secure: bool) -> String {
    let (name, port) = parts(authority);
    let default = if secure { "443" } else { "80" };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    match port.filter(|port| !port.is_empty() && *port != default) {
        Some(port) => format!("{name}:{port}"),
        None => name,
    }
}

/// The site that a normalized host stands for where no setting names one: without its port, and `www.example.com` is
/// `example.com`, as people take the two for one. `None` where the text is no host.
pub fn site_of(host: &str) -> Option<SiteName> {
    let (name, _) = parts(host);
    let bare = name.strip_prefix("www.").filter(|bare| bare.contains('.'));
    is_authority(host).then(|| SiteName::parse(bare.unwrap_or(name)).ok()).flatten()
}

fn parts(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The colons inside the brackets of an IPv6 address separate no port.
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_form() {
        for (authority, secure, form) in [
            ("example.com", true, "example.com"),
            ("EXAMPLE.com.", true, "example.com"),
            ("example.com:443", true, "example.com"),
            ("example.com:80", true, "example.com:80"),
            ("example.com:80", false, "example.com"),
            ("Example.com.:8787", false, "example.com:8787"),
            ("example.com:", false, "example.com"),
            ("[::1]", false, "[::1]"),
            ("[2001:DB8::1]:443", true, "[2001:db8::1]"),
        ] {
            assert_eq!(normalized(authority, secure), form, "{authority}");
        }
    }

    #[test]
    fn a_site_is_a_host_without_port_and_without_www() {
        for (host, site) in [
            ("example.com", Some("example.com")),
            ("example.com:8787", Some("example.com")),
            ("www.example.com", Some("example.com")),
            ("www.example.com:8787", Some("example.com")),
            ("www.com", Some("www.com")),
            ("www2.example.com", Some("www2.example.com")),
            ("[::1]:8787", Some("[::1]")),
            ("localhost", Some("localhost")),
            ("", None),
            ("a b", None),
            ("a..b", None),
            ("example.com:99999", None),
        ] {
            assert_eq!(site_of(host).as_ref().map(SiteName::as_str), site, "{host}");
        }
    }
}
