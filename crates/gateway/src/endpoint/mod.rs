//! Endpoints as values: one value says an address, who may ask, what it takes, what it answers, and who handles it.
//!
//! In: the lists of endpoints in [`crate::api`]. Out: the routes, the OpenAPI document, the table of permissions and the
//! audit trail's names of actions, all from the same value, so that none of them can say something else.

mod parameter;
mod refusal;
mod schema;

use axum::http::{Method, StatusCode};
use domain::Permission;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::api::{Answer, Asked};
use crate::problem::Code;
use crate::routes::Routes;

pub(crate) use parameter::{
    DURATION, ITEM, Kind, Parameter, RESOURCE, SEQUENCE, SERVICE, SPAN_LENGTH, TRACE_ID, VERSION, check,
};
#[cfg(test)]
pub(crate) use refusal::ON_THE_WAY;
pub(crate) use schema::choices;

pub(crate) type Handler = fn(&Asked<'_>) -> Answer;
type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody, without proof: for health checks and for signing in.
    Open,
    /// Whoever holds this.
    Needs(Permission),
    /// Whoever proved who they are: what is one's own.
    SignedIn,
}

/// What an endpoint does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: it may be asked again and again.
    Reads,
    /// It may hold something that changes: what does asks for proof and is audited by itself.
    Asks,
    /// It may change something: it needs proof that survives a foreign web page, and is audited.
    Writes,
}

/// What `If-Match` of a write is compared with.
#[derive(Clone, Copy)]
pub(crate) enum Precondition {
    /// Nothing is overwritten, so none is ever met.
    Unmeetable,
    /// What this `GET` answers now.
    Of { path: &'static str, read: Handler },
    /// It is done whatever is sent: nothing may hold it up.
    Waived,
}

/// One answer that an endpoint gives when all is well.
#[derive(Clone, Copy)]
pub(crate) struct Success {
    pub(crate) status: StatusCode,
    pub(crate) description: &'static str,
    pub(crate) schema: Option<SchemaOf>,
    /// The media type of the body; none where there is no body.
    pub(crate) media: Option<&'static str>,
}

/// Whether an endpoint stands in our OpenAPI document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    /// Ours.
    Ours,
    /// An API of others that we answer: described by them.
    Foreign(&'static str),
}

/// How requests reach the handler.
pub(crate) enum Service {
    /// A plain function, called on the blocking pool.
    Blocking(Handler),
    /// Something with a form of its own.
    Own(Box<Routes>),
}

/// One endpoint.
pub(crate) struct Endpoint {
    pub(crate) method: Method,
    /// As the router reads it: `/api/v3/self-healing/issues/{id}`.
    pub(crate) path: String,
    pub(crate) alias: Option<String>,
    pub(crate) access: Access,
    pub(crate) effect: Effect,
    /// The operation's id, and the action in the audit trail: `issues.list`.
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) surface: Surface,
    pub(crate) query: Vec<Parameter>,
    /// What the placeholder of the path is.
    pub(crate) placeholder: Option<Parameter>,
    pub(crate) body: Option<SchemaOf>,
    pub(crate) successes: Vec<Success>,
    pub(crate) precondition: Precondition,
    /// Codes that the handler refuses with, beside those that its declaration tells.
    refusals: Vec<Code>,
    pub(crate) service: Service,
}

impl Endpoint {
    fn new(method: Method, access: Access, path: &str, name: &'static str, service: Service) -> Self {
        let effect = if method == Method::GET { Effect::Reads } else { Effect::Writes };
        Self {
            method,
            path: path.to_owned(),
            alias: None,
            access,
            effect,
            name,
            summary: "",
            surface: Surface::Ours,
            query: Vec::new(),
            placeholder: None,
            body: None,
            successes: Vec::new(),
            precondition: match effect {
                Effect::Writes => Precondition::Unmeetable,
                Effect::Reads | Effect::Asks => Precondition::Waived,
            },
            refusals: Vec::new(),
            service,
        }
    }

