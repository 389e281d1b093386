//! Nodes of which one at a time writes, through a real NATS server.

use archipelago_server::config::{ConflictStrategyName, Mode};
use archipelago_testkit::nats::NatsServer;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json as value};
use tokio::time::timeout;

use crate::{
    health::until_ready,
    support::{DEADLINE, NAMESPACE, Served, header, is_problem, json, until},
};

/// What followers do with writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Followers {
    Refuse,
    Forward,
}

async fn node(nats: &NatsServer, name: &str, followers: Followers) -> Served {
    Served::with(ConflictStrategyName::Lww, |config| {
        config.node.name = Some(name.to_owned());
        config.nats.servers = vec![nats.url()];
        let namespace = config.namespaces.get_mut(NAMESPACE).expect("the namespace");
        namespace.mode = Mode::LeaderFollower;
        namespace.lease_ms = 2_000;
        namespace.forward_writes = followers == Followers::Forward;
    })
    .await
}

async fn three(nats: &NatsServer, followers: Followers) -> Vec<Served> {
    let mut nodes = Vec::new();
    for name in ["paris", "oslo", "rome"] {
        nodes.push(node(nats, name, followers).await);
    }
    for node in &nodes {
        until_ready(node).await;
    }
    nodes
}

async fn status(served: &Served, path: &str) -> StatusCode {
    served.request(Method::GET, path).send().await.expect("an answer").status()
}

/// Which node leads, once exactly one can show it and the others know its address.
async fn leader_of(nodes: &[Served]) -> usize {
    until("one leads, and all know where", async || {
        let mut leading = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            if status(node, "/health/leader").await == StatusCode::OK {
                leading.push(at);
            }
        }
        let [leader] = leading[..] else { return None };
        for node in nodes {
            let known = node.json("/cluster/status").await;
            let known = &known["namespaces"][NAMESPACE]["leadership"]["leader"]["address"];
            if *known != nodes[leader].url("") {
                return None;
            }
        }
        Some(leader)
    })
    .await
}

async fn send(node: &Served, method: Method, path: &str, body: Value) -> Response {
    node.request(method, path).json(&body).send().await.expect("an answer")
}

