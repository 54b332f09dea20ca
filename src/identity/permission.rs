//! What somebody may do: a permission, for the site as a whole or on an object of it.

use crate::presence::id::{Invalid, text};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The object that stands for all of them, and for the site as a whole.
const ALL: &str = "*";

text!(
    /// The name of something that not everybody may do, as `can_edit`.
    Permission, "a permission", 1..=64, "have no @, comma or space" => |text| !text.contains(['@', ',', ' '])
);
text!(
    /// What it may be done to, as `group:42`; `*` is everything.
    Object,
    "an object",
    1..=128
);

/// A permission and what it is for. Written `can_edit`, `can_edit@group:42`, `can_edit@*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Right {
    /// What may be done.
    pub permission: Permission,
    /// To what; `None` is the site as a whole.
    pub object: Option<Object>,
}

impl Right {
    /// A right for the site as a whole.
    pub fn to(permission: Permission) -> Self {
        Self { permission, object: None }
    }

    /// Reads a permission with or without an object.
    ///
    /// # Errors
    /// When either is out of its bounds.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let (permission, object) = match text.split_once('@') {
            Some((permission, object)) => (permission, Some(Object::parse(object)?)),
            None => (text, None),
        };
        Ok(Self { permission: Permission::parse(permission)?, object })
    }

    /// Reads what others told us somebody may do; what is malformed permits nothing and is left out.
    pub fn parse_all<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        texts.into_iter().filter_map(|text| Self::parse(text).ok()).take(MAX_RIGHTS).collect()
    }

    /// Whether who has this right may do what is asked. A right on one object is none on others, and one for the site
    /// as a whole is none on any object: only `*` is a right on everything.
    pub fn covers(&self, asked: &Self) -> bool {
        self.permission == asked.permission
            && (self.object == asked.object || self.object.as_ref().is_some_and(|object| object.as_str() == ALL))
    }
}

/// The most rights that somebody brings along.
pub const MAX_RIGHTS: usize = 64;

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.permission.as_str())?;
        match &self.object {
            Some(object) => write!(f, "@{}", object.as_str()),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for Right {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<Right> for String {
    fn from(right: Right) -> Self {
        right.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn right(text: &str) -> Right {
        Right::parse(text).unwrap()
    }

    #[test]
    fn a_right_covers_itself_and_the_star_covers_everything() {
        for (has, asked, may) in [
            ("can_edit", "can_edit", true),
            ("can_edit", "can_view", false),
            ("can_edit", "Can_edit", false),
            ("can_edit", "can_edit@group:42", false),
            ("can_edit@group:42", "can_edit@group:42", true),
            ("can_edit@group:42", "can_edit@group:43", false),
            ("can_edit@group:42", "can_edit", false),
            ("can_edit@*", "can_edit@group:42", true),
            ("can_edit@*", "can_edit", true),
            ("can_edit@*", "can_view", false),
            ("can_edit@group:42", "can_edit@*", false),
        ] {
            assert_eq!(right(has).covers(&right(asked)), may, "{has} {asked}");
        }
    }

    #[test]
    fn an_object_may_hold_what_a_permission_may_not() {
        assert_eq!(right("mail@sally@example.com, home").object.unwrap().as_str(), "sally@example.com, home");
        for bad in ["", "@", "a@", "@b", "a b", "a,b", "a\nb", &"x".repeat(65), &format!("a@{}", "x".repeat(129))] {
            assert!(Right::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_alike(text in ".{0,80}") {
            if let Ok(right) = Right::parse(&text) {
                prop_assert_eq!(right.to_string(), text);
            }
        }
    }
}
