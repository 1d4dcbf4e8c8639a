//! Serves the web page over an in-memory store, to look at it without a fleet:
//! `cargo run -p gateway --example preview -- busy 4000` (the scenes are in
//! `tests/support/scene.rs`). The token is `preview-preview-preview`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use gateway::{GatewayConfig, serve};
use store::Store;
use support::{Fleet, MachineClock, scene};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let scene = arguments.next().unwrap_or("busy".to_owned());
    let port: u16 = arguments.next().unwrap_or("4000".to_owned()).parse()?;
    let store = Store::in_memory()?;
    let clock: Arc<dyn Clock> = Arc::new(MachineClock::start());
    let fleet = Arc::new(Fleet::new(store.clone(), Arc::clone(&clock)));
    let Some((_, show)) = scene::SCENES.iter().find(|(name, _)| *name == scene) else {
        let known: Vec<&str> = scene::SCENES.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is no scene {scene}; there are {}", known.join(", ")).into());
    };
    show(&fleet);
    let config = GatewayConfig {
        token: "preview-preview-preview".to_owned(),
        token_file: None,
        otlp: None,
        clock: Arc::clone(&clock),
        telemetry: None,
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
