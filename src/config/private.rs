//! `PRIVATE_PATHS`: pages of which nobody is told who is there, and of which nothing is kept.

use super::Globs;
use crate::presence::id::{Invalid, PagePath};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

const NAME: &str = "PRIVATE_PATHS";

/// The default: each of these as a part of a path, at any depth, with all that lies below. Such links change passwords, confirm
/// addresses, belong to one user alone, or tell that somebody administrates, buys or signs in.
const DEFAULT: [&str; 84] = [
    // Who somebody is.
    "account",
    "accounts",
    "my-account",
    "myaccount",
    "edit-profile",
    "settings",
    "preferences",
    "ucp",
    // Password and mail confirmation.
    "password",
    "passwords",
    "password-reset",
    "password-change",
    "reset-password",
    "change-password",
    "forgot-password",
    "lost-password",
    "set-password",
    "passwordreset",
    "resetpassword",
    "forgotpassword",
    "lostpassword",
    "reset",
    "confirm",
    "confirmation",
    "confirm-email",
    "confirm-account",
    "activate",
    "activation",
    "verify",
    "verification",
    "verify-email",
    "email-verification",
    "unlock",
    "magic-link",
    // Invitations, and the way out of a list.
    "invite",
    "invites",
    "invitation",
    "invitations",
    "unsubscribe",
    // Messages.
    "message",
    "messages",
    "private-messages",
    "conversation",
    "conversations",
    "inbox",
    "outbox",
    "pm",
    "pms",
    "dm",
    "dms",
    "notifications",
    // Administration.
    "admin",
    "administrator",
    "administration",
    "adm",
    "wp-admin",
    "wp-login",
    // Buying.
    "cart",
    "basket",
    "checkout",
    "checkouts",
    "order",
    "orders",
    "billing",
    "payment",
    "payments",
    "invoice",
    "invoices",
    // Signing in and out.
    "login",
    "log-in",
    "logout",
    "log-out",
    "signin",
    "sign-in",
    "signout",
    "sign-out",
    "auth",
    "oauth",
    "oauth2",
    "sso",
    "saml",
    "special:userlogin",
    "special:preferences",
    "special:passwordreset",
];

/// Paths that are private.
///
/// A path is compared as a server may read it: percent-decoded, in lower case, without parameters after a `;`, without empty and
/// dotted parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivatePaths {
    /// Parts that make a path private, with `-` for `_`, in order. Most patterns are such, and these are found without trying each.
    parts: Vec<Box<str>>,
    /// All other patterns.
    globs: Globs,
}

impl Default for PrivatePaths {
    fn default() -> Self {
        Self::of(DEFAULT.into_iter().map(Box::from).collect(), Globs::default())
    }
}

impl PrivatePaths {
    fn of(mut parts: Vec<Box<str>>, globs: Globs) -> Self {
        parts.sort_unstable();
        parts.dedup();
        Self { parts, globs }
    }

    /// Parses patterns separated by commas or blanks, which replace the default. `*/word/*` is any path with that part.
    ///
    /// # Errors
    /// When a pattern starts with neither `/` nor `*`, or there are too many, or one is too long: see [`Globs::parse`].
    pub fn parse(list: &str) -> Result<Self, Invalid> {
        let list = list.to_lowercase();
        let patterns = list.split([',', ' ', '\n']).map(str::trim).filter(|pattern| !pattern.is_empty());
        let (mut parts, mut others) = (Vec::new(), Vec::new());
        for pattern in patterns {
            if !pattern.starts_with(['/', '*']) {
                let rule =
                    format!("list paths such as /club/*, each with / or * at its beginning; {pattern:?} is none");
                return Err(Invalid::new(NAME, rule));
            }
            let part = pattern.strip_prefix("*/").and_then(|rest| rest.strip_suffix("/*"));
            match part.filter(|part| !part.is_empty() && !part.contains(['*', '?', '/', '.'])) {
                Some(part) => parts.push(alike(part).into()),
                None => others.push(pattern),
            }
        }
        Ok(Self::of(parts, Globs::parse(NAME, &others.join(","))?))
    }

