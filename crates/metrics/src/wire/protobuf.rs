//! The protobuf wire format, as much of it as these walkers need: tags, varints, fixed widths, packed numbers, skipping.
//!
//! In: bytes from outside. Out: fields, or a [`Fault`] with the place where the bytes stop making sense. Nothing is
//! copied and nothing allocated; a reader never looks beyond its slice, and a length that does not fit is a fault.
//!
//! Deliberately absent: messages. What is read is read in place, because building a tree costs more than reading.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

/// Where and why bytes are not protobuf.
///
/// The place is an address, so that readers of nested slices need not carry an offset; [`Fault::offset_in`] turns it
/// into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    address: usize,
    pub(crate) what: &'static str,
}

impl Fault {
    /// The offset in `message`, of which the faulty slice must be a part.
    pub(crate) fn offset_in(&self, message: &[u8]) -> usize {
        self.address.saturating_sub(message.as_ptr() as usize).min(message.len())
    }
}

/// Reads the fields of one message.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// A fault at the reader's place.
    #[cold]
    pub(crate) fn fault(&self, what: &'static str) -> Fault {
        Fault { address: self.rest.as_ptr() as usize, what }
    }

    /// Bytes that are left.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next field's tag (number × 8 + wire type), or `None` at the end of the message.
    #[inline]
    pub(crate) fn tag(&mut self) -> Result<Option<u32>, Fault> {
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
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Fault> {
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
    #[inline]
    pub(crate) fn zigzag(&mut self) -> Result<i64, Fault> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A length and as many bytes.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Fault> {
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
    #[inline]
    pub(crate) fn fixed64(&mut self) -> Result<u64, Fault> {
        match self.rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u64::from_le_bytes(*bytes))
            }
            None => Err(self.fault("64-bit value is cut off")),
        }
    }

    /// A `double`.
    #[inline]
    pub(crate) fn double(&mut self) -> Result<f64, Fault> {
        self.fixed64().map(f64::from_bits)
    }

    /// Skips the value of a field that is not known: what a newer sender adds must not be refused.
    #[cold]
    pub(crate) fn skip(&mut self, tag: u32) -> Result<(), Fault> {
        if tag >> 3 == 0 {
            return Err(self.fault("field number 0"));
        }
        match tag & 7 {
            0 => self.varint().map(drop),
            1 => self.fixed64().map(drop),
            2 => self.bytes().map(drop),
            5 => match self.rest.split_first_chunk::<4>() {
                Some((_, rest)) => {
                    self.rest = rest;
                    Ok(())
                }
                None => Err(self.fault("32-bit value is cut off")),
            },
            3 | 4 => Err(self.fault("groups are not part of this message")),
            _ => Err(self.fault("wire type is not known")),
        }
    }

    /// Numbers of a repeated field that is packed: each read by `one` from the bytes of the field. Of more than `most`
    /// one more is kept, which shows that there are too many.
    #[inline]
    pub(crate) fn packed<T>(
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
pub(crate) fn keep<T>(into: &mut Vec<T>, most: usize, element: T) {
    if into.len() <= most {
        into.push(element);
    }
}

/// The field `number` of a message, where it holds bytes: the last one counts, as protobuf has it. Empty where there is
/// none.
pub(crate) fn find(message: &[u8], number: u32) -> Result<&[u8], Fault> {
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

/// The tag of field `number` with a length in front (wire type 2).
pub(crate) const fn len(number: u32) -> u32 {
    number << 3 | 2
}

/// The tag of field `number` as a varint (wire type 0).
pub(crate) const fn varint(number: u32) -> u32 {
    number << 3
}

/// The tag of field `number` as eight bytes (wire type 1).
pub(crate) const fn fixed64(number: u32) -> u32 {
    number << 3 | 1
}
