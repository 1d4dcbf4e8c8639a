//! What nobody in particular was refused: which of it is recorded, and what is said of the rest.
//!
//! In: refused attempts with their kind, source and time. Out: whether one is recorded; and, once a minute is over, a record of
//! how many were left out.
//!
//! Who has no token must not fill the disk, and must not hide by many attempts what else is tried. So each kind is bounded by
//! itself, and within it each source: the first attempt of a source is counted apart from all that follow, so that one that
//! comes late is recorded beside others that never stop.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use audit::{Action, NewRecord, Outcome, Via};
use domain::{AnonymousReads, Identity, Time};

use crate::access::{is_user_name, source_of};
use crate::problem::Code;

/// Sources of a kind whose first attempt within a minute is recorded.
const FIRST_A_MINUTE: usize = 60;

/// Further attempts of a kind that are recorded within a minute, of all sources.
const FURTHER_A_MINUTE: u32 = 60;

/// Attempts of a kind that are recorded within a minute of one source.
const OF_SOURCE_A_MINUTE: u32 = 20;

/// Sources, and names, that are counted apart among those left out.
const COUNTED_MAX: usize = 64;

/// How many of these are told.
const TOLD_MAX: usize = 8;

const MINUTE_US: i64 = 60_000_000;

/// What was attempted; none of these crowds out another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// To sign in.
    SignIn,
    /// The same, too soon after others that were wrong: no password was looked at.
    SignInTooSoon,
    /// To be let in by a proof that is none.
    Proof,
    /// To change something without a proof.
    Change,
}

impl Kind {
    const ALL: [Self; 4] = [Self::SignIn, Self::SignInTooSoon, Self::Proof, Self::Change];

    /// By what it is called in the trail, and why it was refused.
    pub(super) fn of(action: &str, code: Option<Code>) -> Self {
        match action {
            "sessions.create" | "tokens.sign_in" => match code {
                Some(Code::TooManyAttempts | Code::Busy) => Self::SignInTooSoon,
                _ => Self::SignIn,
            },
            "access.identify" => Self::Proof,
            _ => Self::Change,
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::SignIn => "attempts to sign in",
            Self::SignInTooSoon => "attempts to sign in too soon after others",
            Self::Proof => "requests with a proof that is none",
            Self::Change => "requests without a proof",
        }
    }
}

/// A refused attempt.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) kind: Kind,
    /// Where it came from, where that is known.
    pub(super) from: Option<IpAddr>,
    /// The name that was tried, where it could be a user's: what could be none may be a password in the wrong field.
    pub(super) name: Option<String>,
}

impl Attempt {
    pub(super) fn new(kind: Kind, from: Option<IpAddr>, tried: Option<&str>) -> Self {
        Self { kind, from, name: tried.filter(|name| is_user_name(name)).map(str::to_owned) }
    }

    pub(super) fn is_sign_in(&self) -> bool {
        matches!(self.kind, Kind::SignIn | Kind::SignInTooSoon)
    }

    /// What the record says of it beside the refusal.
    pub(super) fn told(&self) -> String {
        let name = self.name.as_ref().map(|name| format!("; tried as {name}"));
        let from = self.from.map(|from| format!("; from {}", from.to_canonical()));
        name.into_iter().chain(from).collect()
    }
}

/// What was recorded of one kind within a minute.
#[derive(Debug, Default)]
struct Recorded {
    further: u32,
    /// By source, those whose first attempt was recorded.
    sources: HashMap<Option<IpAddr>, u32>,
}

impl Recorded {
    fn admits(&mut self, source: Option<IpAddr>) -> bool {
        let known = self.sources.len();
        match self.sources.get_mut(&source) {
            None if known < FIRST_A_MINUTE => {
                self.sources.insert(source, 1);
                true
            }
            Some(count) if *count < OF_SOURCE_A_MINUTE && self.further < FURTHER_A_MINUTE => {
                *count += 1;
                self.further += 1;
                true
            }
            _ => false,
        }
    }
}

/// What was left out of one kind since it was last told.
#[derive(Debug)]
struct LeftOut {
    since: Time,
    count: u64,
    sources: BTreeMap<String, u64>,
    names: BTreeMap<String, u64>,
}

impl LeftOut {
    fn new(since: Time) -> Self {
        Self { since, count: 0, sources: BTreeMap::new(), names: BTreeMap::new() }
    }

    fn add(&mut self, source: Option<IpAddr>, name: Option<&str>) {
        self.count += 1;
        if let Some(source) = source {
            count(&mut self.sources, &source.to_string());
        }
        if let Some(name) = name {
            count(&mut self.names, name);
        }
    }

    fn record(&self, kind: Kind) -> NewRecord {
        const ACTION: Action = Action::new("access.not_recorded");
        let nobody = Identity::anonymous(AnonymousReads::Refused);
        let mut text = format!(
            "{} {} since {} were refused and not recorded",
            self.count,
            kind.plural(),
            self.since.rfc3339()
        );
        for (what, counts) in [("from", &self.sources), ("tried as", &self.names)] {
            if !counts.is_empty() {
                text.push_str(&format!("; {what} {}", most(counts)));
            }
        }
        NewRecord::new(nobody.name.as_str(), Via::Anonymous, ACTION, "", Outcome::Refused).detail(text)
    }
}

fn count(counts: &mut BTreeMap<String, u64>, key: &str) {
    if let Some(count) = counts.get_mut(key) {
        *count += 1;
    } else if counts.len() < COUNTED_MAX {
        counts.insert(key.to_owned(), 1);
    }
}

