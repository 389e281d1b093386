use futures::{FutureExt, future::join};
use tokio::time::Instant;

use super::*;
use crate::{Lease, LeaseEntry, LeaseWatch};

/// Long enough that nothing expires in a test that does not wait for it.
const LONG: Duration = Duration::from_secs(60);

/// Short enough to be waited for, and long enough for a renewal on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

const ALICE: Bytes = Bytes::from_static(b"alice");
const BOB: Bytes = Bytes::from_static(b"bob");

async fn lease(pipeline: &dyn Pipeline, ttl: Duration) -> Arc<dyn Lease> {
    let lease = within("a lease", pipeline.lease(ttl)).await.expect("a lease of a healthy broker");
    assert_eq!(lease.ttl(), ttl);
    lease
}

/// Those of two replicas.
async fn leases<H: Harness>(harness: &H, ttl: Duration) -> [Arc<dyn Lease>; 2] {
    [lease(&*harness.pipeline().await, ttl).await, lease(&*harness.pipeline().await, ttl).await]
}

async fn acquire(lease: &dyn Lease, value: Bytes, over: Option<u64>) -> Option<u64> {
    within("an answer", lease.acquire(value, over)).await.expect("a healthy broker")
}

async fn renew(lease: &dyn Lease, revision: u64, value: Bytes) -> Option<u64> {
    within("an answer", lease.renew(revision, value)).await.expect("a healthy broker")
}

async fn release(lease: &dyn Lease, revision: u64) {
    within("an answer", lease.release(revision)).await.expect("a healthy broker");
}

async fn look(lease: &dyn Lease) -> Option<LeaseEntry> {
    within("an answer", lease.look()).await.expect("a healthy broker")
}

async fn watch_next(watch: &mut dyn LeaseWatch) -> Option<LeaseEntry> {
    within("a change of the lease", watch.next()).await.expect("a watch that goes on")
}

fn entry(revision: u64, value: Bytes) -> Option<LeaseEntry> {
    Some(LeaseEntry { revision, value })
}

