//! The baseline of growing state: the same keys and values in an ordered map of the standard library.

use std::{
    collections::BTreeMap,
    hint::black_box,
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};
use tokio::task::JoinError;

use super::{super::group::Noise, rounds::key};

/// How often it is measured. The best counts: whatever else the machine does can only add to a time.
const PASSES: u64 = 5;

/// What one update takes of a map with so many entities.
pub(super) async fn update(
    entities: u64,
    updates: u64,
    noise: Noise,
    seed: u64,
) -> Result<Duration, JoinError> {
    tokio::task::spawn_blocking(move || {
        let mut random = StdRng::seed_from_u64(seed);
        let value = |random: &mut StdRng| noise.value(random).as_bytes().to_vec();
        let mut map: BTreeMap<Vec<u8>, Vec<u8>> =
            (0..entities).map(|place| (key(place).into_bytes(), value(&mut random))).collect();
        let passes = (0..PASSES).map(|pass| {
            let places = pass * updates..(pass + 1) * updates;
            let rows: Vec<_> =
                places.map(|place| (key(place % entities).into_bytes(), value(&mut random))).collect();
            let started = Instant::now();
            for (key, value) in rows {
                map.insert(key, value);
            }
            started.elapsed()
        });
        let best = passes.min().unwrap_or_default();
        black_box(map);
        best / u32::try_from(updates.max(1)).unwrap_or(u32::MAX)
    })
    .await
}
