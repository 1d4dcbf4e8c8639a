//! What was acknowledged but could not be delivered yet: a journal file in the volume.
//!
//! In: entries, written to the file before they are acknowledged. Out: the same entries, oldest first, to
//! whoever delivers them, again after a crash until they were delivered; delivery must therefore be safe
//! twice. Deliberately absent: fsync. It guards against the end of the process; the volume is a tmpfs and
//! ends with the machine anyhow.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::append_log::append_whole;
use super::{ServiceError, locked};

/// Entries that may wait. An hour of checkouts of the demo load; more is refused rather than forgotten.
const ENTRIES_MAX: usize = 10_000;
/// Time between attempts to deliver: the callee is known to be away, an open breaker stays open for
/// seconds.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// What became of an attempt to deliver an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// It is where it belongs, or was refused for good.
    Done,
    /// Not now.
    Later,
}

/// Entries of type `T` on their way.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    waiting: Mutex<Waiting<T>>,
    wake: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    file: File,
    entries: VecDeque<T>,
}

impl<T: Serialize + DeserializeOwned + Clone + Send + 'static> Outbox<T> {
    /// Opens the journal at `path` with what a former process left in it. A line cut short by its end was
    /// never acknowledged and is dropped.
    pub(super) fn open(path: PathBuf) -> Result<Self, ServiceError> {
        let open = || -> io::Result<Waiting<T>> {
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            let text = std::fs::read_to_string(&path)?;
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            file.set_len(whole as u64)?;
            let entries = text[..whole]
                .lines()
                .map(serde_json::from_str)
                .collect::<Result<_, _>>()
                .map_err(io::Error::other)?;
            Ok(Waiting { file, entries })
        };
        let waiting = open().map_err(|source| ServiceError::Volume { path: path.clone(), source })?;
        Ok(Self { waiting: Mutex::new(waiting), wake: Notify::new() })
    }

    /// Writes an entry down; once this returns it may be acknowledged.
    pub(super) fn push(&self, entry: T) -> io::Result<()> {
        let line = serde_json::to_string(&entry)? + "\n";
        let mut waiting = locked(&self.waiting);
        if waiting.entries.len() >= ENTRIES_MAX {
            return Err(io::Error::other(format!("{ENTRIES_MAX} entries wait already")));
        }
        append_whole(&mut waiting.file, line.as_bytes())?;
        waiting.entries.push_back(entry);
        self.wake.notify_one();
        Ok(())
    }

    /// What `pick` makes of the entries that wait, oldest first.
    pub(super) fn waiting<U>(&self, pick: impl FnMut(&T) -> Option<U>) -> Vec<U> {
        locked(&self.waiting).entries.iter().filter_map(pick).collect()
    }

    /// Delivers entries, oldest first, for as long as the process lives.
    pub(super) async fn deliver<D, F>(self: Arc<Self>, deliver: D)
    where
        D: Fn(T) -> F + Send,
        F: Future<Output = Delivery> + Send,
    {
        loop {
            let oldest = locked(&self.waiting).entries.front().cloned();
            match oldest {
                None => self.wake.notified().await,
                Some(entry) => match deliver(entry).await {
                    Delivery::Done => self.drop_oldest(),
                    Delivery::Later => tokio::time::sleep(RETRY_EVERY).await,
                },
            }
        }
    }

    /// Forgets the oldest entry; the file when it was the last. Until then the file holds more than what
    /// waits, which delivering twice makes harmless.
    fn drop_oldest(&self) {
        let mut waiting = locked(&self.waiting);
        waiting.entries.pop_front();
        if waiting.entries.is_empty() {
            // Where this fails the entries are delivered once more after the next start.
            let _ = waiting.file.set_len(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_waits_for_the_next_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("outbox.jsonl");
        Outbox::<u32>::open(path.clone()).unwrap().push(7).unwrap();
        assert_eq!(Outbox::<u32>::open(path).unwrap().waiting(|entry| Some(*entry)), [7]);
    }

    #[test]
    fn a_line_cut_short_is_dropped_and_the_next_one_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("outbox.jsonl");
        std::fs::write(&path, "1\n2\n31").unwrap();
        Outbox::<u32>::open(path.clone()).unwrap().push(4).unwrap();
        assert_eq!(Outbox::<u32>::open(path).unwrap().waiting(|entry| Some(*entry)), [1, 2, 4]);
    }

    #[test]
    fn entries_are_delivered_in_order_and_leave_an_empty_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("outbox.jsonl");
        let outbox = Arc::new(Outbox::<u32>::open(path.clone()).unwrap());
        for entry in 0..5 {
            outbox.push(entry).unwrap();
        }
        let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let first_time_away = Arc::new(std::sync::atomic::AtomicBool::new(true));
            tokio::spawn(Arc::clone(&outbox).deliver(move |entry| {
                let away = first_time_away.swap(false, std::sync::atomic::Ordering::Relaxed);
                let arrived = arrived.clone();
                async move {
                    if away {
                        return Delivery::Later;
                    }
                    let _ = arrived.send(entry);
                    Delivery::Done
                }
            }));
            for expected in 0..5 {
                let next = tokio::time::timeout(Duration::from_secs(10), arrivals.recv()).await;
                assert_eq!(next.unwrap(), Some(expected));
            }
            let emptied = async {
                while std::fs::metadata(&path).unwrap().len() > 0 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), emptied).await.expect("the file was not emptied");
        });
    }
}
