//! When users were last here, and where: kept for a week, and many of them to a row.
//!
//! To write a row costs a thousand times what it costs to read one, and a row for each user who goes is another one when it
//! is deleted in the end. So those who go at about the same time are noted in one row: a note, in one of a few slots that
//! are used in turn. All others are in sheets, each of which has everybody from its start to that of the next one, in the
//! order of digests. With each note it is some sheets' turn to take in who was noted since their last turn; when a note is
//! written over, all sheets have had theirs. A sheet that gets too long is split.

use super::id::{Topic, UserId};
use super::member::{Departure, MemberKey};
use super::record::{decode, encode};
use super::shards::digest;
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// How many slots there are for notes. In a round of so many each sheet has its turn, so the more there are, the fewer
/// rows are written, and the more notes are read when the register is opened.
const SLOTS: u64 = 128;

/// The most users in a note: with all texts at their longest (1,700 bytes a user) that is less than the 2 MB which the
/// platform allows a row.
const MAX_NOTE: usize = 500;

/// The most bytes of a sheet of several users: so much is read to find one.
const MAX_SHEET: usize = 64 * 1024;

/// How many bits of a digest make a place: the platform gives numbers of up to 53.
const BITS: u32 = 52;

/// Users who went at about the same time, as they are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// Notes are counted, across restarts.
    pub number: u64,
    /// Who went.
    pub departures: Vec<Departure>,
}

/// Users whose digests are neighbours, as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sheet {
    /// In the order of their digests.
    pub departures: Vec<Departure>,
}

/// A sheet as it is put on the shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// When the one of them was last seen whose time is over first.
    pub oldest: Timestamp,
    /// When the one of them was last seen who was here last.
    pub newest: Timestamp,
    /// The encoded sheet.
    pub data: Vec<u8>,
}

/// Where notes and sheets are stored. What is written there is there at once.
#[allow(clippy::missing_errors_doc, reason = "each fails where the storage does")]
pub trait Shelf {
    /// What goes wrong with it.
    type Error;

    /// All notes, by their slots.
    fn notes(&self) -> Result<Vec<(u64, Vec<u8>)>, Self::Error>;

    /// Writes a note over what the slot holds; none empties it.
    fn put_note(&self, slot: u64, note: Option<Vec<u8>>) -> Result<(), Self::Error>;

    /// The sheets that start among these places, in order.
    fn sheets(&self, starts: RangeInclusive<i64>) -> Result<Vec<(i64, Vec<u8>)>, Self::Error>;

    /// Where the last sheet starts of those that start at this place or before, if there is one.
    fn start_before(&self, place: i64) -> Result<Option<i64>, Self::Error>;

    /// Where the first sheet starts of those that start at this place or after, if there is one.
    fn start_after(&self, place: i64) -> Result<Option<i64>, Self::Error>;

    /// Where those start whose oldest is from before then.
    fn older_than(&self, at: Timestamp) -> Result<Vec<i64>, Self::Error>;

    /// Where those start whose newest is from then or later.
    fn newer_than(&self, at: Timestamp) -> Result<Vec<i64>, Self::Error>;

    /// Where those start that have this text in them.
    fn with_text(&self, text: &str) -> Result<Vec<i64>, Self::Error>;

    /// Puts a sheet in place of the one that starts here; none takes that one away.
    fn put_sheet(&self, start: i64, sheet: Option<Filled>) -> Result<(), Self::Error>;

    /// Counts a row that cannot be read.
    fn count_unreadable(&self);

    /// Keeps what cannot be read apart from the rest, as its place is needed: a newer release may have written it and come
    /// back.
    fn put_aside(&self, form: Form, data: &[u8]) -> Result<(), Self::Error>;
}

/// What form something has that was put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A [`Note`].
    Note,
    /// A [`Sheet`].
    Sheet,
    /// A [`Departure`], as older releases kept each in a row.
    Departure,
}

impl Form {
    const ALL: [Self; 3] = [Self::Note, Self::Sheet, Self::Departure];

    /// The number that it is stored by.
    pub fn number(self) -> i64 {
        self as i64
    }

    /// The form of this number, if there is one.
    pub fn of(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.number() == number)
    }

    /// The users that something of this form tells of, if it can be read by now.
    pub fn read(self, data: &[u8]) -> Option<Vec<Departure>> {
        match self {
            Self::Note => decode::<Note>(data).ok().map(|note| note.departures),
            Self::Sheet => decode::<Sheet>(data).ok().map(|sheet| sheet.departures),
            Self::Departure => decode(data).ok().map(|departure| vec![departure]),
        }
    }
}

