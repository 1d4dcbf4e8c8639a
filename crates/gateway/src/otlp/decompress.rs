//! Decompression of message bodies: gzip and zstd, into one buffer that is used again.
//!
//! In: a whole compressed body, which is small, and a limit. Out: the message, or why not. The output grows piece by
//! piece and stops at the limit, so that what unfolds to gigabytes costs no more than the largest message.

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

/// A buffer that grew beyond this is given back after its message: 4 MiB, ten times the usual batch.
const KEPT_BYTES: usize = 4 << 20;

/// The first guess at how much a body grows: spans grow about sevenfold.
const GROWTH: usize = 8;

/// The window zstd may ask for, as a power of 2: 8 MiB, what every decoder has to support (RFC 8878, 3.1.1.1.2).
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952; several members one after the other are one message.
    Gzip,
    /// RFC 8878; several frames one after the other are one message.
    Zstd,
}

impl Encoding {
    /// Reads the name HTTP and gRPC use.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let name = name.trim();
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match () {
            () if is("identity") || name.is_empty() => Some(Self::Identity),
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            () if is("zstd") => Some(Self::Zstd),
            () => None,
        }
    }
}

/// Why a body could not be unfolded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfoldable {
    /// More bytes than allowed came out.
    TooLarge,
    /// It is no such data, or ends too early.
    Broken,
}

/// The decoders and the buffer of one receiver thread.
pub(crate) struct Decompressor {
    gzip: Decompress,
    zstd: Option<Decoder<'static>>,
    output: Vec<u8>,
}

impl Decompressor {
    pub(crate) fn new() -> Self {
        Self { gzip: Decompress::new_gzip(15), zstd: None, output: Vec::new() }
    }

    /// Unfolds a body to at most `limit` bytes. They stay until the next call or [`Self::give_back`].
    pub(crate) fn unfold<'a>(
        &'a mut self,
        encoding: Encoding,
        body: &'a [u8],
        limit: usize,
    ) -> Result<&'a [u8], Unfoldable> {
        self.output.clear();
        match encoding {
            Encoding::Identity if body.len() > limit => return Err(Unfoldable::TooLarge),
            Encoding::Identity => return Ok(body),
            Encoding::Gzip => self.unfold_gzip(body, limit)?,
            Encoding::Zstd => self.unfold_zstd(body, limit)?,
        }
        Ok(&self.output)
    }

    /// Lets go of a buffer that an unusually large message left behind.
    pub(crate) fn give_back(&mut self) {
        if self.output.capacity() > KEPT_BYTES {
            self.output = Vec::new();
        }
    }

    fn unfold_gzip(&mut self, mut body: &[u8], limit: usize) -> Result<(), Unfoldable> {
        self.reset_gzip();
        make_room(&mut self.output, body.len().saturating_mul(GROWTH), limit)?;
        loop {
            let (read, written) = (self.gzip.total_in(), self.output.len());
            let status = self
                .gzip
                .decompress_vec(body, &mut self.output, FlushDecompress::None)
                .map_err(|_| Unfoldable::Broken)?;
            let taken = usize::try_from(self.gzip.total_in() - read).unwrap_or(usize::MAX);
            body = body.get(taken..).unwrap_or_default();
            if self.output.len() > limit {
                return Err(Unfoldable::TooLarge);
            }
            match status {
                Status::StreamEnd if body.is_empty() => return Ok(()),
                Status::StreamEnd => self.reset_gzip(),
                Status::Ok | Status::BufError if self.output.len() == self.output.capacity() => {
                    let more = self.output.len();
                    make_room(&mut self.output, more, limit)?;
                }
                Status::Ok if taken > 0 || self.output.len() > written => {}
                // Nothing goes in, nothing comes out: the end is missing.
                Status::Ok | Status::BufError => return Err(Unfoldable::Broken),
            }
        }
    }

    /// `Decompress::reset` keeps gzip only where the C library does; a new state is what works with any.
    fn reset_gzip(&mut self) {
        self.gzip = Decompress::new_gzip(15);
    }

    fn unfold_zstd(&mut self, body: &[u8], limit: usize) -> Result<(), Unfoldable> {
        let decoder = match &mut self.zstd {
            Some(decoder) => decoder,
            slot => slot.insert(new_zstd().map_err(|_| Unfoldable::Broken)?),
        };
        decoder.reinit().map_err(|_| Unfoldable::Broken)?;
        make_room(&mut self.output, body.len().saturating_mul(GROWTH), limit)?;
        let mut input = InBuffer::around(body);
        loop {
            let (read, written) = (input.pos(), self.output.len());
            let hint = {
                let mut output = OutBuffer::around_pos(&mut self.output, written);
                decoder.run(&mut input, &mut output).map_err(|_| Unfoldable::Broken)?
            };
            if self.output.len() > limit {
                return Err(Unfoldable::TooLarge);
            }
            let all_read = input.pos() == body.len();
            if hint == 0 && all_read {
                return Ok(());
            }
            if self.output.len() == self.output.capacity() {
                let more = self.output.len();
                make_room(&mut self.output, more, limit)?;
            } else if input.pos() == read && self.output.len() == written {
                return Err(Unfoldable::Broken);
            }
        }
    }
}

