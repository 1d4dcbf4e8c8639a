//! Looks whether the files of a certificate changed, and takes what is new in them where it is whole.
//!
//! Files are replaced one after the other, so that for a moment they do not belong together: what is wrong is told when
//! it is still so at the next look, and told once. The certificate in use stays until another can be used.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::concern::Said;
use super::load::{self, rfc3339};
use super::{Concern, Tls, TlsError, TlsFiles};

/// What came of taking the files again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// They are as they were.
    Unchanged,
    /// New connections are shown another certificate. The sentence says which.
    Taken(String),
}

/// What people should know of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsNotice {
    /// Another is in use.
    Taken(String),
    /// What is in the files cannot be used, and the one in use stays.
    Broken(String),
    /// The one in use has to be replaced.
    Concern(Concern),
}

/// What tells one state of both files from another; follows links, since Kubernetes replaces those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp([Option<(u64, u64, i64, i64)>; 2]);

impl Stamp {
    fn of(files: &TlsFiles) -> Self {
        let one = |path: &Path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
        };
        Self([one(&files.certificate), one(&files.key)])
    }
}

/// What was found at earlier looks.
pub(super) struct Seen {
    taken: Stamp,
    /// The state that could not be used, and whether it was told.
    broken: Option<(Stamp, Told)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    NotYet,
    Already,
}

impl Seen {
    /// Before the files are read: what changes while they are counts as changed.
    pub(super) fn of(files: &TlsFiles) -> Self {
        Self { taken: Stamp::of(files), broken: None }
    }
}

/// Looks at the files of a certificate until it is dropped.
#[derive(Debug)]
pub struct TlsWatch {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for TlsWatch {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

impl Tls {
    /// Takes the files again where they changed, now.
    ///
    /// # Errors
    ///
    /// [`TlsError`]; the certificate in use stays.
    pub fn reload(&self) -> Result<Reload, TlsError> {
        let mut seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&self.shared.files);
        if stamp == seen.taken {
            // Put back as they were: what was wrong in between is over.
            seen.broken = None;
            return Ok(Reload::Unchanged);
        }
        let loaded = load::load(&self.shared.files, &self.shared.provider)?;
        load::in_time(&loaded.facts, self.certificate_file(), self.now())?;
        let sentence = format!(
            "the certificate in {} is in use now: for {}, valid until {}",
            self.certificate_file().display(),
            loaded.facts.names.join(", "),
            rfc3339(loaded.facts.expires)
        );
        *self.shared.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        (seen.taken, seen.broken) = (stamp, None);
        Ok(Reload::Taken(sentence))
    }

    /// Looks once, and says what people should know.
    pub(super) fn look(&self) -> Option<TlsNotice> {
        let stamp = Stamp::of(&self.shared.files);
        let broken = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).broken;
        if broken == Some((stamp, Told::Already)) {
            return None;
        }
        match self.reload() {
            Ok(Reload::Unchanged) => None,
            Ok(Reload::Taken(sentence)) => Some(TlsNotice::Taken(sentence)),
            Err(error) => {
                let again = broken == Some((stamp, Told::NotYet));
                let told = if again { Told::Already } else { Told::NotYet };
                self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).broken = Some((stamp, told));
                again.then(|| {
                    let facts = self.facts();
                    TlsNotice::Broken(format!(
                        "{}; the certificate for {}, valid until {}, stays in use",
                        with_causes(&error),
                        facts.names.join(", "),
                        rfc3339(facts.expires)
                    ))
                })
            }
        }
    }

    /// Looks at the files every so often, on a thread of its own, and tells `say` what became of changes, and what has to be
    /// done about the certificate: at once, and daily.
    ///
    /// # Errors
    ///
    /// The system's, where it gives no thread.
    pub fn watch(
        &self,
        every: Duration,
        say: impl Fn(TlsNotice) + Send + 'static,
    ) -> std::io::Result<TlsWatch> {
        let (stop, stopped) = mpsc::channel::<()>();
        let tls = self.clone();
        let thread = std::thread::Builder::new().name("tls-watch".to_owned()).spawn(move || {
            let mut said = Said::default();
            loop {
                if let Some(concern) = said.next(tls.concern(), tls.now()) {
                    say(TlsNotice::Concern(concern));
                }
                if stopped.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                if let Some(notice) = tls.look() {
                    say(notice);
                }
            }
        })?;
        Ok(TlsWatch { stop: Some(stop), thread: Some(thread) })
    }
}

fn with_causes(error: &TlsError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
