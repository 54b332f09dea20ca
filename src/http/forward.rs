//! What becomes of a request's headers on its way to the site behind the Worker.

use super::{Change, Headers};
use crate::config::Origin;
use crate::identity::origin;

/// Headers by which servers and frameworks learn of the client's address and of the address that the client used. A client
/// could send any of them, and a site that believes them would take the client's word.
const FORWARDED: [&str; 5] = ["forwarded", "x-forwarded-for", "x-forwarded-port", "x-real-ip", "true-client-ip"];

/// The changes that a request needs before the site gets it. `host` is the one that the client asked for.
///
/// A site at an address of its own is told what the client asked for and from which address, in place of whatever the client
/// sent. On a route the platform tells it that, so there only what a client made up is taken out: most requests need no change.
pub fn changes(request: &impl Headers, host: &str, secure: bool, to: &Origin) -> Vec<Change> {
    let sent = |name: &&'static str| request.has(name);
    let mut changes: Vec<Change> =
        origin::HEADERS.into_iter().filter(|name| sent(name)).map(|name| (name, None)).collect();
    let address = request.get("cf-connecting-ip").filter(|address| !address.is_empty());
    let made_up = FORWARDED.into_iter().filter(|name| {
        let value = request.get(name);
        value.is_some() && (value != address || !tells_address(name))
    });
    changes.extend(made_up.map(|name| (name, address.clone().filter(|_| tells_address(name)))));
    if let Origin::Url(_) = to {
        changes.push(("x-forwarded-host", Some(host.to_owned())));
        changes.push(("x-forwarded-proto", Some(if secure { "https" } else { "http" }.to_owned())));
        changes.push(("x-forwarded-for", address));
    }
    changes
}

/// Whether the value is the client's address and nothing else.
fn tells_address(name: &str) -> bool {
    matches!(name, "x-forwarded-for" | "x-real-ip" | "true-client-ip")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(request: &[(&str, &str)], to: &Origin) -> Vec<(&'static str, Option<String>)> {
        let mut changes = changes(&request, "example.com", true, to);
        changes.dedup_by_key(|(name, _)| *name);
        changes
    }

    fn site() -> Origin {
        Origin::Url("http://127.0.0.1:8000".into())
    }

    fn some(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    #[test]
    fn a_site_elsewhere_learns_what_the_client_asked_for_and_from_where() {
        let request = [("cf-connecting-ip", "203.0.113.7"), ("x-forwarded-host", "evil.example")];
        let expected = [
            ("x-forwarded-host", some("example.com")),
            ("x-forwarded-proto", some("https")),
            ("x-forwarded-for", some("203.0.113.7")),
        ];
        assert_eq!(changed(&request, &site()), expected);
    }

    #[test]
    fn what_a_client_says_of_its_own_address_is_replaced_wherever_the_site_is() {
        for to in [site(), Origin::Route] {
            for name in ["forwarded", "x-forwarded-for", "x-forwarded-port", "x-real-ip", "true-client-ip"] {
                let request = [("cf-connecting-ip", "203.0.113.7"), (name, "198.51.100.1, 203.0.113.7")];
                let value = tells_address(name).then(|| "203.0.113.7".to_owned());
                assert!(changed(&request, &to).contains(&(name, value)), "{name}");
                let unknown = [(name, "198.51.100.1")];
                assert!(changed(&unknown, &to).contains(&(name, None)), "{name} where no address is known");
            }
        }
    }

    #[test]
    fn an_honest_request_on_a_route_goes_on_as_it_is() {
        let request = [("cf-connecting-ip", "203.0.113.7"), ("x-forwarded-for", "203.0.113.7"), ("accept", "*/*")];
        assert!(changed(&request, &Origin::Route).is_empty());
    }

    #[test]
    fn a_client_cannot_send_what_only_the_site_may_say() {
        let request = [("x-presence-user", "sally"), ("x-presence-blocks", "k")];
        assert_eq!(changed(&request, &Origin::Route), [("x-presence-user", None), ("x-presence-blocks", None)]);
    }
}
