//! Signs requests as S3 wants it: Signature Version 4, in the headers.
//!
//! In: a request and credentials. Out: the header `Authorization`. The body's hash is signed with the rest, so that storage
//! refuses a body that was changed on its way.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::credentials::Credentials;

/// A request as it is signed.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// The path, percent-encoded.
    pub(super) path: &'a str,
    /// The query, percent-encoded, its keys in order.
    pub(super) query: &'a str,
    /// All headers that are signed: names in lower case and in order.
    pub(super) headers: &'a [(&'a str, String)],
    /// SHA-256 of the body, in hexadecimal.
    pub(super) body: &'a str,
}

/// The header `Authorization`; `stamp` is the time as `20130524T000000Z`, which the header `x-amz-date` has, too.
pub(super) fn authorization(
    request: &Request<'_>,
    credentials: &Credentials,
    region: &str,
    stamp: &str,
) -> String {
    let Request { method, path, query, headers, body } = request;
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let mut canonical = format!("{method}\n{path}\n{query}\n");
    for (name, value) in *headers {
        // Writing to a string does not fail.
        let _ = writeln!(canonical, "{name}:{}", value.trim());
    }
    let _ = write!(canonical, "\n{names}\n{body}");
    let day = stamp.get(..8).unwrap_or_default();
    let scope = format!("{day}/{region}/s3/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", hash(canonical.as_bytes()));
    let mut key = keyed(format!("AWS4{}", credentials.secret_access_key).as_bytes(), day.as_bytes());
    for part in [region, "s3", "aws4_request"] {
        key = keyed(&key, part.as_bytes());
    }
    let signature = hexadecimal(&keyed(&key, text.as_bytes()));
    let id = &credentials.access_key_id;
    format!("AWS4-HMAC-SHA256 Credential={id}/{scope},SignedHeaders={names},Signature={signature}")
}

/// SHA-256 in hexadecimal.
pub(super) fn hash(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A value in a query: everything but letters, digits and `-._~` is written by its bytes.
pub(super) fn percent(value: &str) -> String {
    value.bytes().fold(String::with_capacity(value.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// HMAC-SHA-256 (RFC 2104).
fn keyed(key: &[u8], message: &[u8]) -> [u8; 32] {
    const BLOCK: usize = 64;
    let mut padded = [0; BLOCK];
    if key.len() > BLOCK {
        padded[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        padded[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(padded.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn signature(method: &str, path: &str, query: &str, more: &[(&'static str, &str)], body: &str) -> String {
        let credentials = Credentials {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: None,
        };
        let stamp = "20130524T000000Z";
        let mut headers = vec![
            ("host", "examplebucket.s3.amazonaws.com".to_owned()),
            ("x-amz-content-sha256", body.to_owned()),
            ("x-amz-date", stamp.to_owned()),
        ];
        headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        headers.sort();
        let request = Request { method, path, query, headers: &headers, body };
        let header = authorization(&request, &credentials, "us-east-1", stamp);
        header.rsplit_once('=').expect("a signature").1.to_owned()
    }

    /// The examples of "Authenticating Requests: Using the Authorization Header" in Amazon's documentation of S3.
    #[test]
    fn the_published_examples_are_signed_as_published() {
        assert_eq!(
            signature("GET", "/test.txt", "", &[("range", "bytes=0-9")], EMPTY),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let put = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
        assert_eq!(
            signature("PUT", "/test%24file.text", "", &put, &hash(b"Welcome to Amazon S3.")),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(
            signature("GET", "/", "max-keys=2&prefix=J", &[], EMPTY),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
        assert_eq!(hash(b""), EMPTY);
    }

    /// RFC 4231, test cases 2 and 6.
    #[test]
    fn keys_are_padded_or_hashed_to_a_block() {
        let short = keyed(b"Jefe", b"what do ya want for nothing?");
        let long = keyed(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert!(hexadecimal(&short).starts_with("5bdcc146bf60754e6a042426089575c7"));
        assert!(hexadecimal(&long).starts_with("60e431591ee0b67f0d8a26aacbf5b77f"));
    }

    #[test]
    fn queries_are_written_by_bytes_where_they_must_be() {
        assert_eq!(percent("a/b c=ü~"), "a%2Fb%20c%3D%C3%BC~");
    }
}
