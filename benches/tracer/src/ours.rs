//! homeostat-tracer.

use std::hint::black_box;

use homeostat_tracer::{Delivery, Kind, Sampler, Tracer, Transport, Value, propagation, span};

use crate::{DROPPED, Peer};

pub(crate) struct Ours {
    tracer: Tracer,
}

struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _request: &[u8]) -> Delivery {
        Delivery::Accepted { rejected: 0 }
    }
}

impl Ours {
    pub(crate) fn new() -> Self {
        let sampler = Sampler::parent_based(Sampler::Always);
        let tracer = Tracer::builder("bench").sampler(sampler).transport(Nowhere).build();
        Self { tracer: tracer.expect("the settings are right") }
    }
}

fn headers(parent: &str) -> Vec<(String, String)> {
    vec![("traceparent".to_owned(), parent.to_owned())]
}

impl Peer for Ours {
    fn name(&self) -> &'static str {
        "homeostat-tracer"
    }

    fn trace(&self, children: usize) {
        let _root = self.tracer.root("root").enter();
        for _ in 0..children {
            let _span = black_box(span("child"));
        }
    }

    fn trace_with_attributes(&self, children: usize) {
        let _root = self.tracer.root("root").enter();
        for _ in 0..children {
            let span = span("child");
            span.attributes(black_box(&[
                ("http.request.method", Value::Static("GET")),
                ("url.path", Value::Text("/cart/items/17")),
                ("server.address", Value::Text("cart.internal")),
                ("http.response.status_code", Value::I64(200)),
                ("cache.hit", Value::Bool(true)),
            ]));
        }
    }

    fn dropped(&self, children: usize) {
        let parent = propagation::extract(&headers(DROPPED));
        let _root = self.tracer.root("root").parent(parent).enter();
        for _ in 0..children {
            let _span = black_box(span("child"));
        }
    }

    fn request(&self, parent: &str) -> String {
        let parent = propagation::extract(&headers(parent));
        let _server = self.tracer.root("GET /cart").kind(Kind::Server).parent(parent).enter();
        for _ in 0..18 {
            let _span = black_box(span("child"));
        }
        let _client = span("GET /price").kind(Kind::Client);
        let mut out: Vec<(String, String)> = Vec::new();
        propagation::inject(&mut out);
        out.swap_remove(0).1
    }
}
