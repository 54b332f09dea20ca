//! What browsers load: the widget's script, and the pages that are shown where there is no site yet.

/// The widget.
pub const SCRIPT: &str = include_str!("../../www/widget.js");

/// A file of the demo.
pub struct Page {
    /// What it is.
    pub content_type: &'static str,
    /// What stands in it.
    pub body: &'static str,
}

/// The demo page at a path.
pub fn demo(path: &str) -> Option<Page> {
    const HTML: &str = "text/html; charset=utf-8";
    let (content_type, body) = match path {
        "/" | "/index.html" => (HTML, include_str!("../../www/index.html")),
        "/forum" => (HTML, include_str!("../../www/forum.html")),
        "/market" => (HTML, include_str!("../../www/market.html")),
        "/demo.css" => ("text/css; charset=utf-8", include_str!("../../www/demo.css")),
        "/demo.js" => ("text/javascript; charset=utf-8", include_str!("../../www/demo.js")),
        _ => return None,
    };
    Some(Page { content_type, body })
}
