//! Visits every page of the page table in Chromium, with something on each.
//!
//! ```text
//! cargo run -p gateway --example pictures -- DIRECTORY            what the pages look like, as docs/images/pages has it
//! cargo run -p gateway --example pictures -- DIRECTORY --empty    the same where nothing is stored, unshrunk
//! cargo run -p gateway --example pictures -- DIRECTORY --strained --width 360   with long names, many rows, odd numbers
//! cargo run --release -p gateway --example pictures -- --measure  how long each takes until it is painted, as JSON
//! ```
//!
//! `--only NAME` takes one page, `--width PIXELS` one width instead of two. Needs chromedriver, and pngquant for what is kept.

#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use support::server::Server;
use support::webdriver::{Browser, Theme};
use support::whole::{self, Shown};

/// Widths of pictures, each with the height of its screen and how much of a page is kept at most.
const SIZES: [(u32, u32, u64); 2] = [(390, 844, 1040), (1440, 900, 900)];

/// What is stored where pictures are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    Full,
    Strained,
    Empty,
}

/// Visits of a page until its figure is told.
const VISITS: usize = 7;

struct Wanted {
    directory: Option<PathBuf>,
    only: Option<String>,
    scene: Scene,
    sizes: Vec<(u32, u32, u64)>,
    measure: bool,
}

fn wanted() -> Result<Wanted, String> {
    let mut wanted =
        Wanted { directory: None, only: None, scene: Scene::Full, sizes: SIZES.to_vec(), measure: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--empty" => wanted.scene = Scene::Empty,
            "--strained" => wanted.scene = Scene::Strained,
            "--width" => {
                let width = arguments.next().and_then(|text| text.parse().ok());
                let width = width.ok_or("--width needs a number of pixels")?;
                wanted.sizes = vec![(width, 800, 1040)];
            }
            "--measure" => wanted.measure = true,
            "--only" => wanted.only = Some(arguments.next().ok_or("--only needs the name of a page")?),
            option if option.starts_with("--") => return Err(format!("{option} is not known")),
            directory => wanted.directory = Some(directory.into()),
        }
    }
    Ok(wanted)
}

fn main() -> Result<(), Box<dyn Error>> {
    let wanted = wanted()?;
    let browser = Browser::start(Theme::Light).ok_or("chromedriver is missing")?;
    let server = match wanted.scene {
        Scene::Full => whole::full(),
        Scene::Strained => whole::strained(),
        Scene::Empty => whole::empty(),
    };
    let (cookie, mut pages) = match wanted.scene {
        Scene::Full => (whole::ada(&server), whole::pages(&server)),
        Scene::Strained => (whole::ada(&server), whole::strained_pages(&server)),
        Scene::Empty => (server.cookie(), whole::pages_of_nothing()),
    };
    browser.open(&format!("{}/login", server.origin()));
    browser.sign_in(&cookie);
    if let Some(only) = &wanted.only {
        pages.retain(|page| page.name == *only);
    }
    if wanted.measure {
        println!("{:#}", measure(&browser, &server, &pages));
        return Ok(());
    }
    let directory = wanted.directory.as_deref().ok_or("give the directory for the pictures, or --measure")?;
    std::fs::create_dir_all(directory)?;
    for page in &pages {
        pictures(&browser, &server, page, directory, &wanted)?;
        eprintln!("{}", page.address);
    }
    Ok(())
}

fn pictures(
    browser: &Browser,
    server: &Server,
    page: &Shown,
    directory: &Path,
    wanted: &Wanted,
) -> Result<(), Box<dyn Error>> {
    // What is kept in the repository is small; what is looked at once is whole.
    let unshrunk = wanted.scene != Scene::Full || wanted.sizes != SIZES;
    for (theme, word) in [(Theme::Light, "light"), (Theme::Dark, "dark")] {
        browser.prefer(theme);
        for &(width, height, height_max) in &wanted.sizes {
            browser.resize(width, height);
            whole::look_again(server);
            browser.open(&format!("{}{}", server.origin(), page.address));
            let whole = browser.run("return document.documentElement.scrollHeight").as_u64().unwrap_or(0);
            let most = if unshrunk { 4 * height_max } else { height_max };
            browser.resize(width, u32::try_from(whole.clamp(height.into(), most))?);
            // Drawn again in the new size.
            browser.run_until_called("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))");
            let file = directory.join(format!("{}-{width}-{word}.png", page.name));
            std::fs::write(&file, BASE64_STANDARD.decode(browser.picture())?)?;
            if !unshrunk {
                shrink(&file)?;
            }
        }
    }
    Ok(())
}

/// As few colours as the eye wants: a quarter of the bytes.
fn shrink(file: &Path) -> Result<(), Box<dyn Error>> {
    let done = Command::new("pngquant")
        .args(["--speed", "1", "--strip", "--nofs", "--force", "--ext", ".png", "32"])
        .arg(file)
        .status()
        .map_err(|error| format!("pngquant, which shrinks pictures, cannot be started: {error}"))?;
    if done.success() { Ok(()) } else { Err(format!("pngquant failed on {}", file.display()).into()) }
}

/// The time until a page's first content is painted, from the beginning of its navigation, with nothing cached.
fn measure(browser: &Browser, server: &Server, pages: &[Shown]) -> Value {
    browser.resize(1440, 900);
    browser.forget_what_was_fetched();
    let painted = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime";
    let figures = pages.iter().map(|page| {
        let visit = |_| {
            browser.open(&format!("{}{}", server.origin(), page.address));
            browser.wait(painted);
            browser.run(&format!("return {painted}")).as_f64().unwrap_or(f64::NAN)
        };
        let mut times: Vec<f64> = (0..VISITS).map(visit).collect();
        times.sort_by(f64::total_cmp);
        let (median, worst) = (times[VISITS / 2].round(), times[VISITS - 1].round());
        json!({"page": page.name, "first_contentful_paint_ms": {"median": median, "worst": worst}, "visits": VISITS})
    });
    Value::Array(figures.collect())
}
