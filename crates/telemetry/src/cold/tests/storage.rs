//! A server that speaks S3, started for a test, behind a door that can be shut in several ways.
//!
//! The server is what `./test` provides (`crates/telemetry/tests/s3/provide`); where it is not there, tests say that they
//! are skipped.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use super::*;
use crate::ObjectStorage;
use crate::intake::lock;
use crate::objects::Bucket;

pub(super) const ACCESS: &str = "homeostat-test";
pub(super) const SECRET: &str = "not/much+of-a-secret";

/// How the door treats what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    /// Connections end at once.
    Shut,
    /// Every request is answered so.
    Failing(u16),
    /// Requests are taken, and never answered.
    Silent,
    /// Answers end after so many bytes.
    Cut(usize),
}

#[derive(Debug)]
struct State {
    door: Door,
    connections: Vec<TcpStream>,
}

/// A running server with one bucket.
#[derive(Debug)]
pub(super) struct Storage {
    server: Child,
    dir: TempDir,
    port: u16,
    state: Arc<Mutex<State>>,
}

const BUCKET: &str = "spans";

/// The directory with the program and the certificates.
pub(super) fn provided() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/s3");
    if dir.join("serve").is_file() {
        return Some(dir);
    }
    println!("skipped: no S3 server");
    None
}

impl Storage {
    /// Starts one; `None` where there is no program for it, which is said.
    pub(super) fn start() -> Option<Self> {
        let provided = provided()?;
        let dir = TempDir::new().expect("a directory");
        let (server, behind) = serve(&provided, dir.path(), &[]);
        let state = Arc::new(Mutex::new(State { door: Door::Open, connections: Vec::new() }));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let of_door = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&of_door);
                std::thread::spawn(move || pass(&client, behind, &state));
            }
        });
        Some(Self { server, dir, port, state })
    }

    /// Changes the door; connections that are open end.
    pub(super) fn set(&self, door: Door) {
        let mut state = lock(&self.state);
        state.door = door;
        state.connections.drain(..).for_each(|connection| drop(connection.shutdown(Shutdown::Both)));
    }

    /// How a store uses it, below a prefix of its own.
    pub(super) fn objects(&self, prefix: &str) -> ObjectStorage {
        let credentials_file = self.dir.path().join("credentials");
        let text = format!("[default]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n");
        fs::write(&credentials_file, text).expect("written");
        ObjectStorage {
            url: format!("s3://{BUCKET}/{prefix}"),
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            region: None,
            credentials_file: Some(credentials_file),
            after: Duration::MAX,
        }
    }

    /// Asks it apart from any store.
    pub(super) fn bucket(&self, prefix: &str) -> Bucket {
        Bucket::new(&self.objects(prefix), |_| None).expect("a bucket")
    }

    /// The names below a prefix.
    pub(super) fn names(&self, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> =
            self.bucket(prefix).list().expect("a list").into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Runs the program on a free port until it takes connections; `more` are its last arguments.
pub(super) fn serve(provided: &Path, dir: &Path, more: &[&Path]) -> (Child, u16) {
    fs::create_dir_all(dir.join("data").join(BUCKET)).expect("made");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let mut server = Command::new(provided.join("serve"))
            .args([&port.to_string(), ACCESS, SECRET])
            .arg(dir.join("data"))
            .args(more)
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("log")).expect("a log"))
            .spawn()
            .expect("it starts");
        while server.try_wait().expect("a child").is_none() {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return (server, port);
            }
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the server does not come up: {log}");
            std::thread::yield_now();
        }
        // Another process took the port meanwhile, perhaps.
        let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "the server ends: {log}");
    }
}

/// One connection through the door.
fn pass(mut client: &TcpStream, behind: u16, state: &Mutex<State>) {
    let door = {
        let mut state = lock(state);
        state.connections.extend(client.try_clone());
        state.door
    };
    let most = match door {
        Door::Shut => return drop(client.shutdown(Shutdown::Both)),
        Door::Silent => {
            // Until the door is changed, or the client gives up.
            let mut buffer = [0; 4096];
            while client.read(&mut buffer).is_ok_and(|read| read > 0) {}
            return;
        }
        Door::Failing(status) => {
            let mut buffer = [0; 64 << 10];
            let _ = client.read(&mut buffer);
            let answer = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = client.write_all(answer.as_bytes());
            return drop(client.shutdown(Shutdown::Write));
        }
        Door::Open => usize::MAX,
        Door::Cut(most) => most,
    };
    let Ok(server) = TcpStream::connect(("127.0.0.1", behind)) else { return };
    let (Ok(mut to), Ok(mut from)) = (server.try_clone(), client.try_clone()) else { return };
    let there = std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut server.take(most as u64), &mut client);
    let _ = client.shutdown(Shutdown::Both);
    let _ = there.join();
}
