//! What is done beside the loop as long as a control plane lives: the keeper's lease, experiments that are over, and the
//! emergency stop.
//!
//! In: the loops, and a file or SIGUSR1. Out: heartbeats, and everything stopped. It ends with its value, in whatever way a
//! control plane ends: a heartbeat that goes on would start a keeper again that was shut down.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use audit::{Action, Audit, Outcome};

use super::EMERGENCY_FILE;
use crate::auditing::{self, Asker};
use crate::control::Loops;
use crate::signals;

/// Between two heartbeats to the keeper, which drops every fault when they end.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Between two looks for the file that stops everything.
const EMERGENCY_LOOK: Duration = Duration::from_millis(100);

/// Two threads that end when it is dropped.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Watch {
    /// Keeps the keeper's lease alive, closes experiments that are over, and looks for the emergency stop: the file, or
    /// SIGUSR1.
    pub(super) fn start(dir: &Path, loops: &Arc<Loops>, trail: &Audit) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let heartbeat = {
            let (stop, loops) = (Arc::clone(&stop), Arc::clone(loops));
            let mut keeper = loops.provider.keeper_pid();
            move || {
                while !stop.load(Ordering::Acquire) {
                    // A keeper that does not answer is started again by the next call; the loop says so.
                    let _ = loops.provider.heartbeat();
                    let now = loops.provider.keeper_pid();
                    if std::mem::replace(&mut keeper, now) != now {
                        loops.end_faults("the keeper ended, and its faults with it");
                    }
                    if let Err(error) = loops.experiments.settle() {
                        log::error!("cannot close an experiment: {error}");
                    }
                    loops.clock.wait(HEARTBEAT);
                }
            }
        };
        let emergency = {
            let (stop, loops, file) = (Arc::clone(&stop), Arc::clone(loops), dir.join(EMERGENCY_FILE));
            let trail = trail.clone();
            let mut acted = false;
            move || {
                while !stop.load(Ordering::Acquire) {
                    let asked_by_file = file.metadata().ok();
                    if signals::take_emergency_stop() {
                        stop_all(&loops, &trail, &Asker::signal("SIGUSR1"));
                    } else if let Some(file) = asked_by_file.as_ref().filter(|_| !acted) {
                        stop_all(&loops, &trail, &Asker::owner(file));
                    }
                    acted = asked_by_file.is_some();
                    loops.clock.wait(EMERGENCY_LOOK);
                }
            }
        };
        let mut watch = Self { stop, threads: Vec::new() };
        watch.spawn("heartbeat", heartbeat)?;
        watch.spawn("emergency-stop", emergency)?;
        Ok(watch)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        self.threads.push(std::thread::Builder::new().name(name.to_owned()).spawn(run)?);
        Ok(())
    }
}

/// The emergency stop, which somebody asked for beside the API.
fn stop_all(loops: &Loops, trail: &Audit, asker: &Asker) {
    const ACTION: Action = Action::new("emergency_stop.engage");
    let record = match loops.executor.emergency_stop() {
        Ok(stopped) => {
            let faults = stopped.faults;
            log::warn!(
                "emergency stop: {faults} faults taken out; nothing is repaired or disturbed until `homeostat chaos resume`"
            );
            asker.did(ACTION, "emergency stop", Outcome::Done).detail(format!("{faults} faults taken out"))
        }
        Err(error) => {
            log::error!("emergency stop: {error}");
            asker.did(ACTION, "emergency stop", Outcome::Failed).detail(act::in_full(&error))
        }
    };
    auditing::record(trail, record);
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on stderr already.
            let _ = thread.join();
        }
    }
}
