//! Schemas that a type alone does not tell: names out of a set.

use schemars::{Schema, json_schema};

/// A schema of one name out of a set, for fields that hold the names of a domain's enumeration.
pub(crate) fn choices(names: impl IntoIterator<Item = &'static str>) -> Schema {
    let names: Vec<&str> = names.into_iter().collect();
    json_schema!({"type": "string", "enum": names})
}
