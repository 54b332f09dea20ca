//! What the Worker asks of a presence object, and what it answers. Between the two halves of one deployment; but while
//! a new version rolls out both may be about, so the first byte tells the version here too.

use crate::http::route::Query;
use crate::presence::id::{Invalid, SiteName};
use crate::presence::site::Report;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

/// A call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// Apply these, durably; answered with nothing.
    Apply(Vec<Report>),
    /// Answer this, for a site that is called so.
    Read(Query, SiteName),
    /// The secret that is kept for this site; one is made if there is none.
    Secret,
}

/// The answer to [`Call::Read`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What changes whenever the body says something else.
    pub tag: String,
    /// How many users and guests are online.
    pub total: usize,
    /// JSON.
    pub body: Vec<u8>,
}

/// Writes a call or an answer.
pub fn write(message: &impl Serialize) -> Vec<u8> {
    // Writing to memory has no way to fail.
    postcard::to_extend(message, vec![VERSION]).unwrap_or_default()
}

/// Reads a call or an answer.
///
/// # Errors
/// When the bytes are of another version, or damaged.
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Invalid> {
    let wrong = || Invalid::new("a message between Worker and object", "be whole and of the same version");
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_written_is_read_back() {
        let call = Call::Read(Query::Counts, SiteName::parse("example.com").unwrap());
        assert_eq!(read::<Call>(&write(&call)).unwrap(), call);
        assert!(read::<Call>(&[]).is_err());
        assert!(read::<Call>(&[2, 0]).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_are_refused_or_read_but_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            bytes.insert(0, VERSION);
            let _ = read::<Call>(&bytes);
            let _ = read::<Answer>(&bytes);
        }
    }
}
