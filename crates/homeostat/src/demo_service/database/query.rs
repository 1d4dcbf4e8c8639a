//! The fixed set of statements the database accepts, with their parameters and the rows they give.
//!
//! In and out: JSON, the same types at the caller and at the engine.

use serde::{Deserialize, Serialize};

/// A statement by name, with its parameters:
/// `{"statement": "cart", "parameters": {"cart": "cart-17"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "statement", content = "parameters", rename_all = "snake_case")]
pub(crate) enum Query {
    /// All products, as [`Product`]s.
    Products,
    /// Puts a line into a cart; a line id that is there already changes nothing. Gives [`Written`].
    AddToCart {
        /// Names the line, so that adding it is safe twice.
        line: String,
        /// Into which cart.
        cart: String,
        /// What and how many.
        item: Item,
    },
    /// What is in a cart, as [`CartRow`]s.
    Cart {
        /// Which.
        cart: String,
    },
    /// Writes an order at the prices of now and empties its cart; an order id that is there already
    /// changes nothing. Gives [`Placed`].
    PlaceOrder {
        /// The new order's id.
        order: String,
        /// The cart it comes from.
        cart: String,
        /// What is bought.
        items: Vec<Item>,
    },
    /// Notes what became of the payment. Gives [`Written`].
    SetPayment {
        /// Of which order.
        order: String,
        /// Its state now.
        payment: Payment,
    },
    /// One order, as an [`OrderRow`] or null.
    Order {
        /// Which.
        order: String,
    },
}

/// A product and how many of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// The product's number.
    pub(crate) product: u32,
    /// How many, 1 to 99.
    pub(crate) quantity: u32,
}

/// Where the payment of an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Payment {
    /// To be charged.
    Pending,
    /// Charged.
    Paid,
    /// The card was refused.
    Refused,
}

/// Something one can buy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Product {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) price_cents: u32,
}

/// One product in a cart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CartRow {
    pub(crate) product: u32,
    pub(crate) name: String,
    pub(crate) quantity: u32,
    /// Of one.
    pub(crate) price_cents: u32,
}

/// An order as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) total_cents: u32,
    pub(crate) payment: Payment,
}

/// An order as it is read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderRow {
    pub(crate) order: String,
    pub(crate) total_cents: u32,
    pub(crate) payment: Payment,
    pub(crate) items: Vec<Item>,
}

/// How many rows a statement changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) rows: u64,
}

impl Query {
    /// Its name in the slow-query log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Products => "products",
            Self::AddToCart { .. } => "add_to_cart",
            Self::Cart { .. } => "cart",
            Self::PlaceOrder { .. } => "place_order",
            Self::SetPayment { .. } => "set_payment",
            Self::Order { .. } => "order",
        }
    }
}

impl Payment {
    /// Its text in the database and in answers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Refused => "refused",
        }
    }

    /// Reads [`name`](Self::name) back.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Paid, Self::Refused].into_iter().find(|payment| payment.name() == name)
    }
}

impl Item {
    /// Reads `3x2`: product 3, twice.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (product, quantity) = text.split_once('x')?;
        Some(Self { product: product.parse().ok()?, quantity: quantity.parse().ok()? })
    }
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.product, self.quantity)
    }
}
