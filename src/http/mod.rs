//! Requests as they come, replies as they go. Pure: it knows of neither presence's inside nor the platform.

pub mod admin;
pub mod blocks;
pub mod conditions;
pub mod cors;
pub mod forward;
pub mod host;
pub mod inject;
pub mod page;
pub mod problem;
pub mod reply;
pub mod report;
pub mod route;

/// A change to headers: a name, and its new value, or `None` where it is taken out.
pub type Change = (&'static str, Option<String>);

/// Header look-up, so that the same code reads a browser's request, an origin's answer and a test's list.
pub trait Headers {
    /// A header's value, joined by `, ` where it is repeated. Names are matched without regard to case.
    fn get(&self, name: &'static str) -> Option<String>;

    /// Whether there is one of a name.
    fn has(&self, name: &'static str) -> bool {
        self.get(name).is_some()
    }
}

impl Headers for &[(&str, &str)] {
    fn get(&self, name: &'static str) -> Option<String> {
        let same = |(known, _): &&(&str, &str)| known.eq_ignore_ascii_case(name);
        let values: Vec<_> = self.iter().filter(same).map(|(_, value)| *value).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

impl<const N: usize> Headers for [(&str, &str); N] {
    fn get(&self, name: &'static str) -> Option<String> {
        Headers::get(&self.as_slice(), name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(headers: &dyn Headers, name: &'static str) -> Option<String> {
        headers.get(name)
    }

    #[test]
    fn repeated_headers_are_joined() {
        let list = [("Accept", "a"), ("X", "1"), ("accept", "b")];
        assert_eq!(value(&list, "ACCEPT").as_deref(), Some("a, b"));
        assert_eq!(value(&list, "Y"), None);
    }
}
