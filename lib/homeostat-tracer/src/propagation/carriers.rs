//! Carriers: what holds headers in the libraries a service uses.
//!
//! In: lists of pairs as messaging clients have them; with the features `http` and `tonic`, their maps. Out:
//! [`Extract`] and [`Inject`]. Names of HTTP ignore case; those of messages are compared as HTTP's, because
//! brokers and bridges differ in whether they keep case.

use super::{Extract, Inject};

impl<V: AsRef<[u8]>> Extract for [(String, V)] {
    fn each(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        for (key, value) in self {
            if key.eq_ignore_ascii_case(name) {
                each(value.as_ref());
            }
        }
    }
}

impl<V: AsRef<[u8]>> Extract for Vec<(String, V)> {
    fn each(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        self.as_slice().each(name, each);
    }
}

impl Inject for Vec<(String, Vec<u8>)> {
    fn set(&mut self, name: &'static str, value: &str) {
        self.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.push((name.to_owned(), value.as_bytes().to_vec()));
    }
}

impl Inject for Vec<(String, String)> {
    fn set(&mut self, name: &'static str, value: &str) {
        self.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.push((name.to_owned(), value.to_owned()));
    }
}

#[cfg(feature = "http")]
impl Extract for http::HeaderMap {
    fn each(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        self.get_all(name).iter().for_each(|value| each(value.as_bytes()));
    }
}

#[cfg(feature = "http")]
impl Inject for http::HeaderMap {
    fn set(&mut self, name: &'static str, value: &str) {
        if let Ok(value) = http::HeaderValue::from_str(value) {
            self.insert(http::HeaderName::from_static(name), value);
        }
    }
}

#[cfg(feature = "tonic")]
impl Extract for tonic::metadata::MetadataMap {
    fn each(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        self.get_all(name).iter().for_each(|value| each(value.as_encoded_bytes()));
    }
}

#[cfg(feature = "tonic")]
impl Inject for tonic::metadata::MetadataMap {
    fn set(&mut self, name: &'static str, value: &str) {
        if let Ok(value) = value.parse() {
            self.insert(name, value);
        }
    }
}
