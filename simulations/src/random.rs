//! [`Random`]: the only source of chance, so that a seed is the whole story.

use std::sync::Mutex;

/// SplitMix64 (Steele, Lea and Flood, 2014): one word of state, equal on every machine and in every version.
#[derive(Debug)]
pub struct Random(Mutex<u64>);

impl Random {
    /// Starts at a seed.
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// The next word.
    pub fn word(&self) -> u64 {
        let mut state = self.0.lock().expect("adding does not panic");
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&self, limit: usize) -> usize {
        (self.word() % limit as u64) as usize
    }

    /// True once in `times` on average.
    pub fn one_in(&self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub fn pick<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())) }
    }

    /// A generator of its own, so that one part's draws do not move another's.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::new(self.word())
    }
}
