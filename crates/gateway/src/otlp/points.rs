//! How many data points a request holds, where no store takes them in: its bytes are walked in place.

use protowire::{Fault, Reader, len};

/// How many data points an `ExportMetricsServiceRequest` holds.
pub(crate) fn count_data_points(request: &[u8]) -> Result<u64, Fault> {
    /// From the request down: resource metrics, scope metrics, metrics, the kinds of data, data points.
    const PATH: [&[u32]; 5] =
        [&[len(1)], &[len(2)], &[len(2)], &[len(5), len(7), len(9), len(10), len(11)], &[len(1)]];
    fn count(message: &[u8], path: &[&[u32]]) -> Result<u64, Fault> {
        let Some((tags, path)) = path.split_first() else { return Ok(1) };
        let (mut reader, mut found) = (Reader::new(message), 0);
        while let Some(tag) = reader.tag()? {
            if tags.contains(&tag) {
                found += count(reader.bytes()?, path)?;
            } else {
                reader.skip(tag)?;
            }
        }
        Ok(found)
    }
    count(request, &PATH)
}

#[cfg(test)]
mod tests {
    use protowire::{put_bytes, put_integer};

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
        let fault = count_data_points(&request[..request.len() - 1]).unwrap_err();
        assert_eq!(fault.what, "length goes beyond the end of its message");
        let fault = count_data_points(b"\x0a").unwrap_err();
        assert_eq!((fault.offset_in(b"\x0a"), fault.what), (1, "varint is cut off"));
        assert!(count_data_points(&[0xff; 20]).is_err());
    }
}
