//! What an open breaker costs, and what any other failure does.

use crate::http::{checkout, get, post};
use crate::shop::Shop;
use crate::switch::{State, Switch};
use crate::until;

#[test]
fn an_open_breaker_costs_a_part_of_the_page_and_other_failures_the_page() {
    let switch = Switch::start();
    let shop = Shop::start_with(|shop| {
        for callee in ["catalogue", "cart", "payments"] {
            shop.link(callee, &switch);
        }
    });
    checkout(shop.front()).acknowledged();

    switch.turn(State::BreakerOpen);
    let page = get(shop.front(), "/?q=lamp&cart=c1");
    assert_eq!((page.status, page.degraded.as_deref()), (200, Some("catalogue,cart")), "{page:?}");
    let pending = checkout(shop.front());
    assert_eq!(pending.degraded.as_deref(), Some("orders"), "{pending:?}");
    let order = pending.acknowledged();
    let path = format!("/orders/{order}");
    assert!(get(shop.front(), &path).body.contains("\"payment\":\"pending\""));

    switch.turn(State::Broken);
    let page = get(shop.front(), "/?q=lamp&cart=c1");
    assert_eq!((page.status, page.degraded.as_deref()), (502, None), "{page:?}");

    switch.turn(State::Passing);
    until("the pending payment is charged", || {
        get(shop.front(), &path).body.contains("\"payment\":\"paid\"")
    });
}

#[test]
fn what_is_acknowledged_while_the_database_is_away_survives_the_end_of_the_process() {
    let switch = Switch::start();
    let mut shop = Shop::start_with(|shop| shop.link("database", &switch));
    get(shop.front(), "/?q=lamp");

    switch.turn(State::BreakerOpen);
    let page = get(shop.front(), "/?q=lamp&cart=c2");
    assert_eq!((page.status, page.degraded.as_deref()), (200, Some("cart")), "{page:?}");
    assert_eq!(post(shop.front(), "/cart/add", "cart=c2&product=9").status, 200);
    let order = checkout(shop.front()).acknowledged();
    for name in ["orders", "cart"] {
        shop.kill(name);
        shop.restart(name);
    }

    switch.turn(State::Passing);
    until("the order is in the database, and paid", || {
        get(shop.front(), &format!("/orders/{order}")).body.contains("\"payment\":\"paid\"")
    });
    until("the line is in the cart", || get(shop.front(), "/?cart=c2").body.contains("9x1"));
}
