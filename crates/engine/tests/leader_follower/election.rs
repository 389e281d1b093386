use std::time::Duration;

use archipelago_engine::leader_follower::{Attempt, Election};

use super::*;

const TTL: Duration = Duration::from_millis(3_000);

#[derive(Clone, Copy, Debug)]
enum Happening {
    /// The lease is seen at a revision, or free.
    Seen {
        revision: Option<u64>,
        delay: Duration,
    },
    /// An attempt that was under way did not succeed. It may have been begun long before, when things were otherwise.
    Failed {
        pause: Duration,
    },
    Nothing,
}

fn happenings() -> impl Strategy<Value = Vec<(Duration, Happening)>> {
    let ms = |max: u64| (0..max).prop_map(Duration::from_millis);
    let happening = prop_oneof![
        3 => (prop::option::of(1..5u64), ms(500))
            .prop_map(|(revision, delay)| Happening::Seen { revision, delay }),
        2 => ms(1_000).prop_map(|pause| Happening::Failed { pause }),
        1 => Just(Happening::Nothing),
    ];
    proptest::collection::vec((ms(2_000), happening), 0..30)
}

proptest! {
    #[test]
    fn an_attempt_waits_for_the_lease_to_run_out_and_is_made_then(start in 0..9_000u64, happenings in happenings()) {
        let start = Duration::from_millis(start);
        let mut now = start;
        let mut election = Election::new(TTL, now);
        // What was seen last and since when, and until when a failure asks to wait.
        let mut seen: Option<(Option<u64>, Duration, Duration)> = None;
        let mut paused = Duration::ZERO;
        for (later, happening) in happenings {
            now += later;
            match happening {
                Happening::Seen { revision, delay } => {
                    election.handle_seen(revision, now, delay);
                    if seen.is_none_or(|(before, _, _)| before != revision) {
                        seen = Some((revision, now, delay));
                        paused = Duration::ZERO;
                    }
                }
                Happening::Failed { pause } => {
                    election.handle_failed(now, pause);
                    paused = paused.max(now + pause);
                }
                Happening::Nothing => {}
            }
            let (over, from) = match seen {
                None => (None, start + TTL),
                Some((None, at, delay)) => (None, at + delay),
                Some((Some(revision), at, delay)) => (Some(revision), at + TTL + delay),
            };
            let due_at = from.max(paused);
            prop_assert_eq!(election.due_at(), due_at);
            prop_assert_eq!(election.due(now), (now >= due_at).then_some(Attempt { over }));
            prop_assert_eq!(election.due(due_at), Some(Attempt { over }));
        }
    }
}

#[test]
fn a_holder_that_renews_is_never_tried_for() {
    let mut election = Election::new(TTL, Duration::ZERO);
    for renewal in 1..100u32 {
        let now = (TTL - Duration::from_millis(1)) * renewal;
        assert_eq!(election.due(now), None);
        election.handle_seen(Some(renewal.into()), now, Duration::ZERO);
    }
}

/// The holder renewed while the attempt was on its way, which is why it failed.
#[test]
fn a_failure_that_is_heard_of_after_a_renewal_does_not_bring_the_next_attempt_forward() {
    let ms = Duration::from_millis;
    let mut election = Election::new(TTL, ms(0));
    election.handle_seen(Some(7), ms(0), ms(0));
    assert_eq!(election.due(TTL), Some(Attempt { over: Some(7) }));
    election.handle_seen(Some(8), TTL, ms(0));
    election.handle_failed(TTL + ms(1), ms(50));
    assert_eq!(election.due(TTL + TTL - ms(1)), None);
    assert_eq!(election.due(TTL + TTL), Some(Attempt { over: Some(8) }));
}

#[test]
fn a_lease_that_is_given_back_is_tried_for_after_the_delay_alone() {
    let ms = Duration::from_millis;
    let mut election = Election::new(TTL, ms(0));
    election.handle_seen(Some(7), ms(0), ms(100));
    election.handle_seen(None, ms(10), ms(100));
    assert_eq!(election.due(ms(109)), None);
    assert_eq!(election.due(ms(110)), Some(Attempt { over: None }));
}
