//! A site's objects among themselves: who keeps whom, and the way from one to another.
//!
//! When `SHARDS` is changed, each object has what is its own now handed over before it answers anything else. Its platform
//! starts objects anew when a setting changes, so all that matters is what each finds when it is first called.

use super::calls::{self, Object, PATIENCE, PATIENCE_FOR_ONE};
use super::clock;
use super::object::{blob, text};
use super::presence_object::Presence;
use super::presence_rows::Sheets;
use super::waiting::Together;
use crate::presence::id::UserId;
use crate::presence::member::{KeyRef, MemberKey, Viewed};
use crate::presence::record;
use crate::presence::reports::{Report, Reports};
use crate::presence::revoked::Revocation;
use crate::presence::shards::{Claim, Shards, digest};
use crate::presence::site::{Outcome, Site};
use crate::presence::time::{Seconds, Timestamp};
use crate::protocol::call::{Call, Share};
use crate::protocol::moves::{LOAD, Load, Place, Row, Table, Taken, Wish};
use crate::protocol::stored;
use futures_util::future::join_all;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use worker::{Error, Result, SqlStorageValue, console_error};

/// After how long it is tried again to have handed over what was not.
const AGAIN: Seconds = Seconds(30);

/// How long another object is waited for that looks through all that is kept here for what is its own.
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(60);

/// How many sheets of the register are looked through for a load: 2 MB.
const SHEETS: usize = 32;

/// What is kept in the stead of the number of shards where something may be missing, or be another object's.
const UNSETTLED: u32 = 0;

/// What stands between a topic and who has looked at it: neither has control characters.
const SEPARATOR: char = '\u{1f}';

/// The revocation that a row of the table of these tells.
fn revocation_in(key: &str, data: &[u8]) -> Option<Revocation> {
    let (user, device) = key.split_once(SEPARATOR)?;
    stored::revocation_of(user, device, std::str::from_utf8(data).ok()?.parse().ok()?).ok()
}

/// An object among those of its site.
pub struct Among {
    /// Which it is; none where its name does not tell.
    share: Option<Share>,
    /// Until when nothing has to be handed over; for ever, where all was.
    settled: Cell<Option<Timestamp>>,
    settling: Together,
}

impl Among {
    /// The object of this name.
    pub fn of(name: Option<String>) -> Self {
        let share = name.and_then(|name| Share::of(&name));
        Self { share, settled: Cell::new(None), settling: Together::default() }
    }

    /// Which it is.
    pub fn share(&self) -> Option<&Share> {
        self.share.as_ref()
    }

    /// What a test calls it in whom it makes something go wrong.
    #[cfg(feature = "test-hooks")]
    pub fn called(&self) -> String {
        format!("object-{}", self.share.as_ref().map_or(0, |share| share.number))
    }
}

impl Presence {
    /// Sees to it that everything that is this object's is here.
    pub async fn settle(&self) {
        let settled = |until: Timestamp| clock::now() < until;
        if self.among.settled.get().is_some_and(settled) {
            return;
        }
        let work = |presence: Rc<Self>| async move { presence.have_handed_over().await };
        self.among.settling.wait(&self.store, &self.this, work).await;
    }

    async fn have_handed_over(&self) {
        let until = match self.try_to_have_handed_over().await {
            Ok(()) => Timestamp::from_millis(i64::MAX),
            Err(error) => {
                console_error!("not all is here yet that was kept elsewhere: {error}");
                clock::now().plus(AGAIN)
            }
        };
        self.among.settled.set(Some(until));
        self.among.settling.done();
    }

    async fn try_to_have_handed_over(&self) -> Result<()> {
        let (Some(share), shards) = (&self.among.share, self.config()?.shards) else { return Ok(()) };
        let before = self.number_before()?;
        if before == Some(shards.count()) || share.number >= shards.count() {
            return Ok(());
        }
        let most: u32 = match share.number {
            0 => self.note_most()?,
            _ => self.ask(0, &Call::Most).await?,
        };
        let others = (0..most).filter(|other| *other != share.number);
        for done in join_all(others.map(|other| self.collect(other))).await {
            done?;
        }
        if before.is_some() {
            // Others may have asked before this one knew that it is to hand over anything.
            let (others, call) = (shards.all().filter(|other| *other != share.number), Call::Collect(share.number));
            for done in join_all(others.map(|other| self.ask_patiently::<()>(other, &call, PATIENCE_FOR_ALL))).await {
                done?;
            }
        }
        self.keep_number("shards", shards.count())
    }

