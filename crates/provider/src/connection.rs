//! The control plane's side of the keeper's socket: connects, starts a keeper where none runs, asks.
//!
//! In: requests. Out: answers. A request whose answer was not heard is said once more, to a new keeper if
//! need be; every request may be said twice (see [`crate::protocol`]).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::ProviderError;
use crate::files;
use crate::keeper;
use crate::layout;
use crate::open_files;
use crate::protocol::{LINE_MAX, Refusal, Reply, Request, VERSION, Welcome};

/// How long a new keeper may take until it answers; it adopts everything first.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// When another keeper is started because the last one did not come to answering.
const START_AGAIN: Duration = Duration::from_secs(1);
/// How long an answer may take: the longest is `down` with its stop timeouts.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Whether a keeper is started where none runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    IfNoneRuns,
    Never,
}

/// Connections to the keeper of one data directory.
pub(crate) struct Connections {
    /// The data directory.
    dir: PathBuf,
    /// The binary that is run as keeper.
    exe: PathBuf,
    idle: Mutex<Vec<Connection>>,
    welcome: Mutex<Option<Welcome>>,
    /// Held while a keeper is being started, so that two threads do not start two.
    starting: Mutex<()>,
}

struct Connection(BufReader<UnixStream>);

impl Connections {
    pub(crate) fn new(dir: PathBuf, exe: PathBuf) -> Self {
        Self { dir, exe, idle: Mutex::default(), welcome: Mutex::default(), starting: Mutex::default() }
    }

    /// Whether a keeper listens in a data directory.
    pub(crate) fn runs(dir: &Path) -> bool {
        Connection::open(&dir.join("keeper")).is_ok()
    }

    /// `DIR/keeper`.
    pub(crate) fn keeper_dir(&self) -> PathBuf {
        self.dir.join("keeper")
    }

    /// What the keeper said when it was first spoken to.
    pub(crate) fn welcome(&self) -> Option<Welcome> {
        lock(&self.welcome).clone()
    }

    /// Asks and reads the answer.
    pub(crate) fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, ProviderError> {
        self.ask_with(request, Start::IfNoneRuns)
    }

    /// Asks, choosing whether a keeper is started for it.
    pub(crate) fn ask_with<T: DeserializeOwned>(
        &self,
        request: &Request,
        start: Start,
    ) -> Result<T, ProviderError> {
        let mut connection = match lock(&self.idle).pop() {
            Some(idle) => idle,
            None => self.connect(start)?,
        };
        let reply = match connection.exchange(request) {
            Ok(reply) => reply,
            Err(_) => {
                // The keeper died or was replaced since; what is idle is of the old one.
                lock(&self.idle).clear();
                connection = self.connect(start)?;
                connection.exchange(request).map_err(unreachable)?
            }
        };
        lock(&self.idle).push(connection);
        match reply {
            Reply::Ok(value) => serde_json::from_value(value).map_err(|error| unreachable(error.into())),
            Reply::Refused(refusal) => Err(refusal.into()),
        }
    }

    fn connect(&self, start: Start) -> Result<Connection, ProviderError> {
        match self.greet() {
            Err(Greeting::Lost(error)) if start == Start::Never => Err(unreachable(error)),
            Err(Greeting::Lost(_)) => {
                let _starting = lock(&self.starting);
                self.start()
            }
            Err(Greeting::Refused(refusal)) => Err(refusal.into()),
            Ok(connection) => Ok(connection),
        }
    }

    /// Connects and says hello. A keeper that just died may still seem to listen, in a child of it that was
    /// forked and not executed yet; only an answer says that one is there.
    fn greet(&self) -> Result<Connection, Greeting> {
        let mut connection = Connection::open(&self.keeper_dir()).map_err(Greeting::Lost)?;
        match connection.exchange(&Request::Hello { version: VERSION }).map_err(Greeting::Lost)? {
            Reply::Ok(value) => {
                let welcome = serde_json::from_value(value).map_err(|error| Greeting::Lost(error.into()))?;
                *lock(&self.welcome) = Some(welcome);
                Ok(connection)
            }
            Reply::Refused(refusal) => Err(Greeting::Refused(refusal)),
        }
    }

