//! The protobuf wire format, as much of it as walkers need: tags, varints, fixed widths, packed numbers, skipping; and
//! the same appended to bytes.
//!
//! In: bytes from outside. Out: fields, or a [`Fault`] with the place where the bytes stop making sense. Nothing is
//! copied; a reader never looks beyond its slice, and a length that does not fit is a fault.
//!
//! Deliberately absent: messages. What is read is read in place, because building a tree costs more than reading.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

mod write;

pub use write::{put_bytes, put_integer, put_tag, put_varint};

/// The wire types that are in use; groups are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireType {
    /// Integers and truth values.
    Varint = 0,
    /// Eight bytes, little-endian.
    Fixed64 = 1,
    /// A length and so many bytes: text, a nested message, packed numbers.
    Bytes = 2,
    /// Four bytes, little-endian.
    Fixed32 = 5,
}

impl WireType {
    /// The tag of field `number` of this type.
    pub const fn tag(self, number: u32) -> u32 {
        number << 3 | self as u32
    }
}

/// Where and why bytes are not protobuf.
///
/// The place is an address, so that readers of nested slices need not carry an offset; [`Fault::offset_in`] turns it
/// into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    address: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl Fault {
    /// The offset in `message`, of which the faulty slice must be a part.
    pub fn offset_in(&self, message: &[u8]) -> usize {
        self.address.saturating_sub(message.as_ptr() as usize).min(message.len())
    }
}

/// Reads the fields of one message.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of the message that these bytes are.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// A fault at the reader's place.
    #[cold]
    pub fn fault(&self, what: &'static str) -> Fault {
        Fault { address: self.rest.as_ptr() as usize, what }
    }

    /// Bytes that are left.
    #[inline]
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next field's tag (number × 8 + wire type), or `None` at the end of the message.
    ///
    /// # Errors
    /// It is cut off, or the number is larger than protobuf has.
    #[inline]
    pub fn tag(&mut self) -> Result<Option<u32>, Fault> {
        match self.rest.split_first() {
            None => Ok(None),
            Some((&first, rest)) if first < 0x80 => {
                self.rest = rest;
                Ok(Some(u32::from(first)))
            }
            Some(_) => {
                let tag = self.varint()?;
                u32::try_from(tag).map(Some).map_err(|_| self.fault("field number is too large"))
            }
        }
    }

    /// A varint of at most 64 bits.
    ///
    /// # Errors
    /// It is cut off, or has more.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Fault> {
        match self.rest.split_first() {
            Some((&first, rest)) if first < 0x80 => {
                self.rest = rest;
                Ok(u64::from(first))
            }
            Some((&first, &[second, ref rest @ ..])) if second < 0x80 => {
                self.rest = rest;
                Ok(u64::from(first & 0x7f) | u64::from(second) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0u64;
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            if i == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        let what = if self.rest.len() < 10 { "varint is cut off" } else { "varint has more than 64 bits" };
        Err(self.fault(what))
    }

    /// A `sint32` or `sint64`.
    ///
    /// # Errors
    /// As [`Self::varint`].
    #[inline]
    pub fn zigzag(&mut self) -> Result<i64, Fault> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A length and as many bytes.
    ///
    /// # Errors
    /// The message ends before.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let start = self.rest.as_ptr() as usize;
        let len = self.varint()?;
        match usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len)) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(Fault { address: start, what: "length goes beyond the end of its message" }),
        }
    }

    /// Eight bytes, little-endian.
    ///
    /// # Errors
    /// They are cut off.
    #[inline]
    pub fn fixed64(&mut self) -> Result<u64, Fault> {
        match self.rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u64::from_le_bytes(*bytes))
            }
            None => Err(self.fault("64-bit value is cut off")),
        }
    }

    /// Four bytes, little-endian.
    ///
    /// # Errors
    /// They are cut off.
    #[inline]
    pub fn fixed32(&mut self) -> Result<u32, Fault> {
        match self.rest.split_first_chunk::<4>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u32::from_le_bytes(*bytes))
            }
            None => Err(self.fault("32-bit value is cut off")),
        }
    }

    /// A `double`.
    ///
    /// # Errors
    /// It is cut off.
    #[inline]
    pub fn double(&mut self) -> Result<f64, Fault> {
        self.fixed64().map(f64::from_bits)
    }

    /// Skips the value of a field that is not known: what a newer sender adds must not be refused.
    ///
    /// # Errors
    /// It is cut off, a group, or of no known wire type.
    #[cold]
    pub fn skip(&mut self, tag: u32) -> Result<(), Fault> {
        if tag >> 3 == 0 {
            return Err(self.fault("field number 0"));
        }
        match tag & 7 {
            0 => self.varint().map(drop),
            1 => self.fixed64().map(drop),
            2 => self.bytes().map(drop),
            5 => self.fixed32().map(drop),
            3 | 4 => Err(self.fault("groups are not part of this message")),
            _ => Err(self.fault("wire type is not known")),
        }
    }

    /// Numbers of a repeated field that is packed: each read by `one` from the bytes of the field. Of more than `most`
    /// one more is kept, which shows that there are too many.
    ///
    /// # Errors
    /// The field is cut off, or one of its numbers is.
    #[inline]
    pub fn packed<T>(
        &mut self,
        into: &mut Vec<T>,
        most: usize,
        one: impl Fn(&mut Self) -> Result<T, Fault>,
    ) -> Result<(), Fault> {
        let mut numbers = Self::new(self.bytes()?);
        while numbers.left() > 0 {
            keep(into, most, one(&mut numbers)?);
        }
        Ok(())
    }
}

