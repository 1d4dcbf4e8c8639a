//! The cart service: what visitors are about to buy.
//!
//! In: `GET /carts/ID`, `POST /carts/ID` with an [`Item`]. Out: a [`CartView`] as JSON. Carts live in the
//! database, so that any instance answers for any cart and the end of one loses nothing. While the breaker
//! to the database is open, an instance writes lines to its outbox, acknowledges them and delivers them
//! later; until then other instances do not show them.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::answer::{Answer, Request};
use super::call::{CallError, Dependency};
use super::database::{CartRow, Item, Query, Written};
use super::outbox::{Delivery, Outbox};
use super::server::Application;
use super::settings::{Settings, dependency};
use super::{ServiceError, fresh_id};

/// A cart as it is shown.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct CartView {
    /// What is in it.
    pub(super) rows: Vec<CartRow>,
    /// The database is known to be away; the cart may hold more than is shown.
    pub(super) degraded: bool,
}

/// A line on its way to the database.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    line: String,
    cart: String,
    item: Item,
}

/// The service.
pub(super) struct Cart {
    database: Dependency,
    outbox: Arc<Outbox<Line>>,
}

impl Cart {
    /// The service, and the task that delivers what its outbox holds.
    pub(super) fn start(settings: &Settings) -> Result<Arc<Self>, ServiceError> {
        let outbox = Arc::new(Outbox::open(settings.volume.join("outbox.jsonl"))?);
        let cart = Arc::new(Self { database: dependency("database")?, outbox: Arc::clone(&outbox) });
        let deliverer = Arc::clone(&cart);
        tokio::spawn(outbox.deliver(move |line| {
            let cart = Arc::clone(&deliverer);
            async move {
                match cart.store(&line).await {
                    Ok(()) | Err(CallError::Turned { .. }) => Delivery::Done,
                    Err(_) => Delivery::Later,
                }
            }
        }));
        Ok(cart)
    }

    async fn view(&self, cart: &str) -> Result<CartView, CallError> {
        let (mut rows, degraded) =
            match self.database.post("/query", &Query::Cart { cart: cart.into() }).await {
                Ok(rows) => (rows, false),
                Err(CallError::BreakerOpen) => (Vec::new(), true),
                Err(other) => return Err(other),
            };
        for item in self.outbox.waiting(|line| (line.cart == cart).then_some(line.item)) {
            merge(&mut rows, item);
        }
        Ok(CartView { rows, degraded })
    }

    async fn add(&self, cart: &str, item: Item) -> Answer {
        let line = Line { line: fresh_id("line"), cart: cart.to_owned(), item };
        match self.store(&line).await {
            Ok(()) => {}
            Err(CallError::BreakerOpen) => {
                if let Err(error) = self.outbox.push(line) {
                    let message = format!("cannot keep the line until the database is back: {error}");
                    return Answer::error(StatusCode::INSUFFICIENT_STORAGE, &message);
                }
                return Answer::json(&CartView { rows: Vec::new(), degraded: true });
            }
            Err(other) => return other.into(),
        }
        match self.view(cart).await {
            Ok(view) => Answer::json(&view),
            Err(error) => error.into(),
        }
    }

    async fn store(&self, line: &Line) -> Result<(), CallError> {
        let Line { line, cart, item } = line.clone();
        self.database.post::<Written>("/query", &Query::AddToCart { line, cart, item }).await.map(drop)
    }
}

impl Application for Cart {
    async fn answer(&self, request: Request) -> Answer {
        let Some(cart) = request.path.strip_prefix("/carts/").filter(|id| is_id(id)) else {
            return Answer::not_found();
        };
        match request.method {
            Method::GET => self.view(cart).await.map_or_else(Answer::from, |view| Answer::json(&view)),
            Method::POST => match request.json() {
                Ok(item) => self.add(cart, item).await,
                Err(unreadable) => unreadable,
            },
            _ => Answer::not_found(),
        }
    }
}

/// Whether `text` can be the id of a cart or an order: it becomes part of paths and file names.
pub(super) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// Adds a line whose product's name and price the database will know.
fn merge(rows: &mut Vec<CartRow>, item: Item) {
    match rows.iter_mut().find(|row| row.product == item.product) {
        Some(row) => row.quantity += item.quantity,
        None => rows.push(CartRow {
            product: item.product,
            name: format!("product {}", item.product),
            quantity: item.quantity,
            price_cents: 0,
        }),
    }
}
