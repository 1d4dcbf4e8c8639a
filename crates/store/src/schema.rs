//! The tables, and how an older database becomes a newer one.

use std::path::Path;

use rusqlite::Connection;

use crate::error::{Result, StoreError};

/// One script per version; the n-th takes a database of version n-1 to n. A script that was released is
/// never changed.
pub(crate) const SCRIPTS: [&str; 13] =
    [V1, V2, V3, V4, V5, INDEXES, ACCESS, CMDB, IDEMPOTENCY, PASSKEYS, REMOVAL, NOT_OVER, MADE_BY];

/// The first version. `self_healing_issues`, `self_healing_remediations` and `health_scores` are the tables
/// of the specification (§2). Remediations, faults, lifts and operations are one kind of thing to us, a
/// plan; `self_healing_remediations` is the view of `plans` that shows the remediations among them.
///
/// Columns exist for what is asked for; `document` holds the whole value. Times are pairs
/// `…_boot_us`/`…_wall_us` (see `boot`), or RFC 3339 text where the specification names the column.
const V1: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE self_healing_issues (
    id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    severity TEXT NOT NULL,
    resource TEXT NOT NULL,
    description TEXT NOT NULL,
    detected_at TEXT NOT NULL,
    metrics TEXT NOT NULL,
    remediated INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    reason TEXT NOT NULL,
    closed_at TEXT,
    document TEXT NOT NULL
);
CREATE INDEX issues_open ON self_healing_issues (id) WHERE closed_at IS NULL;
CREATE INDEX issues_detected ON self_healing_issues (detected_at);

CREATE TABLE plans (
    id TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    issue_id TEXT REFERENCES self_healing_issues (id),
    action_type TEXT NOT NULL,
    description TEXT NOT NULL,
    status TEXT NOT NULL,
    reasons TEXT NOT NULL,
    error_message TEXT,
    decision TEXT,
    created_at TEXT NOT NULL,
    started_boot_us INTEGER,
    started_wall_us INTEGER,
    completed_boot_us INTEGER,
    completed_wall_us INTEGER,
    rollback_performed INTEGER NOT NULL DEFAULT 0,
    outcome TEXT,
    outcome_kind TEXT,
    document TEXT NOT NULL
);
CREATE INDEX plans_of_issue ON plans (issue_id);
CREATE INDEX plans_started ON plans (started_boot_us);
CREATE INDEX plans_unfinished ON plans (status)
    WHERE status IN ('pending', 'awaiting_approval', 'in_progress', 'verifying');

CREATE TABLE plan_resources (
    plan TEXT NOT NULL REFERENCES plans (id) ON DELETE CASCADE,
    resource TEXT NOT NULL,
    service TEXT,
    instance INTEGER NOT NULL,
    target INTEGER NOT NULL,
    PRIMARY KEY (plan, resource)
);
CREATE INDEX plan_resources_by_resource ON plan_resources (resource);

CREATE VIEW self_healing_remediations AS
SELECT id, issue_id, action_type, description,
    CASE status WHEN 'verifying' THEN 'in_progress' ELSE status END AS status,
    strftime('%Y-%m-%dT%H:%M:%fZ', started_wall_us / 1e6, 'unixepoch') AS started_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', completed_wall_us / 1e6, 'unixepoch') AS completed_at,
    CASE WHEN status = 'success' THEN 1
         WHEN status IN ('failed', 'rolled_back', 'refused') THEN 0 END AS success,
    error_message, rollback_performed, created_at, outcome_kind AS outcome
FROM plans WHERE purpose = 'remediation';

CREATE TABLE journal (
    plan TEXT NOT NULL REFERENCES plans (id) ON DELETE CASCADE,
    step_index INTEGER NOT NULL,
    step TEXT NOT NULL,
    captured TEXT NOT NULL,
    intent_at TEXT NOT NULL,
    fault INTEGER NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (plan, step_index)
);
CREATE INDEX journal_open ON journal (plan) WHERE state = 'open';
CREATE INDEX journal_faults_in_force ON journal (plan) WHERE state = 'done' AND fault = 1;

CREATE TABLE journal_endings (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    plan TEXT NOT NULL,
    step_index INTEGER NOT NULL,
    ending TEXT NOT NULL,
    at TEXT NOT NULL,
    FOREIGN KEY (plan, step_index) REFERENCES journal (plan, step_index) ON DELETE CASCADE
);
CREATE INDEX journal_endings_of_step ON journal_endings (plan, step_index);

