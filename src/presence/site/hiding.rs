//! Who hides. That is kept apart from who is here: another page of theirs may not have heard of it, and when they come
//! again they may be known by a login that does not say how they are shown.

use super::Site;
use crate::presence::id::UserId;
use crate::presence::member::{MemberKey, Profile, Touch};
use crate::presence::time::Timestamp;
use std::collections::HashMap;

impl Site {
    /// Is told who hides and since when, as it was kept.
    pub fn know_hidden(&mut self, hidden: impl IntoIterator<Item = (UserId, Timestamp)>) {
        self.hidden.extend(hidden);
    }

    /// Hides whoever has hidden since they said what a touch tells; notes who hides by it, or shows themselves again.
    pub(super) fn heed_hiding(&mut self, at: Timestamp, touch: &mut Touch<u32>) {
        let MemberKey::User(user) = &touch.key else { return };
        // Where the clock was put back, what they said last counts.
        let known = |times: &HashMap<UserId, Timestamp>| times.get(user).map(|time| (*time).min(self.now));
        let (said, since, shown) =
            (touch.said.and_then(|evidence| evidence.said).unwrap_or(at), known(&self.hidden), known(&self.shown));
        let here = self.users.find(touch.key.borrow()).is_some();
        match (&mut touch.profile, since) {
            // Another page of theirs has not heard yet that they show themselves again.
            (Some(profile), None) if profile.invisible && shown.is_some_and(|shown| said < shown) => {
                profile.invisible = false;
            }
            (Some(profile), since) if profile.invisible => {
                if since.is_none_or(|since| since < said) {
                    self.hidden.insert(user.clone(), said);
                }
                if since.is_none() {
                    self.hiding.push((user.clone(), Some(said)));
                }
            }
            (Some(profile), Some(since)) if said < since => profile.invisible = true,
            (Some(_), Some(_)) => {
                self.hidden.remove(user);
                self.shown.insert(user.clone(), said);
                self.hiding.push((user.clone(), None));
            }
            (profile @ None, Some(_)) if !here => *profile = Some(Profile { invisible: true, ..Profile::default() }),
            (None, _) | (Some(_), None) => {}
        }
    }
}
