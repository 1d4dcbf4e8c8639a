//! Which version of the catalogue a process is: what a deployment changes.
//!
//! In: the version it was started as, a query. Out: the material that is searched for. Version 1.1 puts products of
//! the material a query names first. Version 2.0 means to do the same and has a defect, as releases have: it takes the
//! first of several words for a material and gives up where it is none it knows, which its authors, who sell lamps of
//! copper, did not try with `oak chair`.

use super::ServiceError;

/// What version 2.0 knows; there is no wood among it.
const MATERIALS: [&str; 13] = [
    "brass", "ceramic", "copper", "cork", "cotton", "felt", "granite", "leather", "marble", "silk", "slate",
    "steel", "wool",
];

/// The versions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edition {
    /// 1.0: a query is words.
    Words,
    /// 1.1: a query may name a material.
    Materials,
    /// 2.0: a query of several words begins with a material.
    MaterialFirst,
}

/// A query begins with a word that is no material.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no known material")]
pub(super) struct UnknownMaterial(String);

impl Edition {
    /// The edition of a version; the first where none is said.
    pub(super) fn of(version: Option<&str>) -> Result<Self, ServiceError> {
        match version {
            None | Some("1.0") => Ok(Self::Words),
            Some("1.1") => Ok(Self::Materials),
            Some("2.0") => Ok(Self::MaterialFirst),
            Some(other) => Err(ServiceError::Setting {
                name: "--release".to_owned(),
                problem: format!("is {other:?}; the catalogue was released as 1.0, 1.1 and 2.0"),
            }),
        }
    }

    /// The material whose products come first.
    pub(super) fn material(self, query: &str) -> Result<Option<&'static str>, UnknownMaterial> {
        let mut words = query.split_whitespace();
        let first = words.next().unwrap_or_default();
        let known = |word: &str| MATERIALS.into_iter().find(|material| *material == word);
        match self {
            Self::Words => Ok(None),
            Self::Materials => Ok(query.split_whitespace().find_map(known)),
            Self::MaterialFirst if words.next().is_none() => Ok(known(first)),
            Self::MaterialFirst => known(first).map(Some).ok_or_else(|| UnknownMaterial(first.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_version_fails_on_what_the_others_serve() {
        let editions = ["1.0", "1.1", "2.0"].map(|version| Edition::of(Some(version)).unwrap());
        for query in ["", "lamp", "copper kettle", "silk"] {
            assert!(editions.iter().all(|edition| edition.material(query).is_ok()), "{query:?}");
        }
        let chair = editions.map(|edition| edition.material("oak chair"));
        assert_eq!(chair, [Ok(None), Ok(None), Err(UnknownMaterial("oak".to_owned()))]);
        assert_eq!(editions[1].material("kettle of copper"), Ok(Some("copper")));
        assert!(Edition::of(Some("3")).unwrap_err().to_string().contains("1.0, 1.1 and 2.0"));
    }
}
