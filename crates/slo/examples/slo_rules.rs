//! Reads SLO files and prints the Prometheus rules for them, as Sloth generates them.
//!
//! `slo_rules [--mode MODE] [--version VERSION] [--label NAME=VALUE]… FILE…`; what is wrong with a file goes to stderr, and
//! the exit status is 1. The foreign suite `suites/slo` runs it.

use std::process::ExitCode;

use slo::prometheus::{Provenance, RuleFile};

fn main() -> ExitCode {
    match rules(std::env::args().skip(1)) {
        Ok(yaml) => {
            print!("{yaml}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn rules(mut arguments: impl Iterator<Item = String>) -> Result<String, String> {
    let mut provenance = Provenance {
        mode: "homeostat".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        labels: Default::default(),
    };
    let mut files = Vec::new();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match &*argument {
            "--mode" => provenance.mode = value()?,
            "--version" => provenance.version = value()?,
            "--label" => {
                let label = value()?;
                let (name, text) = label.split_once('=').ok_or(format!("{label:?} is no NAME=VALUE"))?;
                provenance.labels.insert(name.to_owned(), text.to_owned());
            }
            file => files
                .push((file.to_owned(), std::fs::read(file).map_err(|error| format!("{file}: {error}"))?)),
        }
    }
    let named: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    let objectives = slo::read_all(&named).map_err(|error| error.to_string())?;
    Ok(RuleFile::of(&objectives, &provenance).map_err(|error| error.to_string())?.to_yaml())
}
