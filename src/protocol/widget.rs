//! What browsers load: the widget's script, and the pages that are shown where there is no site yet.

use crate::config::DEFAULT_BASE_PATH;
use crate::http::conditions::tag_of;
use std::sync::OnceLock;

/// A script that pages load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// The widget.
    Widget,
    /// What it hears of the others by, and tells of its page; a page may load it for itself.
    Client,
    /// The types of that.
    ClientTypes,
    /// What the widget loads where a page shows when somebody was last seen.
    LastSeen,
}

impl Script {
    /// What kind of text it is.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::ClientTypes => "application/typescript; charset=utf-8",
            Self::Widget | Self::Client | Self::LastSeen => "text/javascript; charset=utf-8",
        }
    }

    /// What stands in it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Widget => include_str!("../../www/widget.js"),
            Self::Client => include_str!("../../www/client.js"),
            Self::ClientTypes => include_str!("../../www/client.d.ts"),
            Self::LastSeen => include_str!("../../www/last-seen.js"),
        }
    }

    /// Its tag. It is reckoned once, as a script is asked for far more often than it changes.
    pub fn tag(self) -> &'static str {
        static TAGS: [OnceLock<String>; 4] = [const { OnceLock::new() }; 4];
        let of = |tag: &'static OnceLock<String>| tag.get_or_init(|| tag_of(self.text().as_bytes())).as_str();
        TAGS.get(self as usize).map_or("", of)
    }
}

/// The demo page that is served at every address that has no page of its own.
pub const ANYWHERE: &str = "/anywhere";

/// A file of the demo.
pub struct Page {
    /// What it is.
    pub content_type: &'static str,
    /// What stands in it.
    pub body: String,
}

/// The demo page at a path, for a base path, and for strangers who may see where people are or not: the files are written for the
/// default one, and for those who may.
pub fn demo(path: &str, base_path: &str, locations: bool) -> Option<Page> {
    const PUBLIC: &str = "data-locations=\"public\"";
    const HTML: &str = "text/html; charset=utf-8";
    let (content_type, body) = match path {
        "/" | "/index.html" => (HTML, include_str!("../../www/index.html")),
        "/forum" => (HTML, include_str!("../../www/forum.html")),
        "/market" => (HTML, include_str!("../../www/market.html")),
        ANYWHERE => (HTML, include_str!("../../www/anywhere.html")),
        "/demo.css" => ("text/css; charset=utf-8", include_str!("../../www/demo.css")),
        "/demo.js" => ("text/javascript; charset=utf-8", include_str!("../../www/demo.js")),
        _ => return None,
    };
    let body = body.replace(DEFAULT_BASE_PATH, base_path);
    let locations = if locations { PUBLIC } else { "data-locations=\"restricted\"" };
    Some(Page { content_type, body: body.replace(PUBLIC, locations) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_follows_the_base_path() {
        let page = demo("/", "/who", true).unwrap();
        assert!(page.body.contains("/who/widget.js") && !page.body.contains(DEFAULT_BASE_PATH));
        assert!(demo("/nowhere", "/who", true).is_none());
    }

    #[test]
    fn the_demo_asks_where_people_are_only_where_strangers_may_see_it() {
        for (locations, says) in [(true, "data-locations=\"public\""), (false, "data-locations=\"restricted\"")] {
            let page = demo("/", DEFAULT_BASE_PATH, locations).unwrap().body;
            assert_eq!(page.matches("data-locations=").count(), 1);
            assert!(page.contains(says));
        }
    }
}
