/// The only source of chance in a simulation.
///
/// It is written here because a seed must mean the same for ever, on every machine and with every version of every
/// dependency. Source: SplitMix64 in Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators" (2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Dice {
    /// The dice of a seed.
    pub fn new(seed: u64) -> Self {
        Dice(mixed(seed ^ GOLDEN))
    }

    /// Dice for one purpose: what is thrown for another purpose does not change what these show. So a case from which
    /// something was left out goes on much like the whole one.
    pub fn keyed(seed: u64, key: [u64; 3]) -> Self {
        let mixed = key
            .into_iter()
            .fold(mixed(seed ^ GOLDEN), |state, word| mixed(state ^ word.wrapping_mul(GOLDEN)));
        Dice(mixed)
    }

    /// Any number.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mixed(self.0)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Off by less than bound / 2^64, which nobody will ever notice.
        u64::try_from((u128::from(self.word()) * u128::from(bound)) >> 64).expect("less than the bound")
    }

    /// A number from `least` to `most`.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// An index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("less than a usize")
    }

    /// True so many times of a thousand.
    pub fn permille(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    /// One of these.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.index(among.len())]
    }
}

fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut dice = Dice::new(1);
        let thrown: Vec<u64> = (0..4).map(|_| dice.below(1_000)).collect();
        assert_eq!(thrown, FROZEN);
    }

    const FROZEN: [u64; 4] = [366, 740, 510, 926];

    #[test]
    fn dice_for_one_purpose_are_not_those_for_another() {
        let thrown = |key| Dice::keyed(7, key).word();
        assert_ne!(thrown([1, 2, 3]), thrown([1, 3, 2]));
        assert_eq!(thrown([1, 2, 3]), thrown([1, 2, 3]));
    }
}
