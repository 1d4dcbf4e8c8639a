//! What was acknowledged lasts; what does not fit is refused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::http::{CARD, checkout, get, post};
use crate::shop::Shop;
use crate::until;

#[test]
fn killing_orders_and_the_database_loses_no_acknowledged_order() {
    let mut shop = Shop::start();
    let stop = Arc::new(AtomicBool::new(false));
    let buyers: Vec<_> = (0..3)
        .map(|_| {
            let (front, stop) = (shop.front(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut orders = BTreeSet::new();
                while !stop.load(Ordering::Relaxed) {
                    orders.extend(checkout(front).order);
                }
                orders
            })
        })
        .collect();
    for victim in ["orders", "database", "orders", "database"] {
        let sent = shop.answered("front");
        until("orders are placed", || shop.answered("front") > sent + 5);
        shop.kill(victim);
        shop.restart(victim);
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged: BTreeSet<String> = buyers.into_iter().flat_map(|buyer| buyer.join().unwrap()).collect();
    assert!(acknowledged.len() > 10, "only {} orders", acknowledged.len());
    for order in &acknowledged {
        let row = get(shop.front(), &format!("/orders/{order}"));
        assert_eq!(row.status, 200, "{order} is lost: {row:?}");
    }
}

#[test]
fn a_full_volume_is_an_error_and_not_the_end() {
    let mut shop = Shop::start_with(|shop| shop.limit("database", 2));
    let mut failure = None;
    for number in 0..4000 {
        let added = post(shop.front(), "/cart/add", &format!("cart=full-{number}&product=1"));
        if added.status != 200 {
            failure = Some(added);
            break;
        }
        let many: Vec<String> = (1..=50).map(|product| format!("{product}x1")).collect();
        let placed = post(shop.front(), "/checkout", &format!("cart=c&items={}&card={CARD}", many.join(",")));
        if placed.status != 200 {
            failure = Some(placed);
            break;
        }
    }
    let failure = failure.expect("the volume never filled up");
    assert_eq!(failure.status, 502, "{failure:?}");
    let direct = post(
        shop.port("database"),
        "/query",
        r#"{"statement":"add_to_cart","parameters":{"line":"l","cart":"c","item":{"product":1,"quantity":1}}}"#,
    );
    assert!([500, 507].contains(&direct.status), "{direct:?}");
    let read = post(shop.port("database"), "/query", r#"{"statement":"products"}"#);
    assert_eq!(read.status, 200, "reading needs no space: {read:?}");
    assert!(shop.is_alive("database"));
    assert_eq!(get(shop.port("database"), "/ready").status, 200);
}
