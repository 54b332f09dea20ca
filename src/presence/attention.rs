//! Who wants to know what is new: by that isolates go when they send it.

use super::time::{Millis, Seconds};
use serde::{Deserialize, Serialize};

/// How far apart the moments are at which isolates send what they hold while nobody looks: so late somebody may see it who
/// then comes to look. All of them send at the same moments, so that what they send can be stored together. What sends a
/// batch may work for 30 seconds after its request (the platform's limit), and may have to try again.
pub const QUIET_HOLD: Millis = Millis(24_000);

/// Who wants to know what is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attention {
    /// Somebody watches, and is told next in that time.
    Watched(Millis),
    /// Nobody watches, but somebody has asked of late.
    Asked,
    /// Nobody does.
    Nobody,
}

impl Attention {
    /// What two objects of a site say together: whoever wants to know more, or sooner.
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Watched(one), Self::Watched(other)) => Self::Watched(one.min(other)),
            (watched @ Self::Watched(_), _) | (_, watched @ Self::Watched(_)) => watched,
            (Self::Asked, _) | (_, Self::Asked) => Self::Asked,
            (Self::Nobody, Self::Nobody) => Self::Nobody,
        }
    }
}

/// For how long after somebody has asked it is taken that others will.
pub const OF_LATE: Seconds = Seconds(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_objects_the_one_counts_that_wants_to_know_soonest() {
        let watched = |millis| Attention::Watched(Millis(millis));
        assert_eq!(watched(90).or(watched(20)), watched(20));
        for (one, other, both) in [
            (Attention::Nobody, Attention::Nobody, Attention::Nobody),
            (Attention::Nobody, Attention::Asked, Attention::Asked),
            (Attention::Asked, watched(9), watched(9)),
        ] {
            assert_eq!((one.or(other), other.or(one)), (both, both));
        }
    }
}
