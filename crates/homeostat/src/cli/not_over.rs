//! What is not over: open issues, and plans that run or wait for a person.
//!
//! In: lists of the API, page by page. Out: their rows, and what may be missing among them.

use serde_json::Value;

use crate::client::{Client, ClientError};

/// Rows that are asked for at once.
const PAGE: usize = 500;

/// Pages that are read of one list: 5,000 rows.
const PAGES: usize = 10;

/// How many issues of a server that cannot list open ones alone are looked at.
const NEWEST: usize = 100;

/// What there is, newest first.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) rows: Vec<Value>,
    pub(super) beyond: Beyond,
}

/// What there is beside what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beyond {
    /// Nothing.
    Nothing,
    /// Older ones: as many as are read were read.
    Older,
    /// Nobody knows: a server of before this binary told its newest issues, and there are older ones.
    Unknown,
}

impl Found {
    /// What is said behind the first `shown` rows, with where the `others` are; nothing where they are all there is.
    pub(super) fn rest(&self, shown: usize, others: &str) -> Option<String> {
        let more = self.rows.len().saturating_sub(shown);
        match self.beyond {
            Beyond::Nothing => (more > 0).then(|| format!("and {more} more: {others}")),
            Beyond::Older => Some(format!("and more than {more} more: {others}")),
            Beyond::Unknown => Some(format!(
                "and maybe older ones: this server is of an older version and lists no open issues alone, so that only the newest {NEWEST} issues were looked at"
            )),
        }
    }
}

/// The open issues.
pub(super) fn open_issues(client: &Client) -> Result<Found, ClientError> {
    const ISSUES: &str = "/api/v3/self-healing/issues";
    match every(client, format!("{ISSUES}?state=open&limit={PAGE}")) {
        // A server of before this binary, as between the two steps of an upgrade.
        Err(error) if is_unknown(&error, "state") => {
            let (mut rows, older) = client.page(&format!("{ISSUES}?limit={NEWEST}"))?;
            rows.retain(|issue| issue["closed_at"].is_null());
            Ok(Found { rows, beyond: if older.is_some() { Beyond::Unknown } else { Beyond::Nothing } })
        }
        answer => answer,
    }
}

/// Plans of a status, such as those that wait for a person, whatever they are for.
pub(super) fn plans_that_are(client: &Client, status: &str) -> Result<Found, ClientError> {
    let those = format!("/api/v3/self-healing/remediations?status={status}&limit={PAGE}");
    match every(client, format!("{those}&purpose=any")) {
        // A server of before this binary knows no purposes and lists what it knows.
        Err(error) if is_unknown(&error, "purpose") => every(client, those),
        answer => answer,
    }
}

/// The rows of a list from its first page on.
fn every(client: &Client, first: String) -> Result<Found, ClientError> {
    let (mut rows, mut next) = (Vec::new(), Some(first));
    for _ in 0..PAGES {
        let Some(path) = next else { break };
        let (page, older) = client.page(&path)?;
        rows.extend(page);
        next = older;
    }
    Ok(Found { rows, beyond: if next.is_some() { Beyond::Older } else { Beyond::Nothing } })
}

/// Whether a parameter was refused.
fn is_unknown(error: &ClientError, parameter: &str) -> bool {
    matches!(error, ClientError::Refused { code, field: Some(field), .. }
        if code == "invalid_field" && field == parameter)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::fixture::{Said, server};

    fn unknown(field: &str) -> Said {
        (422, json!({"code": "invalid_field", "field": field, "detail": "not known here"}), None)
    }

    fn ids(found: &Found) -> Vec<&str> {
        found.rows.iter().filter_map(|row| row["id"].as_str()).collect()
    }

    #[test]
    fn open_issues_are_read_page_by_page_to_the_last() {
        let (client, serving) = server(3, |asked| match asked.split_once("before=").map(|(_, rest)| rest) {
            None => (200, json!([{"id": "9"}]), Some("/issues?state=open&before=9".to_owned())),
            Some(rest) if rest.starts_with('9') => {
                (200, json!([{"id": "5"}]), Some("/issues?state=open&before=5".to_owned()))
            }
            Some(_) => (200, json!([{"id": "1"}]), None),
        });
        let found = open_issues(&client).unwrap();
        assert_eq!((ids(&found), found.beyond), (vec!["9", "5", "1"], Beyond::Nothing));
        assert_eq!(
            (found.rest(3, "there"), found.rest(1, "there")),
            (None, Some("and 2 more: there".to_owned()))
        );
        let asked = serving.join().unwrap();
        assert!(asked[0].contains("/issues?state=open&limit=500 "), "{asked:?}");
        assert!(asked[2].contains("/issues?state=open&before=5 "), "{asked:?}");
    }

    #[test]
    fn a_list_without_end_is_read_to_a_bound_and_said_to_go_on() {
        let (client, serving) =
            server(PAGES, |_| (200, json!([{"id": "1"}, {"id": "2"}]), Some("/issues?before=1".to_owned())));
        let found = open_issues(&client).unwrap();
        assert_eq!(found.rows.len(), 2 * PAGES);
        assert_eq!(found.rest(5, "there"), Some("and more than 15 more: there".to_owned()));
        assert_eq!(serving.join().unwrap().len(), PAGES);
    }

    #[test]
    fn a_server_that_cannot_list_open_issues_is_asked_for_the_newest_and_older_ones_are_not_ruled_out() {
        let (client, serving) = server(4, |asked| match asked.contains("state") {
            true => unknown("state"),
            false => {
                let rows =
                    json!([{"id": "1", "closed_at": null}, {"id": "0", "closed_at": "2026-11-21T03:00:00Z"}]);
                (200, rows, Some("/issues?limit=100&before=0".to_owned()))
            }
        });
        for _ in 0..2 {
            let found = open_issues(&client).unwrap();
            assert_eq!((ids(&found), found.beyond), (vec!["1"], Beyond::Unknown));
            assert!(found.rest(100, "").unwrap().contains("only the newest 100 issues were looked at"));
        }
        assert!(serving.join().unwrap()[1].contains("/issues?limit=100 "));
    }

    #[test]
    fn a_server_that_knows_no_purposes_is_asked_without_one() {
        let (client, serving) = server(2, |asked| match asked.contains("purpose") {
            true => unknown("purpose"),
            false => (200, json!([{"id": "1"}]), None),
        });
        assert_eq!(ids(&plans_that_are(&client, "awaiting_approval").unwrap()), ["1"]);
        let asked = serving.join().unwrap();
        assert!(asked[0].contains("status=awaiting_approval&limit=500&purpose=any "), "{asked:?}");
        assert!(asked[1].contains("status=awaiting_approval&limit=500 "), "{asked:?}");
    }

    #[test]
    fn what_else_a_server_refuses_is_no_reason_to_ask_again() {
        let (client, serving) = server(2, |_| unknown("status"));
        for refused in
            [plans_that_are(&client, "awaiting_approval").unwrap_err(), open_issues(&client).unwrap_err()]
        {
            assert!(matches!(refused, ClientError::Refused { field: Some(field), .. } if field == "status"));
        }
        assert_eq!(serving.join().unwrap().len(), 2);
    }
}