fn entity(id: &str) -> String {
    format!("/v1/namespaces/{NAMESPACE}/entities/{id}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_refuses_writes_and_names_the_leader_until_another_one_leads() {
    let nats = NatsServer::start().await.expect("a NATS server");
    let mut nodes = three(&nats, Followers::Refuse).await;
    let leader = leader_of(&nodes).await;
    let follower = (leader + 1) % 3;

    // A follower names the leader, and the same request is taken there.
    let refused = nodes[follower].put("a", &value!({ "n": 1 })).await;
    let address = header(&refused, "archipelago-leader");
    assert_eq!(address, nodes[leader].url(""));
    let body = json(refused).await;
    assert_eq!(body["type"], "urn:archipelago:problem:not-leader");
    assert_eq!(body["leader"]["address"], address);
    let put = nodes[follower].client.put(format!("{address}{}", entity("a"))).json(&value!({ "n": 1 }));
    let put = put.send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    let (session, tag) = (header(&put, "archipelago-session"), header(&put, "etag"));
    let receipt = json(put).await;
    assert_eq!(format!("\"{}\"", receipt["etag"].as_str().unwrap()), tag);
    assert!(receipt["term"].as_u64().unwrap() > 0 && receipt["dot"].is_null(), "{receipt}");

    // Each node shows it, as new as is asked for.
    for node in &nodes {
        for query in
            ["consistency=linearizable", "consistency=bounded&max_staleness_ms=0", "consistency=session"]
        {
            let url = format!("{}?{query}&wait_ms=10000", node.entity("a"));
            let read = node.client.get(url).header("archipelago-session", &session).send().await.unwrap();
            assert_eq!((read.status(), header(&read, "etag")), (StatusCode::OK, tag.clone()), "{query}");
            assert_eq!(json(read).await, value!({ "n": 1 }));
        }
    }

    // The leader goes, another one takes over and has what was acknowledged.
    let gone = nodes.remove(leader);
    gone.node.drain().await;
    let leader = leader_of(&nodes).await;
    let read = nodes[leader]
        .client
        .get(format!("{}?consistency=linearizable&wait_ms=10000", nodes[leader].entity("a")));
    assert_eq!(json(read.send().await.unwrap()).await, value!({ "n": 1 }));
    assert_eq!(nodes[leader].put("a", &value!({ "n": 2 })).await.status(), StatusCode::OK);
    let replica = format!("/health/replica?max_lag={}", 10);
    until("the follower is fresh", async || {
        (status(&nodes[1 - leader], &replica).await == StatusCode::OK).then_some(())
    })
    .await;
    let metrics = nodes[leader].request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let measured = |name: &str| {
        let line =
            metrics.lines().find_map(|line| line.strip_prefix(&format!("{name}{{namespace=\"shop\"}} ")));
        line.unwrap_or_else(|| panic!("{name}: {metrics}")).parse::<f64>().expect("a number")
    };
    assert!(measured("archipelago_leader") > 0.5 && measured("archipelago_elections_won_total") > 0.5);
    assert!(measured("archipelago_applied_index") > 1.5 && measured("archipelago_term") > 0.5);
    assert!(measured("archipelago_leader_lag_entries") < 0.5);
    assert!(metrics.contains("# HELP archipelago_term "), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_dropped_is_replaced_and_nothing_acknowledged_is_lost() {
    let nats = NatsServer::start().await.expect("a NATS server");
    let mut nodes = three(&nats, Followers::Forward).await;
    let leader = leader_of(&nodes).await;
    for number in 0..20 {
        let put = nodes[number % 3].put(&format!("order%2F{number}"), &value!(number)).await;
        assert_eq!(put.status(), StatusCode::OK);
    }
    drop(nodes.remove(leader).node);
    let leader = leader_of(&nodes).await;
    // A follower passes the write on.
    let put = nodes[1 - leader].put("order%2F20", &value!(20)).await;
    assert_eq!(put.status(), StatusCode::OK, "{}", put.text().await.unwrap());
    let path = format!(
        "/v1/namespaces/{NAMESPACE}/entities?prefix=order/&consistency=linearizable&wait_ms=10000&limit=15"
    );
    let first = nodes[1 - leader].json(&path).await;
    let second =
        nodes[1 - leader].json(&format!("{path}&cursor={}", first["next_cursor"].as_str().unwrap())).await;
    let count = |page: &Value| page["entities"].as_array().unwrap().len();
    assert_eq!((count(&first), count(&second)), (15, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_hold_at_a_follower_that_passes_writes_on() {
    let nats = NatsServer::start().await.expect("a NATS server");
    let nodes = three(&nats, Followers::Forward).await;
    let leader = leader_of(&nodes).await;
    let node = &nodes[(leader + 1) % 3];
    let put = |number: u64| node.client.put(node.entity("a")).json(&value!({ "n": number }));
    let first = put(1).header("if-none-match", "*").send().await.unwrap();
    let tag = header(&first, "etag");
    let again = put(2).header("if-none-match", "*").send().await.unwrap();
    is_problem(again, StatusCode::PRECONDITION_FAILED, "version-mismatch").await;
    let second = put(3).header("if-match", &tag).send().await.unwrap();
    assert_eq!(second.status(), StatusCode::OK);
    is_problem(
        put(4).header("if-match", &tag).send().await.unwrap(),
        StatusCode::PRECONDITION_FAILED,
        "version-mismatch",
    )
    .await;
    let none = node.client.put(node.entity("b")).header("if-match", "*").json(&1).send().await.unwrap();
    is_problem(none, StatusCode::PRECONDITION_FAILED, "version-mismatch").await;
    let missing = node.client.delete(node.entity("b")).send().await.unwrap();
    is_problem(missing, StatusCode::NOT_FOUND, "no-such-entity").await;

    // Patches of one entity at several nodes at the same time lose nothing.
    let patches = (0..30).map(|number| {
        let node = &nodes[number % 3];
        node.client.patch(node.entity("a")).json(&value!({ format!("f{number}"): number })).send()
    });
    for answer in futures::future::join_all(patches).await {
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    }
    let url = format!("{}?consistency=linearizable&wait_ms=10000", node.entity("a"));
    let whole = json(node.client.get(url).send().await.unwrap()).await;
    assert_eq!(whole.as_object().unwrap().len(), 31, "{whole}");

    let batch = value!({ "operations": [
        { "op": "put", "id": "c", "value": 1 },
        { "op": "put", "id": "a", "value": 1, "if_match": tag.trim_matches('"') },
        { "op": "delete", "id": "nothing" },
    ] });
    let results =
        json(send(node, Method::POST, &format!("/v1/namespaces/{NAMESPACE}/batch"), batch).await).await;
    let statuses: Vec<_> =
        results["results"].as_array().unwrap().iter().map(|result| &result["status"]).collect();
    assert_eq!(statuses, [200, 412, 404]);
    let majority =
        send(node, Method::PUT, &format!("{}?ack=majority&wait_ms=10000", entity("d")), value!(1)).await;
    assert_eq!(majority.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_changes_who_leads_and_has_a_follower_take_the_state_anew() {
    let nats = NatsServer::start().await.expect("a NATS server");
    let nodes = three(&nats, Followers::Refuse).await;
    let leader = leader_of(&nodes).await;
    for number in 0..10 {
        assert_eq!(nodes[leader].put(&format!("k{number}"), &value!(number)).await.status(), StatusCode::OK);
    }
    let path = |verb: &str| format!("/v1/namespaces/{NAMESPACE}/{verb}");
    let at_follower = send(&nodes[(leader + 1) % 3], Method::POST, &path("demote"), value!({})).await;
    is_problem(at_follower, StatusCode::SERVICE_UNAVAILABLE, "not-leader").await;
    let next = (leader + 1) % 3;
    let promoted = send(&nodes[next], Method::POST, &path("promote"), value!({})).await;
    assert_eq!(promoted.status(), StatusCode::OK);
    assert_eq!(json(promoted).await["role"], "leader");
    assert_eq!(leader_of(&nodes).await, next);

    let follower = &nodes[(next + 1) % 3];
    let order = value!({ "namespace": NAMESPACE });
    let at_leader = send(&nodes[next], Method::POST, "/cluster/resync", order.clone()).await;
    is_problem(at_leader, StatusCode::CONFLICT, "not-eligible").await;
    let begun = send(follower, Method::POST, "/cluster/resync", order).await;
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    until("the state is taken", async || {
        let counts = follower.json("/cluster/resync").await;
        let counts = &counts["namespaces"][NAMESPACE];
        (counts["successes"] == 1 && counts["is_resyncing"] == false).then_some(())
    })
    .await;
    let url = format!("{}?consistency=linearizable&wait_ms=10000", follower.entity("k9"));
    assert_eq!(json(follower.client.get(url).send().await.unwrap()).await, value!(9));

    until("three nodes, of which one leads", async || {
        let members = follower.json(&path("members")).await;
        let members = members["members"].as_array().unwrap();
        let leading = members.iter().filter(|member| member["state"] == "leader").count();
        (members.len() == 3 && leading == 1).then_some(())
    })
    .await;
    let listed = follower.json("/cluster/nodes").await;
    let addresses: Vec<_> =
        listed["nodes"].as_array().unwrap().iter().map(|node| node["address"].is_string()).collect();
    assert_eq!(addresses, [true; 3], "{listed}");
    assert_eq!(follower.json(&path("quarantine")).await["orphans"], value!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_masters_do_is_refused_by_its_name() {
    let nats = NatsServer::start().await.expect("a NATS server");
    let led = node(&nats, "paris", Followers::Refuse).await;
    until_ready(&led).await;
    for path in [
        "conflicts",
        "conflicts/past",
        "entities/a/versions",
        "entities/a/explain",
        "entities/a/counters/n",
        "snapshots",
    ] {
        let answer =
            led.request(Method::GET, &format!("/v1/namespaces/{NAMESPACE}/{path}")).send().await.unwrap();
        is_problem(answer, StatusCode::CONFLICT, "wrong-mode").await;
    }
    let context =
        led.client.put(led.entity("a")).header("archipelago-context", "x").json(&1).send().await.unwrap();
    is_problem(context, StatusCode::CONFLICT, "wrong-mode").await;
    for query in ["consistency=bounded", "max_staleness_ms=5", "consistency=session", "consistency=odd"] {
        let answer = led.client.get(format!("{}?{query}", led.entity("a"))).send().await.unwrap();
        is_problem(answer, StatusCode::BAD_REQUEST, "invalid-request").await;
    }

    let master = Served::alone().await;
    for verb in ["promote", "demote"] {
        let answer =
            send(&master, Method::POST, &format!("/v1/namespaces/{NAMESPACE}/{verb}"), value!({})).await;
        is_problem(answer, StatusCode::CONFLICT, "wrong-mode").await;
    }
    let strict =
        master.client.get(format!("{}?consistency=linearizable", master.entity("a"))).send().await.unwrap();
    is_problem(strict, StatusCode::CONFLICT, "wrong-mode").await;
    assert_eq!(status(&master, "/health/leader").await, StatusCode::SERVICE_UNAVAILABLE);
    let order = send(&master, Method::POST, "/cluster/resync", value!({ "namespace": NAMESPACE })).await;
    is_problem(order, StatusCode::BAD_REQUEST, "invalid-request").await;
}

/// Waits until the node has this write.
async fn shows(node: &Served, written: &Response) {
    assert_eq!(written.status(), StatusCode::OK);
    let listed = node.request(Method::GET, &format!("/v1/namespaces/{NAMESPACE}/entities?wait_ms=10000"));
    let listed = listed.header("archipelago-session", header(written, "archipelago-session")).send().await;
    assert_eq!(listed.expect("an answer").status(), StatusCode::OK);
}

/// The next event: its name, its id and its data.
async fn next_event(stream: &mut Response, buffer: &mut String) -> (String, String, Value) {
    let found = async {
        loop {
            if let Some(end) = buffer.find("\n\n") {
                let event: String = buffer.drain(..end + 2).collect();
                let part = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                    line.unwrap_or_default().trim().to_owned()
                };
                if !part("event").is_empty() {
                    return (part("event"), part("id"), serde_json::from_str(&part("data")).expect("JSON"));
                }
                continue;
            }
            let chunk = stream.chunk().await.expect("a stream").expect("more");
            buffer.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    };
    timeout(DEADLINE, found).await.expect("an event in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_changes_goes_on_at_another_node_where_it_ended() {
    let nats = NatsServer::start().await.expect("a NATS server");
    let nodes = three(&nats, Followers::Forward).await;
    leader_of(&nodes).await;
    let changes = format!("/v1/namespaces/{NAMESPACE}/changes");
    let before = nodes[0].put("before", &value!(0)).await;
    shows(&nodes[0], &before).await;
    let mut stream = nodes[0].request(Method::GET, &changes).send().await.unwrap();
    let mut buffer = String::new();
    assert_eq!(next_event(&mut stream, &mut buffer).await.0, "position");
    nodes[1].put("a", &value!(1)).await;
    let (name, id, data) = next_event(&mut stream, &mut buffer).await;
    assert_eq!((&*name, &data["id"], &data["value"]), ("change", &value!("a"), &value!(1)));
    drop(stream);
    nodes[1].put("b", &value!(2)).await;
    let removed = nodes[2].client.delete(nodes[2].entity("a")).send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::OK);
    let mut stream =
        nodes[2].request(Method::GET, &changes).header("last-event-id", id).send().await.unwrap();
    let mut buffer = String::new();
    assert_eq!(next_event(&mut stream, &mut buffer).await.0, "position");
    let (name, _, data) = next_event(&mut stream, &mut buffer).await;
    assert_eq!((&*name, &data["id"]), ("change", &value!("b")));
    let (name, _, data) = next_event(&mut stream, &mut buffer).await;
    assert_eq!((&*name, &data["id"], &data["is_removed"]), ("change", &value!("a"), &value!(true)));

    // From the beginning, everything there is.
    shows(&nodes[0], &removed).await;
    let all = format!("{changes}?since=0");
    let mut stream = nodes[0].request(Method::GET, &all).send().await.unwrap();
    let mut buffer = String::new();
    let mut names = Vec::new();
    for _ in 0..4 {
        let (name, _, data) = next_event(&mut stream, &mut buffer).await;
        names.push((name, data["id"].as_str().unwrap_or_default().to_owned()));
    }
    let expected = [("position", ""), ("reset", ""), ("change", "b"), ("change", "before")];
    assert_eq!(names, expected.map(|(name, id)| (name.to_owned(), id.to_owned())));
}
