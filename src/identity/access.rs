//! Who may see what. This is the one place where `ACCESS` is enforced: whatever is asked, in whatever form, names its
//! [`Subject`]s here first.

use super::User;
use super::permission::{Permission, Right};
use crate::presence::id::{Invalid, Topic};
use serde::{Deserialize, Serialize};

/// Lets somebody see who looked at any topic, not only at their own.
const VIEW_VIEWERS: &str = "view_viewers";
/// Lets somebody see those who are invisible to others.
const SEE_INVISIBLE: &str = "see_invisible";
/// Permissions by which somebody changes what others may do, besides the one that `ACCESS` names for `admin`. No cookie of
/// ours holds one.
const ADMINISTRATING: [&str; 1] = ["admin"];

/// Whom a rule lets through.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Rule {
    /// Everybody.
    Public,
    /// Whoever is signed in.
    Users,
    /// Whoever has this permission.
    Perm(Permission),
    /// Nobody at all.
    Nobody,
}

impl TryFrom<String> for Rule {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        match text.as_str() {
            "public" => Ok(Self::Public),
            "users" => Ok(Self::Users),
            "nobody" => Ok(Self::Nobody),
            other => match other.strip_prefix("perm:") {
                Some(permission) => Ok(Self::Perm(Permission::parse(permission)?)),
                None => Err(Invalid::new("a rule", "be public, users, perm:<name> or nobody")),
            },
        }
    }
}

/// What there is to see or to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// How many are online.
    Count,
    /// Who they are.
    Names,
    /// On which pages.
    Locations,
    /// When somebody who is not online was last here.
    LastSeen,
    /// How many were online before.
    History,
    /// To hear of changes as they happen.
    Live,
}

/// The rules, one for each subject. What is not told has its default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    count: Rule,
    names: Rule,
    locations: Rule,
    last_seen: Rule,
    viewers: Rule,
    history: Rule,
    live: Rule,
    admin: Rule,
}

impl Default for Access {
    fn default() -> Self {
        let admin = Permission::parse("admin").map_or(Rule::Nobody, Rule::Perm);
        Self {
            count: Rule::Public,
            names: Rule::Public,
            locations: Rule::Public,
            last_seen: Rule::Public,
            viewers: Rule::Users,
            history: Rule::Public,
            live: Rule::Public,
            admin,
        }
    }
}

/// Who asks, and what they may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether they showed the admin token.
    pub admin: bool,
    /// The user, if they are signed in.
    pub user: Option<User>,
    /// What is granted to that user, besides what they bring along.
    pub granted: Vec<Right>,
    /// Whether some of that could not be looked up, so that they may be somebody, or may do something, of which we do not know.
    pub uncertain: bool,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Nobody knows who they are: they can sign in.
    SignIn,
    /// They are known, and may not.
    Forbidden,
    /// Nobody knows whether they may: what it takes could not be looked up.
    Unsure,
}

/// How much an answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// Where people are.
    pub locations: bool,
    /// When those who are not online were last here.
    pub last_seen: bool,
    /// Who is invisible to others.
    pub invisible: bool,
}

impl Scope {
    /// Whether it tells all that another one does.
    pub fn covers(self, other: Self) -> bool {
        let Self { locations, last_seen, invisible } = other;
        (self.locations || !locations) && (self.last_seen || !last_seen) && (self.invisible || !invisible)
    }
}

impl Standing {
    /// Whether they may do something.
    pub fn may(&self, asked: &Right) -> bool {
        let brought = self.user.iter().flat_map(|user| &user.perms);
        self.admin || brought.chain(&self.granted).any(|right| right.covers(asked))
    }

    /// Whether they may do something for the site as a whole.
    fn has(&self, permission: &str) -> bool {
        Right::parse(permission).is_ok_and(|right| self.may(&right))
    }

    /// Whether invisible users are shown to them.
    pub fn sees_invisible(&self) -> bool {
        self.has(SEE_INVISIBLE)
    }
}

impl Access {
    /// Reads `ACCESS`.
    ///
    /// # Errors
    /// When it is not a JSON object of rules by subject.
    pub fn parse(json: &str) -> Result<Self, Invalid> {
        // An array of the right length would pass for a struct.
        let json = if json.trim_start().starts_with('{') { json } else { "" };
        serde_json::from_str(json).map_err(|error| {
            let example = r#"{"names": "users", "locations": "perm:staff"}"#;
            Invalid::new("ACCESS", format!("be JSON such as {example}; {error}"))
        })
    }

    /// Whether any of this is kept from anybody: then who asks has to be found out, and the answer is theirs alone.
    pub fn restricts(&self, subjects: &[Subject]) -> bool {
        subjects.iter().any(|subject| *self.rule(*subject) != Rule::Public)
    }

