//! No star obeys two terms: once it obeyed a leader, it obeys none of an older term, and one leader a term.

use super::Broken;
use orbit_core::grid::Fence;
use std::collections::BTreeMap;

/// What the stars were told, and by whom.
#[derive(Debug, Default)]
pub struct Stars {
    /// Who commanded under a fence.
    commanders: BTreeMap<Fence, String>,
    /// The last fence each star obeyed, and how often it obeyed.
    obeyed: BTreeMap<usize, (Fence, u64)>,
    /// The highest fence under which a leader that could rely on it gave a command.
    highest: Fence,
}

impl Stars {
    /// A leader that relies on its lease gives a command.
    pub fn commands(&mut self, who: &str, fence: Fence) -> Vec<Broken> {
        let newer = self.highest > fence;
        self.highest = self.highest.max(fence);
        let known = self.commanders.entry(fence).or_insert_with(|| who.to_owned());
        let mut broken = Vec::new();
        if known != who {
            broken.push(("a term has one commander", format!("{fence}: {known} and {who}")));
        }
        if newer {
            let what = format!("{who} under {fence}, after one under {}", self.highest);
            broken.push(("who was replaced commands nobody", what));
        }
        broken
    }

    /// A star obeys.
    pub fn obeys(&mut self, star: usize, who: &str, fence: Fence) -> Vec<Broken> {
        let (last, count) = self.obeyed.entry(star).or_default();
        let was = *last;
        *last = was.max(fence);
        *count += 1;
        if fence >= was {
            return Vec::new();
        }
        vec![("no star obeys two terms", format!("star {star} obeyed {who} under {fence} after {was}"))]
    }

    /// Commands that were obeyed.
    pub fn count(&self) -> u64 {
        self.obeyed.values().map(|(_, count)| count).sum()
    }
}
