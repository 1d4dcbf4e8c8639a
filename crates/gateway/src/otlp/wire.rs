//! Protobuf as far as the receivers need it by themselves: their short answers are written, and data points are
//! counted.
//!
//! Requests with spans and logs are not read here; the store walks their bytes in place. No message is ever built.

/// A varint in its shortest form.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The wire types of protobuf that are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireType {
    /// Integers and truth values.
    Varint = 0,
    /// Eight bytes, little end first.
    Fixed64 = 1,
    /// A length and so many bytes.
    Bytes = 2,
    /// Four bytes, little end first.
    Fixed32 = 5,
}

/// A field's number and type.
pub fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: WireType) {
    put_varint(out, u64::from(number) << 3 | wire_type as u64);
}

/// A field of bytes, text or a nested message.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_tag(out, number, WireType::Bytes);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// An integer field; 0 is left out, as in proto3.
pub fn put_integer(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_tag(out, number, WireType::Varint);
        put_varint(out, value);
    }
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Where, in bytes from the beginning.
    pub(crate) offset: usize,
    pub(crate) what: &'static str,
}

/// The fields of one message that hold bytes, one after the other; other fields are stepped over.
#[derive(Debug, Clone, Copy)]
struct Nested<'a> {
    rest: &'a [u8],
    /// Where `rest` begins in the whole message.
    offset: usize,
}

impl<'a> Nested<'a> {
    fn next(&mut self) -> Result<Option<(u64, Nested<'a>)>, Malformed> {
        while !self.rest.is_empty() {
            let tag = self.varint()?;
            if tag >> 3 == 0 {
                return Err(self.wrong("a field has the number 0"));
            }
            match tag & 7 {
                0 => {
                    self.varint()?;
                }
                1 => {
                    self.skip(8)?;
                }
                2 => {
                    let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                    return Ok(Some((tag >> 3, self.skip(length)?)));
                }
                5 => {
                    self.skip(4)?;
                }
                _ => return Err(self.wrong("a field has an unknown wire type")),
            }
        }
        Ok(None)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (index, byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.skip(index + 1)?;
                return Ok(value);
            }
        }
        Err(self.wrong("a number does not end"))
    }

    fn skip(&mut self, length: usize) -> Result<Nested<'a>, Malformed> {
        let Some((passed, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.wrong("a field is longer than what holds it"));
        };
        let passed = Nested { rest: passed, offset: self.offset };
        *self = Nested { rest, offset: self.offset + length };
        Ok(passed)
    }

    fn wrong(&self, what: &'static str) -> Malformed {
        Malformed { offset: self.offset, what }
    }
}

/// How many data points an `ExportMetricsServiceRequest` holds.
pub(crate) fn count_data_points(request: &[u8]) -> Result<u64, Malformed> {
    /// From the request down: resource metrics, scope metrics, metrics, the kinds of data, data points.
    const PATH: [&[u64]; 5] = [&[1], &[2], &[2], &[5, 7, 9, 10, 11], &[1]];
    fn count(mut message: Nested<'_>, path: &[&[u64]]) -> Result<u64, Malformed> {
        let Some((numbers, path)) = path.split_first() else { return Ok(1) };
        let mut found = 0;
        while let Some((number, nested)) = message.next()? {
            if numbers.contains(&number) {
                found += count(nested, path)?;
            }
        }
        Ok(found)
    }
    count(Nested { rest: request, offset: 0 }, &PATH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nest(numbers: &[u32], inner: &[u8]) -> Vec<u8> {
        numbers.iter().rev().fold(inner.to_vec(), |inner, number| {
            let mut out = Vec::new();
            put_integer(&mut out, 19, 300);
            put_bytes(&mut out, *number, &inner);
            out
        })
    }

    #[test]
    fn data_points_of_every_kind_are_counted() {
        let mut points = Vec::new();
        put_bytes(&mut points, 1, b"");
        put_bytes(&mut points, 1, b"\x10\x01");
        let mut request = Vec::new();
        for kind in [5, 7, 9, 10, 11] {
            request.extend(nest(&[1, 2, 2, kind], &points));
        }
        assert_eq!(count_data_points(&request), Ok(10));
        assert_eq!(count_data_points(&nest(&[1, 2, 2, 12], &points)), Ok(0), "metadata is no data");
    }

    #[test]
    fn what_is_cut_off_is_refused_with_its_place() {
        let request = nest(&[1, 2], b"");
        assert!(count_data_points(&request).is_ok());
        let refused = count_data_points(&request[..request.len() - 1]).unwrap_err();
        assert_eq!(refused.what, "a field is longer than what holds it");
        assert_eq!(count_data_points(b"\x0a"), Err(Malformed { offset: 1, what: "a number does not end" }));
        assert!(count_data_points(&[0xff; 20]).is_err());
    }
}
