//! The count as a badge: a picture of our own, and what shields.io makes one of.

use serde::Serialize;

/// A badge in the flat style that readers of README files know: `online | 12`.
pub fn svg(total: usize) -> String {
    let message = total.to_string();
    let (label, color) = ("online", color(total));
    // Verdana at 11 px: a digit is 7 px wide, the label 38.
    let (left, right) = (48, 10 + 7 * message.len());
    let (width, middle) = (left + right, left + right / 2);
    format!(
        concat!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {message}">"##,
            r##"<title>{label}: {message}</title>"##,
            r##"<clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath>"##,
            r##"<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#444"/>"##,
            r##"<rect x="{left}" width="{right}" height="20" fill="{color}"/></g>"##,
            r##"<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">"##,
            r##"<text x="24" y="14">{label}</text><text x="{middle}" y="14">{message}</text></g></svg>"##,
        ),
        width = width,
        left = left,
        right = right,
        middle = middle,
        label = label,
        message = message,
        color = color,
    )
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint<'a> {
    schema_version: u8,
    label: &'a str,
    message: String,
    color: &'a str,
}

/// The schema of shields.io's endpoint badge.
pub fn json(total: usize) -> Vec<u8> {
    let color = if total > 0 { "brightgreen" } else { "lightgrey" };
    serde_json::to_vec(&Endpoint { schema_version: 1, label: "online", message: total.to_string(), color })
        .unwrap_or_default()
}

/// Dark enough for white text: a contrast of 4.5 at the least.
fn color(total: usize) -> &'static str {
    if total > 0 { "#26791f" } else { "#6b6b6b" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_badge_tells_the_number_and_grows_with_it() {
        assert!(svg(12).contains(r#"aria-label="online: 12""#));
        assert!(svg(12).contains(r#"width="72""#));
        assert!(svg(1_234_567).contains(r#"width="107""#));
        assert_eq!(
            String::from_utf8(json(12)).unwrap(),
            r#"{"schemaVersion":1,"label":"online","message":"12","color":"brightgreen"}"#
        );
    }
}
