//! `homeostat demo`: a fleet of real processes under real load, broken and healed before the user's eyes.
//!
//! In: nothing but the binary. Out: three runs with their stories on stderr, the measured table on stdout,
//! and a page that stays up until Ctrl-C. The fleet and its data live in a directory of their own, which
//! is removed at the end.

pub(crate) mod deploy;
mod left_behind;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chaos::drill::report::{Report, Style, header, line, story};
use chaos::drill::{Archive, Matrix, Row, Selection};
use domain::Infrastructure;

use crate::cli::{DemoArgs, Exit, Failure, Global};
use crate::config::Config;
use crate::control_plane::{ControlPlane, OccupiedPort};
use crate::drill::{Drill, drill_policy};
use crate::signals::{self, Hangup};
use crate::temporary;

/// The demo fleet.
pub(crate) const SHOP: &str = include_str!("../../../drills/shop.yaml");

/// What the names of the directories of demos begin with.
const DIRECTORIES: &str = "homeostat-demo-";

/// Between two looks for Ctrl-C.
const POLL: Duration = Duration::from_millis(100);

/// Runs the demo.
pub(crate) fn run(global: &Global, args: &DemoArgs) -> Result<Exit, Failure> {
    signals::catch(Hangup::Ends).map_err(|error| Failure::failed(&error))?;
    let began = Instant::now();
    let mut config = crate::cli::load_config(global)?;
    config.gateway.port = args.port.unwrap_or(config.gateway.port);
    config.policy = drill_policy(config.policy);
    let fleet = TemporaryFleet::start(&config)?;
    provider::say!("page      {}  (token for changes: {})", fleet.plane().address(), fleet.plane().token);
    if let Some(otlp) = fleet.plane().otlp() {
        provider::say!("otlp      {otlp}");
    }
    provider::say!(
        "fleet     {} services under load, data in {}",
        shop()?.services.len(),
        fleet.dir.display()
    );
    crate::cli::wait_until_ready(&fleet.plane().provider)?;
    provider::say!("ready     after {:.1} s", began.elapsed().as_secs_f64());
    let exit = if args.no_drill { Exit::Done } else { drill(&fleet, &config)? };
    if !args.exit && !signals::ending() {
        if !args.no_drill {
            provider::say!(
                "\nthe report stands at {}/drills as long as the demo is up",
                fleet.plane().address()
            );
        }
        provider::say!("\nstays up: open {} and break something, for example", fleet.plane().address());
        provider::say!(
            "  homeostat --dir {} chaos inject pause --target instance/cart-0 --for 2m",
            fleet.dir.display()
        );
        provider::say!("  homeostat demo deploy --bad");
        provider::say!("Ctrl-C takes the fleet down and removes its data");
        while !signals::ending() {
            std::thread::sleep(POLL);
        }
    }
    if signals::ending() {
        provider::say!("taking the fleet down");
    }
    fleet.down()?;
    Ok(exit)
}

/// Makes the demo's runs and prints them.
fn drill(fleet: &TemporaryFleet, config: &Config) -> Result<Exit, Failure> {
    let matrix = Matrix::shipped().map_err(|error| Failure::failed(&error))?;
    let rows: Vec<Row> = matrix.rows.into_iter().filter(|row| row.demo == Selection::Included).collect();
    let drill = Drill::new(fleet.plane(), &fleet.dir, config);
    let mut runs = Vec::new();
    for (number, row) in (0..).zip(&rows) {
        if signals::ending() {
            return Ok(Exit::Done);
        }
        provider::say!(
            "\n{}/{}       injecting {} into {}",
            number + 1,
            rows.len(),
            row.fault.kind,
            row.fault.target
        );
        let run = drill.run(number, row).map_err(|error| Failure::failed(&error))?;
        provider::say!("          {}", story(&run));
        runs.push(run);
    }
    let report: Report = drill.report(0, runs);
    if let Err(error) = Archive::of_data_directory(&fleet.dir).keep(&report) {
        provider::say!("the report cannot be shown at /drills: {error}");
    }
    let style = Style::Plain;
    let mut text = format!("\n{}\n", header(style));
    for run in &report.runs {
        text.push_str(&line(run, style));
        text.push('\n');
    }
    crate::cli::print(&text)?;
    let verdict = report.verdict();
    for what in &verdict.unexpected {
        provider::say!("not as expected: {what}");
    }
    Ok(if verdict.passed() { Exit::Done } else { Exit::Failed })
}

/// The demo's Infrastructure.
pub(crate) fn shop() -> Result<Infrastructure, Failure> {
    provider::manifest::parse("drills/shop.yaml", SHOP).map_err(|error| Failure::failed(&error))
}

/// The demo fleet with a control plane, in a directory that is removed at the end.
pub(crate) struct TemporaryFleet {
    plane: Option<ControlPlane>,
    pub(crate) dir: PathBuf,
}

impl TemporaryFleet {
    /// Brings it up.
    pub(crate) fn start(config: &Config) -> Result<Self, Failure> {
        left_behind::take_down();
        let dir = temporary::directory(DIRECTORIES).map_err(|error| Failure::failed(&error))?;
        let started = ControlPlane::start(&dir, config, OccupiedPort::TakeAnother, Some(&shop()?));
        match started {
            Ok(plane) => Ok(Self { plane: Some(plane), dir }),
            Err(error) => {
                remove(&dir);
                Err(Failure::failed(&error))
            }
        }
    }

    /// Its control plane.
    pub(crate) fn plane(&self) -> &ControlPlane {
        self.plane.as_ref().expect("the control plane runs until `down` takes it")
    }

    /// Takes it down and removes its data.
    pub(crate) fn down(mut self) -> Result<(), Failure> {
        let result = self.plane.take().map_or(Ok(()), ControlPlane::down);
        remove(&self.dir);
        result.map_err(|error| Failure::failed(&error))
    }
}

impl Drop for TemporaryFleet {
    fn drop(&mut self) {
        if let Some(plane) = self.plane.take() {
            if let Err(error) = plane.down() {
                provider::say!("the fleet could not be taken down: {error}");
            }
            remove(&self.dir);
        }
    }
}

/// The directories of demos and drills, of those that are up and of those that were killed.
fn directories() -> std::io::Result<Vec<PathBuf>> {
    temporary::directories(DIRECTORIES)
}

fn remove(dir: &Path) {
    if let Err(error) = std::fs::remove_dir_all(dir) {
        provider::say!("{} could not be removed: {error}", dir.display());
    }
}