/// Looks until nobody holds the lease.
async fn until_expired(lease: &dyn Lease) {
    within("the expiry", async {
        while look(lease).await.is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// A lease that is held can be taken by nobody, its holder included; no log is needed for it.
pub async fn a_lease_is_held_by_one<H: Harness>(harness: &H) {
    let [alice, bob] = leases(harness, LONG).await;
    assert_eq!(look(&*alice).await, None);
    let revision = acquire(&*alice, ALICE, None).await.expect("nobody holds it");
    for lease in [&alice, &bob] {
        assert_eq!(acquire(&**lease, BOB, None).await, None);
        assert_eq!(look(&**lease).await, entry(revision, ALICE));
    }
}

/// Of many who want it at once, one gets it.
pub async fn of_those_who_acquire_at_once_one_wins<H: Harness>(harness: &H) {
    let [alice, bob] = leases(harness, LONG).await;
    for _ in 0..10 {
        let won = join(acquire(&*alice, ALICE, None), acquire(&*bob, BOB, None)).await;
        let (winner, revision, value) = match won {
            (Some(revision), None) => (&alice, revision, ALICE),
            (None, Some(revision)) => (&bob, revision, BOB),
            other => panic!("one of them: {other:?}"),
        };
        assert_eq!(look(&*alice).await, entry(revision, value));
        release(&**winner, revision).await;
    }
}

/// The latest revision renews, and no other does.
pub async fn a_lease_is_renewed_by_its_revision<H: Harness>(harness: &H) {
    let [alice, bob] = leases(harness, LONG).await;
    assert_eq!(renew(&*alice, 1, ALICE).await, None, "nobody holds it");
    let first = acquire(&*alice, ALICE, None).await.expect("nobody holds it");
    let second = renew(&*alice, first, "alice, still".into()).await.expect("it is hers");
    assert_eq!(look(&*bob).await, entry(second, "alice, still".into()));
    for stale in [first, second + 1, 0] {
        assert_eq!(renew(&*alice, stale, ALICE).await, None, "{stale}");
        release(&*alice, stale).await;
    }
    assert_eq!(look(&*bob).await, entry(second, "alice, still".into()), "nothing of that had an effect");
}

/// Every change has a greater revision than all before it, also after it was given up.
pub async fn revisions_strictly_grow<H: Harness>(harness: &H) {
    let [alice, bob] = leases(harness, LONG).await;
    let mut last = 0;
    let mut grown = |revision: Option<u64>| {
        let revision = revision.expect("it is free, or held at the last revision");
        assert!(revision > last, "{revision} after {last}");
        last = revision;
        revision
    };
    for _ in 0..3 {
        let mut revision = grown(acquire(&*alice, ALICE, None).await);
        for _ in 0..3 {
            revision = grown(renew(&*alice, revision, ALICE).await);
        }
        revision = grown(acquire(&*bob, BOB, Some(revision)).await);
        revision = grown(renew(&*bob, revision, BOB).await);
        release(&*bob, revision).await;
    }
}

/// Who did not see the holder renew takes over from that very revision; a renewal in between keeps it out.
pub async fn a_lease_is_taken_over_only_from_the_revision_that_was_seen<H: Harness>(harness: &H) {
    let [alice, bob] = leases(harness, LONG).await;
    let first = acquire(&*alice, ALICE, None).await.expect("nobody holds it");
    let second = renew(&*alice, first, ALICE).await.expect("it is hers");
    assert_eq!(acquire(&*bob, BOB, Some(first)).await, None, "she renewed it");
    assert_eq!(acquire(&*bob, BOB, Some(second + 1)).await, None, "there is no such revision");
    let third = acquire(&*bob, BOB, Some(second)).await.expect("it stands there");
    assert_eq!(renew(&*alice, second, ALICE).await, None);
    assert_eq!(look(&*alice).await, entry(third, BOB));
    release(&*bob, third).await;
    acquire(&*alice, ALICE, Some(third)).await.expect("nobody holds it");
}

/// A lease that nobody renews is free after its time and not before, and what was valid then is not any more.
pub async fn a_lease_that_is_not_renewed_expires<H: Harness>(harness: &H) {
    let [alice, bob] = leases(harness, SHORT).await;
    let mut revision = acquire(&*alice, ALICE, None).await.expect("nobody holds it");
    let began = Instant::now();
    while began.elapsed() < SHORT.mul_f32(1.5) {
        revision = renew(&*alice, revision, ALICE).await.expect("it is renewed in time");
        tokio::time::sleep(SHORT / 10).await;
    }
    let renewing = Instant::now();
    revision = renew(&*alice, revision, ALICE).await.expect("it is renewed in time");
    until_expired(&*bob).await;
    assert!(renewing.elapsed() >= SHORT, "it is never early: {:?}", renewing.elapsed());
    assert_eq!(renew(&*alice, revision, ALICE).await, None);
    let taken = acquire(&*bob, BOB, None).await.expect("nobody holds it");
    assert!(taken > revision);
    assert_eq!(look(&*alice).await, entry(taken, BOB));
    assert_eq!(renew(&*alice, revision, ALICE).await, None);
    release(&*alice, revision).await;
    assert_eq!(look(&*alice).await, entry(taken, BOB), "what is lost is not given up");
}

/// Given up, the lease is free at once.
pub async fn a_released_lease_is_free<H: Harness>(harness: &H) {
    let [alice, bob] = leases(harness, LONG).await;
    let first = acquire(&*alice, ALICE, None).await.expect("nobody holds it");
    release(&*alice, first).await;
    assert_eq!(look(&*bob).await, None);
    assert_eq!(renew(&*alice, first, ALICE).await, None);
    release(&*alice, first).await;
    assert!(acquire(&*bob, BOB, None).await.expect("nobody holds it") > first);
}

/// A watch tells the current state first, and then what changes, without waiting for any time to pass.
pub async fn a_watch_tells_of_every_change_at_once<H: Harness>(harness: &H) {
    let [alice, bob] = leases(harness, LONG).await;
    let mut watch = within("a watch", bob.watch()).await.expect("a watch");
    assert_eq!(watch_next(&mut *watch).await, None);
    let first = acquire(&*alice, ALICE, None).await.expect("nobody holds it");
    assert_eq!(watch_next(&mut *watch).await, entry(first, ALICE));
    let mut late = within("a watch", bob.watch()).await.expect("a watch");
    assert_eq!(watch_next(&mut *late).await, entry(first, ALICE));
    let second = renew(&*alice, first, ALICE).await.expect("it is hers");
    assert_eq!(watch_next(&mut *watch).await, entry(second, ALICE));
    assert!(watch.next().now_or_never().is_none(), "it tells nothing twice");
    let releasing = Instant::now();
    release(&*alice, second).await;
    assert_eq!(watch_next(&mut *watch).await, None);
    assert!(releasing.elapsed() < LONG / 2, "{:?}", releasing.elapsed());
    let third = acquire(&*bob, BOB, None).await.expect("nobody holds it");
    assert_eq!(watch_next(&mut *watch).await, entry(third, BOB));
}

/// A watch tells of an expiry by itself.
pub async fn a_watch_tells_of_an_expiry<H: Harness>(harness: &H) {
    let [alice, bob] = leases(harness, SHORT).await;
    let mut watch = within("a watch", bob.watch()).await.expect("a watch");
    assert_eq!(watch_next(&mut *watch).await, None);
    let acquiring = Instant::now();
    let revision = acquire(&*alice, ALICE, None).await.expect("nobody holds it");
    assert_eq!(watch_next(&mut *watch).await, entry(revision, ALICE));
    assert_eq!(watch_next(&mut *watch).await, None);
    assert!(acquiring.elapsed() >= SHORT, "{:?}", acquiring.elapsed());
}

/// While the broker is away, every call fails as worth retrying; afterwards it holds what it held, and who watches
/// learns of what happens then.
pub async fn a_lease_outlives_an_outage<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    let alice = lease(&*pipeline, LONG).await;
    let bob = lease(&*harness.pipeline().await, LONG).await;
    let mut watch = within("a watch", alice.watch()).await.expect("a watch");
    assert_eq!(watch_next(&mut *watch).await, None);
    let first = acquire(&*alice, ALICE, None).await.expect("nobody holds it");
    assert_eq!(watch_next(&mut *watch).await, entry(first, ALICE));
    harness.stop_broker().await;
    until_down(&*pipeline).await;
    for refused in [
        within("an answer", alice.look()).await.err(),
        within("an answer", alice.renew(first, ALICE)).await.err(),
        within("an answer", alice.acquire(ALICE, None)).await.err(),
        within("an answer", alice.release(first)).await.err(),
        within("an answer", pipeline.lease(LONG)).await.err(),
    ] {
        assert!(matches!(refused, Some(PipelineError::Unavailable { .. })), "{refused:?}");
    }
    harness.start_broker().await;
    let second = within("a renewal after the outage", async {
        loop {
            match alice.renew(first, ALICE).await {
                Ok(revision) => return revision.expect("it is still hers"),
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(second > first);
    assert_eq!(watch_next(&mut *watch).await, entry(second, ALICE));
    let bob_sees = within("bob is back", async {
        loop {
            match bob.look().await {
                Ok(entry) => return entry,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert_eq!(bob_sees.await, entry(second, ALICE));
}

/// All replicas agree on the time to live. While somebody holds the lease it stays, and after that it may change.
pub async fn another_time_to_live_waits_until_nobody_holds_the_lease<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    let too_short = pipeline.lease(Duration::from_millis(99)).await.err();
    assert!(matches!(too_short, Some(PipelineError::Misconfigured { .. })), "{too_short:?}");
    let long = lease(&*pipeline, LONG).await;
    let revision = acquire(&*long, ALICE, None).await.expect("nobody holds it");
    match pipeline.lease(SHORT).await {
        Err(PipelineError::Misconfigured { reason }) => {
            assert!(reason.contains("60s") && reason.contains("2s"), "both are named: {reason}");
        }
        other => panic!("expected Misconfigured, got {other:?}"),
    }
    renew(&*long, revision, ALICE).await.expect("nothing was changed");
    release(&*long, revision + 1).await;
    let short = lease(&*pipeline, SHORT).await;
    let refused = within("an answer", long.acquire(ALICE, None)).await;
    assert!(matches!(refused, Err(PipelineError::Misconfigured { .. })), "{refused:?}");
    acquire(&*short, ALICE, None).await.expect("nobody holds it");
    until_expired(&*short).await;
}

/// The lease and the log know nothing of one another.
pub async fn a_lease_does_not_go_with_the_log<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    let lease = lease(&*pipeline, LONG).await;
    let revision = acquire(&*lease, ALICE, None).await.expect("nobody holds it");
    pipeline.open().await.expect("opening");
    publish_all(&*pipeline, "a", 0..1).await;
    harness.delete_log().await;
    assert_eq!(look(&*lease).await, entry(revision, ALICE));
    renew(&*lease, revision, ALICE).await.expect("it is still hers");
}
