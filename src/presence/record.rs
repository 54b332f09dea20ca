//! The stored form of a batch: what each member it touched has become, and who is gone. Also of what is kept of those
//! who went.
//!
//! A batch says all there is to say of a member, so whoever is online is told in full by the batches of the last
//! window and older ones are never needed. The first byte is the version of the form; a form, once released, is
//! never changed: a new one gets a new number, and the old ones stay readable.

mod older;

use self::older::{first, second, third};
use super::id::{DeviceId, Invalid, TabId, UserId};
use super::member::{Departure, Kind, MemberKey, Place, Profile, State, Viewed};
use super::register::{Note, Sheet};
use super::time::{Millis, Seconds, Timestamp};
use super::totals::Totals;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Something that is stored.
pub trait Stored: Serialize {
    /// The version that is written.
    const VERSION: u8 = 1;
}

/// Something that is read back.
pub trait Read: Stored + DeserializeOwned {
    /// Reads an older version.
    fn older(_version: u8, _rest: &[u8]) -> Option<postcard::Result<Self>> {
        None
    }
}

impl<K: Serialize, P: Serialize, Q: Serialize> Stored for Batch<K, P, Q> {
    const VERSION: u8 = 4;
}

impl Read for Batch {
    fn older(version: u8, rest: &[u8]) -> Option<postcard::Result<Self>> {
        match version {
            1 => Some(postcard::from_bytes(rest).map(first::Batch::into)),
            2 => Some(postcard::from_bytes(rest).map(second::Batch::into)),
            3 => Some(postcard::from_bytes(rest).map(third::Batch::into)),
            _ => None,
        }
    }
}

/// What a batch begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of the site that it led to.
    pub version: u64,
    /// When it was written.
    pub written: Timestamp,
}

impl Head {
    /// So many bytes of a stored batch are enough to read it from.
    pub const BYTES: usize = 48;
}

impl Stored for Head {
    const VERSION: u8 = Batch::<MemberKey, Place, Profile>::VERSION;
}

impl Read for Head {
    fn older(version: u8, rest: &[u8]) -> Option<postcard::Result<Self>> {
        match version {
            1 => Some(postcard::from_bytes(rest).map(first::Head::into)),
            2 | 3 => Some(postcard::from_bytes(rest)),
            _ => None,
        }
    }
}

impl Stored for Viewed {}
impl Read for Viewed {}

impl Stored for Departure {
    const VERSION: u8 = 2;
}

impl Read for Departure {
    fn older(version: u8, rest: &[u8]) -> Option<postcard::Result<Self>> {
        /// It did not tell when the visit began.
        #[derive(Deserialize)]
        struct First {
            user: UserId,
            last_seen: Timestamp,
            profile: Profile,
            place: Option<Place>,
        }
        (version == 1).then(|| {
            let First { user, last_seen, profile, place } = postcard::from_bytes(rest)?;
            Ok(Self { user, last_seen, profile, place, since: last_seen })
        })
    }
}

impl Stored for Note {}
impl Read for Note {}

impl Stored for Sheet {}
impl Read for Sheet {}

/// A batch as it is stored. What it names is looked at when it is written, and kept when it is read: `K` is a key, `P`
/// a place, `Q` how somebody is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Batch<K = MemberKey, P = Place, Q = Profile> {
    /// The version of the site that it led to.
    pub version: u64,
    /// When it was written.
    pub written: Timestamp,
    /// How far the clock had come, where it was put back since the batch before.
    pub rewound_from: Option<Timestamp>,
    /// The peak as it stood then.
    pub peak: Option<Peak>,
    /// What was done until then.
    pub totals: Totals,
    /// Members who were gone at once: signed out, or known under another key since.
    pub gone: Vec<MemberKey>,
    /// Members of whom nothing is known any more but that they count, and who are told by no row before.
    pub merged: Vec<MergedRecord>,
    /// The places that the members below name by number.
    pub places: Vec<P>,
    /// What the members it touched have become.
    pub members: Vec<Record<K, Q>>,
}

/// The most that were ever online at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// Users and guests.
    pub total: u32,
    /// When that was first so.
    pub at: Timestamp,
}

/// Members who are only counted, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergedRecord {
    /// What they are.
    pub kind: Kind,
    /// In which second they were last seen: how many before that in which the batch was written.
    pub last_seen: Seconds,
    /// How many they are.
    pub count: u32,
}

