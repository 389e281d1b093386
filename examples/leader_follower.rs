//! An order desk on three nodes, of which one at a time leads. While orders are placed and read, the leader is cut off,
//! comes back, and the next one is closed and started again. Who takes over is told with times; in the end every order that
//! was acknowledged is on all three, once.
//!
//! `cargo run -p archipelago-examples --example leader_follower`, or with `-- --nats nats://127.0.0.1:4222` behind it over a
//! real broker, which keeps a stream and a bucket under a new name each time.
#![allow(clippy::print_stdout, reason = "an example is there to be watched")]

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use archipelago::{
    FjallStore, LeaderFollowerManager, MemoryBroker, NatsConfig, NatsPipeline, Switch,
    leader_follower::{Notification, ReadConsistency, ReadRouter, SessionClient, Write, WriteError},
    pipeline::Pipeline,
};
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long anything that must happen is waited for.
const DEADLINE: Duration = Duration::from_secs(30);
/// A leader that is gone keeps others from leading for so long. The default is 3 seconds.
const LEASE: Duration = Duration::from_secs(1);
const CLERKS: u64 = 4;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    article: String,
    pieces: u64,
}

impl Order {
    fn of(clerk: u64, number: u64) -> Order {
        Order { article: format!("lamp {clerk}"), pieces: number % 7 + 1 }
    }
}

/// What carries the log: the broker of this program, or a real one.
#[derive(Clone)]
enum Broker {
    Embedded(MemoryBroker),
    Nats { url: String, namespace: String },
}

impl Broker {
    fn namespace(&self) -> &str {
        match self {
            Broker::Embedded(_) => "orders",
            Broker::Nats { namespace, .. } => namespace,
        }
    }

    async fn connect(&self) -> Outcome<Arc<dyn Pipeline>> {
        Ok(match self {
            Broker::Embedded(broker) => Arc::new(broker.pipeline("orders")),
            Broker::Nats { url, namespace } => {
                Arc::new(NatsPipeline::connect(NatsConfig::new(url, namespace)).await?)
            }
        })
    }
}

/// One node, and the link by which it reaches the others.
struct Node {
    name: &'static str,
    folder: PathBuf,
    broker: Broker,
    link: Switch,
    running: Mutex<Running>,
    began: Instant,
}

struct Running {
    manager: LeaderFollowerManager,
    /// Tells what happens to it.
    telling: AbortHandle,
}

impl Node {
    async fn start(name: &'static str, broker: &Broker, home: &Path, began: Instant) -> Outcome<Node> {
        let link = Switch::new(broker.connect().await?);
        let folder = home.join(name);
        let running = Mutex::new(open(name, broker, &folder, &link, began).await?);
        Ok(Node { name, folder, broker: broker.clone(), link, running, began })
    }

    fn manager(&self) -> LeaderFollowerManager {
        self.running.lock().expect("nobody panics with it").manager.clone()
    }

    /// Starts again on the folder that the node had before.
    async fn start_again(&self) -> Outcome {
        let running = open(self.name, &self.broker, &self.folder, &self.link, self.began).await?;
        *self.running.lock().expect("nobody panics with it") = running;
        Ok(())
    }

    fn tell_no_more(&self) {
        self.running.lock().expect("nobody panics with it").telling.abort();
    }
}

async fn open(
    name: &'static str,
    broker: &Broker,
    folder: &Path,
    link: &Switch,
    began: Instant,
) -> Outcome<Running> {
    let manager = LeaderFollowerManager::builder()
        .node_id(name)
        .namespace(broker.namespace())
        .store(FjallStore::open(folder)?)
        .pipeline(link.clone())
        .address(format!("http://{name}:8080"))
        .lease(LEASE)
        .start()
        .await?;
    let mut notifications = manager.subscribe();
    let telling = tokio::spawn(async move {
        while let Some(notification) = notifications.next().await {
            match notification {
                Notification::Promoted { term } => tell(began, &format!("  {name} leads, in term {term}")),
                Notification::Demoted { reason, .. } => {
                    tell(began, &format!("  {name} leads no more: {reason}"));
                }
                Notification::LeaderFailed { leader } => {
                    tell(began, &format!("  {name} misses the leader, {}", leader.id));
                }
                Notification::StoreFailed { reason } => {
                    tell(began, &format!("  {name} has a store that failed: {reason}"));
                }
                _ => {}
            }
        }
    });
    Ok(Running { manager, telling: telling.abort_handle() })
}

