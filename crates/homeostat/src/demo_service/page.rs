//! The shop's page as HTML.
//!
//! In: what the front gathered, parts of it possibly missing. Out: one page without scripts. Deliberately
//! absent: assets; the page is one answer, so that one request is one visit.

use std::fmt::Write;

use super::database::{CartRow, Item, Product};

/// What the page shows. `None`: that part is away, and the page says so.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) cart_id: &'a str,
    pub(super) query: &'a str,
    pub(super) products: Option<&'a [Product]>,
    pub(super) cart: Option<&'a [CartRow]>,
    /// A sentence on top about what was just done.
    pub(super) notice: Option<&'a str>,
}

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<meta name=viewport content='width=device-width'><title>Shop</title>\
<style>body{font:16px/1.5 system-ui;max-width:48rem;margin:2rem auto;padding:0 1rem}\
li{margin:.5rem 0}form{display:inline}.notice{border-left:4px solid;padding-left:1rem}</style>";

/// The number every demo visitor pays with: the well-known test card.
const CARD: &str = "4242424242424242";

impl Page<'_> {
    /// The page.
    pub(super) fn render(&self) -> String {
        let mut html = String::with_capacity(4096);
        let cart_id = escaped(self.cart_id);
        let query = escaped(self.query);
        html.push_str(HEAD);
        let _ = write!(
            html,
            "<h1>Shop</h1><form><input name=q value='{query}' aria-label=Search>\
             <input type=hidden name=cart value='{cart_id}'><button>Search</button></form>"
        );
        if let Some(notice) = self.notice {
            let _ = write!(html, "<p class=notice>{}</p>", escaped(notice));
        }
        self.render_products(&mut html, &cart_id);
        self.render_cart(&mut html, &cart_id);
        html
    }

    fn render_products(&self, html: &mut String, cart_id: &str) {
        let Some(products) = self.products else {
            html.push_str("<p class=notice>The catalogue is away for the moment.</p>");
            return;
        };
        html.push_str("<ul>");
        for product in products {
            let _ = write!(
                html,
                "<li><b>{}</b> {} <p>{}</p><form method=post action=/cart/add>\
                 <input type=hidden name=cart value='{cart_id}'>\
                 <input type=hidden name=product value={}><button>Add to cart</button></form></li>",
                escaped(&product.name),
                price(product.price_cents),
                escaped(&product.description),
                product.id
            );
        }
        html.push_str("</ul>");
    }

    fn render_cart(&self, html: &mut String, cart_id: &str) {
        html.push_str("<h2>Cart</h2>");
        let Some(cart) = self.cart else {
            html.push_str("<p class=notice>The cart is away for the moment.</p>");
            return;
        };
        if cart.is_empty() {
            html.push_str("<p>It is empty.</p>");
            return;
        }
        html.push_str("<ul>");
        let mut items = Vec::new();
        for row in cart {
            let _ = write!(
                html,
                "<li>{} × {} at {}</li>",
                row.quantity,
                escaped(&row.name),
                price(row.price_cents)
            );
            items.push(Item { product: row.product, quantity: row.quantity }.to_string());
        }
        let total = cart.iter().map(|row| row.price_cents * row.quantity).sum();
        let _ = write!(
            html,
            "</ul><p>Total {}</p><form method=post action=/checkout>\
             <input type=hidden name=cart value='{cart_id}'>\
             <input type=hidden name=items value='{}'>\
             <label>Card <input name=card value={CARD}></label> <button>Check out</button></form>",
            price(total),
            items.join(",")
        );
    }
}

fn price(cents: u32) -> String {
    format!("{}.{:02} €", cents / 100, cents % 100)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_visitors_type_is_text_not_markup() {
        let page = Page { cart_id: "c", query: "'><script>", products: Some(&[]), cart: None, notice: None };
        let html = page.render();
        assert!(!html.contains("<script>"), "{html}");
        assert!(html.contains("&#39;&gt;&lt;script&gt;"));
    }

    #[test]
    fn a_missing_part_is_named_and_the_rest_is_there() {
        let product = Product { id: 1, name: "oak mug".into(), description: String::new(), price_cents: 505 };
        let page =
            Page { cart_id: "c", query: "", products: Some(&[product]), cart: None, notice: Some("Added.") };
        let html = page.render();
        for text in ["oak mug", "5.05 €", "The cart is away for the moment.", "Added."] {
            assert!(html.contains(text), "{text} is not in {html}");
        }
    }
}