/// Those that were counted most often.
fn most(counts: &BTreeMap<String, u64>) -> String {
    let mut all: Vec<(&String, &u64)> = counts.iter().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let told: Vec<String> =
        all.iter().take(TOLD_MAX).map(|(key, count)| format!("{key} ({count})")).collect();
    let more = if all.len() > TOLD_MAX { " and others" } else { "" };
    format!("{}{more}", told.join(", "))
}

/// What nobody in particular was refused of late.
#[derive(Debug, Default)]
pub(super) struct Anonymous {
    minute: i64,
    recorded: [Recorded; Kind::ALL.len()],
    left_out: [Option<LeftOut>; Kind::ALL.len()],
}

impl Anonymous {
    /// Whether this one is recorded; else it is counted.
    pub(super) fn admit(&mut self, attempt: &Attempt, now: Time) -> bool {
        let minute = now.wall_us.div_euclid(MINUTE_US);
        if minute != self.minute {
            self.minute = minute;
            self.recorded = Default::default();
        }
        let source = attempt.from.map(source_of);
        let at = attempt.kind as usize;
        let is_admitted = self.recorded[at].admits(source);
        if !is_admitted {
            self.left_out[at].get_or_insert_with(|| LeftOut::new(now)).add(source, attempt.name.as_deref());
        }
        is_admitted
    }

    /// The records of what was left out since they were last asked for.
    pub(super) fn left_out(&mut self) -> Vec<NewRecord> {
        let told = Kind::ALL.into_iter().zip(&mut self.left_out);
        told.filter_map(|(kind, left_out)| Some(left_out.take()?.record(kind))).collect()
    }
}

/// What is left of the minute.
pub(super) fn rest_of_minute(now: Time) -> std::time::Duration {
    let left = MINUTE_US - now.wall_us.rem_euclid(MINUTE_US);
    std::time::Duration::from_micros(left.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time { boot_us: 0, wall_us: 1_767_225_600_000_000 };

    fn at(minute: i64) -> Time {
        Time { wall_us: START.wall_us + minute * MINUTE_US, ..START }
    }

    fn attempt(kind: Kind, from: &str) -> Attempt {
        Attempt::new(kind, Some(from.parse().unwrap()), Some("ada"))
    }

    fn text(record: NewRecord) -> String {
        format!("{record:?}")
    }

    #[test]
    fn one_kind_does_not_crowd_out_another_nor_one_source_another() {
        let mut anonymous = Anonymous::default();
        for _ in 0..1000 {
            anonymous.admit(&attempt(Kind::Proof, "10.0.0.1"), at(0));
            anonymous.admit(&attempt(Kind::SignInTooSoon, "10.0.0.1"), at(0));
        }
        assert!(anonymous.admit(&attempt(Kind::SignIn, "10.0.0.1"), at(0)));
        for from in ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"] {
            let admitted = (0..1000).filter(|_| anonymous.admit(&attempt(Kind::SignIn, from), at(0))).count();
            assert!((1..=20).contains(&admitted), "{from}: {admitted}");
        }
        assert!(anonymous.admit(&attempt(Kind::SignIn, "10.0.0.7"), at(0)), "it had not come before");
        assert!(anonymous.admit(&attempt(Kind::SignIn, "10.0.0.2"), at(1)), "another minute");
    }

    #[test]
    fn many_sources_are_recorded_within_a_bound_and_one_machine_is_one_source() {
        let mut anonymous = Anonymous::default();
        let admitted = (0..10_000u32).filter(|source| {
            let from = IpAddr::from((0x0a00_0000 + source % 5000).to_be_bytes());
            anonymous.admit(&Attempt::new(Kind::SignIn, Some(from), None), at(0))
        });
        assert_eq!(admitted.count(), FIRST_A_MINUTE + FURTHER_A_MINUTE as usize);
        let mut anonymous = Anonymous::default();
        let admitted = (0..100)
            .filter(|one| anonymous.admit(&attempt(Kind::SignIn, &format!("2001:db8::{one:x}")), at(0)));
        assert_eq!(admitted.count(), OF_SOURCE_A_MINUTE as usize, "a /64 is one");
    }

    #[test]
    fn what_is_left_out_is_told_once_by_kind_with_sources_and_names() {
        let mut anonymous = Anonymous::default();
        assert_eq!(anonymous.left_out().len(), 0);
        for _ in 0..OF_SOURCE_A_MINUTE + 7 {
            anonymous.admit(&attempt(Kind::SignIn, "10.0.0.1"), at(0));
            anonymous.admit(&attempt(Kind::Proof, "10.0.0.1"), at(0));
        }
        let told: Vec<String> = anonymous.left_out().into_iter().map(text).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        for part in
            ["7 attempts to sign in since 2026-01-01T00:00:00", "; from 10.0.0.1 (7)", "; tried as ada (7)"]
        {
            assert!(told[0].contains(part), "{part}: {told:?}");
        }
        assert!(told[1].contains("7 requests with a proof that is none"), "{told:?}");
        assert_eq!(anonymous.left_out().len(), 0);
    }

    #[test]
    fn what_could_be_no_name_is_not_kept() {
        let from = Some(IpAddr::from([10, 0, 0, 1]));
        for (tried, told) in [
            ("ada", "; tried as ada; from 10.0.0.1"),
            ("Correct Horse!", "; from 10.0.0.1"),
            (&"a".repeat(65), "; from 10.0.0.1"),
            ("", "; from 10.0.0.1"),
        ] {
            assert_eq!(Attempt::new(Kind::SignIn, from, Some(tried)).told(), told);
        }
    }
}
