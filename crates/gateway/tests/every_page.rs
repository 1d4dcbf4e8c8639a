//! What holds of every page of the page table: it fits small and large screens, and its pictures are kept.

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;
use support::server::Server;
use support::webdriver::{Browser, Theme};
use support::whole::{self, Shown};

/// Bytes of all pictures together: they are in every clone.
const PICTURES_MAX: u64 = 4 << 20;

#[test]
fn there_are_pictures_of_every_page_and_of_nothing_else() {
    let of = |name: &str| {
        ["390-light", "390-dark", "1440-light", "1440-dark"].map(|which| format!("{name}-{which}.png"))
    };
    let wanted: BTreeSet<String> =
        gateway::page_table().flat_map(|page| of(&whole::file_name(page))).collect();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/images/pages");
    let (mut there, mut bytes) = (BTreeSet::new(), 0);
    for file in std::fs::read_dir(directory).unwrap() {
        let file = file.unwrap();
        bytes += file.metadata().unwrap().len();
        there.insert(file.file_name().into_string().unwrap());
    }
    let missing: Vec<&String> = wanted.difference(&there).collect();
    let more: Vec<&String> = there.difference(&wanted).collect();
    let how = "`cargo run -p gateway --example pictures -- docs/images/pages` makes them";
    assert!(missing.is_empty() && more.is_empty(), "missing {missing:?}, too many {more:?}; {how}");
    assert!(bytes < PICTURES_MAX, "{bytes} bytes");
}

/// What is wider than the screen, on any of these pages.
fn overflowing(browser: &Browser, server: &Server, pages: &[Shown]) -> Vec<String> {
    let mut wrong = Vec::new();
    for page in pages {
        for width in [360, 2560] {
            browser.resize(width, 900);
            browser.open(&format!("{}{}", server.origin(), page.address));
            assert_eq!(browser.run("return innerWidth"), json!(width));
            let over = "document.documentElement.scrollWidth";
            let widest = browser.run(&format!("return {over}"));
            if widest.as_u64() > Some(u64::from(width)) {
                let what = browser.run(
                    "return [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll, .rail')).slice(0, 3).map((e) => e.outerHTML.slice(0, 120)).join(' | ')",
                );
                wrong.push(format!("{} is {widest} wide at {width}: {what}", page.address));
            }
        }
    }
    wrong
}

#[test]
fn no_page_is_wider_than_the_screen_full_or_empty() {
    let Some(browser) = Browser::start(Theme::Light) else {
        println!("skipped: no chromedriver");
        return;
    };
    let server = whole::full();
    browser.open(&format!("{}/login", server.origin()));
    browser.sign_in(&whole::ada(&server));
    let mut wrong = overflowing(&browser, &server, &whole::pages(&server));
    let server = whole::empty();
    browser.open(&format!("{}/login", server.origin()));
    browser.sign_in(&server.cookie());
    wrong.extend(overflowing(&browser, &server, &whole::pages_of_nothing()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
