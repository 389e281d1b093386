/// A set of small numbers.
#[derive(Debug)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// None of the numbers below `bound`, which are those it can have.
    pub(super) fn none(bound: usize) -> Self {
        Bits(vec![0; bound.div_ceil(64)])
    }

    pub(super) fn has(&self, number: usize) -> bool {
        self.0[number / 64] >> (number % 64) & 1 == 1
    }

    pub(super) fn insert(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    pub(super) fn remove(&mut self, number: usize) {
        self.0[number / 64] &= !(1 << (number % 64));
    }

    /// The first number from `start` that is not in it. It may be beyond the bound.
    pub(super) fn next_missing(&self, start: usize) -> usize {
        let mut word = start / 64;
        let mut missing = self.0.get(word).map_or(!0, |bits| !bits) & (!0 << (start % 64));
        while missing == 0 {
            word += 1;
            missing = self.0.get(word).map_or(!0, |bits| !bits);
        }
        word * 64 + missing.trailing_zeros() as usize
    }

    /// The words that hold the numbers from `start` to below `end`.
    pub(super) fn words(&self, start: usize, end: usize) -> &[u64] {
        let end = end.div_ceil(64).min(self.0.len());
        &self.0[(start / 64).min(end)..end]
    }
}
