//! opentelemetry_sdk, with its batch processor.

use std::collections::HashMap;
use std::hint::black_box;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span, SpanKind, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter};

use crate::{DROPPED, Peer};

#[derive(Debug)]
pub(crate) struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        black_box(batch);
        Ok(())
    }
}

pub(crate) fn provider() -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_batch_exporter(Nowhere)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .build()
}

pub(crate) struct Sdk {
    tracer: SdkTracer,
    /// Ends the batch processor when dropped.
    _provider: SdkTracerProvider,
}

impl Sdk {
    pub(crate) fn new() -> Self {
        let provider = provider();
        Self { tracer: provider.tracer("bench"), _provider: provider }
    }

    fn child(&self) {
        let span = self.tracer.start("child");
        let _scope = Context::current_with_span(span).attach();
    }
}

pub(crate) fn extracted(parent: &str) -> Context {
    let headers = HashMap::from([("traceparent".to_owned(), parent.to_owned())]);
    TraceContextPropagator::new().extract(&headers)
}

pub(crate) fn injected(context: &Context) -> String {
    let mut headers: HashMap<String, String> = HashMap::new();
    TraceContextPropagator::new().inject_context(context, &mut headers);
    headers.remove("traceparent").expect("a span is in scope")
}

impl Peer for Sdk {
    fn name(&self) -> &'static str {
        "opentelemetry_sdk"
    }

    fn trace(&self, children: usize) {
        let _scope = Context::current_with_span(self.tracer.start("root")).attach();
        (0..children).for_each(|_| self.child());
    }

    fn trace_with_attributes(&self, children: usize) {
        let _scope = Context::current_with_span(self.tracer.start("root")).attach();
        for _ in 0..children {
            let mut span = self.tracer.start("child");
            span.set_attributes([
                KeyValue::new("http.request.method", "GET"),
                KeyValue::new("url.path", String::from(black_box("/cart/items/17"))),
                KeyValue::new("server.address", String::from(black_box("cart.internal"))),
                KeyValue::new("http.response.status_code", black_box(200_i64)),
                KeyValue::new("cache.hit", black_box(true)),
            ]);
            let _scope = Context::current_with_span(span).attach();
        }
    }

    fn dropped(&self, children: usize) {
        let parent = extracted(DROPPED);
        let root = self.tracer.start_with_context("root", &parent);
        let _scope = parent.with_span(root).attach();
        (0..children).for_each(|_| self.child());
    }

    fn request(&self, parent: &str) -> String {
        let parent = extracted(parent);
        let server = self.tracer.span_builder("GET /cart").with_kind(SpanKind::Server);
        let _scope = parent.with_span(server.start_with_context(&self.tracer, &parent)).attach();
        (0..18).for_each(|_| self.child());
        let client = self.tracer.span_builder("GET /price").with_kind(SpanKind::Client).start(&self.tracer);
        let client = Context::current_with_span(client);
        injected(&client)
    }
}