    /// Whether somebody may see all of that, and how much the answer tells them.
    ///
    /// # Errors
    /// When they may not see one of the subjects.
    pub fn scope(&self, subjects: &[Subject], who: &Standing) -> Result<Scope, Denied> {
        for subject in subjects {
            check(self.rule(*subject), who)?;
        }
        Ok(Scope {
            locations: check(&self.locations, who).is_ok(),
            last_seen: check(&self.last_seen, who).is_ok(),
            invisible: who.sees_invisible(),
        })
    }

    /// Whether somebody may see who looked at a topic.
    ///
    /// # Errors
    /// When they may not.
    pub fn viewers(&self, topic: &Topic, who: &Standing) -> Result<(), Denied> {
        check(&self.viewers, who)?;
        let own = |user: &User| topic.as_str().strip_prefix("user:") == Some(user.id.as_str());
        match self.viewers {
            Rule::Users if !who.user.as_ref().is_some_and(own) && !who.has(VIEW_VIEWERS) => {
                Err(if who.uncertain { Denied::Unsure } else { Denied::Forbidden })
            }
            _ => Ok(()),
        }
    }

    /// Whether who looked at topics is for everybody to see.
    pub fn viewers_are_public(&self) -> bool {
        self.viewers == Rule::Public
    }

    /// Whether a right lets somebody change what others may do.
    pub fn is_administrating(&self, right: &Right) -> bool {
        let named = matches!(&self.admin, Rule::Perm(permission) if *permission == right.permission);
        named || ADMINISTRATING.contains(&right.permission.as_str())
    }

    /// What of somebody's permissions a cookie of ours may hold.
    pub fn for_cookie(&self, perms: &[Right]) -> Vec<Right> {
        perms.iter().filter(|right| !self.is_administrating(right)).cloned().collect()
    }

    /// Whether somebody may do what is for the site's own servers. The admin token always may.
    ///
    /// # Errors
    /// When they may not.
    pub fn admin(&self, who: &Standing) -> Result<(), Denied> {
        match self.admin {
            _ if who.admin => Ok(()),
            // However that rule reads, a stranger is not let in here.
            Rule::Public => check(&Rule::Users, who),
            ref rule => check(rule, who),
        }
    }

    fn rule(&self, subject: Subject) -> &Rule {
        match subject {
            Subject::Count => &self.count,
            Subject::Names => &self.names,
            Subject::Locations => &self.locations,
            Subject::LastSeen => &self.last_seen,
            Subject::History => &self.history,
            Subject::Live => &self.live,
        }
    }
}

