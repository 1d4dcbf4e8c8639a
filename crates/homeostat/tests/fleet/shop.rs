//! The shop: one process for each service.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::http::get;
use crate::port::free_port;
use crate::switch::Switch;
use crate::{terminate, until};

/// One instance of each service.
pub(crate) struct Shop {
    pub(crate) directory: tempfile::TempDir,
    services: Vec<Service>,
}

pub(crate) struct Service {
    name: &'static str,
    port: u16,
    environment: Vec<(String, String)>,
    /// Holds its volume to so many MiB: on a tmpfs of its own where user namespaces are allowed, else by a
    /// limit on the size of each file.
    limit_mib: Option<u64>,
    child: Option<Child>,
}

impl Shop {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(adjust: impl FnOnce(&mut Self)) -> Self {
        let mut shop = Self { directory: tempfile::tempdir().unwrap(), services: Vec::new() };
        let names = ["database", "payments", "orders", "cart", "catalogue", "front"];
        for name in names {
            let environment = shop
                .services
                .iter()
                .map(|callee| (address_of(callee.name), format!("127.0.0.1:{}", callee.port)))
                .collect();
            let port = free_port();
            shop.services.push(Service { name, port, environment, limit_mib: None, child: None });
        }
        adjust(&mut shop);
        for name in names {
            shop.restart(name);
        }
        shop
    }

    /// Puts `switch` between `callee` and its callers.
    pub(crate) fn link(&mut self, callee: &'static str, switch: &Switch) {
        let listener = switch.add(self.port(callee));
        self.set_all(&address_of(callee), &listener);
    }

    pub(crate) fn set_all(&mut self, name: &str, value: &str) {
        for service in &mut self.services {
            for (_, old) in service.environment.iter_mut().filter(|(known, _)| known == name) {
                value.clone_into(old);
            }
        }
    }

    pub(crate) fn set(&mut self, service: &str, name: &str, value: &str) {
        self.service_mut(service).environment.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn limit(&mut self, service: &str, mib: u64) {
        self.service_mut(service).limit_mib = Some(mib);
    }

    /// Starts a service and waits until it is ready.
    pub(crate) fn restart(&mut self, name: &str) {
        let volume = self.volume(name);
        std::fs::create_dir_all(&volume).unwrap();
        let service = self.service_mut(name);
        let binary = env!("CARGO_BIN_EXE_homeostat");
        let mut command = match service.limit_mib {
            None => Command::new(binary),
            Some(mib) => {
                let script = if user_namespaces_allowed() {
                    format!("mount -t tmpfs -o size={mib}m tmpfs \"$HOMEOSTAT_VOLUME\" && exec \"$0\" \"$@\"")
                } else {
                    format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", mib * 1024)
                };
                let mut command = Command::new(if user_namespaces_allowed() { "unshare" } else { "bash" });
                if user_namespaces_allowed() {
                    command.args(["-Urm", "bash"]);
                }
                command.args(["-c", &script, binary]);
                command
            }
        };
        command
            .args(["demo-service", name])
            .env("PORT", service.port.to_string())
            .env("HOMEOSTAT_INSTANCE", format!("{name}-0"))
            .env("HOMEOSTAT_VOLUME", &volume)
            .envs(service.environment.iter().cloned())
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        service.child = Some(command.process_group(0).spawn().unwrap());
        let port = service.port;
        until(&format!("{name} is ready"), || get(port, "/ready").status == 200);
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, name: &str) {
        self.service_mut(name).kill();
    }

    /// SIGTERM; the exit status.
    pub(crate) fn terminate(&mut self, name: &str) -> Option<i32> {
        let mut child = self.service_mut(name).child.take().unwrap();
        terminate(&mut child)
    }

    pub(crate) fn is_alive(&mut self, name: &str) -> bool {
        self.service_mut(name).child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    pub(crate) fn front(&self) -> u16 {
        self.port("front")
    }

    pub(crate) fn port(&self, name: &str) -> u16 {
        self.services.iter().find(|service| service.name == name).unwrap().port
    }

    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// How many requests a service says it answered since it started.
    pub(crate) fn answered(&self, name: &str) -> u64 {
        let metrics = get(self.port(name), "/metrics").body;
        let line = metrics.lines().find(|line| line.starts_with("shop_requests_total{")).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    pub(crate) fn service_mut(&mut self, name: &str) -> &mut Service {
        self.services.iter_mut().find(|service| service.name == name).unwrap()
    }
}

impl Service {
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

fn user_namespaces_allowed() -> bool {
    static ALLOWED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ALLOWED.get_or_init(|| {
        let tried = Command::new("unshare")
            .args(["-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    })
}

fn address_of(service: &str) -> String {
    format!("{}_ADDRESS", service.to_uppercase())
}
