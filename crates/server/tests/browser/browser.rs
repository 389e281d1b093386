//! A browser, and what a person does with it.

use std::{env, fmt::Display, path::Path, sync::LazyLock, time::Duration};

use archipelago_server::ApiToken;
use fantoccini::{
    Client, ClientBuilder, Locator,
    elements::Element,
    wd::{TimeoutConfiguration, WindowHandle},
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json as value};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    chromedriver::Chromedriver,
    support::{DEADLINE, NAMESPACE, Served},
};

const WIDTH: u32 = 1_280;
const HEIGHT: u32 = 940;

/// The largest picture of the documentation, in bytes.
const PICTURE_BYTES_MAX: usize = 200_000;

/// One at a time: a browser takes as much of a machine as it can get.
static PLACE: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

pub(crate) struct Browser {
    pub(crate) client: Client,
    session: String,
    driver: Chromedriver,
    _place: MutexGuard<'static, ()>,
}

impl Browser {
    pub(crate) async fn start() -> Browser {
        let place = PLACE.lock().await;
        let driver = Chromedriver::start().await;
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            format!("--window-size={WIDTH},{HEIGHT}"),
            format!("--user-data-dir={}", driver.profile.path().display()),
        ];
        let capabilities = value!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("it is a map") };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client =
            builder.capabilities(capabilities).connect(&driver.url).await.expect("a session of Chromium");
        let limits = TimeoutConfiguration::new(Some(DEADLINE), Some(DEADLINE), Some(Duration::ZERO));
        client.update_timeouts(limits).await.expect("time limits");
        let session = client.session_id().await.expect("an answer").expect("a session");
        Browser { client, session, driver, _place: place }
    }

    /// Opens a view of a node's dashboard.
    pub(crate) async fn open(&self, node: &Served, view: &str) {
        self.client.goto(&node.url(&format!("/#/{NAMESPACE}/{view}"))).await.expect("the page");
    }

    /// The same in a window of its own.
    pub(crate) async fn window(&self, node: &Served, view: &str) -> WindowHandle {
        let window = self.client.new_window(true).await.expect("a window").handle;
        self.turn_to(&window).await;
        self.open(node, view).await;
        window
    }

    pub(crate) async fn turn_to(&self, window: &WindowHandle) {
        self.client.switch_to_window(window.clone()).await.expect("the window");
    }

    pub(crate) async fn sign_in(&self, token: &ApiToken) {
        self.fill("#token", token.reveal()).await;
        self.click("#login button[type=submit]").await;
        self.until("!document.getElementById('shell').hidden").await;
    }

    /// The element, once it is there and can be seen.
    pub(crate) async fn find(&self, selector: &str) -> Element {
        self.until(format!("document.querySelector({})?.checkVisibility()", value!(selector))).await;
        self.client.find(Locator::Css(selector)).await.expect("the element")
    }

    /// Clicks as a person does: where the element is, if nothing covers it.
    pub(crate) async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        element.click().await.unwrap_or_else(|error| panic!("{selector} cannot be clicked: {error}"));
    }

    /// Types into a field in the place of what is in it.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        let field = self.find(selector).await;
        field.clear().await.expect("an empty field");
        field.send_keys(text).await.expect("a text");
    }

    /// Presses keys, wherever the focus is.
    pub(crate) async fn press(&self, keys: impl Display) {
        let element = self.client.active_element().await.expect("a focus");
        element.send_keys(&keys.to_string()).await.expect("keys");
    }

    pub(crate) async fn text(&self, selector: &str) -> String {
        self.find(selector).await.text().await.expect("a text")
    }

    /// What a function of the page gives.
    pub(crate) async fn ask(&self, body: &str) -> Value {
        self.client.execute(body, Vec::new()).await.expect("an answer of the page")
    }

    /// Waits, in the page, until a condition holds.
    pub(crate) async fn until(&self, condition: impl Display) {
        let script = format!(
            "const [done] = arguments; const holds = () => {{ if ({condition}) done(true); else setTimeout(holds, 20); }}; holds();"
        );
        if let Err(error) = self.client.execute_async(&script, Vec::new()).await {
            let shown = self.client.execute("return document.body.innerText", Vec::new()).await;
            panic!(
                "never: {condition}\n{error}\nThe page shows:\n{}",
                shown.unwrap_or_default().as_str().unwrap_or("nothing")
            );
        }
    }

    pub(crate) async fn until_text(&self, selector: &str, text: &str) {
        let (selector, text) = (value!(selector), value!(text));
        self.until(format!("document.querySelector({selector})?.textContent.includes({text})")).await;
    }

    /// What the system prefers: `light` or `dark`.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let features = value!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let command = value!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.command("goog/cdp/execute", &command).await;
    }

    /// Keeps a picture for the documentation, if `ARCHIPELAGO_SCREENSHOTS` is 1.
    pub(crate) async fn picture(&self, name: &str) {
        if env::var_os("ARCHIPELAGO_SCREENSHOTS").is_none_or(|wanted| wanted != "1") {
            return;
        }
        self.until("document.getElementById('announcement').textContent === ''").await;
        let picture = self.client.screenshot().await.expect("a picture");
        assert!(picture.len() < PICTURE_BYTES_MAX, "{name} has {} bytes", picture.len());
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/images");
        std::fs::create_dir_all(&folder).expect("the folder");
        std::fs::write(folder.join(format!("dashboard-{name}.png")), picture).expect("the file");
    }

    /// Ends it, after a look at what the browser had to complain about: what a policy forbade, mistakes of scripts, whatever
    /// could not be loaded. `expected` are the statuses that the test provoked.
    pub(crate) async fn end(self, expected: &[u16]) {
        let log = self.command("se/log", &value!({ "type": "browser" })).await;
        let entries = log["value"].as_array().expect("a log").clone();
        let is_expected =
            |text: &str| expected.iter().any(|status| text.contains(&format!("status of {status}")));
        let complaints: Vec<&str> = entries
            .iter()
            .filter(|entry| ["WARNING", "SEVERE"].contains(&entry["level"].as_str().unwrap_or_default()))
            .filter_map(|entry| entry["message"].as_str())
            .filter(|message| !is_expected(message))
            .collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
        let elsewhere = self
            .ask("return performance.getEntriesByType('resource').map(({ name }) => name).filter((name) => !name.startsWith(location.origin))")
            .await;
        assert_eq!(elsewhere, value!([]), "the page asked another site");
        self.client.close().await.expect("the end of the session");
    }

    /// A command that is Chromium's own.
    async fn command(&self, name: &str, body: &Value) -> Value {
        let url = format!("{}/session/{}/{name}", self.driver.url, self.session);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let answer =
            reqwest::Client::new().post(url).json(body).send().await.expect("an answer of chromedriver");
        answer.json().await.expect("JSON")
    }
}