    /// Whether a page is private.
    pub fn cover(&self, path: &PagePath) -> bool {
        let path = decoded(path.as_str());
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split(['/', '\\']) {
            match part.split([';', '?', '#']).next().unwrap_or_default().trim() {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let known = |part: &&str| self.parts.binary_search_by(|known| (**known).cmp(&*alike(part))).is_ok();
        parts.iter().any(known) || self.match_whole(&parts)
    }

    fn match_whole(&self, parts: &[&str]) -> bool {
        if self.globs.is_empty() {
            return false;
        }
        let path = format!("/{}/", parts.join("/"));
        // `/club/*` means the page at /club, too.
        let without_slash = path.trim_end_matches('/');
        self.globs.matches(&path) || self.globs.matches(if without_slash.is_empty() { "/" } else { without_slash })
    }
}

/// A part as it is compared: `password_reset.php` is `password-reset`.
fn alike(part: &str) -> Cow<'_, str> {
    let part = part.split('.').next().unwrap_or_default();
    if part.contains('_') { part.replace('_', "-").into() } else { part.into() }
}

/// A path without its percent-encoding, which may have been put on more than once, in lower case.
fn decoded(path: &str) -> String {
    let mut path = path.to_owned();
    // As often as any server would, and once more.
    for _ in 0..3 {
        if !path.contains('%') {
            break;
        }
        path = percent_decode_str(&path).decode_utf8_lossy().into_owned();
    }
    path.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covers(paths: &PrivatePaths, path: &str) -> bool {
        paths.cover(&PagePath::reported(path).unwrap())
    }

    #[test]
    fn links_that_are_one_persons_are_private_unless_told_otherwise() {
        for path in [
            "/account",
            "/account/",
            "/Account",
            "/%61ccount",
            "/%2561ccount",
            "/account;jsessionid=1",
            "/account%3Bv=1",
            "/account%20",
            "/x//account",
            "/./account",
            "/x/../account",
            "/%2e/account",
            "/en%2Faccount",
            "/en\\account",
            "/en/my_account/edit",
            "/account.php",
            "/accounts/reset/Mg/cc2-1f4/",
            "/password_reset/done",
            "/users/password/edit",
            "/email/verify/7/a9",
            "/u/sally/messages",
            "/ucp.php",
            "/wp-admin/post.php",
            "/wp-login.php",
            "/shop/checkout/order-received/7",
            "/auth/callback",
            "/index.php/Special:UserLogin",
            "/newsletter/unsubscribe/abc",
        ] {
            assert!(covers(&PrivatePaths::default(), path), "{path}");
        }
    }

    #[test]
    fn ordinary_pages_are_not() {
        for path in [
            "/",
            "/forum/42",
            "/blog/accounting",
            "/blog/how-to-reset-a-clock",
            "/wiki/Order_of_the_Garter",
            "/messages-in-a-bottle",
            "/admins-choice",
            "/u/sally",
            "/%E5%B1%B1",
            "/100%",
            "/cartoons/login-screens",
        ] {
            assert!(!covers(&PrivatePaths::default(), path), "{path}");
        }
    }

    #[test]
    fn patterns_replace_the_default() {
        let paths = PrivatePaths::parse("/Club/*, */secret/*, *.pdf, /exact").unwrap();
        for path in ["/club", "/club/7", "/CLUB/a/b", "/a/secret", "/a/secret.html", "/docs/a.PDF", "/exact", "/exact/"]
        {
            assert!(covers(&paths, path), "{path}");
        }
        for path in ["/account", "/clubs", "/a/secrets", "/exact/other", "/a.pdf.html"] {
            assert!(!covers(&paths, path), "{path}");
        }
        let refused = PrivatePaths::parse("club/*").unwrap_err().to_string();
        let rule =
            "PRIVATE_PATHS must list paths such as /club/*, each with / or * at its beginning; \"club/*\" is none";
        assert_eq!(refused, rule);
        assert!(PrivatePaths::parse(&"/a*,".repeat(65)).is_err());
        assert!(!covers(&PrivatePaths::parse("/-").unwrap(), "/account"), "none at all");
    }

    #[test]
    fn each_default_is_a_part_that_can_be_found() {
        for part in DEFAULT {
            assert!(covers(&PrivatePaths::default(), &format!("/a/{}/b", part.to_uppercase())), "{part}");
            assert_eq!(PrivatePaths::parse(&format!("*/{part}/*")).unwrap().parts.len(), 1, "{part}");
        }
        assert_eq!(PrivatePaths::default().parts.len(), DEFAULT.len());
    }

    proptest! {
        /// Whatever of its letters is percent-encoded or written large, a private path is one.
        #[test]
        fn no_way_of_writing_a_path_gets_around_it(part in 0..DEFAULT.len(), choices in proptest::collection::vec(0..4u8, 40)) {
            let written: String = DEFAULT[part].chars().zip(choices).map(|(letter, choice)| match choice {
                0 => letter.to_ascii_uppercase().to_string(),
                1 => format!("%{:02x}", letter as u32),
                2 => format!("%25{:02X}", letter.to_ascii_uppercase() as u32),
                _ => letter.to_string(),
            }).collect();
            let path = format!("/a/{written}/b");
            prop_assert!(covers(&PrivatePaths::default(), &path), "{}", path);
        }
    }
}