/// The register of a site, or of one of its objects.
#[derive(Debug, Default)]
pub struct Register(Option<Recent>);

/// What the notes hold.
#[derive(Debug, Default)]
struct Recent {
    next: u64,
    /// What was noted last of each user, and in which note, by their place: two are hardly ever at the same one.
    noted: BTreeMap<i64, Vec<(u64, Departure)>>,
}

impl Register {
    /// Notes users who went, each if that is news. Whoever was last seen before `since` is kept no longer.
    ///
    /// # Errors
    /// When the shelf fails. What was noted since it was opened is not to be relied on then: it has to be opened anew.
    pub fn note<S: Shelf>(
        &mut self,
        mut departures: Vec<Departure>,
        since: Timestamp,
        shelf: &S,
    ) -> Result<(), S::Error> {
        if departures.is_empty() {
            return Ok(());
        }
        let recent = self.open(shelf)?;
        departures.retain(|gone| gone.last_seen >= since && recent.is_news(gone));
        for departures in departures.chunks(MAX_NOTE) {
            let number = recent.next;
            recent.next += 1;
            for (start, data) in shelf.sheets(starts_of_turn(number))? {
                recent.take_turn(start, &data, since, shelf)?;
            }
            if number.is_multiple_of(SLOTS) {
                recent.see_to_first(since, shelf)?;
            }
            if number.is_multiple_of(SLOTS / 8) {
                recent.forget_before(number.saturating_sub(SLOTS));
            }
            for gone in departures {
                recent.add(number, gone.clone());
            }
            shelf.put_note(number % SLOTS, Some(encode(&Note { number, departures: departures.to_vec() })))?;
        }
        Ok(())
    }

    /// What is kept of a user.
    ///
    /// # Errors
    /// When the shelf fails.
    pub fn find<S: Shelf>(&mut self, user: &UserId, shelf: &S) -> Result<Option<Departure>, S::Error> {
        let place = place(user);
        let noted = self.open(shelf)?.find(place, user).cloned();
        let start = shelf.start_before(place)?;
        let sheet = start.map(|start| read(start, shelf)).transpose()?.unwrap_or_default();
        let entered = sheet.into_iter().find(|gone| gone.user == *user);
        Ok(noted.into_iter().chain(entered).max_by(Departure::by_time))
    }

    /// The users who were seen last, newest first, at most so many.
    ///
    /// # Errors
    /// When the shelf fails.
    pub fn newest<S: Shelf>(&mut self, limit: usize, shelf: &S) -> Result<Vec<Departure>, S::Error> {
        let mut newest: Vec<_> = self.open(shelf)?.noted.values().flatten().map(|(_, gone)| gone.clone()).collect();
        cut(&mut newest, limit);
        // Who has been in a sheet for long is older, but who was handed over by another object may have been noted late.
        let enough = newest.len() >= limit;
        let from = newest.last().filter(|_| enough).map_or(Timestamp::from_millis(0), |gone| gone.last_seen);
        for start in shelf.newer_than(from)? {
            newest.extend(read(start, shelf)?);
            cut(&mut newest, limit);
        }
        Ok(newest)
    }

    /// Drops whoever was last seen before then.
    ///
    /// # Errors
    /// When the shelf fails.
    pub fn sweep<S: Shelf>(&mut self, since: Timestamp, shelf: &S) -> Result<(), S::Error> {
        let sheets = shelf.older_than(since)?;
        self.change(sheets, &|gone| (gone.last_seen >= since).then_some(gone), shelf)
    }

    /// Forgets some users.
    ///
    /// # Errors
    /// When the shelf fails.
    pub fn forget<S: Shelf>(&mut self, users: &[UserId], shelf: &S) -> Result<(), S::Error> {
        let mut sheets = Vec::new();
        for user in users {
            sheets.extend(shelf.start_before(place(user))?);
        }
        sheets.sort_unstable();
        sheets.dedup();
        self.change(sheets, &|gone| (!users.contains(&gone.user)).then_some(gone), shelf)
    }

    /// Erases a user; also what cannot be read and may tell of them.
    ///
    /// # Errors
    /// When the shelf fails.
    pub fn erase<S: Shelf>(&mut self, user: &UserId, shelf: &S) -> Result<(), S::Error> {
        if let Some(start) = shelf.start_before(place(user))? {
            for (start, data) in shelf.sheets(start..=start)? {
                if decode::<Sheet>(&data).is_err() {
                    shelf.put_sheet(start, None)?;
                    self.open(shelf)?.take_turn(start, &encode(&Sheet::default()), Timestamp::default(), shelf)?;
                }
            }
        }
        self.forget(std::slice::from_ref(user), shelf)
    }

