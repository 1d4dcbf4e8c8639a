//! The SQL side: schema, seed, statements, retention.
//!
//! In: a [`Query`]. Out: its rows as JSON, or an [`EngineError`] that knows its HTTP status. What was
//! answered survives the end of the process: WAL with `synchronous = NORMAL` has handed every commit to the
//! kernel. Deliberately absent: fsync on each commit, which guards against the end of the machine; the
//! volume is a tmpfs.

use std::path::Path;

use bytes::Bytes;
use hyper::StatusCode;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};
use serde::Serialize;

use super::super::wall_us;
use super::query::{CartRow, Item, OrderRow, Payment, Placed, Product, Query, Written};

/// Products in the shop: enough that searching them is work.
const PRODUCTS: u32 = 400;
/// Writes between two rounds of retention.
const RETAIN_EVERY: u32 = 500;
/// Carts nobody touched for this long are forgotten, in microseconds: one hour.
const CART_AGE_MAX_US: i64 = 3_600_000_000;
/// Orders kept. With about 200 bytes each they stay below a quarter of the volume however long the demo
/// runs.
const ORDERS_MAX: u32 = 20_000;

const SCHEMA: &str = "
CREATE TABLE products (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    price_cents INTEGER NOT NULL
) STRICT;
CREATE TABLE cart_lines (
    cart TEXT NOT NULL,
    line TEXT NOT NULL,
    product INTEGER NOT NULL REFERENCES products (id),
    quantity INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 99),
    added_us INTEGER NOT NULL,
    PRIMARY KEY (cart, line)
) STRICT, WITHOUT ROWID;
CREATE INDEX cart_lines_by_age ON cart_lines (added_us);
CREATE TABLE orders (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    total_cents INTEGER NOT NULL,
    payment TEXT NOT NULL
) STRICT;
CREATE TABLE order_lines (
    number INTEGER NOT NULL REFERENCES orders (number) ON DELETE CASCADE,
    product INTEGER NOT NULL REFERENCES products (id),
    quantity INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 99),
    price_cents INTEGER NOT NULL,
    PRIMARY KEY (number, product)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
";

/// Why a query gave no rows.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// No space is left.
    #[error("the database's volume is full")]
    Full,
    /// The query contradicts the data or the schema.
    #[error("the query contradicts the data: {0}")]
    Contradiction(String),
    /// Anything else the engine said.
    #[error("the SQL engine failed: {0}")]
    Engine(String),
}

impl EngineError {
    /// The HTTP status that says this.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Full => StatusCode::INSUFFICIENT_STORAGE,
            Self::Contradiction(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Engine(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ConstraintViolation) => Self::Contradiction(error.to_string()),
            _ => Self::Engine(error.to_string()),
        }
    }
}

/// The open database.
pub(super) struct Engine {
    connection: Connection,
    writes_until_retention: u32,
}

