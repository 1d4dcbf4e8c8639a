//! Processes in slots: their ends, the standing restart policy, their probes.
//!
//! In: starts, ends and faults, at times. Out: what a keeper would know of each slot. A process that ended
//! is started again after the back-off its service declares, which grows while it does not settle.

use std::time::Duration;

use domain::snapshot::{ExitCause, ExitRecord, Phase, ProbeState};
use domain::{Bytes, Cores, ServiceSpec, Time};
use domain::{Release, RestartPolicy};

/// Ends that are remembered, as the snapshot's contract has it.
const EXITS_MAX: usize = 20;

/// Failed liveness probes in a row that are a verdict, where a service declares no probe of its own.
const LIVENESS_FAILURES: u32 = 3;

/// Time between two liveness probes, likewise.
const LIVENESS_INTERVAL: Duration = Duration::from_millis(500);

/// One slot: the process in it, and the ends of those before.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) process: Option<Process>,
    pub(crate) exits: Vec<ExitRecord>,
    /// Ends in a row before the process settled.
    pub(crate) unsettled: u32,
    pub(crate) crash_loop: bool,
    /// Whether a process in the slot was ready.
    pub(crate) was_ready: bool,
    /// When the back-off is over, while no process runs.
    pub(crate) restart_at: Option<Time>,
    pub(crate) down_since: Option<Time>,
    /// What the process was started with.
    pub(crate) release: Option<Box<Release>>,
}

/// A process that runs.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) started_at: Time,
    /// When it is, or will be, ready for the first time.
    pub(crate) ready_at: Time,
    /// Since when it has been ready without a break.
    pub(crate) ready_since: Option<Time>,
    /// Since when its readiness probe fails, after it had passed.
    pub(crate) not_ready_since: Option<Time>,
    liveness_failures: u32,
    readiness_failures: u32,
    last_passed: Option<Time>,
    next_probe: Time,
    /// What it used when that was last measured.
    pub(crate) measured: Option<(Option<Cores>, Option<Bytes>)>,
}

impl Slot {
    /// Whether it gets requests: a process that runs and was last seen ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.ready_since.is_some())
    }

    /// Puts a new process into the slot.
    pub(crate) fn start(&mut self, pid: u32, now: Time, start_time: Duration) {
        let ready_at = now.plus(start_time);
        if let Some(last) = self.exits.last_mut() {
            last.successor_at.get_or_insert(now);
        }
        self.restart_at = None;
        self.down_since = None;
        self.was_ready |= ready_at == now;
        self.process = Some(Process {
            pid,
            started_at: now,
            ready_at,
            ready_since: (ready_at == now).then_some(now),
            not_ready_since: None,
            liveness_failures: 0,
            readiness_failures: 0,
            last_passed: (ready_at == now).then_some(now),
            next_probe: ready_at,
            measured: None,
        });
    }

    /// The process ends and nobody asked for it: the next start is after the back-off.
    pub(crate) fn end(&mut self, cause: ExitCause, policy: &RestartPolicy, now: Time) {
        let Some(process) = self.process.take() else { return };
        let settled = process.ready_since.is_some_and(|since| now.since(since) >= policy.settled);
        self.unsettled = if settled { 0 } else { self.unsettled + 1 };
        self.crash_loop = self.unsettled >= policy.crash_loop_after;
        let pause = match self.unsettled {
            0 => Duration::ZERO,
            ends => (policy.initial * 2_u32.pow((ends - 1).min(10))).min(policy.max),
        };
        self.restart_at = Some(now.plus(pause));
        self.down_since = Some(now);
        self.note(cause, false, now);
    }

    /// The process is stopped because somebody asked for it.
    pub(crate) fn stop(&mut self, now: Time) {
        self.restart_at = None;
        if self.process.take().is_some() {
            self.note(ExitCause::Signal(15), true, now);
        } else if let Some(last) = self.exits.last_mut() {
            // What waited for its back-off is being replaced on purpose.
            last.requested = true;
        }
    }

    fn note(&mut self, cause: ExitCause, requested: bool, at: Time) {
        if self.exits.len() == EXITS_MAX {
            self.exits.remove(0);
        }
        self.exits.push(ExitRecord { at, cause, requested, successor_at: None });
    }

    /// Lets time pass for the process in the slot. `silent`: it answers nothing.
    pub(crate) fn pass(&mut self, silent: bool, spec: &ServiceSpec, now: Time) {
        let Some(process) = &mut self.process else { return };
        process.probe(silent, spec, now);
        self.was_ready |= process.ready_since.is_some();
        let settled = process.ready_since.is_some_and(|since| now.since(since) >= spec.restart.settled);
        if settled {
            self.unsettled = 0;
            self.crash_loop = false;
        }
    }

    pub(crate) fn phase(&self, now: Time) -> (Phase, Time) {
        match &self.process {
            None => (Phase::BackingOff, self.down_since.unwrap_or(now)),
            Some(Process { ready_since: Some(since), .. }) => (Phase::Ready, *since),
            Some(Process { not_ready_since: Some(since), .. }) => (Phase::NotReady, *since),
            Some(process) => (Phase::Starting, process.started_at),
        }
    }
}

impl Process {
    /// Asks the probes that are due. Readiness is asked every time: its interval is below the step of time.
    fn probe(&mut self, silent: bool, spec: &ServiceSpec, now: Time) {
        if !now.reached(self.ready_at) {
            return;
        }
        if silent {
            self.readiness_failures += 1;
            if self.readiness_failures >= 2 && self.ready_since.take().is_some() {
                self.not_ready_since = Some(now);
            }
        } else {
            self.readiness_failures = 0;
            self.not_ready_since = None;
            // Its first probe passes when it is ready, not when time is next looked at.
            let first = if self.last_passed.is_none() { self.ready_at } else { now };
            self.ready_since.get_or_insert(first);
        }
        if !now.reached(self.next_probe) {
            return;
        }
        let interval = spec.liveness.as_ref().map_or(LIVENESS_INTERVAL, |probe| probe.interval);
        self.next_probe = now.plus(interval);
        if silent {
            self.liveness_failures += 1;
        } else {
            self.liveness_failures = 0;
            self.last_passed = Some(now);
        }
    }

    /// What the liveness probe says; `None` where the service listens nowhere or was not asked yet.
    pub(crate) fn liveness(&self, spec: &ServiceSpec) -> Option<ProbeState> {
        let limit = spec.liveness.as_ref().map_or(LIVENESS_FAILURES, |probe| probe.failures);
        self.state(spec, self.liveness_failures, limit)
    }

    /// What the readiness probe says, likewise.
    pub(crate) fn readiness(&self, spec: &ServiceSpec) -> Option<ProbeState> {
        self.state(spec, self.readiness_failures, 2)
    }

    fn state(&self, spec: &ServiceSpec, failures_in_a_row: u32, failures_limit: u32) -> Option<ProbeState> {
        let asked = self.last_passed.is_some() || failures_in_a_row > 0;
        (spec.listens.is_some() && asked).then(|| ProbeState {
            failures_in_a_row,
            failures_limit,
            last_passed: self.last_passed,
            last_took: self.last_passed.map(|_| Duration::from_millis(1)),
        })
    }
}
