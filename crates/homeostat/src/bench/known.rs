//! What there is on a running control plane, to stand in place of the placeholders of addresses.

use serde_json::Value;

use crate::cli::Failure;
use crate::client::Client;

/// The services of the demo fleet, by the names that addresses have.
const SERVICES: [&str; 6] = ["cart", "front", "catalogue", "orders", "payments", "database"];

/// What stands in place of placeholders.
pub(super) struct Known {
    issues: Vec<String>,
    remediations: Vec<String>,
    slos: Vec<String>,
}

impl Known {
    /// Asks for up to so many of each kind.
    pub(super) fn ask(client: &Client, most: usize) -> Result<Self, Failure> {
        let ids = |path: &str| -> Result<Vec<String>, Failure> {
            let list: Vec<Value> = client.get(path)?;
            let ids = list.iter().filter_map(|one| one["id"].as_str());
            Ok(ids.take(most).map(str::to_owned).collect())
        };
        Ok(Self {
            issues: ids(&format!("/api/v3/self-healing/issues?limit={most}"))?,
            remediations: ids(&format!("/api/v3/self-healing/remediations?limit={most}"))?,
            slos: ids("/api/v3/observability/slos")?,
        })
    }

    /// The address with what is there in place of its placeholder, the one of this number; `None` where there are not so
    /// many of the kind, and for another than the first address without a placeholder.
    pub(super) fn filled(&self, path: &str, number: usize) -> Option<String> {
        if path == "/cmdb/item" {
            return SERVICES.get(number).map(|service| format!("{path}?id=service/{service}"));
        }
        let Some((before, rest)) = path.split_once('{') else {
            return (number == 0).then(|| path.to_owned());
        };
        let (_, after) = rest.split_once('}')?;
        let value = match before.rsplit('/').nth(1).unwrap_or_default() {
            "issues" => self.issues.get(number)?.as_str(),
            "remediations" => self.remediations.get(number)?.as_str(),
            "slo" | "slos" => self.slos.get(number)?.as_str(),
            "services" | "service" => SERVICES.get(number)?,
            _ => return None,
        };
        Some(format!("{before}{value}{after}"))
    }
}