    /// Drops what is another object's of what came of reading the rows: of those who had gone when they were handed over
    /// these tell still, as if they went now.
    pub fn drop_handed_over(&self, site: &mut Site, outcome: &mut Outcome) -> Result<()> {
        let (Some(share), shards) = (&self.among.share, self.config()?.shards) else { return Ok(()) };
        if self.kept_number("shards")? == Some(shards.count()) {
            let own = |key: KeyRef<'_>| shards.home(key) == share.number;
            site.retain_held(|user| own(MemberKey::User(user)));
            outcome.departures.retain(|departure| own(MemberKey::User(&departure.user)));
            outcome.views.retain(|viewed| own(viewed.viewer.borrow()));
        }
        Ok(())
    }

    /// Over how many objects the site has ever been spread. It is kept before any of them has anything handed over: should
    /// there be fewer again at once, all are known that may have something.
    pub fn note_most(&self) -> Result<u32> {
        let (known, count) = (self.kept_number("most_shards")?.unwrap_or(1), self.config()?.shards.count());
        if count > known {
            self.keep_number("most_shards", count)?;
        }
        Ok(known.max(count))
    }

    /// Has another object hand over what is this one's.
    pub async fn collect(&self, other: u32) -> Result<()> {
        let Some(Share { number: home, .. }) = self.among.share else { return Ok(()) };
        let mut wish = Wish { shards: self.config()?.shards, home, taken: Taken::default(), from: Place::Online };
        while wish.from != Place::Nowhere || !wish.taken.is_empty() {
            let load: Load = self.ask(other, &Call::Release(wish.clone())).await?;
            self.take_in(&load)?;
            wish = Wish { from: load.next.clone(), taken: load.taken(), ..wish };
        }
        Ok(())
    }

    fn take_in(&self, load: &Load) -> Result<()> {
        self.with_site(|presence, site| {
            if !load.packed.is_empty() {
                site.adopt(&load.packed).map_err(|error| Error::RustError(error.to_string()))?;
            }
            let mut outcome = site.outcome();
            outcome.departures.extend_from_slice(&load.gone);
            for Row { table, key, data } in &load.rows {
                match table {
                    Table::Viewers => outcome.views.extend(record::decode::<Viewed>(data).ok()),
                    Table::Hidden => {
                        let since = std::str::from_utf8(data).ok().and_then(|millis| millis.parse().ok());
                        let hidden = UserId::parse(key.as_str()).ok().zip(since.map(Timestamp::from_millis));
                        site.know_hidden(hidden.clone());
                        outcome.hidden.extend(hidden.map(|(user, since)| (user, Some(since))));
                    }
                    Table::Revoked => {
                        let revocation = revocation_in(key, data);
                        site.know_revoked(revocation);
                        outcome.revoked.extend(revocation);
                    }
                }
            }
            presence.keep(outcome)
        })
    }

    /// Hands over what is another object's, and lets go of what that one has taken in.
    pub fn release(&self, wish: Wish) -> Result<Load> {
        let Wish { shards, home, taken, from } = wish;
        if shards != self.config()?.shards {
            return Err(Error::RustError("it knows of another number of shards".into()));
        }
        self.note_handing_over(shards)?;
        self.let_go(taken)?;
        match from {
            Place::Online => self.with_site(|_, site| {
                let members = site.strangers(shards, home, LOAD);
                if members.is_empty() {
                    return Ok(Load { next: Place::Register(0), ..Load::default() });
                }
                Ok(Load { packed: site.pack(&members), members, next: Place::Online, ..Load::default() })
            }),
            Place::Register(from) => self.gone_of(from, |user| shards.home(KeyRef::User(user)) == home),
            Place::Table(table, after) => self.rows_of(table, &after, |digest| shards.home_of(digest) == home),
            Place::Nowhere => Ok(Load::default()),
        }
    }

