//! The orders service: takes an order, has it charged, writes its invoice.
//!
//! In: `POST /orders` with a [`NewOrder`], `GET /orders/ID`. Out: a [`Receipt`], or the order's row, as
//! JSON. An order is acknowledged once it is in the database, or, while a breaker is open, in the outbox of
//! this instance, which settles it when the callee is back. Everything it does is safe twice: the order's
//! id makes it one row and one authorisation, however often it is settled.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::answer::{Answer, Request};
use super::call::{CallError, Dependency};
use super::cart::is_id;
use super::database::{Item, OrderRow, Payment, Placed, Query, Written};
use super::outbox::{Delivery, Outbox};
use super::payments::{Authorisation, Charge};
use super::server::Application;
use super::settings::{Settings, dependency};
use super::{ServiceError, fresh_id};

/// Of so many invoices one is never cleaned up: a slow leak, as real services have, of about 1 MiB a day at
/// the demo's load.
const INVOICE_LEFT_EVERY: u64 = 200;
/// Different products in one order.
const ITEMS_MAX: usize = 50;

/// An order as the front places it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NewOrder {
    /// The cart it empties.
    pub(super) cart: String,
    /// What is bought.
    pub(super) items: Vec<Item>,
    /// The number of the card that pays.
    pub(super) card: String,
}

/// The acknowledgement of an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Receipt {
    /// The order's id.
    pub(super) order: String,
    /// `None` while the database is away.
    pub(super) total_cents: Option<u32>,
    /// Where its payment stands.
    pub(super) payment: Payment,
}

/// An order on its way through the steps of [`Orders::settle`].
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Open {
    order: String,
    new: NewOrder,
}

/// Why an order was not settled.
#[derive(Debug, thiserror::Error)]
enum Unsettled {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("cannot write the invoice: {0}")]
    Invoice(#[from] io::Error),
}

/// The service.
pub(super) struct Orders {
    database: Dependency,
    payments: Dependency,
    outbox: Arc<Outbox<Open>>,
    temporary: PathBuf,
    invoices: AtomicU64,
}

impl Orders {
    /// The service, and the task that settles what its outbox holds.
    pub(super) fn start(settings: &Settings) -> Result<Arc<Self>, ServiceError> {
        let outbox = Arc::new(Outbox::open(settings.volume.join("outbox.jsonl"))?);
        let orders = Arc::new(Self {
            database: dependency("database")?,
            payments: dependency("payments")?,
            outbox: Arc::clone(&outbox),
            temporary: settings.volume.join("tmp"),
            invoices: AtomicU64::new(0),
        });
        let settler = Arc::clone(&orders);
        tokio::spawn(outbox.deliver(move |open| {
            let orders = Arc::clone(&settler);
            async move {
                match orders.settle(&open).await {
                    Ok(_) | Err(Unsettled::Call(CallError::Turned { .. })) => Delivery::Done,
                    Err(_) => Delivery::Later,
                }
            }
        }));
        Ok(orders)
    }

    async fn accept(&self, new: NewOrder) -> Answer {
        if !is_id(&new.cart) || new.items.is_empty() || new.items.len() > ITEMS_MAX {
            return Answer::error(
                StatusCode::UNPROCESSABLE_ENTITY,
                "an order needs the id of its cart and 1 to 50 items",
            );
        }
        let open = Open { order: fresh_id("order"), new };
        match self.settle(&open).await {
            Ok(receipt) if receipt.payment == Payment::Refused => {
                Answer::json_with(StatusCode::PAYMENT_REQUIRED, &receipt)
            }
            Ok(receipt) => Answer::json_with(StatusCode::CREATED, &receipt),
            Err(Unsettled::Call(CallError::BreakerOpen)) => self.accept_for_later(open),
            Err(Unsettled::Call(other)) => other.into(),
            Err(Unsettled::Invoice(error)) => {
                let status = match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        StatusCode::INSUFFICIENT_STORAGE
                    }
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                Answer::error(status, &format!("cannot write the invoice: {error}"))
            }
        }
    }

    /// A breaker is open: the outbox is the acknowledgement.
    fn accept_for_later(&self, open: Open) -> Answer {
        let receipt = Receipt { order: open.order.clone(), total_cents: None, payment: Payment::Pending };
        match self.outbox.push(open) {
            Ok(()) => Answer::json_with(StatusCode::ACCEPTED, &receipt),
            Err(error) => Answer::error(
                StatusCode::INSUFFICIENT_STORAGE,
                &format!("cannot keep the order until it can be settled: {error}"),
            ),
        }
    }

    /// Database, invoice, payment, database. Safe twice.
    async fn settle(&self, open: &Open) -> Result<Receipt, Unsettled> {
        let Open { order, new } = open;
        let place =
            Query::PlaceOrder { order: order.clone(), cart: new.cart.clone(), items: new.items.clone() };
        let placed: Placed = self.database.post("/query", &place).await?;
        let mut receipt =
            Receipt { order: order.clone(), total_cents: Some(placed.total_cents), payment: placed.payment };
        if placed.payment != Payment::Pending {
            return Ok(receipt);
        }
        self.write_invoice(open, placed)?;
        let charge =
            Charge { order: order.clone(), amount_cents: placed.total_cents, card: new.card.clone() };
        receipt.payment = match self.payments.post::<Authorisation>("/payments", &charge).await {
            Ok(_) => Payment::Paid,
            Err(CallError::Turned { .. }) => Payment::Refused,
            Err(other) => return Err(other.into()),
        };
        let note = Query::SetPayment { order: order.clone(), payment: receipt.payment };
        self.database.post::<Written>("/query", &note).await?;
        Ok(receipt)
    }

    /// Writes the invoice as a temporary file, to be handed on, and removes it; now and then one stays.
    fn write_invoice(&self, open: &Open, placed: Placed) -> io::Result<()> {
        std::fs::create_dir_all(&self.temporary)?;
        let path = self.temporary.join(format!("invoice-{}.txt", open.order));
        let mut text = format!("Invoice for {}\n\n", open.order);
        for item in &open.new.items {
            text.push_str(&format!("{:>4} × product {}\n", item.quantity, item.product));
        }
        text.push_str(&format!("\nTotal {}.{:02}\n", placed.total_cents / 100, placed.total_cents % 100));
        let written = std::fs::File::create(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        let number = self.invoices.fetch_add(1, Ordering::Relaxed);
        if written.is_err() || !number.is_multiple_of(INVOICE_LEFT_EVERY) {
            // Absent already where the volume had no room even for its name.
            let _ = std::fs::remove_file(&path);
        }
        written
    }

    async fn order(&self, order: &str) -> Answer {
        let query = Query::Order { order: order.to_owned() };
        match self.database.post::<Option<OrderRow>>("/query", &query).await {
            Ok(Some(row)) => Answer::json(&row),
            Ok(None) => Answer::error(StatusCode::NOT_FOUND, "there is no such order"),
            Err(error) => error.into(),
        }
    }
}

impl Application for Orders {
    async fn answer(&self, request: Request) -> Answer {
        match (&request.method, request.path.as_str()) {
            (&Method::POST, "/orders") => match request.json() {
                Ok(new) => self.accept(new).await,
                Err(unreadable) => unreadable,
            },
            (&Method::GET, path) => match path.strip_prefix("/orders/").filter(|id| is_id(id)) {
                Some(order) => self.order(order).await,
                None => Answer::not_found(),
            },
            _ => Answer::not_found(),
        }
    }
}
