use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use archipelago::{
    Durability, FjallStore, MemoryStore, MultiMasterManager, OnStart, SessionToken,
    manager::MultiMasterBuilder,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::Instant};

use super::options::{Bulk, Writing};
use crate::{
    bench::{
        BenchError,
        broker::Broker,
        options::{Common, StoreKind},
    },
    folder::Folder,
    progress::Phase,
};

/// How long masters may take to come to have the same.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(600);
/// The bytes from which values are cut.
const NOISE_BYTES: usize = 1 << 20;

/// Masters in this process that share a namespace.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) namespace: String,
    pub(crate) masters: Vec<MultiMasterManager>,
    pub(crate) broker: Broker,
    folder: Option<Folder>,
}

impl Group {
    /// The broker, and room for so many masters; none is started yet.
    pub(crate) async fn open(
        common: &Common,
        namespace: &str,
        store: StoreKind,
        masters: u16,
    ) -> Result<Group, BenchError> {
        let server = common.server();
        if server.is_none() && common.replicas > 1 {
            return Err(BenchError::ReplicasNeedNats(common.replicas));
        }
        let names: Vec<String> = (0..masters).map(name).collect();
        let folder = match store {
            StoreKind::Memory => None,
            StoreKind::Fjall => Some(Folder::new("archipelago-bench-", common.folder.as_deref(), &names)?),
        };
        let broker = Broker::new(server, common.replicas);
        // A wrong URL and wrong credentials are found here.
        broker.pipeline(namespace, OnStart::FailFast).await?.open().await?;
        Ok(Group { namespace: namespace.to_owned(), masters: Vec::new(), broker, folder })
    }

    /// The same with a broker inside this process, and with stores in memory.
    pub(crate) fn embedded(namespace: &str) -> Group {
        let broker = Broker::new(None, 1);
        Group { namespace: namespace.to_owned(), masters: Vec::new(), broker, folder: None }
    }

    /// The name of the next master, and what it is told.
    pub(crate) async fn next(&self) -> Result<(String, MultiMasterBuilder), BenchError> {
        let name = name(u16::try_from(self.masters.len()).unwrap_or(u16::MAX));
        let builder = MultiMasterManager::builder().master_id(&name).namespace(&self.namespace);
        let builder = self.broker.master(builder, &self.namespace).await?;
        let builder = match &self.folder {
            None => builder.store(MemoryStore::new()).durability(Durability::Memory),
            Some(folder) => {
                let store = FjallStore::open(folder.path.join(&name));
                let store = store.map_err(|error| unstarted(&name, &error))?;
                builder.store(store).durability(Durability::Fsync)
            }
        };
        Ok((name, builder))
    }

    /// Starts one master more.
    pub(crate) async fn start(
        &mut self,
        adjust: impl FnOnce(MultiMasterBuilder) -> MultiMasterBuilder,
    ) -> Result<&MultiMasterManager, BenchError> {
        let (name, builder) = self.next().await?;
        let master = adjust(builder).start().await.map_err(|error| unstarted(&name, &error))?;
        self.masters.push(master);
        Ok(self.masters.last().expect("just pushed"))
    }

    /// Starts so many, and waits until each has heard the others.
    pub(crate) async fn launch(&mut self, masters: u16) -> Result<(), BenchError> {
        for _ in 0..masters {
            self.start(|builder| builder).await?;
        }
        self.acquainted().await;
        Ok(())
    }