    /// Notes that from now on not all is here any more that was when the number of shards was the one that is kept: should it
    /// become that again, it has to be brought back.
    fn note_handing_over(&self, shards: Shards) -> Result<()> {
        match self.number_before()? {
            Some(before) if before != shards.count() && before != UNSETTLED => self.keep_number("shards", UNSETTLED),
            Some(_) | None => Ok(()),
        }
    }

    /// The users who went, among the next ones of the register, who are somebody else's.
    fn gone_of(&self, mut from: i64, moves: impl Fn(&UserId) -> bool) -> Result<Load> {
        self.with_site(|presence, site| {
            presence.keep(site.whole_outcome())?;
            let mut gone = Vec::new();
            for _ in 0..SHEETS {
                let leaf = presence.register.borrow_mut().leaf(from, presence.since()?, &Sheets(&presence.store))?;
                let Some((here, next)) = leaf else {
                    return Ok(Load { gone, next: Place::Table(Table::Viewers, String::new()), ..Load::default() });
                };
                gone.extend(here.into_iter().filter(|departure| moves(&departure.user)));
                from = next;
                if gone.len() >= LOAD {
                    break;
                }
            }
            Ok(Load { gone, next: Place::Register(from), ..Load::default() })
        })
    }

    /// The rows among the next ones of a table that are somebody else's.
    fn rows_of(&self, table: Table, after: &str, moves: impl Fn(u64) -> bool) -> Result<Load> {
        let (topic, by) = after.split_once(SEPARATOR).unwrap_or_default();
        let (query, mut bindings) = match table {
            Table::Hidden => (
                "SELECT user, CAST(CAST(at AS TEXT) AS BLOB) FROM hidden WHERE user > ? ORDER BY user LIMIT ?",
                vec![after.into()],
            ),
            Table::Viewers => (
                "SELECT topic || char(31) || viewer, data FROM viewers WHERE (topic, viewer) > (?, ?) ORDER BY topic, viewer LIMIT ?",
                vec![topic.into(), by.into()],
            ),
            Table::Revoked => (
                "SELECT user || char(31) || device, CAST(CAST(at AS TEXT) AS BLOB) FROM not_before WHERE (user, device) > (?, ?) ORDER BY user, device LIMIT ?",
                vec![topic.into(), by.into()],
            ),
        };
        bindings.push(SqlStorageValue::Integer(LOAD as i64));
        let rows = self.store.rows(query, bindings)?.into_iter().filter_map(|row| {
            let mut row = row.into_iter();
            Some(Row { table, key: text(row.next())?, data: blob(row.next())? })
        });
        let mut rows: Vec<_> = rows.collect();
        let next = match (rows.last(), table.next()) {
            (Some(last), _) => Place::Table(table, last.key.clone()),
            (None, Some(next)) => Place::Table(next, String::new()),
            (None, None) => Place::Nowhere,
        };
        let of = |row: &Row| match table {
            Table::Hidden => UserId::parse(row.key.as_str()).ok().map(|user| digest(MemberKey::User(&user))),
            Table::Viewers => record::decode::<Viewed>(&row.data).ok().map(|viewed| digest(viewed.viewer.borrow())),
            Table::Revoked => revocation_in(&row.key, &row.data).map(|revocation| revocation.user),
        };
        rows.retain(|row| of(row).is_some_and(&moves));
        Ok(Load { rows, next, ..Load::default() })
    }

