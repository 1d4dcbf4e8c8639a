//! Where what there is is listed: said with a refusal of what is not there.
//!
//! On the wire it is the address of the list, beside the sentence and not in it: a program asks it, a page has lists of its own,
//! and the command line names its command instead.

/// A list of what can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// Archived traces.
    Archive,
    /// Drills whose reports are kept.
    Drills,
    /// Experiments.
    Experiments,
    /// Infrastructures that are up.
    Infrastructures,
    /// Issues.
    Issues,
    /// Configuration items.
    Items,
    /// Service level objectives.
    Objectives,
    /// Remediations.
    Remediations,
    /// Services with their instances.
    Services,
    /// Tokens.
    Tokens,
    /// Traces.
    Traces,
    /// Users.
    Users,
}

impl Listed {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::Archive,
        Self::Drills,
        Self::Experiments,
        Self::Infrastructures,
        Self::Issues,
        Self::Items,
        Self::Objectives,
        Self::Remediations,
        Self::Services,
        Self::Tokens,
        Self::Traces,
        Self::Users,
    ];

    /// What is to be asked by `GET`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Archive => "/api/v3/observability/archive",
            Self::Drills => "/api/v3/chaos/drills",
            Self::Experiments => "/api/v3/chaos/experiments",
            Self::Infrastructures => "/api/v3/infrastructures",
            Self::Issues => "/api/v3/self-healing/issues",
            Self::Items => "/api/v3/cmdb/items",
            Self::Objectives => "/api/v3/observability/slos",
            Self::Remediations => "/api/v3/self-healing/remediations",
            Self::Services => "/api/v3/self-healing/services",
            Self::Tokens => "/api/v3/access/tokens",
            Self::Traces => "/api/v3/observability/traces",
            Self::Users => "/api/v3/access/users",
        }
    }

    /// The list at a path.
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|listed| listed.path() == path)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;

    #[test]
    fn every_list_is_at_an_address_that_is_read() {
        let endpoints = crate::routes::endpoints();
        for listed in Listed::ALL {
            let is_read =
                |path: &str| endpoints.iter().any(|one| one.method == Method::GET && one.path == path);
            assert!(is_read(listed.path()), "{listed:?}");
            assert_eq!(Listed::at(listed.path()), Some(listed));
        }
    }
}