    /// Reads.
    pub(crate) fn get(access: impl Into<Access>, path: &str, name: &'static str, handler: Handler) -> Self {
        Self::new(Method::GET, access.into(), path, name, Service::Blocking(handler))
    }

    /// Writes.
    pub(crate) fn post(access: impl Into<Access>, path: &str, name: &'static str, handler: Handler) -> Self {
        Self::new(Method::POST, access.into(), path, name, Service::Blocking(handler))
    }

    /// Changes what there is.
    pub(crate) fn patch(access: impl Into<Access>, path: &str, name: &'static str, handler: Handler) -> Self {
        Self::new(Method::PATCH, access.into(), path, name, Service::Blocking(handler))
    }

    /// Removes or ends.
    pub(crate) fn delete(
        access: impl Into<Access>,
        path: &str,
        name: &'static str,
        handler: Handler,
    ) -> Self {
        Self::new(Method::DELETE, access.into(), path, name, Service::Blocking(handler))
    }

    /// One of an API of others; `POST` there asks as `GET` does.
    pub(crate) fn foreign(
        method: Method,
        access: impl Into<Access>,
        path: &str,
        api: &'static str,
        name: &'static str,
        routes: Routes,
    ) -> Self {
        let mut endpoint = Self::new(method, access.into(), path, name, Service::Own(Box::new(routes)));
        endpoint.effect = Effect::Reads;
        endpoint.surface = Surface::Foreign(api);
        endpoint
    }

    /// Says that it changes what there is, as an endpoint of ours that does: with proof, and audited.
    pub(crate) fn changes(mut self) -> Self {
        self.effect = Effect::Writes;
        self
    }

    /// Says that what is sent may hold changes, which ask for themselves.
    pub(crate) fn may_change(mut self) -> Self {
        self.effect = Effect::Asks;
        self
    }

    /// What it overwrites: the answer of this `GET`, which a placeholder of the same name leads to.
    pub(crate) fn overwrites(mut self, path: &'static str, read: Handler) -> Self {
        self.precondition = Precondition::Of { path, read };
        self
    }

    /// Says that it is done whatever precondition is sent.
    pub(crate) fn whatever_is(mut self) -> Self {
        self.precondition = Precondition::Waived;
        self
    }

    /// What it is for, as one sentence.
    pub(crate) fn says(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// What may stand behind the question mark.
    pub(crate) fn query(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        self.query.extend(parameters);
        self
    }

    /// What the placeholder of the path is.
    pub(crate) fn placeholder(mut self, parameter: Parameter) -> Self {
        self.placeholder = Some(parameter);
        self
    }

    /// The body it takes, as JSON.
    pub(crate) fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(|generator| generator.subschema_for::<T>());
        self
    }

    /// What it answers with 200.
    pub(crate) fn answers<T: JsonSchema>(self, description: &'static str) -> Self {
        self.answers_with::<T>(StatusCode::OK, description)
    }

    /// What it answers with another status.
    pub(crate) fn answers_with<T: JsonSchema>(
        mut self,
        status: StatusCode,
        description: &'static str,
    ) -> Self {
        let schema: SchemaOf = |generator| generator.subschema_for::<T>();
        let media = Some("application/json");
        self.successes.push(Success { status, description, schema: Some(schema), media });
        self
    }

    /// What it answers that is no JSON.
    pub(crate) fn answers_text(mut self, media: &'static str, description: &'static str) -> Self {
        self.successes.push(Success {
            status: StatusCode::OK,
            description,
            schema: None,
            media: Some(media),
        });
        self
    }

    /// The same at another address, for clients that know it.
    pub(crate) fn alias(mut self, path: String) -> Self {
        self.alias = Some(path);
        self
    }

    /// The addresses it answers.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.path.as_str()).chain(self.alias.as_deref())
    }

    /// The group it belongs to in documents: the part of the name before the dot.
    pub(crate) fn group(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(group, _)| group)
    }
}

impl From<Permission> for Access {
    fn from(permission: Permission) -> Self {
        Self::Needs(permission)
    }
}
