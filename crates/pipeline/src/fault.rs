//! What may go wrong with one message on its way into a log, and a seeded source of such mishaps.

/// A mishap that strikes one published or appended message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Publishing fails at once with [`Unavailable`](crate::PipelineError::Unavailable); nothing is stored.
    Unavailable,
    /// The message is lost before it is stored; its acknowledgement times out.
    LoseMessage,
    /// The message is stored; its acknowledgement is lost and times out.
    LoseAck,
    /// The message is stored twice, as when a retry falls outside of the duplicate window. The acknowledgement names
    /// the second place. An append is stored once, as the second would not find the end that it expects.
    StoreTwice,
}

/// How often each [`Fault`] strikes, each between 0 (never, the default) and 1 (always). Their sum is at most 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaultRates {
    /// The share of [`Fault::Unavailable`].
    pub unavailable: f64,
    /// The share of [`Fault::LoseMessage`].
    pub lose_message: f64,
    /// The share of [`Fault::LoseAck`].
    pub lose_ack: f64,
    /// The share of [`Fault::StoreTwice`].
    pub store_twice: f64,
}

/// Draws faults: the same seed and rates give the same faults in the same order.
#[derive(Clone, Debug)]
pub(crate) struct FaultDice {
    rates: FaultRates,
    state: u64,
}

impl FaultDice {
    pub(crate) fn new(rates: FaultRates, seed: u64) -> FaultDice {
        FaultDice { rates, state: seed }
    }

    pub(crate) fn set_rates(&mut self, rates: FaultRates) {
        self.rates = rates;
    }

    /// The fault of the next message.
    pub(crate) fn roll(&mut self) -> Option<Fault> {
        let mut at = self.unit();
        let FaultRates { unavailable, lose_message, lose_ack, store_twice } = self.rates;
        for (fault, rate) in [
            (Fault::Unavailable, unavailable),
            (Fault::LoseMessage, lose_message),
            (Fault::LoseAck, lose_ack),
            (Fault::StoreTwice, store_twice),
        ] {
            if at < rate {
                return Some(fault);
            }
            at -= rate;
        }
        None
    }

    /// A number in `[0, 1)`: SplitMix64 (Steele, Lea, Flood 2014), of which the upper 32 bits are used.
    fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let upper = u32::try_from((z ^ (z >> 31)) >> 32).expect("32 bits are left");
        f64::from(upper) / 4_294_967_296.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_and_the_rates_hold() {
        let rates = FaultRates { lose_ack: 0.5, store_twice: 0.25, ..FaultRates::default() };
        let draw = |seed| {
            let mut dice = FaultDice::new(rates, seed);
            (0..4_000).map(|_| dice.roll()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let count = |fault| draw(7).iter().filter(|drawn| **drawn == fault).count();
        assert!((1_850..2_150).contains(&count(Some(Fault::LoseAck))));
        assert!((850..1_150).contains(&count(Some(Fault::StoreTwice))));
        assert_eq!(count(Some(Fault::Unavailable)), 0);
    }
}
