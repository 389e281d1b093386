//! What happens in a run, drawn from its seed before anything runs.

use super::{
    Act, Author, Case, Dice, Durability, Edit, Fault, Scenario, Settings, Step, Weather, network::BROKER,
};

/// Draws the case of a seed.
pub(super) fn draw(scenario: &Scenario, seed: u64) -> Case {
    let mut dice = Dice::keyed(seed, [PLAN, 0, 0]);
    let weather = &scenario.weather;
    let settings = settings(scenario, &mut dice);
    let lasts_ms = dice.between(weather.lasts_ms.0, weather.lasts_ms.1);
    let mut steps = load(scenario, &settings, lasts_ms, &mut dice);
    steps.extend(breakage(weather, &settings, lasts_ms, &mut dice));
    steps.sort_by_key(|step| step.at_ms);
    Case { scenario: scenario.name.clone(), seed, settings, steps }
}

fn settings(scenario: &Scenario, dice: &mut Dice) -> Settings {
    let weather = &scenario.weather;
    let replicas = dice.between(weather.replicas.0 as u64, weather.replicas.1 as u64);
    let replicas = usize::try_from(replicas).expect("a few");
    let entities = scenario.entities.len();
    let has_old_builds = dice.below(100) < weather.old_builds;
    Settings {
        replicas,
        // Often few, so that writes meet.
        entities: if dice.permille(500) { 1 + dice.index(entities.min(3)) } else { 1 + dice.index(entities) },
        heartbeat_ms: *dice.pick(&[250, 500, 1_000]),
        repair_after_ms: *dice.pick(&[500, 1_500, 4_000]),
        max_drift_ms: *dice.pick(&[500, 3_000, 60_000]),
        event_buffer_events_max: *dice.pick(&[2, 16, 1_000]),
        latency_ms: *dice.pick(&[(1, 20), (5, 200), (20, 1_500)]),
        loss_permille: dice.below(weather.loss_permille + 1),
        duplication_permille: dice.below(weather.loss_permille + 1),
        gossip_permille: dice.below(weather.gossip_permille + 1),
        deduplication_ms: *dice.pick(&[0, 500, 120_000]),
        piece_bytes: *dice.pick(&[1, 200, 100_000]),
        durability: *dice.pick(&[Durability::Os, Durability::Fsync, Durability::Fsync]),
        old_builds: if has_old_builds { dice.index(replicas) } else { 0 },
    }
}

/// What clients do.
fn load(scenario: &Scenario, settings: &Settings, lasts_ms: u64, dice: &mut Dice) -> Vec<Step> {
    let writes = dice.between(scenario.weather.writes.0, scenario.weather.writes.1);
    let clients = 1 + dice.index(2 * settings.replicas);
    let (removals, stale) = (dice.below(400), dice.below(400));
    // Some writers come in bursts.
    let bursts = dice.permille(300);
    let mut at_ms = 0;
    let mut steps = Vec::new();
    for _ in 0..writes {
        let is_pause = !bursts || dice.permille(100);
        at_ms = if is_pause { dice.below(lasts_ms) } else { (at_ms + dice.below(5)).min(lasts_ms) };
        let client = dice.index(clients);
        // Most clients stay where they are, some move about.
        let is_at_home = dice.permille(700);
        let island = if is_at_home { client % settings.replicas } else { dice.index(settings.replicas) };
        let entity = dice.index(settings.entities);
        let act = if scenario.workload.is_some() {
            Act::Turn { island, client, dice: dice.word() >> 12 }
        } else if dice.permille(250) {
            Act::Read { island, client, entity }
        } else {
            let edit = edit(removals, dice);
            let author = if dice.permille(stale) { Author::Stale } else { Author::UpToDate };
            Act::Write { island, client, entity, edit, author }
        };
        steps.push(Step { at_ms, act });
    }
    steps
}

fn edit(removals: u64, dice: &mut Dice) -> Edit {
    if dice.permille(removals) {
        return Edit::Delete;
    }
    let field = u8::try_from(dice.below(3)).expect("a few");
    match dice.below(10) {
        0..4 => Edit::Put,
        4..6 => Edit::SetField(field),
        6 => Edit::RemoveField(field),
        7..9 => Edit::Increment(1 + field),
        _ => Edit::Insert,
    }
}

/// What breaks, and when.
fn breakage(weather: &Weather, settings: &Settings, lasts_ms: u64, dice: &mut Dice) -> Vec<Step> {
    let kinds: [(u64, Draw); 11] = [
        (weather.cuts, cut),
        (weather.kills, kill),
        (weather.power_losses, power_loss),
        (weather.disks, disk),
        (weather.full_disks, full_disk),
        (weather.slow, slow),
        (weather.clocks, clock),
        (weather.broker, broker),
        (weather.log, log),
        (weather.members, member),
        (if settings.old_builds > 0 { 100 } else { 0 }, upgrade),
    ];
    let mut steps = Vec::new();
    for (hundredths, draw) in kinds {
        for _ in 0..times(hundredths, dice) {
            let at_ms = dice.below(lasts_ms);
            let fault = draw(settings, dice);
            steps.extend(sequel(&fault, at_ms, dice));
            // A copy of a disk is of use only if it is put back later.
            if let Fault::Restore { island, .. } = fault {
                let act = Act::Fault(Fault::Backup { island });
                steps.push(Step { at_ms: dice.below(at_ms + 1), act });
            }
            steps.push(Step { at_ms, act: Act::Fault(fault) });
        }
    }
    steps
}

