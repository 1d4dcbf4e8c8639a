//! Switches people throw. They are kept, and the emergency stop stays latched until somebody clears it.

use std::collections::BTreeMap;

use domain::{ServiceName, Time};
use rusqlite::params;

use crate::changes::Topic;
use crate::error::{Result, StoreError};
use crate::store::{Purpose, Store, from_json, to_json};

/// How the switches stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switches {
    /// The master switch of automatic repair; on where nobody ever threw it.
    pub automation: bool,
    /// Since when the emergency stop is latched.
    pub emergency_stop: Option<Time>,
    /// Services where nothing is repaired or disturbed until a time. May hold pauses whose time is over;
    /// see [`Switches::is_paused`].
    pub pauses: BTreeMap<ServiceName, Time>,
}

impl Switches {
    /// Whether a service is paused at `now`.
    pub fn is_paused(&self, service: &ServiceName, now: Time) -> bool {
        self.pauses.get(service).is_some_and(|until| !now.reached(*until))
    }
}

const AUTOMATION: &str = "automation";
const EMERGENCY_STOP: &str = "emergency_stop";
const PAUSE: &str = "pause/";

impl Store {
    /// How the switches stand.
    pub fn switches(&self) -> Result<Switches> {
        self.read(|connection| {
            let mut switches = Switches { automation: true, emergency_stop: None, pauses: BTreeMap::new() };
            let mut statement = connection.prepare_cached("SELECT key, value FROM switches")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (key, value): (String, String) = (row.get(0)?, row.get(1)?);
                let what = || format!("switch {key}");
                match key.as_str() {
                    AUTOMATION => switches.automation = from_json(what, &value)?,
                    EMERGENCY_STOP => switches.emergency_stop = Some(from_json(what, &value)?),
                    other => {
                        let service = other.strip_prefix(PAUSE).and_then(|name| ServiceName::new(name).ok());
                        let service = service.ok_or_else(|| StoreError::Corrupt {
                            what: what(),
                            why: "no such switch is known".to_owned(),
                        })?;
                        switches.pauses.insert(service, from_json(what, &value)?);
                    }
                }
            }
            Ok(switches)
        })
    }

    /// Turns automatic repair on or off.
    pub fn set_automation(&self, enabled: bool) -> Result<()> {
        self.throw(AUTOMATION, Some(to_json(&enabled)?))
    }

    /// Latches the emergency stop. Latched already: its first time stays.
    pub fn latch_emergency_stop(&self, now: Time) -> Result<()> {
        if self.switches()?.emergency_stop.is_some() {
            return Ok(());
        }
        self.throw(EMERGENCY_STOP, Some(to_json(&now)?))
    }

    /// Clears the emergency stop.
    pub fn clear_emergency_stop(&self) -> Result<()> {
        self.throw(EMERGENCY_STOP, None)
    }

    /// Keeps our hands off a service until `until`; `None` ends the pause.
    pub fn pause_service(&self, service: &ServiceName, until: Option<Time>) -> Result<()> {
        self.throw(&format!("{PAUSE}{service}"), until.map(|until| to_json(&until)).transpose()?)
    }

    fn throw(&self, key: &str, value: Option<String>) -> Result<()> {
        self.write(Purpose::Repair, |tx| {
            match &value {
                Some(value) => tx
                    .prepare_cached("INSERT OR REPLACE INTO switches (key, value) VALUES (?1, ?2)")?
                    .execute(params![key, value])?,
                None => tx.prepare_cached("DELETE FROM switches WHERE key = ?1")?.execute([key])?,
            };
            Ok(())
        })?;
        self.listeners().tell(Topic::Switches, key);
        Ok(())
    }
}
