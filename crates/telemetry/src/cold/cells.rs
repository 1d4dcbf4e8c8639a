//! The values of one column in one page, unpacked.

use super::attributes::hexadecimal;
use crate::column::{AttributeType, Form, Scalar, Strings};
use crate::query::Tag;

/// The values of a column in a page, those that are there, one behind the other.
pub(super) struct Cells {
    /// Which rows have one; all where it is `None`.
    pub(super) there: Option<Vec<bool>>,
    pub(super) values: Values,
}

/// Values behind each other.
pub(super) enum Values {
    Strings(Strings),
    Numbers(Vec<u64>),
    Fixed(usize, Vec<u8>),
}

impl Cells {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match &self.values {
            Values::Strings(strings) => strings.len(),
            Values::Numbers(numbers) => numbers.len(),
            Values::Fixed(width, bytes) => bytes.len() / width,
        }
    }

    /// Where each row's value stands.
    pub(super) fn ranks(&self, rows: usize) -> Vec<Option<usize>> {
        match &self.there {
            None => (0..rows).map(Some).collect(),
            Some(there) => {
                let mut rank = 0;
                let next = |&there: &bool| {
                    rank += usize::from(there);
                    there.then(|| rank - 1)
                };
                there.iter().map(next).collect()
            }
        }
    }

    /// Them all, where they are numbers.
    pub(super) fn numbers(self) -> Option<Vec<u64>> {
        match self.values {
            Values::Numbers(numbers) => Some(numbers),
            Values::Strings(_) | Values::Fixed(..) => None,
        }
    }

    /// Them all, where they are strings.
    pub(super) fn strings(self) -> Option<Strings> {
        match self.values {
            Values::Strings(strings) => Some(strings),
            Values::Numbers(_) | Values::Fixed(..) => None,
        }
    }

    /// Them all, where each has `N` bytes.
    pub(super) fn fixed<const N: usize>(&self) -> Option<&[[u8; N]]> {
        match &self.values {
            Values::Fixed(width, bytes) if *width == N => Some(bytes.as_chunks::<N>().0),
            _ => None,
        }
    }

    /// Shows the value at `rank`.
    pub(super) fn show<T>(
        &self,
        kind: AttributeType,
        rank: usize,
        use_it: impl FnOnce(Scalar<'_>) -> T,
    ) -> T {
        match &self.values {
            Values::Strings(strings) => {
                let bytes = strings.entry(strings.code(rank));
                use_it(if kind == AttributeType::Bytes { Scalar::Bytes(bytes) } else { Scalar::Text(bytes) })
            }
            Values::Numbers(numbers) => use_it(kind.number(numbers[rank])),
            Values::Fixed(width, bytes) => {
                let mut text = Vec::with_capacity(2 * width);
                hexadecimal(&bytes[rank * width..][..*width], &mut text);
                use_it(Scalar::Text(&text))
            }
        }
    }

    /// Says of a rank whether its value is what a tag asks for; each entry of a dictionary is looked at once.
    pub(super) fn matches(&self, kind: AttributeType, tag: &Tag<'_>) -> impl Fn(usize) -> bool {
        let by_code: Option<Vec<bool>> = match &self.values {
            Values::Strings(strings) if strings.form() == Form::Dictionary && kind == AttributeType::Text => {
                let entries = 0..strings.entries() as u32;
                Some(entries.map(|code| tag.is(Scalar::Text(strings.entry(code)))).collect())
            }
            _ => None,
        };
        move |rank| match (&by_code, &self.values) {
            (Some(by_code), Values::Strings(strings)) => by_code[strings.code(rank) as usize],
            _ => self.show(kind, rank, |value| tag.is(value)),
        }
    }
}
