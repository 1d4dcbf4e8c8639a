//! A browser that is driven: the few calls of WebDriver (W3C) that the journeys need, to Debian's chromedriver.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long an effect, a script or a start of the browser may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// Keys by the code points that WebDriver gives them.
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const ESCAPE: &str = "\u{e00c}";
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const DOWN: &str = "\u{e015}";
pub(crate) const CONTROL: &str = "\u{e009}";
pub(crate) const SHIFT: &str = "\u{e008}";

/// A colour scheme that a page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    Light,
    Dark,
}

/// One session of a browser; it ends when this is dropped.
pub(crate) struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts one; `None` where there is no chromedriver.
    pub(crate) fn start(theme: Theme) -> Option<Self> {
        let driver =
            Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut driver = match driver {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            driver => driver.unwrap(),
        };
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .find_map(|line| {
                line.unwrap()
                    .split_once("successfully on port ")
                    .map(|(_, rest)| rest.trim_end_matches('.').to_owned())
            })
            .expect("chromedriver says its port");
        // What it says later has to go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(LIMIT))
            .http_status_as_error(false)
            .build()
            .into();
        let profile = tempfile::tempdir().unwrap();
        let scheme = if theme == Theme::Dark { 0 } else { 1 };
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-sync".to_owned(),
            "--window-size=1280,900".to_owned(),
            format!("--blink-settings=preferredColorScheme={scheme}"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        // Unasked, a script has 30 s: axe-core on a large page may need longer.
        let timeouts = json!({"script": LIMIT.as_millis(), "pageLoad": LIMIT.as_millis()});
        let options = json!({"capabilities": {"alwaysMatch": {"timeouts": timeouts, "goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}}}});
        let mut browser =
            Self { driver, agent, session: format!("http://127.0.0.1:{port}/session"), _profile: profile };
        let answer = browser.post("", options);
        browser.session = format!("{}/{}", browser.session, answer["sessionId"].as_str().unwrap());
        Some(browser)
    }

    fn post(&self, path: &str, body: Value) -> Value {
        self.try_post(path, body).unwrap_or_else(|refused| panic!("{path}: {refused}"))
    }

    fn try_post(&self, path: &str, body: Value) -> Result<Value, String> {
        let url = format!("{}{path}", self.session);
        let mut reply =
            self.agent.post(&url).header("content-type", "application/json").send(body.to_string()).unwrap();
        let text = reply.body_mut().read_to_string().unwrap();
        if !reply.status().is_success() {
            return Err(text);
        }
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        Ok(answer["value"].take())
    }

    pub(crate) fn open(&self, url: &str) {
        self.post("/url", json!({"url": url}));
    }

    /// A command of Chromium's own protocol, which WebDriver has none for.
    fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": parameters}))
    }

    /// Makes the page so wide and high, in pixels, with scrollbars that take no room, as phones have; a window could not
    /// be narrower than 500.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        self.devtools("Emulation.setScrollbarsHidden", json!({"hidden": true}));
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size);
    }

    /// Asks pages for a theme from now on.
    pub(crate) fn prefer(&self, theme: Theme) {
        let value = if theme == Theme::Dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.devtools("Emulation.setEmulatedMedia", features);
    }

    /// Shows pages as they are printed, for who prefers dark ones on the screen.
    pub(crate) fn print(&self) {
        let features = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
        self.devtools("Emulation.setEmulatedMedia", json!({"media": "print", "features": features}));
    }

    /// Shows pages in the reader's own few colours, as a system's high contrast does.
    pub(crate) fn force_colours(&self) {
        let features = json!({"features": [{"name": "forced-colors", "value": "active"}]});
        self.devtools("Emulation.setEmulatedMedia", features);
    }

    /// Fetches everything again at each visit, as somebody does who comes for the first time.
    pub(crate) fn forget_what_was_fetched(&self) {
        self.devtools("Network.enable", json!({}));
        self.devtools("Network.setCacheDisabled", json!({"cacheDisabled": true}));
    }

    /// What is to be seen, as the base64 text of a PNG.
    pub(crate) fn picture(&self) -> String {
        let picture = self.devtools("Page.captureScreenshot", json!({"format": "png"}));
        picture["data"].as_str().unwrap().to_owned()
    }

    /// Runs a script in the page and gives what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({"script": script, "args": []}))
    }

    /// Runs a script that calls its last argument when it is done.
    pub(crate) fn run_until_called(&self, script: &str) -> Value {
        self.post("/execute/async", json!({"script": script, "args": []}))
    }

    /// Waits until a script returns true. What it throws is not true yet: a page that is being left or built has no body.
    pub(crate) fn wait(&self, script: &str) {
        let began = Instant::now();
        let question = json!({"script": format!("return Boolean({script})"), "args": []});
        loop {
            let answer = self.try_post("/execute/sync", question.clone());
            if answer == Ok(json!(true)) {
                return;
            }
            let page = || self.run("return location.href + '\\n' + document.body.innerText");
            assert!(began.elapsed() < LIMIT, "{script} did not come true ({answer:?}) at {}", page());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Gives the browser an authenticator of its own, as a laptop has, whose user is verified by it.
    pub(crate) fn add_authenticator(&self) {
        self.post(
            "/webauthn/authenticator",
            json!({
                "protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true,
                "isUserVerified": true, "isUserConsenting": true,
            }),
        );
    }

    /// Forgets the cookies of where it is.
    pub(crate) fn forget_cookies(&self) {
        let answer = self.agent.delete(format!("{}/cookie", self.session)).call().unwrap();
        assert!(answer.status().is_success());
    }

    /// Writes into a field.
    pub(crate) fn fill(&self, selector: &str, text: &str) {
        self.wait(&format!("document.querySelector({})", json!(selector)));
        self.run(&format!("document.querySelector({}).focus()", json!(selector)));
        self.keys(text);
    }

    /// Presses what matches, by keyboard.
    pub(crate) fn press(&self, selector: &str) {
        self.fill(selector, ENTER);
    }

    /// Types keys one after the other, to whatever has the focus.
    pub(crate) fn keys(&self, keys: &str) {
        let each = keys.chars().flat_map(|key| {
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
        });
        self.act(each.collect());
    }

    /// One key while another is held.
    pub(crate) fn chord(&self, held: &str, key: &str) {
        let step = |kind: &str, key: &str| json!({"type": kind, "value": key});
        self.act(vec![step("keyDown", held), step("keyDown", key), step("keyUp", key), step("keyUp", held)]);
    }

    fn act(&self, actions: Vec<Value>) {
        self.post("/actions", json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}));
    }

    /// Gives the cookie of somebody who is signed in.
    pub(crate) fn sign_in(&self, cookie: &str) {
        let (name, value) = cookie.split_once('=').unwrap();
        self.post("/cookie", json!({"cookie": {"name": name, "value": value, "path": "/"}}));
    }

    /// Tabs until what has the focus matches a selector.
    pub(crate) fn tab_to(&self, selector: &str) {
        for _ in 0..80 {
            if self.run(&format!("return document.activeElement.matches({})", json!(selector))) == json!(true)
            {
                return;
            }
            self.keys(TAB);
        }
        panic!("the keyboard does not reach {selector}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
