//! What holds of every page of the page table: axe-core finds nothing serious on it in either theme and nothing too small for
//! a finger, it fits small and large screens whatever is on it, keys reach what they lead to, it can be printed, and its
//! pictures are kept. Skipped, loudly, where there is no chromedriver.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};
use support::server::Server;
use support::webdriver::{Browser, SHIFT, TAB, Theme};
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
        for width in [360, 768, 2560] {
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
fn no_page_is_wider_than_the_screen_full_strained_or_empty() {
    let Some(browser) = Browser::start(Theme::Light) else {
        println!("skipped: no chromedriver");
        return;
    };
    let server = whole::full();
    browser.open(&format!("{}/login", server.origin()));
    browser.sign_in(&whole::ada(&server));
    let mut wrong = overflowing(&browser, &server, &whole::pages(&server));
    let server = whole::strained();
    browser.open(&format!("{}/login", server.origin()));
    browser.sign_in(&whole::ada(&server));
    wrong.extend(overflowing(&browser, &server, &whole::strained_pages(&server)));
    let server = whole::empty();
    browser.open(&format!("{}/login", server.origin()));
    browser.sign_in(&server.cookie());
    wrong.extend(overflowing(&browser, &server, &whole::pages_of_nothing()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// axe-core's script, from npm into target/, for all tests here at once: two that install it at a time take it from each
/// other. `None` where it cannot be had.
static AXE: LazyLock<Option<String>> = LazyLock::new(|| {
    const PACKAGE: &str = "axe-core@4.14.1";
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("axe");
    let script = dir.join("node_modules/axe-core/axe.min.js");
    if !script.exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
            .arg(&dir)
            .arg(PACKAGE);
        let refused = match npm.output() {
            Ok(done) if done.status.success() => None,
            Ok(done) => Some(String::from_utf8_lossy(&done.stderr).lines().next().unwrap_or("").to_owned()),
            Err(_) => Some("npm is missing".to_owned()),
        };
        if let Some(why) = refused {
            println!("skipped: no axe-core\n{why}");
            return None;
        }
    }
    Some(std::fs::read_to_string(script).unwrap())
});

/// The serious and critical findings on a page: its address, the rule and the elements.
fn findings(browser: &Browser, axe: &str, server: &Server, path: &str) -> Vec<String> {
    browser.open(&format!("{}{path}", server.origin()));
    browser.run(axe);
    let found = browser.run_until_called(
        "const done = arguments[0]; axe.run({rules: {'target-size': {enabled: true}}}).then((r) => done(r.violations), (e) => done(String(e)))",
    );
    let found = found.as_array().unwrap_or_else(|| panic!("{path}: {found}"));
    let bad =
        found.iter().filter(|one| ["serious", "critical"].contains(&one["impact"].as_str().unwrap_or("")));
    let place = |one: &Value| -> Vec<String> {
        one["nodes"].as_array().into_iter().flatten().take(3).map(|node| node["html"].to_string()).collect()
    };
    bad.map(|one| format!("{path}: {} {}", one["id"], place(one).join(" | "))).collect()
}

/// What is beside the table: what is asked wrongly, what is not there, what matches nothing.
const BESIDE: [&str; 7] = [
    "/issues?q=nothing+at+all",
    "/approvals?q=nothing+at+all",
    "/metrics-explorer",
    "/experiments/new?type=memory_stress",
    "/experiments/preview?type=pause&duration=x",
    "/traces/compare",
    "/no-such-page",
];

fn judge(theme: Theme) {
    let Some(browser) = Browser::start(theme) else {
        println!("skipped: no chromedriver");
        return;
    };
    let Some(axe) = AXE.as_deref() else { return };
    let server = whole::full();
    browser.open(&format!("{}/login", server.origin()));
    browser.sign_in(&whole::ada(&server));
    let table = whole::pages(&server).into_iter().map(|page| page.address);
    let pages = table.chain(BESIDE.map(str::to_owned));
    let wrong: Vec<String> = pages.flat_map(|path| findings(&browser, axe, &server, &path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn axe_finds_nothing_serious_in_light() {
    judge(Theme::Light);
}

#[test]
fn axe_finds_nothing_serious_in_dark() {
    judge(Theme::Dark);
}

#[test]
fn axe_finds_nothing_serious_on_a_phone_strained_or_empty() {
    let Some(browser) = Browser::start(Theme::Dark) else {
        println!("skipped: no chromedriver");
        return;
    };
    let Some(axe) = AXE.as_deref() else { return };
    browser.resize(360, 740);
    let (strained, empty) = (whole::strained(), whole::empty());
    let mut wrong = Vec::new();
    for (server, cookie, pages) in [
        (&strained, whole::ada(&strained), whole::strained_pages(&strained)),
        (&empty, empty.cookie(), whole::pages_of_nothing()),
    ] {
        browser.open(&format!("{}/login", server.origin()));
        browser.sign_in(&cookie);
        wrong.extend(pages.iter().flat_map(|page| findings(&browser, axe, server, &page.address)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A browser for a server with something on every page, signed in.
fn looking_at(server: &Server) -> Option<Browser> {
    let Some(browser) = Browser::start(Theme::Dark) else {
        println!("skipped: no chromedriver");
        return None;
    };
    browser.open(&format!("{}/login", server.origin()));
    browser.sign_in(&whole::ada(server));
    Some(browser)
}

/// Whether what has the focus lies wholly below one of the bars of the frame, or shows no sign of it.
const HIDDEN_FOCUS: &str = "const e = document.activeElement, r = e.getBoundingClientRect();
    if (e === document.body || e.matches('.skip')) return null;
    const below = ['.top', '.rail'].some((bar) => {
        const b = document.querySelector(bar).getBoundingClientRect();
        return !e.closest(bar) && r.bottom > r.top && r.top >= b.top && r.bottom <= b.bottom && r.left >= b.left && r.right <= b.right;
    });
    return [below || getComputedStyle(e).outlineStyle === 'none', e.outerHTML.slice(0, 120)];";

#[test]
fn what_tab_leads_to_on_a_phone_is_seen() {
    let server = whole::full();
    let Some(browser) = looking_at(&server) else { return };
    browser.resize(360, 640);
    let mut wrong = Vec::new();
    for page in whole::pages(&server) {
        browser.open(&format!("{}{}", server.origin(), page.address));
        // From the end backwards, where the bar above is in the way; then forwards, where the one below is.
        for step in 0..75 {
            if step < 25 {
                browser.chord(SHIFT, TAB)
            } else {
                browser.keys(TAB)
            }
            let seen = browser.run(HIDDEN_FOCUS);
            if seen[0] == json!(true) {
                wrong.push(format!("{}: {}", page.address, seen[1]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn on_paper_a_page_is_dark_on_light_and_nothing_is_left_to_press() {
    let server = whole::full();
    let Some(browser) = looking_at(&server) else { return };
    browser.print();
    for page in whole::pages(&server) {
        browser.open(&format!("{}{}", server.origin(), page.address));
        let left = "return [...document.querySelectorAll('form, .rail, .top')].filter((e) => e.checkVisibility()).map((e) => e.outerHTML.slice(0, 120))";
        assert_eq!(browser.run(left), json!([]), "{}", page.address);
        let cut = "return [...document.querySelectorAll('main .scroll, main pre')].filter((e) => e.checkVisibility() && e.scrollHeight > e.clientHeight + 1).length";
        assert_eq!(browser.run(cut), json!(0), "{}", page.address);
        let words = "return getComputedStyle(document.documentElement).getPropertyValue('--n9')";
        assert!(browser.run(words).as_str().unwrap().contains("20%"), "{}", page.address);
    }
}

#[test]
fn a_long_name_hides_nothing_that_is_wrong_with_its_span() {
    let server = whole::strained();
    let Some(browser) = looking_at(&server) else { return };
    let trace = whole::strained_pages(&server).into_iter().find(|page| page.name == "traces-id").unwrap();
    for width in [360, 768, 1440] {
        browser.resize(width, 900);
        browser.open(&format!("{}{}", server.origin(), trace.address));
        let marks = browser.run(
            "return [...document.querySelectorAll('.spans .step .mark')].map((mark) => mark.getBoundingClientRect().right <= mark.closest('.step').getBoundingClientRect().right + 1)",
        );
        let marks = marks.as_array().unwrap();
        assert!(marks.len() > 3 && marks.iter().all(|seen| *seen == json!(true)), "{width}: {marks:?}");
    }
}

#[test]
fn what_is_chosen_is_told_where_colours_are_the_readers_own() {
    let server = whole::full();
    let Some(browser) = looking_at(&server) else { return };
    browser.force_colours();
    browser.open(&format!("{}/services", server.origin()));
    browser.wait("document.querySelector('.opener')");
    browser.run("document.querySelector('.opener').click()");
    browser.wait("document.querySelector('.overlay [aria-selected=true]')");
    for chosen in [".overlay [aria-selected=true]", ".rail [aria-current]"] {
        let outline =
            browser.run(&format!("return getComputedStyle(document.querySelector('{chosen}')).outlineStyle"));
        assert_eq!(outline, json!("solid"), "{chosen}");
    }
}
