//! Answers that were given a moment ago, to be given again: however many ask, the site's object is asked once in that
//! time by each isolate.

use super::{clock, repeats};
use crate::identity::access::Scope;
use crate::presence::id::SiteName;
use crate::presence::time::{Millis, Timestamp};
use crate::protocol::answer::Answer;
use crate::protocol::query::Query;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// For how long an answer is given again.
pub const FRESH: Millis = Millis(1000);

/// The most answers that are remembered, and the most bytes that each of them may have.
pub const MAX_ANSWERS: usize = 64;
pub const MAX_BYTES: usize = 64 * 1024;

/// The most bytes of all that objects have told and is remembered.
const MAX_TOLD: usize = 4 << 20;

/// A question about a site, and how much of the answer is for whoever asks.
pub type Question = (SiteName, Query, Scope);

/// What the site's objects have told, each of them: one that has told nothing, nothing.
pub type Told = Rc<Vec<Option<Vec<u8>>>>;

thread_local! {
    /// What was told to questions before it was cut to what was wanted: see [`Query::widened`].
    static TOLD: RefCell<HashMap<Question, (Timestamp, Told)>> = RefCell::new(HashMap::new());
    static ANSWERS: RefCell<HashMap<Question, (Timestamp, Rc<Answer>)>> = RefCell::new(HashMap::new());
}

/// The answer that was given a moment ago, if there was one, and as of when it is.
pub fn fresh(question: &Question) -> Option<(Timestamp, Rc<Answer>)> {
    let now = clock::now();
    let fresh = |(at, _): &&(Timestamp, Rc<Answer>)| *at <= now && now.since(*at) < FRESH;
    ANSWERS.with_borrow(|answers| answers.get(question).filter(fresh).cloned())
}

/// What was told a moment ago to a widened question, if it was asked, and as of when it is.
pub fn told(question: &Question) -> Option<(Timestamp, Told)> {
    let now = clock::now();
    let fresh = |(at, _): &&(Timestamp, Told)| *at <= now && now.since(*at) < FRESH;
    TOLD.with_borrow(|told| told.get(question).filter(fresh).cloned())
}

/// Remembers what was told to a widened question.
pub fn remember_told(question: Question, asked: Timestamp, told: &Told) {
    let bytes = |told: &Told| told.iter().flatten().map(Vec::len).sum::<usize>();
    TOLD.with_borrow_mut(|all| {
        if all.len() >= MAX_ANSWERS || all.values().map(|(_, told)| bytes(told)).sum::<usize>() + bytes(told) > MAX_TOLD
        {
            all.clear();
        }
        all.insert(question, (asked, told.clone()));
    });
}

/// Remembers what was answered, as it stood when it was asked.
pub fn remember(question: Question, asked: Timestamp, answer: &Rc<Answer>) {
    if answer.body.len() > MAX_BYTES {
        return;
    }
    ANSWERS.with_borrow_mut(|answers| {
        if answers.len() >= MAX_ANSWERS {
            answers.clear();
        }
        answers.insert(question, (asked, answer.clone()));
    });
}

/// Forgets what was answered for a site, as it has news.
pub fn forget(site: &SiteName) {
    repeats::forget();
    TOLD.with_borrow_mut(|told| told.retain(|(known, ..), _| known != site));
    ANSWERS.with_borrow_mut(|answers| answers.retain(|(known, ..), _| known != site));
}