    fn let_go(&self, taken: Taken) -> Result<()> {
        if !taken.gone.is_empty() {
            self.register.borrow_mut().forget(&taken.gone, &Sheets(&self.store))?;
        }
        for (table, key) in taken.rows {
            match (table, key.split_once(SEPARATOR)) {
                (Table::Hidden, _) => self.store.run("DELETE FROM hidden WHERE user = ?", vec![key.into()])?,
                (Table::Viewers, Some((topic, by))) => {
                    let bindings = vec![topic.into(), by.into()];
                    self.store.run("DELETE FROM viewers WHERE topic = ? AND viewer = ?", bindings)?;
                }
                (Table::Revoked, Some((user, device))) => {
                    let bindings = vec![user.into(), device.into()];
                    self.store.run("DELETE FROM not_before WHERE user = ? AND device = ?", bindings)?;
                }
                (Table::Viewers | Table::Revoked, None) => {}
            }
        }
        if !taken.members.is_empty() {
            self.with_site(|presence, site| {
                site.give(&taken.members);
                presence.keep(site.outcome())
            })?;
        }
        Ok(())
    }

    /// Hands over members who are known by other keys from now on, which another object keeps.
    pub fn claimed(&self, claims: &[Claim]) -> Result<Vec<u8>> {
        self.with_site(|presence, site| {
            let packed = site.give_claimed(claims);
            presence.keep(site.outcome())?;
            Ok(packed)
        })
    }

    /// What of a batch is for this object, and those who come with it from others, packed. What is for others is passed on:
    /// while a change of their number rolls out there are some who do not know of it yet.
    pub async fn own_part(&self, reports: Reports) -> Result<(Reports, Vec<Vec<u8>>)> {
        let (shards, mut packed) = (self.config()?.shards, Vec::new());
        let Some(own) = self.among.share.as_ref().map(|share| share.number) else { return Ok((reports, packed)) };
        let is_own = |report: &Report<u32>| shards.home(report.signal.key()) == own;
        let reports = match reports.list.iter().all(is_own) {
            true => reports,
            false => {
                let all = Vec::<Report>::from(reports).into_iter();
                let (ours, theirs): (Vec<_>, Vec<_>) = all.partition(|report| shards.home(report.signal.key()) == own);
                self.pass_on(shards, theirs.into()).await?;
                ours.into()
            }
        };
        let claims = shards.claims(&reports).into_iter().map(|(other, claims)| async move {
            self.ask_patiently::<Vec<u8>>(other, &Call::Claim(claims), PATIENCE_FOR_ONE).await
        });
        for members in join_all(claims).await {
            match members {
                Ok(members) => packed.push(members),
                // They are counted there until their window is over.
                Err(error) => console_error!("who signed in was not taken over: {error}"),
            }
        }
        Ok((reports, packed))
    }

    async fn pass_on(&self, shards: Shards, reports: Reports) -> Result<()> {
        for wave in shards.split(reports) {
            let calls = wave
                .into_iter()
                .map(|(home, reports)| async move { self.ask::<()>(home, &Call::PassedOn(reports)).await });
            for done in join_all(calls).await {
                done?;
            }
        }
        Ok(())
    }

    /// Says that it has been told of members who may be another object's: they are handed over in a while.
    pub fn has_strangers(&self) -> Result<()> {
        self.among.settled.set(Some(clock::now().plus(AGAIN)));
        self.keep_number("shards", UNSETTLED)
    }

    /// By which number of shards all is here that is this object's.
    fn number_before(&self) -> Result<Option<u32>> {
        let first = self.among.share.as_ref().is_some_and(|share| share.number == 0);
        Ok(self.kept_number("shards")?.or(first.then_some(1)))
    }

    fn kept_number(&self, name: &str) -> Result<Option<u32>> {
        Ok(self.store.kept(name)?.and_then(|text| text.parse().ok()))
    }

    fn keep_number(&self, name: &str, number: u32) -> Result<()> {
        self.store.keep_as(name, number.to_string())
    }

    fn ask<T: for<'a> serde::Deserialize<'a>>(&self, number: u32, call: &Call) -> impl Future<Output = Result<T>> {
        self.ask_patiently(number, call, PATIENCE)
    }

    async fn ask_patiently<T>(&self, number: u32, call: &Call, patience: Duration) -> Result<T>
    where
        T: for<'a> serde::Deserialize<'a>,
    {
        let Some(share) = &self.among.share else { return Err(Error::RustError("it does not know its name".into())) };
        calls::ask(&self.env, Object::Presence(&share.site, number), call, patience).await
    }
}
