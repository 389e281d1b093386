use std::time::Duration;

use archipelago_manager::leader_follower::OnFollower;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::kind::Kind;

/// What a seed decides before anything runs.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) nodes: Vec<NodePlan>,
    pub(super) clients: u64,
    pub(super) keys: u64,
    /// The longest rest of a client between two operations.
    pub(super) rest_max: Duration,
    /// The longest way to the broker or back.
    pub(super) latency_max: Duration,
    pub(super) lease: Duration,
    pub(super) heartbeat: Duration,
    /// For how long things break.
    pub(super) trouble: Duration,
    /// The longest rest between two faults.
    pub(super) fault_rest_max: Duration,
    /// Which faults there are, each as often as it is here.
    pub(super) faults: Vec<Kind>,
    /// Somebody else says which node leads: there is no election.
    pub(super) is_appointed: bool,
    /// How much of what nodes say to all is lost.
    pub(super) lose_rate: f64,
    /// How many messages of the log come twice.
    pub(super) repeat_rate: f64,
    pub(super) options: Options,
}

#[derive(Clone, Debug)]
pub(super) struct NodePlan {
    pub(super) name: String,
    pub(super) is_eligible: bool,
    pub(super) priority: u8,
    pub(super) on_follower: OnFollower,
}

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) tail_entries_max: u64,
    pub(super) log_entries_max: u64,
    pub(super) resync_threshold: u64,
    pub(super) page_bytes: u64,
    pub(super) in_flight_max: usize,
    pub(super) writes_waiting_max: usize,
    pub(super) read_timeout: Duration,
}

/// What a seed looks at: some things show only if little else happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Focus {
    Everything,
    /// What becomes of a log that lost its end.
    LostLog,
    /// How old what followers show is.
    Freshness,
}

impl Focus {
    fn draw(random: &mut StdRng) -> Focus {
        match random.random_range(0..10) {
            0 | 1 => Focus::LostLog,
            2 => Focus::Freshness,
            _ => Focus::Everything,
        }
    }

    fn kinds(self) -> &'static [Kind] {
        match self {
            Focus::Everything => &Kind::ALL,
            Focus::LostLog => &[
                Kind::TruncateTail,
                Kind::DeleteLog,
                Kind::CrashLeader,
                Kind::CutLeader,
                Kind::Pause,
                Kind::FaultyAppends,
            ],
            Focus::Freshness => &[Kind::Slow, Kind::Pause, Kind::Hold, Kind::Promote, Kind::JumpClock],
        }
    }
}

impl Scenario {
    pub(super) fn draw(seed: u64) -> Scenario {
        let mut random = StdRng::seed_from_u64(seed);
        let count = random.random_range(3..=5);
        let nodes = (0..count).map(|place| NodePlan {
            name: ["a", "b", "c", "d", "e"][place].to_owned(),
            // Two can always lead.
            is_eligible: place < 2 || random.random_bool(0.7),
            priority: if random.random_bool(0.7) { 100 } else { random.random_range(0..=100) },
            on_follower: if random.random_bool(0.5) { OnFollower::Forward } else { OnFollower::Refuse },
        });
        let nodes = nodes.collect();
        let ms = Duration::from_millis;
        let is_appointed = random.random_bool(0.15);
        let focus = Focus::draw(&mut random);
        let mut faults = Vec::new();
        for &kind in focus.kinds() {
            // A loss and two who take themselves for the leader are more than is promised to be mended.
            if !(is_appointed && kind.is_loss()) && random.random_bool(0.5) {
                faults.extend(std::iter::repeat_n(kind, random.random_range(1..=5)));
            }
        }
        if faults.is_empty() {
            faults.push(Kind::Cut);
        }
        fn one_of<T: Copy>(random: &mut StdRng, of: &[T]) -> T {
            *of.choose(random).expect("there is one")
        }
        let random = &mut random;
        Scenario {
            seed,
            nodes,
            clients: random.random_range(2..=4),
            keys: random.random_range(2..=6),
            rest_max: one_of(random, &[ms(10), ms(50), ms(200)]),
            latency_max: one_of(random, &[ms(0), ms(2), ms(10), ms(40)]),
            lease: one_of(random, &[ms(500), ms(1_000), ms(2_000)]),
            heartbeat: one_of(random, &[ms(100), ms(250), ms(500)]),
            trouble: ms(random.random_range(5_000..15_000)),
            fault_rest_max: one_of(random, &[ms(200), ms(600), ms(1_500)]),
            faults,
            is_appointed,
            lose_rate: one_of(random, &[0.0, 0.0, 0.05, 0.3]),
            repeat_rate: one_of(random, &[0.0, 0.0, 0.02, 0.2]),
            options: Options {
                tail_entries_max: match focus {
                    Focus::LostLog => 100_000,
                    _ => one_of(random, &[5, 40, 100_000]),
                },
                log_entries_max: one_of(random, &[20, 200, 1_000_000, 1_000_000]),
                resync_threshold: one_of(random, &[3, 30, 1_000]),
                page_bytes: one_of(random, &[1, 150, 512 * 1_024]),
                in_flight_max: one_of(random, &[1, 1, 3, 64]),
                writes_waiting_max: one_of(random, &[1, 4, 1_024]),
                read_timeout: one_of(random, &[ms(500), ms(3_000)]),
            },
        }
    }
}