    /// Runs keepers until one answers. Of several that run at once the lock lets one live, so starting one
    /// too many does no harm.
    fn start(&self) -> Result<Connection, ProviderError> {
        let failed = |why: String| ProviderError::Unreachable { engine: "keeper", why };
        let dir = self.keeper_dir();
        durable::make_dir(&dir, durable::Access::Owner)
            .map_err(|error| failed(format!("{}: {error}", dir.display())))?;
        keeper::check_table(&dir)
            .map_err(|why| ProviderError::Failed { what: "starting the keeper".to_owned(), why })?;
        let log = layout::own_log_path(&dir);
        let deadline = Instant::now() + START_TIMEOUT;
        let mut next_start = Instant::now();
        loop {
            let lost = match self.greet() {
                Ok(connection) => return Ok(connection),
                Err(Greeting::Refused(refusal)) => return Err(refusal.into()),
                Err(Greeting::Lost(error)) => error,
            };
            if Instant::now() > deadline {
                let said = files::tail(&log, 1).unwrap_or_default().join("; ");
                return Err(failed(format!("{lost}; its log {} ends with: {said}", log.display())));
            }
            if Instant::now() >= next_start {
                next_start = Instant::now() + START_AGAIN;
                let mut child = spawn_detached(&self.exe, &self.dir, &log)
                    .map_err(|error| failed(format!("cannot run {}: {error}", self.exe.display())))?;
                // The child only makes the keeper its orphan and ends at once.
                child.wait().map_err(|error| failed(error.to_string()))?;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Why nobody answered a hello.
enum Greeting {
    /// Nobody is there.
    Lost(io::Error),
    /// Somebody is there and does not want to talk.
    Refused(Refusal),
}

/// Runs the keeper as a process that is nobody's child, in a session of its own: neither the end of this
/// process nor its Ctrl-C reaches it.
fn spawn_detached(exe: &Path, dir: &Path, log: &Path) -> io::Result<std::process::Child> {
    let log = layout::open_log(log)?;
    let mut command = Command::new(exe);
    command.arg("keeper").arg("--dir").arg(dir.canonicalize()?).current_dir("/");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    for mark in [layout::INSTANCE, layout::KEEPER, layout::WORKER] {
        command.env_remove(mark);
    }
    // What a service manager gave the control plane is not for the keeper and its services.
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
    let detach = || {
        open_files::give_back()?;
        // SAFETY: three system calls on plain numbers; the parent of the second fork ends at once.
        unsafe {
            libc::setsid();
            match libc::fork() {
                -1 => Err(io::Error::last_os_error()),
                0 => Ok(()),
                _ => libc::_exit(0),
            }
        }
    };
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(detach) };
    command.spawn()
}

impl Connection {
    fn open(keeper_dir: &Path) -> io::Result<Self> {
        let dir = File::open(keeper_dir)?;
        let stream = UnixStream::connect(layout::socket_path(&dir))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Reply> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.0.get_mut().write_all(&line)?;
        let mut answer = Vec::new();
        (&mut self.0).take(LINE_MAX).read_until(b'\n', &mut answer)?;
        if answer.last() != Some(&b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}

fn unreachable(error: io::Error) -> ProviderError {
    ProviderError::Unreachable { engine: "keeper", why: error.to_string() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<Refusal> for ProviderError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unsupported { what, why } => Self::Unsupported { what, why },
            Refusal::Unknown { resource } => Self::UnknownResource { resource },
            Refusal::Conflict { attribute, seen, expected } => Self::Conflict { attribute, seen, expected },
            Refusal::Failed { what, why } => Self::Failed { what, why },
        }
    }
}
