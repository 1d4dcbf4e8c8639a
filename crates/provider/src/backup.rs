//! What of the keeper's table a backup keeps: what was declared and what was changed since, not what runs.
//!
//! In: a data directory, its keeper alive or not. Out: the table for another directory or machine. Processes, their
//! ports, the volumes' holder and faults that are in force stay behind: a keeper that found them there would take
//! processes for its own that belong to the keeper it was copied from.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::keeper::TABLE_FORMAT;

/// The formats this crate writes: name, number.
pub const FORMATS: [(&str, u32); 1] = [("keeper_table", TABLE_FORMAT)];

/// The file, below the data directory, that [`declared`] stands for.
pub const FILE: &str = "keeper/table.json";

/// The table without what runs; `None` where no keeper has written one.
///
/// # Errors
/// Where it cannot be read, is no table, or a newer version wrote it.
pub fn declared(dir: &Path) -> io::Result<Option<Vec<u8>>> {
    let text = match fs::read(dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let mut table: Map<String, Value> = serde_json::from_slice(&text)?;
    let version = table.get("version").and_then(Value::as_u64);
    if version.is_none_or(|version| version > u64::from(TABLE_FORMAT)) {
        let why = format!("its format is {version:?}, this homeostat knows {TABLE_FORMAT}");
        return Err(io::Error::other(format!("{FILE}: {why}; use the homeostat that wrote it")));
    }
    for (field, empty) in
        [("instances", json!({})), ("ports", json!({})), ("overlays", json!([])), ("holder", Value::Null)]
    {
        table.insert(field.to_owned(), empty);
    }
    serde_json::to_vec_pretty(&table).map(Some).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_is_kept_and_what_runs_is_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(declared(dir.path()).unwrap(), None);
        fs::create_dir(dir.path().join("keeper")).unwrap();
        let table = json!({
            "version": TABLE_FORMAT, "infrastructure": { "name": "f" }, "rows": [1], "done": [2],
            "instances": { "a-0": { "incarnation": { "pid": 7 } } }, "ports": { "a": 1 },
            "overlays": [3], "holder": { "pid": 8 },
        });
        fs::write(dir.path().join(FILE), table.to_string()).unwrap();
        let kept: Value = serde_json::from_slice(&declared(dir.path()).unwrap().unwrap()).unwrap();
        assert_eq!(kept["infrastructure"]["name"], "f");
        assert_eq!((&kept["rows"], &kept["done"]), (&json!([1]), &json!([2])));
        assert_eq!((&kept["instances"], &kept["ports"]), (&json!({}), &json!({})));
        assert_eq!((&kept["overlays"], &kept["holder"]), (&json!([]), &Value::Null));
        fs::write(dir.path().join(FILE), json!({ "version": TABLE_FORMAT + 1 }).to_string()).unwrap();
        assert!(declared(dir.path()).unwrap_err().to_string().contains("format"));
    }
}