    /// Waits until each master has heard the others.
    pub(crate) async fn acquainted(&self) {
        for master in &self.masters {
            while master.metrics().active_peers + 1 < self.masters.len() as u64 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Writes so often in all, at all masters alike, and waits until every master has all. How long that took.
    pub(crate) async fn write(
        &self,
        writes: u64,
        Bulk { writing, together }: Bulk,
        seed: u64,
        phase: &Phase,
    ) -> Result<Duration, BenchError> {
        let noise = Arc::new(Noise::new(seed, writing));
        let (next, started) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let mut writers = JoinSet::new();
        for (at, master) in (0u64..).zip(&self.masters) {
            let together = u64::from(together.min(writing.tasks));
            for task in 0..u64::from(writing.tasks).div_ceil(together) {
                let (master, noise, next) = (master.clone(), noise.clone(), next.clone());
                writers.spawn(async move {
                    let mut random = StdRng::seed_from_u64(seed ^ (at << 32) ^ task);
                    loop {
                        let first = next.fetch_add(together, Ordering::Relaxed);
                        let values: Vec<_> =
                            (first..writes.min(first + together)).map(|_| noise.next(&mut random)).collect();
                        if values.is_empty() {
                            return Ok::<_, archipelago::manager::WriteError>(());
                        }
                        for outcome in master.write_many(values).await {
                            outcome?;
                        }
                    }
                });
            }
        }
        let mut look = tokio::time::interval(Duration::from_millis(200));
        while !writers.is_empty() {
            tokio::select! {
                Some(written) = writers.join_next() => written.expect("writers do not panic").map_err(refused)?,
                _ = look.tick() => phase.reach(next.load(Ordering::Relaxed).min(writes), ""),
            }
        }
        self.settled().await?;
        Ok(started.elapsed())
    }

    /// Waits until every master has what any of them has by now.
    pub(crate) async fn settled(&self) -> Result<(), BenchError> {
        let tokens: Vec<SessionToken> = self.masters.iter().map(MultiMasterManager::session_token).collect();
        for master in &self.masters {
            for token in &tokens {
                if !master.wait_for(token, SETTLE_TIMEOUT).await {
                    let wanted = token.vector().iter().map(|(_, sequence)| sequence).sum();
                    let has = master.vector_clock().iter().map(|(_, sequence)| sequence).sum();
                    let node = master.master_id().name().to_owned();
                    return Err(BenchError::Behind { node, waited: SETTLE_TIMEOUT, has, wanted });
                }
            }
        }
        Ok(())
    }

    /// Whether all have the same state.
    pub(crate) async fn check(&self) -> Result<(), BenchError> {
        let mut states = Vec::new();
        for master in &self.masters {
            let state = master.state_digest().await;
            states.push(state.map_err(|error| BenchError::Broken { findings: error.to_string() })?);
        }
        match states.windows(2).all(|pair| pair[0] == pair[1]) {
            true => Ok(()),
            false => {
                let findings = "the masters do not have the same state".into();
                Err(BenchError::Broken { findings })
            }
        }
    }

    /// Ends all masters in good order, and removes what the run made at the broker. Says what is left there.
    pub(crate) async fn end(self) {
        futures::future::join_all(self.masters.iter().map(MultiMasterManager::close)).await;
        if let Err(error) = self.broker.remove(&self.namespace).await {
            eprintln!("warning: the stream ARCHIPELAGO_{} stays on the server: {error}", self.namespace);
        }
    }
}

fn name(at: u16) -> String {
    format!("master-{}", u32::from(at) + 1)
}

pub(crate) fn unstarted(node: &str, error: &impl std::fmt::Display) -> BenchError {
    BenchError::Start { node: node.to_owned(), reason: error.to_string() }
}

pub(crate) fn refused(error: archipelago::manager::WriteError) -> BenchError {
    BenchError::Answer { node: "a master".into(), reason: error.to_string() }
}

/// Keys and values that cost next to nothing to make: values are cut from random text.
#[derive(Debug)]
pub(crate) struct Noise {
    text: String,
    size: usize,
    keys: u32,
}

impl Noise {
    pub(crate) fn new(seed: u64, writing: Writing) -> Noise {
        let mut random = StdRng::seed_from_u64(seed);
        let size = writing.size as usize;
        let text = (0..NOISE_BYTES.max(2 * size)).map(|_| char::from(random.random_range(b'a'..=b'z')));
        Noise { text: text.collect(), size, keys: writing.keys }
    }

    /// A key of 8 bytes, and a value.
    pub(crate) fn next(&self, random: &mut StdRng) -> (String, &str) {
        let value = self.value(random);
        (key(random.random_range(0..self.keys)), value)
    }

    /// All keys.
    pub(crate) fn keys(&self) -> Vec<String> {
        (0..self.keys).map(key).collect()
    }

    pub(crate) fn value(&self, random: &mut StdRng) -> &str {
        let at = random.random_range(0..=self.text.len() - self.size);
        &self.text[at..at + self.size]
    }
}

fn key(number: u32) -> String {
    format!("{number:08x}")
}
