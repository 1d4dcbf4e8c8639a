//! A service for the W3C trace-context harness (`w3c/trace-context`, `test/test.py`): it is posted a list of
//! `{"url": …, "arguments": …}` and posts the arguments to each, with the context it was given.
//!
//! `cargo run -p homeostat-tracer --example w3c_harness --features tower,reqwest -- 127.0.0.1:7777`, then
//! `python3 test.py http://127.0.0.1:7777/test` in the harness. Without an address it takes a free port and
//! prints it.

use std::io::Write;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use homeostat_tracer::reqwest::SendTraced;
use homeostat_tracer::tower::ServerLayer;
use homeostat_tracer::{Delivery, Sampler, Tracer, Transport};
use serde_json::Value;

/// The harness looks at headers; nobody looks at the spans.
struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _request: &[u8]) -> Delivery {
        Delivery::Accepted { rejected: 0 }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracer = Tracer::builder("harness").sampler(Sampler::Always).transport(Nowhere).build()?;
    let app = axum::Router::new().route("/test", post(call)).layer(ServerLayer::new().tracer(tracer));
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("http://{}/test", listener.local_addr()?);
    std::io::stdout().flush()?;
    axum::serve(listener, app).await?;
    Ok(())
}

async fn call(body: Bytes) -> Result<(), StatusCode> {
    let calls: Vec<Value> = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    for call in calls {
        let url = call["url"].as_str().ok_or(StatusCode::BAD_REQUEST)?;
        let request = reqwest::Client::new().post(url).header("content-type", "application/json");
        let sent = request.body(call["arguments"].to_string()).send_traced().await;
        sent.map_err(|_| StatusCode::BAD_GATEWAY)?;
    }
    Ok(())
}