/// Keeps an element where there are not more than `most` yet: one too many shows that there are.
#[inline]
pub fn keep<T>(into: &mut Vec<T>, most: usize, element: T) {
    if into.len() <= most {
        into.push(element);
    }
}

/// The field `number` of a message, where it holds bytes: the last one counts, as protobuf has it. Empty where there is
/// none.
///
/// # Errors
/// What the message is made of is no protobuf.
pub fn find(message: &[u8], number: u32) -> Result<&[u8], Fault> {
    let mut reader = Reader::new(message);
    let mut found: &[u8] = &[];
    while let Some(tag) = reader.tag()? {
        if tag == len(number) {
            found = reader.bytes()?;
        } else {
            reader.skip(tag)?;
        }
    }
    Ok(found)
}

/// The tag of field `number` with a length in front.
pub const fn len(number: u32) -> u32 {
    WireType::Bytes.tag(number)
}

/// The tag of field `number` as a varint.
pub const fn varint(number: u32) -> u32 {
    WireType::Varint.tag(number)
}

/// The tag of field `number` as eight bytes.
pub const fn fixed64(number: u32) -> u32 {
    WireType::Fixed64.tag(number)
}

/// The tag of field `number` as four bytes.
pub const fn fixed32(number: u32) -> u32 {
    WireType::Fixed32.tag(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_unknown_ones_passed() {
        // Field 1 is 300, field 2 is "ab", field 3 eight bytes, field 4 four, field 1 is -1 in zigzag.
        let bytes = [8, 0xac, 2, 0x12, 2, b'a', b'b', 0x19, 1, 0, 0, 0, 0, 0, 0, 0, 0x25, 2, 0, 0, 0, 8, 1];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.tag(), Ok(Some(varint(1))));
        assert_eq!(reader.varint(), Ok(300));
        for tag in [len(2), fixed64(3), fixed32(4)] {
            assert_eq!(reader.tag(), Ok(Some(tag)));
            assert_eq!(reader.skip(tag), Ok(()));
        }
        assert_eq!(reader.tag(), Ok(Some(varint(1))));
        assert_eq!(reader.zigzag(), Ok(-1));
        assert_eq!((reader.tag(), reader.left()), (Ok(None), 0));
        assert_eq!(find(&bytes, 2), Ok(&b"ab"[..]));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut message = Vec::new();
        put_integer(&mut message, 1, 0);
        put_integer(&mut message, 2, u64::MAX);
        put_bytes(&mut message, 3000, b"text");
        let mut reader = Reader::new(&message);
        assert_eq!((reader.tag(), reader.varint()), (Ok(Some(varint(2))), Ok(u64::MAX)));
        assert_eq!((reader.tag(), reader.bytes()), (Ok(Some(len(3000))), Ok(&b"text"[..])));
        assert_eq!(reader.tag(), Ok(None));
    }

    #[test]
    fn what_does_not_fit_is_a_fault_at_its_place() {
        let fault = |bytes: &[u8], read: fn(&mut Reader<'_>) -> Option<Fault>| {
            let fault = read(&mut Reader::new(bytes)).expect("a fault");
            (fault.offset_in(bytes), fault.what)
        };
        let beyond = fault(&[3, 1, 2], |reader| reader.bytes().err());
        assert_eq!(beyond, (0, "length goes beyond the end of its message"));
        assert_eq!(fault(&[0x80; 3], |reader| reader.varint().err()), (0, "varint is cut off"));
        assert_eq!(fault(&[0xff; 11], |reader| reader.varint().err()), (0, "varint has more than 64 bits"));
        assert_eq!(fault(&[1; 7], |reader| reader.fixed64().err()), (0, "64-bit value is cut off"));
        assert_eq!(fault(&[1; 3], |reader| reader.fixed32().err()), (0, "32-bit value is cut off"));
        assert_eq!(fault(&[], |reader| reader.skip(3 | 8).err()).1, "groups are not part of this message");
        assert_eq!(fault(&[], |reader| reader.skip(2).err()).1, "field number 0");
    }

    #[test]
    fn of_too_many_packed_numbers_one_more_is_kept() {
        let mut numbers = Vec::new();
        Reader::new(&[4, 1, 2, 3, 4]).packed(&mut numbers, 2, Reader::varint).expect("numbers");
        assert_eq!(numbers, [1, 2, 3]);
    }
}