CREATE TABLE timers (
    kind TEXT NOT NULL,
    plan TEXT NOT NULL REFERENCES plans (id) ON DELETE CASCADE,
    due_boot_us INTEGER NOT NULL,
    due_wall_us INTEGER NOT NULL,
    PRIMARY KEY (kind, plan)
);
CREATE INDEX timers_due ON timers (due_boot_us);

CREATE TABLE documents (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE switches (key TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE health_scores (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    overall_score INTEGER,
    compute_score INTEGER,
    network_score INTEGER,
    storage_score INTEGER,
    database_score INTEGER,
    security_score INTEGER,
    issues_detected INTEGER NOT NULL,
    auto_remediated INTEGER NOT NULL,
    timestamp TEXT NOT NULL,
    created_at TEXT NOT NULL,
    coverage REAL NOT NULL,
    taken_boot_us INTEGER NOT NULL,
    taken_wall_us INTEGER NOT NULL
);
CREATE INDEX health_scores_taken ON health_scores (taken_wall_us);

CREATE TABLE experiments (
    id TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    document TEXT NOT NULL,
    created_boot_us INTEGER NOT NULL,
    created_wall_us INTEGER NOT NULL
);
";

/// Indexes for what is asked in every turn and for every plan that is begun, so that its cost follows what
/// happened lately and not all that ever happened.
const V2: &str = "
DROP INDEX plans_started;
CREATE INDEX plans_started ON plans (purpose, started_boot_us);
CREATE INDEX plans_made ON plans (purpose, created_at, id);
";

/// Deployments, however they came to be known.
const V3: &str = "
CREATE TABLE deployments (
    id TEXT PRIMARY KEY,
    service TEXT NOT NULL,
    version TEXT,
    previous_version TEXT,
    seen_by TEXT NOT NULL,
    plan_id TEXT,
    began_boot_us INTEGER NOT NULL,
    began_wall_us INTEGER NOT NULL,
    document TEXT NOT NULL
);
CREATE INDEX deployments_began ON deployments (began_wall_us);
CREATE INDEX deployments_of_service ON deployments (service, began_wall_us);
";

/// Events that were posted from outside; the rest of the time line is read where it lies.
const V4: &str = "
CREATE TABLE posted_events (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT,
    from_wall_us INTEGER NOT NULL,
    to_wall_us INTEGER,
    document TEXT NOT NULL
);
CREATE INDEX posted_events_begun ON posted_events (from_wall_us, id);
CREATE UNIQUE INDEX posted_events_key ON posted_events (kind, key) WHERE key IS NOT NULL;
";

/// What objectives count, with the places up to which it was counted.
const V5: &str = "
CREATE TABLE slo_objectives (id TEXT PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE slo_blocks (
    objective TEXT NOT NULL REFERENCES slo_objectives (id) ON DELETE CASCADE,
    block INTEGER NOT NULL,
    counts BLOB NOT NULL,
    PRIMARY KEY (objective, block)
);
CREATE TABLE slo_positions (source TEXT PRIMARY KEY, position TEXT NOT NULL);
CREATE TABLE slo_remediations (plan TEXT PRIMARY KEY REFERENCES plans (id) ON DELETE CASCADE);
CREATE INDEX plans_with_outcome ON plans (id) WHERE purpose = 'remediation' AND outcome_kind IS NOT NULL;
";

/// Indexes for lists and time lines, so that a page costs what it shows and not all that is kept.
const INDEXES: &str = "
CREATE INDEX plans_listed ON plans (purpose, id);
CREATE INDEX plans_completed ON plans (purpose, completed_wall_us);
CREATE INDEX issues_closed ON self_healing_issues (closed_at);
CREATE INDEX issues_counted ON self_healing_issues (detected_at, resource, type, remediated);
DROP INDEX issues_detected;
";

/// Who may sign in, and what they hold. Of passwords, tokens, cookies and recovery codes there are hashes alone; a TOTP
/// secret, which has to be read again, is sealed under a key that lies outside the database.
const ACCESS: &str = "
CREATE TABLE users (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    roles TEXT NOT NULL,
    password_hash TEXT,
    totp_sealed BLOB,
    totp_pending BLOB,
    totp_step INTEGER,
    oidc_issuer TEXT,
    oidc_subject TEXT,
    disabled INTEGER NOT NULL DEFAULT 0,
    created_boot_us INTEGER NOT NULL,
    created_wall_us INTEGER NOT NULL,
    signed_in_boot_us INTEGER,
    signed_in_wall_us INTEGER,
    UNIQUE (oidc_issuer, oidc_subject),
    CHECK ((oidc_issuer IS NULL) = (oidc_subject IS NULL))
);

CREATE TABLE recovery_codes (
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    code_hash BLOB NOT NULL,
    PRIMARY KEY (user, code_hash)
) WITHOUT ROWID;

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    secret_hash BLOB NOT NULL UNIQUE,
    owner TEXT REFERENCES users (id) ON DELETE CASCADE,
    roles TEXT NOT NULL,
    scope TEXT,
    created_boot_us INTEGER NOT NULL,
    created_wall_us INTEGER NOT NULL,
    expires_boot_us INTEGER,
    expires_wall_us INTEGER,
    revoked_boot_us INTEGER,
    revoked_wall_us INTEGER,
    used_boot_us INTEGER,
    used_wall_us INTEGER
);
CREATE INDEX tokens_of_owner ON tokens (owner);

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    value_hash BLOB NOT NULL UNIQUE,
    user TEXT REFERENCES users (id) ON DELETE CASCADE,
    local_token BLOB,
    signed_in_by TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    created_boot_us INTEGER NOT NULL,
    created_wall_us INTEGER NOT NULL,
    used_boot_us INTEGER NOT NULL,
    used_wall_us INTEGER NOT NULL,
    expires_boot_us INTEGER NOT NULL,
    expires_wall_us INTEGER NOT NULL,
    CHECK ((user IS NULL) <> (local_token IS NULL))
);
CREATE INDEX sessions_of_user ON sessions (user);
CREATE INDEX sessions_expire ON sessions (expires_boot_us);
";

/// What is configured: the newest version of every item, the relations there are, and every change.
const CMDB: &str = "
CREATE TABLE cmdb_items (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    service TEXT,
    sequence INTEGER NOT NULL,
    changed_wall_us INTEGER NOT NULL,
    gone_wall_us INTEGER,
    document TEXT NOT NULL
);
CREATE INDEX cmdb_items_newest ON cmdb_items (sequence);
CREATE INDEX cmdb_items_of_kind ON cmdb_items (kind, sequence);
CREATE INDEX cmdb_items_of_service ON cmdb_items (service, sequence);
CREATE TABLE cmdb_relations (
    from_item TEXT NOT NULL,
    kind TEXT NOT NULL,
    to_item TEXT NOT NULL,
    known_by TEXT NOT NULL,
    PRIMARY KEY (from_item, kind, to_item)
);
CREATE INDEX cmdb_relations_to ON cmdb_relations (to_item);
CREATE TABLE cmdb_changes (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    item TEXT NOT NULL,
    at_wall_us INTEGER NOT NULL,
    plan TEXT,
    document TEXT NOT NULL
);
CREATE INDEX cmdb_changes_of_item ON cmdb_changes (item, sequence);
CREATE INDEX cmdb_changes_at ON cmdb_changes (at_wall_us);
";

/// Idempotency keys with the answers to their requests; without a status, a request that was begun.
const IDEMPOTENCY: &str = "
CREATE TABLE idempotency (
    who TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    began_wall_us INTEGER NOT NULL,
    status INTEGER,
    headers TEXT NOT NULL DEFAULT '[]',
    body BLOB NOT NULL DEFAULT x'',
    PRIMARY KEY (who, key)
);
CREATE INDEX idempotency_begun ON idempotency (began_wall_us);
";

/// Passkeys of users: a public key each, under the id by which the authenticator names it.
const PASSKEYS: &str = "
CREATE TABLE passkeys (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    credential BLOB NOT NULL UNIQUE,
    public_key BLOB NOT NULL,
    sign_count INTEGER NOT NULL,
    backup_eligible INTEGER NOT NULL,
    rp_id TEXT NOT NULL,
    name TEXT NOT NULL,
    created_boot_us INTEGER NOT NULL,
    created_wall_us INTEGER NOT NULL,
    used_boot_us INTEGER,
    used_wall_us INTEGER,
    UNIQUE (user, name)
);
";

/// Indexes by which retention finds what is old without looking at what is not.
const REMOVAL: &str = "
CREATE INDEX plans_of_experiment ON plans (CAST(CASE WHEN json_valid(document)
    THEN json_extract(document, '$.intent.experiment.experiment') END AS TEXT)) WHERE purpose = 'experiment';
CREATE INDEX experiments_created ON experiments (created_wall_us);
CREATE INDEX timers_of_plan ON timers (plan);
CREATE INDEX cmdb_items_gone ON cmdb_items (gone_wall_us) WHERE gone_wall_us IS NOT NULL;
";

/// Indexes of the few that are not over: experiments that run, and repairs that still have to get a verdict.
const NOT_OVER: &str = "
CREATE INDEX experiments_running ON experiments (id) WHERE status = 'running';
CREATE INDEX plans_without_outcome ON plans (id)
    WHERE purpose = 'remediation' AND outcome_kind IS NULL AND started_boot_us IS NOT NULL;
";

/// By which token a token was made; nothing where none made it, and of those from before, of which nobody knows.
const MADE_BY: &str = "
ALTER TABLE tokens ADD COLUMN made_by TEXT REFERENCES tokens (id);
CREATE INDEX tokens_made_by ON tokens (made_by) WHERE made_by IS NOT NULL;
";

/// The experiment of a plan `p`, as `plans_of_experiment` has it.
pub(crate) const EXPERIMENT_OF_PLAN: &str = "CAST(CASE WHEN json_valid(p.document)
    THEN json_extract(p.document, '$.intent.experiment.experiment') END AS TEXT)";