impl Engine {
    /// Opens the file at `path`; makes schema and products where they are missing.
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path)?;
        // Exclusive: the one process keeps the WAL index in its heap, instead of in a mapped file whose
        // pages cannot be had on a full volume.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        // 1 MiB of pages in memory, and at most 1 MiB of WAL left behind by a checkpoint.
        connection.pragma_update(None, "cache_size", -1024)?;
        connection.pragma_update(None, "journal_size_limit", 1024 * 1024)?;
        let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            let transaction = connection.transaction()?;
            transaction.execute_batch(SCHEMA)?;
            seed(&transaction)?;
            transaction.commit()?;
        }
        Ok(Self { connection, writes_until_retention: RETAIN_EVERY })
    }

    /// Runs one statement.
    pub(super) fn run(&mut self, query: &Query) -> Result<Bytes, EngineError> {
        match query {
            Query::Products => json(&self.products()?),
            Query::Cart { cart } => json(&self.cart(cart)?),
            Query::Order { order } => json(&self.order(order)?),
            Query::AddToCart { line, cart, item } => {
                let rows = self.add_to_cart(line, cart, *item)?;
                self.retain()?;
                json(&rows)
            }
            Query::PlaceOrder { order, cart, items } => {
                let placed = self.place_order(order, cart, items)?;
                self.retain()?;
                json(&placed)
            }
            Query::SetPayment { order, payment } => {
                let mut statement =
                    self.connection.prepare_cached("UPDATE orders SET payment = ?2 WHERE id = ?1")?;
                json(&Written { rows: statement.execute(params![order, payment.name()])? as u64 })
            }
        }
    }

    fn products(&self) -> rusqlite::Result<Vec<Product>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, name, description, price_cents FROM products ORDER BY id")?;
        let rows = statement.query_map([], |row| {
            Ok(Product {
                id: row.get(0)?,
                name: row.get(1)?,
                description: row.get(2)?,
                price_cents: row.get(3)?,
            })
        })?;
        rows.collect()
    }

    fn cart(&self, cart: &str) -> rusqlite::Result<Vec<CartRow>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT product, name, sum(quantity), price_cents
             FROM cart_lines JOIN products ON id = product
             WHERE cart = ?1 GROUP BY product ORDER BY product",
        )?;
        let rows = statement.query_map([cart], |row| {
            Ok(CartRow {
                product: row.get(0)?,
                name: row.get(1)?,
                quantity: row.get(2)?,
                price_cents: row.get(3)?,
            })
        })?;
        rows.collect()
    }

    fn add_to_cart(&self, line: &str, cart: &str, item: Item) -> rusqlite::Result<Written> {
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO cart_lines (cart, line, product, quantity, added_us) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (cart, line) DO NOTHING",
        )?;
        let rows = statement.execute(params![cart, line, item.product, item.quantity, wall_us()])?;
        Ok(Written { rows: rows as u64 })
    }

    fn order(&self, order: &str) -> Result<Option<OrderRow>, EngineError> {
        let found = self
            .connection
            .prepare_cached("SELECT number, total_cents, payment FROM orders WHERE id = ?1")?
            .query_row([order], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get::<_, String>(2)?)))
            .optional()?;
        let Some((number, total_cents, payment)) = found else { return Ok(None) };
        let mut lines = self
            .connection
            .prepare_cached("SELECT product, quantity FROM order_lines WHERE number = ?1 ORDER BY product")?;
        let items =
            lines.query_map([number], |row| Ok(Item { product: row.get(0)?, quantity: row.get(1)? }))?;
        Ok(Some(OrderRow {
            order: order.to_owned(),
            total_cents,
            payment: payment_from(&payment)?,
            items: items.collect::<Result<_, _>>()?,
        }))
    }

    fn place_order(&mut self, order: &str, cart: &str, items: &[Item]) -> Result<Placed, EngineError> {
        let transaction = self.connection.transaction()?;
        let known = transaction
            .prepare_cached("SELECT total_cents, payment FROM orders WHERE id = ?1")?
            .query_row([order], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
            .optional()?;
        if let Some((total_cents, payment)) = known {
            return Ok(Placed { total_cents, payment: payment_from(&payment)? });
        }
        let total_cents = write_order(&transaction, order, cart, items)?;
        transaction.commit()?;
        Ok(Placed { total_cents, payment: Payment::Pending })
    }

    /// Every [`RETAIN_EVERY`] writes: forgets old carts and the orders beyond [`ORDERS_MAX`].
    fn retain(&mut self) -> rusqlite::Result<()> {
        self.writes_until_retention -= 1;
        if self.writes_until_retention > 0 {
            return Ok(());
        }
        self.writes_until_retention = RETAIN_EVERY;
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "DELETE FROM cart_lines WHERE added_us < ?1",
            [wall_us().saturating_sub(CART_AGE_MAX_US)],
        )?;
        transaction.execute(
            "DELETE FROM orders WHERE number <= (SELECT max(number) FROM orders) - ?1",
            [ORDERS_MAX],
        )?;
        transaction.commit()
    }
}

/// Writes a new order with its lines and empties its cart; gives the total.
fn write_order(
    transaction: &Transaction<'_>,
    order: &str,
    cart: &str,
    items: &[Item],
) -> Result<u32, EngineError> {
    transaction
        .prepare_cached("INSERT INTO orders (id, total_cents, payment) VALUES (?1, 0, ?2)")?
        .execute(params![order, Payment::Pending.name()])?;
    let number = transaction.last_insert_rowid();
    let mut line = transaction.prepare_cached(
        "INSERT INTO order_lines (number, product, quantity, price_cents)
         SELECT ?1, id, ?3, price_cents FROM products WHERE id = ?2
         RETURNING quantity * price_cents",
    )?;
    let mut total_cents: u32 = 0;
    for item in items {
        let cents: Option<u32> =
            line.query_row(params![number, item.product, item.quantity], |row| row.get(0)).optional()?;
        total_cents += cents
            .ok_or_else(|| EngineError::Contradiction(format!("there is no product {}", item.product)))?;
    }
    transaction
        .prepare_cached("UPDATE orders SET total_cents = ?2 WHERE number = ?1")?
        .execute(params![number, total_cents])?;
    transaction.prepare_cached("DELETE FROM cart_lines WHERE cart = ?1")?.execute([cart])?;
    Ok(total_cents)
}

fn payment_from(name: &str) -> Result<Payment, EngineError> {
    Payment::from_name(name)
        .ok_or_else(|| EngineError::Engine(format!("the orders table holds the unknown payment {name:?}")))
}

fn json(rows: &impl Serialize) -> Result<Bytes, EngineError> {
    serde_json::to_vec(rows).map(Bytes::from).map_err(|error| EngineError::Engine(error.to_string()))
}

