//! Serves the web page over an in-memory store, to look at it without a fleet:
//! `cargo run -p gateway --example preview -- busy 4000` (the scenes are in
//! `tests/support/scene.rs`, those with traces in `tests/support/traces.rs`, those with series in
//! `tests/support/series.rs`). The token is `preview-preview-preview`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use gateway::{GatewayConfig, serve};
use store::Store;
use support::{Fleet, MachineClock, scene, series, traces};
use telemetry::Telemetry;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let scene = arguments.next().unwrap_or("busy".to_owned());
    let port: u16 = arguments.next().unwrap_or("4000".to_owned()).parse()?;
    let store = Store::in_memory()?;
    let clock: Arc<dyn Clock> = Arc::new(MachineClock::start());
    let fleet = Arc::new(Fleet::new(store.clone(), Arc::clone(&clock)));
    let dir = tempfile::tempdir()?;
    let telemetry = match traces::SCENES.iter().find(|(name, _)| *name == scene) {
        None => None,
        Some((_, send)) => {
            let telemetry = Telemetry::open(telemetry::Config::new(dir.path()))?;
            send(&telemetry, clock.now().wall_us as u64 * 1000);
            Some(telemetry)
        }
    };
    let of_series = series::SCENES.iter().find(|(name, _)| *name == scene);
    let metrics = of_series.map(|(_, scene)| series::store(dir.path(), Arc::clone(&clock), *scene));
    match scene::SCENES.iter().find(|(name, _)| *name == scene) {
        Some((_, show)) => show(&fleet),
        None if telemetry.is_some() || metrics.is_some() => scene::busy(&fleet),
        None => {
            let of_fleets = scene::SCENES.iter().map(|(name, _)| *name);
            let of_traces = traces::SCENES.iter().map(|(name, _)| *name);
            let of_series = series::SCENES.iter().map(|(name, _)| *name);
            let known: Vec<&str> = of_fleets.chain(of_traces).chain(of_series).collect();
            return Err(format!("there is no scene {scene}; there are {}", known.join(", ")).into());
        }
    }
    let objectives = match scene.as_str() {
        "empty" | "calm" => support::objectives::empty(&store, clock.now(), Default::default()),
        _ => support::objectives::with_a_past(&store, clock.now(), Default::default()),
    };
    let config = GatewayConfig {
        access: Default::default(),
        audit: None,
        rates: Default::default(),
        drills: None,
        token: "preview-preview-preview".to_owned(),
        token_file: None,
        otlp: None,
        clock: Arc::clone(&clock),
        telemetry,
        metrics,
        rules: None,
        targets: None,
        tracer: None,
        objectives: Some(objectives),
        answers: Default::default(),
    };
    let gateway = serve(TcpListener::bind(("127.0.0.1", port))?, store, fleet.clone(), config)?;
    eprintln!("http://localhost:{}/", gateway.address().port());
    loop {
        clock.wait(Duration::from_secs(1));
        if let (Some(snapshot), true) = (fleet.snapshot.lock().unwrap().as_mut(), scene != "stale") {
            Arc::make_mut(snapshot).taken = clock.now();
        }
    }
}
