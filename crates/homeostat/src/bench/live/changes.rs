//! What changes while streams are open: a switch that every page shows, and a fleet whose instances stand still.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::client::Client;

/// Between two switches: each has been told long before.
pub(super) const SWITCH_EVERY: Duration = Duration::from_secs(2);

/// Between two instances that stand still.
pub(super) const PAUSE_EVERY: Duration = Duration::from_secs(10);

/// For how long: enough to fail the checks that say so. The fleet is whole again before the next.
const PAUSE_SECONDS: f64 = 5.0;

/// Before the end nothing is changed any more: what was is told within it.
const QUIET: Duration = Duration::from_secs(3);

/// Those that have a second instance.
const SERVICES: [&str; 4] = ["catalogue", "cart", "orders", "payments"];

/// Automatic repair as it was last asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Switched {
    /// How often before; none says that it was not.
    pub(super) number: u64,
    pub(super) at: Instant,
    pub(super) on: bool,
}

impl Switched {
    pub(super) fn never() -> Self {
        Self { number: 0, at: Instant::now(), on: true }
    }
}

/// What was changed.
#[derive(Debug, Default, Serialize)]
pub(super) struct Changed {
    pub(super) switched: u64,
    paused: u64,
    #[serde(skip)]
    pub(super) refused: Vec<String>,
}

/// Changes things until it is over.
pub(super) struct Changes {
    pub(super) client: Client,
    pub(super) switched: watch::Sender<Switched>,
    pub(super) until: Instant,
}

impl Changes {
    pub(super) fn make(self) -> Changed {
        let mut changed = Changed::default();
        let (mut switch_at, mut pause_at) = (Instant::now(), Instant::now());
        while Instant::now() + QUIET < self.until {
            if Instant::now() >= switch_at {
                switch_at += SWITCH_EVERY;
                let result = self.switch(changed.switched + 1);
                changed.switched += 1;
                changed.refused.extend(result.err());
            }
            if Instant::now() >= pause_at {
                pause_at += PAUSE_EVERY;
                match self.pause(changed.paused) {
                    Ok(()) => changed.paused += 1,
                    Err(why) => changed.refused.push(why),
                }
            }
            let next = switch_at.min(pause_at).min(self.until);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        changed
    }

    fn switch(&self, number: u64) -> Result<(), String> {
        let on = number.is_multiple_of(2);
        self.switched.send_replace(Switched { number, at: Instant::now(), on });
        let path = "/api/v3/self-healing/toggle-auto-remediation";
        let answer = self.client.post::<Value>(path, &json!({ "enabled": on }));
        answer.map(drop).map_err(|error| format!("the switch: {error}"))
    }

    fn pause(&self, number: u64) -> Result<(), String> {
        let service = SERVICES[number as usize % SERVICES.len()];
        let body = json!({
            "name": format!("bench live {number}"),
            "type": "pause",
            "target": { "resource": format!("instance/{service}-0") },
            "duration_seconds": PAUSE_SECONDS,
        });
        let answer = self.client.post::<Value>("/api/v3/chaos/experiment", &body);
        answer.map(drop).map_err(|error| format!("a pause: {error}"))
    }
}
