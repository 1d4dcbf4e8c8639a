//! A checkout, and the endpoints every service has.

use crate::http::{checkout, get, post};
use crate::shop::Shop;

#[test]
fn a_checkout_goes_from_the_page_to_the_database() {
    let shop = Shop::start();
    let page = get(shop.front(), "/?q=copper+kettle&cart=c1");
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("copper kettle"), "{page:?}");
    let added = post(shop.front(), "/cart/add", "cart=c1&product=7");
    assert!(added.status == 200 && added.body.contains("7x1"), "{added:?}");

    let order = checkout(shop.front()).acknowledged();
    let row = get(shop.front(), &format!("/orders/{order}"));
    assert!(row.body.contains("\"payment\":\"paid\""), "{row:?}");
    let cart = get(shop.front(), "/?cart=c1");
    assert!(cart.body.contains("It is empty."), "the order did not empty the cart: {cart:?}");
    let ledger = std::fs::read_to_string(shop.volume("payments").join("ledger/ledger.log")).unwrap();
    assert!(ledger.contains(&order), "{ledger}");
    let log = std::fs::read_to_string(shop.volume("front").join("logs/access.log")).unwrap();
    assert!(log.contains("POST /checkout 200"), "{log}");
}

#[test]
fn a_card_that_is_none_is_refused_and_no_failure_of_the_shop() {
    let shop = Shop::start();
    let refused = post(shop.front(), "/checkout", "cart=c1&items=3x1&card=4242424242424241");
    assert_eq!(refused.status, 402, "{refused:?}");
    assert_eq!(refused.order, None);
}

#[test]
fn drained_it_is_not_ready_but_serves_who_still_comes_and_ends_in_peace() {
    let mut shop = Shop::start();
    let payments = shop.port("payments");
    assert_eq!(post(payments, "/drain", "").status, 200);
    assert_eq!(get(payments, "/ready").status, 503);
    assert_eq!(get(payments, "/live").status, 200);
    checkout(shop.front()).acknowledged();
    assert!(get(payments, "/metrics").body.contains("shop_requests_total"));
    assert_eq!(shop.terminate("payments"), Some(0));
}

#[test]
fn slow_queries_are_logged() {
    let shop = Shop::start_with(|shop| shop.set("database", "SLOW_QUERY_MS", "0"));
    checkout(shop.front()).acknowledged();
    let log = std::fs::read_to_string(shop.volume("database").join("logs/slow.log")).unwrap();
    assert!(log.lines().any(|line| line.ends_with(" place_order")), "{log}");
}

#[test]
fn caches_are_files_and_are_cleared_on_demand() {
    let shop = Shop::start();
    let cache = shop.volume("catalogue").join("cache");
    assert_eq!(get(shop.front(), "/?q=lamp").status, 200);
    assert!(std::fs::read_dir(&cache).unwrap().count() > 0);
    assert_eq!(post(shop.port("catalogue"), "/caches/clear", "").status, 200);
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 0);
    assert_eq!(get(shop.front(), "/?q=lamp").status, 200);
}
