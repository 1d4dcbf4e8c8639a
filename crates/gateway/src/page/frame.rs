//! What stands around every page: rail, top bar, notices.

use domain::Proof;
use maud::{DOCTYPE, Markup, html};

use super::Page;
use super::changed::drawn_from;
use super::sentence::count;
use super::view::View;
use crate::body::encode;
use crate::overwritten::Standing;

/// The id of the top bar's live part.
pub(crate) const TOP: &str = "top-state";
/// The id of the notices.
pub(crate) const NOTICES: &str = "notices";

/// The rail: address, word, and an outline in a box of 18 by 18.
pub(super) const RAIL: [(&str, &str, &str); 17] = [
    ("/", "Overview", "M2 9a7 7 0 1 1 14 0M9 9l3-3M4 13h10"),
    ("/services", "Services", "M2.5 3h13v5h-13zM2.5 10.5h13v5h-13zM5 5.5h.01M5 13h.01"),
    ("/timeline", "Time line", "M2 14.5h14M4 11h5M7 7.5h6M5 4h3M11.5 11h3.5"),
    ("/issues", "Issues", "M9 2L16.5 15.5h-15zM9 7v4M9 13h.01"),
    ("/remediations", "Remediations", "M15.5 9a6.5 6.5 0 1 1-2-4.7M15.5 2v3.5H12"),
    ("/approvals", "Approvals", "M2.5 9.5l4 4 9-10M9 15.5h6.5"),
    (
        "/experiments",
        "Experiments",
        "M7 2h4M7.5 2v5L3 14.5A1 1 0 0 0 4 16h10a1 1 0 0 0 1-1.5L10.5 7V2M5 11.5h8",
    ),
    ("/drills", "Drills", "M9 2a7 7 0 1 0 0 14a7 7 0 1 0 0-14M9 6a3 3 0 1 0 0 6a3 3 0 1 0 0-6M9 9h.01"),
    ("/statistics", "Statistics", "M3 15.5v-5M7 15.5v-9M11 15.5v-6M15 15.5v-12"),
    ("/slos", "Objectives", "M9 2a7 7 0 1 0 7 7M9 5.5A3.5 3.5 0 1 0 12.5 9M9 9l6-6"),
    ("/traces", "Traces", "M2.5 4h9M5.5 9h10M7.5 14h5"),
    ("/service-map", "Service map", "M2 6.5h5v5H2zM12 2h4v4h-4zM12 12h4v4h-4zM7 8l5-3.5M7 10l5 3.5"),
    ("/metrics-explorer", "Metrics", "M2.5 2.5v13h13M5 12l3.5-4 3 2.5 4-6"),
    ("/cmdb", "Configuration", "M9 1.5L15.5 5v8L9 16.5 2.5 13V5zM2.5 5L9 8.5 15.5 5M9 8.5v8"),
    ("/audit", "Audit", "M4 2h10v14H4zM7 5.5h4M7 8.5h4M7 11.5h2"),
    ("/settings", "Settings", "M2.5 5h7M13 5h2.5M2.5 13H5M8.5 13h7M11.2 3.2v3.6M6.7 11.2v3.6"),
    ("/docs", "Docs", "M3 3.5h4.5L9 5l1.5-1.5H15v10h-4.5L9 15l-1.5-1.5H3zM9 5v10"),
];

/// The whole document.
pub(crate) fn document(view: &View, path: &str, page: &Page) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-now=(view.stamp.now.rfc3339()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (page.title) " · Homeostat" }
                link rel="icon" href="/favicon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/style.css";
                script src="/assets/page.js" defer {}
                @if ["/traces", "/latency"].iter().any(|address| path.starts_with(address)) { script src="/assets/traces.js" defer {} }
                @if path == "/metrics-explorer" {
                    script src="/assets/uplot.js" defer {}
                    script src="/assets/metrics.js" defer {}
                }
                @if ["/login", "/account"].contains(&path) { script src="/assets/passkeys.js" defer {} }
                @if has_time_line(path) { script src="/assets/timeline.js" defer {} }
            }
            body {
                a class="skip" href="#main" { "Skip to content" }
                (rail(path))
                header class="top" { (top(view, path)) (stop_button()) (who(view, path)) div id="link-state" role="status" {} }
                main id="main" {
                    (notices(view))
                    @for section in &page.sections { (section.render()) }
                }
            }
        }
    }
}

/// Whether a part of a time line can be selected there.
fn has_time_line(path: &str) -> bool {
    path == "/" || ["/timeline", "/services/", "/issues/"].iter().any(|address| path.starts_with(address))
}

