//! A copy of a trail while it is written to: it verifies, and has all that was acknowledged before.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use audit::{Audit, Options, Trusted, backup, verify};
use support::{START_US, clock, directory, fill, options, record};

#[test]
fn a_copy_made_under_writing_verifies_and_has_what_was_acknowledged_before() {
    let dir = directory();
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    fill(&audit, 0..20);
    // How many records there may be: what is written during a copy is bounded, or a machine that is slow to copy has
    // more segments than a process may have open, and keys that change at every try.
    let (done, allowed) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if audit.status().size < allowed.load(Ordering::Relaxed) {
                        audit.append(record(7)).unwrap();
                    } else {
                        thread::yield_now();
                    }
                }
            });
        }
        // Keys change and records go meanwhile.
        scope.spawn(|| {
            for _ in 0..4 {
                let size = audit.status().size;
                while !done.load(Ordering::Relaxed) && audit.status().size < size + 100 {
                    thread::yield_now();
                }
                audit.rotate_keys().unwrap();
                audit.remove_before(START_US + 1_000_000_000).unwrap();
            }
        });
        let _ends = Ends(&done);
        for _ in 0..10 {
            let (copy, acknowledged) = (directory(), audit.status().size);
            allowed.store(acknowledged + 150, Ordering::Relaxed);
            let anchor = audit.head().map(|head| head.note);
            assert!(backup::copy(dir.path(), copy.path()).unwrap());
            let report =
                verify(copy.path(), &Trusted { anchor: anchor.clone(), ..Trusted::default() }).unwrap();
            assert!(report.holds(), "{:?}", report.problems);
            assert!(report.records >= acknowledged && report.acknowledged == report.records);
            // It goes on from there.
            drop(Audit::open_with(copy.path(), clock(), Options { anchor, ..options() }).unwrap());
        }
    });
    drop(audit);
    assert!(verify(dir.path(), &Trusted::default()).unwrap().holds(), "copies leave the trail alone");
}

/// Ends the writers, also where something fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn where_there_is_no_trail_nothing_is_copied() {
    let (dir, to) = (directory(), directory());
    assert!(!backup::copy(dir.path(), to.path()).unwrap());
    assert!(!to.path().join("audit").exists());
    drop(Audit::open_with(dir.path(), clock(), options()).unwrap());
    assert!(backup::copy(dir.path(), to.path()).unwrap());
    assert!(verify(to.path(), &Trusted::default()).unwrap().holds());
}
