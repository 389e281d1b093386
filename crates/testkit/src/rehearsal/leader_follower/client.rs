use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::history::{Consistency, KvOp, KvResult};
use archipelago_manager::leader_follower::{
    Ack, Found, LeaderFollowerManager, ReadConsistency, ReadError, SessionToken, Write, WriteError,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinHandle, time::timeout};

use super::{host::Life, world::World};

/// After how long a client gives an operation up.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long after the last fault everything is read once more.
const END_REST: Duration = Duration::from_secs(5);

/// Starts the clients, each of which ends once nothing breaks any more.
pub(super) fn start(world: &Arc<World>) -> Vec<JoinHandle<()>> {
    let clients = (0..world.scenario.clients).map(|number| {
        let random = StdRng::seed_from_u64(world.scenario.seed.wrapping_mul(31).wrapping_add(number + 1));
        let client = Client {
            world: Arc::clone(world),
            number,
            random,
            token: SessionToken::default(),
            versions: BTreeMap::new(),
            written: 0,
            believed: 0,
        };
        world.spawn(client.run())
    });
    clients.collect()
}

/// Who writes and reads, one after the other.
struct Client {
    world: Arc<World>,
    number: u64,
    random: StdRng,
    token: SessionToken,
    /// What it saw last of each key.
    versions: BTreeMap<String, u64>,
    written: u64,
    /// Which node it takes for the leader.
    believed: usize,
}

impl Client {
    async fn run(mut self) {
        while self.world.is_troubled() {
            let rest = self.world.scenario.rest_max.mul_f64(self.random.random_range(0.0..=1.0));
            tokio::time::sleep(rest).await;
            let key = format!("k{}", self.random.random_range(0..self.world.scenario.keys));
            match self.random.random_bool(0.5) {
                true => self.write(key).await,
                false => self.read(key).await,
            }
        }
        tokio::time::sleep(END_REST).await;
        for key in 0..self.world.scenario.keys {
            for node in 0..self.world.scenario.nodes.len() {
                self.read_at(format!("k{key}"), node, Consistency::Linearizable).await;
            }
        }
    }

    fn any_node(&mut self) -> usize {
        self.random.random_range(0..self.world.scenario.nodes.len())
    }

    async fn write(&mut self, key: String) {
        let node = if self.random.random_bool(0.15) { self.any_node() } else { self.believed };
        let Some(life) = self.world.life(node) else {
            self.believed = self.any_node();
            return;
        };
        self.written += 1;
        let value = format!("{}-{}", self.number, self.written);
        let kind = self.random.random_range(0..5);
        let (mut op, mut write) = match kind {
            0 => (KvOp::create(&key, &value), Write::create(&*key, &value)),
            1 => (KvOp::update(&key, &value), Write::update(&*key, &value)),
            2 => (KvOp::delete(&key), Write::delete(&*key)),
            _ => (KvOp::upsert(&key, &value), Write::upsert(&*key, &value)),
        };
        if kind != 0 && self.random.random_bool(0.3) {
            let version = self.versions.get(&key).copied().unwrap_or_default();
            (op, write) = (op.expecting(version), write.expecting(version));
        }
        if self.random.random_bool(0.1) {
            write = write.ack(Ack::Majority);
        }
        write = write.within(Duration::from_millis(self.random.random_range(300..5_000)));
        let is_delete = kind == 2;
        let pending = self.world.recorder.begin(self.number, op);
        match ask(&life, move |manager| async move { manager.write(write).await }).await {
            Some(Ok(receipt)) => {
                self.token = self.token.max(receipt.token);
                self.versions.insert(key, if is_delete { 0 } else { receipt.version });
                pending.ok(KvResult::Written(receipt.version));
            }
            Some(Err(WriteError::AlreadyExists { version, .. })) => {
                self.versions.insert(key, version);
                pending.ok(KvResult::Refused);
            }
            Some(Err(WriteError::NotFound { .. })) => {
                self.versions.insert(key, 0);
                pending.ok(KvResult::Refused);
            }
            Some(Err(WriteError::VersionMismatch { found, .. })) => {
                self.versions.insert(key, found.unwrap_or_default());
                pending.ok(KvResult::Conflict);
            }
            Some(Err(WriteError::FollowerReadOnly { leader })) => {
                pending.failed();
                let known = leader.and_then(|leader| {
                    self.world.scenario.nodes.iter().position(|plan| plan.name == leader.id)
                });
                self.believed = known.unwrap_or_else(|| self.any_node());
            }
            Some(Err(WriteError::NotWritten { .. } | WriteError::Closed)) => {
                pending.failed();
                self.believed = self.any_node();
            }
            Some(Err(WriteError::Value(error))) => panic!("a small value is refused: {error}"),
            // Nobody knows what became of it.
            Some(Err(_)) | None => self.believed = self.any_node(),
        }
    }

    async fn read(&mut self, key: String) {
        let bound_max_ms = if self.random.random_bool(0.5) { 50 } else { 1_000 };
        let bound_ms: u64 = self.random.random_range(0..bound_max_ms);
        let consistency = match self.random.random_range(0..7) {
            0 => Consistency::Eventual,
            1 | 3 => Consistency::BoundedStaleness { bound_ns: bound_ms * 1_000_000 },
            2 => Consistency::Session,
            _ => Consistency::Linearizable,
        };
        let node = self.any_node();
        self.read_at(key, node, consistency).await;
    }

    async fn read_at(&mut self, key: String, node: usize, consistency: Consistency) {
        let Some(life) = self.world.life(node) else { return };
        let asked = match consistency {
            Consistency::Eventual => ReadConsistency::Eventual,
            Consistency::BoundedStaleness { bound_ns } => {
                ReadConsistency::BoundedStaleness(Duration::from_nanos(bound_ns))
            }
            Consistency::Session => ReadConsistency::Session(self.token),
            Consistency::Linearizable => ReadConsistency::Linearizable,
        };
        let pending = self.world.recorder.begin(self.number, KvOp::read_at(consistency, &key));
        let wanted = key.clone();
        let read =
            move |manager: LeaderFollowerManager| async move { manager.read::<String>(wanted, asked).await };
        match ask(&life, read).await {
            Some(Ok(Found { value, version, token, .. })) => {
                // What an eventual read has seen is not asked for again.
                if consistency != Consistency::Eventual {
                    self.token = self.token.max(token);
                }
                self.versions.insert(key, version);
                pending.ok(KvResult::Value(value.map(|value| (value, version))));
            }
            Some(Err(ReadError::Value(error))) => panic!("a value is not what was written: {error}"),
            Some(Err(_)) | None => pending.failed(),
        }
    }
}

/// What a node answers, if it does in time. It goes on with what it was asked for in any case.
async fn ask<T, F>(life: &Life, question: impl FnOnce(LeaderFollowerManager) -> F) -> Option<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let answer = life.process.spawn(question(life.manager.clone()));
    let answered = timeout(PATIENCE, answer).await.ok()?;
    Some(answered.expect("a node that is asked does not panic"))
}
