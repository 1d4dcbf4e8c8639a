//! `tracing`: its spans and events as ours.
//!
//! In: what `tracing`'s macros say. Out: a span of ours for each of theirs, in scope while theirs is entered,
//! so that both kinds can be parents of each other. An event becomes an event of its span; one at level
//! `ERROR` also its status, so that adaptive sampling keeps the trace. The fields `otel.name` and `otel.kind`
//! say what they say to OpenTelemetry's own layer. Deliberately absent: a filter of its own; put one beside
//! it.
//!
//! A span of `tracing` may be entered on any thread at any time, so each has a buffer of its own and costs
//! more than [`crate::span`]: use that where nanoseconds count.

use std::cell::RefCell;
use std::error::Error;
use std::fmt::Debug;

use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context as Scope, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::buffer::Buffer;
use crate::context::Context;
use crate::local::{self, Active};
use crate::span::{Span, task_of};
use crate::tracer::Tracer;
use crate::value::{Kind, Status, Value};

/// A layer that records with a tracer.
#[derive(Debug, Clone)]
pub struct TracerLayer {
    tracer: Tracer,
}

impl TracerLayer {
    /// Records with this tracer.
    pub fn new(tracer: Tracer) -> Self {
        Self { tracer }
    }
}

/// What hangs on a span of theirs.
struct Hung {
    /// At rest here; while theirs is entered, in scope on that thread.
    span: Span,
    serial: u64,
    context: Option<Context>,
}

thread_local! {
    /// Spans entered on this thread, with what was in scope before; nothing where the span was in scope
    /// elsewhere already.
    static ENTERED: RefCell<Vec<(u64, Option<Active>)>> = const { RefCell::new(Vec::new()) };
}

