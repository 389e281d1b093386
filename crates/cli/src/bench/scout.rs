use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::AbortHandle, time::timeout};

use super::{
    member::Member,
    protocol::{Answer, Request},
};

/// Between two rounds of questions while nobody leads.
const PAUSE: Duration = Duration::from_millis(5);
/// How long one round waits for a node that does not answer.
const PATIENCE: Duration = Duration::from_millis(250);

/// Who leads, as a client finds it out: it asks all nodes while it does not know.
#[derive(Debug)]
pub(crate) struct Scout {
    leader: watch::Sender<Option<usize>>,
    asking: AbortHandle,
}

impl Drop for Scout {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

impl Scout {
    pub(crate) fn start(members: Arc<Vec<Member>>) -> Scout {
        let leader = watch::Sender::new(None);
        let asking = tokio::spawn(ask(members, leader.clone())).abort_handle();
        Scout { leader, asking }
    }

    /// Changes with who leads.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<usize>> {
        self.leader.subscribe()
    }

    /// Waits until somebody leads.
    pub(crate) async fn leader(&self) -> usize {
        let mut leader = self.leader.subscribe();
        let found = leader.wait_for(Option::is_some).await.map(|leader| *leader);
        found.ok().flatten().expect("the sender is part of self, and it was waited for")
    }

    /// That one was found not to lead.
    pub(crate) fn leads_no_more(&self, member: usize) {
        self.leader.send_if_modified(|leader| {
            let was = *leader == Some(member);
            if was {
                *leader = None;
            }
            was
        });
    }
}

async fn ask(members: Arc<Vec<Member>>, leader: watch::Sender<Option<usize>>) {
    let mut known = leader.subscribe();
    loop {
        if known.wait_for(Option::is_none).await.is_err() {
            return;
        }
        let asked = members.iter().map(|member| timeout(PATIENCE, member.call(Request::Standing)));
        let answers = futures::future::join_all(asked).await;
        let leading = answers.into_iter().enumerate().filter_map(|(at, answer)| match answer {
            Ok(Ok(Answer::Standing(standing))) if standing.leads => Some((standing.term, at)),
            _ => None,
        });
        match leading.max() {
            Some((_, at)) => drop(leader.send_replace(Some(at))),
            None => tokio::time::sleep(PAUSE).await,
        }
    }
}