fn tell(began: Instant, what: &str) {
    println!("{:>7.3} s  {what}", began.elapsed().as_secs_f64());
}

/// The nodes, what reads from them, and what the clerks have done so far.
struct Desk {
    nodes: Vec<Node>,
    router: ReadRouter,
    acknowledged: AtomicU64,
    found_done: AtomicU64,
    is_over: AtomicBool,
}

impl Desk {
    /// One clerk: places orders, and looks up each. Its session shows it what it has placed, whichever node answers.
    async fn work(&self, clerk: u64) -> Outcome<u64> {
        let session = SessionClient::new(self.router.clone());
        for number in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return Ok(number);
            }
            let (key, order) = (format!("order/{clerk}/{number}"), Order::of(clerk, number));
            self.place(&session, &key, &order).await?;
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            let found = session.read(&*key).await?.value;
            if found.as_ref() != Some(&order) {
                return Err(format!("{key} was acknowledged, and its own clerk read {found:?}").into());
            }
        }
        unreachable!("numbers do not end")
    }

    /// Places an order on whichever node leads. Each order has a key of its own and is created: so it may be tried again
    /// after an outcome that is unknown, and is never there twice.
    async fn place(&self, session: &SessionClient, key: &str, order: &Order) -> Outcome {
        let deadline = Instant::now() + DEADLINE;
        let mut is_first_try = true;
        while Instant::now() < deadline {
            match session.write(Write::create(key, order)).await {
                Ok(_) => return Ok(()),
                Err(WriteError::OutcomeUnknown { .. }) => is_first_try = false,
                Err(WriteError::AlreadyExists { .. }) if !is_first_try => {
                    let found = session.read_linearizable(key).await?.value;
                    if found.as_ref() != Some(order) {
                        return Err(format!("{key} holds what nobody wrote: {found:?}").into());
                    }
                    self.found_done.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Err(refused) if refused.is_retryable() => {}
                Err(refused) => return Err(refused.into()),
            }
        }
        Err(format!("nobody took {key} for {DEADLINE:?}").into())
    }

    /// Waits until so many more orders are acknowledged, and says how long that took.
    async fn more(&self, orders: u64) -> Outcome<Duration> {
        let (began, goal) = (Instant::now(), self.acknowledged.load(Ordering::Relaxed) + orders);
        let placed = async {
            while self.acknowledged.load(Ordering::Relaxed) < goal {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(DEADLINE, placed).await.map_err(|_| "no more orders were acknowledged")?;
        Ok(began.elapsed())
    }

    async fn leading(&self) -> Outcome<&Node> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(node) =
                self.nodes.iter().find(|node| node.manager().is_leader() && !node.link.is_cut())
            {
                return Ok(node);
            }
            if Instant::now() > deadline {
                return Err(format!("nobody led for {DEADLINE:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Waits until a node has applied what the leader has by now, and says how long that took.
async fn catch_up(desk: &Desk, node: &Node) -> Outcome<Duration> {
    let began = Instant::now();
    let head = desk.leading().await?.manager().last_applied_sequence();
    if !node.manager().wait_for_sequence(head, DEADLINE).await {
        return Err(format!("{} did not catch up", node.name).into());
    }
    Ok(began.elapsed())
}

/// What happens to the leaders while the clerks work.
async fn trouble(desk: &Desk, began: Instant) -> Outcome {
    let leader = desk.leading().await?;
    desk.more(100).await?;
    tell(began, &format!("{} is cut off from the broker", leader.name));
    leader.link.cut();
    // One that was on its way may still be acknowledged.
    let took = desk.more(CLERKS + 1).await?;
    let next = desk.leading().await?;
    tell(began, &format!("{} takes orders: nobody did for {} ms", next.name, took.as_millis()));
    if took > LEASE * 3 {
        return Err(format!("with a lease of {LEASE:?} that must not take {took:?}").into());
    }
    desk.more(100).await?;

    tell(began, &format!("{} is back", leader.name));
    leader.link.heal();
    let took = catch_up(desk, leader).await?;
    tell(began, &format!("{} has caught up, after {took:.0?}", leader.name));

    let leader = desk.leading().await?;
    tell(began, &format!("{} is closed: it hands over", leader.name));
    let closing = leader.manager();
    let closed = Instant::now();
    let (done, took) = tokio::join!(closing.close(), desk.more(CLERKS + 1));
    done?;
    let next = desk.leading().await?;
    tell(began, &format!("{} takes orders, {:.0?} after that", next.name, took?.min(closed.elapsed())));
    desk.more(100).await?;

    drop(closing);
    leader.start_again().await?;
    desk.router.add(leader.manager());
    let behind = next.manager().last_applied_sequence();
    let had = leader.manager().last_applied_sequence();
    catch_up(desk, leader).await?;
    tell(began, &format!("{} is started again on its folder: it had {had} of {behind} entries", leader.name));
    Ok(())
}

/// All orders that were acknowledged are on every node, and nothing else is.
async fn check(desk: &Desk, placed: &[u64], began: Instant) -> Outcome {
    let head = desk.nodes.iter().map(|node| node.manager().last_applied_sequence()).max().unwrap_or_default();
    let orders: u64 = placed.iter().sum();
    let mut digests = Vec::new();
    for node in &desk.nodes {
        let manager = node.manager();
        if !manager.wait_for_sequence(head, DEADLINE).await {
            return Err(format!("{} did not catch up", node.name).into());
        }
        for (clerk, orders) in (0_u64..).zip(placed) {
            for number in 0..*orders {
                let key = format!("order/{clerk}/{number}");
                let found = manager.read::<Order>(&*key, ReadConsistency::Eventual).await?;
                if found.value != Some(Order::of(clerk, number)) {
                    return Err(format!("{key} is lost on {}: {:?}", node.name, found.value).into());
                }
            }
        }
        if manager.key_count() != orders {
            return Err(format!("{} has {} orders, not {orders}", node.name, manager.key_count()).into());
        }
        let (sequence, digest) = manager.digest();
        println!("           {:<6} {} orders, digest {digest:032x} at entry {sequence}", node.name, orders);
        digests.push(manager.digest());
    }
    if digests.iter().any(|digest| *digest != digests[0]) {
        return Err("the digests differ".into());
    }
    tell(began, &format!("all {orders} orders are on all nodes, once"));
    let found_done = desk.found_done.load(Ordering::Relaxed);
    println!("           {found_done} had been done by a try of which nobody could tell at first");
    let metrics = desk.router.metrics();
    println!(
        "           {} reads had to be answered by the leader, the others by followers",
        metrics.fallbacks
    );
    Ok(())
}

async fn run(broker: Broker) -> Outcome {
    let home = tempfile::tempdir()?;
    let began = Instant::now();
    let mut nodes = Vec::new();
    for name in ["paris", "oslo", "rome"] {
        nodes.push(Node::start(name, &broker, home.path(), began).await?);
    }
    let desk = Arc::new(Desk {
        router: ReadRouter::new(nodes.iter().map(Node::manager)),
        nodes,
        acknowledged: AtomicU64::new(0),
        found_done: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    });
    let clerks: Vec<_> = (0..CLERKS)
        .map(|clerk| {
            let desk = desk.clone();
            tokio::spawn(async move { desk.work(clerk).await })
        })
        .collect();
    let troubled = trouble(&desk, began).await;
    desk.is_over.store(true, Ordering::Relaxed);
    let mut placed = Vec::new();
    for clerk in clerks {
        placed.push(clerk.await??);
    }
    troubled?;
    check(&desk, &placed, began).await?;
    desk.nodes.iter().for_each(Node::tell_no_more);
    for node in &desk.nodes {
        node.manager().close().await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let broker = match &arguments[..] {
        [] => Broker::Embedded(MemoryBroker::default()),
        [flag, url] if flag == "--nats" => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
            Broker::Nats { url: url.clone(), namespace: format!("orders-{now}") }
        }
        _ => return Err("usage: leader_follower [--nats URL]".into()),
    };
    run(broker).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn no_order_is_lost_when_leaders_go() {
        run(Broker::Embedded(MemoryBroker::default())).await.expect("all is as promised");
    }
}
