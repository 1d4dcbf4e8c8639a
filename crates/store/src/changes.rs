//! Telling others that something changed, so that a page can be sent anew instead of polled.
//!
//! A change names a topic and an id, nothing more: it says where to look, never what to believe. It is told
//! after the write is durable, on the thread that wrote. Changes are not kept; who subscribes later reads
//! the state first.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::store::Store;

/// What kind of thing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// An issue; the id is its id.
    Issues,
    /// A plan's status, decision or outcome; the id is the plan's.
    Plans,
    /// A journal entry; the id is its step token.
    Journal,
    /// A timer; the id is its plan.
    Timers,
    /// An experiment; the id is its id.
    Experiments,
    /// Switches; the id names which.
    Switches,
    /// A health score was recorded; the id is empty.
    Health,
    /// A document; the id is its key.
    Documents,
    /// A deployment; the id is its id.
    Deployments,
    /// An event was posted; the id is its id.
    Events,
    /// A user, token or session; the id is the user's name, the token's or the session's id.
    Access,
    /// A configuration item has a new version; the id is the item's.
    Items,
    /// Old records were removed; the id is empty.
    Retention,
}

impl Topic {
    /// The name in events sent to browsers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Issues => "issues",
            Self::Plans => "plans",
            Self::Journal => "journal",
            Self::Timers => "timers",
            Self::Experiments => "experiments",
            Self::Switches => "switches",
            Self::Health => "health",
            Self::Documents => "documents",
            Self::Deployments => "deployments",
            Self::Events => "events",
            Self::Access => "access",
            Self::Items => "items",
            Self::Retention => "retention",
        }
    }
}

/// One durable change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Counted from 1 since the store was opened, without gaps.
    pub sequence: u64,
    /// What kind of thing.
    pub topic: Topic,
    /// Which one; see [`Topic`].
    pub id: String,
}

type Listener = Arc<dyn Fn(&Changed) + Send + Sync>;

/// The listeners of one store.
#[derive(Default)]
pub(crate) struct Listeners {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    sequence: u64,
    next_key: u64,
    listeners: Vec<(u64, Listener)>,
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}

impl Listeners {
    pub(crate) fn tell(&self, topic: Topic, id: impl fmt::Display) {
        let (changed, listeners) = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.sequence += 1;
            let listeners: Vec<Listener> = inner.listeners.iter().map(|(_, l)| Arc::clone(l)).collect();
            (Changed { sequence: inner.sequence, topic, id: id.to_string() }, listeners)
        };
        for listener in listeners {
            listener(&changed);
        }
    }

    fn remove(&self, key: u64) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.listeners.retain(|(k, _)| *k != key);
    }
}

/// Ends the subscription when dropped.
#[derive(Debug)]
#[must_use = "the subscription ends when this is dropped"]
pub struct Subscription {
    listeners: Weak<Listeners>,
    key: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(listeners) = self.listeners.upgrade() {
            listeners.remove(self.key);
        }
    }
}

impl Store {
    /// Calls `listener` after every durable change, on the thread that made it and with no lock held. It
    /// must be quick: hand the change to a channel and return.
    pub fn subscribe(&self, listener: impl Fn(&Changed) + Send + Sync + 'static) -> Subscription {
        let listeners = self.listeners();
        let mut inner = listeners.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let key = inner.next_key;
        inner.next_key += 1;
        inner.listeners.push((key, Arc::new(listener)));
        drop(inner);
        Subscription { listeners: Arc::downgrade(listeners), key }
    }

    /// How many changes there were since the store was opened.
    pub fn changes(&self) -> u64 {
        self.listeners().inner.lock().unwrap_or_else(PoisonError::into_inner).sequence
    }
}