fn new_zstd() -> std::io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
    Ok(decoder)
}

/// Makes room for `more` bytes, for one beyond the limit at most: that one shows that there is too much.
fn make_room(output: &mut Vec<u8>, more: usize, limit: usize) -> Result<(), Unfoldable> {
    let left = (limit + 1).saturating_sub(output.len());
    if left == 0 {
        return Err(Unfoldable::TooLarge);
    }
    output.reserve(more.clamp(1024, left.max(1024)));
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use super::*;

    pub(crate) fn fold(encoding: Encoding, message: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Identity => message.to_vec(),
            Encoding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(message).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Zstd => zstd::encode_all(message, 1).unwrap(),
        }
    }

    const COMPRESSED: [Encoding; 2] = [Encoding::Gzip, Encoding::Zstd];

    #[test]
    fn what_was_folded_unfolds_whatever_came_before() {
        let mut decompressor = Decompressor::new();
        let long: Vec<u8> = (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for message in [&b""[..], b"a", &long, b"short again"] {
            for encoding in COMPRESSED {
                let folded = fold(encoding, message);
                assert_eq!(decompressor.unfold(encoding, &folded, 1 << 24), Ok(message));
                let cut = &folded[..folded.len() - 1];
                assert_eq!(decompressor.unfold(encoding, cut, 1 << 24), Err(Unfoldable::Broken));
                assert_eq!(decompressor.unfold(encoding, b"nothing of it", 1 << 24), Err(Unfoldable::Broken));
            }
        }
    }

    #[test]
    fn members_one_after_the_other_are_one_message() {
        for encoding in COMPRESSED {
            let folded = [fold(encoding, b"one "), fold(encoding, b"two")].concat();
            assert_eq!(Decompressor::new().unfold(encoding, &folded, 100), Ok(&b"one two"[..]));
        }
    }

    #[test]
    fn what_unfolds_beyond_the_limit_is_stopped_there() {
        let limit = 1 << 20;
        for encoding in COMPRESSED {
            let bomb = fold(encoding, &vec![0; 200 << 20]);
            let mut decompressor = Decompressor::new();
            assert_eq!(decompressor.unfold(encoding, &bomb, limit), Err(Unfoldable::TooLarge));
            assert!(decompressor.output.capacity() <= 2 * limit, "{}", decompressor.output.capacity());
            let exact = fold(encoding, &vec![7; limit]);
            assert_eq!(decompressor.unfold(encoding, &exact, limit).map(<[u8]>::len), Ok(limit));
            assert_eq!(decompressor.unfold(encoding, &exact, limit - 1), Err(Unfoldable::TooLarge));
        }
    }
}
