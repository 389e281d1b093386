use archipelago_server::config::ConflictStrategyName;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json as value};
use tokio::time::timeout;

use crate::support::{DEADLINE, NAMESPACE, Served, is_problem};

/// One event of a stream.
#[derive(Debug, Default, PartialEq)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

/// A stream that is read event by event.
struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn open(served: &Served, query: &str, last: Option<&str>) -> Stream {
        let request = served.client.get(served.url(&format!("/v1/namespaces/{NAMESPACE}/changes{query}")));
        let request = match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        };
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        Stream { response, text: String::new() }
    }

    /// The next event; `None` once the stream is over.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let parsed = parse(event);
                self.text = rest.to_owned();
                if parsed.name.is_empty() {
                    continue;
                }
                return Some(parsed);
            }
            let chunk = timeout(DEADLINE, self.response.chunk()).await.expect("an event").ok()??;
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }
}

fn parse(text: &str) -> Event {
    let mut event = Event::default();
    for line in text.lines() {
        match line.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some(("event", name)) => event.name = name.to_owned(),
            Some(("id", id)) => event.id = id.to_owned(),
            Some(("data", data)) => event.data = serde_json::from_str(data).expect("JSON"),
            _ => {}
        }
    }
    event
}

#[tokio::test]
async fn who_follows_sees_each_change_and_goes_on_where_it_was() {
    let served = Served::alone().await;
    let mut stream = Stream::open(&served, "", None).await;
    assert_eq!(stream.next().await.unwrap().name, "position");
    served.put("a", &value!({ "n": 1 })).await;
    let first = stream.next().await.unwrap();
    assert_eq!(
        (&*first.name, &first.data["id"], &first.data["value"]),
        ("change", &value!("a"), &value!({ "n": 1 }))
    );
    drop(stream);
    served.put("b", &value!(2)).await;
    served.put("b", &value!(3)).await;
    served.client.delete(served.entity("a")).send().await.unwrap();
    let mut stream = Stream::open(&served, "", Some(&first.id)).await;
    assert_eq!(
        stream.next().await.unwrap(),
        Event { name: "position".into(), id: first.id, data: value!({}) }
    );
    let second = stream.next().await.unwrap();
    assert_eq!((&second.data["id"], &second.data["value"]), (&value!("b"), &value!(3)));
    let third = stream.next().await.unwrap();
    assert_eq!((&third.data["id"], &third.data["is_removed"]), (&value!("a"), &value!(true)));
}

#[tokio::test]
async fn from_the_beginning_means_everything_of_the_prefix() {
    let served = Served::alone().await;
    for number in 0..30 {
        served.put(&format!("in%2F{number}"), &value!(number)).await;
        served.put(&format!("out%2F{number}"), &value!(number)).await;
    }
    let mut stream = Stream::open(&served, "?since=0&prefix=in/", None).await;
    assert_eq!(stream.next().await.unwrap().name, "position");
    for number in 0..30 {
        let event = stream.next().await.unwrap();
        assert_eq!(event.data["id"], format!("in/{number}"));
    }
}

#[tokio::test]
async fn streams_are_bounded_and_end_with_the_node() {
    let served = Served::with(ConflictStrategyName::Lww, |config| config.http.streams_max = 1).await;
    let mut stream = Stream::open(&served, "", None).await;
    assert_eq!(stream.next().await.unwrap().name, "position");
    let path = served.url(&format!("/v1/namespaces/{NAMESPACE}/changes"));
    let refused = served.client.get(path).send().await.unwrap();
    is_problem(refused, StatusCode::SERVICE_UNAVAILABLE, "busy").await;
    let Served { node, folder, .. } = served;
    let drained = timeout(DEADLINE, node.drain()).await.expect("an end");
    assert!(!drained.was_cut_off);
    assert_eq!(stream.next().await, None);
    drop(folder);
}
