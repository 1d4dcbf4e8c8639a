//! A server of axum and a client of reqwest: one trace through both. `cargo run -p homeostat-tracer --example
//! http --features tower,reqwest`

use std::time::Duration;

use axum::extract::{MatchedPath, Path};
use axum::routing::get;
use homeostat_tracer::reqwest::SendTraced;
use homeostat_tracer::tower::ServerLayer;
use homeostat_tracer::{InSpan, Sampler, Tracer, span};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracer = Tracer::builder("cart").sampler(Sampler::Always).build()?;
    // What has no tracer of its own, such as calls outside any span, uses this one.
    homeostat_tracer::install(tracer.clone()).map_err(|_| "a tracer is installed already")?;

    let app = axum::Router::new().route("/cart/{id}", get(cart)).layer(
        ServerLayer::new().route(|request| request.get::<MatchedPath>().map(|path| path.as_str().to_owned())),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });

    let visit = async {
        let answer = reqwest::Client::new().get(format!("http://{address}/cart/7")).send_traced().await?;
        answer.text().await
    };
    println!("{}", visit.in_span(tracer.root("visit").start()).await?);

    let flushed = tokio::task::spawn_blocking({
        let tracer = tracer.clone();
        move || tracer.shutdown(Duration::from_secs(2))
    });
    println!("flushed: {}", flushed.await?.is_ok());
    print!("{}", tracer.metrics().prometheus());
    Ok(())
}

async fn cart(Path(id): Path<u32>) -> String {
    let query = span("SELECT cart");
    query.attribute("db.system.name", "postgresql");
    format!("cart {id}")
}
