//! How the object that keeps a site's presence takes batches, and what those say who watch.

use super::clock;
use super::presence_object::Presence;
use crate::presence::attention::Attention;
use crate::presence::id::{DeviceId, UserId};
use crate::presence::member::{Kind, MemberKey, Signal, Touch};
use crate::presence::recorder::Recorder;
use crate::presence::reports::{Report, Reports};
use crate::presence::site::Site;
use crate::presence::time::Millis;
use crate::presence::totals::Counted;
use futures_channel::oneshot;
use futures_util::future::{Either, select};
use std::pin::pin;
use std::time::Duration;
use worker::{Delay, Error, Result};

/// How long a batch waits at the most for others that are being read, to be stored with them.
const TOGETHER: Millis = Millis(20);

impl Presence {
    /// Applies a batch, durably: those whose batches come at about the same time are answered together, as what is stored
    /// together waits for the disk once.
    pub async fn apply(&self, reports: Reports, counted: Counted) -> Result<()> {
        let (heard, mut stored) = oneshot::channel();
        let (reports, packed) = self.own_part(reports).await?;
        self.hear_batch(reports, packed, Some((counted, heard)))?;
        let lost = |_| Error::RustError("it was not stored".into());
        let gathered = match self.attention() {
            Attention::Nobody => self.gathering.borrow_mut().note(clock::now()),
            // What is told together is stored together.
            Attention::Watched(next) => {
                if next > Millis(0) {
                    self.work_in(next);
                }
                next
            }
            // Whoever looks is not kept waiting.
            Attention::Asked => Millis(0),
        };
        let wait = if self.reading.get() > 0 { gathered.max(TOGETHER) } else { gathered };
        let waited = Delay::from(Duration::from_millis(u64::from(wait.0)));
        if wait > Millis(0)
            && let Either::Left((stored, _)) = select(&mut stored, pin!(waited)).await
        {
            return stored.map_err(lost);
        }
        // Whoever does anything with the site stores what it has heard before.
        self.with_site(|_, _| Ok(()))?;
        stored.await.map_err(lost)
    }

    /// Has the site hear a batch, and sees to what that means for those who watch. It is not stored yet: a recorder whose
    /// batch it is waits for that, and has counted.
    pub fn hear_batch(
        &self,
        mut reports: Reports,
        packed: Vec<Vec<u8>>,
        recorder: Option<(Counted, oneshot::Sender<()>)>,
    ) -> Result<()> {
        // Whoever is connected is here, whatever a page says that does not know of the others.
        reports.list.retain(|report| match &report.signal {
            Signal::Leave { key, tab: None } => !self.holds(key),
            Signal::Touch(_) | Signal::Leave { .. } | Signal::SignOut { .. } => true,
        });
        for report in &mut reports.list {
            // What they said here in the meantime is no sign that they have signed in again: who has will connect again.
            let connected =
                signed_out(&report.signal).is_some_and(|(user, _)| self.holds(&MemberKey::User(user.clone())));
            report.age = if connected { Millis(0) } else { report.age };
        }
        self.heed_leaves(&reports.list);
        let out = reports.list.iter().filter_map(|report| signed_out(&report.signal));
        let out: Vec<_> = out.map(|(user, device)| (user.clone(), device)).collect();
        let signed_in: Vec<_> = reports.list.iter().filter_map(|report| signed_in(&report.signal).cloned()).collect();
        let signals = reports.list.len();
        self.with_held(|presence, held| {
            presence.advance(&mut held.site)?;
            // What a guest's pages have said goes over to the user that they are now, or they would be a guest again by it.
            presence.hear_taken(&mut held.site, Recorder::has_news);
            for members in packed {
                held.site.adopt(&members).map_err(|error| Error::RustError(error.to_string()))?;
            }
            held.site.hear(clock::now(), reports);
            if let Some((counted, waits)) = recorder {
                held.site.totals.add(counted, signals);
                held.waiting.push(waits);
            }
            Ok(())
        })?;
        for guest in signed_in {
            self.room.borrow_mut().dismiss_guest(&guest);
            self.relays.note_ended((guest, None));
        }
        out.iter().for_each(|(user, device)| self.show_out(user, *device));
        Ok(())
    }

