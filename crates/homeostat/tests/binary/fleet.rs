//! A data directory of its own, the binary run on it, and the API of its control plane.
//!
//! Whatever a test started is ended with the value, also when the test panics.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::processes::{self, Part, Process};

/// Far above what anything here takes, also on a machine that compiles at the same time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The binary.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_homeostat");

/// A fleet in a directory that is removed at the end.
pub(crate) struct Fleet {
    directory: tempfile::TempDir,
    /// The data directory.
    pub(crate) dir: PathBuf,
    config: PathBuf,
    /// Control planes this process started itself.
    children: Vec<Child>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Panics with everything it said unless it ended well.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let ran = self.done();
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:#?}"))
    }
}

impl Fleet {
    /// An empty data directory with a configuration beside it.
    pub(crate) fn new(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().canonicalize().unwrap();
        let (dir, file) = (home.join("data"), home.join("homeostat.toml"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(&file, config).unwrap();
        Self { directory, dir, config: file, children: Vec::new() }
    }

    /// A fleet brought up by `homeostat up`.
    pub(crate) fn up(config: &str, infrastructure: &str) -> Self {
        let fleet = Self::new(config);
        let file = fleet.write("fleet.yaml", infrastructure);
        fleet.run(&["up", file.to_str().unwrap()]).done();
        fleet
    }

    /// Writes a file beside the data directory.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.parent().unwrap().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The binary on this directory.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        self.command_with(&self.config, words)
    }

    /// As [`command`](Self::command), for words of which the last take everything behind them.
    pub(crate) fn command_before(&self, words: &[&str]) -> Command {
        let mut command = self.command(&[]);
        command.args(words);
        command
    }

    fn command_with(&self, config: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(words).arg("--dir").arg(&self.dir).arg("--config").arg(config);
        for name in ["HOMEOSTAT_SERVER", "HOMEOSTAT_TOKEN", "HOMEOSTAT_CA"] {
            command.env_remove(name);
        }
        for name in ["HOMEOSTAT_DIR", "HOMEOSTAT_CONFIG", "DRY_RUN_MODE", "AUTO_REMEDIATION_ENABLED"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        self.run_with(&self.config, words)
    }

    /// The same with another configuration.
    pub(crate) fn run_with(&self, config: &Path, words: &[&str]) -> Ran {
        let output = self.command_with(config, words).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Starts `homeostat serve` and waits until its API answers.
    #[track_caller]
    pub(crate) fn serve(&mut self) {
        self.serve_with(&[]);
    }

    /// Starts another `homeostat serve` in the place of the one that `up` started.
    #[track_caller]
    pub(crate) fn serve_as_configured(&mut self) {
        processes::kill(self.the(&Part::ControlPlane));
        self.serve();
    }

    /// What every `homeostat serve` of this value said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.path().join("serve.log")).unwrap_or_default()
    }

    /// As [`serve`](Self::serve), with more in the environment.
    #[track_caller]
    pub(crate) fn serve_with(&mut self, environment: &[(&str, &str)]) {
        // Those killed before are reaped, so that their ids are free again.
        self.children.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
        // The address of a dead control plane may be somebody else's by now.
        let _ = std::fs::remove_file(self.dir.join("address"));
        let said = self.dir.parent().unwrap().join("serve.log");
        let log = File::options().create(true).append(true).open(&said).unwrap();
        let mut command = self.command(&["serve", "--any-port"]);
        // A group of its own: Ctrl-C ends the test between two kills, not the control plane.
        command.process_group(0);
        command.envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let began = Instant::now();
        while self.get("/health").is_err() {
            let ended = child.try_wait().unwrap();
            let text = || std::fs::read_to_string(&said).unwrap_or_default();
            assert!(ended.is_none(), "serve ended with {ended:?}: {}", text());
            if began.elapsed() > PATIENCE {
                // Its parent dies with the test; what it was doing is of interest.
                self.children.push(child);
                panic!("serve does not answer: {}", text());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.children.push(child);
    }

    /// The processes of this directory.
    pub(crate) fn processes(&self) -> Vec<Process> {
        processes::of(&self.dir)
    }

    /// The one process with a part. Between its start and its program a process looks like the one that started it: what is
    /// not one is looked at again.
    #[track_caller]
    pub(crate) fn the(&self, part: &Part) -> u32 {
        until(&format!("one {part:?}"), || {
            let all = self.processes();
            let found: Vec<u32> =
                all.iter().filter(|one| one.part == *part && one.leads).map(|one| one.pid).collect();
            match found.as_slice() {
                [pid] => Ok(*pid),
                _ => Err(format!("{found:?} among {all:#?}")),
            }
        })
    }

    /// The process of an instance.
    #[track_caller]
    pub(crate) fn pid(&self, instance: &str) -> u32 {
        self.the(&Part::Service(instance.to_owned()))
    }

    /// Reads from the API.
    pub(crate) fn get(&self, path: &str) -> Result<Value, String> {
        let address = self.address()?;
        answer(agent().get(format!("{address}{path}")).call())
    }

    /// Changes something through the API.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let (address, token) = (self.address()?, self.token()?);
        answer(agent().post(format!("{address}{path}")).header("Authorization", token).send_json(body))
    }

    /// Ends something through the API.
    pub(crate) fn delete(&self, path: &str) -> Result<Value, String> {
        let (address, token) = (self.address()?, self.token()?);
        answer(agent().delete(format!("{address}{path}")).header("Authorization", token).call())
    }

    fn token(&self) -> Result<String, String> {
        let token = std::fs::read_to_string(self.dir.join("token")).map_err(|error| error.to_string())?;
        Ok(format!("Bearer {}", token.trim()))
    }

    /// Where its API is.
    pub(crate) fn address(&self) -> Result<String, String> {
        std::fs::read_to_string(self.dir.join("address")).map_err(|error| error.to_string())
    }

    /// Whether every instance of every service is ready, with the reason where not.
    pub(crate) fn all_ready(&self) -> Result<(), String> {
        let services = self.get("/api/v3/self-healing/services")?;
        for service in services.as_array().into_iter().flatten() {
            if service["ready"] != service["replicas"] {
                return Err(format!(
                    "{}: {} of {} ready",
                    service["service"], service["ready"], service["replicas"]
                ));
            }
        }
        if services.as_array().is_none_or(Vec::is_empty) { Err("no services".to_owned()) } else { Ok(()) }
    }

    /// Copies logs, database and the keeper's table to a directory, to find out later what went wrong.
    pub(crate) fn keep_evidence(&self, to: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(to)?;
        for name in [
            "serve.log",
            "data/keeper/keeper.log",
            "data/keeper/table.json",
            "data/keeper/requests.log",
            "data/homeostat.db",
            "data/homeostat.db-wal",
        ] {
            let from = self.path().join(name);
            if let (true, Some(file)) = (from.exists(), from.file_name()) {
                std::fs::copy(&from, to.join(file))?;
            }
        }
        let health = self.get("/health").map_or_else(|why| why, |value| value.to_string());
        std::fs::write(to.join("health.txt"), format!("{health}\n{:#?}\n", self.processes()))
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in ["serve.log", "data/control-plane.log", "data/keeper/keeper.log"] {
                let text = std::fs::read_to_string(self.path().join(log)).unwrap_or_default();
                let last: Vec<&str> = text.lines().rev().take(20).collect();
                last.iter().rev().for_each(|line| eprintln!("{log}: {line}"));
            }
        }
        processes::end_all(&self.dir);
        for child in &mut self.children {
            // Killed just now; this only reaps it.
            let _ = child.wait();
        }
    }
}

/// An answer of 200 to 299 as JSON, else a sentence.
fn answer(sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, String> {
    let mut response = sent.map_err(|error| error.to_string())?;
    let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    if response.status().is_success() { Ok(value) } else { Err(format!("{}: {value}", response.status())) }
}

/// One that never keeps a connection: what answered may be dead, or new, by the next request.
pub(crate) fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .max_idle_connections(0);
    config.build().into()
}

/// Polls until something is there.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) if Instant::now() > deadline => {
                panic!("not within {} s: {what}: {why}", PATIENCE.as_secs())
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
