//! HAProxy with the file that is shipped.

use std::{
    collections::BTreeMap,
    env, io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
};

use reqwest::{Client, StatusCode};
use tokio::process::{Child, Command};

use crate::support::{DEADLINE, NAMESPACE, until};

/// How often other ports are tried: between finding them free and using them, somebody else may.
const PORT_TRIES_MAX: usize = 5;

/// An HAProxy. It ends with this.
pub(crate) struct Haproxy {
    address: SocketAddr,
    stats: SocketAddr,
    pub(crate) client: Client,
    process: Child,
}

/// A server of a backend, as HAProxy sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) is_up: bool,
    /// How many requests it got.
    pub(crate) requests: u64,
}

impl Haproxy {
    /// Before three nodes.
    pub(crate) async fn start(nodes: [SocketAddr; 3]) -> Haproxy {
        for _ in 0..PORT_TRIES_MAX {
            if let Some(proxy) = Self::start_at(free_ports().expect("free ports"), nodes).await {
                return proxy;
            }
        }
        panic!("HAProxy did not start with the shipped file");
    }

    async fn start_at([address, stats]: [SocketAddr; 2], nodes: [SocketAddr; 3]) -> Option<Haproxy> {
        let program = env::var_os("HAPROXY").map_or_else(|| PathBuf::from("haproxy"), PathBuf::from);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/haproxy.cfg");
        let mut command = Command::new(&program);
        command.arg("-db").arg("-f").arg(file);
        command.env("ARCHIPELAGO_BIND", address.to_string()).env("ARCHIPELAGO_STATS", stats.to_string());
        for (number, node) in (1..).zip(nodes) {
            command.env(format!("ARCHIPELAGO_NODE_{number}"), node.to_string());
        }
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn();
        let process = process.unwrap_or_else(|error| {
            panic!("cannot run {}: {error}; `cargo xtask deploy` says what is needed", program.display())
        });
        let client = Client::builder().timeout(DEADLINE).build().expect("a client");
        let mut proxy = Haproxy { address, stats, client, process };
        let started = until("HAProxy answers, or ends", async || {
            if proxy.process.try_wait().expect("its state").is_some() {
                return Some(false);
            }
            proxy.client.get(format!("http://{}/", proxy.stats)).send().await.is_ok().then_some(true)
        });
        started.await.then_some(proxy)
    }

    pub(crate) fn entity(&self, id: &str) -> String {
        format!("http://{}/v1/namespaces/{NAMESPACE}/entities/{id}", self.address)
    }

    /// The servers of a backend, by name.
    pub(crate) async fn servers(&self, backend: &str) -> BTreeMap<String, Seen> {
        let page = self.client.get(format!("http://{}/;csv", self.stats)).send().await.expect("an answer");
        assert_eq!(page.status(), StatusCode::OK);
        let page = page.text().await.expect("text");
        let mut lines = page.lines();
        let head: Vec<_> = lines.next().expect("a heading").trim_start_matches("# ").split(',').collect();
        let column = |name: &str| head.iter().position(|column| *column == name).expect("the column");
        let (of, server) = (column("pxname"), column("svname"));
        let (status, check, requests) = (column("status"), column("check_status"), column("stot"));
        let rows = lines.map(|line| line.split(',').collect::<Vec<_>>());
        rows.filter(|row| row[of] == backend && !matches!(row[server], "FRONTEND" | "BACKEND"))
            .map(|row| {
                let requests = row[requests].parse().expect("a number");
                // Whoever was not asked yet counts as up, too.
                let is_asked = row[check].trim_start_matches("* ").starts_with('L');
                (row[server].to_owned(), Seen { is_up: is_asked && row[status].starts_with("UP"), requests })
            })
            .collect()
    }

    /// Which servers of a backend get requests.
    pub(crate) async fn up(&self, backend: &str) -> Vec<String> {
        let servers = self.servers(backend).await;
        servers.into_iter().filter(|(_, seen)| seen.is_up).map(|(name, _)| name).collect()
    }

    /// Waits until one leads and so many are read from, as HAProxy sees them.
    pub(crate) async fn sees(&self, readers: &[&str]) -> String {
        until("HAProxy sees one leader, and the readers that there are", async || {
            let leader = self.up("leader").await;
            (leader.len() == 1 && self.up("readers").await == readers).then(|| leader[0].clone())
        })
        .await
    }
}

fn free_ports() -> io::Result<[SocketAddr; 2]> {
    // Both are held until both are known, so that they differ.
    let held = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    Ok([held[0].local_addr()?, held[1].local_addr()?])
}
