//! What holds for every configuration file and every request log.
//!
//! In: any bytes. Out: a panic where a property does not hold. The fuzz targets of `fuzz/` and the tests here
//! run the same functions; nothing that ships contains them.

use std::path::Path;

use crate::config::Config;

/// A configuration is read, checked and written back the same, or the error names the file.
pub fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let path = Path::new("homeostat.toml");
    match Config::parse(Some(path), text, |_| None) {
        Ok(config) => {
            let written =
                toml::to_string_pretty(&config).unwrap_or_else(|error| panic!("{config:?}: {error}"));
            let again = Config::parse(Some(path), &written, |_| None);
            assert_eq!(again.unwrap_or_else(|error| panic!("{error} in {written}")), config, "{written}");
        }
        Err(error) => {
            let error = error.to_string();
            assert!(error.starts_with("homeostat.toml:"), "{error}");
        }
    }
}

/// The request log; see [`crate::demo_load`].
pub fn request_log(input: &[u8]) {
    crate::demo_load::request_log_property(input);
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::seeds::hold;

    #[test]
    fn a_configuration_reads_back_or_is_refused() {
        hold("configuration", 500, super::configuration);
    }

    #[test]
    fn a_request_log_counts_what_can_be_read() {
        hold("request_log", 1000, super::request_log);
    }
}
