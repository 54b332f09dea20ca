//! The older forms of a batch, which stay readable.

/// The first form of a batch: its times were moments, and it told the number of each member's last signal.
pub mod first {
    use super::super::{Peak, Record, TabRecord, Totals};
    use crate::presence::id::TabId;
    use crate::presence::member::{MemberKey, Place, Profile, State};
    use crate::presence::time::Timestamp;
    use serde::Deserialize;

    #[derive(Deserialize)]
    pub struct Head {
        written: Timestamp,
        _rewound_from: Option<Timestamp>,
        version: u64,
    }

    impl From<Head> for super::super::Head {
        fn from(head: Head) -> Self {
            Self { version: head.version, written: head.written }
        }
    }

    #[derive(Deserialize)]
    pub struct Batch {
        written: Timestamp,
        rewound_from: Option<Timestamp>,
        version: u64,
        _seq: u64,
        peak: Option<Peak>,
        gone: Vec<MemberKey>,
        places: Vec<Place>,
        members: Vec<Member>,
    }

    #[derive(Deserialize)]
    struct Member {
        key: MemberKey,
        last_seen: Timestamp,
        since: Timestamp,
        _seq: u64,
        profile: Option<Profile>,
        place: Option<u32>,
        state: State,
        tabs: Vec<Tab>,
        leaves_at: Option<Timestamp>,
    }

    #[derive(Deserialize)]
    struct Tab {
        id: TabId,
        at: Timestamp,
        place: Option<u32>,
        state: State,
    }

    impl From<Batch> for super::super::Batch {
        fn from(batch: Batch) -> Self {
            let Batch { written, rewound_from, version, peak, gone, places, members, .. } = batch;
            let tab = |Tab { id, at, place, state }| TabRecord { id, touched: written.since(at), place, state };
            let member = |member: Member| Record {
                key: member.key,
                last_seen: written.since(member.last_seen),
                visit: member.last_seen.since(member.since),
                profile: member.profile,
                place: member.place,
                state: member.state,
                tabs: member.tabs.into_iter().map(tab).collect(),
                leaves_in: member.leaves_at.map(|at| at.since(written)),
                devices: Vec::new(),
            };
            let (members, merged) = (members.into_iter().map(member).collect(), Vec::new());
            Self { version, written, rewound_from, peak, totals: Totals::default(), gone, merged, places, members }
        }
    }
}

/// The second form: nobody was merged.
pub mod second {
    use super::super::{Peak, Totals};
    use super::third::Record;
    use crate::presence::member::{MemberKey, Place};
    use crate::presence::time::Timestamp;
    use serde::Deserialize;

    #[derive(Deserialize)]
    pub struct Batch {
        version: u64,
        written: Timestamp,
        rewound_from: Option<Timestamp>,
        peak: Option<Peak>,
        totals: Totals,
        gone: Vec<MemberKey>,
        places: Vec<Place>,
        members: Vec<Record>,
    }

    impl From<Batch> for super::super::Batch {
        fn from(batch: Batch) -> Self {
            let Batch { version, written, rewound_from, peak, totals, gone, places, members } = batch;
            let members = members.into_iter().map(Record::into).collect();
            Self { version, written, rewound_from, peak, totals, gone, merged: Vec::new(), places, members }
        }
    }
}

/// The third form: it told nothing of devices.
pub mod third {
    use super::super::{MergedRecord, Peak, TabRecord, Totals};
    use crate::presence::member::{MemberKey, Place, Profile, State};
    use crate::presence::time::{Millis, Timestamp};
    use serde::Deserialize;

    #[derive(Deserialize)]
    pub struct Batch {
        version: u64,
        written: Timestamp,
        rewound_from: Option<Timestamp>,
        peak: Option<Peak>,
        totals: Totals,
        gone: Vec<MemberKey>,
        merged: Vec<MergedRecord>,
        places: Vec<Place>,
        members: Vec<Record>,
    }

    #[derive(Deserialize)]
    pub struct Record {
        key: MemberKey,
        last_seen: Millis,
        visit: Millis,
        profile: Option<Profile>,
        place: Option<u32>,
        state: State,
        tabs: Vec<TabRecord>,
        leaves_in: Option<Millis>,
    }

    impl From<Batch> for super::super::Batch {
        fn from(batch: Batch) -> Self {
            let Batch { version, written, rewound_from, peak, totals, gone, merged, places, members } = batch;
            let members = members.into_iter().map(Record::into).collect();
            Self { version, written, rewound_from, peak, totals, gone, merged, places, members }
        }
    }

    impl From<Record> for super::super::Record {
        fn from(record: Record) -> Self {
            let Record { key, last_seen, visit, profile, place, state, tabs, leaves_in } = record;
            Self { key, last_seen, visit, profile, place, state, tabs, leaves_in, devices: Vec::new() }
        }
    }
}
