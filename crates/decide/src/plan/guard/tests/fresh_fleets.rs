//! What is down and what is only on its way: what makes a storm, case by case.

use super::*;

/// A slot whose process was started for the first time and was not ready yet.
fn comes_up(snapshot: &mut Snapshot, name: &str) {
    let state = slot_mut(snapshot, name);
    (state.phase, state.never_ready) = (Phase::Starting, true);
    (state.readiness, state.liveness) = (None, None);
}

/// As [`comes_up`], and it ended before it was ready.
fn ends_before_it_is_ready(snapshot: &mut Snapshot, name: &str) {
    comes_up(snapshot, name);
    let state = slot_mut(snapshot, name);
    (state.phase, state.incarnation, state.unsettled_exits) = (Phase::BackingOff, None, 4);
    state.crash_loop = true;
}

/// A slot whose process ended after it had been ready; its successor is on its way.
fn starts_again(snapshot: &mut Snapshot, name: &str) {
    let state = slot_mut(snapshot, name);
    state.phase = Phase::Starting;
    (state.readiness, state.liveness) = (None, None);
}

/// What nobody can tell the phase of.
fn is_unknown(snapshot: &mut Snapshot, name: &str) {
    slot_mut(snapshot, name).phase = Phase::Unknown;
}

type Change = fn(&mut Snapshot, &str);

/// What is the case, what happened to how many slots, and how many are down of how many in a storm.
type Case = (&'static str, &'static [(Change, usize)], Option<(u32, u32)>);

/// The shop has six instances; a storm is more than half of four or more.
const ALL: [&str; 6] = ["database-0", "cart-0", "cart-1", "front-0", "front-1", "load-0"];

#[test]
fn only_what_has_been_ready_can_be_down() {
    let cases: [Case; 11] = [
        ("all well", &[], None),
        ("a fleet that only just starts", &[(comes_up, 6)], None),
        ("a fleet none of whose programs can start", &[(ends_before_it_is_ready, 6)], None),
        ("half of it is up already", &[(comes_up, 3)], None),
        ("what came up hangs, too few to judge", &[(comes_up, 3), (hangs, 3)], None),
        ("what came up hangs, enough to judge", &[(comes_up, 2), (hangs, 3)], Some((3, 4))),
        ("half of what came up hangs", &[(comes_up, 2), (hangs, 2)], None),
        ("more than half hangs", &[(hangs, 4)], Some((4, 6))),
        ("more than half starts again", &[(starts_again, 4)], Some((4, 6))),
        ("all of it starts again", &[(starts_again, 6)], Some((6, 6))),
        ("more than half is not known to be well", &[(is_unknown, 2), (hangs, 2)], Some((4, 6))),
    ];
    for (what, changes, storm) in cases {
        let mut snapshot = shop();
        let mut names = ALL.into_iter();
        for (change, count) in changes {
            names.by_ref().take(*count).for_each(|name| change(&mut snapshot, name));
        }
        assert_eq!(storm_in(&snapshot, &auto()), storm, "{what}");
    }
}

/// A control plane that was restarted remembers nothing; the first snapshot it gets has to say it all.
#[test]
fn the_first_look_of_a_control_plane_sees_a_storm_however_old_the_fleet_is() {
    for seconds in [0, 3, 30, 3600] {
        let mut snapshot = shop();
        (snapshot.generation, snapshot.fleet_age) = (1, Duration::from_secs(seconds));
        ALL[..4].iter().for_each(|name| starts_again(&mut snapshot, name));
        assert_eq!(storm_in(&snapshot, &auto()), Some((4, 6)), "{seconds} s after the fleet was brought up");
    }
}
