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

/// A question about a site, and how much of the answer is for whoever asks.
pub type Question = (SiteName, Query, Scope);

thread_local! {
    static ANSWERS: RefCell<HashMap<Question, (Timestamp, Rc<Answer>)>> = RefCell::new(HashMap::new());
}

/// The answer that was given a moment ago, if there was one, and as of when it is.
pub fn fresh(question: &Question) -> Option<(Timestamp, Rc<Answer>)> {
    let now = clock::now();
    let fresh = |(at, _): &&(Timestamp, Rc<Answer>)| *at <= now && now.since(*at) < FRESH;
    ANSWERS.with_borrow(|answers| answers.get(question).filter(fresh).cloned())
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
    ANSWERS.with_borrow_mut(|answers| answers.retain(|(known, ..), _| known != site));
}