/// Makes the same products every time: 20 materials × 20 things.
fn seed(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    const MATERIALS: [&str; 20] = [
        "oak", "walnut", "copper", "linen", "wool", "glass", "marble", "leather", "bamboo", "cork", "brass",
        "slate", "cotton", "ceramic", "birch", "felt", "silk", "granite", "maple", "steel",
    ];
    const THINGS: [&str; 20] = [
        "lamp",
        "mug",
        "chair",
        "blanket",
        "shelf",
        "bowl",
        "clock",
        "basket",
        "table",
        "vase",
        "kettle",
        "mirror",
        "stool",
        "tray",
        "bookend",
        "candlestick",
        "notebook",
        "teapot",
        "cushion",
        "doorstop",
    ];
    let mut insert = transaction.prepare_cached(
        "INSERT INTO products (id, name, description, price_cents) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for id in 0..PRODUCTS {
        let material = MATERIALS[id as usize % MATERIALS.len()];
        let thing = THINGS[id as usize / MATERIALS.len() % THINGS.len()];
        let other = MATERIALS[(id as usize * 7 + 3) % MATERIALS.len()];
        insert.execute(params![
            id + 1,
            format!("{material} {thing}"),
            format!("A {thing} of {material} with details in {other}, made by hand to outlast its owner."),
            490 + id * 7919 % 9_500,
        ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> (tempfile::TempDir, Engine) {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(&directory.path().join("shop.db")).unwrap();
        (directory, engine)
    }

    fn add(engine: &mut Engine, line: &str, product: u32, quantity: u32) -> Result<Bytes, EngineError> {
        let item = Item { product, quantity };
        engine.run(&Query::AddToCart { line: line.into(), cart: "c".into(), item })
    }

    fn place(engine: &mut Engine, order: &str, product: u32) -> Result<Placed, EngineError> {
        let items = vec![Item { product, quantity: 2 }];
        let rows = engine.run(&Query::PlaceOrder { order: order.into(), cart: "c".into(), items })?;
        Ok(serde_json::from_slice(&rows).unwrap())
    }

    #[test]
    fn the_same_cart_line_counts_once() {
        let (_directory, mut engine) = engine();
        for line in ["a", "a", "b"] {
            add(&mut engine, line, 7, 2).unwrap();
        }
        let rows: Vec<CartRow> =
            serde_json::from_slice(&engine.run(&Query::Cart { cart: "c".into() }).unwrap()).unwrap();
        assert_eq!(rows.iter().map(|row| (row.product, row.quantity)).collect::<Vec<_>>(), [(7, 4)]);
    }

    #[test]
    fn placing_an_order_twice_writes_it_once_and_empties_the_cart() {
        let (_directory, mut engine) = engine();
        add(&mut engine, "a", 7, 2).unwrap();
        let price = engine.products().unwrap()[6].price_cents;
        let first = place(&mut engine, "o", 7).unwrap();
        assert_eq!(first, Placed { total_cents: 2 * price, payment: Payment::Pending });
        engine.run(&Query::SetPayment { order: "o".into(), payment: Payment::Paid }).unwrap();
        assert_eq!(place(&mut engine, "o", 7).unwrap().payment, Payment::Paid);
        assert_eq!(engine.cart("c").unwrap(), []);
        assert_eq!(engine.order("o").unwrap().unwrap().items, [Item { product: 7, quantity: 2 }]);
    }

    #[test]
    fn what_contradicts_the_data_changes_nothing() {
        let (_directory, mut engine) = engine();
        assert!(matches!(add(&mut engine, "a", PRODUCTS + 1, 1), Err(EngineError::Contradiction(_))));
        assert!(matches!(add(&mut engine, "a", 1, 0), Err(EngineError::Contradiction(_))));
        assert!(matches!(place(&mut engine, "o", PRODUCTS + 1), Err(EngineError::Contradiction(_))));
        assert_eq!(engine.order("o").unwrap(), None);
    }

    #[test]
    fn opening_again_finds_what_was_written() {
        let (directory, mut engine) = engine();
        place(&mut engine, "o", 3).unwrap();
        drop(engine);
        let engine = Engine::open(&directory.path().join("shop.db")).unwrap();
        assert!(engine.order("o").unwrap().is_some());
        assert_eq!(engine.products().unwrap().len(), PRODUCTS as usize);
    }

    #[test]
    fn only_the_newest_orders_are_kept() {
        let (_directory, mut engine) = engine();
        place(&mut engine, "oldest", 1).unwrap();
        engine
            .connection
            .execute(
                "INSERT INTO orders (number, id, total_cents, payment) VALUES (?1, 'newest', 0, 'paid')",
                [ORDERS_MAX + 1],
            )
            .unwrap();
        engine.writes_until_retention = 1;
        add(&mut engine, "a", 1, 1).unwrap();
        assert_eq!(engine.order("oldest").unwrap(), None);
        assert!(engine.order("newest").unwrap().is_some());
    }
}
