//! What goes wrong with one part of a turn, and does not stop the others.
//!
//! A turn is made of parts: one issue, one plan, one record. In: each part with what it is about. Out: what it
//! came to, or nothing. What failed is said once, as long as it fails the same way, and is done by the next
//! turn. Records that could not be written are kept here until they are. What acts on the world is no record:
//! it is written before it is done, or not done.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use act::in_full;
use domain::Time;
use observe::Sighting;
use store::StoreError;

use crate::healer::Healer;
use crate::turn::TurnError;

/// A part that panicked is left out for this long: the same world would make it panic again, and what comes
/// behind it would never be reached.
const LEFT_OUT: Duration = Duration::from_secs(60);

thread_local! {
    /// What this thread is at. Repairs end on threads of their own beside the turn.
    static AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What goes wrong now.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    /// What it is about, with why and the turn that saw it last.
    parts: BTreeMap<String, (String, u64)>,
    /// Parts that panicked, and when.
    panicked: BTreeMap<String, Time>,
    /// What is new of it and was not told yet.
    new: BTreeMap<String, String>,
    /// Counts turns.
    turn: u64,
    /// Why the latest turn did not come to its end.
    whole: Option<String>,
    /// Why events do not wake the loop.
    events: Option<String>,
    /// Documents that are still to be written.
    owed: BTreeMap<String, String>,
}

impl Healer {
    /// Does one part of a turn. `None`: it failed, which was said.
    pub(crate) fn apart<T, E: Into<TurnError>>(
        &self,
        what: impl Display,
        part: impl FnOnce() -> Result<T, E>,
    ) -> Option<T> {
        let what = what.to_string();
        let now = self.now();
        {
            let panicked = &mut self.state().troubles.panicked;
            panicked.retain(|_, at| now.since(*at) < LEFT_OUT);
            if panicked.contains_key(&what) {
                return None;
            }
        }
        // Where it panics, what it was about stays for `note_panic`.
        let around = AT.replace(Some(what.clone()));
        let done = part();
        AT.set(around);
        match done {
            Ok(done) => Some(done),
            Err(error) => {
                self.note_trouble(what, in_full(&error.into()));
                None
            }
        }
    }

    /// Notes that something failed, and says so where it is new.
    pub(crate) fn note_trouble(&self, what: String, why: String) {
        let new = {
            let troubles = &mut self.state().troubles;
            let turn = troubles.turn;
            let before = troubles.parts.insert(what.clone(), (why.clone(), turn));
            let new = before.is_none_or(|(before, _)| before != why);
            if new {
                troubles.new.insert(what.clone(), why.clone());
            }
            new
        };
        if new {
            log::warn!("{what}: {why}; the rest goes on, and it is tried again");
        }
    }

    /// Notes links that nobody reaches: no request is counted where nothing listens, and the instances behind are well.
    pub(crate) fn note_unbound(&self, sighting: &Sighting) {
        for link in sighting.unbound() {
            self.note_trouble(link.what(), link.why());
        }
    }

    /// Takes what fails and was not told yet, with why.
    pub(crate) fn new_troubles(&self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.state().troubles.new)
    }

    /// A turn ends: what it did not see fail works again. Returns how much still fails.
    pub(crate) fn end_troubles(&self) -> usize {
        let (over, left) = {
            let troubles = &mut self.state().troubles;
            let turn = troubles.turn;
            troubles.turn += 1;
            let over: Vec<String> = troubles
                .parts
                .extract_if(.., |what, (_, seen)| *seen < turn && !troubles.panicked.contains_key(what))
                .map(|(what, _)| what)
                .collect();
            (over, troubles.parts.len())
        };
        for what in over {
            log::info!("{what}: goes on");
        }
        left
    }

    /// A turn panicked on this thread. Returns what it was about.
    pub(crate) fn note_panic(&self, why: &str) -> String {
        let now = self.now();
        let what = {
            let troubles = &mut self.state().troubles;
            let at = AT.take();
            if let Some(at) = &at {
                troubles.panicked.insert(at.clone(), now);
                troubles.parts.insert(at.clone(), (format!("panicked: {why}"), troubles.turn));
            }
            at
        };
        what.unwrap_or_else(|| "the turn as a whole".to_owned())
    }

    /// Notes what the latest turn came to as a whole. Whether that is news.
    pub(crate) fn note_whole(&self, trouble: Option<String>) -> bool {
        let whole = &mut self.state().troubles.whole;
        std::mem::replace(whole, trouble.clone()) != trouble
    }

    /// Notes whether events can be waited for. Said where that is news.
    pub(crate) fn note_events(&self, trouble: Option<String>) {
        let before = std::mem::replace(&mut self.state().troubles.events, trouble.clone());
        match trouble {
            Some(why) if before.as_ref() != Some(&why) => {
                log::warn!("waiting for events: {why}; the loop looks without them, more slowly");
            }
            None if before.is_some() => log::info!("waiting for events: goes on"),
            _ => {}
        }
    }

    /// What the loop cannot do now, with why; empty where all is well. Everything in it is tried again.
    pub fn troubles(&self) -> Vec<String> {
        let state = self.state();
        let troubles = &state.troubles;
        let parts = troubles.parts.iter().map(|(what, (why, _))| format!("{what}: {why}"));
        let events = troubles.events.iter().map(|why| format!("waiting for events: {why}"));
        troubles.whole.iter().cloned().chain(events).chain(parts).collect()
    }

    /// Writes a document, now or as soon as it can be written.
    pub(crate) fn keep_document(&self, key: String, text: String) {
        self.state().troubles.owed.insert(key, text);
        self.write_owed();
    }

    /// Writes the documents that are owed.
    pub(crate) fn write_owed(&self) {
        let owed = self.state().troubles.owed.clone();
        for (key, text) in owed {
            let written = self.apart(format!("document {key}"), || -> Result<(), StoreError> {
                self.parts.store.put_document(&key, &text)
            });
            if written.is_some() {
                // A later value may have been added meanwhile.
                let owed = &mut self.state().troubles.owed;
                if owed.get(&key) == Some(&text) {
                    owed.remove(&key);
                }
            }
        }
    }
}
