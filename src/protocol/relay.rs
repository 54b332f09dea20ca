//! What goes between the objects that keep the parts of a site and those that relay it to who watches.

use crate::presence::copies::Progress;
use crate::presence::id::{DeviceId, UserId};
use crate::presence::member::MemberKey;
use crate::presence::site::Lease;
use crate::presence::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Who is known by their key no more; of a user perhaps on one of their devices alone.
pub type Ended = (MemberKey, Option<DeviceId>);

/// A call to an object that relays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelayCall {
    /// A part has come so far, and these are known by those keys no more: whether anybody wants to know. The part has heard
    /// of these relays: one that was started anew knows by it whom to pass that on to.
    Progress(Progress, Vec<Ended>, Vec<u32>),
    /// Pass on all of that to the relay of this number; answered with nothing.
    Below(u32),
    /// What this user may do has changed; answered with nothing.
    Recheck(UserId),
}

/// A relay copies a part from now on, or goes on to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// Which relay.
    pub relay: u32,
    /// The version that its copy has come to, if there is one.
    pub since: Option<u64>,
    /// The pages of the part's members that are connected there, each as of when it was last heard of.
    pub open: Vec<Lease>,
    /// How many connections it has in all.
    pub watchers: usize,
}

/// Where the part is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// Its version.
    pub version: u64,
    /// As of when.
    pub at: Timestamp,
    /// What was stored, in this order.
    pub rows: Vec<Vec<u8>>,
    /// Whether that is all that it takes to copy it anew, or what was stored since the version that was told.
    pub anew: bool,
}