/// What often comes of a fault: who went back in time goes on alone for a while, and a machine whose clock was wrong is
/// started again once it is right.
fn sequel(fault: &Fault, at_ms: u64, dice: &mut Dice) -> Option<Step> {
    let (after_ms, fault) = match *fault {
        Fault::Restore { island, down_ms } | Fault::PowerLoss { island, down_ms, .. } => (
            down_ms.saturating_sub(1),
            Fault::Partition { islands: vec![island], for_ms: 1_000 + some_ms(dice) },
        ),
        Fault::Skew { island, for_ms, .. } => (for_ms, Fault::Kill { island, down_ms: dice.below(100) }),
        _ => return None,
    };
    dice.permille(400).then(|| Step { at_ms: at_ms + after_ms, act: Act::Fault(fault) })
}

type Draw = fn(&Settings, &mut Dice) -> Fault;

/// A number of times, of this many hundredths on average. In every other run nothing of a kind happens at all, so that
/// kinds also meet in pairs.
fn times(hundredths: u64, dice: &mut Dice) -> u64 {
    if hundredths == 0 || dice.permille(500) {
        return 0;
    }
    let doubled = 2 * hundredths;
    let most = 2 * doubled / 100;
    match most {
        0 => u64::from(dice.below(100) < doubled),
        most => dice.below(most + 1),
    }
}

fn some_ms(dice: &mut Dice) -> u64 {
    match dice.below(3) {
        0 => dice.below(300),
        1 => dice.below(3_000),
        _ => dice.below(12_000),
    }
}

fn island(settings: &Settings, dice: &mut Dice) -> usize {
    dice.index(settings.replicas)
}

fn cut(settings: &Settings, dice: &mut Dice) -> Fault {
    let for_ms = some_ms(dice);
    if dice.permille(500) {
        let mut islands: Vec<usize> = (0..settings.replicas).filter(|_| dice.permille(400)).collect();
        if islands.is_empty() {
            islands.push(island(settings, dice));
        }
        return Fault::Partition { islands, for_ms };
    }
    let (one, other) =
        (island(settings, dice), if dice.permille(600) { BROKER } else { island(settings, dice) });
    let (from, to) = if dice.permille(500) { (one, other) } else { (other, one) };
    Fault::Cut { from, to, for_ms }
}

fn kill(settings: &Settings, dice: &mut Dice) -> Fault {
    let (island, down_ms) = (island(settings, dice), some_ms(dice));
    match dice.below(2) {
        0 => Fault::Kill { island, down_ms },
        _ => Fault::KillInCommit { island, is_stored: dice.permille(500), down_ms },
    }
}

fn power_loss(settings: &Settings, dice: &mut Dice) -> Fault {
    let keep = if dice.permille(400) { 0 } else { dice.below(20) };
    Fault::PowerLoss { island: island(settings, dice), keep, down_ms: some_ms(dice) }
}

fn disk(settings: &Settings, dice: &mut Dice) -> Fault {
    let (island, ms) = (island(settings, dice), some_ms(dice));
    match dice.below(3) {
        0 => Fault::EmptyDisk { island, down_ms: ms },
        1 => Fault::Restore { island, down_ms: ms },
        _ => Fault::Twin { island, for_ms: ms },
    }
}

fn full_disk(settings: &Settings, dice: &mut Dice) -> Fault {
    Fault::DiskFull { island: island(settings, dice), for_ms: some_ms(dice) }
}

fn slow(settings: &Settings, dice: &mut Dice) -> Fault {
    Fault::Slow { island: island(settings, dice), for_ms: some_ms(dice) }
}

fn clock(settings: &Settings, dice: &mut Dice) -> Fault {
    let (island, for_ms) = (island(settings, dice), some_ms(dice));
    if dice.permille(200) {
        return Fault::StopClock { island, for_ms };
    }
    let by_ms = *dice.pick(&[50, 2_000, 20_000, 100_000]);
    Fault::Skew { island, by_ms: if dice.permille(500) { by_ms } else { -by_ms }, for_ms }
}

fn broker(_: &Settings, dice: &mut Dice) -> Fault {
    match dice.below(2) {
        0 => Fault::BrokerRestart { down_ms: some_ms(dice) },
        _ => Fault::LoseAcks { for_ms: some_ms(dice) },
    }
}

fn log(_: &Settings, dice: &mut Dice) -> Fault {
    match dice.below(4) {
        0 | 1 => Fault::LoseTail { messages: dice.between(1, 30), down_ms: some_ms(dice) / 4 },
        2 => Fault::Recreate,
        _ => Fault::Trim { keep: dice.below(20) },
    }
}

fn member(settings: &Settings, dice: &mut Dice) -> Fault {
    match dice.below(3) {
        0 => Fault::Leave { island: island(settings, dice), away_ms: some_ms(dice) },
        1 => Fault::Retire { by: island(settings, dice), island: island(settings, dice) },
        _ => Fault::Join,
    }
}

fn upgrade(settings: &Settings, dice: &mut Dice) -> Fault {
    let first = settings.replicas - settings.old_builds;
    Fault::Upgrade { island: first + dice.index(settings.old_builds) }
}

/// Sets these dice apart from others of the same seed.
const PLAN: u64 = 6;
