//! What holds for every text where a quantity or a name belongs.
//!
//! In: any bytes. Out: a panic where a property does not hold. The fuzz targets of `fuzz/` and the tests
//! here run the same functions; nothing that ships contains them.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use crate::units::{Bytes, DURATION_MAX, parse_duration, show_duration};
use crate::{ExperimentId, InstanceName, IssueId, LinkName, PlanId, ResourceId, ServiceName};

/// A size or a duration is read in range and reads back, or the error shows how one is written.
pub fn units(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match text.parse::<Bytes>() {
        Ok(bytes) => assert_eq!(bytes.0.to_string().parse(), Ok(bytes), "{text:?}"),
        Err(error) => assert!(error.to_string().contains("such as 64MiB"), "{error}"),
    }
    match parse_duration(text) {
        Ok(duration) => {
            assert!(duration <= DURATION_MAX, "{text:?} is {duration:?}");
            assert!(!show_duration(duration).is_empty());
            let again = parse_duration(&format!("{}ms", duration.as_millis())).unwrap();
            assert!(duration.abs_diff(again).as_micros() < 1000, "{duration:?} {again:?}");
        }
        Err(error) => assert!(error.to_string().contains("such as 250ms"), "{error}"),
    }
}

/// A name is read and shown as it was written: there are no two names of one thing. It cannot leave a
/// directory or end a line.
pub fn names(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    written_as_read::<ServiceName>(text);
    written_as_read::<InstanceName>(text);
    written_as_read::<LinkName>(text);
    written_as_read::<ResourceId>(text);
    if let Ok(name) = text.parse::<ServiceName>() {
        assert!(!name.as_str().contains(['/', '.', '\0', '\n', ' ']), "{text:?}");
    }
    // Ids may be written in several forms (RFC 9562); what is shown is one of them.
    reads_back::<IssueId>(text);
    reads_back::<PlanId>(text);
    reads_back::<ExperimentId>(text);
}

fn written_as_read<T: FromStr + Display>(text: &str) {
    if let Ok(name) = text.parse::<T>() {
        assert_eq!(name.to_string(), text);
    }
}

fn reads_back<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(id) = text.parse::<T>() {
        assert_eq!(id.to_string().parse::<T>().ok(), Some(id));
    }
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::seeds::hold;

    #[test]
    fn units_are_read_in_range_or_refused() {
        hold("units", 2000, super::units);
    }

    #[test]
    fn a_thing_has_one_name() {
        hold("names", 2000, super::names);
    }
}
