//! Texts that many edit at once, as fields of plain structs.

mod support;

use archipelago_conflict::Strategy;
use archipelago_crdt::Text;
use archipelago_manager::MultiMasterManager;
use archipelago_pipeline::Pipeline;
use serde::{Deserialize, Serialize};
use support::{NAMESPACE, archipelago, broker, converge};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Page {
    title: String,
    body: Text,
}

async fn edit(
    master: &MultiMasterManager,
    edit: impl FnOnce(&str) -> (usize, &'static str) + Send + 'static,
) {
    let me = master.master_id().clone();
    let update = master.update("page/1", move |page: &mut Page| {
        let (index, text) = edit(page.body.as_str());
        page.body.insert(&me, index, text).map(drop)
    });
    update.await.expect("a write");
}

#[tokio::test]
async fn of_an_edit_only_the_difference_travels() {
    let broker = broker();
    let islands = archipelago(&broker, Strategy::CrdtMerge).await;
    let [us, eu, ap] = islands.each_ref().map(|island| &island.master);
    let mut page = Page { title: "Islands".into(), body: Text::new() };
    page.body.push_str(&us.master_id(), &"All islands are one. ".repeat(2_500)).unwrap();
    us.write("page/1", &page).await.unwrap();
    converge(&[us, eu, ap]).await;
    let pipeline = broker.pipeline(NAMESPACE);
    let before = pipeline.state().await.unwrap().last_sequence;

    edit(us, |body| (body.len() / 2, "x")).await;
    converge(&[us, eu, ap]).await;
    let mut log = pipeline.subscribe(before).await.unwrap();
    let largest = async {
        let last = pipeline.state().await.unwrap().last_sequence;
        let mut largest = 0;
        for _ in before..last {
            largest = largest.max(log.next().await.unwrap().payload.unwrap().len());
        }
        largest
    };
    let largest = largest.await;
    assert!(largest < 300, "a message of {largest} bytes for one character in 52,500");
    let read: Page = ap.read("page/1").await.unwrap().unwrap();
    assert_eq!(read.body.len(), 52_501);
}

#[tokio::test]
async fn edits_on_both_sides_of_a_partition_all_stay() {
    let broker = broker();
    let islands = archipelago(&broker, Strategy::CrdtMerge).await;
    let [us, eu, ap] = islands.each_ref().map(|island| &island.master);
    edit(us, |_| (0, "Hello world")).await;
    converge(&[us, eu, ap]).await;
    islands[2].link.cut();
    edit(us, |_| (0, "<")).await;
    edit(ap, |body| (body.len(), "!")).await;
    edit(eu, |_| (5, ",")).await;
    edit(ap, |body| (body.len(), "?>")).await;
    islands[2].link.heal();
    converge(&[us, eu, ap]).await;
    for master in [us, eu, ap] {
        let page: Page = master.read("page/1").await.unwrap().unwrap();
        assert!(
            page.body.as_str().starts_with('<') && page.body.as_str().ends_with("world!?>"),
            "{}",
            page.body
        );
        assert_eq!(page.body.len(), "<Hello, world!?>".len());
    }
}
