//! tracing with tracing-opentelemetry over opentelemetry_sdk.

use std::hint::black_box;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Dispatch;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

use crate::sdk::{extracted, injected, provider};
use crate::{DROPPED, Peer};

pub(crate) struct Subscriber {
    dispatch: Dispatch,
    /// Ends the batch processor when dropped.
    _provider: SdkTracerProvider,
}

impl Subscriber {
    pub(crate) fn new() -> Self {
        let provider = provider();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
        Self { dispatch, _provider: provider }
    }
}

fn children(count: usize) {
    for _ in 0..count {
        let _span = tracing::info_span!("child").entered();
    }
}

impl Peer for Subscriber {
    fn name(&self) -> &'static str {
        "tracing-opentelemetry"
    }

    fn trace(&self, count: usize) {
        tracing::dispatcher::with_default(&self.dispatch, || {
            let _root = tracing::info_span!("root").entered();
            children(count);
        });
    }

    fn trace_with_attributes(&self, count: usize) {
        tracing::dispatcher::with_default(&self.dispatch, || {
            let _root = tracing::info_span!("root").entered();
            for _ in 0..count {
                let _span = tracing::info_span!(
                    "child",
                    http.request.method = "GET",
                    url.path = black_box("/cart/items/17"),
                    server.address = black_box("cart.internal"),
                    http.response.status_code = black_box(200_i64),
                    cache.hit = black_box(true),
                )
                .entered();
            }
        });
    }

    fn dropped(&self, count: usize) {
        tracing::dispatcher::with_default(&self.dispatch, || {
            let root = tracing::info_span!("root");
            root.set_parent(extracted(DROPPED)).expect("the layer is there");
            let _root = root.entered();
            children(count);
        });
    }

    fn request(&self, parent: &str) -> String {
        tracing::dispatcher::with_default(&self.dispatch, || {
            let root = tracing::info_span!("GET /cart", otel.kind = "server");
            root.set_parent(extracted(parent)).expect("the layer is there");
            let _root = root.entered();
            children(18);
            let client = tracing::info_span!("GET /price", otel.kind = "client").entered();
            injected(&client.context())
        })
    }
}
