//! A producer and a consumer: the context travels in the message's headers, and a batch links to each of its
//! messages. `cargo run -p homeostat-tracer --example messaging`

use std::time::Duration;

use homeostat_tracer::{Baggage, Context, Kind, Sampler, Tracer, Value, propagation, span};

/// As messaging clients have them: a name and bytes.
type Headers = Vec<(String, Vec<u8>)>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shop = Tracer::builder("shop").sampler(Sampler::Always).build()?;
    let mailer = Tracer::builder("mailer").sampler(Sampler::Always).build()?;

    let queue: Vec<Headers> = (1..=2).map(|order| produce(&shop, order)).collect();
    consume(&mailer, &queue);

    for (name, tracer) in [("shop", shop), ("mailer", mailer)] {
        let flushed = tracer.shutdown(Duration::from_secs(2));
        let metrics = tracer.metrics();
        println!(
            "{name}: {} spans, {} exported, flushed: {}",
            metrics.created,
            metrics.exported,
            flushed.is_ok()
        );
    }
    Ok(())
}

fn produce(shop: &Tracer, order: i64) -> Headers {
    let placed = shop.root("place order").kind(Kind::Server).enter();
    placed.attribute("order.id", order);
    let send = span("send order").kind(Kind::Producer);
    send.attribute("messaging.system", Value::Static("kafka"));
    let mut headers = Headers::new();
    if let Some(context) = send.context() {
        let mut baggage = Baggage::new();
        baggage.insert("tier", "gold");
        propagation::inject_context(&context.with_baggage(baggage), &mut headers);
    }
    headers
}

/// One span for the batch, linked to each message; one for each message, in the trace it came from.
fn consume(mailer: &Tracer, batch: &[Headers]) {
    let contexts: Vec<Option<Context>> = batch.iter().map(propagation::extract).collect();
    let poll = mailer.root("poll orders").kind(Kind::Consumer).enter();
    contexts.iter().flatten().for_each(|context| poll.link(context, &[]));
    for context in contexts {
        let tier = context.as_ref().and_then(|context| context.baggage().get("tier").map(str::to_owned));
        let message = mailer.root("process order").kind(Kind::Consumer).parent(context).enter();
        if let Some(tier) = tier {
            message.attribute("customer.tier", tier.as_str());
        }
        drop(span("send mail"));
    }
}
