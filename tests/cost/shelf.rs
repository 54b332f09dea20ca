//! A shelf for the register that counts what is written.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::RangeInclusive;
use whos_online::presence::register::{Filled, Form, Shelf};
use whos_online::presence::time::Timestamp;

/// A shelf in memory.
#[derive(Clone, Default)]
pub struct Rows {
    pub notes: RefCell<BTreeMap<u64, Vec<u8>>>,
    pub sheets: RefCell<BTreeMap<i64, Filled>>,
    /// How many rows were written.
    pub written: Cell<usize>,
    /// What could not be read and was put aside.
    pub aside: RefCell<Vec<(Form, Vec<u8>)>>,
    /// How often something could not be read.
    pub unreadable: Cell<usize>,
}

impl Rows {
    fn starts(&self, which: impl Fn(i64, &Filled) -> bool) -> Result<Vec<i64>, Infallible> {
        let sheets = self.sheets.borrow();
        Ok(sheets.iter().filter(|(start, sheet)| which(**start, sheet)).map(|(start, _)| *start).collect())
    }

    fn count(&self, written: bool) {
        self.written.set(self.written.get() + usize::from(written));
    }
}

impl Shelf for Rows {
    type Error = Infallible;

    fn notes(&self) -> Result<Vec<(u64, Vec<u8>)>, Infallible> {
        Ok(self.notes.borrow().iter().map(|(slot, note)| (*slot, note.clone())).collect())
    }

    fn put_note(&self, slot: u64, note: Option<Vec<u8>>) -> Result<(), Infallible> {
        let mut notes = self.notes.borrow_mut();
        let before = notes.remove(&slot);
        self.count(before.is_some() || note.is_some());
        notes.extend(note.map(|note| (slot, note)));
        Ok(())
    }

    fn sheets(&self, starts: RangeInclusive<i64>) -> Result<Vec<(i64, Vec<u8>)>, Infallible> {
        Ok(self.sheets.borrow().range(starts).map(|(start, sheet)| (*start, sheet.data.clone())).collect())
    }

    fn start_before(&self, place: i64) -> Result<Option<i64>, Infallible> {
        Ok(self.sheets.borrow().range(..=place).next_back().map(|(start, _)| *start))
    }

    fn start_after(&self, place: i64) -> Result<Option<i64>, Infallible> {
        Ok(self.sheets.borrow().range(place..).next().map(|(start, _)| *start))
    }

    fn older_than(&self, at: Timestamp) -> Result<Vec<i64>, Infallible> {
        self.starts(|_, sheet| sheet.oldest < at)
    }

    fn newer_than(&self, at: Timestamp) -> Result<Vec<i64>, Infallible> {
        self.starts(|_, sheet| sheet.newest >= at)
    }

    fn with_text(&self, text: &str) -> Result<Vec<i64>, Infallible> {
        self.starts(|_, sheet| sheet.data.windows(text.len()).any(|bytes| bytes == text.as_bytes()))
    }

    fn put_sheet(&self, start: i64, sheet: Option<Filled>) -> Result<(), Infallible> {
        let mut sheets = self.sheets.borrow_mut();
        let before = sheets.remove(&start);
        self.count(before.is_some() || sheet.is_some());
        sheets.extend(sheet.map(|sheet| (start, sheet)));
        Ok(())
    }

    fn count_unreadable(&self) {
        self.unreadable.set(self.unreadable.get() + 1);
    }

    fn put_aside(&self, form: Form, data: &[u8]) -> Result<(), Infallible> {
        self.count_unreadable();
        self.aside.borrow_mut().push((form, data.to_vec()));
        Ok(())
    }
}
