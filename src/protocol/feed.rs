//! Arrivals as a feed (Atom, RFC 4287).

use super::part::name;
use crate::identity::access::Scope;
use crate::presence::member::{Departure, KeyRef, Kind};
use crate::presence::site::{Filter, Site};
use crate::presence::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write;

/// How many arrivals a feed holds.
pub const ENTRIES: usize = 50;

/// A user, when their latest visit began, and what they are called.
pub type Arrival = (String, (Timestamp, Option<String>));

/// The users who came last, each with their latest visit, newest first.
pub fn arrivals(limit: usize, scope: Scope, site: &Site, departures: Vec<Departure>) -> Vec<Arrival> {
    let mut departures: Vec<_> = departures.into_iter().chain(site.departures().cloned()).collect();
    departures.sort_by(Departure::by_time);
    // When somebody came who has gone tells when they were last here, too.
    let gone = departures.into_iter().filter(|_| scope.last_seen).map(|departure| {
        let called = name(&departure.profile).map(str::to_owned);
        (departure.user.into(), (departure.since, called))
    });
    let filter = Filter { invisible: scope.invisible, ..Filter::default() };
    // Whoever came last is not whoever was seen last, so all who are here are looked through.
    let (here, _) = site.list(Kind::User, &filter, None, usize::MAX);
    let here = here.into_iter().filter_map(|view| {
        let KeyRef::User(user) = view.key else { return None };
        Some((user.as_str().to_owned(), (view.since, view.profile.and_then(name).map(str::to_owned))))
    });
    latest(gone.chain(here), limit)
}

/// The latest of these visits, the last that is told of each user. It is written as JSON until it is made a feed.
pub fn latest(visits: impl IntoIterator<Item = Arrival>, limit: usize) -> Vec<Arrival> {
    let visits: BTreeMap<_, _> = visits.into_iter().collect();
    let mut visits: Vec<_> = visits.into_iter().collect();
    visits.sort_by(|(one, (earlier, _)), (other, (later, _))| (later, one).cmp(&(earlier, other)));
    visits.truncate(limit);
    visits
}

/// Makes a feed of the [`latest`] visits, as they were written. `site` is its name, `address` where it is to be found.
pub fn atom(answer: &[u8], site: &str, address: &str, feed: &str, as_of: Timestamp) -> Vec<u8> {
    let visits: Vec<Arrival> = serde_json::from_slice(answer).unwrap_or_default();
    let updated = visits.first().map_or(as_of, |(_, (since, _))| *since).to_rfc3339();
    let (title, address, feed) = (escaped(site), escaped(address), escaped(feed));
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\">\n<title>Who came to {title}</title>\n\
         <id>{feed}</id>\n<link rel=\"self\" href=\"{feed}\"/>\n<link href=\"{address}\"/>\n<updated>{updated}</updated>\n\
         <author><name>{title}</name></author>\n"
    );
    for (user, (since, called)) in visits {
        let called = escaped(called.as_deref().unwrap_or(&user));
        let at = since.to_rfc3339();
        // A visit is told by who came and when; of a user no more than the id is in it, percent-encoded.
        let id = format!(
            "{feed}#{}-{}",
            percent_encoding::utf8_percent_encode(&user, percent_encoding::NON_ALPHANUMERIC),
            since.as_millis()
        );
        let _ = writeln!(
            xml,
            "<entry><id>{id}</id><title>{called} came online</title><updated>{at}</updated><link href=\"{address}\"/>\
             <author><name>{called}</name></author><content type=\"text\">{called} came online.</content></entry>"
        );
    }
    xml.push_str("</feed>\n");
    xml.into_bytes()
}

/// Text as it stands in XML: its five special characters escaped, and without the two that no document may hold.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => {}
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_arrival_is_an_entry_and_no_name_is_markup() {
        let at = Timestamp::from_millis(1_795_203_180_123);
        let visits = [
            ("sally&co", (at, Some("<b>Sally</b>\u{ffff}"))),
            ("bob", (at.minus(crate::presence::time::Seconds(60)), None)),
        ];
        let answer = serde_json::to_vec(&visits).unwrap();
        let xml = String::from_utf8(atom(
            &answer,
            "example.com",
            "https://example.com/",
            "https://example.com/_presence/feed.atom",
            at,
        ))
        .unwrap();
        assert!(xml.contains("<title>&lt;b&gt;Sally&lt;/b&gt; came online</title>"), "{xml}");
        assert!(xml.contains("<id>https://example.com/_presence/feed.atom#sally%26co-1795203180123</id>"), "{xml}");
        assert!(xml.contains("<title>bob came online</title>"), "{xml}");
        assert_eq!(xml.matches("<entry>").count(), 2);
        assert!(xml.contains("<updated>2026-11-20T19:33:00.123Z</updated>\n<author>"), "{xml}");
        let empty = String::from_utf8(atom(b"[]", "a", "b", "c", at)).unwrap();
        assert!(empty.contains("<updated>2026-11-20T19:33:00.123Z</updated>") && !empty.contains("<entry>"));
    }
}
