use crate::{browser::Browser, support::Served};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_light_or_dark_as_the_system_has_it_until_someone_chooses() {
    let served = Served::alone().await;
    let browser = Browser::start().await;
    browser.open(&served, "islands").await;
    let background = async || browser.ask("return getComputedStyle(document.body).backgroundColor").await;
    browser.prefer("light").await;
    let light = background().await;
    browser.prefer("dark").await;
    let dark = background().await;
    assert_ne!(light, dark);
    // From the system's to light, and on to dark.
    browser.press('t').await;
    assert_eq!(background().await, light);
    browser.client.refresh().await.unwrap();
    browser.until_text("#node", "us-east").await;
    assert_eq!(background().await, light);
    browser.prefer("light").await;
    browser.click("#theme").await;
    assert_eq!(background().await, dark);
    browser.end(&[]).await;
}