/// Brings the database up to the newest of `scripts`, each version in its own transaction.
pub(crate) fn upgrade(connection: &mut Connection, path: &Path, scripts: &[&str]) -> Result<()> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let supported = scripts.len() as i64;
    if found > supported {
        return Err(StoreError::NewerSchema { path: path.to_owned(), found, supported });
    }
    for version in found..supported {
        let tx = connection.transaction()?;
        tx.execute_batch(scripts[version as usize])?;
        tx.pragma_update(None, "user_version", version + 1)?;
        tx.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_database_is_upgraded_in_place_and_keeps_its_rows() {
        let mut connection = Connection::open_in_memory().unwrap();
        let first = "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('kept');";
        let second = "ALTER TABLE t ADD COLUMN b TEXT NOT NULL DEFAULT 'new';";
        upgrade(&mut connection, Path::new("x"), &[first]).unwrap();
        upgrade(&mut connection, Path::new("x"), &[first, second]).unwrap();
        upgrade(&mut connection, Path::new("x"), &[first, second]).unwrap();
        let row: (String, String) =
            connection.query_row("SELECT a, b FROM t", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(row, ("kept".to_owned(), "new".to_owned()));
        assert!(matches!(
            upgrade(&mut connection, Path::new("x"), &[first]),
            Err(StoreError::NewerSchema { found: 2, supported: 1, .. })
        ));
    }

    #[test]
    fn a_database_of_the_first_version_becomes_what_a_new_one_is() {
        let schema = |connection: &Connection| -> Vec<String> {
            let mut all = connection.prepare("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").unwrap();
            let mut all: Vec<String> =
                all.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
            all.sort();
            all
        };
        let (mut old, mut new) =
            (Connection::open_in_memory().unwrap(), Connection::open_in_memory().unwrap());
        upgrade(&mut old, Path::new("x"), &SCRIPTS[..1]).unwrap();
        old.execute("INSERT INTO meta VALUES ('boot_id', 'kept')", []).unwrap();
        upgrade(&mut old, Path::new("x"), &SCRIPTS).unwrap();
        upgrade(&mut new, Path::new("x"), &SCRIPTS).unwrap();
        assert_eq!(schema(&old), schema(&new));
        let kept: String = old.query_row("SELECT value FROM meta", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, "kept");
    }

    #[test]
    fn an_upgrade_that_fails_leaves_the_older_version_whole() {
        let mut connection = Connection::open_in_memory().unwrap();
        let first = "CREATE TABLE t (a TEXT);";
        upgrade(&mut connection, Path::new("x"), &[first]).unwrap();
        let broken = "CREATE TABLE u (a TEXT); CREATE TABLE t (a TEXT);";
        assert!(upgrade(&mut connection, Path::new("x"), &[first, broken]).is_err());
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_master WHERE type = 'table'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(tables, 1);
        upgrade(&mut connection, Path::new("x"), &[first]).unwrap();
    }
}
