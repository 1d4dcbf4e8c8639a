//! Requests at a fixed rate, whether the last ones were answered or not.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Requests that can be under way at a time.
const CONNECTIONS: usize = 32;

/// An address that is asked.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// As the router reads it.
    pub(super) path: String,
    /// With what is there in place of its placeholder.
    pub(super) asked: String,
    pub(super) is_page: bool,
}

/// What came of the requests to one address.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// From when each was due to the end of its answer.
    pub(super) times: Vec<Duration>,
    pub(super) errors: u64,
}

/// Asks every place in turn, `rate` times a second in all.
pub(super) fn run(address: &str, token: &str, places: &[Place], rate: u32, time: Duration) -> Vec<Seen> {
    let begin = Instant::now() + Duration::from_millis(10);
    let requests = (time.as_secs_f64() * f64::from(rate)) as usize;
    let seen = Mutex::new(vec![Seen::default(); places.len()]);
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let seen = &seen;
            scope.spawn(move || {
                let agent = ureq::Agent::config_builder()
                    .proxy(None)
                    .timeout_global(Some(Duration::from_secs(30)))
                    .http_status_as_error(false)
                    .max_redirects(0)
                    .build()
                    .new_agent();
                for number in (connection..requests).step_by(CONNECTIONS) {
                    let due = begin + Duration::from_secs_f64(number as f64 / f64::from(rate));
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let at = number % places.len();
                    let well = ask(&agent, token, &format!("{address}{}", places[at].asked));
                    let took = due.elapsed();
                    let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    seen[at].times.push(took);
                    seen[at].errors += u64::from(!well);
                }
            });
        }
    });
    seen.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Whether it was answered with 200, to its end.
fn ask(agent: &ureq::Agent, token: &str, url: &str) -> bool {
    agent.get(url).header("Authorization", format!("Bearer {token}")).call().is_ok_and(|mut response| {
        response.status().as_u16() == 200
            && response.body_mut().with_config().limit(64 << 20).read_to_vec().is_ok()
    })
}
