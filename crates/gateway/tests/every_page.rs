//! What holds of every page of the page table: axe-core finds nothing serious on it in either theme, it fits small and large
//! screens, and its pictures are kept. Skipped, loudly, where there is no chromedriver.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};
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
        "const done = arguments[0]; axe.run().then((r) => done(r.violations), (e) => done(String(e)))",
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
const BESIDE: [&str; 5] = [
    "/issues?q=nothing+at+all",
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
