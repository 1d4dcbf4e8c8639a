//! A column of a row group as the pages of a Parquet file, before they are packed.
//!
//! In: codes and numbers by row. Out: dictionary and pages, in Parquet's encodings.

use super::Map;
use super::index::Encoding;
use super::order::ABSENT;
use super::pack;
use crate::column::{Form, Strings};

/// Rows of a page: as many as a block has, which is what a look at one row unpacks.
pub(super) const PAGE_ROWS: usize = 8192;

/// A column of numbers with more distinct values than this gets no dictionary.
const NUMBERS_MAX: usize = 1024;

/// The pages of a chunk before they are written.
pub(super) struct Pages {
    pub(super) encoding: Encoding,
    /// As it is written, and its entries.
    pub(super) dictionary: Option<(Vec<u8>, u32)>,
    pub(super) pages: Vec<Vec<u8>>,
}

/// The distinct values of a column of numbers, and the code of each row.
pub(super) struct Distinct {
    pub(super) values: Vec<u64>,
    pub(super) codes: Vec<u32>,
}

/// Finds the distinct numbers; `None` where there are too many for a dictionary.
pub(super) fn distinct(values: &[u64], there: &[bool]) -> Option<Distinct> {
    let mut codes = vec![ABSENT; values.len()];
    let mut found = Vec::new();
    let mut by_value: Map<u64, u32> = Map::default();
    let mut last = (0, ABSENT);
    for (row, &value) in values.iter().enumerate() {
        if there.get(row) == Some(&false) {
            continue;
        }
        if last != (value, last.1) || last.1 == ABSENT {
            let next = found.len() as u32;
            let code = *by_value.entry(value).or_insert(next);
            if code == next {
                if found.len() == NUMBERS_MAX {
                    return None;
                }
                found.push(value);
            }
            last = (value, code);
        }
        codes[row] = last.1;
    }
    Some(Distinct { values: found, codes })
}

/// The presence of the rows of a page where the column is optional, then room for its values.
fn begin_page(there: &[bool], range: std::ops::Range<usize>) -> Vec<u8> {
    let mut page = Vec::new();
    if !there.is_empty() {
        pack::pack_presence(&there[range], &mut page);
    }
    page
}

/// The rows of each page.
fn ranges(rows: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..rows).step_by(PAGE_ROWS).map(move |start| start..rows.min(start + PAGE_ROWS))
}

fn code_pages(codes: &[u32], there: &[bool], entries: usize) -> Vec<Vec<u8>> {
    let width = pack::width(entries.saturating_sub(1) as u32);
    let page = |range: std::ops::Range<usize>| {
        let mut page = begin_page(there, range.clone());
        page.push(width);
        let present: Vec<u32> = codes[range].iter().copied().filter(|&code| code != ABSENT).collect();
        pack::pack_codes(&present, width, &mut page);
        page
    };
    ranges(codes.len()).map(page).collect()
}

/// Strings by their codes; in plain form one behind the other.
pub(super) fn string_pages(codes: &[u32], entries: &Strings, optional: bool) -> Pages {
    let there: Vec<bool> =
        if optional { codes.iter().map(|&code| code != ABSENT).collect() } else { Vec::new() };
    if entries.form() == Form::Dictionary {
        let mut dictionary = Vec::new();
        pack::put_entries(&mut dictionary, entries);
        let pages = code_pages(codes, &there, entries.entries());
        let dictionary = Some((dictionary, entries.entries() as u32));
        return Pages { encoding: Encoding::Strings, dictionary, pages };
    }
    let page = |range: std::ops::Range<usize>| {
        let mut page = begin_page(&there, range.clone());
        for &code in codes[range].iter().filter(|&&code| code != ABSENT) {
            pack::put_plain(&mut page, entries.entry(code));
        }
        page
    };
    let pages = ranges(codes.len()).map(page).collect();
    Pages { encoding: Encoding::PlainStrings, dictionary: None, pages }
}

/// Numbers: by their codes where few are `found`, else written as `plain` says.
pub(super) fn number_pages(
    values: &[u64],
    there: &[bool],
    found: Option<&Distinct>,
    plain: Encoding,
) -> Pages {
    if let Some(found) = found {
        let dictionary = found.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let pages = code_pages(&found.codes, there, found.values.len());
        let dictionary = Some((dictionary, found.values.len() as u32));
        return Pages { encoding: Encoding::Numbers, dictionary, pages };
    }
    let page = |range: std::ops::Range<usize>| {
        let mut page = begin_page(there, range.clone());
        let present: Vec<u64> =
            range.filter(|&row| there.get(row) != Some(&false)).map(|row| values[row]).collect();
        match plain {
            Encoding::Deltas => pack::pack_deltas(&present, &mut page),
            _ => page.extend(present.iter().flat_map(|value| value.to_le_bytes())),
        }
        page
    };
    Pages { encoding: plain, dictionary: None, pages: ranges(values.len()).map(page).collect() }
}

/// Booleans, a bit each.
pub(super) fn bit_pages(values: &[u64], there: &[bool]) -> Pages {
    let page = |range: std::ops::Range<usize>| {
        let mut page = begin_page(there, range.clone());
        let present: Vec<u64> =
            range.filter(|&row| there.get(row) != Some(&false)).map(|row| values[row]).collect();
        page.extend(present.chunks(8).map(|bits| {
            bits.iter().enumerate().fold(0u8, |byte, (at, &bit)| byte | ((bit & 1) as u8) << at)
        }));
        page
    };
    Pages { encoding: Encoding::Bits, dictionary: None, pages: ranges(values.len()).map(page).collect() }
}

/// Values of `width` bytes.
pub(super) fn fixed_pages(width: usize, bytes: &[u8], there: &[bool]) -> Pages {
    let page = |range: std::ops::Range<usize>| {
        let mut page = begin_page(there, range.clone());
        if there.is_empty() {
            page.extend_from_slice(&bytes[range.start * width..range.end * width]);
        } else {
            for row in range.filter(|&row| there[row]) {
                page.extend_from_slice(&bytes[row * width..][..width]);
            }
        }
        page
    };
    let pages = ranges(bytes.len() / width).map(page).collect();
    Pages { encoding: Encoding::Fixed, dictionary: None, pages }
}
