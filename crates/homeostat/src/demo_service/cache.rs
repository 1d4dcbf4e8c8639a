//! A cache with two levels: memory, and files that outlive the process.
//!
//! In: keys and values (JSON text). Out: values with their age. A value whose file cannot be written is
//! kept in memory only: a full volume makes a cache colder, not its service fail. Deliberately absent:
//! correctness that depends on it; everything here can be made again.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::locked;

/// Values kept in memory; the oldest goes first. With about 2 KiB each this stays far below the memory
/// limit, and is more than the load generator's search terms.
const VALUES_MAX: usize = 128;

/// The cache in one directory.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    values: Mutex<HashMap<String, Value>>,
}

#[derive(Debug, Clone)]
struct Value {
    body: Bytes,
    made: SystemTime,
}

impl Cache {
    /// The cache in `directory`, which is made when the first value is written.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, values: Mutex::default() }
    }

    /// The value of `key` when it is younger than `ttl`.
    pub(super) fn fresh(&self, key: &str, ttl: Duration) -> Option<Bytes> {
        let value = self.value(key)?;
        // A value from the future (the clock was set back) counts as old.
        value.made.elapsed().is_ok_and(|age| age < ttl).then_some(value.body)
    }

    /// The value of `key`, however old.
    pub(super) fn any(&self, key: &str) -> Option<Bytes> {
        self.value(key).map(|value| value.body)
    }

    /// Keeps `body` under `key`, in memory and, where the volume has room, in a file.
    pub(super) fn put(&self, key: &str, body: Bytes) {
        // Ignored on purpose: see the module.
        let _ = self.write_file(key, &body);
        #[expect(clippy::disallowed_methods, reason = "file times are of the wall clock")]
        let made = SystemTime::now();
        self.remember(key, Value { body, made });
    }

    /// Empties memory and removes every file in the directory, also those this cache did not write: the
    /// directory is declared to hold nothing but what can be made again. Returns how many files went.
    pub(super) fn clear(&self) -> io::Result<u64> {
        locked(&self.values).clear();
        let entries = match std::fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            other => other?,
        };
        let mut removed = 0;
        for entry in entries {
            let entry = entry?;
            let gone = if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())
            } else {
                std::fs::remove_file(entry.path())
            };
            match gone {
                Ok(()) => removed += 1,
                // Somebody else cleaned up at the same time.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    fn value(&self, key: &str) -> Option<Value> {
        if let Some(value) = locked(&self.values).get(key) {
            return Some(value.clone());
        }
        let path = self.file(key);
        let made = std::fs::metadata(&path).ok()?.modified().ok()?;
        let value = Value { body: std::fs::read(&path).ok()?.into(), made };
        self.remember(key, value.clone());
        Some(value)
    }

    fn remember(&self, key: &str, value: Value) {
        let mut values = locked(&self.values);
        values.insert(key.to_owned(), value);
        while values.len() > VALUES_MAX {
            let Some(oldest) = values.iter().min_by_key(|(_, value)| value.made).map(|(key, _)| key.clone())
            else {
                break;
            };
            values.remove(&oldest);
            let _ = std::fs::remove_file(self.file(&oldest));
        }
    }

    /// Written aside and renamed, so that nobody reads half a value.
    fn write_file(&self, key: &str, body: &[u8]) -> io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        let path = self.file(key);
        let aside = path.with_extension("part");
        std::fs::write(&aside, body).and_then(|()| std::fs::rename(&aside, &path)).inspect_err(|_| {
            let _ = std::fs::remove_file(&aside);
        })
    }

    /// A file name for any key: what people search for may hold anything.
    fn file(&self, key: &str) -> PathBuf {
        let name: String = Sha256::digest(key).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_outlives_the_process_that_made_it() {
        let directory = tempfile::tempdir().unwrap();
        Cache::new(directory.path().into()).put("q=mug", Bytes::from_static(b"[1]"));
        let next = Cache::new(directory.path().into());
        assert_eq!(next.fresh("q=mug", Duration::from_secs(60)).unwrap(), "[1]");
        assert_eq!(next.fresh("q=cup", Duration::from_secs(60)), None);
    }

    #[test]
    fn old_values_are_not_fresh_but_there() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().into());
        cache.put("key", Bytes::from_static(b"1"));
        assert_eq!(cache.fresh("key", Duration::ZERO), None);
        assert_eq!(cache.any("key").unwrap(), "1");
    }

    #[test]
    fn clearing_empties_memory_and_the_whole_directory() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().into());
        cache.put("key", Bytes::from_static(b"1"));
        std::fs::write(directory.path().join("left-by-somebody"), "x").unwrap();
        assert_eq!(cache.clear().unwrap(), 2);
        assert_eq!(cache.any("key"), None);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_cannot_be_written_leaves_the_memory() {
        let cache = Cache::new("/proc/no-such-place".into());
        cache.put("key", Bytes::from_static(b"1"));
        assert_eq!(cache.any("key").unwrap(), "1");
    }

    #[test]
    fn the_number_of_values_and_files_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().into());
        for key in 0..VALUES_MAX * 2 {
            cache.put(&key.to_string(), Bytes::from_static(b"1"));
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), VALUES_MAX);
    }
}