/// A member as it is stored. Times are told by how long before the batch was written they were, which takes few bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record<K = MemberKey, Q = Profile> {
    /// Who.
    pub key: K,
    /// When they were last touched.
    pub last_seen: Millis,
    /// When this visit began: how long before they were last touched.
    pub visit: Millis,
    /// How they are shown.
    pub profile: Option<Q>,
    /// Where they are: a number in the batch's places.
    pub place: Option<u32>,
    /// Whether they are looking.
    pub state: State,
    /// The pages they have open.
    pub tabs: Vec<TabRecord>,
    /// When they go, if their last page was closed: how long after the batch was written.
    pub leaves_in: Option<Millis>,
    /// The devices on which they are signed in.
    pub devices: Vec<DeviceRecord>,
}

/// A device as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Which of the user's devices.
    pub id: DeviceId,
    /// When it was last heard of, apart from its tabs.
    pub seen: Millis,
    /// Where it was: a number in the batch's places.
    pub place: Option<u32>,
    /// Whether anybody was looking.
    pub state: State,
    /// Which of the user's tabs are open on it.
    pub tabs: Vec<TabId>,
}

/// A tab as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TabRecord {
    /// Which of the member's tabs.
    pub id: TabId,
    /// When it was last touched.
    pub touched: Millis,
    /// Where it is: a number in the batch's places.
    pub place: Option<u32>,
    /// Whether anybody is looking at it.
    pub state: State,
}

/// Writes something down.
pub fn encode<T: Stored>(stored: &T) -> Vec<u8> {
    // Writing to memory has no way to fail; an empty row, were there one, would read as unreadable.
    postcard::to_extend(stored, vec![T::VERSION]).unwrap_or_default()
}

