//! A stored row, column by column. A column that is not what its table says makes the row unreadable: it is never taken for
//! absent, nor for a default.

use super::id::Invalid;
use super::time::Timestamp;

/// A value as a database gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
    /// Whatever we never store: a fraction, a truth value.
    Other,
}

/// The columns of a row, read from the first to the last.
#[derive(Debug)]
pub struct Columns(std::vec::IntoIter<Column>);

/// What came of reading something that is stored.
pub type Read<T> = Result<T, Invalid>;

fn wrong(rule: &str) -> Invalid {
    Invalid::new("a column of a stored row", rule)
}

impl Columns {
    /// Of these values.
    pub fn of(values: Vec<Column>) -> Self {
        Self(values.into_iter())
    }

    /// The next one, a whole number.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn integer(&mut self) -> Read<i64> {
        match self.0.next() {
            Some(Column::Integer(number)) => Ok(number),
            _ => Err(wrong("be a whole number")),
        }
    }

    /// The next one, a time in milliseconds since the epoch.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn time(&mut self) -> Read<Timestamp> {
        self.integer().map(Timestamp::from_millis)
    }

    /// The next one, a text.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn text(&mut self) -> Read<String> {
        self.text_or_null()?.ok_or_else(|| wrong("be a text"))
    }

    /// The next one, a text or nothing.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn text_or_null(&mut self) -> Read<Option<String>> {
        match self.0.next() {
            Some(Column::Text(text)) => Ok(Some(text)),
            Some(Column::Null) => Ok(None),
            _ => Err(wrong("be a text")),
        }
    }

    /// The next one, bytes.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn blob(&mut self) -> Read<Vec<u8>> {
        match self.0.next() {
            Some(Column::Blob(bytes)) => Ok(bytes),
            _ => Err(wrong("be bytes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_what_its_table_says_or_the_row_is_unreadable() {
        let row = vec![Column::Integer(7), Column::Text("a".into()), Column::Null, Column::Blob(vec![1])];
        let mut columns = Columns::of(row);
        assert_eq!(columns.time(), Ok(Timestamp::from_millis(7)));
        assert_eq!((columns.text(), columns.text_or_null()), (Ok("a".into()), Ok(None)));
        assert_eq!(columns.blob(), Ok(vec![1]));
        for missing in [columns.integer().err(), columns.text().err(), columns.blob().err()] {
            assert!(missing.is_some(), "a row that ends too soon");
        }
        for wrong in [Column::Null, Column::Other, Column::Blob(vec![])] {
            assert!(Columns::of(vec![wrong.clone()]).integer().is_err(), "{wrong:?}");
            assert!(Columns::of(vec![wrong.clone()]).text().is_err(), "{wrong:?}");
        }
        assert!(Columns::of(vec![Column::Other]).text_or_null().is_err());
        assert!(Columns::of(vec![Column::Text("a".into())]).blob().is_err());
    }
}
