//! Who the visitors are: what they search for, and what each has in the cart.
//!
//! In: the kind of the next request, and which requests were served. Out: requests. Each visitor carries
//! the content of the own cart, as the page's checkout form does, so a checkout always buys something that
//! was acknowledged before.

use hyper::Method;

use super::request_log::Kind;
use crate::demo_service::random_number;

/// Visitors at a time; each gets a new cart after a checkout.
const VISITORS: usize = 50;
/// The catalogue's products are numbered from 1 to this.
const PRODUCTS: u32 = 400;
/// Different products in a cart before its visitor only checks out.
const CART_MAX: usize = 10;
/// The test card every visitor pays with.
const CARD: &str = "4242424242424242";
/// What people search for: some find much, some little, some misspell.
const SEARCHES: [&str; 24] = [
    "",
    "lamp",
    "oak+chair",
    "copper+kettle",
    "wool+blanket",
    "glas+vase",
    "marble",
    "leather+notebook",
    "bambo+tray",
    "cork",
    "brass+clock",
    "slate+bowl",
    "cotton+cushion",
    "ceramic+mug",
    "birch+stool",
    "felt+basket",
    "silk",
    "granite+bookend",
    "maple+table",
    "steel+mirror",
    "teepot",
    "candle",
    "doorstop",
    "walnut+shelf",
];

/// All visitors.
#[derive(Debug)]
pub(super) struct Visitors {
    rng: fastrand::Rng,
    visitors: Vec<Visitor>,
    carts: u64,
    /// Keeps carts of different runs of the generator apart.
    run: u64,
}

#[derive(Debug, Clone)]
struct Visitor {
    cart: String,
    /// Product and quantity, acknowledged.
    items: Vec<(u32, u32)>,
}

/// One request to be sent.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) kind: Kind,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) form: String,
    visitor: usize,
    cart: String,
    product: Option<u32>,
}

impl Visitors {
    /// Visitors with empty carts.
    pub(super) fn new(seed: u64) -> Self {
        let mut visitors = Self {
            rng: fastrand::Rng::with_seed(seed ^ 0x5eed),
            visitors: Vec::new(),
            carts: 0,
            run: random_number(),
        };
        for _ in 0..VISITORS {
            let newcomer = visitors.newcomer();
            visitors.visitors.push(newcomer);
        }
        visitors
    }

    /// The next request. A checkout becomes an addition where nobody has anything to buy.
    pub(super) fn next(&mut self, kind: Kind) -> Visit {
        let first = self.rng.usize(..VISITORS);
        let product = self.rng.u32(1..=PRODUCTS);
        let search = SEARCHES[self.rng.usize(..SEARCHES.len())];
        let in_turn = || (0..VISITORS).map(|step| (first + step) % VISITORS);
        match kind {
            Kind::Browse => {
                let path = format!("/?q={search}&cart={}", self.visitors[first].cart);
                self.visit(kind, Method::GET, path, String::new(), first)
            }
            Kind::Checkout => match in_turn().find(|index| !self.visitors[*index].items.is_empty()) {
                Some(buyer) => self.checkout(buyer),
                None => self.add(first, product),
            },
            Kind::AddToCart => {
                let free = in_turn().find(|index| self.visitors[*index].items.len() < CART_MAX);
                match free {
                    Some(visitor) => self.add(visitor, product),
                    None => self.checkout(first),
                }
            }
        }
    }

    /// Notes that a visit was served: only then is what was added in the cart.
    pub(super) fn served(&mut self, visit: &Visit) {
        let visitor = &mut self.visitors[visit.visitor];
        // The visitor may have checked out meanwhile and have another cart.
        let (Some(product), true) = (visit.product, visitor.cart == visit.cart) else { return };
        match visitor.items.iter_mut().find(|(known, _)| *known == product) {
            Some((_, quantity)) => *quantity += 1,
            None => visitor.items.push((product, 1)),
        }
    }

    fn add(&self, visitor: usize, product: u32) -> Visit {
        let form = format!("cart={}&product={product}", self.visitors[visitor].cart);
        let visit = self.visit(Kind::AddToCart, Method::POST, "/cart/add".to_owned(), form, visitor);
        Visit { product: Some(product), ..visit }
    }

    fn checkout(&mut self, buyer: usize) -> Visit {
        let Visitor { cart, items } = &self.visitors[buyer];
        let items: Vec<String> =
            items.iter().map(|(product, quantity)| format!("{product}x{quantity}")).collect();
        let form = format!("cart={cart}&items={}&card={CARD}", items.join(","));
        let visit = self.visit(Kind::Checkout, Method::POST, "/checkout".to_owned(), form, buyer);
        self.visitors[buyer] = self.newcomer();
        visit
    }

    fn visit(&self, kind: Kind, method: Method, path: String, form: String, visitor: usize) -> Visit {
        let cart = self.visitors[visitor].cart.clone();
        Visit { kind, method, path, form, visitor, cart, product: None }
    }

    fn newcomer(&mut self) -> Visitor {
        self.carts += 1;
        Visitor { cart: format!("cart-{:x}-{}", self.run, self.carts), items: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_buys_only_what_was_acknowledged() {
        let mut visitors = Visitors::new(1);
        assert_eq!(visitors.next(Kind::Checkout).kind, Kind::AddToCart, "there is nothing to buy yet");
        let added = visitors.next(Kind::AddToCart);
        let lost = visitors.next(Kind::AddToCart);
        visitors.served(&added);
        let checkout = visitors.next(Kind::Checkout);
        assert_eq!(checkout.kind, Kind::Checkout);
        assert!(checkout.form.contains(&format!("items={}x1&", added.product.unwrap())), "{checkout:?}");
        assert_eq!(visitors.next(Kind::Checkout).kind, Kind::AddToCart, "{lost:?} was never acknowledged");
    }

    #[test]
    fn after_a_checkout_the_visitor_has_another_cart() {
        let mut visitors = Visitors::new(1);
        let added = visitors.next(Kind::AddToCart);
        visitors.served(&added);
        let checkout = visitors.next(Kind::Checkout);
        visitors.served(&added);
        assert_ne!(visitors.visitors[checkout.visitor].cart, checkout.cart);
        assert_eq!(visitors.visitors[checkout.visitor].items, []);
    }
}
