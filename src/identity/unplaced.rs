//! Pages that visitors were answered a moment ago and that are nobody's place, as the site has said: what such a page reports of
//! itself, by a picture or a call, brings the place in no more. Our own script does not report it, in whichever isolate.

use super::memory::{Memory, VERIFIED};
use crate::presence::id::{PagePath, SiteName};
use crate::presence::member::{MemberKey, Place, Signal};
use crate::presence::recent::digest;
use crate::presence::time::Timestamp;

/// What an isolate knows of such pages.
#[derive(Debug, Default)]
pub struct Unplaced {
    /// By the site, and a digest of whose page it is and where: neither is kept.
    pages: Memory<(SiteName, u32), ()>,
    any: bool,
}

impl Unplaced {
    /// Whether there was ever one: most sites have none.
    pub fn any(&self) -> bool {
        self.any
    }

    /// Notes whether a visitor's page is nobody's place.
    pub fn note(&mut self, site: &SiteName, key: &MemberKey, path: &PagePath, nowhere: bool, now: Timestamp) {
        let page = page(site, key, path);
        if nowhere {
            self.any = true;
            self.pages.keep(page, now.plus(VERIFIED), Some(()));
        } else {
            self.pages.forget(&page);
        }
    }

    /// Leaves out where a visitor reports to be, if their page there is nobody's place.
    pub fn leave_out(&self, site: &SiteName, signal: &mut Signal, now: Timestamp) {
        let Signal::Touch(touch) = signal else { return };
        let Some(place) = touch.place.as_mut().filter(|_| self.any) else { return };
        if self.pages.recall(&page(site, &touch.key, &place.path), now).is_some() {
            *place = Place::nowhere();
        }
    }
}

fn page(site: &SiteName, key: &MemberKey, path: &PagePath) -> (SiteName, u32) {
    // Should two be alike, a place is left out that need not be.
    (site.clone(), digest(&(key, path)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::id::{GuestKey, Title, Topic};
    use crate::presence::member::{State, Touch};

    #[test]
    fn what_a_page_that_is_nobodys_place_reports_is_left_out_for_a_minute_and_until_it_is_one_again() {
        let (site, path) = (SiteName::parse("a").unwrap(), PagePath::reported("/a").unwrap());
        let key = |number| MemberKey::Guest(GuestKey(number));
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let told = |unplaced: &Unplaced, number, path: &str, seconds| {
            let (title, topic) = (Title::parse("A").ok(), Topic::parse("tea").ok());
            let place = Some(Place { path: PagePath::reported(path).unwrap(), title, topic });
            let (was, profile, said, tab, state) = (None, None, None, None, State::Online);
            let mut signal =
                Signal::Touch(Touch { key: key(number), was, profile, said, place, tab, state, arrives: true });
            unplaced.leave_out(&site, &mut signal, at(seconds));
            let Signal::Touch(touch) = signal else { panic!("a touch") };
            !touch.place.unwrap().is_nowhere()
        };
        let mut unplaced = Unplaced::default();
        assert!(told(&unplaced, 1, "/a", 0) && !unplaced.any());
        unplaced.note(&site, &key(1), &path, true, at(0));
        assert!(unplaced.any() && !told(&unplaced, 1, "/a", 59));
        assert!(told(&unplaced, 1, "/b", 1) && told(&unplaced, 2, "/a", 1), "another page, and another visitor's");
        assert!(told(&unplaced, 1, "/a", 60), "later only our own script is there to report");
        unplaced.note(&site, &key(1), &path, false, at(2));
        assert!(told(&unplaced, 1, "/a", 3));
    }
}
