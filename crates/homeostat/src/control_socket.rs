//! The control socket, `DIR/control.sock`: what the same user asks of a running server beside its API.
//!
//! In: one line of JSON, `{"version": 1, "ask": {…}}`. Out: one line, `{"version": 1, "done": …}` or
//! `{"version": 1, "refused": "why"}`; then the connection is closed. One question at a time. The directory is its
//! owner's alone, and so is the socket: who can open it may do what its owner may.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::auditing::Asker;
use crate::cli::{Exit, Failure};
use crate::client::ClientError;
use crate::logging::{self, Level};

/// The version of what is spoken.
pub(crate) const VERSION: u32 = 1;

/// No line is longer, in bytes: 2,000 lines of a log.
const LINE_MAX: u64 = 16 << 20;

/// How long the other side may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks whether the server ends, and whether the time of a level is over.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// Read the configuration again.
    Reload {},
    /// Say more or less.
    LogLevel {
        /// From which importance on.
        level: Level,
        /// For how long; as long as the process runs where it is left out.
        for_ms: Option<u64>,
    },
    /// The last lines of the log.
    LogLines {},
    /// May whoever holds the data directory take down what is up by their word alone? Takes nothing down.
    MayTakeDown {},
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    version: u32,
    ask: Ask,
}

#[derive(Serialize, Deserialize)]
struct Reply {
    version: u32,
    done: Option<Value>,
    refused: Option<String>,
}

/// The socket of a data directory.
fn path(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

/// A short path to the socket in an open directory: addresses of sockets have 107 bytes.
fn address(dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/control.sock", dir.as_raw_fd()))
}

/// A socket that answers, until it is dropped.
pub(crate) struct ControlSocket {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl ControlSocket {
    /// Listens in `dir`, whose lock the caller holds. `answer` is asked on a thread of this socket's own.
    pub(crate) fn start(
        dir: &Path,
        answer: impl Fn(Ask, Asker) -> Result<Value, String> + Send + 'static,
    ) -> io::Result<Self> {
        let path = path(dir);
        // Whoever left it is dead: the directory is ours.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(address(&File::open(dir)?))?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("control-socket".to_owned()).spawn(move || {
            while !ending.load(Ordering::Acquire) {
                // Where it cannot be waited, it is looked again.
                let _ = poll(&mut [PollFd::new(&listener, PollFlags::IN)], Some(&LOOK));
                logging::expire();
                if let Ok((stream, _)) = listener.accept()
                    && let Err(error) = serve(&stream, &answer)
                {
                    log::debug!("a question on the control socket was not answered: {error}");
                }
            }
        })?;
        Ok(Self { stop, thread: Some(thread), path })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
        // Nobody listens there any more; the next start removes it too.
        let _ = fs::remove_file(&self.path);
    }
}

fn serve(stream: &UnixStream, answer: &impl Fn(Ask, Asker) -> Result<Value, String>) -> io::Result<()> {
    let asker = Asker::user(socket_peercred(stream)?.uid);
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE_MAX)).read_line(&mut line)?;
    let reply = match serde_json::from_str::<serde_json::Map<String, Value>>(&line) {
        Ok(map) if map.get("version") != Some(&VERSION.into()) => {
            Err(format!("this server speaks version {VERSION}; use the homeostat that it runs"))
        }
        Ok(map) => match serde_json::from_value::<Question>(Value::Object(map)) {
            Ok(question) => answer(question.ask, asker),
            Err(error) => Err(format!("it is not understood: {error}")),
        },
        Err(error) => Err(format!("it is no line of JSON: {error}")),
    };
    let (done, refused) = match reply {
        Ok(done) => (Some(done), None),
        Err(why) => (None, Some(why)),
    };
    send(stream, &Reply { version: VERSION, done, refused })
}

fn send(mut stream: &UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Asks the server of a data directory.
pub(crate) fn ask(dir: &Path, ask: Ask) -> Result<Value, Failure> {
    let not_running = || Failure::from(ClientError::NotRunning { dir: dir.to_owned() });
    let opened = File::open(dir).map_err(|_| not_running())?;
    let shown = dir.display();
    let stream = UnixStream::connect(address(&opened)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => not_running(),
        _ => Failure {
            exit: Exit::Failed,
            message: format!("cannot reach the control plane in {shown}: {error}; ask as who runs it"),
        },
    })?;
    let spoken = || -> io::Result<Reply> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        send(&stream, &Question { version: VERSION, ask })?;
        let mut line = String::new();
        BufReader::new((&stream).take(LINE_MAX)).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    };
    let unanswered = |error: io::Error| Failure {
        exit: Exit::Failed,
        message: format!(
            "the control plane in {shown} gave no answer that can be read: {error}; its log may say why"
        ),
    };
    match spoken().map_err(unanswered)? {
        Reply { done: Some(done), .. } => Ok(done),
        Reply { refused, .. } => Err(Failure {
            exit: Exit::Usage,
            message: refused.unwrap_or_else(|| "the server said nothing".to_owned()),
        }),
    }
}
