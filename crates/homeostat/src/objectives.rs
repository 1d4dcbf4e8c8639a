//! Evaluates objectives every second, on a thread of its own, until it is stopped.
//!
//! In: the configured objectives and where events come from. Out: [`Objectives`] that are up to date, and on disk at the
//! end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::Clock;
use observe::objectives::{Answers, Objectives, Sources};
use store::Store;
use store::boot::Boot;

use crate::config::{Config, Witness};
use crate::control_plane::StartError;
use crate::metering::Metering;
use crate::receiving::Receiving;

/// Between two evaluations.
const EVERY: Duration = Duration::from_secs(1);

/// Objectives that are evaluated.
pub(crate) struct Evaluation {
    objectives: Arc<Objectives>,
    answers: Answers,
    clock: Arc<dyn Clock>,
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Evaluation {
    /// Reads the configured objectives, takes up what they counted before, and counts on.
    pub(crate) fn start(
        config: &Config,
        store: &Store,
        receiving: Option<&Receiving>,
        metering: Option<&Metering>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let objectives = config.slo.objectives()?;
        let answers = Answers::default();
        // What the loop is told nothing of says nothing of objectives, which the loop acts on.
        let heard = receiving.filter(|_| config.healing.witness == Witness::Spans);
        let sources = Sources {
            store: store.clone(),
            spans: heard.map(|receiving| receiving.store().clone()),
            metrics: metering.map(|metering| metering.store().clone()),
            answers: answers.clone(),
        };
        let boot = Boot::read()?;
        let (objectives, said) = Objectives::open(objectives, sources, boot.id, clock.now())?;
        for sentence in said {
            log::warn!("{sentence}");
        }
        let objectives = Arc::new(objectives);
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = {
            let (objectives, clock) = (Arc::clone(&objectives), Arc::clone(clock));
            std::thread::Builder::new().name("objectives".to_owned()).spawn(move || {
                let mut told = BTreeSet::new();
                while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(EVERY) {
                    let troubles: BTreeSet<String> = objectives.tick(clock.now()).into_iter().collect();
                    // Each is said once until it is over.
                    for trouble in troubles.difference(&told) {
                        log::warn!("{trouble}");
                    }
                    told.retain(|trouble| troubles.contains(trouble));
                    told.extend(troubles);
                }
            })
        };
        let thread = thread.map_err(StartError::Thread)?;
        Ok(Self { objectives, answers, clock: Arc::clone(clock), running: Some((stop, thread)) })
    }

    /// What is evaluated.
    pub(crate) fn objectives(&self) -> &Arc<Objectives> {
        &self.objectives
    }

    /// What counts our own answers.
    pub(crate) fn answers(&self) -> Answers {
        self.answers.clone()
    }

    /// Evaluates no more, and keeps what was counted.
    pub(crate) fn stop(mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
        if let Err(error) = self.objectives.close(self.clock.now()) {
            log::error!("what objectives counted last is counted again by the next start: {error}");
        }
    }
}