    /// Forgets that this topic was looked at.
    ///
    /// # Errors
    /// When the shelf fails.
    pub fn forget_topic<S: Shelf>(&mut self, topic: &Topic, shelf: &S) -> Result<(), S::Error> {
        let forget = |mut gone: Departure| {
            if let Some(place) = gone.place.as_mut().filter(|place| place.topic.as_ref() == Some(topic)) {
                place.topic = None;
            }
            Some(gone)
        };
        self.change(shelf.with_text(topic.as_str())?, &forget, shelf)
    }

    /// Whether nobody is in it.
    ///
    /// # Errors
    /// When the shelf fails.
    pub fn is_empty<S: Shelf>(&mut self, shelf: &S) -> Result<bool, S::Error> {
        Ok(self.open(shelf)?.noted.is_empty() && shelf.start_after(0)?.is_none())
    }

    /// The users of the first sheet from this place on, and from where to go on after them. Whoever begins at the beginning
    /// finds everybody who was noted until then.
    ///
    /// # Errors
    /// When the shelf fails.
    pub fn leaf<S: Shelf>(
        &mut self,
        from: i64,
        since: Timestamp,
        shelf: &S,
    ) -> Result<Option<(Vec<Departure>, i64)>, S::Error> {
        if from == 0 {
            self.enter_all(since, shelf)?;
        }
        let Some(start) = shelf.start_after(from)? else { return Ok(None) };
        Ok(Some((read(start, shelf)?, start + 1)))
    }

    /// Has every sheet take in who was noted, so that no note is needed any more.
    fn enter_all<S: Shelf>(&mut self, since: Timestamp, shelf: &S) -> Result<(), S::Error> {
        let recent = self.open(shelf)?;
        recent.see_to_first(since, shelf)?;
        let mut next = shelf.start_after(0)?;
        while let Some(start) = next {
            for (start, data) in shelf.sheets(start..=start)? {
                recent.take_turn(start, &data, since, shelf)?;
            }
            next = shelf.start_after(start + 1)?;
        }
        recent.noted.clear();
        (0..SLOTS).try_for_each(|slot| shelf.put_note(slot, None))
    }

    /// Changes what is kept of users, in the notes and in these sheets; of whom nothing is left, nothing is kept.
    fn change<S: Shelf>(
        &mut self,
        sheets: Vec<i64>,
        change: &dyn Fn(Departure) -> Option<Departure>,
        shelf: &S,
    ) -> Result<(), S::Error> {
        let changed = |departures: &[Departure]| -> Vec<_> { departures.iter().cloned().filter_map(change).collect() };
        // What cannot be read is put aside by this.
        self.open(shelf)?;
        for (_, note) in shelf.notes()? {
            let Ok(Note { number, departures }) = decode(&note) else { continue };
            let left = changed(&departures);
            if left != departures {
                let note = (!left.is_empty()).then(|| encode(&Note { number, departures: left }));
                shelf.put_note(number % SLOTS, note)?;
            }
        }
        // What was noted is no longer what it was.
        self.0 = None;
        let recent = self.open(shelf)?;
        for start in sheets {
            let departures = read(start, shelf)?;
            let left = changed(&departures);
            if left != departures {
                let goes = left.is_empty();
                put(start, left, shelf)?;
                if goes {
                    // The one before may have had its turn, and its next one comes too late for who was noted before that.
                    recent.take_turn(start, &encode(&Sheet::default()), Timestamp::default(), shelf)?;
                }
            }
        }
        Ok(())
    }

    fn open<S: Shelf>(&mut self, shelf: &S) -> Result<&mut Recent, S::Error> {
        if self.0.is_none() {
            let mut recent = Recent::default();
            for (slot, note) in shelf.notes()? {
                let Ok(Note { number, departures }) = decode(&note) else {
                    // Its slot will be written over.
                    shelf.put_aside(Form::Note, &note)?;
                    shelf.put_note(slot, None)?;
                    continue;
                };
                recent.next = recent.next.max(number + 1);
                departures.into_iter().for_each(|gone| recent.add(number, gone));
            }
            self.0 = Some(recent);
        }
        Ok(self.0.get_or_insert_default())
    }
}

impl Recent {
    fn find(&self, place: i64, user: &UserId) -> Option<&Departure> {
        self.noted.get(&place)?.iter().map(|(_, gone)| gone).find(|gone| gone.user == *user)
    }

    fn is_news(&self, gone: &Departure) -> bool {
        self.find(place(&gone.user), &gone.user).is_none_or(|known| known.by_time(gone).is_lt())
    }

