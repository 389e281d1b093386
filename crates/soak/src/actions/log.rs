//! The loss of the log.

use std::time::Duration;

use rand::RngExt;

use crate::{
    failure::{Failure, Outcome},
    fleet::{Fleet, statuses},
    protocol::now_unix_ms,
    scene::{Node as _, Scene},
};

/// How long masters may take to notice; how long they took is in the report.
const NOTICE_DEADLINE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wipe {
    Stream,
    Files,
}

/// The log is lost under load. Every master must notice; one in three times one of them is killed meanwhile.
pub(crate) async fn wipe(how: Wipe, what: &str, fleet: &mut Fleet) -> Outcome {
    fleet.work(100..500).await;
    let islands = fleet.islands();
    let before: Vec<u64> = statuses(&islands).await?.iter().map(|status| status.logs_lost).collect();
    let wiped_unix_ms = match how {
        Wipe::Stream => {
            // Before the request: whoever notices while it is answered is not early.
            let now = now_unix_ms();
            for stream in fleet.streams() {
                fleet.broker.delete_stream(&stream).await?;
            }
            now
        }
        Wipe::Files => {
            let server = fleet.broker.server(0);
            server.kill().await.map_err(Failure::broken("kill the server"))?;
            server.wipe().map_err(Failure::broken("wipe the server"))?;
            server.restart().await.map_err(Failure::broken("start the server"))?;
            // Nobody can know before it is back.
            now_unix_ms()
        }
    };
    let killed = match fleet.random.random_ratio(1, 3) {
        true => {
            let at = fleet.pick();
            fleet.members[at].island.kill().await?;
            fleet.count(|report| report.kills += 1);
            fleet.work(0..300).await;
            fleet.members[at].island.restart().await?;
            Some(at)
        }
        false => None,
    };
    for (at, island) in islands.iter().enumerate().filter(|(at, _)| Some(*at) != killed) {
        let seen = before[at];
        let lost = format!("{} notices that the log is lost", island.label);
        fleet.until(&lost, NOTICE_DEADLINE, async || Ok(island.status().await?.logs_lost > seen)).await?;
        let status = island.status().await?;
        let noticed = status.told.log_lost_unix_ms.iter().find(|at| **at >= wiped_unix_ms);
        // One that noticed while the server was on its way back has noticed at once.
        let notice_ms = noticed.map_or(0, |noticed| noticed - wiped_unix_ms);
        fleet.count(|report| report.notices_ms.push(notice_ms));
    }
    fleet.work(50..500).await;
    fleet.check(what).await?;
    fleet.count(|report| report.wipes += 1);
    Ok(())
}
