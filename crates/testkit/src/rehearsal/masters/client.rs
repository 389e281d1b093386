use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use archipelago_clock::{Incarnation, ReplicaId, VersionVector};
use archipelago_conflict::{Family, Join};
use archipelago_crdt::{GSet, PnCounter};
use archipelago_engine::Visible;
use archipelago_manager::{
    Ack, EntityView, MultiMasterManager, SessionToken, UpdateError, VersionContent, WriteOptions,
    WriteReceipt,
};
use archipelago_proto::EntityId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::{host::Life, world::World};
use crate::simulation::{Act, Author, Deed, Dice, Edit, checkers::Seen};

/// After how long a client gives up.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a session waits until a master has what it has seen.
const SESSION_PATIENCE: Duration = Duration::from_secs(2);
/// How many conflicts are looked at.
const CONFLICTS_LISTED: usize = 8;

/// Those who write and read, each one thing after the other.
pub(super) struct Clients {
    world: Arc<World>,
    acts: BTreeMap<usize, mpsc::UnboundedSender<Act>>,
    tasks: Vec<JoinHandle<()>>,
    operations: usize,
}

impl Clients {
    pub(super) fn new(world: &Arc<World>) -> Clients {
        Clients { world: Arc::clone(world), acts: BTreeMap::new(), tasks: Vec::new(), operations: 0 }
    }

    /// Whoever the act is of does it, after what it does already.
    pub(super) fn act(&mut self, act: Act) {
        let (Act::Write { client, .. } | Act::Read { client, .. }) = act else { return };
        self.operations += 1;
        let acts = self.acts.entry(client).or_insert_with(|| {
            let (acts, queue) = mpsc::unbounded_channel();
            let client = Client {
                world: Arc::clone(&self.world),
                number: client,
                dice: Dice::keyed(self.world.scenario.case.seed, [CLIENT, client as u64, 0]),
                token: VersionVector::new(),
                seen: BTreeMap::new(),
                renames: 0,
            };
            self.tasks.push(self.world.spawn(client.run(queue)));
            acts
        });
        // It takes acts as long as this has not ended.
        let _ = acts.send(act);
    }

    pub(super) fn operations(&self) -> usize {
        self.operations
    }

    /// Waits until all is done.
    pub(super) async fn end(&mut self) {
        self.acts.clear();
        for task in self.tasks.drain(..) {
            task.await.expect("a client does not panic");
        }
    }
}

struct Client {
    world: Arc<World>,
    number: usize,
    dice: Dice,
    /// What it has seen.
    token: VersionVector,
    seen: BTreeMap<EntityId, Seen>,
    /// How many changes of names it knows of.
    renames: usize,
}

/// What is changed of an entity with CRDTs; everything else in it stays.
#[derive(Default, Serialize, Deserialize)]
struct Joined {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<PnCounter<ReplicaId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    set: Option<GSet<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<u64>,
}

#[derive(Default, Serialize, Deserialize)]
struct Fields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    f0: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    f1: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    f2: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    f3: Option<u64>,
}

impl Fields {
    fn field(&mut self, field: u8) -> &mut Option<u64> {
        match field {
            0 => &mut self.f0,
            1 => &mut self.f1,
            2 => &mut self.f2,
            _ => &mut self.f3,
        }
    }
}

/// One write, wherever it is made.
struct Write {
    entity: EntityId,
    deed: Deed,
    number: u64,
    /// By whom counters count: one name for each process, as two of them may go by one identity.
    actor: ReplicaId,
    options: WriteOptions,
}

impl Client {
    async fn run(mut self, mut acts: mpsc::UnboundedReceiver<Act>) {
        while let Some(act) = acts.recv().await {
            let hosts = self.world.hosts().len();
            match act {
                Act::Write { island, entity, edit, author, .. } => {
                    self.writes(island % hosts, entity, edit, author).await;
                }
                Act::Read { island, entity, .. } => self.reads(island % hosts, entity).await,
                _ => {}
            }
        }
    }

    fn entity(&self, entity: usize) -> EntityId {
        let entities = self.world.scenario.simulated.entities();
        entities[entity % self.world.scenario.settings().entities.min(entities.len())].clone()
    }

    fn family(&self, entity: &EntityId) -> Family {
        self.world.scenario.simulated.strategies().strategy(entity).family()
    }

