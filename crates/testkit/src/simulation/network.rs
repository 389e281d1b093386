use super::{Dice, Settings};

/// Who can reach whom, and how long that takes. Replicas go by number, the broker by the greatest one of all.
#[derive(Debug)]
pub(super) struct Network {
    seed: u64,
    latency_ms: (u64, u64),
    loss_permille: u64,
    duplication_permille: u64,
    cuts: Vec<Cut>,
    /// Counts messages, so that each has dice of its own.
    sent: u64,
    calm: bool,
}

/// One does not hear another one, until then.
#[derive(Debug)]
struct Cut {
    from: usize,
    to: usize,
    until_ms: u64,
    /// The kind of fault that it is of.
    kind: &'static str,
}

/// The broker, among whom messages go to.
pub(crate) const BROKER: usize = usize::MAX;

/// How a message travels: when it arrives, once or twice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Journey {
    pub(super) first_ms: u64,
    pub(super) again_ms: Option<u64>,
}

/// Why a message does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stray {
    /// By a fault of this kind.
    Cut(&'static str),
    Lost,
}

impl Network {
    pub(super) fn new(seed: u64, settings: &Settings) -> Self {
        Network {
            seed,
            latency_ms: settings.latency_ms,
            loss_permille: settings.loss_permille,
            duplication_permille: settings.duplication_permille,
            cuts: Vec::new(),
            sent: 0,
            calm: false,
        }
    }

    pub(super) fn cut(&mut self, from: usize, to: usize, until_ms: u64, kind: &'static str) {
        self.cuts.push(Cut { from, to, until_ms, kind });
    }

    /// Nothing is cut or lost any more.
    pub(super) fn calms_down(&mut self) {
        self.cuts.clear();
        self.calm = true;
    }

    pub(super) fn reaches(&self, from: usize, to: usize, now_ms: u64) -> bool {
        self.cut_by(from, to, now_ms).is_none()
    }

    /// What keeps the one from reaching the other.
    fn cut_by(&self, from: usize, to: usize, now_ms: u64) -> Option<&'static str> {
        let found = self.cuts.iter().find(|cut| (cut.from, cut.to) == (from, to) && now_ms < cut.until_ms);
        found.map(|cut| cut.kind)
    }

    /// What is over is forgotten.
    pub(super) fn tidy(&mut self, now_ms: u64) {
        self.cuts.retain(|cut| now_ms < cut.until_ms);
    }

    /// A message that TCP would carry: it arrives unless the way is cut.
    pub(super) fn carry(&mut self, from: usize, to: usize, now_ms: u64) -> Result<Journey, Stray> {
        self.sent += 1;
        if let Some(kind) = self.cut_by(from, to, now_ms) {
            return Err(Stray::Cut(kind));
        }
        let mut dice = self.dice();
        Ok(Journey { first_ms: now_ms + self.latency(&mut dice), again_ms: None })
    }

    /// A message that may be lost, or come twice.
    pub(super) fn send(&mut self, from: usize, to: usize, now_ms: u64) -> Result<Journey, Stray> {
        let mut journey = self.carry(from, to, now_ms)?;
        let mut dice = self.dice();
        dice.word();
        if !self.calm && dice.permille(self.loss_permille) {
            return Err(Stray::Lost);
        }
        if !self.calm && dice.permille(self.duplication_permille) {
            journey.again_ms = Some(now_ms + self.latency(&mut dice));
        }
        Ok(journey)
    }

    fn dice(&self) -> Dice {
        Dice::keyed(self.seed, [DELAYS, self.sent, 0])
    }

    fn latency(&self, dice: &mut Dice) -> u64 {
        let (least, most) = self.latency_ms;
        // Most are quick, some take long: that is what reorders them.
        match dice.permille(900) {
            true => dice.between(least, least + (most - least) / 8),
            false => dice.between(least, most),
        }
    }
}

/// Sets these dice apart from others of the same seed.
const DELAYS: u64 = 1;