    /// Shows a user out who has signed out, on one device or on all of them.
    pub fn show_out(&self, user: &UserId, device: Option<DeviceId>) {
        self.room.borrow_mut().dismiss(user, device);
        self.relays.note_ended((MemberKey::User(user.clone()), device));
        self.recorder.borrow_mut().iter_mut().for_each(|recorder| recorder.erase(clock::now(), user, device));
    }

    /// Takes what somebody who watches says, and stores it now or when it is time.
    pub fn hear(&self, signals: Vec<Signal>) {
        let next = self.room.borrow().next(clock::now());
        self.hear_in(next, signals);
    }

    /// The same, where others are told in that time.
    pub fn hear_in(&self, next: Option<Millis>, signals: Vec<Signal>) {
        match self.take(next, signals) {
            Some(Millis(0)) => self.work(),
            Some(hold) => self.work_in(hold),
            None => {}
        }
    }

    /// Takes what those who watch say, and says in what time it has to be stored. As in an isolate, what tells nothing
    /// new is left out, and what comes at about the same time is stored as one row. A refresh alone is not stored at
    /// all: whoever is connected stays by their lease.
    pub fn take(&self, next: Option<Millis>, signals: Vec<Signal>) -> Option<Millis> {
        let now = clock::now();
        let mut recorder = self.recorder.borrow_mut();
        let recorder = recorder.as_mut()?;
        recorder.heed(now, now, next.map_or(Attention::Asked, Attention::Watched));
        signals.into_iter().filter_map(|signal| recorder.take_news(now, signal)).min()
    }

    /// Has the site hear all that was said.
    pub fn hear_all(&self) -> Result<()> {
        self.with_held(|presence, held| {
            presence.advance(&mut held.site)?;
            presence.hear_taken(&mut held.site, Recorder::has_news);
            Ok(())
        })
    }

    /// Has the site hear what was taken, if there is any news in it and that is wanted now.
    #[inline(never)]
    pub fn hear_taken(&self, site: &mut Site, wanted: impl Fn(&Recorder) -> bool) {
        let now = clock::now();
        let mut recorder = self.recorder.borrow_mut();
        let Some(recorder) = recorder.as_mut().filter(|recorder| wanted(recorder)) else { return };
        let reports = recorder.drain(now);
        // Nobody had to be asked to take them.
        site.totals.add(Counted { answered_in: None, ..recorder.counted() }, reports.list.len());
        site.hear(now, reports);
    }

    /// Whoever comes back after this is news, should it be to the same page: who leaves, or is known otherwise from now on.
    pub fn heed_leaves<P>(&self, reports: &[Report<P>]) {
        let mut recorder = self.recorder.borrow_mut();
        let Some(recorder) = recorder.as_mut() else { return };
        for report in reports {
            match &report.signal {
                Signal::Leave { key, .. } | Signal::Touch(Touch { was: Some(key), .. }) => recorder.forget(key),
                Signal::Touch(_) | Signal::SignOut { .. } => {}
            }
        }
    }
}

fn signed_out<P>(signal: &Signal<P>) -> Option<(&UserId, Option<DeviceId>)> {
    if let Signal::SignOut { user, device } = signal { Some((user, *device)) } else { None }
}

/// The guest who is a user from now on.
pub fn signed_in<P>(signal: &Signal<P>) -> Option<&MemberKey> {
    match signal {
        Signal::Touch(touch) if touch.key.kind() == Kind::User => {
            touch.was.as_ref().filter(|was| was.kind() != Kind::User)
        }
        Signal::Touch(_) | Signal::Leave { .. } | Signal::SignOut { .. } => None,
    }
}