    async fn writes(&mut self, at: usize, entity: usize, edit: Edit, author: Author) {
        let entity = self.entity(entity);
        let Some(life) = self.world.life(at) else { return };
        if self.family(&entity) == Family::Siblings && self.dice.permille(400) {
            return self.resolves(&life, entity).await;
        }
        let deed = edit.deed(self.family(&entity));
        let number = self.world.book().number(deed);
        let ack = match self.dice.below(20) {
            0 => Ack::Pipeline,
            1 => Ack::Peers(1),
            _ => Ack::Local,
        };
        let mut options = WriteOptions::ack(ack).within(Duration::from_millis(self.dice.between(10, 2_000)));
        if author == Author::Stale {
            self.forgets_old_names();
            options = options.seen(token(&self.token));
        }
        let incarnation = Incarnation::from_bits(life.number);
        let actor = ReplicaId::new(life.manager.master_id().name(), incarnation).expect("a legal name");
        let write = Write { entity: entity.clone(), deed, number, actor, options };
        let answer = ask(&life, move |manager| write.make(manager)).await;
        self.is_answered(&life, &entity, number, answer);
    }

    /// Resolves a conflict, of this entity or of the first that is listed; writes if there is none.
    async fn resolves(&mut self, life: &Life, entity: EntityId) {
        let is_removal = self.dice.permille(200);
        let deed = if is_removal { Deed::Delete } else { Deed::Put };
        let number = self.world.book().number(deed);
        let id = entity.clone();
        let resolve = move |manager: MultiMasterManager| async move {
            let listed =
                manager.pending_conflicts(None, CONFLICTS_LISTED).await.map_err(|error| error.to_string())?;
            let seen = match listed.into_iter().next() {
                Some(seen) => Some(seen),
                None => manager.entity(&id).await.map_err(|error| error.to_string())?,
            };
            let value = (!is_removal).then_some(&number);
            let written = match seen {
                Some(seen) => manager.resolve_conflict(&seen, value).await,
                None => manager.write(id, &number).await,
            };
            written.map_err(|error| error.to_string())
        };
        let answer = ask(life, resolve).await;
        self.is_answered(life, &entity, number, answer);
    }

    fn is_answered(
        &mut self,
        life: &Life,
        entity: &EntityId,
        number: u64,
        answer: Option<Result<WriteReceipt, String>>,
    ) {
        let client = self.number;
        let receipt = match answer {
            Some(Ok(receipt)) => receipt,
            Some(Err(reason)) => {
                return self.world.note(format!("client {client}: #{number} on {entity}: {reason}"));
            }
            None => return self.world.note(format!("client {client}: #{number} on {entity}: no answer")),
        };
        self.world.note(format!("client {client}: #{number} on {entity} is {}", receipt.dot));
        let mut book = self.world.book();
        book.acknowledged(life.lineage, &receipt.dot);
        if receipt.reached.pipeline && !book.log_had(&receipt.dot) {
            book.violates("acknowledged", format!("the pipeline is said to have {}", receipt.dot));
        }
        drop(book);
        self.forgets_old_names();
        // What was written may have another name by now, which the token does not know.
        if life.manager.master_id() == receipt.dot.actor {
            self.token.merge(receipt.token.vector());
            self.seen.entry(receipt.entity_id).or_default().wrote(receipt.hlc);
        }
    }

    async fn reads(&mut self, at: usize, entity: usize) {
        let entity = self.entity(entity);
        let Some(life) = self.world.life(at) else { return };
        self.forgets_old_names();
        let (seen, id) = (token(&self.token), entity.clone());
        let read = move |manager: MultiMasterManager| async move {
            if !manager.wait_for(&seen, SESSION_PATIENCE).await {
                return None;
            }
            let view = manager.entity(&id).await.ok()?;
            Some((view, manager.vector_clock()))
        };
        let Some(Some((view, vector))) = ask(&life, read).await else { return };
        let known = self.renames;
        self.forgets_old_names();
        if self.renames != known {
            return;
        }
        let client = self.number;
        if let Err(detail) = self.saw(&entity, view.as_ref(), &vector) {
            self.world.book().violates("sessions", format!("client {client} at {at}: {detail}"));
        }
    }

