//! Cuts blocks out of an answer as its bytes come.

use super::tag::{self, Around, Kind, Tag};
use super::{search, search::Found};
use crate::config::BlockKey;
use crate::identity::access::Standing;
use std::fmt;

/// What compressed bytes begin with: gzip's and Zstandard's. An answer that is compressed without saying so cannot be read.
const COMPRESSED: [&[u8]; 2] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd]];

/// An answer on its way through. Without a key everything goes out as it came.
///
/// ```text
/// loop {
///     match cutter.next(viewer) {
///         Bytes(bytes) => send them
///         Piece => push the next piece, or finish
///         Viewer => find out who looks
///         End(fault) => break
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Cutter {
    keys: Vec<BlockKey>,
    /// What has come and is not decided yet, from `at` on.
    held: Vec<u8>,
    at: usize,
    /// How many bytes came before those.
    before: u64,
    /// The blocks around what comes next.
    open: Vec<Block>,
    finished: bool,
    ended: Option<Option<Fault>>,
}

/// A block that is open.
#[derive(Debug)]
struct Block {
    kind: Kind,
    key: BlockKey,
    /// Where its tag begins.
    begins: u64,
    /// Whether what is in it goes out, as far as this block goes.
    shown: bool,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// These go out. They are never empty.
    Bytes(Vec<u8>),
    /// More has to come: `push` or `finish`.
    Piece,
    /// It has to be known who looks.
    Viewer,
    /// Nothing more goes out; where that is no proper end, for this reason.
    End(Option<Fault>),
}

/// Why an answer ended before its end, and at which byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, in the answer as the site sent it, uncompressed.
    pub at: u64,
    /// Why.
    pub reason: Reason,
}

/// Why an answer ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A tag is not written as tags are.
    Malformed,
    /// A tag closes a block that is not the last that was opened.
    Mismatched,
    /// A block is not closed.
    Unclosed,
    /// The key stands elsewhere than in a tag.
    KeyElsewhere,
    /// The answer is compressed and does not say so.
    Compressed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            Reason::Malformed => "the tag there is malformed",
            Reason::Mismatched => "the tag there does not close the block that was opened last",
            Reason::Unclosed => "the block that begins there is not closed",
            Reason::KeyElsewhere => "the key stands there, and not in a tag",
            Reason::Compressed => "it is compressed and does not say so",
        };
        write!(f, "byte {}: {reason}", self.at)
    }
}

impl Cutter {
    /// An answer in which blocks bear one of these keys.
    pub fn new(keys: Vec<BlockKey>) -> Self {
        Self { keys, held: Vec::new(), at: 0, before: 0, open: Vec::new(), finished: false, ended: None }
    }

    /// Takes the next piece of the answer.
    pub fn push(&mut self, piece: &[u8]) {
        self.held.drain(..self.at);
        self.before += self.at as u64;
        self.at = 0;
        self.held.extend_from_slice(piece);
    }

    /// Says that no more pieces come.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// What is to be done next; `viewer` is who looks, once that is known.
    pub fn next(&mut self, viewer: Option<&Standing>) -> Next {
        loop {
            if let Some(fault) = self.ended {
                return Next::End(fault);
            }
            if let Some(next) = self.advance(viewer) {
                return next;
            }
        }
    }

    /// Does one step. `None`: there is another to be done.
    fn advance(&mut self, viewer: Option<&Standing>) -> Option<Next> {
        match self.compressed() {
            Some(true) => return self.end(Reason::Compressed, 0),
            Some(false) if !self.finished => return Some(Next::Piece),
            _ => {}
        }
        let text = self.held.get(self.at..).unwrap_or_default();
        let Some(found) = search::find(&self.keys, text) else { return self.read_on() };
        match tag::read(text, found) {
            Around::Nothing => {
                let start = found.start;
                self.end(Reason::KeyElsewhere, start)
            }
            Around::Malformed(start) => self.end(Reason::Malformed, start),
            Around::Begun(start) if self.finished => self.end(Reason::Malformed, start),
            Around::Begun(start) => Some(self.release(start).unwrap_or(Next::Piece)),
            Around::Whole(0, end, tag) => {
                let Found { key, .. } = found;
                let key = key.clone();
                self.apply(tag, key, end, viewer)
            }
            Around::Whole(start, ..) => self.release(start),
        }
    }

    /// Whether it is compressed; `None` where that is settled, `Some(false)` where it may be, with the bytes to come.
    fn compressed(&self) -> Option<bool> {
        let first = self.held.as_slice();
        if self.before > 0 || self.at > 0 || self.keys.is_empty() {
            return None;
        }
        let begun = COMPRESSED.iter().any(|magic| magic.starts_with(first));
        let whole = COMPRESSED.iter().any(|magic| first.starts_with(magic));
        (whole || begun).then_some(whole)
    }

    /// Goes on where no key is whole: all goes out but what may become a tag or a key.
    fn read_on(&mut self) -> Option<Next> {
        let text = self.held.get(self.at..).unwrap_or_default();
        let tag = tag::find_begun(&self.keys, text);
        if !self.finished {
            let key = search::find_begun(&self.keys, text);
            let keep = tag.map(|(start, _)| start).into_iter().chain(key).min().unwrap_or(text.len());
            return Some(self.release(keep).unwrap_or(Next::Piece));
        }
        if let Some((start, true)) = tag {
            return self.end(Reason::Malformed, start);
        }
        let rest = self.release(text.len());
        if rest.is_none() {
            let unclosed = self.open.first().map(|block| Fault { at: block.begins, reason: Reason::Unclosed });
            self.ended = Some(unclosed);
        }
        rest
    }

    /// Opens or closes a block by the tag that comes next.
    fn apply(&mut self, tag: Tag, key: BlockKey, end: usize, viewer: Option<&Standing>) -> Option<Next> {
        match tag {
            Tag::Open(kind, right) => {
                let shown = match (self.shown(), viewer) {
                    (false, _) => false,
                    (true, None) => return Some(Next::Viewer),
                    (true, Some(viewer)) => viewer.may(&right) == (kind == Kind::If),
                };
                self.open.push(Block { kind, key, begins: self.before + self.at as u64, shown });
            }
            Tag::Close(kind) if self.open.pop_if(|block| block.kind == kind && block.key == key).is_some() => {}
            Tag::Close(_) => return self.end(Reason::Mismatched, 0),
        }
        self.at += end;
        None
    }

    /// Whether what comes next goes out. Within a hidden block all are hidden.
    fn shown(&self) -> bool {
        self.open.last().is_none_or(|block| block.shown)
    }

    /// Takes so many bytes, and gives what of them goes out, if anything.
    fn release(&mut self, count: usize) -> Option<Next> {
        let bytes = self.held.get(self.at..self.at + count).unwrap_or_default();
        let shown = (self.shown() && !bytes.is_empty()).then(|| Next::Bytes(bytes.to_vec()));
        self.at += count;
        shown
    }

    /// Ends the answer so many bytes from here.
    fn end(&mut self, reason: Reason, from_here: usize) -> Option<Next> {
        let rest = self.release(from_here);
        self.ended = Some(Some(Fault { at: self.before + self.at as u64, reason }));
        rest
    }
}