    fn add(&mut self, number: u64, gone: Departure) {
        if self.is_news(&gone) {
            let here = self.noted.entry(place(&gone.user)).or_default();
            here.retain(|(_, known)| known.user != gone.user);
            here.push((number, gone));
        }
    }

    /// Forgets what was noted before this note: it has been entered.
    fn forget_before(&mut self, number: u64) {
        self.noted.retain(|_, here| {
            here.retain(|(noted, _)| *noted >= number);
            !here.is_empty()
        });
    }

    /// Whoever comes before the first sheet has one that need not be there.
    fn see_to_first<S: Shelf>(&self, since: Timestamp, shelf: &S) -> Result<(), S::Error> {
        if shelf.sheets(0..=0)?.is_empty() {
            self.take_turn(0, &encode(&Sheet::default()), since, shelf)
        } else {
            Ok(())
        }
    }

    /// Has a sheet take in who was noted.
    fn take_turn<S: Shelf>(&self, start: i64, data: &[u8], since: Timestamp, shelf: &S) -> Result<(), S::Error> {
        let end = shelf.start_after(start + 1)?.unwrap_or(1 << BITS);
        let mut noted = self.noted.range(start..end).peekable();
        if noted.peek().is_none() {
            return Ok(());
        }
        let sheet = decode::<Sheet>(data);
        let mut changed = sheet.is_err();
        if changed {
            // Whoever goes now has to be kept in its place.
            shelf.put_aside(Form::Sheet, data)?;
        }
        let mut departures = sheet.unwrap_or_default().departures;
        let before = departures.len();
        departures.retain(|gone| gone.last_seen >= since);
        changed |= departures.len() < before;
        for (at, (_, gone)) in noted.flat_map(|(at, here)| here.iter().map(move |noted| (*at, noted))) {
            let known = departures.binary_search_by(|known| (place(&known.user), &known.user).cmp(&(at, &gone.user)));
            let older = known.ok().and_then(|index| departures.get_mut(index));
            match (older, known) {
                (Some(older), _) if older.by_time(gone).is_lt() => *older = gone.clone(),
                (None, Err(index)) if gone.last_seen >= since => departures.insert(index, gone.clone()),
                _ => continue,
            }
            changed = true;
        }
        if changed { put(start, departures, shelf) } else { Ok(()) }
    }
}

/// Where a user's place is, from 0 to 2^52 - 1: what is kept of them would not be found by another one.
pub fn place(user: &UserId) -> i64 {
    (digest(MemberKey::User(user)) >> (64 - BITS)) as i64
}

/// Where the sheets start whose turn it is with a note.
fn starts_of_turn(number: u64) -> RangeInclusive<i64> {
    let width = (1 << BITS) / SLOTS;
    let first = number % SLOTS * width;
    first as i64..=(first + width - 1) as i64
}

fn read<S: Shelf>(start: i64, shelf: &S) -> Result<Vec<Departure>, S::Error> {
    let Some((_, data)) = shelf.sheets(start..=start)?.into_iter().next() else { return Ok(Vec::new()) };
    Ok(decode::<Sheet>(&data).map_or_else(
        |_| {
            shelf.count_unreadable();
            Vec::new()
        },
        |sheet| sheet.departures,
    ))
}

fn put<S: Shelf>(start: i64, mut departures: Vec<Departure>, shelf: &S) -> Result<(), S::Error> {
    let seen = || departures.iter().map(|gone| gone.last_seen);
    let (Some(oldest), Some(newest)) = (seen().min(), seen().max()) else { return shelf.put_sheet(start, None) };
    let sheet = Sheet { departures };
    let data = encode(&sheet);
    departures = sheet.departures;
    let half = departures.len() / 2;
    let middle = departures.get(half).map(|gone| place(&gone.user)).filter(|middle| *middle > start);
    match middle {
        Some(middle) if data.len() > MAX_SHEET => {
            let half = departures.partition_point(|gone| place(&gone.user) < middle);
            let later = departures.split_off(half);
            put(start, departures, shelf)?;
            put(middle, later, shelf)
        }
        _ => shelf.put_sheet(start, Some(Filled { oldest, newest, data })),
    }
}

/// Leaves those who were seen last, each once.
fn cut(departures: &mut Vec<Departure>, limit: usize) {
    departures.sort_by(|one, other| one.user.cmp(&other.user).then_with(|| other.by_time(one)));
    departures.dedup_by(|next, kept| next.user == kept.user);
    departures.sort_by(|one, other| (other.last_seen, &one.user).cmp(&(one.last_seen, &other.user)));
    departures.truncate(limit);
}