/// Reads it back.
///
/// # Errors
/// When the bytes are of an unknown version, or were damaged.
pub fn decode<T: Read>(bytes: &[u8]) -> Result<T, Invalid> {
    let Some((&version, rest)) = bytes.split_first() else {
        return Err(Invalid::new("a stored row", "not be empty"));
    };
    let read = if version == T::VERSION { Some(postcard::from_bytes(rest)) } else { T::older(version, rest) };
    match read {
        Some(read) => read.map_err(|error| Invalid::new("a stored row", format!("be whole: {error}"))),
        None => Err(Invalid::new("a stored row", format!("be of version {}, not {version}", T::VERSION))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::id::{Avatar, GuestKey, Name, PagePath, Title, Topic};
    use proptest::prelude::*;

    fn sample() -> Batch {
        let at = |millis: i64| Timestamp::from_millis(1_795_203_180_000 + millis);
        Batch {
            version: 1_795_203_180_250,
            written: at(250),
            rewound_from: Some(at(3600)),
            peak: Some(Peak { total: 200, at: at(-86_400_000) }),
            totals: Totals { received: 300, rows: 7, ..Totals::default() },
            gone: vec![MemberKey::Guest(GuestKey(9))],
            merged: vec![MergedRecord { kind: Kind::Guest, last_seen: Seconds(129), count: 300 }],
            places: vec![Place {
                path: PagePath::parse("/forum/42").unwrap(),
                title: Some(Title::parse("Surf guitars").unwrap()),
                topic: Some(Topic::parse("user:sally").unwrap()),
            }],
            members: vec![
                Record {
                    key: MemberKey::User(UserId::parse("sally").unwrap()),
                    last_seen: Millis(127),
                    visit: Millis(60_123),
                    profile: Some(Profile {
                        name: Some(Name::parse("Sally 🏄").unwrap()),
                        avatar: Some(Avatar::parse("/sally.png").unwrap()),
                        invisible: false,
                    }),
                    place: Some(0),
                    state: State::Away,
                    tabs: vec![TabRecord { id: TabId(5), touched: Millis(127), place: Some(0), state: State::Away }],
                    leaves_in: Some(Millis(9873)),
                    devices: vec![DeviceRecord {
                        id: DeviceId(u64::MAX - 1),
                        seen: Millis(300),
                        place: Some(0),
                        state: State::Online,
                        tabs: vec![TabId(5)],
                    }],
                },
                Record {
                    key: MemberKey::Bot(GuestKey(u64::MAX)),
                    last_seen: Millis(126),
                    visit: Millis(0),
                    profile: None,
                    place: None,
                    state: State::Online,
                    tabs: vec![],
                    leaves_in: None,
                    devices: vec![],
                },
            ],
        }
    }

    #[test]
    fn stored_format_unchanged() {
        let golden = include_str!("../../tests/golden/batch-v4.hex");
        assert_eq!(
            hex(&encode(&sample())),
            golden.trim(),
            "a released form never changes: give the new one a new version"
        );
        let third = unhex(include_str!("../../tests/golden/batch-v3.hex").trim());
        let without_devices = |record| Record { devices: Vec::new(), ..record };
        let told = Batch { members: sample().members.into_iter().map(without_devices).collect(), ..sample() };
        assert_eq!(decode::<Batch>(&third).unwrap(), told, "the third form stays readable");
        let second = unhex(include_str!("../../tests/golden/batch-v2.hex").trim());
        let told = Batch { merged: Vec::new(), ..told };
        assert_eq!(decode::<Batch>(&second).unwrap(), told, "the second form stays readable");
        let first = unhex(include_str!("../../tests/golden/batch-v1.hex").trim());
        let told = Batch { totals: Totals::default(), ..told };
        assert_eq!(decode::<Batch>(&first).unwrap(), told, "the first form stays readable");
        let head = Head { version: told.version, written: told.written };
        for form in [first, second, third, encode(&sample())] {
            assert_eq!(decode::<Head>(&form[..Head::BYTES]).unwrap(), head, "and what each begins with");
        }
    }

    #[test]
    fn stored_departure_unchanged() {
        let batch = sample();
        let departure = Departure {
            user: UserId::parse("sally").unwrap(),
            last_seen: Timestamp::from_millis(1_795_203_180_123),
            profile: batch.members[0].profile.clone().unwrap(),
            place: Some(batch.places[0].clone()),
            since: Timestamp::from_millis(1_795_203_180_123),
        };
        let golden = include_str!("../../tests/golden/departure-v2.hex");
        assert_eq!(
            hex(&encode(&departure)),
            golden.trim(),
            "a released form never changes: give the new one a new version"
        );
        assert_eq!(decode::<Departure>(&encode(&departure)).unwrap(), departure);
        let first = unhex(include_str!("../../tests/golden/departure-v1.hex").trim());
        assert_eq!(decode::<Departure>(&first).unwrap(), departure, "the first form stays readable");
    }

    #[test]
    fn stored_register_unchanged() {
        let departure: Departure = decode(&unhex(include_str!("../../tests/golden/departure-v2.hex").trim())).unwrap();
        let note = Note { number: 300, departures: vec![departure.clone()] };
        let sheet = Sheet { departures: vec![departure] };
        let changed = "a released form never changes: give the new one a new version";
        assert_eq!(hex(&encode(&note)), include_str!("../../tests/golden/note-v1.hex").trim(), "{changed}");
        assert_eq!(hex(&encode(&sheet)), include_str!("../../tests/golden/sheet-v1.hex").trim(), "{changed}");
        assert_eq!((decode(&encode(&note)), decode(&encode(&sheet))), (Ok(note), Ok(sheet)));
    }

    #[test]
    fn stored_view_unchanged() {
        let batch = sample();
        let viewed = Viewed {
            topic: Topic::parse("user:sally").unwrap(),
            viewer: MemberKey::User(UserId::parse("bob").unwrap()),
            at: Timestamp::from_millis(1_795_203_180_123),
            profile: batch.members[0].profile.clone(),
        };
        let golden = include_str!("../../tests/golden/viewed-v1.hex");
        assert_eq!(
            hex(&encode(&viewed)),
            golden.trim(),
            "a released form never changes: give the new one a new version"
        );
        assert_eq!(decode::<Viewed>(&encode(&viewed)).unwrap(), viewed);
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn unhex(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn what_was_written_is_read_back() {
        assert_eq!(decode::<Batch>(&encode(&sample())).unwrap(), sample());
    }

    #[test]
    fn another_version_is_named() {
        assert_eq!(decode::<Batch>(&[9, 1, 2]).unwrap_err().to_string(), "a stored row must be of version 4, not 9");
        assert_eq!(decode::<Batch>(&[]).unwrap_err().to_string(), "a stored row must not be empty");
    }

    proptest! {
        #[test]
        fn random_bytes_are_refused_or_read_but_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), first in 0..5u8) {
            bytes.insert(0, first);
            let _ = decode::<Batch>(&bytes);
            let _ = decode::<Head>(&bytes);
            let _ = decode::<Departure>(&bytes);
            let _ = decode::<Viewed>(&bytes);
        }

        #[test]
        fn a_batch_cut_short_is_refused(cut in 0..200usize) {
            let whole = encode(&sample());
            if let Some(part) = whole.get(..cut).filter(|part| part.len() < whole.len()) {
                prop_assert!(decode::<Batch>(part).is_err());
            }
        }
    }
}
