//! What a node gives to others: entries of its tail, and pages of its state.

use std::{ops::Bound, sync::Arc};

use archipelago_engine::leader_follower::KeyRow;
use archipelago_proto::{EntityId, NodeAnswer, StatePage};
use archipelago_store::{Store, StoreError, Table};
use bytes::Bytes;

use super::{metrics::add, shared::Shared, state};

/// How many rows are read at a time.
const PAGE_ROWS: usize = 256;
/// The most bytes of an answer, whatever is asked for, if one row has not more.
const GIVE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Batches of entries behind `after`.
pub(super) async fn tail(shared: &Arc<Shared>, after: u64, bytes_max: u64) -> NodeAnswer {
    let (shared, store) = (shared.clone(), shared.store.clone());
    blocking(&store, move || {
        let spans: Vec<_> = {
            let tail = shared.tail();
            if tail.front().is_none_or(|span| span.first_index > after.saturating_add(1)) {
                return Ok(match shared.index() > after {
                    true => NodeAnswer::Gone,
                    false => NodeAnswer::Tail(Vec::new()),
                });
            }
            let from = tail.partition_point(|span| span.last_index <= after);
            tail.iter().skip(from).copied().collect()
        };
        let (mut batches, mut bytes) = (Vec::new(), 0);
        for span in spans {
            let Some(encoded) = shared.store.get(Table::Tail, &span.first_index.to_be_bytes())? else {
                break;
            };
            bytes += encoded.len() as u64;
            batches.push(encoded);
            if bytes >= bytes_max.clamp(1, GIVE_BYTES_MAX) {
                break;
            }
        }
        Ok(NodeAnswer::Tail(batches))
    })
    .await
}

/// A page of the rows behind `after`.
pub(super) async fn state(shared: &Arc<Shared>, after: Option<EntityId>, bytes_max: u64) -> NodeAnswer {
    let (shared, store) = (shared.clone(), shared.store.clone());
    if !shared.applied.borrow().is_whole {
        return NodeAnswer::Unable { reason: format!("{:?} takes the state anew itself", shared.node) };
    }
    blocking(&store, move || {
        let Some(before) = state::stored(&*shared.store)? else {
            return Ok(NodeAnswer::Unable { reason: "there is no state".into() });
        };
        let is_first = after.is_none();
        let (mut rows, mut bytes, mut is_last) = (Vec::new(), 0, false);
        let mut from: Bound<Bytes> =
            after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_bytes().clone()));
        while bytes < bytes_max.clamp(1, GIVE_BYTES_MAX) {
            let page = shared.store.scan(
                Table::Entities,
                from.as_ref().map(|key| &key[..]),
                Bound::Unbounded,
                PAGE_ROWS,
            )?;
            is_last = page.len() < PAGE_ROWS;
            for row in page {
                let damaged = || StoreError::Io {
                    action: "understand a row",
                    source: format!("the row {:?} is damaged", row.key).into(),
                };
                let key = EntityId::from_utf8(row.key.clone()).ok_or_else(damaged)?;
                let KeyRow { version, value } = KeyRow::decode(&row.value).ok_or_else(damaged)?;
                bytes += (key.len() + value.len() + 16) as u64;
                rows.push((key, version, value));
                from = Bound::Excluded(row.key);
                if bytes >= bytes_max.clamp(1, GIVE_BYTES_MAX) {
                    is_last = false;
                    break;
                }
            }
            if is_last {
                break;
            }
        }
        // Behind the rows, so that none of them is newer.
        let later = state::stored(&*shared.store)?.unwrap_or_else(|| before.clone());
        if is_last {
            add(&shared.counters.snapshots_created, 1);
        }
        Ok(NodeAnswer::State(StatePage {
            index: before.history.index,
            term: before.history.term,
            chain: before.history.chain,
            index_after: later.history.index,
            place: before.place.map(|place| (place.log.name, place.log.created_unix_ns, place.sequence)),
            rows,
            is_last,
            rows_total: before.rows,
            followers: if is_first { before.followers } else { Vec::new() },
        }))
    })
    .await
}

async fn blocking(
    store: &Arc<dyn Store>,
    read: impl FnOnce() -> Result<NodeAnswer, StoreError> + Send + 'static,
) -> NodeAnswer {
    match state::aside(&**store, read).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => NodeAnswer::Unable { reason: error.to_string() },
        Err(error) => NodeAnswer::Unable { reason: error.to_string() },
    }
}
