use std::sync::{Arc, Mutex, PoisonError};

use archipelago::MemoryStore;

use super::{
    BenchError,
    broker::Broker,
    node::Node,
    protocol::{Answer, NodeOptions, Request, Standing},
};
use crate::child;

type Link = child::Link<Request, Answer>;

/// One node, in this process or in one of its own, over all its lives.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    options: NodeOptions,
    broker: Broker,
    habitat: Habitat,
    /// What is in memory over all lives of a node in this process.
    kept: Option<MemoryStore>,
    /// `None` while it is killed or closed.
    life: Mutex<Option<Life>>,
}

/// Where a node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habitat {
    /// In this process.
    Here,
    /// In a process of its own.
    Process,
}

#[derive(Clone, Debug)]
enum Life {
    Here(Arc<Node>),
    Process(Arc<Link>),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The node was not there to be asked.
    Before,
    /// The node went before it answered.
    Meanwhile,
}

impl Member {
    pub(crate) async fn start(
        options: NodeOptions,
        broker: Broker,
        habitat: Habitat,
    ) -> Result<Member, BenchError> {
        let kept = (habitat == Habitat::Here && options.folder.is_none()).then(MemoryStore::new);
        let life = Mutex::new(None);
        let member = Member { name: options.name.clone(), options, broker, habitat, kept, life };
        member.restart().await?;
        Ok(member)
    }

    /// Starts a node that was killed or closed on the store that it had.
    pub(crate) async fn restart(&self) -> Result<(), BenchError> {
        let failed = |reason: String| BenchError::Start { node: self.name.clone(), reason };
        let life = match self.habitat {
            Habitat::Here => {
                let node = Node::start(self.options.clone(), &self.broker, self.kept.as_ref()).await;
                Life::Here(Arc::new(node.map_err(failed)?))
            }
            Habitat::Process => {
                let link = Link::spawn("bench-node")
                    .map_err(|error| failed(format!("cannot start a process: {error}")))?;
                match link.call(Request::Start(self.options.clone())).await {
                    Some(Answer::Done) => Life::Process(Arc::new(link)),
                    Some(Answer::Failed { reason }) => return Err(failed(reason)),
                    other => return Err(failed(format!("its process ended, or answered {other:?}"))),
                }
            }
        };
        *self.lock() = Some(life);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node, if it is in this process and lives.
    pub(crate) fn here(&self) -> Option<Arc<Node>> {
        match &*self.lock() {
            Some(Life::Here(node)) => Some(node.clone()),
            _ => None,
        }
    }

    pub(crate) async fn call(&self, request: Request) -> Result<Answer, Gone> {
        let life = self.lock().clone();
        match life {
            None => Err(Gone::Before),
            Some(Life::Here(node)) => Ok(node.answer(request).await),
            Some(Life::Process(link)) => link.call(request).await.ok_or(Gone::Meanwhile),
        }
    }

    /// As [`call`](Self::call), for who needs the node to be there.
    pub(crate) async fn ask(&self, request: Request) -> Result<Answer, BenchError> {
        let failed = |reason: String| BenchError::Answer { node: self.name.clone(), reason };
        match self.call(request).await {
            Ok(Answer::Failed { reason }) => Err(failed(reason)),
            Ok(answer) => Ok(answer),
            Err(_) => Err(failed("it ended; RUST_LOG=debug shows what it did before".into())),
        }
    }

    /// How the node is, once it has done what was asked.
    pub(crate) async fn standing(&self, request: Request) -> Result<Standing, BenchError> {
        match self.ask(request).await? {
            Answer::Standing(standing) => Ok(standing),
            other => Err(self.unexpected(&other)),
        }
    }

    pub(crate) fn unexpected(&self, answer: &Answer) -> BenchError {
        BenchError::Answer { node: self.name.clone(), reason: format!("unexpected answer {answer:?}") }
    }

    /// SIGKILL, or what comes nearest to it in one process.
    pub(crate) async fn kill(&self) {
        let life = self.lock().take();
        match life {
            None => {}
            Some(Life::Here(node)) => node.kill().await,
            Some(Life::Process(link)) => link.kill().await,
        }
    }

    /// Ends the node in good order: a leader hands over.
    pub(crate) async fn close(&self) {
        let life = self.lock().take();
        match life {
            None => {}
            Some(Life::Here(node)) => drop(node.answer(Request::Close).await),
            Some(Life::Process(link)) => {
                link.call(Request::Close).await;
                link.kill().await;
            }
        }
    }
}