    /// Holds what was read against what the session has seen.
    fn saw(
        &mut self,
        entity: &EntityId,
        view: Option<&EntityView>,
        vector: &VersionVector,
    ) -> Result<(), String> {
        let family = self.family(entity);
        let book = self.world.book();
        let versions = view.map(|view| &view.versions[..]).unwrap_or_default();
        if let Some(version) = versions.iter().find(|version| !vector.contains(&version.dot)) {
            return Err(format!("{entity} shows {}, which the vector did not cover afterwards", version.dot));
        }
        if family == Family::Siblings {
            for write in book.ledger.of(entity).filter(|write| write.is_in(&self.token)) {
                let is_known = write.is_ambiguous || write.is_renamed() || write.deed == Deed::Delete;
                let is_superseded = book.ledger.of(entity).any(|other| {
                    other.is_ambiguous
                        || other.is_renamed()
                        || (other.number != write.number && other.saw(write))
                });
                if !is_known && !is_superseded && !versions.iter().any(|version| version.dot == write.dot) {
                    return Err(format!("{entity} lacks {}, which the session has seen", write.dot));
                }
            }
        }
        if family == Family::Joined(Join::Whole) {
            let shown = versions.iter().filter(|version| version.content != VersionContent::Removed);
            let visible = shown.max_by_key(|version| (version.hlc, &version.dot)).map(|version| Visible {
                value: Bytes::new(),
                dot: version.dot.clone(),
                hlc: version.hlc,
            });
            self.seen.entry(entity.clone()).or_default().reads(
                entity,
                visible.as_ref(),
                vector,
                &book.ledger,
            )?;
        }
        drop(book);
        if let Some(view) = view {
            self.token.merge(view.token.vector());
        }
        Ok(())
    }

    /// What a master wrote may have other names by now, which a token of before does not know.
    fn forgets_old_names(&mut self) {
        let book = self.world.book();
        for (old, fork) in &book.renamed[self.renames..] {
            if self.token.get(old) > *fork {
                (self.token, self.seen) = (VersionVector::new(), BTreeMap::new());
            }
        }
        self.renames = book.renamed.len();
    }
}

impl Write {
    async fn make(self, manager: MultiMasterManager) -> Result<WriteReceipt, String> {
        let Write { entity, deed, number, actor, options } = self;
        let told = |error: UpdateError<Infallible>| error.to_string();
        match deed {
            Deed::Put | Deed::Other => {
                manager.write_with(entity, &number, options).await.map_err(|error| error.to_string())
            }
            Deed::Delete => manager.delete_with(entity, options).await.map_err(|error| error.to_string()),
            Deed::SetField(field) => {
                let fields = BTreeMap::from([(format!("f{field}"), number)]);
                manager.patch_with(entity, &fields, options).await.map_err(|error| error.to_string())
            }
            Deed::RemoveField(field) => {
                let remove = move |fields: &mut Fields| {
                    *fields.field(field) = None;
                    Ok(())
                };
                manager.update(entity, remove).await.map_err(told)
            }
            Deed::Increment(by) => {
                let increment = move |joined: &mut Joined| {
                    let counter = joined.count.get_or_insert_default();
                    counter.increment(actor, u64::from(by)).expect("a small number");
                    joined.by = Some(number);
                    Ok(())
                };
                manager.update(entity, increment).await.map_err(told)
            }
            Deed::Insert => {
                let insert = move |joined: &mut Joined| {
                    joined.set.get_or_insert_default().insert(number);
                    joined.by = Some(number);
                    Ok(())
                };
                manager.update(entity, insert).await.map_err(told)
            }
        }
    }
}

/// A token of what was seen at several masters.
fn token(vector: &VersionVector) -> SessionToken {
    let bytes = rmp_serde::to_vec(vector).expect("a vector is plain data");
    rmp_serde::from_slice(&bytes).expect("a token is a vector")
}

/// What a master answers, if it does in time. It goes on with what it was asked for in any case.
async fn ask<T, F>(life: &Life, question: impl FnOnce(MultiMasterManager) -> F) -> Option<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let answer = life.process.spawn(question(life.manager.clone()));
    let answered = timeout(PATIENCE, answer).await.ok()?;
    Some(answered.expect("a master that is asked does not panic"))
}

/// Sets these dice apart from others of the same seed.
const CLIENT: u64 = 104;
