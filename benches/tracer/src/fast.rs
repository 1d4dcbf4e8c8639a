//! fastrace.

use std::hint::black_box;

use fastrace::Span;
use fastrace::collector::{Config, Reporter, SpanContext, SpanRecord};
use fastrace::local::LocalSpan;

use crate::{DROPPED, Peer};

pub(crate) struct Fast;

struct Nowhere;

impl Reporter for Nowhere {
    fn report(&mut self, spans: Vec<SpanRecord>) {
        black_box(spans);
    }
}

impl Fast {
    pub(crate) fn new() -> Self {
        fastrace::set_reporter(Nowhere, Config::default());
        Self
    }
}

impl Peer for Fast {
    fn name(&self) -> &'static str {
        "fastrace"
    }

    fn trace(&self, children: usize) {
        let root = Span::root("root", SpanContext::random());
        let _scope = root.set_local_parent();
        for _ in 0..children {
            let _span = black_box(LocalSpan::enter_with_local_parent("child"));
        }
    }

    fn trace_with_attributes(&self, children: usize) {
        let root = Span::root("root", SpanContext::random());
        let _scope = root.set_local_parent();
        for _ in 0..children {
            let span = LocalSpan::enter_with_local_parent("child");
            let _span = span.with_properties(|| {
                [
                    ("http.request.method", "GET".into()),
                    ("url.path", String::from(black_box("/cart/items/17")).into()),
                    ("server.address", String::from(black_box("cart.internal")).into()),
                    ("http.response.status_code", black_box(200).to_string().into()),
                    ("cache.hit", std::borrow::Cow::from(if black_box(true) { "true" } else { "false" })),
                ]
            });
        }
    }

    fn dropped(&self, children: usize) {
        let parent = SpanContext::decode_w3c_traceparent(DROPPED).expect("it is well-formed");
        let root = Span::root("root", parent);
        let _scope = root.set_local_parent();
        for _ in 0..children {
            let _span = black_box(LocalSpan::enter_with_local_parent("child"));
        }
    }

    fn request(&self, parent: &str) -> String {
        let parent = SpanContext::decode_w3c_traceparent(parent).expect("it is well-formed");
        let root = Span::root("GET /cart", parent);
        let _scope = root.set_local_parent();
        for _ in 0..18 {
            let _span = black_box(LocalSpan::enter_with_local_parent("child"));
        }
        let _client = LocalSpan::enter_with_local_parent("GET /price");
        SpanContext::current_local_parent().expect("a span is in scope").encode_w3c_traceparent()
    }
}
