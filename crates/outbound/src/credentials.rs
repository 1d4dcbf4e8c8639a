//! What we prove ourselves by, to who asks for it.
//!
//! In: references to secrets, and who follows them. Out: the value of a header, made for each request and forgotten: a
//! secret that changes where it is kept is sent from the next request on. What is kept, compared and shown is the reference.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::http::HeaderValue;

/// What we prove ourselves by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A token (RFC 6750).
    Bearer(Reference),
    /// A name and a password (RFC 7617).
    Basic {
        /// Who we are; without a colon.
        username: String,
        /// What proves it.
        password: Reference,
    },
}

/// A text with a secret in it that is looked up when it is used.
#[derive(Clone)]
pub struct Reference {
    text: String,
    follow: fn(&str) -> Result<String, String>,
}

/// Why a request could not be signed with them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The secret is not to be had.
    #[error("the credentials are not to be had: {0}")]
    Nowhere(String),
    /// It is empty, or has a character that cannot be sent.
    #[error(
        "the credentials that {0} names cannot stand in a header; they are empty, or have a line end or another control \
         character in them"
    )]
    Unsendable(String),
}

impl Reference {
    /// The text, and who follows what it refers to; the error says why that leads nowhere, without the secret.
    pub fn new(text: impl Into<String>, follow: fn(&str) -> Result<String, String>) -> Self {
        Self { text: text.into(), follow }
    }

    fn secret(&self) -> Result<String, CredentialsError> {
        let secret = (self.follow)(&self.text).map_err(CredentialsError::Nowhere)?;
        // What files end with is no part of it.
        let secret = secret.trim();
        if secret.is_empty() || secret.contains(char::is_control) {
            return Err(CredentialsError::Unsendable(self.text.clone()));
        }
        Ok(secret.to_owned())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Reference {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Reference {}

impl Credentials {
    /// The value of `authorization:`, marked so that no log of headers shows it.
    ///
    /// # Errors
    /// Where the secret is not to be had, or cannot stand in a header.
    pub fn header(&self) -> Result<HeaderValue, CredentialsError> {
        let (reference, value) = match self {
            Self::Bearer(token) => (token, format!("Bearer {}", token.secret()?)),
            Self::Basic { username, password } => {
                let pair = STANDARD.encode(format!("{username}:{}", password.secret()?));
                (password, format!("Basic {pair}"))
            }
        };
        let mut header = HeaderValue::from_str(&value)
            .map_err(|_| CredentialsError::Unsendable(reference.text.clone()))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows a reference to itself.
    fn itself(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    #[test]
    fn a_header_is_made_of_the_secret_and_does_not_show_it() {
        let bearer = Credentials::Bearer(Reference::new("canary\n", itself));
        let header = bearer.header().unwrap();
        assert_eq!(header.as_bytes(), b"Bearer canary");
        assert!(!format!("{header:?}").contains("canary"));
        let password = Reference::new("open sesame", itself);
        let basic = Credentials::Basic { username: "Aladdin".to_owned(), password };
        // RFC 7617, section 2.
        assert_eq!(basic.header().unwrap().as_bytes(), b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn what_cannot_be_sent_is_named_by_its_reference() {
        for secret in ["", " \n", "two\nlines", "nul\0"] {
            let refused = Credentials::Bearer(Reference::new(secret, itself)).header();
            assert!(matches!(refused, Err(CredentialsError::Unsendable(_))), "{secret:?}");
        }
        let nowhere = Reference::new("${env:A}", |_| Err("no variable A".to_owned()));
        let refused = Credentials::Bearer(nowhere).header().unwrap_err();
        assert_eq!(refused.to_string(), "the credentials are not to be had: no variable A");
    }
}