fn check(rule: &Rule, who: &Standing) -> Result<(), Denied> {
    let known = who.admin || who.user.is_some();
    match rule {
        Rule::Public => Ok(()),
        Rule::Users if known => Ok(()),
        Rule::Perm(permission) if who.may(&Right::to(permission.clone())) => Ok(()),
        Rule::Nobody => Err(Denied::Forbidden),
        Rule::Users | Rule::Perm(_) if who.uncertain => Err(Denied::Unsure),
        Rule::Users => Err(Denied::SignIn),
        Rule::Perm(_) if known => Err(Denied::Forbidden),
        Rule::Perm(_) => Err(Denied::SignIn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::id::UserId;
    use proptest::prelude::*;

    fn user(id: &str, perms: &[&str]) -> Standing {
        let user =
            User { id: UserId::parse(id).unwrap(), profile: None, perms: Right::parse_all(perms.iter().copied()) };
        Standing { user: Some(user), ..Standing::default() }
    }

    fn admin() -> Standing {
        Standing { admin: true, ..Standing::default() }
    }

    #[test]
    fn each_rule_lets_through_whom_it_names() {
        let rules = [
            ("public", [0, 0, 0, 0]),
            ("users", [401, 0, 0, 0]),
            ("perm:staff", [401, 403, 0, 0]),
            ("nobody", [403; 4]),
        ];
        let askers = [Standing::default(), user("bob", &["other"]), user("sally", &["staff"]), admin()];
        for (rule, expected) in rules {
            let access = Access::parse(&format!(r#"{{"names": "{rule}"}}"#)).unwrap();
            for (who, expected) in askers.iter().zip(expected) {
                let status = match access.scope(&[Subject::Count, Subject::Names], who) {
                    Ok(_) => 0,
                    Err(Denied::SignIn) => 401,
                    Err(Denied::Forbidden) => 403,
                    Err(Denied::Unsure) => 503,
                };
                assert_eq!(status, expected, "{rule} {who:?}");
                assert!(access.scope(&[Subject::Count], who).is_ok());
            }
        }
    }

    #[test]
    fn whose_login_or_grants_cannot_be_looked_up_may_no_more_for_it_and_is_not_told_that_they_may_not() {
        let access = Access::parse(r#"{"names": "users", "locations": "perm:staff", "history": "nobody"}"#).unwrap();
        let nobody = Standing { uncertain: true, ..Standing::default() };
        let bob = Standing { uncertain: true, ..user("bob", &[]) };
        assert_eq!(access.scope(&[Subject::Names], &nobody), Err(Denied::Unsure));
        assert_eq!(access.scope(&[Subject::Locations], &bob), Err(Denied::Unsure));
        assert_eq!(access.scope(&[Subject::History], &bob), Err(Denied::Forbidden));
        assert!(!access.scope(&[Subject::Names], &bob).unwrap().locations);
        assert!(access.scope(&[Subject::Count], &nobody).is_ok(), "what is for everybody is for them");
        assert_eq!((access.admin(&nobody), access.admin(&bob)), (Err(Denied::Unsure), Err(Denied::Unsure)));
        let topic = Topic::parse("user:sally").unwrap();
        assert_eq!(access.viewers(&topic, &bob), Err(Denied::Unsure));
    }

    #[test]
    fn what_is_granted_counts_as_what_was_brought_along() {
        let access = Access::parse(r#"{"names": "perm:staff"}"#).unwrap();
        let granted = Standing { granted: vec![Right::parse("staff").unwrap()], ..user("bob", &[]) };
        assert!(access.scope(&[Subject::Names], &granted).is_ok());
        let elsewhere = Standing { granted: vec![Right::parse("staff@group:42").unwrap()], ..user("bob", &[]) };
        assert_eq!(access.scope(&[Subject::Names], &elsewhere), Err(Denied::Forbidden));
    }

    #[test]
    fn locations_and_last_seen_are_left_out_of_what_may_be_seen() {
        let access = Access::parse(r#"{"locations": "users", "last_seen": "perm:staff"}"#).unwrap();
        let scope = |who: &Standing| access.scope(&[Subject::Names], who).unwrap();
        assert_eq!(scope(&Standing::default()), Scope { locations: false, last_seen: false, invisible: false });
        assert_eq!(scope(&user("bob", &[])), Scope { locations: true, last_seen: false, invisible: false });
        assert_eq!(
            scope(&user("bob", &["staff", "see_invisible"])),
            Scope { locations: true, last_seen: true, invisible: true }
        );
        assert!(access.restricts(&[Subject::Names, Subject::Locations]) && !access.restricts(&[Subject::Count]));
    }

    #[test]
    fn who_looked_at_a_profile_is_for_its_owner() {
        let topic = |text: &str| Topic::parse(text).unwrap();
        let access = Access::default();
        assert_eq!(access.viewers(&topic("user:sally"), &Standing::default()), Err(Denied::SignIn));
        assert_eq!(access.viewers(&topic("user:sally"), &user("bob", &[])), Err(Denied::Forbidden));
        assert_eq!(access.viewers(&topic("user:sally"), &user("Sally", &[])), Err(Denied::Forbidden));
        assert_eq!(access.viewers(&topic("sally"), &user("sally", &[])), Err(Denied::Forbidden));
        assert_eq!(access.viewers(&topic("user:sally"), &user("sally", &[])), Ok(()));
        assert_eq!(access.viewers(&topic("thread:7"), &user("bob", &["view_viewers"])), Ok(()));
        assert_eq!(access.viewers(&topic("thread:7"), &admin()), Ok(()));
    }

    #[test]
    fn only_an_admin_is_one() {
        let access = Access::default();
        assert_eq!(access.admin(&Standing::default()), Err(Denied::SignIn));
        assert_eq!(access.admin(&user("bob", &["admin@group:42"])), Err(Denied::Forbidden));
        assert_eq!(access.admin(&user("bob", &["admin"])), Ok(()));
        let open = Access::parse(r#"{"admin": "public"}"#).unwrap();
        assert_eq!(open.admin(&Standing::default()), Err(Denied::SignIn), "a stranger never is");
        let closed = Access::parse(r#"{"admin": "nobody"}"#).unwrap();
        assert_eq!(closed.admin(&user("bob", &["admin"])), Err(Denied::Forbidden));
        assert_eq!(closed.admin(&admin()), Ok(()));
    }

    #[test]
    fn a_misspelt_rule_is_refused() {
        for bad in [
            "",
            "[]",
            "public",
            r#"{"name": "users"}"#,
            r#"{"names": "user"}"#,
            r#"{"names": "perm:"}"#,
            r#"{"names": null}"#,
        ] {
            assert!(Access::parse(bad).is_err(), "{bad}");
        }
        let said = Access::parse(r#"{"names": "user"}"#).unwrap_err().to_string();
        assert!(said.starts_with("ACCESS must be JSON such as"), "{said}");
        assert!(said.contains("a rule must be public, users, perm:<name> or nobody"), "{said}");
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused_but_never_panics(text in ".{0,80}") {
            let _ = Access::parse(&text);
        }
    }
}