/// The address and the word of the rail under which a page stands; none for the overview and what is on no list.
pub(super) fn word_of(path: &str) -> Option<(&'static str, &'static str)> {
    let found = RAIL.iter().find(|(address, ..)| *address != "/" && stands_under(address, path));
    found.map(|(address, word, _)| (*address, *word))
}

fn stands_under(address: &str, path: &str) -> bool {
    match address {
        "/" => path == "/",
        // Latencies are told of spans; the rail has no word of their own.
        "/traces" if path == "/latency" => true,
        "/cmdb" if path == "/infrastructure" => true,
        "/settings" if ["/account", "/users", "/tokens"].contains(&path) || path.starts_with("/users/") => {
            true
        }
        address => path == address || path.starts_with(&format!("{address}/")),
    }
}

fn rail(path: &str) -> Markup {
    let here = |address: &str| stands_under(address, path);
    html! {
        div class="rail" {
            nav aria-label="Pages" {
                a class="brand" href="/" {
                    svg viewBox="0 0 20 20" aria-hidden="true" { path d="M2 10h4l2-5 4 10 2-5h4" {} }
                    span class="word" { "Homeostat" }
                }
                ul {
                    @for (address, word, outline) in RAIL {
                        li {
                            a href=(address) title=(word) aria-current=[here(address).then_some("page")] {
                                svg viewBox="0 0 18 18" aria-hidden="true" { path d=(outline) {} }
                                span class="word" { (word) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The part of the top bar that changes: automation and waiting approvals.
/// `path` is the page to come back to.
pub(crate) fn top(view: &View, path: &str) -> Markup {
    let on = view.switches.automation;
    let waiting = view.waiting().count();
    html! {
        div id=(TOP) class="switch" data-live="now" {
            form class="switch" method="post" action="/automation" {
                span { span class="long" { "Automatic repair " } span class="short" { "Repair " } strong { @if on { "on" } @else { "off" } } }
                input type="hidden" name="back" value=(path);
                input type="hidden" name="enabled" value=(!on);
                (drawn_from(&Standing::automation(&view.switches)))
                button class="small" type="submit"
                    title=(if on { "Nothing will be repaired by itself; standing restarts go on" }
                           else { "Repairs run by themselves as far as the trust ladder allows" }) {
                    @if on { "Turn off" } @else { "Turn on" }
                }
            }
            @if waiting > 0 {
                a href="/approvals" { (count(waiting, "approval waits", "approvals wait")) }
            } @else {
                span class="quiet long" { "No approval waits" }
            }
        }
    }
}

/// Who looks, and the way in or out.
fn who(view: &View, path: &str) -> Markup {
    let back = if path == "/login" { "/" } else { path };
    let sign_in = format!("/login?next={}", encode(back));
    html! {
        @match &view.who {
            Some(who) if who.proof == Proof::Session => form class="who" method="post" action="/logout" {
                a href="/account" title={ "Signed in as " (who.name) } { (who.name) }
                button class="small" type="submit" { "Sign out" }
            },
            Some(who) if who.proof == Proof::Token => span class="who" { (who.name) },
            Some(_) => span class="who" { a href=(sign_in) { "Sign in" } },
            None => span class="who" { a href="/account" { "Account" } },
        }
    }
}

fn stop_button() -> Markup {
    html! {
        form class="stop-form push" method="get" action="/emergency-stop" {
            button class="danger stop" type="submit" title="Press and hold for 1 s: takes every fault out and stops every plan" {
                "Emergency stop"
            }
        }
    }
}

/// What has to be known before anything else on the page is believed.
pub(crate) fn notices(view: &View) -> Markup {
    html! {
        div id=(NOTICES) data-live="now" {
            @if let Some(since) = view.switches.emergency_stop {
                div class="notice bad" role="alert" {
                    strong { "The emergency stop is engaged" }
                    span { "since " (view.stamp.ago(since)) ". Nothing is repaired or disturbed; standing restarts go on." }
                    a href="/emergency-stop" { "Clear it" }
                }
            }
            @if let Some(snapshot) = view.stale() {
                div class="notice attention" role="alert" {
                    strong { "Stale" }
                    span { "The last snapshot was taken " (view.stamp.ago(snapshot.taken))
                        ". The loops do not run or the keeper does not answer; see " code { "homeostat status" } "." }
                }
            }
            @if !view.switches.automation {
                div class="notice attention" {
                    strong { "Automatic repair is off" }
                    span { "Issues are detected and plans can be run by hand; nothing is repaired by itself." }
                }
            }
        }
    }
}