impl Hung {
    fn say(&mut self, say: impl FnOnce(&mut Buffer, u32)) {
        match &mut self.span.active {
            Active::Recording(buffer) => say(buffer, 0),
            // On another thread it is out of reach: what is said there from here is lost.
            Active::Nothing | Active::Passive(_) if self.serial != 0 => {
                local::with_buffer(self.serial, |buffer| say(buffer, 0));
            }
            Active::Nothing | Active::Passive(_) => {}
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TracerLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, scope: Scope<'_, S>) {
        let Some(theirs) = scope.span(id) else { return };
        let parent = theirs.parent().and_then(|parent| context_of(&parent));
        let parent = parent.or_else(|| if attributes.is_root() { None } else { Context::current() });
        let name = attributes.metadata().name();
        let mut span = match parent {
            Some(parent) => task_of(parent, name),
            None => self.tracer.root(name).start(),
        };
        let (serial, context) = (span.active.serial(), span.context());
        if let Active::Recording(buffer) = &mut span.active {
            attributes.record(&mut SpanFields { buffer });
        }
        theirs.extensions_mut().insert(Hung { span, serial, context });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, scope: Scope<'_, S>) {
        let Some(theirs) = scope.span(id) else { return };
        if let Some(hung) = theirs.extensions_mut().get_mut::<Hung>() {
            hung.say(|buffer, _| values.record(&mut SpanFields { buffer }));
        }
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, scope: Scope<'_, S>) {
        let Some(to) = scope.span(follows).and_then(|other| context_of(&other)) else { return };
        let Some(theirs) = scope.span(id) else { return };
        if let Some(hung) = theirs.extensions_mut().get_mut::<Hung>() {
            hung.say(|buffer, number| buffer.link(number, &to, &[]));
        }
    }

    fn on_event(&self, event: &Event<'_>, scope: Scope<'_, S>) {
        let Some(theirs) = scope.event_span(event) else { return };
        let mut fields = EventFields { message: None, fields: Vec::new() };
        event.record(&mut fields);
        let level = event.metadata().level();
        let EventFields { message, fields } = fields;
        let mut said = vec![
            ("level", Value::Static(level.as_str())),
            ("target", Value::Text(event.metadata().target())),
        ];
        said.extend(fields.iter().map(|(key, held)| (*key, held.value())));
        let name = message.unwrap_or_else(|| event.metadata().name().to_owned());
        if let Some(hung) = theirs.extensions_mut().get_mut::<Hung>() {
            hung.say(|buffer, number| {
                buffer.event(number, &name, &said);
                if *level == Level::ERROR {
                    buffer.status(number, Status::Error(&name));
                }
            });
        }
    }

    fn on_enter(&self, id: &Id, scope: Scope<'_, S>) {
        let Some(theirs) = scope.span(id) else { return };
        let mut extensions = theirs.extensions_mut();
        let Some(hung) = extensions.get_mut::<Hung>() else { return };
        let before = match std::mem::take(&mut hung.span.active) {
            Active::Nothing => None,
            active => Some(local::swap(active)),
        };
        ENTERED.with_borrow_mut(|entered| entered.push((id.into_u64(), before)));
    }

    fn on_exit(&self, id: &Id, scope: Scope<'_, S>) {
        let Some(active) = ENTERED.with_borrow_mut(|entered| leave(entered, id.into_u64())) else { return };
        let Some(theirs) = scope.span(id) else { return };
        if let Some(hung) = theirs.extensions_mut().get_mut::<Hung>() {
            hung.span.active = active;
        }
    }

    fn on_close(&self, id: Id, scope: Scope<'_, S>) {
        let Some(theirs) = scope.span(&id) else { return };
        let hung = theirs.extensions_mut().remove::<Hung>();
        // The span ends here, and not while the extensions are locked.
        drop(hung);
    }
}

/// Takes a span out of scope; what it is, where it was in scope here. Guards may be dropped out of order:
/// then the span lies as *before* with the next one that was entered over it.
fn leave(entered: &mut Vec<(u64, Option<Active>)>, id: u64) -> Option<Active> {
    let place = entered.iter().rposition(|(known, _)| *known == id)?;
    let (_, before) = entered.remove(place);
    let before = before?;
    match entered[place..].iter_mut().find_map(|(_, over)| over.as_mut()) {
        Some(over) => Some(std::mem::replace(over, before)),
        None => Some(local::swap(before)),
    }
}

fn context_of<'a, S: LookupSpan<'a>>(theirs: &SpanRef<'a, S>) -> Option<Context> {
    theirs.extensions().get::<Hung>()?.context.clone()
}

/// Fields of a span, into its attributes.
struct SpanFields<'a> {
    buffer: &'a mut Buffer,
}

impl Visit for SpanFields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match (field.name(), value) {
            ("otel.name", name) => self.buffer.rename(0, name.to_owned().into()),
            ("otel.kind", kind) => self.buffer.kind(0, kind_of(kind)),
            (key, value) => self.buffer.attribute(0, key, Value::Text(value)),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.buffer.attribute(0, field.name(), Value::I64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.record_str(field, &value.to_string()),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.buffer.attribute(0, field.name(), Value::F64(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.buffer.attribute(0, field.name(), Value::Bool(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record_str(field, &value.to_string());
    }
}

fn kind_of(name: &str) -> Kind {
    match name.to_ascii_lowercase().as_str() {
        "server" => Kind::Server,
        "client" => Kind::Client,
        "producer" => Kind::Producer,
        "consumer" => Kind::Consumer,
        _ => Kind::Internal,
    }
}

/// Fields of an event; its message is its name.
struct EventFields {
    message: Option<String>,
    fields: Vec<(&'static str, Owned)>,
}

enum Owned {
    Text(String),
    Bool(bool),
    I64(i64),
    F64(f64),
}

impl Owned {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Bool(value) => Value::Bool(*value),
            Self::I64(value) => Value::I64(*value),
            Self::F64(value) => Value::F64(*value),
        }
    }
}

impl Visit for EventFields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = Some(value.to_owned());
        } else {
            self.fields.push((field.name(), Owned::Text(value.to_owned())));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), Owned::I64(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.record_str(field, &value.to_string()),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.push((field.name(), Owned::F64(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), Owned::Bool(value)));
    }
}
