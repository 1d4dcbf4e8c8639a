//! The front service: the pages people see, put together from the others.
//!
//! In: `GET /?q=TERMS&cart=ID`, `POST /cart/add`, `POST /checkout`, `GET /orders/ID`. Out: pages, with
//! [`DEGRADED_HEADER`] naming the parts that are missing because a breaker is open, and [`ORDER_HEADER`]
//! naming the order a page acknowledges. Deliberately absent: state of its own; a cart's content travels in
//! its page's checkout form, so that a checkout needs no cart service.

use hyper::{Method, StatusCode};

use super::answer::{Answer, DEGRADED_HEADER, ORDER_HEADER, Request};
use super::call::{CallError, Dependency};
use super::cart::{CartView, is_id};
use super::catalogue::Listing;
use super::database::{Item, OrderRow, Payment};
use super::orders::{NewOrder, Receipt};
use super::page::Page;
use super::server::Application;
use super::settings::dependency;
use super::{ServiceError, fresh_id};

/// The service.
pub(super) struct Front {
    catalogue: Dependency,
    cart: Dependency,
    orders: Dependency,
}

impl Front {
    /// The service; addresses come from the environment.
    pub(super) fn new() -> Result<Self, ServiceError> {
        Ok(Self {
            catalogue: dependency("catalogue")?,
            cart: dependency("cart")?,
            orders: dependency("orders")?,
        })
    }

    async fn home(&self, request: &Request) -> Result<Answer, CallError> {
        let query = request.field("q").unwrap_or_default();
        let known_cart = request.field("cart").filter(|id| is_id(id));
        let path = format!("/products?q={}", encoded(&query));
        let (listing, view) = tokio::join!(self.catalogue.get::<Listing>(&path), async {
            match &known_cart {
                Some(id) => self.cart.get::<CartView>(&format!("/carts/{id}")).await,
                None => Ok(CartView::default()),
            }
        });
        let mut missing = Missing::default();
        let listing = missing.without("catalogue", listing, |listing| listing.stale)?;
        let view = missing.without("cart", view, |view| view.degraded)?;
        let page = Page {
            cart_id: &known_cart.unwrap_or_else(|| fresh_id("cart")),
            query: &query,
            products: listing.as_ref().map(|listing| listing.products.as_slice()),
            cart: view.as_ref().map(|view| view.rows.as_slice()),
            notice: None,
        };
        Ok(missing.mark(Answer::html(page.render())))
    }

    async fn add_to_cart(&self, request: &Request) -> Result<Answer, CallError> {
        let cart = request.field("cart").filter(|id| is_id(id));
        let product = request.field("product").and_then(|number| number.parse().ok());
        let (Some(cart), Some(product)) = (cart, product) else {
            return Ok(wrong("adding to a cart needs the fields cart and product"));
        };
        let item = Item { product, quantity: 1 };
        let view = self.cart.post::<CartView>(&format!("/carts/{cart}"), &item).await;
        let mut missing = Missing::default();
        let view = missing.without("cart", view, |view| view.degraded)?;
        let notice =
            if view.is_some() { "It is in your cart." } else { "Nothing was added: please try again." };
        let page = Page {
            cart_id: &cart,
            query: "",
            products: Some(&[]),
            cart: view.as_ref().map(|view| view.rows.as_slice()),
            notice: Some(notice),
        };
        Ok(missing.mark(Answer::html(page.render())))
    }

    async fn checkout(&self, request: &Request) -> Result<Answer, CallError> {
        let cart = request.field("cart").filter(|id| is_id(id));
        let items: Option<Vec<Item>> =
            request.field("items").and_then(|items| items.split(',').map(Item::parse).collect());
        let (Some(cart), Some(items), Some(card)) = (cart, items, request.field("card")) else {
            return Ok(wrong("a checkout needs the fields cart, items and card"));
        };
        let new = NewOrder { cart: cart.clone(), items, card };
        let receipt = self.orders.post::<Receipt>("/orders", &new).await;
        let mut missing = Missing::default();
        let receipt = missing.without("orders", receipt, |receipt| receipt.payment == Payment::Pending)?;
        let notice = match &receipt {
            Some(receipt) => {
                format!("Thank you. Order {}, payment {}.", receipt.order, receipt.payment.name())
            }
            None => "Orders are closed for the moment; your cart is kept.".to_owned(),
        };
        let page =
            Page { cart_id: &cart, query: "", products: Some(&[]), cart: Some(&[]), notice: Some(&notice) };
        let answer = missing.mark(Answer::html(page.render()));
        Ok(match receipt {
            Some(receipt) => answer.header(ORDER_HEADER, receipt.order),
            None => answer,
        })
    }

    async fn order(&self, path: &str) -> Result<Answer, CallError> {
        Ok(Answer::json(&self.orders.get::<OrderRow>(path).await?))
    }
}

impl Application for Front {
    async fn answer(&self, request: Request) -> Answer {
        let answered = match (&request.method, request.path.as_str()) {
            (&Method::GET, "/") => self.home(&request).await,
            (&Method::POST, "/cart/add") => self.add_to_cart(&request).await,
            (&Method::POST, "/checkout") => self.checkout(&request).await,
            (&Method::GET, path) if path.strip_prefix("/orders/").is_some_and(is_id) => {
                self.order(path).await
            }
            _ => return Answer::not_found(),
        };
        answered.unwrap_or_else(Answer::from)
    }
}

/// The parts a page has to do without.
#[derive(Debug, Default)]
struct Missing(Vec<&'static str>);

impl Missing {
    /// The part, or `None` when its breaker is open; both that and a part that says it is not whole are
    /// noted. Any other failure is passed on.
    fn without<T>(
        &mut self,
        part: &'static str,
        called: Result<T, CallError>,
        not_whole: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, CallError> {
        let value = match called {
            Ok(value) => Some(value),
            Err(CallError::BreakerOpen) => None,
            Err(other) => return Err(other),
        };
        if value.as_ref().is_none_or(not_whole) {
            self.0.push(part);
        }
        Ok(value)
    }

    fn mark(self, answer: Answer) -> Answer {
        if self.0.is_empty() { answer } else { answer.header(DEGRADED_HEADER, self.0.join(",")) }
    }
}

fn wrong(message: &str) -> Answer {
    Answer::error(StatusCode::BAD_REQUEST, message)
}

/// Encodes a query value: letters and digits as they are, the rest as `%XX`.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}
