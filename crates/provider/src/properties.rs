//! What holds for everything the provider and its keeper read from outside.
//!
//! In: any bytes. Out: a panic where a property does not hold. The fuzz targets of `fuzz/` and the tests here
//! run the same functions; nothing that ships contains them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use crate::keeper::proxy::properties::{proxy_request, proxy_response};
use crate::manifest::{self, ManifestError};
use crate::process::parse_stat;
use crate::protocol::{Reply, Request};

/// An Infrastructure is read without a violation and reads back, or each problem names a line that is there.
pub fn infrastructure(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match manifest::parse("f.yaml", text) {
        Ok(infrastructure) => {
            assert!(infrastructure.check().is_empty());
            // JSON is YAML, and what the keeper is told.
            let written = serde_json::to_string(&infrastructure).unwrap();
            assert_eq!(manifest::parse("f.json", &written).unwrap(), infrastructure, "{written}");
        }
        Err(ManifestError::Wrong { problems }) => {
            // YAML ends a line with CR, LF or both.
            let lines = text.split(['\r', '\n']).count() as u64;
            assert!(!problems.is_empty());
            for problem in problems {
                assert!((1..=lines).contains(&problem.line) && problem.column > 0, "{problem:?}");
                assert!(!problem.message.is_empty(), "{problem:?}");
            }
        }
        Err(error) => panic!("{error}"),
    }
}

/// A line of the keeper's socket is a request or an answer that is written back the same, or is refused.
pub fn keeper_line(input: &[u8]) {
    one_line::<Request>(input);
    one_line::<Reply>(input);
}

fn one_line<T: Serialize + DeserializeOwned + std::fmt::Debug>(input: &[u8]) {
    let Ok(said) = serde_json::from_slice::<T>(input) else { return };
    let written = serde_json::to_vec(&said).unwrap();
    assert!(!written.contains(&b'\n'), "one value is one line");
    let again: T = serde_json::from_slice(&written).unwrap_or_else(|error| panic!("{said:?}: {error}"));
    assert_alike(&said, &again);
}

/// Equal but for the last digit of a fraction, which the JSON reader may lose.
pub(crate) fn assert_alike<T: Serialize>(one: &T, other: &T) {
    let (one, other) = (serde_json::to_value(one).unwrap(), serde_json::to_value(other).unwrap());
    assert!(alike(&one, &other), "{one} became {other}");
}

fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            a == b || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| alike(a, b)))
        }
        _ => one == other,
    }
}

/// See [`crate::keeper`]: the table in its file.
pub fn keeper_table(input: &[u8]) {
    crate::keeper::table_property(input);
}

/// The name of a process, whatever it is, does not change what is read beside it.
pub fn process_status(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Some(stat) = parse_stat(&text) else { return };
    let renamed = format!("1 (a) b) {}", &text[text.rfind(')').map_or(0, |at| at + 1)..]);
    assert_eq!(parse_stat(&renamed), Some(stat));
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::seeds::hold;

    #[test]
    fn an_infrastructure_reads_back_or_is_refused_with_its_line() {
        hold("infrastructure", 300, super::infrastructure);
    }

    #[test]
    fn a_line_of_the_socket_is_understood_or_refused() {
        hold("keeper_line", 1000, super::keeper_line);
    }

    #[test]
    fn a_table_reads_back_or_is_refused() {
        hold("keeper_table", 500, super::keeper_table);
    }

    #[test]
    fn a_process_may_have_any_name() {
        hold("process_status", 1000, super::process_status);
    }

    #[test]
    fn what_reaches_an_instance_has_one_meaning() {
        hold("proxy_request", 200, super::proxy_request);
    }

    #[test]
    fn what_reaches_a_caller_has_one_meaning_and_answers_its_request() {
        hold("proxy_response", 200, super::proxy_response);
    }
}
